"""One source as its judge hears it: each of its matches with the event, whoever judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from cloche.events.acts import Act
from cloche.events.event import Event, Origin
from cloche.events.source import EventSource, Matched
from cloche.incidents.pairing import Pairing
from cloche.incidents.recent import Recent, event_at

if TYPE_CHECKING:
    from cloche.incidents.prepare import Judging
    from cloche_native import rules as native

GUEST: Final = "guest"


class Seat:
    """What is kept of one source: its last records, and what counts over time where it does not judge by itself."""

    def __init__(self, source: EventSource, judging: Judging, sandboxes: Origin) -> None:
        self.source = source
        self.origin = Origin(sandboxes.sandboxes, source.origin.clock, source.origin.machine)
        eager = source.local and judging.asks_of_processes
        self.recent = Recent(self.origin, eager=eager, hidden=frozenset({Act.FORK}) - source.acts)
        self._pairing = Pairing(self.origin)
        self._program = judging.program
        self._state: native.State | None = None
        self._evicted = 0
        self._open = False
        """Whether matches of the last records may still come."""

    def change(self, judging: Judging) -> None:
        """Judge by these from now on; what was counted is forgotten."""
        self._program, self._state, self._evicted = judging.program, None, 0

    def heard(self, raw: bytes, matches: Sequence[Matched]) -> Iterator[tuple[Matched, Event | None]]:
        """Give what matched among records that came with these matches; ``None`` for a record that was lost."""
        if raw:
            self.recent.add(raw)
        self._open = bool(raw)
        if self.source.judges:
            yield from self._pairing.paired(matches, raw)
        elif raw:
            if self._state is None:
                self._state = self._program.state()
            yield from self._judged(self._state, raw)

    def recovered(self) -> Iterator[tuple[Matched, Event]]:
        """Give what rules that need no memory say of records whose match was lost, as far as they are still there.

        Not of the last that came, if matches of these may still come: what is judged now would be counted again then.
        """
        state = self._program.state()
        pieces = self.recent.pieces()
        for raw in pieces[:-1] if self._open else pieces:
            for record in self._pairing.unpaired(raw):
                yield from self._judged(state, record)

    def evicted(self) -> int:
        """Give how many more keys found no room since the last time."""
        if self._state is None:
            return 0
        before, self._evicted = self._evicted, sum(self._state.lost().values())
        return self._evicted - before

    def _judged(self, state: native.State, raw: bytes) -> Iterator[tuple[Matched, Event]]:
        names = self._program.names
        for hit in state.judge(raw):
            event, why = event_at(raw, hit.offset, self.origin), hit.evidence
            yield Matched(event.number, tuple(names[n] for n in hit.rules), hit.answer, why.counted), event
