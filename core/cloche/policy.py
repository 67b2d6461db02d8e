"""What a sandbox is allowed: frozen values, checked when made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from cloche import units
from cloche.enforcement import Guarantee
from cloche.errors import SpecError

NetworkMode = Literal["none", "loopback", "host"]
WorkspaceKind = Literal["tmpfs", "bind", "overlay"]
Preference = Literal["light", "strong"]


@dataclass(frozen=True, slots=True)
class Network:
    """Which network the guest sees.

    ``none``: no internet socket can be made. ``loopback``: a loopback of its own. ``host``: the host's network,
    unfiltered; it must be asked for by name.
    """

    mode: NetworkMode = "none"

    def __post_init__(self) -> None:
        if self.mode not in get_args(NetworkMode):
            raise SpecError(f"network: {self.mode!r} is unknown; use one of {', '.join(get_args(NetworkMode))}")


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the host shown to the guest at ``target``, read-only unless said.

    ``source`` is a host path (made absolute), ``target`` an absolute path in the box.
    """

    source: str
    target: str
    read_only: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", _host_path(self.source, "mount source"))
        units.guest_path(self.target, "mount target")
        if self.target == "/":
            raise SpecError("mount target: '/' can't be mounted over; give rootfs= to choose the root folder")
        if not isinstance(self.read_only, bool):
            raise SpecError(f"mount {self.target}: read_only is True or False, not {self.read_only!r}")


@dataclass(frozen=True, slots=True)
class Workspace:
    """The one folder the guest works in.

    ``tmpfs``: memory-backed, sized by ``Limits.disk``, gone with the sandbox. ``bind``: the host folder ``source``,
    written directly. ``overlay``: ``source`` is read, writes land in a sized tmpfs and are gone with the sandbox.
    """

    kind: WorkspaceKind = "tmpfs"
    source: str | None = None
    target: str = "/workspace"

    def __post_init__(self) -> None:
        if self.kind not in get_args(WorkspaceKind):
            raise SpecError(f"workspace: {self.kind!r} is unknown; use one of {', '.join(get_args(WorkspaceKind))}")
        if (self.kind == "tmpfs") != (self.source is None):
            need = "takes no source" if self.kind == "tmpfs" else "needs a source folder of the host"
            raise SpecError(f"workspace: kind {self.kind!r} {need}")
        if self.source is not None:
            object.__setattr__(self, "source", _host_path(self.source, "workspace source"))
        if units.guest_path(self.target, "workspace target") == "/":
            raise SpecError("workspace target: '/' can't be the work folder")


@dataclass(frozen=True, slots=True, init=False)
class Limits:
    """Bounds on one sandbox; ``None`` takes the isolation level's default.

    Sizes are bytes or text like ``"512M"``; durations are seconds or text like ``"15m"``.
    """

    memory: int | None = None
    """Bytes of memory of the whole tree."""
    cpu: float | None = None
    """Processors' worth of time, e.g. 0.5 or 2."""
    pids: int | None = None
    """Processes and threads alive at once."""
    open_files: int | None = None
    """Descriptors per process."""
    file_size: int | None = None
    """Bytes of one file the guest writes."""
    disk: int | None = None
    """Bytes in each memory-backed folder the guest can write; not set, they hold as much as ``memory``."""
    output: int | None = None
    """Bytes that one exec may print (stdout and stderr together)."""
    wall: float | None = None
    """Seconds that one call may take."""

    def __init__(
        self,
        *,
        memory: int | str | None = None,
        cpu: float | None = None,
        pids: int | None = None,
        open_files: int | None = None,
        file_size: int | str | None = None,
        disk: int | str | None = None,
        output: int | str | None = None,
        wall: float | str | None = None,
    ) -> None:
        """Check and keep each bound; raises ``SpecError`` naming the one that makes no sense."""
        put = partial(object.__setattr__, self)
        put("memory", None if memory is None else units.size(memory, "limits.memory", least=4 << 20))
        put("cpu", None if cpu is None else _processors(cpu))
        put("pids", None if pids is None else units.count(pids, "limits.pids", most=1 << 20))
        files = None if open_files is None else units.count(open_files, "limits.open_files", least=8, most=1 << 20)
        put("open_files", files)
        put("file_size", None if file_size is None else units.size(file_size, "limits.file_size", least=4096))
        put("disk", None if disk is None else units.size(disk, "limits.disk", least=64 << 10))
        put("output", None if output is None else units.size(output, "limits.output", least=0))
        put("wall", None if wall is None else units.duration(wall, "limits.wall"))

    def over(self, base: Limits) -> Limits:
        """Give these limits with each missing one taken from ``base``."""
        mine = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(base, **mine)

    def asked(self) -> frozenset[str]:
        """Give the names of the limits that are set."""
        return frozenset(f.name for f in fields(self) if getattr(self, f.name) is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationLevel:
    """A named set of guarantees plus policy defaults; never names a runtime.

    ``syscalls`` names a profile of the static filter (those of ``cloche_native`` are named as the bundled levels);
    ``networks`` and ``workspaces`` are what a policy at this level may ask for.
    """

    name: str
    summary: str
    guarantees: frozenset[Guarantee]
    limits: Limits
    syscalls: str
    network: Network = Network()
    networks: frozenset[NetworkMode] = frozenset({"none", "loopback"})
    workspaces: frozenset[WorkspaceKind] = frozenset({"tmpfs", "bind", "overlay"})
    minimal_proc: bool = False
    """Show the guest only its own processes in /proc, nothing of the machine."""
    path_rules: bool = False
    """Repeat the file-system policy in a second mechanism where there is one, at some cost per open."""
    prefer: Preference = "light"
    """Among runtimes that keep everything: the strongest sharing the host's kernel, or the strongest of all."""

    def __post_init__(self) -> None:
        what = f"isolation level {units.identifier(self.name, 'isolation level')!r}"
        object.__setattr__(self, "guarantees", _guarantees(self.guarantees, f"{what}: guarantees"))
        _check_type(self.limits, Limits, f"{what}: limits")
        _check_type(self.network, Network, f"{what}: network")
        if not set(self.networks) <= set(get_args(NetworkMode)):
            raise SpecError(f"{what}: networks: only {', '.join(get_args(NetworkMode))} exist")
        if not set(self.workspaces) <= set(get_args(WorkspaceKind)):
            raise SpecError(f"{what}: workspaces: only {', '.join(get_args(WorkspaceKind))} exist")
        if self.prefer not in get_args(Preference):
            raise SpecError(f"{what}: prefer: {self.prefer!r} is unknown; use {' or '.join(get_args(Preference))}")
        missing = {f.name for f in fields(Limits)} - {"disk"} - self.limits.asked()
        if missing:
            raise SpecError(f"{what} must set every limit but disk; missing: {', '.join(sorted(missing))}")
        if self.network.mode not in self.networks:
            raise SpecError(f"{what}: its own default network is not among those it allows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All that a caller may decide about isolation; ``None`` takes the level's default."""

    isolation: str = "enhanced"
    require: frozenset[Guarantee] = frozenset()
    network: Network | None = None
    limits: Limits = Limits()
    workspace: Workspace = Workspace()
    mounts: tuple[Mount, ...] = ()
    forbidden: tuple[str, ...] = ()
    """Guest paths that the guest must not see into."""

    def __post_init__(self) -> None:
        units.identifier(self.isolation, "isolation")
        put = object.__setattr__
        put(self, "require", _guarantees(self.require, "require"))
        put(self, "mounts", _sequence(self.mounts, "mounts"))
        put(self, "forbidden", tuple(units.guest_path(p, "forbidden") for p in _sequence(self.forbidden, "forbidden")))
        _check_type(self.limits, Limits, "limits")
        _check_type(self.workspace, Workspace, "workspace")
        if self.network is not None:
            _check_type(self.network, Network, "network")
        for mount in self.mounts:
            _check_type(mount, Mount, "mounts")
        _no_contradiction(self)


def _check_type(value: object, kind: type, what: str) -> None:
    if not isinstance(value, kind):
        raise SpecError(f"{what}: a cloche.{kind.__name__} is needed, not {units.shown(value)}")


def _sequence(value: object, what: str) -> tuple[Any, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise SpecError(f"{what}: a sequence is needed, not {units.shown(value)}")
    return tuple(value)


def _guarantees(value: object, what: str) -> frozenset[Guarantee]:
    try:
        return frozenset(Guarantee(g) for g in _sequence(value, what))
    except ValueError as error:
        raise SpecError(f"{what}: {error}; known guarantees are {', '.join(Guarantee)}") from None


def _host_path(value: object, what: str) -> str:
    if not isinstance(value, str | Path) or not str(value):
        raise SpecError(f"{what}: a path of the host is needed, not {units.shown(value)}")
    return str(Path(units.text(str(value), what)).absolute())


def _processors(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SpecError(f"limits.cpu: a number of processors is needed, not {units.shown(value)}")
    if not 0.01 <= value <= 4096:  # noqa: PLR2004 - 10 ms of a second; more processors than Linux runs on
        raise SpecError(f"limits.cpu: {units.shown(value)} is out of range; give 0.01 to 4096 processors")
    return float(value)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _no_contradiction(policy: Policy) -> None:
    targets = [m.target for m in policy.mounts] + [policy.workspace.target]
    for target in targets:
        if targets.count(target) > 1:
            raise SpecError(f"policy contradicts itself: two things are mounted at {target}")
        for path in policy.forbidden:
            if _inside(target, path):
                raise SpecError(f"policy contradicts itself: {target} is mounted but {path} is forbidden")
