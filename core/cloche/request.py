"""From what a caller wrote to a ``Spec``: levels looked up, defaults filled in, contradictions refused."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from cloche import units
from cloche.enforcement import Guarantee
from cloche.errors import SpecError
from cloche.files.access import PathPermissions
from cloche.level import IsolationLevel
from cloche.monitor import Depth, Monitor
from cloche.policy import Limits, Mount, Network, NetworkMode, Policy, Workspace
from cloche.rules.ruleset import NONE, Rules, RulesLike
from cloche.spec import ARGS_MAX, ProcessSpec, Spec, Window, check_env

if TYPE_CHECKING:
    from cloche.profile import Profile


class Asked(TypedDict, total=False):
    """The keywords of ``create`` that make up a ``Spec``, for whoever hands them on."""

    name: str | None
    isolation: str | None
    require: Iterable[Guarantee | str]
    network: Network | NetworkMode | None
    limits: Limits | Mapping[str, object] | None
    workspace: Workspace | str | Path | None
    mounts: Iterable[Mount]
    forbidden: Iterable[str]
    paths: PathPermissions | None
    monitor: Monitor | Depth | None
    rules: RulesLike | None
    rootfs: str | Path | None
    env: Mapping[str, str] | None
    hostname: str
    user: int
    lifetime: float | str | None
    idle_timeout: float | str | None
    metadata: Mapping[str, str] | None
    strict: bool
    policy: Policy | None
    profile: str | Path | Profile | None
    restrict: Mapping[str, Any] | None


_DEFAULT = Policy()
_BOUNDS = ("isolation", "require", "network", "limits", "workspace", "mounts", "forbidden", "paths", "monitor", "rules")
BASE_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",  # noqa: S108 - a path in the box, not on the host
}


def make_policy(
    base: Policy | None,
    *,
    isolation: str | None,
    require: Iterable[Guarantee | str],
    network: Network | NetworkMode | None,
    limits: Limits | Mapping[str, object] | None,
    workspace: Workspace | str | Path | None,
    mounts: Iterable[Mount],
    forbidden: Iterable[str],
    paths: PathPermissions | None,
    monitor: Monitor | Depth | None,
    rules: RulesLike | None,
) -> Policy:
    """Give ``base`` (or the default policy) with each keyword that was given put over it.

    What is one value is replaced, but of ``limits``, and of ``rules`` as a mapping, only what is named. Lists are
    added to: ``require``, ``forbidden`` and the patterns of ``paths`` to those of ``base``, and ``mounts`` too, where
    one with the target of an older one takes its place. So a mount more does not
    lift what a profile forbids.
    """
    if base is not None and not isinstance(base, Policy):
        raise SpecError(f"policy: a cloche.Policy is needed, not {units.shown(base)}")
    policy = base if base is not None else _DEFAULT
    changes: dict[str, object] = {} if isolation is None else {"isolation": isolation}
    if network is not None:
        changes["network"] = network if isinstance(network, Network) else Network(network)
    if isinstance(limits, Mapping):
        limits = limits_from(limits)
    if limits is not None:
        changes["limits"] = limits.over(base.limits) if base is not None and isinstance(limits, Limits) else limits
    if workspace is not None:
        changes["workspace"] = _workspace(workspace)
    if monitor is not None:
        changes["monitor"] = Monitor.of(monitor)
    if rules is not None:
        changes["rules"] = (
            policy.rules.changed(rules) if isinstance(rules, Mapping) and policy.rules != NONE else Rules.of(rules)
        )
    changes |= _added(policy, require, mounts, forbidden, paths)
    return replace(policy, **changes) if changes else policy  # type: ignore[arg-type]


def _added(
    policy: Policy,
    require: Iterable[Guarantee | str],
    mounts: Iterable[Mount],
    forbidden: Iterable[str],
    paths: PathPermissions | None,
) -> dict[str, object]:
    """Give the lists of ``policy`` that grow, with what is added to them."""
    changes: dict[str, object] = {}
    if items := units.sequence(require, "require"):
        changes["require"] = (*policy.require, *items)
    if items := units.sequence(forbidden, "forbidden"):
        changes["forbidden"] = (*policy.forbidden, *items)
    if items := units.sequence(mounts, "mounts"):
        targets = [getattr(mount, "target", None) for mount in items]
        changes["mounts"] = (*(mount for mount in policy.mounts if mount.target not in targets), *items)
    if paths is not None:
        if not isinstance(paths, PathPermissions):
            raise SpecError(f"paths: a cloche.PathPermissions is needed, not {units.shown(paths)}")
        changes["paths"] = policy.paths.joined(paths)
    return changes


def restricted(policy: Policy, levels: Mapping[str, IsolationLevel], bounds: Mapping[str, Any]) -> Policy:
    """Give ``policy`` within ``bounds``, the keywords of ``Policy.restrict``. Raises ``SpecError`` for another key."""
    table = _mapping(bounds, "restrict")
    for key in table:
        if key not in _BOUNDS:
            raise SpecError(f"restrict: {units.shown(key)} is unknown; known bounds are {', '.join(_BOUNDS)}")
    return policy.restrict(levels, **table)


def _workspace(value: Workspace | str | Path) -> Workspace:
    if isinstance(value, Workspace):
        return value
    if not isinstance(value, str | Path):
        raise SpecError(f"workspace: a cloche.Workspace or a folder of the host is needed, not {units.shown(value)}")
    return Workspace("bind", str(value))


def limits_from(table: Mapping[str, object]) -> Limits:
    """Give ``Limits`` from plain data. Raises ``SpecError`` for a key that is not a limit."""
    known = [f.name for f in fields(Limits)]
    for key in table:
        if key not in known:
            raise SpecError(f"limits: {units.shown(key)} is unknown; known limits are {', '.join(known)}")
    return Limits(**table)  # type: ignore[arg-type]


def make_spec(
    policy: Policy,
    levels: Mapping[str, IsolationLevel],
    *,
    name: str | None,
    rootfs: str | Path | None,
    env: Mapping[str, str] | None,
    hostname: str,
    user: int,
    lifetime: float | str | None,
    idle_timeout: float | str | None,
    metadata: Mapping[str, str] | None,
    strict: bool,
) -> Spec:
    """Give the whole, checked request. Raises ``SpecError`` saying what is wrong and what may be given."""
    level = levels.get(policy.isolation)
    if level is None:
        known = ", ".join(sorted(levels)) or "none: no plugin provides one"
        raise SpecError(f"isolation: {policy.isolation!r} is unknown; known levels: {known}")
    network = policy.network or level.network
    if network.mode not in level.networks:
        allowed = ", ".join(sorted(level.networks))
        raise SpecError(f"network: level {level.name!r} does not allow {network.mode!r}; it allows: {allowed}")
    if policy.workspace.kind not in level.workspaces:
        allowed = ", ".join(sorted(level.workspaces))
        raise SpecError(
            f"workspace: level {level.name!r} does not allow {policy.workspace.kind!r}; it allows: {allowed}"
        )
    for source in [m.source for m in policy.mounts] + [policy.workspace.source]:
        if source is not None and not os.path.exists(source):
            raise SpecError(f"mount source {source} does not exist on the host")
    if policy.workspace.source is not None and not Path(policy.workspace.source).is_dir():
        raise SpecError(f"workspace source {policy.workspace.source} is not a folder")
    life = None if lifetime is None else units.duration(lifetime, "lifetime")
    idle = None if idle_timeout is None else units.duration(idle_timeout, "idle_timeout")
    if life is not None and idle is not None and idle > life:
        raise SpecError(f"idle_timeout ({idle:g} s) is longer than lifetime ({life:g} s), so it could never act")
    variables = environment(env)
    if not isinstance(strict, bool):
        raise SpecError(f"strict is True or False, not {units.shown(strict)}")
    home = {"HOME": policy.workspace.target}
    return Spec(
        id=secrets.token_hex(6),
        name=None if name is None else units.identifier(name, "name"),
        level=level,
        guarantees=level.guarantees | policy.require,
        network=network,
        limits=policy.limits.over(level.limits),
        workspace=policy.workspace,
        mounts=policy.mounts,
        paths=policy.permissions(),
        monitor=policy.monitor.at(level.overload),
        rules=policy.rules.at(level),
        rootfs=_rootfs(rootfs),
        env={**BASE_ENV, **home, **variables},
        hostname=units.identifier(hostname, "hostname"),
        user=units.count(user, "user", least=0, most=65535),
        lifetime=life,
        idle_timeout=idle,
        metadata={
            units.text(k, "metadata key"): units.text(v, f"metadata {k}")
            for k, v in _mapping(metadata, "metadata").items()
        },
        strict=strict,
    )


def environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """Give ``env`` as a dict, each variable checked."""
    variables = dict(_mapping(env, "env"))
    total = sum(len(os.fsencode(check_env(name, value))) + 1 for name, value in variables.items())
    if total > ARGS_MAX:
        raise SpecError(f"env: it takes {total} bytes; at most {ARGS_MAX}")
    return variables


def make_process(
    spec: Spec,
    workspace: str,
    args: tuple[str, ...],
    *,
    env: Mapping[str, str] | None,
    cwd: str | None,
    tty: bool | Window,
    linger: bool,
    worker: bool = False,
) -> ProcessSpec:
    """Give one program's request: ``env`` over the sandbox's, ``workspace`` where no ``cwd`` is given."""
    window = (Window() if tty else None) if isinstance(tty, bool) else tty
    if window is not None and not isinstance(window, Window):
        raise SpecError(f"tty: give True or a cloche.Window, not {units.shown(tty)}")
    if worker and window is not None:
        raise SpecError("worker: a program of the resident worker has no terminal; leave out tty or worker")
    merged = {**spec.env, **_own_folders(spec, workspace), **_mapping(env, "env")}
    return ProcessSpec(
        args=args, env=merged, cwd=workspace if cwd is None else cwd, window=window, linger=linger, worker=worker
    )  # fmt: skip


def _own_folders(spec: Spec, workspace: str) -> Mapping[str, str]:
    """Give what the environment must say by default where the work folder lies elsewhere, and /tmp is the host's."""
    if workspace == spec.workspace.target:
        return {}
    usual = {"HOME": spec.workspace.target, "TMPDIR": BASE_ENV["TMPDIR"]}
    return {name: workspace for name, value in usual.items() if spec.env.get(name) == value}


def deadline(timeout: float | str | None, wall: float | None) -> tuple[float, str]:
    """Give how many seconds a call may take, and the reason for its end after them."""
    bound = math.inf if timeout is None else units.duration(timeout, "timeout")
    most = math.inf if wall is None else wall
    return (bound, "timeout") if bound <= most and timeout is not None else (most, "limit:wall")


def _mapping(value: Mapping[str, Any] | None, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise SpecError(f"{what}: a mapping is needed, not {units.shown(value)}")
    return value


def _rootfs(value: str | Path | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str | Path):
        raise SpecError(f"rootfs: a path of the host is needed, not {units.shown(value)}")
    path = Path(units.text(str(value), "rootfs")).absolute()
    if not path.is_dir():
        raise SpecError(f"rootfs: {path} is not a folder of the host")
    return str(path)
