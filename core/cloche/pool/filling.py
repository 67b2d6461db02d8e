"""Boxes started in the background, and taken away when nobody needs them."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import anyio

from cloche import units
from cloche.errors import ClocheError
from cloche.pool.figures import PoolCounts, added
from cloche.pool.settings import TEMPLATES_MOST
from cloche.pool.shelf import Shelf
from cloche.pool.template import footing
from cloche.pool.warm import Warm
from cloche.programs import blame

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.pool.settings import PoolSettings
    from cloche.registry.part import Part
    from cloche.runtime import Runtime
    from cloche.spec import Spec

QUIET: Final = 0.02
"""Seconds after somebody got a sandbox in which no box is begun: what runs first in it goes first."""
PATIENCE: Final = 1.0
"""Seconds after which a box is begun although the host is never quiet."""
RETRY: Final = 5.0
"""Seconds until it is tried again to give back a box that its runtime could not give back."""


class Filling:
    """The shelves of a pool and the tasks that fill and clear them. All its calls are made on the event loop."""

    def __init__(self, settings: PoolSettings, registry: Part, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.is_open = False
        self.shelves: list[Shelf] = []
        self.forgotten = PoolCounts()
        """The counts of shelves that are no more."""
        self.problem = ""
        self._settings = settings
        self._registry = registry
        self._tasks: Background | None = None
        self._running: anyio.Event | None = None
        self._scope: anyio.CancelScope | None = None
        self._bell = anyio.Event()
        self._bin: list[Warm] = []
        self._busy = 0
        self._served_at = -math.inf

    def open(self, tasks: Background) -> None:
        """Take where tasks run; none does before the first shelf is there."""
        self._tasks, self._scope, self.is_open = tasks, anyio.CancelScope(), True

    async def stop(self) -> None:
        """End the tasks, what they have begun included."""
        self.is_open = False
        self.ring()
        if self._scope is not None and self._running is not None:
            self._scope.cancel()
            with anyio.CancelScope(shield=True):
                await self._running.wait()

    def everything(self) -> list[Warm]:
        """Give all boxes there are, which are the caller's to delete."""
        out = [*self._bin, *(box for shelf in self.shelves for box in shelf.idle)]
        self._bin = []
        for shelf in self.shelves:
            shelf.idle = []
        return out

    def ring(self) -> None:
        """Wake everyone who waits for a change."""
        self._bell.set()
        self._bell = anyio.Event()

    async def changed(self) -> None:
        """Wait until something has changed."""
        await self._bell.wait()

    @contextmanager
    def in_front(self) -> Iterator[None]:
        """While somebody waits for what is done in here, no box is begun behind them."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._served_at = self.clock()

    def count(self) -> int:
        """Give how many boxes wait or are being started."""
        return sum(len(shelf.idle) + shelf.starting for shelf in self.shelves)

    def shelf(self, template: Spec, runtime: Runtime) -> Shelf:
        """Give the shelf of a template, a new one if need be."""
        for shelf in self.shelves:
            if shelf.matches(template, runtime):
                return shelf
        new = Shelf(template, runtime, self._settings, self.clock())
        learned = [shelf for shelf in self.shelves if not (shelf.declared or shelf.waiting)]
        if len(self.shelves) >= TEMPLATES_MOST and learned:
            self._forget(min(learned, key=lambda shelf: shelf.asked_at))
        self.shelves.append(new)
        self._begin()
        return new

    async def give(self, shelf: Shelf) -> Warm | None:
        """Give a box of the shelf that lives, which is the caller's from now on, or ``None``."""
        while shelf.idle:
            box = shelf.took()  # from here on nobody else can get it
            try:
                trouble = await box.trouble()
            except BaseException:
                self._throw(box)
                raise
            if not trouble:
                box.died, box.waited = None, self.clock() - box.since
                return box
            self._lost(shelf, box, trouble)
        return None

    # -- inside -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._running is None and self._tasks is not None and self.is_open:
            self._running = anyio.Event()
            self._tasks.start_soon(self._run)

    async def _run(self) -> None:
        assert self._running is not None  # noqa: S101 - set by whoever starts this
        assert self._scope is not None  # noqa: S101 - the same
        try:
            with self._scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._clear)
                    for _ in range(self._settings.starts):
                        group.start_soon(self._fill)
        finally:
            self._running.set()

    async def _until(self, at: float) -> None:
        bell = self._bell
        with anyio.move_on_after(max(0.0, at - self.clock()) if at < math.inf else None):
            await bell.wait()

    # starting

    async def _fill(self) -> None:
        while True:
            shelf = self._next()
            if shelf is None:
                await self._until(min((shelf.retry_at for shelf in self._delayed()), default=math.inf))
                continue
            shelf.starting += 1
            try:
                await self._quiet(shelf)
                await self._start(shelf)
            finally:
                shelf.starting -= 1
                self.ring()

    def _delayed(self) -> Iterator[Shelf]:
        now = self.clock()
        return (shelf for shelf in self.shelves if shelf.retry_at > now)

    def _next(self) -> Shelf | None:
        """Give the shelf for which a box is to be started now: whom somebody waits for, what must be, the newest."""
        now = self.clock()
        short = [shelf for shelf in self.shelves if shelf.missing(now)]
        short.sort(key=lambda s: (s.waiting > 0, len(s.idle) + s.starting < s.declared, s.asked_at), reverse=True)
        for shelf in short:
            if self.count() < self._settings.total or self._make_room(shelf):
                return shelf
        return None

    def _make_room(self, shelf: Shelf) -> bool:
        """Have a box go that has been asked for less lately, or for which nobody waits; says whether there was one."""
        must = shelf.waiting > 0 or len(shelf.idle) + shelf.starting < shelf.declared
        for other in sorted(self.shelves, key=lambda other: other.asked_at):
            spare = len(other.idle) > other.declared and not other.waiting
            if other is not shelf and spare and (must or other.asked_at < shelf.asked_at):
                other.evicted += 1
                self._throw(other.idle.pop(0))
                return True
        return False

    async def _quiet(self, shelf: Shelf) -> None:
        """Let those go first who wait for the host, unless they wait for just this or never cease."""
        began = self.clock()
        while not shelf.waiting and (now := self.clock()) - began < PATIENCE:
            if not self._busy and now - self._served_at >= QUIET:
                return
            await anyio.sleep(QUIET / 4)

    async def _start(self, shelf: Shelf) -> None:
        assert self._tasks is not None  # noqa: S101 - or this would not run
        spec = replace(shelf.template, id=secrets.token_hex(6))
        name = shelf.runtime.name
        try:
            stands_on = footing(spec)
            await self._registry.prepare(shelf.runtime)
            with blame(name):
                instance = await shelf.runtime.create(spec)
            box = Warm(spec, instance, stands_on, runtime=name, tasks=self._tasks)
            try:
                await box.bring_up()
            except BaseException:
                self._throw(box)
                raise
        except (ClocheError, OSError) as error:
            shelf.failed += 1
            shelf.fail(self.clock(), str(error))
            return
        if shelf.gone:
            self._throw(box)
            return
        box.since = self.clock()
        box.died = lambda dead: self._fell(shelf, dead)
        shelf.idle.append(box)
        self._note()

    # going

    def _fell(self, shelf: Shelf, box: Warm) -> None:
        """Take a box off that went down while it waited."""
        if box in shelf.idle:
            shelf.idle.remove(box)
            self._lost(shelf, box, box.ended())

    def _lost(self, shelf: Shelf, box: Warm, why: str) -> None:
        shelf.lost(box, self.clock(), f"a box that waited can't be given out: {why}")
        self._throw(box)

    def _throw(self, box: Warm) -> None:
        """Have a box deleted when there is time for it."""
        box.died = None
        self._bin.append(box)
        self.ring()

    def _forget(self, shelf: Shelf) -> None:
        shelf.gone = True
        self.shelves.remove(shelf)
        shelf.evicted += len(shelf.idle)
        for box in shelf.idle:
            self._throw(box)
        counts = PoolCounts(
            hits=shelf.hits, misses=shelf.misses, evicted=shelf.evicted, died=shelf.died, failed=shelf.failed
        )
        self.forgotten = PoolCounts(**added([self.forgotten, counts]))

    async def _clear(self) -> None:
        """Delete what is to go, for as long as the pool is open."""
        while True:
            now = self.clock()
            for shelf in list(self.shelves):
                if due := shelf.due(now):
                    self._bin += due
                    self.ring()  # others are to be started in their place
                if shelf.forgettable(now):
                    self._forget(shelf)
            left = await self._empty()
            times = [self.clock() + RETRY] if left else []
            now = self.clock()
            await self._until(min([*times, *(shelf.next_at(now) for shelf in self.shelves)], default=math.inf))

    async def _empty(self) -> bool:
        """Delete what is in the bin; says whether something stays in it for another try."""
        stay: list[Warm] = []
        if not self._bin:
            return False
        while self._bin:
            box = self._bin.pop()
            try:
                await box.delete()
            except Exception as error:  # noqa: BLE001 - a runtime's own; the others must have their turn
                self.problem = units.one_line(f"a box could not be given back: {error}", most=300)
                stay.append(box)
        self._bin = stay
        self._note()
        return bool(stay)

    def _note(self) -> None:
        """Note for the sweep which processes would be left if this host were killed."""
        boxes = [*self._bin, *(box for shelf in self.shelves for box in shelf.idle)]
        self._registry.waits([pair for box in boxes for pair in box.processes])
