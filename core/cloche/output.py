"""Where a program's output goes: a collector for one exec, a bounded ring with replay for a background job."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

import anyio
import anyio.lowlevel

Stream = Literal["stdout", "stderr"]
_EXPECTED = -1  # stands for the follower who is yet to come
LINE_MAX = 1 << 20  # bytes of a line that are kept in memory while its end is awaited


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

    def put(self, stream: Stream, data: bytes) -> None:
        """Keep one piece."""

    async def room(self) -> None:
        """Wait until there is room for more, and let others take a turn; the program waits too, its pipe being full."""

    def finish(self) -> None:
        """Learn that nothing more comes."""


class Passed:
    """Keeps nothing: whoever asked sees each piece as it comes."""

    def put(self, stream: Stream, data: bytes) -> None:
        """Nothing is to be kept."""

    async def room(self) -> None:
        """There is always room."""
        await anyio.lowlevel.checkpoint()

    def finish(self) -> None:
        """Nothing is to be done."""


class Collector:
    """Keeps all output of one exec, up to a limit that the job checks."""

    def __init__(self) -> None:
        self._parts: dict[Stream, list[bytes]] = {"stdout": [], "stderr": []}

    def put(self, stream: Stream, data: bytes) -> None:
        """Keep ``data``."""
        self._parts[stream].append(data)

    async def room(self) -> None:
        """There is always room."""
        await anyio.lowlevel.checkpoint()

    def finish(self) -> None:
        """Nothing is to be done."""

    def bytes(self, stream: Stream) -> bytes:
        """Give everything ``stream`` carried."""
        return b"".join(self._parts[stream])


class Ring:
    """The last ``capacity`` bytes of a job's output, replayed to whoever attaches.

    While someone follows, the program waits for the slowest follower instead of losing output; with no follower the
    oldest bytes are dropped, or, if ``lossless``, the program waits until somebody has read them. A follower sees a
    loss as a ``seq`` beyond the one it asked for.
    """

    def __init__(self, capacity: int, *, lossless: bool = False) -> None:
        self.lossless = lossless
        self._capacity = capacity
        self._chunks: deque[Chunk] = deque()
        self._held = 0
        self._end = 0
        self._read = 0  # how far anybody has read
        self._waits = True
        self._finished = False
        self._followers: dict[int, int] = {}
        self._next_follower = 0
        self._more = _Bell()
        self._less = _Bell()

    @property
    def end(self) -> int:
        """Bytes printed so far."""
        return self._end

    def put(self, stream: Stream, data: bytes) -> None:
        """Keep ``data`` and drop whole old chunks that neither the capacity nor a reader needs."""
        self._chunks.append(Chunk(self._end, stream, data))
        self._end += len(data)
        self._held += len(data)
        lowest = self._lowest()
        while self._held - len(self._chunks[0].data) >= self._capacity and self._chunks[0].end <= lowest:
            self._held -= len(self._chunks.popleft().data)
        self._more.ring()

    async def room(self) -> None:
        """Wait until every reader is less than the capacity behind."""
        await anyio.lowlevel.checkpoint()
        while self._end - self._lowest() >= self._capacity:
            await self._less.wait()

    def release(self) -> None:
        """Wait for no reader any more: from now on the oldest bytes are dropped."""
        self._waits = False
        self._less.ring()

    def finish(self) -> None:
        """End every follower once it has seen what is here."""
        self._finished = True
        self._more.ring()
        self.release()

    def held(self, since: int = 0) -> list[Chunk]:
        """Give what a new follower would get at once from offset ``since`` on."""
        return self._from(self._start(since))

    async def batches(self, since: int = 0) -> AsyncIterator[list[Chunk]]:
        """Give every chunk from offset ``since`` on, live, in lists of what there is, until the output ends."""
        key, self._next_follower = self._next_follower, self._next_follower + 1
        position = self._followers[key] = self._start(since)
        try:
            while True:
                while position < self._end:
                    batch = self._from(position)
                    yield batch
                    position = self._followers[key] = batch[-1].end
                    self._read = max(self._read, position)
                    self._less.ring()
                if self._finished:
                    return
                await self._more.wait()
        finally:
            del self._followers[key]
            self._less.ring()

    def _start(self, since: int) -> int:
        kept = self._end - self._capacity
        return max(since, min(kept, self._read) if self.lossless else kept)

    def _lowest(self) -> int:
        """Give the offset below which no reader needs anything; ``end`` if there is nobody to wait for."""
        if not self._waits:
            return self._end
        return min(self._followers.values(), default=self._read if self.lossless else self._end)

    def _from(self, position: int) -> list[Chunk]:
        out = []
        for chunk in self._chunks:
            if chunk.end > position:
                cut = max(0, position - chunk.seq)
                out.append(chunk if not cut else Chunk(position, chunk.stream, chunk.data[cut:]))
        return out


class _Bell:
    """Wakes all who wait for it, any number of times."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        if self._event.is_set():  # else others wait for this very event
            self._event = anyio.Event()
        await self._event.wait()


class Lines:
    """Cuts output into lines, each stream for itself. A line over ``LINE_MAX`` bytes comes in pieces."""

    def __init__(self, stream: Stream | None) -> None:
        self._only = stream
        self._rest: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}

    def feed(self, batch: list[Chunk]) -> list[str]:
        """Give the lines that ``batch`` completes, without their ends; bad UTF-8 becomes U+FFFD."""
        out: list[str] = []
        for chunk in batch:
            if self._only is not None and chunk.stream != self._only:
                continue
            *whole, rest = (self._rest[chunk.stream] + chunk.data).split(b"\n")
            out += [line.decode("utf-8", "replace").removesuffix("\r") for line in whole]
            if len(rest) > LINE_MAX:
                out.append(rest.decode("utf-8", "replace"))
                rest = b""
            self._rest[chunk.stream] = rest
        return out

    def last(self) -> list[str]:
        """Give what was printed after the last line's end."""
        return [rest.decode("utf-8", "replace") for rest in self._rest.values() if rest]
