"""What became of each rule that was to be imported."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cloche import Rule


@dataclass(frozen=True, slots=True)
class Imported:
    """One rule of another tool: those of cloche that it became, none if it could not, and what was left out or why."""

    name: str
    rules: tuple[Rule, ...]
    notes: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """Give ``whole``, ``partly`` or ``no``."""
        return "no" if not self.rules else "partly" if self.notes else "whole"


@dataclass(slots=True)
class Report:
    """All of them, and what was wrong with files as such."""

    imported: list[Imported] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Give the rules that were made."""
        return tuple(rule for one in self.imported for rule in one.rules)

    def summary(self) -> str:
        """Give one line on all."""
        states = [one.state for one in self.imported]
        return (
            f"{len(states)} rules read: {states.count('whole')} whole, {states.count('partly')} in part, "
            f"{states.count('no')} not; {len(self.rules)} rules made"
        )


def one_line(text: str, *, most: int = 120) -> str:
    """Give text fit for one line of a rule."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:most]


def free_id(prefix: str, name: str, taken: set[str]) -> str:
    """Give an id made of a rule's name that is not taken, and take it."""
    base = f"{prefix}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"[:56].rstrip("-")
    number = 1
    while (made := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    taken.add(made)
    return made
