"""The host: loads plugins, chooses a runtime for each request, owns the sandboxes (asynchronous face)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import anyio

from cloche.background import Background
from cloche.choice import Choice
from cloche.config import Config
from cloche.enforcement import Guarantee
from cloche.errors import SandboxError, SpecError, StateError
from cloche.events import Callback, Event, EventType, Subscriptions
from cloche.job import OnOutput
from cloche.pipes import Stdin
from cloche.plugins import Plugins
from cloche.policy import IsolationLevel, Limits, Mount, Network, NetworkMode, Policy, Workspace
from cloche.programs import blame
from cloche.request import make_policy, make_spec
from cloche.runtime import Runtime
from cloche.sandbox import AsyncSandbox
from cloche.spec import Result, Window

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.abc import TaskGroup


class AsyncHost:
    """Loads plugins and owns sandboxes; leaving its ``async with`` block deletes every sandbox still there."""

    def __init__(
        self,
        *,
        config: Config | str | Path | Mapping[str, object] | None = None,
        plugins: Sequence[object] = (),
        entry_points: bool = True,
    ) -> None:
        """Load configuration and plugins.

        ``config`` is a file, a mapping of the same shape, or ``None`` for the usual places; ``plugins`` are further
        plugin objects; ``entry_points=False`` loads no installed plugin, not even the bundled ones. Raises
        ``SpecError`` for a bad configuration. A bad plugin raises nothing: see ``plugins.records``.
        """
        self.config = config if isinstance(config, Config) else Config.load(config)
        self.plugins = Plugins.load(self.config, plugins=plugins, entry_points=entry_points)
        self._subscriptions = Subscriptions()
        self._sandboxes: dict[str, AsyncSandbox] = {}
        self._names: set[str] = set()
        self._choice = Choice(self.plugins)
        self._group: TaskGroup | None = None
        self._tasks: Background | None = None

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise StateError("this host was entered already; make another")
        self._group = await anyio.create_task_group().__aenter__()
        self._tasks = Background(self._group)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._group is not None  # noqa: S101 - set by __aenter__
        self._tasks = None  # from now on create refuses
        troubles: list[Exception] = []
        for give_back in [box.delete for box in self._sandboxes.values()]:
            try:
                await give_back()
            except Exception as trouble:  # noqa: BLE001 - raised below, when the others are gone too
                troubles.append(trouble)
        for runtime in (*self.runtimes.values(), *self.plugins.retired):
            try:
                runtime.close()
            except Exception as trouble:  # noqa: BLE001 - the same
                troubles.append(trouble)
        self._group.cancel_scope.cancel()
        # The body's own error is not the group's: passed on, it would come back wrapped in an ExceptionGroup.
        await self._group.__aexit__(None, None, None)
        if troubles:
            told = "; ".join(f"{type(trouble).__name__}: {trouble}" for trouble in troubles)
            raise SandboxError(f"closing the host left something behind: {told}") from troubles[0]

    @property
    def runtimes(self) -> Mapping[str, Runtime]:
        """The runtimes of all loaded plugins by name, whether they work here or not."""
        return self.plugins.runtimes

    @property
    def levels(self) -> Mapping[str, IsolationLevel]:
        """The isolation levels of all loaded plugins by name."""
        return self.plugins.levels

    def sandboxes(self) -> list[AsyncSandbox]:
        """Give the sandboxes that are not deleted yet."""
        return list(self._sandboxes.values())

    def on(self, *types: str, callback: Callback) -> Callable[[], None]:
        """Call ``callback(event)`` for events of these types (none given: all); gives a function that stops it.

        Types are ``created started paused resumed stopped deleted failed``. The callback runs on the event loop, so
        it must be quick; what it raises is kept in ``host.callback_failures`` and stops nothing.
        """
        return self._subscriptions.add(types, callback)

    @property
    def callback_failures(self) -> Sequence[tuple[Event, Exception]]:
        """What callbacks given to ``on`` raised lately."""
        return tuple(self._subscriptions.failures)

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
    ) -> AsyncSandbox:
        """Create a sandbox with the whole policy applied, and start it.

        Keywords go over ``policy``. ``isolation`` defaults to the configuration's level (``enhanced``). With
        ``strict`` a policy that can't be kept whole raises ``Unenforceable`` and nothing is created; without it the
        report in ``box.enforcement`` says what is not kept. Raises ``SpecError``, ``Unenforceable``,
        ``RuntimeUnavailable``, ``StartError``.
        """
        if self._tasks is None:
            raise StateError("the host is not open; use it as a context manager")
        if isolation is None and policy is None:
            isolation = self.config.default_isolation
        asked = make_policy(
            policy, isolation=isolation, require=require, network=network, limits=limits, workspace=workspace,
            mounts=mounts, forbidden=forbidden,
        )  # fmt: skip
        spec = make_spec(
            asked, self.levels, name=name, rootfs=rootfs, env=env, hostname=hostname, user=user, lifetime=lifetime,
            idle_timeout=idle_timeout, metadata=metadata, strict=strict,
        )  # fmt: skip
        with self._reserved(spec.name):
            chosen, enforcement = await self._choice.choose(spec, self.config.runtime if runtime is None else runtime)
            with blame(chosen.name):
                instance = await chosen.create(spec)
            tasks = self._tasks
            if tasks is None:
                await instance.delete()
                raise StateError("the host was closed while the sandbox was being created")
            box = AsyncSandbox(self, spec, instance, runtime=chosen.name, enforcement=enforcement, tasks=tasks)
            self._sandboxes[box.id] = box
        self.emit(EventType.CREATED, box)
        if start:
            await box.start()
        return box

    async def run(
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
        """Run one program in a sandbox of its own and delete it: ``create``, ``exec`` and ``delete`` in one."""
        async with await self.create(
            name=name, isolation=isolation, runtime=runtime, require=require, network=network, limits=limits,
            workspace=workspace, mounts=mounts, forbidden=forbidden, rootfs=rootfs, env=env, user=user, strict=strict,
            policy=policy,
        ) as box:  # fmt: skip
            return await box.exec(*args, stdin=stdin, cwd=cwd, timeout=timeout, tty=tty, on_output=on_output)

    async def unavailable(self, runtime: str) -> str | None:
        """Give why a runtime can't work here, or ``None`` if it can. Raises ``SpecError`` for an unknown name."""
        return await self._choice.unavailable(runtime)

    # -- inside -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _reserved(self, name: str | None) -> Iterator[None]:
        """Keep ``name`` for the sandbox that is being created; it holds it itself once it is on the list."""
        if name is None:
            yield
            return
        if name in self._names or any(box.name == name for box in self._sandboxes.values()):
            raise SpecError(f"name: a sandbox named {name!r} exists already; delete it or choose another name")
        self._names.add(name)
        try:
            yield
        finally:
            self._names.discard(name)

    def started(self, box: AsyncSandbox) -> None:
        """Tell everyone that a sandbox is up; called by it."""
        self.emit(EventType.STARTED, box)
        self.plugins.created(Event(EventType.CREATED, box.id, box.name))

    def emit(self, kind: EventType, box: AsyncSandbox, **details: str) -> None:
        """Tell everyone who asked; called by sandboxes."""
        self._subscriptions.emit(Event(kind, box.id, box.name, details=details))

    def forget(self, box: AsyncSandbox) -> None:
        """Drop a deleted sandbox; called by it."""
        if self._sandboxes.pop(box.id, None) is not None:
            self.emit(EventType.DELETED, box)
            self.plugins.deleted(Event(EventType.DELETED, box.id, box.name))
