"""What of the acts of one sandbox's programs was refused or found: each kind of thing once, and counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from cloche.spec import Violation

KEPT: Final = 1000
OTHERS: Final = "(others)"
"""Stands for the targets for which there was no room."""


@dataclass(slots=True)
class Kept:
    """The first of its kind, and how many of it there were."""

    first: Violation
    count: int
    blocked: bool

    def join(self, other: Violation) -> None:
        """Count one of the same kind up."""
        self.count += other.count
        self.blocked = self.blocked or other.blocked
        if other.time < self.first.time:
            self.first = other


class Violations:
    """Violations by program (the number of its exec; 0: nobody knows whose)."""

    def __init__(self, most: int = KEPT) -> None:
        """Keep at most so many; what comes beyond is counted under ``OTHERS``, by program, rule and operation."""
        self._most = most
        self._found: dict[tuple[int, str, str, str], Kept] = {}

    def add(self, exec_number: int, violation: Violation) -> Kept:
        """Count one up; the first of its kind says when and how. What is given can be counted up further."""
        key = exec_number, violation.rule, violation.operation, violation.target
        kept = self._found.get(key)
        if kept is None and len(self._found) >= self._most:
            violation = replace(violation, target=OTHERS)
            key = exec_number, violation.rule, violation.operation, OTHERS
            kept = self._found.get(key)
        if kept is None and len(self._found) >= 2 * self._most:
            kept = self._found[next(reversed(self._found))]
        if kept is None:
            kept = self._found[key] = Kept(violation, 0, blocked=False)
        kept.join(violation)
        return kept

    def of(self, exec_number: int) -> tuple[Violation, ...]:
        """Give those of one program, in the order they began."""
        return _told(kept for key, kept in self._found.items() if key[0] == exec_number)

    def all(self) -> tuple[Violation, ...]:
        """Give those of all programs; the same thing done by several is one."""
        whole: dict[tuple[str, str, str], Kept] = {}
        for violation in _told(self._found.values()):
            key = violation.rule, violation.operation, violation.target
            whole.setdefault(key, Kept(violation, 0, blocked=False)).join(violation)
        return _told(whole.values())

    def __len__(self) -> int:
        return len(self._found)


def _told(found: Iterable[Kept]) -> tuple[Violation, ...]:
    return tuple(replace(kept.first, count=max(1, kept.count), blocked=kept.blocked) for kept in found)
