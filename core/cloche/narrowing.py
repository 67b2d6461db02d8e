"""Policies made narrower, never wider: ``Policy.restrict``.

What is given are bounds. A limit, the network, the kind of the work folder and the isolation level each become the
narrower of what the policy has and the bound; guarantees and forbidden paths come on top. So a bound wider than the
policy changes nothing, and bounds may come in any order. What can't be a bound raises ``SpecError``: a mount the policy
does not have, a level that can't be compared with the policy's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Final, TypeVar, get_args

from cloche import units
from cloche.errors import SpecError
from cloche.files.access import PathPermissions, inside
from cloche.files.globs import Globs, plain
from cloche.level import IsolationLevel
from cloche.monitor import Depth, Monitor
from cloche.policy import Limits, Mount, Network, NetworkMode, Policy, WorkspaceKind
from cloche.request import limits_from
from cloche.rules.ruleset import Rules, RulesLike
from cloche.rules.severity import THRESHOLDS, stricter

if TYPE_CHECKING:
    from cloche.enforcement import Guarantee

NETWORKS: Final[tuple[NetworkMode, ...]] = get_args(NetworkMode)
WORKSPACES: Final[tuple[WorkspaceKind, ...]] = ("tmpfs", "image", "overlay", "bind")
"""Narrowest first: nothing of the host, its disk but none of its files, a host folder read, a host folder written."""
FILES_EACH: Final = 256
FILES_LEAST: Final = 64
"""How many files a folder holds at most if ``Limits.files`` does not say: so many for each MiB, at least so many."""
_T = TypeVar("_T", bound=str)


def narrowed(
    policy: Policy,
    levels: Mapping[str, IsolationLevel],
    *,
    isolation: str | None,
    require: Iterable[Guarantee | str],
    network: Network | NetworkMode | None,
    limits: Limits | Mapping[str, object] | None,
    workspace: WorkspaceKind | None,
    mounts: Iterable[Mount] | None,
    forbidden: Iterable[str],
    paths: PathPermissions | None,
    monitor: Monitor | Depth | None,
    rules: RulesLike | None,
) -> Policy:
    """Give ``policy`` within these bounds; see ``Policy.restrict``."""
    own = _level(policy.isolation, levels)
    bound = own if isolation is None else _level(isolation, levels)
    level = _stronger(own, bound)
    modes: list[NetworkMode] = [(policy.network or own.network).mode]
    if network is not None:
        modes.append((network if isinstance(network, Network) else Network(network)).mode)
    kinds: list[WorkspaceKind] = [policy.workspace.kind]
    if workspace is not None:
        if workspace not in WORKSPACES:
            raise SpecError(f"workspace: {units.shown(workspace)} is unknown; a bound is {', '.join(WORKSPACES)}")
        kinds.append(workspace)
    none_so = f"level {level.name!r} allows none so narrow"
    kind: WorkspaceKind = _narrowest(kinds, WORKSPACES, level.workspaces, f"workspace: {none_so}")
    mode: NetworkMode = _narrowest(modes, NETWORKS, level.networks, f"network: {none_so}")
    work = replace(policy.workspace, source=None, kind=kind) if kind in ("tmpfs", "image") else policy.workspace
    hidden = units.sequence(forbidden, "forbidden")
    more = (*policy.require, *units.sequence(require, "require"))  # the policy makes a set of it, and checks it
    return replace(
        policy,
        isolation=level.name,
        require=more,  # type: ignore[arg-type]
        network=Network(mode),
        limits=_limits(policy, own, bound if isolation is not None else None, limits),
        workspace=replace(work, kind=kind),
        mounts=policy.mounts if mounts is None else _mounts(policy, kind, mounts),
        forbidden=(*policy.forbidden, *(path for path in hidden if path not in policy.forbidden)),
        paths=policy.paths if paths is None else _paths(policy.paths, paths),
        monitor=_monitor(policy.monitor, monitor, own, None if isolation is None else bound),
        rules=_rules(policy.rules, rules, own, None if isolation is None else bound),
    )


def keeps(level: IsolationLevel, other: IsolationLevel) -> bool:
    """Whether ``level`` keeps all that ``other`` does and allows nothing more; limits aside, which a policy may set."""
    return level == other or (
        level.guarantees >= other.guarantees
        and level.networks <= other.networks
        and level.workspaces <= other.workspaces
        and level.minimal_proc >= other.minimal_proc
        and level.path_rules >= other.path_rules
        and _filter_keeps(level.syscalls, other.syscalls)
    )


def _filter_keeps(name: str, other: str) -> bool:
    from cloche_native import seccomp_profiles  # noqa: PLC0415 - only where two levels are compared

    known = seccomp_profiles()  # from the widest to the strictest
    return name == other or (name in known and other in known and known.index(name) >= known.index(other))


def _level(name: str, levels: Mapping[str, IsolationLevel]) -> IsolationLevel:
    level = levels.get(units.identifier(name, "isolation"))
    if level is None:
        raise SpecError(f"isolation: {name!r} is unknown; known levels: {', '.join(sorted(levels)) or 'none'}")
    return level


def _stronger(own: IsolationLevel, bound: IsolationLevel) -> IsolationLevel:
    if keeps(own, bound):
        return own
    if keeps(bound, own):
        return bound
    raise SpecError(
        f"isolation: neither of {own.name!r} and {bound.name!r} keeps all that the other does, so a policy of the one "
        f"can't be bounded by the other; name a level that keeps all that {own.name!r} keeps"
    )


def _narrowest(given: Iterable[_T], order: tuple[_T, ...], allowed: frozenset[_T], otherwise: str) -> _T:
    """Give the widest of ``order`` that is allowed and no wider than each of ``given``."""
    most = min(order.index(value) for value in given)
    for value in reversed(order[: most + 1]):
        if value in allowed:
            return value
    raise SpecError(otherwise)


def _monitor(has: Monitor, given: Monitor | Depth | None, own: IsolationLevel, bound: IsolationLevel | None) -> Monitor:
    """Give what sees all that ``has`` does and the bound asks for; ``wait`` is the narrower answer to an overload."""
    seen = has if given is None else has.joined(Monitor.of(given))
    overloads = {has.overload or own.overload, bound.overload if bound else None, seen.overload}
    return replace(seen, overload="wait" if "wait" in overloads else "count") if seen else seen


def _rules(has: Rules, given: RulesLike | None, own: IsolationLevel, bound: IsolationLevel | None) -> Rules:
    """Give what finds all that ``has`` does and the bound asks for; every threshold by name, as limits are."""
    both = has if given is None else has.joined(Rules.of(given))
    least: dict[str, object] = {"use": ()}
    for name in THRESHOLDS:
        level = [] if bound is None else [getattr(bound, name)]
        least[name] = stricter(getattr(has, name) or getattr(own, name), *level)
    return both.joined(Rules.of(least))


def _limits(
    policy: Policy, own: IsolationLevel, bound: IsolationLevel | None, given: Limits | Mapping[str, object] | None
) -> Limits:
    """Give every limit that binds, by name, so that it stays so whatever a level's defaults become."""
    if isinstance(given, Mapping):
        given = limits_from(given)
    if given is not None and not isinstance(given, Limits):
        raise SpecError(f"limits: a cloche.Limits is needed, not {units.shown(given)}")
    bounds = [policy.limits.over(own.limits), *([bound.limits] if bound else []), *([given] if given else [])]
    kept: dict[str, float] = {}
    for name in (f.name for f in fields(Limits)):
        values = [value for limits in bounds if (value := getattr(limits, name)) is not None]
        if values:
            kept[name] = min(values)
    if "disk" in kept and "memory" in kept and bounds[0].disk is None:
        kept["disk"] = min(kept["disk"], kept["memory"])  # not set, it was as much as memory
    room = kept.get("disk", kept.get("memory"))
    if "files" in kept and room is not None and bounds[0].files is None:
        kept["files"] = min(
            kept["files"], max(FILES_LEAST, (int(room) >> 20) * FILES_EACH)
        )  # not set, it was that many
    return Limits(**kept)  # type: ignore[arg-type]


def _mounts(policy: Policy, kind: WorkspaceKind, wanted: Iterable[Mount]) -> tuple[Mount, ...]:
    """Give ``wanted`` if each is one the policy has, with as much allowed on it or less, and none uncovers another."""
    has = {mount.target: mount for mount in policy.mounts}
    out = units.sequence(wanted, "mounts")
    for mount in out:
        if not isinstance(mount, Mount):
            raise SpecError(f"mounts: a cloche.Mount is needed, not {units.shown(mount)}")
        own = has.get(mount.target)
        if own is None or own.source != mount.source:
            raise SpecError(
                f"mounts: the policy does not show {mount.source} at {mount.target}; a restriction can only leave "
                f"mounts out or allow less on them"
            )
        if more := mount.allows - own.allows:
            raise SpecError(f"mounts: the policy does not allow to {', '.join(sorted(more))} at {mount.target}")
    left = {mount.target for mount in out} | ({policy.workspace.target} if kind != "tmpfs" else set())
    for target in has.keys() - left:
        # A folder mounted read-only over a part of another one protects that part.
        if (around := next((folder for folder in left if inside(target, folder)), None)) is not None:
            raise SpecError(
                f"mounts: without {target}, what {around} holds there would be seen; leave out both or none"
            )
    return out


def _paths(own: PathPermissions, bound: PathPermissions) -> PathPermissions:
    if not isinstance(bound, PathPermissions):
        raise SpecError(f"paths: a cloche.PathPermissions is needed, not {units.shown(bound)}")
    covered = Globs(own.allowed)
    for pattern in bound.allowed if own.allowed else ():
        path = plain(pattern)
        below = path is not None and covered.first(covered.walk(path.split("/")[1:])) is not None
        if pattern not in own.allowed and not below:
            raise SpecError(
                f"paths.allowed: it can't be told that all of {pattern} is allowed by the policy; use its own patterns "
                f"({', '.join(own.allowed)}), or plain paths that they cover"
            )
    return PathPermissions(
        bound.allowed or own.allowed,
        tuple(dict.fromkeys((*own.read_only, *bound.read_only))),
        tuple(dict.fromkeys((*own.forbidden, *bound.forbidden))),
    )
