"""Where a program's output goes: a collector for one exec, a bounded ring with replay for a background job."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

import anyio

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of output. ``seq`` is the offset of its first byte in all that the program printed."""

    seq: int
    stream: Stream
    data: bytes

    @property
    def end(self) -> int:
        """The ``seq`` of what follows: give it as ``since=`` to go on after this chunk."""
        return self.seq + len(self.data)


class Sink(Protocol):
    """Takes output as it is read."""

    async def take(self, stream: Stream, data: bytes) -> None:
        """Take one piece; may wait, and then the program waits too."""

    def finish(self) -> None:
        """Learn that nothing more comes."""


class Collector:
    """Keeps all output of one exec, up to a limit that the job checks."""

    def __init__(self) -> None:
        self._parts: dict[Stream, list[bytes]] = {"stdout": [], "stderr": []}

    async def take(self, stream: Stream, data: bytes) -> None:
        """Keep ``data``."""
        self._parts[stream].append(data)

    def finish(self) -> None:
        """Nothing is to be done."""

    def bytes(self, stream: Stream) -> bytes:
        """Give everything ``stream`` carried."""
        return b"".join(self._parts[stream])


class Ring:
    """The last ``capacity`` bytes of a job's output, replayed to whoever attaches.

    While someone follows, the program waits for the slowest follower instead of losing output; with no follower the
    oldest chunks are dropped. A follower sees a loss as a ``seq`` beyond the one it asked for.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._chunks: deque[Chunk] = deque()
        self._held = 0
        self._end = 0
        self._finished = False
        self._followers: dict[int, int] = {}
        self._next_follower = 0
        self._more = anyio.Event()
        self._room = anyio.Event()

    @property
    def end(self) -> int:
        """Bytes printed so far."""
        return self._end

    async def take(self, stream: Stream, data: bytes) -> None:
        """Keep ``data``, after waiting until every follower is less than the capacity behind."""
        while self._followers and self._end - min(self._followers.values()) >= self._capacity:
            self._room = anyio.Event()
            await self._room.wait()
        self._chunks.append(Chunk(self._end, stream, data))
        self._end += len(data)
        self._held += len(data)
        lowest = min(self._followers.values(), default=self._end)
        while len(self._chunks) > 1 and self._held > self._capacity and self._chunks[0].end <= lowest:
            self._held -= len(self._chunks.popleft().data)
        self._more.set()

    def finish(self) -> None:
        """End every follower once it has seen what is here."""
        self._finished = True
        self._more.set()
        self._room.set()

    def held(self, since: int = 0) -> list[Chunk]:
        """Give what is still here from offset ``since`` on; a chunk that begins earlier is cut."""
        out = []
        for chunk in self._chunks:
            if chunk.end > since:
                cut = max(0, since - chunk.seq)
                out.append(chunk if not cut else Chunk(since, chunk.stream, chunk.data[cut:]))
        return out

    async def batches(self, since: int = 0) -> AsyncIterator[list[Chunk]]:
        """Give every chunk from offset ``since`` on, live, in lists of what there is, until the output ends."""
        key, self._next_follower = self._next_follower, self._next_follower + 1
        position = self._followers[key] = since
        try:
            while True:
                while position < self._end:
                    batch = self.held(position)
                    yield batch
                    position = self._followers[key] = batch[-1].end
                    self._room.set()
                if self._finished:
                    return
                self._more = anyio.Event()
                await self._more.wait()
        finally:
            del self._followers[key]
            self._room.set()
