"""The boxes that wait for one template, and what became of others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from cloche import units

if TYPE_CHECKING:
    from cloche.pool.settings import PoolSettings
    from cloche.pool.warm import Warm
    from cloche.runtime import Runtime
    from cloche.spec import Spec

BACK_OFF_LEAST: Final = 0.25
BACK_OFF_MOST: Final = 60.0
STABLE: Final = 10.0
"""Seconds that a box must have waited for its death not to count as one more failure in a row."""


class Shelf:
    """One template of one runtime. All times are seconds of the monotonic clock."""

    def __init__(self, template: Spec, runtime: Runtime, settings: PoolSettings, now: float) -> None:
        self.template = template
        self.runtime = runtime
        self.idle: list[Warm] = []
        """Oldest first; the newest is given out, so that those that are not needed grow old."""
        self.starting = 0
        self.waiting = 0
        """Who waits for a box with ``"require"``."""
        self.declared = 0
        """How many boxes it was said to have at least, whoever asks."""
        self.asked_at = now
        self.hits = self.misses = self.evicted = self.died = self.failed = 0
        self.failures = 0
        """Starts that failed, and boxes that died soon, one after another."""
        self.retry_at = -math.inf
        self.problem = ""
        """What went wrong last, made safe to print."""
        self.gone = False
        self._settings = settings
        self._wanted = max(1, settings.min)

    def matches(self, template: Spec, runtime: Runtime) -> bool:
        """Say whether its boxes can stand for a box of that template."""
        return self.runtime is runtime and self.template == template

    def floor(self, now: float) -> int:
        """Give how many boxes stay although nobody takes them."""
        used = now - self.asked_at < self._settings.idle
        return max(self.declared, min(self._settings.min, self._settings.max) if used else 0)

    def wanted(self, now: float) -> int:
        """Give how many boxes are to wait."""
        used = now - self.asked_at < self._settings.idle
        most = min(self._settings.max, max(self._wanted, self.waiting)) if used or self.waiting else 0
        return max(self.floor(now), most)

    def missing(self, now: float) -> int:
        """Give how many boxes are to be started now; none while a failure is not long enough ago."""
        return 0 if now < self.retry_at else max(0, self.wanted(now) - len(self.idle) - self.starting)

    def hit(self) -> None:
        """Note that somebody got a box at once."""
        self.hits += 1

    def took(self) -> Warm:
        """Take the newest box off. It works as far as is known, whatever failed before."""
        self.failures = 0
        return self.idle.pop()

    def miss(self) -> None:
        """Note that somebody found none: one more is to wait from now on."""
        self.misses += 1
        if self.misses > 1:  # the first is how it became known
            self._wanted = min(self._settings.max, self._wanted + 1)

    def fail(self, now: float, why: str) -> None:
        """Note that a box could not be had; the next is tried later, and later each time."""
        self.failures += 1
        self.problem = units.one_line(why, most=300)
        self.retry_at = now + min(BACK_OFF_MOST, BACK_OFF_LEAST * 2 ** min(self.failures - 1, 16))

    def lost(self, box: Warm, now: float, why: str) -> None:
        """Note that a box died while it waited."""
        self.died += 1
        if now - box.since >= STABLE:
            self.failures = 0
        self.fail(now, why)

    def due(self, now: float) -> list[Warm]:
        """Take the boxes off that are to go: too old, or not needed for too long."""
        settings, floor = self._settings, self.floor(now)
        out = [box for box in self.idle if now - box.since >= settings.age]
        stay = [box for box in self.idle if box not in out]
        forgotten = not self.declared and now >= self.unused_at()
        while len(stay) > floor and (forgotten or now - stay[0].since >= settings.idle):
            out.append(stay.pop(0))
            self._wanted = max(1, settings.min, self._wanted - 1)
        self.idle = stay
        self.evicted += len(out)
        return out

    def unused_at(self) -> float:
        """Give from when on it is not used any more unless it is asked for."""
        return self.asked_at + self._settings.idle

    def next_at(self, now: float) -> float:
        """Give when something is to be done by itself; ``inf``: nothing."""
        times = [box.since + self._settings.age for box in self.idle]
        times += [box.since + self._settings.idle for box in self.idle[: max(0, len(self.idle) - self.floor(now))]]
        times += [self.retry_at] if self.retry_at > now else []
        times += [] if self.declared else [self.unused_at()]
        return min((time for time in times if time > now), default=math.inf)

    def forgettable(self, now: float) -> bool:
        """Say whether nothing of it is left that anybody needs."""
        return not (self.declared or self.idle or self.starting or self.waiting) and now >= self.unused_at()
