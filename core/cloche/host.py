"""The host: loads plugins, chooses a runtime for each request, owns the sandboxes (asynchronous face)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread

from cloche.config import Config
from cloche.enforcement import Enforcement, Guarantee
from cloche.errors import ClocheError, RuntimeUnavailable, SpecError, StateError, Unenforceable
from cloche.events import Callback, Event, EventType, Subscriptions
from cloche.job import OnOutput
from cloche.pipes import Stdin
from cloche.plugins import Plugins
from cloche.policy import IsolationLevel, Limits, Mount, Network, NetworkMode, Policy, Workspace
from cloche.request import make_policy, make_spec
from cloche.runtime import Runtime
from cloche.sandbox import AsyncSandbox
from cloche.spec import Result, Spec, Window

if TYPE_CHECKING:
    from types import TracebackType

    from anyio.abc import TaskGroup


class Background:
    """Tasks that live as long as the host. One that fails is recorded in ``failures`` and harms no other."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self.failures: list[BaseException] = []

    def start_soon(self, body: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run ``body(*args)`` beside everything else."""
        self._group.start_soon(self._guarded, body, args)

    async def _guarded(self, body: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        try:
            await body(*args)
        except Exception as error:  # noqa: BLE001 - one sandbox's trouble must not end the others
            self.failures.append(error)
            del self.failures[:-100]


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
        self._reasons: dict[str, str | None] = {}
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
        for box in list(self._sandboxes.values()):
            await box.delete()
        for runtime in self.runtimes.values():
            runtime.close()
        self._tasks = None
        self._group.cancel_scope.cancel()
        # The body's own error is not the group's: passed on, it would come back wrapped in an ExceptionGroup.
        await self._group.__aexit__(None, None, None)

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
        if spec.name is not None and any(box.name == spec.name for box in self._sandboxes.values()):
            raise SpecError(f"name: a sandbox named {spec.name!r} exists already; delete it or choose another name")
        chosen, enforcement = await self._choose(spec, runtime or self.config.runtime)
        instance = await chosen.create(spec)
        box = AsyncSandbox(self, spec, instance, runtime=chosen.name, enforcement=enforcement, tasks=self._tasks)
        self._sandboxes[box.id] = box
        self.emit(EventType.CREATED, box)
        if start:
            await box.start()
            self.plugins.created(Event(EventType.CREATED, box.id, box.name))
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
        found = self.runtimes.get(runtime)
        if found is None:
            known = ", ".join(sorted(self.runtimes)) or "none"
            raise SpecError(f"runtime: {runtime!r} is unknown; known runtimes: {known}")
        if runtime not in self._reasons:
            try:
                self._reasons[runtime] = await anyio.to_thread.run_sync(found.unavailable)
            except Exception as error:  # noqa: BLE001 - a third party's code; its trouble makes it unavailable
                self._reasons[runtime] = f"its own check failed: {type(error).__name__}: {error}"
        return self._reasons[runtime]

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _choose(self, spec: Spec, wanted: str | None) -> tuple[Runtime, Enforcement]:
        if wanted is not None and (reason := await self.unavailable(wanted)) is not None:
            raise RuntimeUnavailable(wanted, reason)
        reports: dict[str, Enforcement] = {}
        refused: dict[str, str] = {}
        for name, runtime in self.runtimes.items() if wanted is None else [(wanted, self.runtimes[wanted])]:
            if (reason := await self.unavailable(name)) is not None:
                refused[name] = reason
                continue
            try:
                report = runtime.enforcement(spec)
            except ClocheError as error:
                refused[name] = str(error)
                continue
            unmet = report.refusals(spec.needed())
            if unmet and spec.strict:
                refused[name] = "; ".join(f"{feature}: {why}" for feature, why in unmet.items())
            else:
                reports[name] = report
        if not reports:
            raise Unenforceable(_no_runtime(spec, refused), reasons=refused)
        candidates = [self.runtimes[name] for name in reports]
        candidates.sort(key=lambda r: _preference(r, spec), reverse=True)
        chosen = self.plugins.select_runtime(spec, candidates) if len(candidates) > 1 else candidates[0]
        return chosen, reports[chosen.name]

    def emit(self, kind: EventType, box: AsyncSandbox, **details: str) -> None:
        """Tell everyone who asked; called by sandboxes."""
        self._subscriptions.emit(Event(kind, box.id, box.name, details=details))

    def forget(self, box: AsyncSandbox) -> None:
        """Drop a deleted sandbox; called by it."""
        if self._sandboxes.pop(box.id, None) is not None:
            self.emit(EventType.DELETED, box)
            self.plugins.deleted(Event(EventType.DELETED, box.id, box.name))


def _preference(runtime: Runtime, spec: Spec) -> tuple[bool, int]:
    own_kernel = Guarantee.KERNEL in runtime.guarantees
    return (spec.level.prefer == "strong" or not own_kernel, runtime.strength)


def _no_runtime(spec: Spec, refused: Mapping[str, str]) -> str:
    if not refused:
        return f"isolation {spec.level.name!r} was asked for, but no runtime is installed; see `cloche runtimes`"
    lines = [f"  {name}: {why}" for name, why in refused.items()]
    return "\n".join(
        [
            f"no runtime here can keep isolation {spec.level.name!r} with this policy; nothing was run:",
            *lines,
            "ask for less, or give strict=False to run with what can be kept (box.enforcement says what that is).",
            "`cloche doctor` shows how to fix the machine",
        ]
    )
