"""What a sandbox is allowed: frozen values, checked when made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from cloche import units
from cloche.enforcement import Guarantee, guarantees
from cloche.errors import SpecError
from cloche.files.access import CHANGING, LOOKING, OPERATIONS, UNRESTRICTED, Operation, PathPermissions, operations
from cloche.files.globs import PATTERNS_MAX, Globs, check_glob
from cloche.monitor import OFF, Depth, Monitor
from cloche.rules.ruleset import NONE, Rules, RulesLike

if TYPE_CHECKING:
    from cloche.level import IsolationLevel

NetworkMode = Literal["none", "loopback", "isolated", "host"]
WorkspaceKind = Literal["tmpfs", "bind", "overlay", "image"]
Preference = Literal["light", "strong"]


@dataclass(frozen=True, slots=True)
class Network:
    """Which network the guest sees.

    ``none``: no internet socket can be made. ``loopback``: a loopback of its own. ``isolated``: that, and an interface
    whose other end is this box's alone: what ``Sandbox.listen`` makes there answers, and nothing else is to be reached.
    ``host``: the host's network, unfiltered; it must be asked for by name.
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
    operations: frozenset[Operation] | None = None
    """What may be done there, of ``read stat write create delete list``; ``None``: all, or what ``read_only`` leaves.

    Given, they decide: ``read_only`` then says whether one of them changes anything.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", units.host_path(self.source, "mount source"))
        units.guest_path(self.target, "mount target")
        if self.target == "/":
            raise SpecError("mount target: '/' can't be mounted over; give rootfs= to choose the root folder")
        if not isinstance(self.read_only, bool):
            raise SpecError(f"mount {self.target}: read_only is True or False, not {self.read_only!r}")
        if self.operations is not None:
            allowed = operations(self.operations, f"mount {self.target}: operations")
            if not self.read_only and not allowed & CHANGING:
                raise SpecError(
                    f"mount {self.target}: read_only=False, but of its operations none changes anything; "
                    f"add one of {', '.join(sorted(CHANGING))}, or leave out read_only"
                )
            object.__setattr__(self, "operations", allowed)
            object.__setattr__(self, "read_only", not allowed & CHANGING)

    @property
    def allows(self) -> frozenset[Operation]:
        """What may be done there, ``read_only`` taken into account."""
        if self.operations is not None:
            return self.operations
        return LOOKING if self.read_only else frozenset(OPERATIONS)


@dataclass(frozen=True, slots=True)
class Workspace:
    """The one folder the guest works in.

    ``tmpfs``: memory-backed, sized by ``Limits.disk``, gone with the sandbox. ``bind``: the host folder ``source``,
    written directly. ``overlay``: ``source`` is read, writes land in a sized tmpfs and are gone with the sandbox.
    ``image``: a file system of its own on the host's disk, of ``Limits.disk`` bytes, gone with the sandbox; as root.
    """

    kind: WorkspaceKind = "tmpfs"
    source: str | None = None
    target: str = "/workspace"

    def __post_init__(self) -> None:
        if self.kind not in get_args(WorkspaceKind):
            raise SpecError(f"workspace: {self.kind!r} is unknown; use one of {', '.join(get_args(WorkspaceKind))}")
        if (self.kind in ("tmpfs", "image")) != (self.source is None):
            need = "takes no source" if self.kind in ("tmpfs", "image") else "needs a source folder of the host"
            raise SpecError(f"workspace: kind {self.kind!r} {need}")
        if self.source is not None:
            object.__setattr__(self, "source", units.host_path(self.source, "workspace source"))
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
    """Bytes in each folder of the guest's own that it can write; not set, they hold as much as ``memory``."""
    files: int | None = None
    """Files and folders in each of these folders; not set, 256 for each MiB that they hold."""
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
        files: int | None = None,
        output: int | str | None = None,
        wall: float | str | None = None,
    ) -> None:
        """Check and keep each bound; raises ``SpecError`` naming the one that makes no sense."""
        put = partial(object.__setattr__, self)
        put("memory", None if memory is None else units.size(memory, "limits.memory", least=4 << 20))
        put("cpu", None if cpu is None else units.processors(cpu))
        put("pids", None if pids is None else units.count(pids, "limits.pids", most=1 << 20))
        opened = None if open_files is None else units.count(open_files, "limits.open_files", least=8, most=1 << 20)
        put("open_files", opened)
        put("file_size", None if file_size is None else units.size(file_size, "limits.file_size", least=4096))
        put("disk", None if disk is None else units.size(disk, "limits.disk", least=64 << 10))
        put("files", None if files is None else units.count(files, "limits.files", least=16, most=1 << 30))
        put("output", None if output is None else units.size(output, "limits.output", least=0))
        put("wall", None if wall is None else units.duration(wall, "limits.wall"))

    def over(self, base: Limits) -> Limits:
        """Give these limits with each missing one taken from ``base``."""
        mine = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(base, **mine)

    def differing(self, other: Limits) -> frozenset[str]:
        """Give the names of the limits that are not the same in ``other``."""
        return frozenset(f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name))

    def asked(self) -> frozenset[str]:
        """Give the names of the limits that are set."""
        return frozenset(f.name for f in fields(self) if getattr(self, f.name) is not None)


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
    """What must not be seen into: the short form of ``paths=PathPermissions(forbidden=...)``, added to it."""
    paths: PathPermissions = UNRESTRICTED
    """Which paths may be used how, by guest and host alike."""
    monitor: Monitor = OFF
    """What is to be seen of the guest."""
    rules: Rules = NONE
    """What its acts are judged by, and what follows by itself."""

    def __post_init__(self) -> None:
        units.identifier(self.isolation, "isolation")
        put = object.__setattr__
        put(self, "require", guarantees(self.require, "require"))
        put(self, "mounts", units.sequence(self.mounts, "mounts"))
        put(self, "forbidden", tuple(check_glob(p, "forbidden") for p in units.sequence(self.forbidden, "forbidden")))
        if len(self.forbidden) > PATTERNS_MAX:
            raise SpecError(f"forbidden: {len(self.forbidden)} patterns; at most {PATTERNS_MAX}")
        units.instance(self.paths, PathPermissions, "paths")
        units.instance(self.limits, Limits, "limits")
        units.instance(self.workspace, Workspace, "workspace")
        units.instance(self.monitor, Monitor, "monitor")
        units.instance(self.rules, Rules, "rules")
        if self.network is not None:
            units.instance(self.network, Network, "network")
        for mount in self.mounts:
            units.instance(mount, Mount, "mounts")
        _no_contradiction(self)

    def permissions(self) -> PathPermissions:
        """Give ``paths`` with ``forbidden`` added."""
        return self.paths.joined(PathPermissions(forbidden=self.forbidden))

    def restrict(
        self,
        levels: Mapping[str, IsolationLevel],
        *,
        isolation: str | None = None,
        require: Iterable[Guarantee | str] = (),
        network: Network | NetworkMode | None = None,
        limits: Limits | Mapping[str, object] | None = None,
        workspace: WorkspaceKind | None = None,
        mounts: Iterable[Mount] | None = None,
        forbidden: Iterable[str] = (),
        paths: PathPermissions | None = None,
        monitor: Monitor | Depth | None = None,
        rules: RulesLike | None = None,
    ) -> Policy:
        """Give this policy within these bounds: never a wider one. ``levels`` are ``host.levels``.

        ``isolation``: at least this level, and its limits at most. ``require`` and ``forbidden`` come on top.
        ``network``, ``limits`` and ``workspace`` (the kind: ``tmpfs``, ``overlay``, ``bind``) are the most that may
        be; what the policy has already narrower stays. ``mounts``: only these of its mounts, with as much allowed on
        each or less. ``paths``: its ``read_only`` and ``forbidden`` come on top, its ``allowed`` must lie in the
        policy's. ``monitor``: at least this is seen of the guest. ``rules``: these judge too, and thresholds are the
        lower ones; ``audit`` stays only if both have it. The policy that comes back names its network, every limit and
        every threshold. Raises ``SpecError`` for a mount or an allowed path it does not have, levels that can't be
        compared, and a policy that contradicts itself.
        """
        from cloche.narrowing import narrowed  # noqa: PLC0415 - it needs this module

        return narrowed(
            self, levels, isolation=isolation, require=require, network=network, limits=limits, workspace=workspace,
            mounts=mounts, forbidden=forbidden, paths=paths, monitor=monitor, rules=rules,
        )  # fmt: skip


def _no_contradiction(policy: Policy) -> None:
    targets = [m.target for m in policy.mounts] + [policy.workspace.target]
    forbidden = Globs(policy.permissions().forbidden)
    for target in targets:
        if targets.count(target) > 1:
            raise SpecError(f"policy contradicts itself: two things are mounted at {target}")
        pattern = forbidden.first(forbidden.walk(target.split("/")[1:]))
        if pattern is not None:
            raise SpecError(f"policy contradicts itself: {target} is mounted but {pattern} is forbidden")
