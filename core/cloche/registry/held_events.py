"""The events of a sandbox, told to other processes of its user."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from cloche.events.acts import Act
from cloche.monitoring.stream import ROOM, AsyncEvents, cut
from cloche.registry.messages import JSON_MAX
from cloche.registry.plain import count_from, from_plain

if TYPE_CHECKING:
    from cloche.registry.follows import Follow, Follows
    from cloche.registry.messages import Message
    from cloche.sandbox import AsyncSandbox

PIECE: Final = 1 << 20  # bytes of records in one message
INCIDENTS: Final = 1000  # incidents in one message


@dataclass(slots=True)
class _Told:
    """What one follower is told; whoever has the turn sends whole batches."""

    events: AsyncEvents
    turn: anyio.Lock = field(default_factory=anyio.Lock)


class EventVerbs:
    """Serves requests about events of the sandbox that ``box`` gives."""

    def __init__(self, post: Callable[..., None], box: Callable[[], AsyncSandbox], follows: Follows) -> None:
        self._post = post
        self._box = box
        self._follows = follows
        self._told: dict[int, _Told] = {}
        self.verbs: dict[str, Callable[[Message], Awaitable[Any]]] = {
            "events": self._begin, "events_flush": self._flush, "event_counts": self._counts,
            "incidents": self._incidents,
        }  # fmt: skip

    async def _begin(self, message: Message) -> Any:  # noqa: ANN401 - an answer
        body = message.body
        acts = from_plain(tuple[Act, ...], body.get("acts"), "acts")
        sources = from_plain(tuple[str, ...], body.get("sources"), "sources")
        told = _Told(self._box().events(*acts, sources=sources, room=from_plain(int, body.get("room", ROOM), "room")))
        try:
            self._follows.begin(body, partial(self._tell, told))
        except BaseException:
            await told.events.close()
            raise
        self._told[count_from(body, "follow")] = told
        return {}, b"", ()

    async def _tell(self, told: _Told, number: int, follow: Follow) -> None:
        try:
            while await told.events.ready():
                async with told.turn:
                    batch = told.events.take()
                    for piece in [] if batch is None else cut(batch.raw, PIECE):
                        self._put(number, told, piece)
                        await follow.taken()
        finally:
            self._put(number, told)
            self._told.pop(number, None)
            with anyio.CancelScope(shield=True):
                await told.events.close()

    def _put(self, number: int, told: _Told, piece: bytes = b"") -> None:
        self._post({"event": "output" if piece else "end", "follow": number, "lost": told.events.lost}, piece)

    async def _flush(self, message: Message) -> Any:  # noqa: ANN401 - an answer
        """Tell all that has happened by now, before the answer goes; it is no more than a stream has room for."""
        number = count_from(message.body, "follow")
        told = self._told.get(number)
        if told is not None:
            async with told.turn:
                for batch in await told.events.drained():
                    for piece in cut(batch.raw, PIECE):
                        self._put(number, told, piece)
        return {}, b"", ()

    async def _counts(self, _: Message) -> Any:  # noqa: ANN401 - an answer
        counts: Mapping[Act, int] = await self._box().event_counts()
        return {"counts": {act.value: count for act, count in counts.items()}}, b"", ()

    async def _incidents(self, _: Message) -> Any:  # noqa: ANN401 - an answer
        """Give the newest incidents, as many as a message takes."""
        found = await self._box().incidents()
        told = [incident.as_json() for incident in found[-INCIDENTS:]]
        while told and len(json.dumps(told)) > JSON_MAX // 2:
            told = told[len(told) // 2 + 1 :]
        return {"incidents": told}, b"", ()
