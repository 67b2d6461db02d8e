"""What happens to sandboxes, told to whoever asked with ``host.on``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cloche.errors import SpecError


class EventType(StrEnum):
    """The steps of a sandbox's life that can be observed."""

    CREATED = "created"
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"
    DELETED = "deleted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Event:
    """One step: ``sandbox`` is the id, ``time`` seconds since the epoch, ``details`` why, where there is a why."""

    type: EventType
    sandbox: str
    name: str | None = None
    time: float = field(default_factory=time.time)
    details: Mapping[str, str] = field(default_factory=dict)


Callback = Callable[[Event], object]


class Subscriptions:
    """Who wants which events. A callback that raises is recorded in ``failures`` and never stops the others."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[frozenset[EventType], Callback]] = {}
        self._next = 0
        self.failures: list[tuple[Event, Exception]] = []

    def add(self, types: tuple[str, ...], callback: Callback) -> Callable[[], None]:
        """Register ``callback`` for ``types`` (none = all) and give a function that removes it."""
        try:
            wanted = frozenset(EventType(t) for t in types) or frozenset(EventType)
        except ValueError as error:
            raise SpecError(f"on: {error}; known events are {', '.join(EventType)}") from None
        if not callable(callback):
            raise SpecError(f"on: callback must be callable, not {callback!r}")
        key, self._next = self._next, self._next + 1
        self._entries[key] = (wanted, callback)
        return lambda: self._entries.pop(key, None) and None

    def emit(self, event: Event) -> None:
        """Call everyone who wants ``event``, in the order they registered, on the host's event loop."""
        for wanted, callback in list(self._entries.values()):
            if event.type not in wanted:
                continue
            try:
                callback(event)
            except Exception as error:  # noqa: BLE001 - a caller's callback may raise anything and must not hurt others
                self.failures.append((event, error))
                del self.failures[:-100]
