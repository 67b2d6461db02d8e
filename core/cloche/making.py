"""The part of a host that makes sandboxes, new or out of its pool, and tells of what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

import anyio

from cloche.choice import Build, created
from cloche.enforcement import Enforcement
from cloche.errors import StateError
from cloche.monitoring import taps
from cloche.notices import Notice, NoticeType
from cloche.programs import blame
from cloche.sandbox import AsyncSandbox
from cloche.spec import State

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.choice import Choice
    from cloche.config import Config
    from cloche.host import AsyncHost
    from cloche.incidents.bench import Bench
    from cloche.incidents.incident import Incident
    from cloche.incidents.prepare import Judging
    from cloche.monitoring.everyone import Everyone
    from cloche.notices import Subscriptions
    from cloche.plugins import Plugins
    from cloche.pool.pool import AsyncPool
    from cloche.pool.settings import PoolMode
    from cloche.pool.warm import Warm
    from cloche.registry.names import Names
    from cloche.registry.part import Part
    from cloche.runtime import Instance, Runtime
    from cloche.spec import Spec

CLOSED = "the host was closed while the sandbox was being created"


class Making:
    """What a host does for each of its sandboxes."""

    bench: Bench
    config: Config
    plugins: Plugins
    pool: AsyncPool
    registry: Part
    tasks: Background | None
    _choice: Choice
    _everyone: Everyone
    _names: Names
    _sandboxes: dict[str, AsyncSandbox]
    subscriptions: Subscriptions

    # -- for other parts of a host ----------------------------------------------------------------------------------

    async def obtain(
        self,
        spec: Spec,
        runtime: str | None,
        *,
        start: bool,
        fresh: bool = False,
        pool: PoolMode | None = "off",
        build: Build = created,
    ) -> AsyncSandbox:
        """Give a new sandbox, or the living one that has its name unless it must be ``fresh``; called by parts."""
        if self.tasks is None:
            raise StateError("the host is not open; use it as a context manager")
        mode, wanted = self.pool.mode(pool), self.config.runtime if runtime is None else runtime
        if spec.name is None:
            return await self._make(spec, wanted, start=start, pool=mode, build=build)
        async with self._names.held(spec.name) as holding:
            living = await self._names.living(spec.name, holding)
            if living is None:
                box = await self._make(spec, wanted, start=start, pool=mode, build=build)
                holding.give(self.registry.host_id, box.id)
                return box
            await self._names.check(spec, runtime, living, fresh=fresh)
            if start and living.state is State.CREATED:
                await living.start()
            return living

    async def resolve(self, spec: Spec, runtime: str | None) -> tuple[Runtime, Spec]:
        """Give who makes a box for ``spec``, and what it is handed; called by its pool and for templates."""
        return (await self._chosen(spec, self.config.runtime if runtime is None else runtime))[:2]

    async def take(self, box: AsyncSandbox, *, start: bool) -> None:
        """Own a new sandbox from now on, and start it; called by those who make one."""
        self._sandboxes[box.id] = box
        box.join(self._everyone)
        self.emit(NoticeType.CREATED, box)
        if start:
            await box.start()

    def started(self, box: AsyncSandbox) -> None:
        """Tell everyone that a sandbox is up; called by it."""
        self.emit(NoticeType.STARTED, box)
        self.plugins.created(Notice(NoticeType.CREATED, box.id, box.name))

    def emit(self, kind: NoticeType, box: AsyncSandbox, **details: str) -> None:
        """Tell everyone who asked; called by sandboxes."""
        box.step(kind, details.get("reason", "") or details.get("error", ""))
        self.registry.changed(box, kind)
        self.subscriptions.emit(Notice(kind, box.id, box.name, details=details))

    def incident(self, box: AsyncSandbox, incident: Incident, untold: int) -> None:
        """Tell everyone who asked of an incident, and how many of its rule were not told before; called by a judge."""
        details = {"rule": incident.rule, "untold": str(untold)} if untold else {"rule": incident.rule}
        self.subscriptions.emit(Notice(NoticeType.INCIDENT, box.id, box.name, details=details, incident=incident))

    def forget(self, box: AsyncSandbox) -> None:
        """Drop a deleted sandbox; called by it."""
        if self._sandboxes.pop(box.id, None) is not None:
            self.emit(NoticeType.DELETED, box)
            self.registry.drop(box)
            self.plugins.deleted(Notice(NoticeType.DELETED, box.id, box.name))

    # -- inside -----------------------------------------------------------------------------------------------------

    def _find(self, sandbox_id: str) -> AsyncSandbox | None:
        return self._sandboxes.get(sandbox_id)

    async def _make(self, spec: Spec, wanted: str | None, *, start: bool, pool: PoolMode, build: Build) -> AsyncSandbox:
        chosen, full, judging, enforcement = await self._chosen(spec, wanted)
        with self.pool.in_front():
            warm = await self.pool.take(full, chosen, pool)
            if warm is None:
                await self.registry.prepare(chosen)
                with blame(chosen.name):
                    instance = await build(chosen, full)
            else:
                instance, spec = warm.instance, replace(spec, id=warm.id)
            tasks = self.tasks
            if tasks is None:
                await _drop(instance, warm)
                raise StateError(CLOSED)
            box = AsyncSandbox(
                cast("AsyncHost", self),  # the one class that this is a part of
                spec, instance, runtime=chosen.name, enforcement=enforcement, tasks=tasks,
                report=partial(self._choice.report, chosen.name), judging=judging, warm=warm,
            )  # fmt: skip
            await self.take(box, start=start)
        try:
            self.registry.enter(box)
        except BaseException:
            await box.delete()
            raise
        return box

    async def _chosen(self, spec: Spec, wanted: str | None) -> tuple[Runtime, Spec, Judging | None, Enforcement]:
        """Give who makes a box for ``spec``, what it is handed, what judges the box, and what is kept."""
        if spec.monitor.sources:
            taps.check(self.plugins, spec)
        asked = None if wanted is None else self._choice.named(wanted)
        self.bench.full(spec, asked)  # what can't be meant is no runtime's refusal
        chosen, report = await self._choice.choose(spec, wanted, self.bench.full)
        full, judging = self.bench.full(spec, chosen), self.bench.judging(spec, runtime=chosen)
        if self.tasks is None:
            raise StateError(CLOSED)
        return chosen, full, judging, report if judging is None else judging.told(report)


async def _drop(instance: Instance, warm: Warm | None) -> None:
    with anyio.CancelScope(shield=True):
        await (instance.delete() if warm is None else warm.delete())
