"""What happens to sandboxes, told to whoever asked with ``host.on``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from cloche.errors import SpecError

if TYPE_CHECKING:
    from cloche.incidents.incident import Incident


class NoticeType(StrEnum):
    """The steps of a sandbox's life that can be observed."""

    CREATED = "created"
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"
    DELETED = "deleted"
    FAILED = "failed"
    LOST = "lost"
    """Events were lost: ``details`` say of which ``source``, and how many (``lost``)."""
    INCIDENT = "incident"
    """A rule found something: ``Notice.incident``. ``details``: how many of the ``rule`` were not told (``untold``)."""
    EXECUTED = "executed"
    """An interpreter ran code: ``details`` say how that ended (``reason``), and its ``language``."""
    TIMEOUT = "timeout"
    """Code of an interpreter was ended at its wall time."""
    SECURITY = "security"
    """Code of an interpreter was refused something: ``rule``, ``operation``, ``target`` and ``hint`` in ``details``."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One step: ``sandbox`` is the id, of an interpreter its own; ``time`` in seconds since the epoch.

    ``details`` say why, where there is a why. Texts of a guest in them may say anything.
    """

    type: NoticeType
    sandbox: str
    name: str | None = None
    time: float = field(default_factory=time.time)
    details: Mapping[str, str] = field(default_factory=dict)
    incident: Incident | None = None


Callback = Callable[[Notice], object]


class Subscriptions:
    """Who wants which notices. A callback that raises is recorded in ``failures`` and never stops the others."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[frozenset[NoticeType], Callback]] = {}
        self._next = 0
        self.failures: list[tuple[Notice, Exception]] = []

    def add(self, types: tuple[str, ...], callback: Callback) -> Callable[[], None]:
        """Register ``callback`` for ``types`` (none = all) and give a function that removes it."""
        try:
            wanted = frozenset(NoticeType(t) for t in types) or frozenset(NoticeType)
        except ValueError as error:
            raise SpecError(f"on: {error}; known notices are {', '.join(NoticeType)}") from None
        if not callable(callback):
            raise SpecError(f"on: callback must be callable, not {callback!r}")
        key, self._next = self._next, self._next + 1
        self._entries[key] = (wanted, callback)
        return lambda: self._entries.pop(key, None) and None

    def __bool__(self) -> bool:
        """Say whether anybody wants to be told anything."""
        return bool(self._entries)

    def emit(self, notice: Notice) -> None:
        """Call everyone who wants ``event``, in the order they registered, on the host's event loop."""
        for wanted, callback in list(self._entries.values()):
            if notice.type not in wanted:
                continue
            try:
                callback(notice)
            except Exception as error:  # noqa: BLE001 - a caller's callback may raise anything and must not hurt others
                self.failures.append((notice, error))
                del self.failures[:-100]
