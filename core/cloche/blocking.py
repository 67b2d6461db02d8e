"""The blocking face: the same verbs as the asynchronous one, for programs without an event loop.

Each ``Host`` runs an event loop in a thread of its own; every call hands its work there and waits. Callbacks
(``on_output``, ``host.on``) run on that thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from cloche.blocking_events import Events, Judged, Shown
from cloche.blocking_interpreters import Boxed, Interpreters
from cloche.blocking_pool import Pool
from cloche.blocking_sandbox import Job, Sandbox
from cloche.blocking_secure import Secured
from cloche.blocking_shared import Shared
from cloche.blocking_snapshots import Snapshots
from cloche.bridge import Bridge
from cloche.config import Config
from cloche.enforcement import Guarantee
from cloche.events.acts import Act
from cloche.files.access import PathPermissions
from cloche.files.backend import VfsOptions
from cloche.files.vfs import Vfs
from cloche.host import AsyncHost
from cloche.interpreters.boxed import AsyncBoxed
from cloche.interpreters.hosting import AsyncInterpreters
from cloche.job import AsyncJob, OnOutput
from cloche.level import IsolationLevel
from cloche.monitor import Depth, Monitor
from cloche.monitoring.judged import AsyncJudged
from cloche.monitoring.shown import AsyncShown
from cloche.monitoring.stream import ROOM, AsyncEvents
from cloche.notices import Callback, Notice
from cloche.pipes import Stdin
from cloche.plugins import Plugins
from cloche.policy import Limits, Mount, Network, NetworkMode, Policy, Workspace
from cloche.pool.pool import AsyncPool
from cloche.pool.settings import PoolMode, PoolSettings
from cloche.registry.shared import AsyncShared
from cloche.request import Asked
from cloche.rules.ruleset import RulesLike
from cloche.runtime import Runtime
from cloche.sandbox import AsyncSandbox
from cloche.secured import AsyncSecured
from cloche.snapshots.saving import AsyncSnapshots
from cloche.spec import Result, Window

if TYPE_CHECKING:
    from types import TracebackType

    from cloche.profile import Profile
    from cloche.profiles import Profiles

__all__ = ["Host", "Job", "Sandbox"]


class Host(Interpreters, Secured, Shared, Snapshots):
    """Loads plugins and owns sandboxes (blocking face of ``AsyncHost``). Leaving its ``with`` block deletes all."""

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
        self._inner = AsyncHost(
            config=config, plugins=plugins, entry_points=entry_points, registry=registry, audit=audit, pool=pool
        )
        self._bridge = Bridge(self._inner)

    def __enter__(self) -> Self:
        self._bridge.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.check_outside("close its host")
        self._bridge.close()

    @property
    def config(self) -> Config:
        """The configuration it was made with."""
        return self._inner.config

    @property
    def plugins(self) -> Plugins:
        """What was loaded, and what failed."""
        return self._inner.plugins

    @property
    def runtimes(self) -> Mapping[str, Runtime]:
        """The runtimes of all loaded plugins by name, whether they work here or not."""
        return self._inner.runtimes

    @property
    def levels(self) -> Mapping[str, IsolationLevel]:
        """The isolation levels of all loaded plugins by name."""
        return self._inner.levels

    @property
    def profiles(self) -> Profiles:
        """The profiles by name: those of plugins, then of files in the usual folders. Read when asked for."""
        return self._inner.profiles

    @property
    def pool(self) -> Pool:
        """The boxes that it keeps ready."""
        return Pool(self._inner.pool, self._bridge)

    @property
    def callback_failures(self) -> Sequence[tuple[Notice, Exception]]:
        """What callbacks given to ``on`` raised lately."""
        return self._inner.callback_failures

    def sandboxes(self) -> list[Sandbox]:
        return [Sandbox(box, self._bridge) for box in self._bridge.call(self._inner.sandboxes)]

    def on(self, *types: str, callback: Callback) -> Callable[[], None]:
        return self._inner.on(*types, callback=callback)

    def events(self, *acts: Act | str, sources: Iterable[str] = (), room: int | str = ROOM) -> Events:
        return Events(self._bridge.call(partial(self._inner.events, *acts, sources=sources, room=room)), self._bridge)

    def create(
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
    ) -> Sandbox:
        call = partial(
            self._inner.create, name=name, isolation=isolation, runtime=runtime, require=require, network=network,
            limits=limits, workspace=workspace, mounts=mounts, forbidden=forbidden, paths=paths, monitor=monitor,
            rules=rules, rootfs=rootfs, env=env, hostname=hostname, user=user, lifetime=lifetime,
            idle_timeout=idle_timeout, metadata=metadata, strict=strict, policy=policy, profile=profile,
            restrict=restrict, start=start, pool=pool,
        )  # fmt: skip
        return Sandbox(self._bridge.call(call), self._bridge)

    def run(
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
        call = partial(
            self._inner.run, *args, stdin=stdin, cwd=cwd, timeout=timeout, tty=tty, on_output=on_output,
            runtime=runtime, pool=pool, **asked,
        )  # fmt: skip
        return self._bridge.call(call)

    def vfs(self, name: str, options: VfsOptions = VfsOptions()) -> Vfs:  # noqa: B008 - frozen
        return self._bridge.call(self._inner.vfs, name, options)

    def unavailable(self, runtime: str) -> str | None:
        return self._bridge.call(self._inner.unavailable, runtime)


def _share_docstrings() -> None:
    for ours, theirs in (
        (Host, AsyncHost), (Shared, AsyncShared), (Secured, AsyncSecured), (Sandbox, AsyncSandbox), (Shown, AsyncShown),
        (Judged, AsyncJudged), (Job, AsyncJob), (Pool, AsyncPool),
        (Events, AsyncEvents), (Interpreters, AsyncInterpreters), (Boxed, AsyncBoxed), (Snapshots, AsyncSnapshots),
    ):  # fmt: skip
        for name, member in vars(ours).items():
            if callable(member) and not name.startswith("_"):
                member.__doc__ = getattr(theirs, name).__doc__
    Host.__init__.__doc__ = AsyncHost.__init__.__doc__


_share_docstrings()
