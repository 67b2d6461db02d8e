"""The host: loads plugins, chooses a runtime for each request, owns the sandboxes (asynchronous face)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

import anyio

from cloche.background import Background, Step, given_back
from cloche.choice import Choice
from cloche.config import Config
from cloche.enforcement import Guarantee
from cloche.errors import SandboxError, StateError
from cloche.events.acts import Act
from cloche.files.access import PathPermissions
from cloche.files.backend import VfsOptions, open_vfs
from cloche.files.vfs import Vfs
from cloche.incidents.audit_settings import AuditSettings
from cloche.incidents.bench import Bench
from cloche.interpreters.hosting import AsyncInterpreters
from cloche.interpreters.keyboard import Keyboard
from cloche.job import OnOutput
from cloche.known import Known
from cloche.making import Making
from cloche.monitor import Depth, Monitor
from cloche.monitoring.everyone import Everyone
from cloche.monitoring.stream import ROOM, AsyncEvents
from cloche.notices import Callback, Notice, Subscriptions
from cloche.pipes import Stdin
from cloche.plugins import Plugins
from cloche.policy import Limits, Mount, Network, NetworkMode, Policy, Workspace
from cloche.pool.pool import AsyncPool
from cloche.pool.settings import OFF, PoolMode, PoolSettings
from cloche.registry.names import Names
from cloche.registry.part import Part
from cloche.registry.shared import AsyncShared
from cloche.request import Asked
from cloche.rules.ruleset import RulesLike
from cloche.sandbox import AsyncSandbox
from cloche.secured import AsyncSecured
from cloche.snapshots.saving import AsyncSnapshots
from cloche.spec import Result, Spec, Window

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.abc import TaskGroup

    from cloche.pool.figures import PoolStats
    from cloche.profile import Profile


class AsyncHost(Known, Making, AsyncInterpreters, AsyncSecured, AsyncShared, AsyncSnapshots):
    """Loads plugins and owns sandboxes; leaving its ``async with`` block deletes every sandbox still there."""

    def __init__(
        self,
        *,
        config: Config | str | Path | Mapping[str, object] | None = None,
        plugins: Sequence[object] = (),
        entry_points: bool = True,
        registry: bool = True,
        audit: str | Path | Mapping[str, object] | None = None,
        pool: PoolSettings | Mapping[str, object] | bool | None = None,
    ) -> None:
        """Load configuration and plugins.

        ``config`` is a file, a mapping of the same shape, or ``None`` for the usual places; ``plugins`` are further
        plugin objects; ``entry_points=False`` loads no installed plugin, not even the bundled ones. With
        ``registry=False`` other processes of this user neither see nor reach its sandboxes, nor it theirs. ``audit`` is
        the folder of its audit log, or a table as ``[audit]``, instead of the configuration's; so is ``pool`` what it
        keeps ready, as ``[pool]``, ``True`` for the usual, ``False`` for no box ever. Raises ``SpecError`` for a bad
        configuration. A bad plugin raises nothing: see ``plugins.records``.
        """
        self.config = config if isinstance(config, Config) else Config.load(config)
        self.plugins = Plugins.load(self.config, plugins=plugins, entry_points=entry_points)
        self.registry = Part(
            wanted=registry and self.config.registry,
            find=self._find,
            runtimes=lambda: self.runtimes,
            pool=self._pool_stats,
        )
        self.tasks: Background | None = None
        self.installed_only = entry_points and not plugins
        self.subscriptions = Subscriptions()
        self._everyone = Everyone()
        self._sandboxes: dict[str, AsyncSandbox] = {}
        self._interpreters, self._keyboard = set(), Keyboard()
        self._names = Names(self)
        self._choice = Choice(self.plugins, self.registry.prepare)
        log = self.config.audit if audit is None else AuditSettings.of(audit)
        self.bench = Bench(self.plugins, log, self.subscriptions.emit)
        kept = (self.config.pool or OFF) if pool is None else PoolSettings.of(pool)
        self.pool = AsyncPool(kept, ask=self._asked_spec, resolve=self.resolve, registry=self.registry)
        self._group: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise StateError("this host was entered already; make another")
        wanted = self.pool.wanted()  # what raises does so before anything is begun
        self._group = await anyio.create_task_group().__aenter__()
        self.tasks = self.registry.tasks = Background(self._group)
        self.pool.open(self.tasks, wanted)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._group is not None  # noqa: S101 - set by __aenter__
        self.tasks = None  # from now on create refuses
        steps: list[Step] = [
            self.close_interpreters,
            self.pool.close,
            *(box.delete for box in self._sandboxes.values()),
        ]
        steps += [runtime.close for runtime in (*self.runtimes.values(), *self.plugins.retired)]
        # The registry last: were this host killed before, the next one finds there what is left of it.
        troubles = await given_back([*steps, self.registry.close])
        self._everyone.end()
        await self.bench.close()
        self._group.cancel_scope.cancel()
        # The body's own error is not the group's: passed on, it would come back wrapped in an ExceptionGroup.
        await self._group.__aexit__(None, None, None)
        if troubles:
            told = "; ".join(f"{type(trouble).__name__}: {trouble}" for trouble in troubles)
            raise SandboxError(f"closing the host left something behind: {told}") from troubles[0]

    def sandboxes(self) -> list[AsyncSandbox]:
        """Give the sandboxes that are not deleted yet."""
        return list(self._sandboxes.values())

    def on(self, *types: str, callback: Callback) -> Callable[[], None]:
        """Call ``callback(event)`` for events of these types (none given: all); gives a function that stops it.

        Types are ``created started paused resumed stopped deleted failed lost incident``, and ``executed timeout
        security`` of interpreters. It runs on the event loop, so it must be quick; what it raises is kept in
        ``host.callback_failures`` and stops nothing.
        """
        return self.subscriptions.add(types, callback)

    def events(self, *acts: Act | str, sources: Iterable[str] = (), room: int | str = ROOM) -> AsyncEvents:
        """Begin to take the events of all sandboxes of this host, of those too that it makes later.

        As ``box.events``, but it ends when the host closes, and acts that some of them can't tell are no error.
        ``Event.sandbox`` says whose it is.
        """
        return self._everyone.events(acts, sources, room)

    @property
    def callback_failures(self) -> Sequence[tuple[Notice, Exception]]:
        """What callbacks given to ``on`` raised lately."""
        return tuple(self.subscriptions.failures)

    async def create(
        self,
        *,
        name: str | None = None,
        isolation: str | None = None,
        runtime: str | None = None,
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
        start: bool = True,
        pool: PoolMode | None = None,
    ) -> AsyncSandbox:
        """Create a sandbox with the whole policy applied, and start it.

        Keywords go over ``policy``, or over ``profile``: the name of one (``host.profiles``), a ``Path`` or text with
        a slash for a file, or the profile itself; ``require``, ``mounts``, ``forbidden``, ``paths`` and ``env`` add to
        what these have. ``restrict`` comes last: bounds as keywords of ``Policy.restrict`` that nothing above can be
        wider than. ``isolation`` defaults to the configuration's level (``enhanced``).
        ``monitor`` is what is to be seen of the guest: a depth (``writes``, ``full``, ``strict``) or ``Monitor``.
        ``rules`` judge what it does: ``"on"`` (all that plugins bring, with the level's thresholds), ``"audit"`` (they
        only tell), ``"off"``, or ``cloche.Rules``.
        With ``strict`` a policy that can't be kept whole raises ``Unenforceable`` and nothing is created; without it
        the report in ``box.enforcement`` says what is not kept. A ``name`` belongs to one living sandbox of this user
        at a time: who asks for the same again gets that one, attached to if another host owns it, and who asks for
        something else gets ``SpecError``. ``pool`` says whether it may be one that was started before: ``prefer`` such
        a one, ``require`` it, or ``off``; by default what the host was told, see docs/pool.md. Raises ``SpecError``,
        ``Unenforceable``, ``RuntimeUnavailable``, ``StartError``, and ``RegistryError`` if a name can't be kept.
        """
        spec = self.asked(
            name=name, isolation=isolation, require=require, network=network, limits=limits, workspace=workspace,
            mounts=mounts, forbidden=forbidden, paths=paths, monitor=monitor, rules=rules, rootfs=rootfs, env=env,
            hostname=hostname, user=user, lifetime=lifetime, idle_timeout=idle_timeout, metadata=metadata,
            strict=strict, policy=policy, profile=profile, restrict=restrict,
        )[1]  # fmt: skip
        return await self.obtain(spec, runtime, start=start, pool=pool)

    async def run(
        self,
        *args: str,
        stdin: Stdin = None,
        cwd: str | None = None,
        timeout: float | str | None = None,
        tty: bool | Window = False,
        on_output: OnOutput | None = None,
        runtime: str | None = None,
        pool: PoolMode | None = None,
        **asked: Unpack[Asked],
    ) -> Result:
        """Run one program in a sandbox of its own and delete it: ``create``, ``exec`` and ``delete`` in one.

        Keywords are those of these. A ``name`` that a living sandbox has raises ``SpecError``: it is not to be deleted.
        """
        spec = self.asked(**asked)[1]
        async with await self.obtain(spec, runtime, start=True, pool=pool, fresh=True) as box:
            return await box.exec(*args, stdin=stdin, cwd=cwd, timeout=timeout, tty=tty, on_output=on_output)

    async def unavailable(self, runtime: str) -> str | None:
        """Give why a runtime can't work here, or ``None`` if it can. Raises ``SpecError`` for an unknown name."""
        return await self._choice.unavailable(runtime)

    async def vfs(self, name: str, options: VfsOptions = VfsOptions()) -> Vfs:  # noqa: B008 - frozen
        """Open a file system of a plugin, e.g. ``directory``, ``tmpfs`` or ``memory``; the caller closes it.

        Its methods block. Raises ``SpecError``, and ``Unsupported`` where the backend does not work.
        """
        return await open_vfs(self.plugins.backends, name, options)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _asked_spec(self, **asked: Unpack[Asked]) -> Spec:
        return self.asked(**asked)[1]

    async def _pool_stats(self) -> PoolStats:
        return await self.pool.stats()
