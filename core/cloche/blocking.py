"""The blocking face: the same verbs as the asynchronous one, for programs without an event loop.

Each ``Host`` runs an event loop in a thread of its own; every call hands its work there and waits. Callbacks
(``on_output``, ``host.on``) run on that thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cloche.blocking_sandbox import Job, Sandbox
from cloche.bridge import Bridge
from cloche.config import Config
from cloche.enforcement import Guarantee
from cloche.events import Callback, Event
from cloche.host import AsyncHost
from cloche.job import AsyncJob, OnOutput
from cloche.pipes import Stdin
from cloche.plugins import Plugins
from cloche.policy import IsolationLevel, Limits, Mount, Network, NetworkMode, Policy, Workspace
from cloche.runtime import Runtime
from cloche.sandbox import AsyncSandbox
from cloche.spec import Result, Window

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Host", "Job", "Sandbox"]


class Host:
    """Loads plugins and owns sandboxes (blocking face of ``AsyncHost``). Leaving its ``with`` block deletes all."""

    def __init__(
        self,
        *,
        config: Config | str | Path | Mapping[str, object] | None = None,
        plugins: Sequence[object] = (),
        entry_points: bool = True,
    ) -> None:
        self._inner = AsyncHost(config=config, plugins=plugins, entry_points=entry_points)
        self._bridge = Bridge(self._inner)

    def __enter__(self) -> Self:
        self._bridge.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
    def callback_failures(self) -> Sequence[tuple[Event, Exception]]:
        """What callbacks given to ``on`` raised lately."""
        return self._inner.callback_failures

    def sandboxes(self) -> list[Sandbox]:
        return [Sandbox(box, self._bridge) for box in self._bridge.call(self._inner.sandboxes)]

    def on(self, *types: str, callback: Callback) -> Callable[[], None]:
        return self._inner.on(*types, callback=callback)

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
        rootfs: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        hostname: str = "cloche",
        user: int = 1000,
        lifetime: float | str | None = None,
        idle_timeout: float | str | None = None,
        metadata: Mapping[str, str] | None = None,
        strict: bool = True,
        policy: Policy | None = None,
        start: bool = True,
    ) -> Sandbox:
        call = partial(
            self._inner.create, name=name, isolation=isolation, runtime=runtime, require=require, network=network,
            limits=limits, workspace=workspace, mounts=mounts, forbidden=forbidden, rootfs=rootfs, env=env,
            hostname=hostname, user=user, lifetime=lifetime, idle_timeout=idle_timeout, metadata=metadata,
            strict=strict, policy=policy, start=start,
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
        name: str | None = None,
        isolation: str | None = None,
        runtime: str | None = None,
        require: Iterable[Guarantee | str] = (),
        network: Network | NetworkMode | None = None,
        limits: Limits | Mapping[str, object] | None = None,
        workspace: Workspace | str | Path | None = None,
        mounts: Iterable[Mount] = (),
        forbidden: Iterable[str] = (),
        rootfs: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        user: int = 1000,
        strict: bool = True,
        policy: Policy | None = None,
    ) -> Result:
        call = partial(
            self._inner.run, *args, stdin=stdin, cwd=cwd, timeout=timeout, tty=tty, on_output=on_output, name=name,
            isolation=isolation, runtime=runtime, require=require, network=network, limits=limits,
            workspace=workspace, mounts=mounts, forbidden=forbidden, rootfs=rootfs, env=env, user=user, strict=strict,
            policy=policy,
        )  # fmt: skip
        return self._bridge.call(call)

    def unavailable(self, runtime: str) -> str | None:
        return self._bridge.call(self._inner.unavailable, runtime)


def _share_docstrings() -> None:
    for ours, theirs in ((Host, AsyncHost), (Sandbox, AsyncSandbox), (Job, AsyncJob)):
        for name, member in vars(ours).items():
            if callable(member) and not name.startswith("_"):
                member.__doc__ = getattr(theirs, name).__doc__
    Host.__init__.__doc__ = AsyncHost.__init__.__doc__


_share_docstrings()
