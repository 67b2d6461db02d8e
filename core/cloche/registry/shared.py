"""What a host does together with the other hosts of its user (asynchronous face)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from cloche import units
from cloche.enforcement import Guarantee
from cloche.errors import RegistryError, SpecError
from cloche.files.access import PathPermissions
from cloche.monitor import Depth, Monitor
from cloche.policy import Limits, Mount, Network, NetworkMode, Policy, Workspace
from cloche.pool.settings import PoolMode, pool_mode
from cloche.registry.folder import exists
from cloche.request import Asked, make_policy, make_spec, restricted
from cloche.rules.ruleset import RulesLike
from cloche.sandbox import AsyncSandbox
from cloche.spec import Spec

if TYPE_CHECKING:
    from cloche.host import AsyncHost
    from cloche.pool.figures import PoolRecord
    from cloche.profile import Profile
    from cloche.registry.record import SandboxRecord


class AsyncShared:
    """The verbs of a host that reach beyond its own sandboxes."""

    @property
    def registry_note(self) -> str:
        """Why this host takes no part in the registry, or what could not be written lately; ``""`` if all is well."""
        return _host(self).registry.note

    async def list(self) -> Sequence[SandboxRecord]:
        """Give a record of every sandbox of this user on this machine, this host's and all others', oldest first.

        A record that can't be read is there too, with ``trouble``. Those of dead hosts are ``orphaned``; what they
        left is swept before this returns, so they are shown once.
        """
        from cloche.registry import reach  # noqa: PLC0415 - 10 ms that few hosts need

        host = _host(self)
        try:
            found = await reach.records(host)
        except RegistryError:
            if not host.registry.wanted or exists():
                raise
            return []
        with contextlib.suppress(RegistryError, FileNotFoundError):  # no folder: nobody has left anything
            await host.registry.tidy()  # also the places of dead hosts that had no sandbox
        return found

    async def sweep(self) -> Sequence[str]:
        """Remove what killed hosts of this user left, and give what that was, in words.

        Raises ``RegistryError`` for what could not be removed, when all else is.
        """
        removed, kept = await _host(self).registry.sweep()
        if kept:
            raise RegistryError(
                f"some things stay: {'; '.join(kept)}" + (f" (removed: {len(removed)})" * bool(removed))
            )
        return removed

    async def attach(self, which: str) -> AsyncSandbox:
        """Give the sandbox of that name, that id or whose id alone begins so, whichever host of this user owns it.

        Another host's is driven through that host. Leaving its block detaches: what was started here ends, unless by
        ``spawn(detach=True)``; only ``delete`` deletes it. Raises ``NotFound``, ``SpecError`` for an unclear beginning,
        ``RegistryError`` if its host does not answer.
        """
        host = _host(self)
        units.identifier(which, "sandbox")
        own = [box for box in host.sandboxes() if which in (box.name, box.id)]
        if own:
            return own[0]
        from cloche.registry import reach  # noqa: PLC0415 - see list

        host_id, sandbox_id = reach.find(host, which)
        own = [box for box in host.sandboxes() if box.id == sandbox_id]
        return own[0] if own else await reach.attach(host, host_id, sandbox_id)

    async def pools(self) -> Sequence[PoolRecord]:
        """Ask every living host of this user on this machine how its pool does, this one too; the keeper's first.

        One that does not answer is there with ``trouble``. Hosts that never kept a box ready are left out.
        """
        from cloche.registry import pools  # noqa: PLC0415 - see list

        return await pools.ask_all(_host(self))

    async def keep(
        self,
        *,
        runtime: str | None = None,
        start: bool = True,
        pool: PoolMode | None = None,
        tied: bool = False,
        **asked: Unpack[Asked],
    ) -> AsyncSandbox:
        """Have the keeper create a sandbox that outlives this process, and attach to it; keywords as in ``create``.

        The keeper is a background process of this user, started when needed, gone when its last sandbox is. It has
        this host's configuration and the installed plugins; plugin objects given to this host can't be handed to it.
        ``pool`` is about the keeper's pool. With ``tied`` the sandbox is deleted when this process detaches or ends.
        Raises what ``create`` raises, and ``RegistryError``.
        """
        from cloche.registry.keep import Request, keep  # noqa: PLC0415 - see list

        policy, spec = self.asked(**asked)
        policy.rules.as_plain()  # refuses what no keeper can be given
        request = Request(
            policy=policy, name=spec.name, runtime=runtime, rootfs=spec.rootfs, env=spec.env, hostname=spec.hostname,
            user=spec.user, lifetime=spec.lifetime, idle_timeout=spec.idle_timeout, metadata=dict(spec.metadata),
            strict=spec.strict, start=start, pool=None if pool is None else pool_mode(pool),
        )  # fmt: skip
        return await keep(_host(self), request, tied=tied)

    def asked(
        self,
        *,
        name: str | None = None,
        isolation: str | None = None,
        require: Iterable[Guarantee | str] = (),
        network: Network | NetworkMode | None = None,
        limits: Limits | Mapping[str, object] | None = None,
        workspace: Workspace | str | Path | None = None,
        mounts: Iterable[Mount] = (),
        forbidden: Iterable[str] = (),
        paths: PathPermissions | None = None,
        monitor: Monitor | Depth | None = None,
        rules: RulesLike | None = None,
        rootfs: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        hostname: str = "cloche",
        user: int = 1000,
        lifetime: float | str | None = None,
        idle_timeout: float | str | None = None,
        metadata: Mapping[str, str] | None = None,
        strict: bool = True,
        policy: Policy | None = None,
        profile: str | Path | Profile | None = None,
        restrict: Mapping[str, Any] | None = None,
    ) -> tuple[Policy, Spec]:
        """Give the policy and the whole request that the keywords of ``create`` amount to. Raises ``SpecError``."""
        host = _host(self)
        if profile is not None:
            if policy is not None:
                raise SpecError("profile= and policy= were both given; each is a whole policy, so give one")
            chosen = host.profiles.choose(profile)
            policy = chosen.policy
            env, lifetime, idle_timeout = chosen.around(env, lifetime=lifetime, idle_timeout=idle_timeout)
        if isolation is None and policy is None:
            isolation = host.config.default_isolation
        asked = make_policy(
            policy, isolation=isolation, require=require, network=network, limits=limits, workspace=workspace,
            mounts=mounts, forbidden=forbidden, paths=paths, monitor=monitor, rules=rules,
        )  # fmt: skip
        if restrict is not None:
            asked = restricted(asked, host.levels, restrict)
        return asked, make_spec(
            asked, host.levels, name=name, rootfs=rootfs, env=env, hostname=hostname, user=user, lifetime=lifetime,
            idle_timeout=idle_timeout, metadata=metadata, strict=strict,
        )  # fmt: skip


def _host(shared: AsyncShared) -> AsyncHost:
    return cast("AsyncHost", shared)  # the one class that this is a part of
