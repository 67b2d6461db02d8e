"""The pool of one host: who asks gets a box that is started already, and others are started behind them.

A box is given out once and deleted by whoever got it. It is never put back: nobody can prove of a box in which foreign
code has run that nothing of it is left (docs/decisions/0040-a-box-is-used-once.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, Unpack

import anyio

from cloche import units
from cloche.background import given_back
from cloche.errors import ClocheError, SandboxError, SpecError, StartError, StateError
from cloche.pool.figures import PoolStats, added, of_shelf
from cloche.pool.filling import Filling
from cloche.pool.settings import BOXES_MOST, PoolMode, PoolSettings, PoolTemplate, pool_mode
from cloche.pool.template import template_of, why_not
from cloche.request import Asked

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.pool.shelf import Shelf
    from cloche.pool.warm import Warm
    from cloche.registry.part import Part
    from cloche.runtime import Runtime
    from cloche.spec import Spec

Resolve = Callable[["Spec", "str | None"], Awaitable[tuple["Runtime", "Spec"]]]
"""Gives the runtime that makes a box for a request, and the request as it is handed to it."""
_NOWHERE: Final = "the pool of this host has no room (pool.max or pool.total is 0)"


class AsyncPool:
    """Started boxes that wait. A host has one; it does nothing until it is asked."""

    def __init__(self, settings: PoolSettings, *, ask: Callable[..., Spec], resolve: Resolve, registry: Part) -> None:
        """Take what gives a request for the keywords of ``create``, and what says who makes its box."""
        self.settings = settings
        self._ask = ask
        self._resolve = resolve
        self._filling = Filling(settings, registry)
        self._problem = ""

    async def stats(self) -> PoolStats:
        """Give what waits, what it costs, and how often somebody got something from it."""
        filling = self._filling
        now = filling.clock()
        rows = tuple([await of_shelf(shelf, now) for shelf in filling.shelves])
        told = [row.memory for row in rows if row.memory is not None]
        return PoolStats(
            **added([*rows, filling.forgotten]), mode=self.settings.mode, total=self.settings.total,
            memory=sum(told) if told else None, problem=self._problem or filling.problem, templates=rows,
        )  # fmt: skip

    async def warm(
        self, count: int = 1, *, runtime: str | None = None, wait: bool = True, **asked: Unpack[Asked]
    ) -> None:
        """Keep at least ``count`` boxes ready for what these keywords of ``create`` ask, as long as the host lives.

        0 takes that back. With ``wait`` it returns when they are ready. What belongs to one sandbox alone, e.g. its
        name, may not be given. Raises what ``create`` raises; ``SpecError`` too for a request whose boxes can't wait,
        and for more boxes than the pool may have.
        """
        units.count(count, "warm", least=0, most=BOXES_MOST)
        if own := [name for name in ("name", "metadata", "env", "lifetime", "idle_timeout") if name in asked]:
            raise SpecError(f"warm: {', '.join(own)} belong to one sandbox; give them to create")
        await self._declare(count, self._ask(**asked), runtime, wait=wait)

    # -- for the host -----------------------------------------------------------------------------------------------

    def wanted(self) -> list[tuple[PoolTemplate, Spec]]:
        """Give what the settings name. Raises ``SpecError`` for a template that makes no sense."""
        return [
            (row, self._ask(profile=row.profile, isolation=row.isolation, network=row.network))
            for row in self.settings.templates
        ]

    def open(self, tasks: Background, wanted: Iterable[tuple[PoolTemplate, Spec]]) -> None:
        """Begin, and have these ready."""
        self._filling.open(tasks)
        for template, spec in wanted:
            tasks.start_soon(self._declare_quietly, template, spec)

    async def close(self) -> None:
        """Give all boxes back. Raises ``SandboxError`` if one can't be."""
        await self._filling.stop()
        troubles = await given_back([box.delete for box in self._filling.everything()])
        if troubles:
            raise SandboxError(f"a box that waited could not be given back: {troubles[0]}") from troubles[0]

    def mode(self, asked: PoolMode | None) -> PoolMode:
        """Give how the pool is used by whoever asks so. Raises ``SpecError``."""
        return self.settings.mode if asked is None else pool_mode(asked)

    def in_front(self) -> AbstractContextManager[None]:
        """Give a context in which somebody waits for what is done: no box is begun behind them."""
        return self._filling.in_front()

    def holds(self) -> bool:
        """Say whether a box waits or is being started."""
        return self._filling.count() > 0

    async def take(self, spec: Spec, runtime: Runtime, mode: PoolMode) -> Warm | None:
        """Give a box for the request, which is the caller's from now on; ``None``: a new one is to be made.

        Raises ``SpecError`` and ``StartError`` where the caller will have nothing else.
        """
        if mode == "off":
            return None
        why = why_not(spec) if self.settings.has_room else _NOWHERE
        if why:
            if mode == "require":
                raise SpecError(f"pool: 'require' was asked for, but {why}. Or ask for pool='prefer'")
            return None
        filling = self._filling
        shelf = filling.shelf(template_of(spec), runtime)
        shelf.asked_at = filling.clock()
        box = await filling.give(shelf)
        if box is not None:
            shelf.hit()
        else:
            shelf.miss()
        filling.ring()
        if box is None and mode == "require":
            return await self._waited(shelf)
        return box

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _waited(self, shelf: Shelf) -> Warm:
        """Wait for a box. Raises ``StartError`` when one could not be started, or the time is over."""
        filling, failed = self._filling, shelf.failed + shelf.died
        shelf.waiting += 1
        try:
            with anyio.move_on_after(self.settings.wait):
                while filling.is_open:
                    if (box := await filling.give(shelf)) is not None:
                        return box
                    left = shelf.retry_at - filling.clock()
                    if shelf.failed + shelf.died > failed or left > 0:
                        raise StartError(
                            f"pool: no box of this kind can be had from it: {shelf.problem}; it is tried again in "
                            f"{max(0.0, left):.1f} s"
                        )
                    filling.ring()
                    await filling.changed()
        finally:
            shelf.waiting -= 1
        if not filling.is_open:
            raise StateError("the host was closed while a box of its pool was waited for")
        raise StartError(
            f"pool: no box of this kind was ready within {self.settings.wait:g} s (pool.wait); {filling.count()} of "
            f"{self.settings.total} wait or are being started (pool.total)"
        )

    async def _declare(self, count: int, spec: Spec, runtime: str | None, *, wait: bool) -> None:
        if not self._filling.is_open:
            raise StateError("the host is not open; use it as a context manager")
        if count > self.settings.max:
            raise SpecError(f"warm: {count} boxes were asked for; pool.max allows {self.settings.max} of one kind")
        if why := why_not(spec):
            raise SpecError(f"warm: no box can wait for this: {why}")
        chosen, full = await self._resolve(spec, runtime)
        filling, template = self._filling, template_of(full)
        others = sum(other.declared for other in filling.shelves if not other.matches(template, chosen))
        if others + count > self.settings.total:
            raise SpecError(
                f"warm: {count} boxes were asked for beside {others} that are always kept; pool.total allows "
                f"{self.settings.total}"
            )
        shelf = filling.shelf(template, chosen)
        before, shelf.declared = shelf.declared, count
        try:
            if wait:
                await self._ready(shelf, count)
        except BaseException:
            shelf.declared = before
            raise
        finally:
            filling.ring()

    async def _ready(self, shelf: Shelf, count: int) -> None:
        """Wait until so many boxes wait, or somebody wants another number. Raises ``StartError``."""
        filling, failed = self._filling, shelf.failed + shelf.died
        while filling.is_open and len(shelf.idle) < shelf.declared == count:
            if shelf.failed + shelf.died > failed:
                raise StartError(f"warm: a box could not be started: {shelf.problem}")
            filling.ring()
            await filling.changed()

    async def _declare_quietly(self, template: PoolTemplate, spec: Spec) -> None:
        """Declare what the settings name; nobody is there to be told of an error, so it is kept for ``stats``."""
        try:
            await self._declare(template.min, spec, template.runtime, wait=False)
        except ClocheError as error:
            self._problem = units.one_line(f"pool.templates: {error}", most=300)
