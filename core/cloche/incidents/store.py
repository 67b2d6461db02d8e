"""The incidents of one host: kept after their sandboxes are gone, until newer ones take their room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from cloche import units
from cloche.rules.severity import Severity

if TYPE_CHECKING:
    from cloche.incidents.incident import Incident

KEPT: Final = 4096


class Incidents:
    """Incidents in the order they came, newest last; one that was counted up, or answered, is kept as it is now.

    May be used by several threads. Iterating goes over those that there are when it begins.
    """

    def __init__(self, most: int = KEPT) -> None:
        """Keep at most so many; the oldest go."""
        self._most = units.count(most, "incidents")
        self._turn = threading.Lock()
        self._found: OrderedDict[str, Incident] = OrderedDict()
        self._dropped = 0

    def add(self, incident: Incident) -> None:
        """Take a new incident, or one that is known as it is now. One that is known keeps its place."""
        with self._turn:
            self._found[incident.id] = incident
            if len(self._found) > self._most:
                self._found.popitem(last=False)
                self._dropped += 1

    @property
    def dropped(self) -> int:
        """How many had to go for newer ones."""
        return self._dropped

    def since(
        self, time: float = 0.0, *, sandbox: str | None = None, severity: Severity | str = Severity.INFO
    ) -> list[Incident]:
        """Give those at or after a time (seconds since the epoch), of one sandbox by its id, at least so grave."""
        least = Severity.of(severity)
        return [
            found
            for found in self
            if found.time >= time and found.severity >= least and sandbox in (None, found.sandbox)
        ]

    def __iter__(self) -> Iterator[Incident]:
        with self._turn:
            return iter(list(self._found.values()))

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<{len(self)} incidents>"
