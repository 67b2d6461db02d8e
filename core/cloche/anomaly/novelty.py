"""Which rows of acts are known of a policy's programs: learned while the host lives, asked in C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cloche.events.event import HEAD
from cloche_native import rules as native
from cloche_native.events import ACT_NAMES

LENGTH: Final = 3
"""Acts in a row."""
KNOWN_MAX: Final = 4096
"""Rows that are kept; what comes beyond stays new."""
RECENT: Final = 64
_ACT: Final = 1
_NAMES: Final = frozenset(ACT_NAMES.values())


class Rows:
    """The rows of one kind of sandbox."""

    def __init__(self) -> None:
        self._known: set[tuple[str, ...]] = set()
        self._program: native.Program | None = None

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, records: Sequence[bytes]) -> None:
        """Take a program's records, in their order."""
        acts = [ACT_NAMES[HEAD.unpack_from(record)[_ACT]] for record in records]
        new = set(zip(acts, acts[1:], acts[2:], strict=False)) - self._known
        if new:
            self._known.update(sorted(new)[: KNOWN_MAX - len(self._known)])
            self._program = None

    def novelty(self, records: Sequence[bytes]) -> float:
        """Give the share of rows that are not known, from 0 to 1; 0 as long as nothing was learned.

        C says after each act how many of the last 64 ended a row that is new: it is asked 64 by 64.
        """
        if not self._known or len(records) < LENGTH:
            return 0.0
        if self._program is None:
            self._program = native.compile([_rule(frozenset(self._known))])
        state, fresh = self._program.state(), 0
        whole = max(len(records) - len(records) % RECENT, min(len(records), RECENT))
        for at in range(0, whole, RECENT):
            some = records[at : at + RECENT]
            hits = state.judge(b"".join(some))
            if hits and hits[-1].offset == sum(map(len, some[:-1])):
                fresh += hits[-1].evidence.counted
        return min(1.0, fresh / (whole - LENGTH + 1))


def _rule(known: frozenset[tuple[str, ...]]) -> native.RuleSpec:
    novelty = native.Novelty(LENGTH, 1, known, ("exec",), 3600.0)
    return native.RuleSpec(name="novel", acts=_NAMES, novelty=novelty)
