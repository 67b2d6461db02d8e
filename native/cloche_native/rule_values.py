"""Rules as values: what an event must be, what must have come before it, and what is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bytes = str | bytes


class BadRule(ValueError):
    """A rule that can't be meant; ``rule`` is its name."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"rule {rule!r}: {reason}")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Test:
    """``field & mask`` compared with ``value``, as 64 bits; ``<`` and ``>=`` signed; ``any``: it is not 0."""

    field: str
    op: Literal["==", "!=", "any", "<", ">="]
    value: int = 0
    mask: int = -1


@dataclass(frozen=True, slots=True)
class Paths:
    """Patterns of paths, which are one set, and which texts to look at, in their normal form.

    ``in``: one of the texts is in the set; ``none``: none of them is; ``outside``: one that is there is not.
    """

    patterns: tuple[Bytes, ...]
    how: Literal["in", "none", "outside"] = "in"
    texts: tuple[str, ...] = ("path", "resolved")


@dataclass(frozen=True, slots=True)
class Text:
    """Bytes of one text as it is: it equals, begins with, ends with or contains ``value``, or does not.

    ``fold``: ASCII letters of either case are the same. ``spaced``: of ``target`` alone, as arguments with spaces
    between: without the NUL at its end, a space for each other; a text that is not there then passes nothing.
    """

    how: Literal["equal", "prefix", "suffix", "contains"]
    value: Bytes
    text: str = "target"
    negate: bool = False
    fold: bool = False
    spaced: bool = False


@dataclass(frozen=True, slots=True)
class Either:
    """One at least of these tests passes: all of them of numbers, or all of texts and paths."""

    tests: tuple[Test | Paths | Text, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What an event must be: of one of the acts, and pass every test, and one of each ``either``."""

    acts: frozenset[str]
    tests: tuple[Test, ...] = ()
    paths: tuple[Paths, ...] = ()
    texts: tuple[Text, ...] = ()
    either: tuple[Either, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """More than ``limit`` events of one key within ``per`` seconds, or with so many values of ``distinct`` fields.

    Every event of the last ``per`` seconds is counted, and none that is over 8/7 as old. ``limit`` of values is at most
    63. Keys: ``sandbox pid exec dir path arg0 arg1 target act``; without any all events are counted together. Rules
    whose windows have the same name in ``shared``, and are the same, count together, each event once.
    """

    limit: int
    per: float
    key: tuple[str, ...] = ()
    distinct: tuple[str, ...] = ()
    shared: str = ""


@dataclass(frozen=True, slots=True)
class RuleSequence:
    """One to three earlier steps of the same key, in order, the first not over ``within`` seconds before the rule's."""

    steps: tuple[Step, ...]
    within: float
    key: tuple[str, ...] = ("pid",)


@dataclass(frozen=True, slots=True)
class Novelty:
    """Of the last 64 events of a key at least ``least`` ended a row of ``length`` acts that is none of ``grams``.

    A key of which nothing came for ``forget`` seconds begins anew.
    """

    length: int
    least: int
    grams: frozenset[tuple[str, ...]]
    key: tuple[str, ...] = ("pid",)
    forget: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    """One rule: an event matches that is of one of ``acts``, passes every test and completes what else is asked.

    At most one of ``window``, ``sequence``, ``novelty``. ``answer``: an errno for the guest, 0 lets it go on.
    ``respond``: 0 to 255, the more the graver; from 128 on it asks whoever can't refuse the act to stop the guest.
    """

    name: str
    acts: frozenset[str]
    tests: tuple[Test, ...] = ()
    paths: tuple[Paths, ...] = ()
    texts: tuple[Text, ...] = ()
    either: tuple[Either, ...] = ()
    window: Window | None = None
    sequence: RuleSequence | None = None
    novelty: Novelty | None = None
    answer: int = 0
    respond: int = 0

    @property
    def step(self) -> Step:
        """What an event of the rule must be by itself."""
        return Step(self.acts, self.tests, self.paths, self.texts, self.either)
