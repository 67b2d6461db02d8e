"""Interpreters that are opened before anybody asks for one, and how many may be in use at once.

Each is given out once and never again: who gets one gets memory that no other code has touched.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloche import units
from cloche.errors import LimitExceeded, SpecError, StateError

if TYPE_CHECKING:
    from cloche.interpreters.contract import LiveInterpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPoolSettings:
    """How many interpreters wait, how many may be in use, and how long more than ``min`` wait."""

    min: int = 0
    """Interpreters that always wait, fresh."""
    max: int = 64
    """Sessions of the pool that may be open at once; who asks for more waits."""
    idle_timeout: float = 60.0
    """Seconds after which those that wait beyond ``min`` are closed."""

    def __post_init__(self) -> None:
        units.count(self.min, "pool.min", least=0)
        units.count(self.max, "pool.max")
        object.__setattr__(self, "idle_timeout", units.duration(self.idle_timeout, "pool.idle_timeout"))
        if self.min > self.max:
            raise SpecError(f"pool: min is {self.min}, more than max, {self.max}")

    @classmethod
    def of(cls, value: SessionPoolSettings | Mapping[str, object] | None) -> SessionPoolSettings:
        """Give the settings a caller wrote. Raises ``SpecError``."""
        if value is None or isinstance(value, cls):
            return value or cls()
        return cls(**units.fields_of(cls, value, "pool", needed="a cloche.SessionPoolSettings or a mapping"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPoolStats:
    """How a pool of sessions does."""

    idle: int
    """Interpreters that wait, fresh."""
    in_use: int
    waiting: int
    """Callers that wait."""
    hits: int
    """Who got one that was opened before."""
    misses: int
    timeouts: int
    """Who waited in vain."""
    expired: int
    """Interpreters closed because nobody wanted them."""


class Stock:
    """The interpreters of one pool. Used by many threads."""

    def __init__(self, settings: SessionPoolSettings, open_one: Callable[[], LiveInterpreter]) -> None:
        self.settings = settings
        self._open = open_one
        self._lock = threading.Lock()
        self._idle: deque[tuple[LiveInterpreter, float]] = deque()
        self._waiters: deque[Future[None]] = deque()
        self._in_use = self._hits = self._misses = self._timeouts = self._expired = 0
        self._closed = False

    def ask(self) -> Future[None] | None:
        """Take a place, or give what is done once there is one. Raises ``StateError`` if it is closed."""
        with self._lock:
            if self._closed:
                raise StateError("the pool is closed")
            if self._in_use < self.settings.max and not self._waiters:
                self._in_use += 1
                return None
            waiter: Future[None] = Future()
            self._waiters.append(waiter)
            return waiter

    def give_up(self, waiter: Future[None], timeout: float | None = None) -> LimitExceeded:
        """Wait no longer; gives the error to be raised, where it was for the time."""
        with self._lock:
            late = waiter.done() and not waiter.cancelled()  # it has a place, this very moment
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            self._timeouts += timeout is not None
            others = len(self._waiters)
        if late:
            self.leave()
        return LimitExceeded(
            f"acquire: no session came free in {timeout or 0:g} s: all {self.settings.max} of the pool are in use, and "
            f"{others} more callers wait; close sessions sooner, or make pool.max larger"
        )

    def fresh(self) -> LiveInterpreter:
        """Give an interpreter that nobody has used, to who has a place, which a ``StartError`` takes away."""
        with self._lock:
            live = self._idle.popleft()[0] if self._idle else None
            self._hits += live is not None
            self._misses += live is None
        try:
            return live or self._open()
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Give a place back."""
        with self._lock:
            while self._waiters:
                waiter = self._waiters.popleft()
                if waiter.set_running_or_notify_cancel():
                    waiter.set_result(None)
                    return
            self._in_use -= 1

    def fill(self, count: int | None = None) -> None:
        """Open interpreters until ``count`` wait, or as many as always do; and close those that waited too long."""
        self._trim()
        wanted = self.settings.min if count is None else count
        while not self._closed and len(self._idle) < wanted:
            live = self._open()
            with self._lock:
                if not self._closed:
                    self._idle.append((live, time.monotonic()))
                    continue
            live.close()

    def stats(self) -> SessionPoolStats:
        """Give how it does."""
        self._trim()
        with self._lock:
            return SessionPoolStats(
                idle=len(self._idle), in_use=self._in_use, waiting=len(self._waiters), hits=self._hits,
                misses=self._misses, timeouts=self._timeouts, expired=self._expired,
            )  # fmt: skip

    def close(self) -> None:
        """Close all that wait; who waits for a place gets ``StateError``."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, deque()
            waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if waiter.set_running_or_notify_cancel():
                waiter.set_exception(StateError("the pool was closed while waiting for a session"))
        for live, _ in idle:
            live.close()

    def _trim(self) -> None:
        oldest = time.monotonic() - self.settings.idle_timeout
        late: list[LiveInterpreter] = []
        with self._lock:
            while len(self._idle) > self.settings.min and self._idle[0][1] < oldest:
                late.append(self._idle.popleft()[0])
            self._expired += len(late)
        for live in late:
            live.close()
