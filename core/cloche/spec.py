"""The whole, resolved request for one sandbox, and what one exec is asked and gives back."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cloche import units
from cloche.enforcement import Guarantee
from cloche.errors import GuestFailed, SpecError
from cloche.files.access import UNRESTRICTED, PathPermissions
from cloche.level import IsolationLevel
from cloche.monitor import OFF, Monitor
from cloche.policy import Limits, Mount, Network, Workspace
from cloche.rules.ruleset import NONE, Rules

ARGS_MAX = 1 << 20  # bytes of argv and environment; Linux gives a quarter of the stack limit, 2 MiB by default
SHOWN_MAX = 120  # characters of what a guest named, in a line for people
STRING_MAX = (1 << 17) - 1  # bytes of one of them: MAX_ARG_STRLEN, execve(2)


class State(StrEnum):
    """Where a sandbox is in its life (OCI runtime specification, "State")."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """Everything a runtime needs to make one sandbox; nothing is left to a default."""

    id: str
    name: str | None
    level: IsolationLevel
    guarantees: frozenset[Guarantee]
    network: Network
    limits: Limits
    workspace: Workspace
    mounts: tuple[Mount, ...] = ()
    paths: PathPermissions = UNRESTRICTED
    monitor: Monitor = OFF
    rules: Rules = NONE
    rootfs: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    hostname: str = "cloche"
    user: int = 1000
    lifetime: float | None = None
    idle_timeout: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    strict: bool = True

    def shows_host(self) -> bool:
        """Say whether the guest sees folders of the host beside the system's."""
        return bool(self.mounts) or self.workspace.kind == "bind" or self.rootfs is not None

    def written(self) -> tuple[str, ...]:
        """Give the folders and files of the host that the guest writes directly: no limit of its own bounds them."""
        work = (self.workspace.source or "",) if self.workspace.kind == "bind" else ()
        return (*(mount.source for mount in self.mounts if not mount.read_only), *work)

    def needed(self) -> frozenset[str]:
        """Give the names of every feature this sandbox must keep: guarantees, limits, what it asks beside."""
        also = {
            "paths": self.restricts_paths(),
            "events": bool(self.monitor),
            "rules": bool(self.monitor.rules or self.rules),
        }
        asked = frozenset(name for name, wanted in also.items() if wanted)
        return frozenset(g.value for g in self.guarantees) | self.limits.asked() | asked

    @property
    def number(self) -> int:
        """What stands for the sandbox in records of events: 32 bits made of its id."""
        return zlib.crc32(self.id.encode())

    def restricts_paths(self) -> bool:
        """Say whether anything is asked for paths beyond folders that can be written or not."""
        return bool(self.paths) or any(mount.operations is not None for mount in self.mounts)


@dataclass(frozen=True, slots=True)
class Window:
    """Size of a terminal in character cells."""

    rows: int = 24
    columns: int = 80

    def __post_init__(self) -> None:
        units.count(self.rows, "window rows", most=65535)
        units.count(self.columns, "window columns", most=65535)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One program to run in a sandbox (OCI's ``process`` object)."""

    args: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    window: Window | None = None
    """A terminal of this size instead of pipes."""
    linger: bool = False
    """Leave what the program started running when it ends."""
    worker: bool = False
    """Have the box's resident worker fork and take ``args``."""

    def __post_init__(self) -> None:
        if not self.args:
            raise SpecError("exec: no program given")
        total = 0
        for arg in self.args:
            total += len(os.fsencode(units.text(arg, "argument", most=STRING_MAX))) + 1
        if not self.args[0]:
            raise SpecError("exec: the program's name is empty")
        for name, value in self.env.items():
            total += len(os.fsencode(check_env(name, value))) + 1
        if total > ARGS_MAX:
            raise SpecError(
                f"exec: arguments and environment take {total} bytes; at most {ARGS_MAX}. Use stdin for data"
            )
        units.guest_path(self.cwd, "cwd")


def check_env(name: str, value: str) -> str:
    """Give ``NAME=value`` if both are fit for an environment, else raise ``SpecError``."""
    units.text(name, "environment name", most=256)
    if not name or "=" in name:
        raise SpecError(f"environment name {name!r} is empty or holds '='")
    units.text(value, f"environment variable {name}", most=STRING_MAX - len(name) - 1)
    return f"{name}={value}"


@dataclass(frozen=True, slots=True)
class Usage:
    """What a program used: seconds of processor time, bytes of peak resident memory (getrusage(2))."""

    user: float = 0.0
    system: float = 0.0
    peak_memory: int = 0


class Stats(Mapping[str, float]):
    """What a whole box uses: a read-only mapping. What can't be told here is missing, never 0.

    ========================= =========================================================================================
    ``cpu``                   seconds of processor time since the box was made, ended programs included
    ``memory``                bytes now; with a control group page cache and memory-backed folders count too, without
                              one it is the sum over processes, so what they share counts several times
    ``memory_peak``           the most that ``memory`` was
    ``pids``                  processes and threads now, the box's own helpers included
    ``pids_peak``             the most that ``pids`` was
    ``pids_refused``          how many more the control group's bound refused; a limit of the user's may come before it
    ``memory_refused``, ...   how often a program was refused more memory, where it lives on; also of ``open_files`` and
                              ``file_size``
    ``io_read``, ``io_write`` bytes from and to storage
    ``throttled``             how many times the limit on processor time held the box back
    ``throttled_seconds``     for how long, summed over processors
    ``oom_kills``             processes ended because the memory limit was reached
    ``disk_used``             bytes in the work folder, where that is a file system of the box's own
    ``disk_size``             bytes that it holds at most
    ``files_used``            files and folders in it
    ``files_size``            how many it holds at most
    ========================= =========================================================================================

    A runtime may add names of its own.
    """

    __slots__ = ("_figures",)

    def __init__(self, figures: Mapping[str, float]) -> None:
        """Take a copy of ``figures``; raises ``TypeError`` for what is no number."""
        for name, value in figures.items():
            if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"statistics: {units.shown(name)} is {units.shown(value)}, which is no number")
        self._figures = dict(figures)

    def __getitem__(self, name: str) -> float:
        return self._figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def __repr__(self) -> str:
        return f"Stats({self._figures!r})"


@dataclass(frozen=True, slots=True)
class Violation:
    """What of a guest's acts the policy refused, or a rule found, and what to do about it.

    ``rule`` is the rule's id, or the mechanism's word: ``mount:read-only``, ``path:forbidden``, ``syscall:denied``,
    ``limit:memory`` and so on. ``target`` may be any text of a guest; ``str(violation)`` is one line to print.
    """

    rule: str
    operation: str
    target: str
    hint: str
    mechanism: str = "rule"
    """What judged or refused it: ``rule``, ``mount``, ``path``, ``syscall``, ``limit``, ``network``."""
    severity: str = "info"
    blocked: bool = True
    """Whether the act was refused; else it was only found."""
    count: int = 1
    """How many acts it stands for: the same thing is told once."""
    time: float = 0.0
    """Seconds since the epoch, of the first."""

    def __str__(self) -> str:
        did = "refused" if self.blocked else f"found ({self.severity})"
        times = f" ({self.count} times)" if self.count > 1 else ""
        cut = "..." if len(self.target) > SHOWN_MAX else ""
        target = f" {units.one_line(self.target, most=SHOWN_MAX)}{cut}" if self.target else ""
        line = f"{did} {self.operation}{target}{times}: {self.rule}"
        return f"{line}; {self.hint}" if self.hint else line


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one program ended; data, whatever happened.

    ``reason`` is ``exited``, ``signalled``, ``timeout``, ``out_of_memory``, ``limit:<which>``, ``killed`` or
    ``refused`` (the box could not execute the file: exit code 127 not found, 126 not executable). ``exit_code``
    follows the shell: 128 + n for signal n. ``detail`` explains whatever is not ``exited``.
    """

    args: Sequence[str]
    exit_code: int
    reason: str
    signal: int | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    duration: float = 0.0
    usage: Usage = Usage()
    detail: str = ""
    violations: tuple[Violation, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself with exit code 0."""
        return self.reason == "exited" and self.exit_code == 0

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 become U+FFFD."""
        return self.stdout.decode("utf-8", "replace")

    def check(self) -> Result:
        """Give this result if ``ok``, else raise ``GuestFailed`` holding it."""
        if not self.ok:
            raise GuestFailed(self)
        return self

    def explain(self) -> str:
        """Give one line on how it ended, with the last words of standard error; what steers a terminal is escaped."""
        tail = units.plain_text(self.stderr.decode("utf-8", "replace").strip()[-500:])
        what = f"{self.args[0]!r} ended: {self.reason}, exit code {self.exit_code}"
        return "; ".join(part for part in (what, self.detail, tail) if part)
