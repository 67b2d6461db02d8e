"""A session: an interpreter that keeps its state from run to run, as both faces use it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloche.errors import GuestFailed, StateError
from cloche.interpreters.contract import Item
from cloche.interpreters.prepared import LONGEST, Closable

if TYPE_CHECKING:
    import asyncio

    from cloche.interpreters.calls import Attempt
    from cloche.interpreters.contract import LiveInterpreter, Stream
    from cloche.interpreters.prepared import OnConsole, Prepared, Variables
    from cloche.interpreters.values import Ran


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """What there is to know of a session."""

    id: str
    language: str
    runtime: str
    created: float
    """Seconds since the epoch."""
    idle: float
    """Seconds since it was last used."""
    ttl: float | None
    """Seconds that it may be left unused."""
    runs: int
    memory: int
    """Bytes it holds; while something runs in it, as after the run before."""
    busy: bool
    streaming: bool
    """Whether a stream of it has not ended."""
    closed: str
    """Why it is closed, ``""`` while it is open."""


class Live(Closable):
    """One session. ``released`` is called once, when it has given everything back; ``gate`` before each use."""

    def __init__(
        self,
        prepared: Prepared,
        interpreter: LiveInterpreter,
        *,
        ttl: float | None = None,
        released: Callable[[], None] | None = None,
        gate: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(prepared)
        self.id = secrets.token_hex(6)
        self._live: LiveInterpreter | None = interpreter
        self._ttl = ttl
        self._released, self._gate = released, gate
        self._created, self._used = time.time(), time.monotonic()
        self._runs = self._memory = 0
        self._attempt: Attempt | None = None
        self._flow: Flow | None = None
        self._timer: asyncio.TimerHandle | None = None
        prepared.sessions.add(self)
        if prepared.closed:  # it was closed before it could know of this one
            self.close("its interpreter was closed")
        if ttl is not None:
            prepared.loop.call_soon_threadsafe(self._watch)

    def run(
        self, code: str, variables: Variables | None, timeout: float | str | None, on_console: OnConsole | None
    ) -> Ran:
        """Run code on top of what was run before."""
        prepared = self.prepared
        attempt = prepared.attempt(on_console)
        running = prepared.running(code, variables, timeout, attempt)
        live = self.enter(running.wall)
        running.interrupt = live.interrupt
        self._attempt = attempt
        typed = prepared.keyboard.begin(attempt.stop)
        try:
            ran = live.run(code, variables, running)
        finally:
            self.leave()
            if typed:
                prepared.keyboard.end()
            attempt.cancel()
        self.note(ran)
        attempt.check()
        return ran

    def stream(
        self, code: str, variables: Variables | None, timeout: float | str | None, on_console: OnConsole | None
    ) -> Flow:
        """Start a program that yields."""
        attempt = self.prepared.attempt(on_console)
        running = self.prepared.running(code, variables, timeout, attempt)
        live = self.enter(running.wall)
        running.interrupt = live.interrupt
        try:
            self._flow = Flow(self, live.stream(code, variables, running), attempt, running.wall)
        finally:
            self.end()
        return self._flow

    def snapshot(self) -> bytes:
        """Give its state as bytes."""
        live = self.enter(LONGEST, flow=True)
        try:
            return live.snapshot()
        finally:
            self.end()

    def info(self) -> SessionInfo:
        """Give what there is to know of it."""
        busy = not self._turn.acquire(blocking=False)
        if not busy:
            if self._live is not None:
                self._memory = self._live.memory()
            self._turn.release()
        return SessionInfo(
            id=self.id, language=self.prepared.spec.language, runtime=self.prepared.runtime, created=self._created,
            idle=0.0 if busy else time.monotonic() - self._used, ttl=self._ttl, runs=self._runs, memory=self._memory,
            busy=busy, streaming=self._flow is not None, closed=self._ended,
        )  # fmt: skip

    @property
    def closed(self) -> bool:
        """Whether nothing can be run in it any more."""
        return bool(self._ended)

    # -- for its streams --------------------------------------------------------------------------------------------

    def enter(self, wait: float, *, flow: bool = False) -> LiveInterpreter:
        """Take the turn, and end the stream that is open, unless by ``flow`` it is to stay."""
        if self._gate is not None and not self._ended:
            self._gate()
        self.begin(wait)
        if self._live is None:
            self.end()
            raise StateError("the session is closed")
        if self._flow is not None and not flow:
            self._flow.drop("another run was begun in its session")
        return self._live

    def leave(self) -> None:
        """Give the turn away after a run or a part of one."""
        self._attempt = None
        self._used = self.waits = time.monotonic()
        self.prepared.rests.wake()
        self.end()

    def note(self, ran: Ran) -> None:
        """Count a run that has ended."""
        self._runs += 1
        self._memory = ran.usage.memory
        self.prepared.settle(ran)

    def at_work(self, attempt: Attempt) -> None:
        """Note what is going on."""
        self._attempt = attempt

    def flowed(self) -> None:
        """Note that the stream is over."""
        self._flow = None

    # -- inside -----------------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """End what is going on; from any thread."""
        if (attempt := self._attempt) is not None:
            attempt.stop()

    def relax(self) -> None:
        """Have it rest; where a program stands at its ``yield``, not yet."""
        if self._live is not None and self._flow is None:
            self._live.rest()

    def shut(self) -> None:
        """Give everything back; it is the caller's turn."""
        live, self._live = self._live, None
        if live is None:
            return
        if self._flow is not None:
            self._flow.drop(self._ended)
        self.prepared.sessions.discard(self)
        if self._timer is not None:
            self.prepared.loop.call_soon_threadsafe(self._timer.cancel)
        live.close()
        if self._released is not None:
            self._released()

    def _watch(self) -> None:
        """Close it if it was left unused too long, else look again when it may have been."""
        if self._live is None or self._ttl is None:
            return
        left = self._used + self._ttl - time.monotonic()
        if self._turn.locked():
            left = self._ttl
        if left <= 0:
            # Never on the event loop: a run may have begun this moment, and closing waits for it.
            threading.Thread(target=self.close, args=(f"it was not used for {self._ttl:g} s",), daemon=True).start()
            return
        self._timer = self.prepared.loop.call_later(left, self._watch)


class Flow:
    """A stream of a session. Nothing of its program runs between two calls."""

    def __init__(self, live: Live, stream: Stream, attempt: Attempt, wall: float) -> None:
        self.result: Ran | None = None
        self._live, self._attempt, self._wall = live, attempt, wall
        self._stream: Stream | None = stream
        self._why = ""

    def next(self, sent: object = None) -> Item | None:
        """Run on to the next item; ``None`` at the end. Raises ``GuestFailed`` if that is no good one."""
        if self.result is not None:
            return None
        self._live.enter(self._wall, flow=True)
        keyboard = self._live.prepared.keyboard
        typed = keyboard.begin(self._attempt.stop)
        try:
            if self._stream is None:
                raise StateError(f"the stream is closed: {self._why}")
            self._live.at_work(self._attempt)
            found = self._stream.next(sent)
            if isinstance(found, Item):
                return found
            self.result = found
            self.drop("it has ended")
        finally:
            self._live.leave()
            if typed:
                keyboard.end()
            self._attempt.check()
        self._live.note(found)
        if not found.ok:
            raise GuestFailed(found)
        return None

    def close(self) -> None:
        """End the program where it stands. Harmless when repeated."""
        if self._stream is not None and self._live.seize():
            self.drop("its user closed it")
            self._live.end()

    def interrupt(self) -> None:
        """End what is going on; from any thread."""
        self._live.interrupt()

    def drop(self, why: str) -> None:
        """Give the stream back; it is the caller's turn in the session."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._why = why
            self._live.flowed()
            self._attempt.cancel()
            stream.close()
