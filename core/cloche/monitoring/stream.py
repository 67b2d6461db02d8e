"""Events on their way to one reader: a bounded queue of records, and the iterator over it."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Final, Self

import anyio

from cloche.events.event import Event, EventBatch, Origin
from cloche.monitoring.made import lost_record
from cloche_native import events as wire

if TYPE_CHECKING:
    from types import TracebackType

    from cloche.errors import ClocheError

ROOM: Final = 16 << 20
"""Bytes of records that wait for a reader, some 100,000 events; what comes beyond is lost to it, and counted."""
ROOM_LEAST: Final = 1 << 16
_SIZE: Final = struct.Struct("=I")
PIECE: Final = 1 << 18
"""Bytes of records given at once, at most, but for one batch that is larger."""


class Stream:
    """Records that wait for one reader. What finds no room is counted, and told where it would have come."""

    def __init__(self, room: int = ROOM) -> None:
        """Take at most ``room`` bytes."""
        self.lost = 0
        """Events that this reader did not get, here or before they came here."""
        self.ended = False
        self._room = self._left = room
        self._parts: deque[bytes] = deque()
        self._missed = 0
        self._sandbox = 0
        self._trouble: ClocheError | None = None
        self._bell = anyio.Event()

    def offer(self, raw: bytes) -> None:
        """Take records, in their order; what does not fit is lost."""
        if self.ended:
            return
        # As long as something is missing nothing more is taken: what is told of it must stand where it was.
        if self._missed or len(raw) > self._left:
            count = wire.check(raw)
            self._sandbox = wire.unpack(raw).sandbox
            self._missed += count
            self.lost += count
            return
        self._left -= len(raw)
        self._parts.append(raw)
        self._bell.set()

    def end(self, trouble: ClocheError | None = None) -> None:
        """Let nothing more come; what waits can still be taken. With ``trouble`` that is raised after it."""
        if not self.ended:
            self.ended, self._trouble = True, trouble
            self._bell.set()

    def take(self, most: int = PIECE) -> bytes:
        """Give the records that wait, at most so many bytes of them; none if none do."""
        if not self._parts and self._missed:
            missed, self._missed = self._missed, 0
            return lost_record(missed, "of this reader, which was too slow", sandbox=self._sandbox)
        taken: list[bytes] = []
        size = 0
        while self._parts and (not taken or size + len(self._parts[0]) <= most):
            taken.append(self._parts.popleft())
            size += len(taken[-1])
        self._left += size
        return taken[0] if len(taken) == 1 else b"".join(taken)

    async def wait(self) -> bool:
        """Wait until something can be taken; says no when nothing will come any more. Raises why it broke off."""
        while not self._parts and not self._missed:
            if self._trouble is not None:
                raise self._trouble
            if self.ended:
                return False
            self._bell = anyio.Event()
            await self._bell.wait()
        return True


def cut(raw: bytes, most: int) -> Iterator[bytes]:
    """Give whole records in pieces of at most ``most`` bytes."""
    begin = end = 0
    while len(raw) - begin > most:
        while end + (size := _SIZE.unpack_from(raw, end)[0]) - begin <= most:
            end += size
        yield raw[begin:end]
        begin = end
    yield raw[begin:] if begin else raw


class Feed(ABC):
    """Where a stream is fed from: the hub of a sandbox, the hubs of many, or another host."""

    async def begin(self) -> None:  # noqa: B027 - most begin when they are made
        """Be sure that what happens from now on comes. Raises what stands against it."""

    @abstractmethod
    async def flush(self) -> None:
        """Have all that has happened by now put into the stream."""

    @abstractmethod
    async def leave(self) -> None:
        """Put nothing more into the stream."""


class AsyncEvents:
    """Events as they come, for one task at a time: iterate over it, or over its ``batches``, or ``drain`` it.

    It ends when the sandbox is deleted. ``async with`` closes it; ``close`` from elsewhere ends the iteration.
    """

    def __init__(self, stream: Stream, feed: Feed, origin: Origin) -> None:
        self._stream = stream
        self._feed = feed
        self._origin = origin
        self._current: Iterator[Event] = iter(())

    @property
    def lost(self) -> int:
        """How many events it did not get: it was too slow, or their source was. An event ``lost`` tells where."""
        return self._stream.lost

    async def batches(self) -> AsyncIterator[EventBatch]:
        """Give the events packed, in batches of whatever is there."""
        while (batch := await self.next_batch()) is not None:
            yield batch

    async def drain(self) -> list[Event]:
        """Give the events that there are now, all of them, without waiting for more."""
        found = list(self._current)
        for batch in await self.drained():
            found += batch
        return found

    async def close(self) -> None:
        """Want no more events. Harmless when repeated."""
        self._stream.end()
        await self._feed.leave()

    async def begun(self) -> Self:
        """Wait until it has begun to take events, which is at once but for sandboxes of other hosts; gives itself."""
        await self._feed.begin()
        return self

    async def next_batch(self) -> EventBatch | None:
        """Wait for events and give those that there are; ``None`` at the end."""
        while await self.ready():
            if (batch := self.take()) is not None:  # None if another took them before we woke
                return batch
        return None

    async def ready(self) -> bool:
        """Wait until there are events; says no at the end."""
        await self._feed.begin()
        return await self._stream.wait()

    def take(self) -> EventBatch | None:
        """Give some of the events that there are, if there are any."""
        raw = self._stream.take()
        return EventBatch(raw, self._origin) if raw else None

    async def drained(self) -> list[EventBatch]:
        """Give what ``drain`` gives, packed."""
        await self._feed.begin()
        await self._feed.flush()
        found: list[EventBatch] = []
        while (batch := self.take()) is not None:
            found.append(batch)
        return found

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            for event in self._current:
                return event
            batch = await self.next_batch()
            if batch is None:
                raise StopAsyncIteration
            self._current = iter(batch)

    async def __aenter__(self) -> Self:
        return await self.begun()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
