"""A job that another host holds: followed, fed and ended from here."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import anyio

from cloche import units
from cloche.errors import RegistryError
from cloche.job import SEQ_MAX, AsyncJob
from cloche.output import Chunk
from cloche.pipes import as_bytes
from cloche.registry.connection import Connection
from cloche.registry.held import PIECE, chunks_from
from cloche.registry.held_stream import Follower
from cloche.registry.plain import count_from, from_plain, to_plain
from cloche.spec import Result, Window


class _Followed:
    """What came for one who follows a job."""

    def __init__(self) -> None:
        self.pieces: deque[list[Chunk]] = deque()
        self.over = False
        self.why = ""
        self.bell = anyio.Event()

    def ring(self) -> None:
        self.bell.set()


class HeldJob(AsyncJob, Follower):
    """A program whose output another host holds; the same verbs as any job's.

    ``result`` of one that ended is without its output until ``wait`` has fetched that.
    """

    def __init__(self, connection: Connection, followed: dict[int, Follower], view: Mapping[str, Any]) -> None:
        # Not AsyncJob's: streams, deadline and ring are with the host that holds it.
        self.id = from_plain(str, view.get("id"), "job id")
        self.args = from_plain(tuple[str, ...], view.get("args"), "args")
        self.pid = from_plain(int, view.get("pid"), "pid")
        self.started = from_plain(float, view.get("started"), "started")
        self.result: Result | None = None
        self.whole = False
        self._connection = connection
        self._followed = followed
        self._readers: dict[int, _Followed] = {}
        self._ended = anyio.Event()

    async def wait(self, timeout: float | None = None) -> Result:
        """Wait for the end and give the result, with what the ring still holds (4 MiB of each stream at most)."""
        with anyio.fail_after(timeout):
            await self._ended.wait()
            if not self.whole and not self._connection.why:
                answer = await self._ask("job_result")
                cut = count_from(answer.body, "stdout", len(answer.data))
                self.result = _result(answer.body.get("result"), answer.data[:cut], answer.data[cut:])
                self.whole = True
        if self.result is None:
            raise RegistryError(f"job {self.id} can't be followed to its end: {self._connection.why}")
        return self.result

    async def batches(self, since: int = 0) -> AsyncIterator[list[Chunk]]:
        """Give the output in lists of whatever is there, what is past and then live."""
        since = units.count(since, "since", least=0, most=SEQ_MAX)
        reader = _Followed()
        number = self._connection.number()
        self._followed[number] = self
        self._readers[number] = reader
        try:
            await self._ask("follow", {"since": since, "follow": number})
            while True:
                while reader.pieces:
                    yield reader.pieces.popleft()
                    await self._connection.say({"do": "more", "follow": number})
                if reader.over:
                    return
                if self._connection.why:
                    raise RegistryError(f"job {self.id} can't be followed any more: {self._connection.why}")
                reader.bell = anyio.Event()
                await reader.bell.wait()
        finally:
            del self._readers[number]
            self._followed.pop(number, None)
            if not reader.over and not self._connection.why:
                with anyio.CancelScope(shield=True):
                    await self._connection.say({"do": "unfollow", "follow": number})

    async def held(self) -> list[Chunk]:
        """Give what is in the ring now, the last 4 MiB of it at most."""
        answer = await self._ask("job_held")
        return chunks_from(answer.body, answer.data)

    async def write(self, data: bytes | str) -> None:
        """Write to its standard input (or terminal), waiting while it is full. A closed one raises ``StateError``."""
        view = memoryview(as_bytes(data, "write"))
        while view:
            await self._ask("job_write", data=bytes(view[:PIECE]))
            view = view[PIECE:]

    async def close_stdin(self) -> None:
        """Close its standard input, so that it reads the end of file. Harmless when repeated."""
        await self._ask("job_close")

    async def signal(self, number: int | str) -> None:
        """Send a signal, by number or by name, to the program itself."""
        value = units.signal_number(number)
        if self.running:
            await self._ask("job_signal", {"number": value})

    async def kill(self) -> None:
        """End the program and all its descendants, and return when they are gone. Harmless when repeated."""
        if self.running:
            await self._ask("job_kill")
            await self._ended.wait()

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal. Raises ``Unsupported`` if it has none. One that has ended is no error."""
        await self._ask("job_resize", {"window": to_plain(Window(rows, columns))})

    # -- what the attached sandbox calls ----------------------------------------------------------------------------

    def update(self, view: Mapping[str, Any]) -> None:
        """Take the word of how it is."""
        if view.get("result") is not None and self.result is None:
            self.result = _result(view["result"], b"", b"")
            self._ended.set()

    def told(self, number: int, body: Mapping[str, Any], data: bytes, *, last: bool) -> None:
        """Take a piece of output for one who follows, or the word that it was the last."""
        reader = self._readers.get(number)
        if reader is None:
            return
        if last:
            reader.over = True
        else:
            reader.pieces.append(chunks_from(body, data))
        reader.ring()

    def lost(self, why: str) -> None:
        """Take the end of the connection."""
        self._ended.set()
        for reader in self._readers.values():
            reader.why = why
            reader.ring()

    async def _ask(self, do: str, body: Mapping[str, Any] | None = None, *, data: bytes = b"") -> Any:  # noqa: ANN401 - a message
        return await self._connection.ask(do, {"job": self.id, **(body or {})}, data=data)


def _result(body: object, out: bytes, err: bytes) -> Result:
    if not isinstance(body, dict):
        raise RegistryError("the host that holds the job told no result")
    told: Result = from_plain(Result, body, "result")
    return replace(told, stdout=out, stderr=err)
