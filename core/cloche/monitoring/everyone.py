"""Those who read the events of all sandboxes of a host, of the later ones too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from cloche import units
from cloche.events.acts import Act, act_set
from cloche.events.event import Origin
from cloche.monitoring.hub import HubFeed
from cloche.monitoring.stream import ROOM_LEAST, AsyncEvents, Stream
from cloche.monitoring.wishes import Wish

if TYPE_CHECKING:
    from cloche.monitoring.hub import Hub

IDS_MAX: Final = 10_000
"""Sandboxes whose ids are remembered for those who read slowly."""


class Everyone:
    """Joins each sandbox's hub for each reader. All on the event loop."""

    def __init__(self) -> None:
        self._hubs: list[Hub] = []
        self._readers: WeakKeyDictionary[Stream, Wish] = WeakKeyDictionary()  # as those of a hub
        self._ids: dict[int, str] = {}

    def add(self, hub: Hub, number: int, sandbox: str) -> None:
        """Take a new sandbox too."""
        self._hubs = [*(old for old in self._hubs if not old.over), hub]
        self._ids[number] = sandbox
        while len(self._ids) > IDS_MAX:
            del self._ids[next(iter(self._ids))]
        for stream, wish in list(self._readers.items()):
            hub.join(stream, wish, ends=False)

    def events(self, acts: tuple[Act | str, ...], sources: Iterable[str], room: int | str) -> AsyncEvents:
        """Begin a stream of what is wished for."""
        names = frozenset(units.text(name, "sources") for name in units.sequence(sources, "sources"))
        wish = Wish(act_set(acts, "events") if acts else frozenset(Act), names or None)
        stream = Stream(units.size(room, "room", least=ROOM_LEAST))
        self._readers[stream] = wish
        for hub in self._hubs:
            hub.join(stream, wish, ends=False)
        return AsyncEvents(stream, _Feed(stream, self), Origin(self._ids))

    def hubs(self) -> list[Hub]:
        """Give those of living sandboxes."""
        return [hub for hub in self._hubs if not hub.over]

    def leave(self, stream: Stream) -> None:
        """Join no more sandboxes for a reader."""
        self._readers.pop(stream, None)

    def end(self) -> None:
        """End all streams: the host closes."""
        for stream in list(self._readers):
            stream.end()
        self._readers.clear()


class _Feed(HubFeed):
    """Feeds a stream from every hub there is."""

    def __init__(self, stream: Stream, everyone: Everyone) -> None:
        super().__init__(stream, everyone.hubs)
        self._everyone = everyone

    async def leave(self) -> None:
        """Leave all of them, and those to come."""
        self._everyone.leave(self._stream)
        await super().leave()
