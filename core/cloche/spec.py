"""The whole, resolved request for one sandbox, and what one exec is asked and gives back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cloche import units
from cloche.enforcement import Guarantee
from cloche.errors import GuestFailed, SpecError
from cloche.policy import IsolationLevel, Limits, Mount, Network, Workspace

ARGS_MAX = 1 << 20  # bytes of argv and environment; Linux gives a quarter of the stack limit, 2 MiB by default
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
    forbidden: tuple[str, ...] = ()
    rootfs: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    hostname: str = "cloche"
    user: int = 1000
    lifetime: float | None = None
    idle_timeout: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    strict: bool = True

    def needed(self) -> frozenset[str]:
        """Give the names of every feature this sandbox must keep: its guarantees and its limits."""
        return frozenset(g.value for g in self.guarantees) | self.limits.asked()


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


@dataclass(frozen=True, slots=True)
class Violation:
    """One act of the guest that the policy refused, and what to do about it."""

    rule: str
    operation: str
    target: str
    hint: str


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
        """Give one line on how it ended, with the last words of standard error."""
        tail = self.stderr.decode("utf-8", "replace").strip()[-500:]
        what = f"{self.args[0]!r} ended: {self.reason}, exit code {self.exit_code}"
        return "; ".join(part for part in (what, self.detail, tail) if part)
