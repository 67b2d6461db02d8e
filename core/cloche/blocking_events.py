"""The blocking faces of the events of a sandbox, and of what it shows of itself."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Self

from cloche.bridge import Bridge
from cloche.errors import StateError
from cloche.events.acts import Act
from cloche.events.event import Event, EventBatch
from cloche.incidents.incident import Incident
from cloche.monitoring.stream import ROOM, AsyncEvents
from cloche.sandbox import AsyncSandbox
from cloche.spec import Stats, Violation


class Events:
    """Events as they come, for one thread at a time (blocking face of ``AsyncEvents``). ``with`` closes it."""

    def __init__(self, inner: AsyncEvents, bridge: Bridge) -> None:
        self._inner = inner
        self._bridge = bridge
        self._current: Iterator[Event] = iter(())

    @property
    def lost(self) -> int:
        """How many events it did not get: it was too slow, or their source was. An event ``lost`` tells where."""
        return self._inner.lost

    def batches(self) -> Generator[EventBatch, None, None]:
        while (batch := self._bridge.call(self._inner.next_batch)) is not None:
            yield batch

    def drain(self) -> list[Event]:
        return [*self._current, *self._bridge.call(self._inner.drain)]

    def close(self) -> None:
        with suppress(StateError):  # the host is closed, and all its events with it
            self._bridge.call(self._inner.close)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while True:
            for event in self._current:
                return event
            batch = self._bridge.call(self._inner.next_batch)
            if batch is None:
                raise StopIteration
            self._current = iter(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Shown:
    """What a sandbox shows of itself: facts, figures, events (blocking face of ``AsyncShown``)."""

    _inner: AsyncSandbox
    _bridge: Bridge

    def events(self, *acts: Act | str, sources: Iterable[str] = (), room: int | str = ROOM) -> Events:
        events = self._bridge.call(partial(self._inner.events, *acts, sources=sources, room=room))
        return Events(self._bridge.call(events.begun), self._bridge)

    def event_counts(self) -> Mapping[Act, int]:
        return self._bridge.call(self._inner.event_counts)

    def stats(self) -> Stats:
        return self._bridge.call(self._inner.stats)

    def info(self) -> Mapping[str, str]:
        return self._bridge.call(self._inner.info)


class Judged:
    """What rules find in a sandbox (blocking face of ``AsyncJudged``)."""

    _inner: AsyncSandbox
    _bridge: Bridge

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What of its programs' acts was refused, or found by rules, by now: each kind of thing once, and counted.

        In a sandbox attached to: of the programs that were run from here, when they ended.
        """
        try:
            return self._bridge.call(lambda: self._inner.violations)
        except StateError:  # the host is closed; what was found stays
            return self._inner.violations

    def incidents(self) -> Sequence[Incident]:
        return self._bridge.call(self._inner.incidents)
