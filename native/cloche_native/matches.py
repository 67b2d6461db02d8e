"""Which rules a supervisor's events matched: ``struct clo_match`` of cdef_rules.h, unpacked."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from cloche_native.rules import MORE, NO_RULE, Evidence

__all__ = ["Match", "parse"]

_MATCH: Final = struct.Struct("=IHHQIIIiIIIIII4Q")
_WORD: Final = 8


class Match(NamedTuple):
    """What matched the event of this number: every rule by number, and the one that decided.

    ``answer`` is 0 or a negative errno, ``respond`` the gravest of all; ``evidence`` is of the one that decided.
    """

    number: int
    rules: tuple[int, ...]
    rule: int
    answer: int
    respond: int
    evidence: Evidence


def parse(raw: bytes) -> Iterator[Match]:
    """Unpack matches as they were taken. Raises ValueError for what can't be some."""
    at = 0
    while at < len(raw):
        if len(raw) - at < _MATCH.size:
            raise ValueError(f"a match is cut off at byte {at} of {len(raw)}")
        size, _, words, number, _, rule, respond, answer, more, counted, found, text, lost, steps, *times = (
            _MATCH.unpack_from(raw, at)
        )
        if size != _MATCH.size + words * _WORD or size > len(raw) - at or more not in MORE or steps > len(times):
            raise ValueError(f"there is no match at byte {at} of {len(raw)}")
        bits = int.from_bytes(raw[at + _MATCH.size : at + size], "little")
        rules = tuple(rule for rule in range(bits.bit_length()) if bits >> rule & 1)
        where = None if found == NO_RULE else found
        evidence = Evidence(MORE[more], counted, bool(lost), tuple(times[:steps]), where, text)
        yield Match(number, rules, rule, answer, respond, evidence)
        at += size
