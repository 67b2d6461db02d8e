"""The events of a sandbox that another host owns: what it tells of them is put into a stream here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio

from cloche.errors import ClocheError, RegistryError
from cloche.events.event import EventBatch
from cloche.monitoring.stream import Feed, Stream
from cloche.registry.plain import count_from

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.registry.connection import Connection

LOST_MAX: Final = 1 << 62


class Follower(ABC):
    """Who is told what the owner of a sandbox sends unasked, piece by piece."""

    @abstractmethod
    def told(self, number: int, body: Mapping[str, Any], data: bytes, *, last: bool) -> None:
        """Take a piece, or the word that it was the last."""

    @abstractmethod
    def lost(self, why: str) -> None:
        """Take the end of the connection."""


class HeldFeed(Feed, Follower):
    """Follows from here. Each piece that comes is answered at once: what the reader leaves waits in the stream."""

    def __init__(
        self, connection: Connection, followed: dict[int, Follower], stream: Stream, asked: Mapping[str, Any],
        *, tasks: Background,
    ) -> None:  # fmt: skip
        self.ended = anyio.Event()
        self._connection = connection
        self._followed = followed
        self._stream = stream
        self._tasks = tasks
        self._number = connection.number()
        self._lost = 0
        self._begun = anyio.Event()
        self._trouble: ClocheError | None = None
        followed[self._number] = self
        tasks.start_soon(self._ask, dict(asked))

    async def begin(self) -> None:
        """Wait until the owner follows. Raises what it refused that with."""
        await self._begun.wait()
        if self._trouble is not None:
            raise self._trouble

    async def flush(self) -> None:
        """Have the owner tell all that has happened by now."""
        if not self.ended.is_set():
            await self._connection.ask("events_flush", {"follow": self._number})

    async def leave(self) -> None:
        """Follow no more."""
        if not self.ended.is_set():
            self._end()
            with anyio.CancelScope(shield=True):
                await self._connection.say({"do": "unfollow", "follow": self._number})

    def told(self, number: int, body: Mapping[str, Any], data: bytes, *, last: bool) -> None:
        """Take a piece, or the word that it was the last."""
        lost = count_from(body, "lost", LOST_MAX, least=self._lost)
        self._stream.lost += lost - self._lost
        self._lost = lost
        if data:
            self._stream.offer(EventBatch(data).raw)
        if last:
            self._end()
            self._stream.end()
        else:
            self._tasks.start_soon(self._connection.say, {"do": "more", "follow": number})

    def lost(self, why: str) -> None:
        """Take the end of the connection."""
        self._stream.end(RegistryError(f"the events of the sandbox can't be followed any more: {why}"))
        self._end()

    def _end(self) -> None:
        self.ended.set()
        self._begun.set()
        self._followed.pop(self._number, None)

    async def _ask(self, asked: Mapping[str, Any]) -> None:
        try:
            await self._connection.ask("events", {**asked, "follow": self._number})
        except ClocheError as error:
            self._trouble = error
            self._stream.end(error)
            self._end()
        finally:
            self._begun.set()
