"""Matches and their records, which come apart, put together again; what one of the two is lost of is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from cloche.events.acts import EventFlag
from cloche.incidents.recent import event_at, heads

if TYPE_CHECKING:
    from cloche.events.event import Event, Origin
    from cloche.events.source import Matched

NUMBERS: Final = 1 << 14
"""How many of the last records are remembered to have come with their match."""
_NUMBER, _FLAGS = 3, 6


class Pairing:
    """The matches of one source that judges by itself. Each comes after its record was there to be drained."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._waiting: dict[int, Matched] = {}
        self._paired: dict[int, None] = {}
        self._last = b""

    def paired(self, matches: Sequence[Matched], raw: bytes) -> Iterator[tuple[Matched, Event | None]]:
        """Give each match with its event, ``None`` for a record that was lost. ``raw`` was drained after ``matches``.

        It may be the rest of what there was, or not; none at all says that there is no more.
        """
        if matches:
            self._waiting.update((match.number, match) for match in matches)
        if self._waiting:
            latest = 0
            for piece in (self._last, raw):
                for at, head in heads(piece):
                    latest = head[_NUMBER]
                    match = self._waiting.pop(latest, None)
                    if match is not None:
                        self._note(latest)
                        yield match, event_at(piece, at, self._origin)
            if self._waiting:
                for number in [n for n in self._waiting if not raw or n < latest]:
                    yield self._waiting.pop(number), None
        if raw:
            self._last = raw

    def unpaired(self, raw: bytes) -> Iterator[bytes]:
        """Give the records of ``raw`` that a rule matched and of which no match came."""
        for at, head in heads(raw):
            number = head[_NUMBER]
            if head[_FLAGS] & EventFlag.MATCHED and number not in self._paired and number not in self._waiting:
                self._note(number)
                yield raw[at : at + head[0]]

    def _note(self, number: int) -> None:
        self._paired[number] = None
        if len(self._paired) > NUMBERS:
            del self._paired[next(iter(self._paired))]
