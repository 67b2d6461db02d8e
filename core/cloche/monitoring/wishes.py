"""What readers of a hub want, and who hears of everything before them."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cloche.events.acts import Act, EventFlag

if TYPE_CHECKING:
    from cloche.events.source import EventSource, Matched

_HEAD: Final = struct.Struct("=IHHQQII")


@dataclass(frozen=True, slots=True)
class Wish:
    """What one reader wants: these acts of these sources, by name (``None``: of all)."""

    acts: frozenset[Act]
    sources: frozenset[str] | None = None

    def of(self, source: EventSource) -> frozenset[Act]:
        """Give which acts of a source it wants."""
        return self.acts & source.acts if self.sources is None or source.name in self.sources else frozenset()


class Hearer(ABC):
    """Who hears of everything before the readers do, whatever these want: what judges it."""

    @abstractmethod
    def keeps(self, source: EventSource) -> frozenset[Act]:
        """Give acts that a source which judges by itself may tell though no reader wants them."""

    @abstractmethod
    def wants(self, source: EventSource) -> frozenset[Act]:
        """Give which acts of a source must be told, whether any reader wants them or not."""

    @abstractmethod
    def heard(self, source: EventSource, raw: bytes, matches: Sequence[Matched]) -> None:
        """Take what a source gave, and what it says matched."""

    @abstractmethod
    def missed(self, source: EventSource, count: int, *, matches: bool) -> None:
        """Take that so many records of a source, or matches, are not and won't be told."""


def select(raw: bytes, acts: Iterable[Act], *, matched: Iterable[Act] = ()) -> bytes:
    """Give the records of these acts, and of ``matched`` those that a rule matched, in their order."""
    numbers = {act.number for act in acts}
    also = {act.number for act in matched} - numbers
    found: list[bytes] = []
    at = 0
    while at < len(raw):
        size, act, _, _, _, _, flags = _HEAD.unpack_from(raw, at)
        if act in numbers or (flags & EventFlag.MATCHED.value and act in also):
            found.append(raw[at : at + size])
        at += size
    return b"".join(found)
