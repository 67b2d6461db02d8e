"""What becomes of a condition of which a part can't be said: what may be left out, and what is told of it.

A part that is not known is left out so that the rule finds more rather than less: one of several demands, or an
exception. Of alternatives the others stay, and the rule finds less there. Each is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import cloche
from cloche import Condition, Joined, SpecError, Term

TERMS_MAX: Final = 4096
WORK_MAX: Final = 500_000


@dataclass(frozen=True, slots=True)
class Part:
    """What a part of a condition comes to: a condition, true, false, or ``None``: not known.

    ``tells``: it demands something that few acts have, and so can carry a rule. ``size``: comparisons in it.
    """

    condition: Condition | bool | None
    tells: bool = False
    size: int = 1


@dataclass(frozen=True, slots=True)
class Leaf:
    """A comparison that is known already, and how it is shown."""

    shown: str
    part: Part


@dataclass(frozen=True, slots=True)
class Group:
    """Parts under ``and``, ``or`` or ``not``, as ``cloche.Joined``."""

    word: str
    parts: tuple[object, ...]


TRUE: Final = Part(condition=True)
FALSE: Final = Part(condition=False)
UNKNOWN: Final = Part(None)


@dataclass(slots=True)
class Notes:
    """What was left out of one rule, in the order it was met."""

    widened: dict[str, None] = field(default_factory=dict)
    """Demands and exceptions: without them it finds more."""
    narrowed: dict[str, None] = field(default_factory=dict)
    """Alternatives: without them it finds less."""
    demanded: bool = False
    """Whether a demand is among them."""

    def lines(self) -> list[str]:
        """Give a sentence for each."""
        return [
            *(f"finds more: {what} is not asked" for what in self.widened),
            *(f"finds less: {what} is not found" for what in self.narrowed),
        ]


class Evaluator:
    """Makes a condition of a tree, its terms by ``term`` and its macros by ``macro``."""

    def __init__(
        self, notes: Notes, term: Callable[[Term], Part] | None = None, macro: Callable[[str], object] | None = None
    ) -> None:
        self._term = term
        self._macro = macro
        self._notes = notes
        self._within: list[str] = []
        self._known: dict[tuple[str, bool], Part] = {}
        self._work = 0

    def part(self, node: object, *, excepted: bool = False) -> Part:
        """Give what a tree comes to; ``excepted``: it stands under an odd number of ``not``."""
        self._work += 1
        if self._work > WORK_MAX:
            raise SpecError("its macros make too much of it")
        if isinstance(node, Leaf):
            return node.part
        if isinstance(node, Joined | Group):
            if node.word == "not":
                return _negated(self.part(node.parts[0], excepted=not excepted))
            parts = [(self.part(one, excepted=excepted), one) for one in node.parts]
            return self._all(parts, excepted=excepted) if node.word == "and" else self._any(parts, excepted=excepted)
        if not isinstance(node, Term) or self._term is None or self._macro is None:
            raise SpecError(f"{node!r:.80} is no part of a condition")
        return self._term(node) if node.op else self._named(node, excepted=excepted)

    def _named(self, term: Term, *, excepted: bool) -> Part:
        key = term.field, excepted
        if key not in self._known:
            tree = UNKNOWN if self._macro is None else self._macro(term.field)
            if isinstance(tree, Part):
                return tree
            if term.field in self._within:
                raise SpecError(f"macro {term.field!r} is made of itself")
            self._within.append(term.field)
            self._known[key] = self.part(tree, excepted=excepted)
            self._within.pop()
        return self._known[key]

    def _all(self, parts: list[tuple[Part, object]], *, excepted: bool) -> Part:
        if any(part.condition is False for part, _ in parts):
            return FALSE
        known = [part for part, _ in parts if part.condition is not None]
        missing = [node for part, node in parts if part.condition is None]
        if not known:
            return UNKNOWN
        if missing and excepted:  # an exception of which a part is not known is none
            self._note(self._notes.widened, missing)
            return FALSE
        if missing:
            self._note(self._notes.widened, missing)
            self._notes.demanded |= any(getattr(one, "word", "") != "not" for one in missing)
        return _joined(known, both=True)

    def _any(self, parts: list[tuple[Part, object]], *, excepted: bool) -> Part:
        if any(part.condition is True for part, _ in parts):
            return TRUE
        known = [part for part, _ in parts if part.condition is not None]
        missing = [node for part, node in parts if part.condition is None]
        if missing and not any(part.condition is not False for part in known):
            return UNKNOWN
        if missing:
            self._note(self._notes.widened if excepted else self._notes.narrowed, missing)
        return _joined(known, both=False)

    def _note(self, notes: dict[str, None], nodes: Iterable[object]) -> None:
        for node in nodes:
            notes[shown(node)] = None


def _negated(part: Part) -> Part:
    if part.condition is None or isinstance(part.condition, bool):
        return UNKNOWN if part.condition is None else Part(condition=not part.condition)
    return Part(~part.condition, tells=False, size=part.size)


def _joined(parts: list[Part], *, both: bool) -> Part:
    """Join known parts; those that are true (of alternatives: false) say nothing."""
    some = [part for part in parts if not isinstance(part.condition, bool)]
    if not some:
        return TRUE if both else FALSE
    size = sum(part.size for part in some)
    if size > TERMS_MAX:
        raise SpecError(f"more than {TERMS_MAX} comparisons")
    whole = some[0].condition
    for part in some[1:]:
        assert isinstance(whole, Condition)  # noqa: S101 - booleans and None were sorted out
        assert isinstance(part.condition, Condition)  # noqa: S101
        whole = whole & part.condition if both else whole | part.condition
    tells = any(part.tells for part in some) if both else all(part.tells for part in some)
    return Part(whole, tells, size)


def shown(node: object) -> str:
    """Give a part of a condition as a line can show it."""
    if isinstance(node, Term):
        words = [word.text if word.text.isprintable() else repr(word.text) for word in node.values[:4]]
        more = ", ..." if len(node.values) > len(words) else ""
        values = f"({', '.join(words)}{more})" if len(node.values) > 1 else "".join(words)
        return " ".join(one for one in (node.field, node.op, values) if one)
    if isinstance(node, Joined | Group):
        parts = [shown(part) for part in node.parts[:3]]
        return f"not {parts[0]}" if node.word == "not" else f"({f' {node.word} '.join(parts)})"
    return node.shown if isinstance(node, Leaf) else repr(node)


def compared(name: str, how: str, values: list[str]) -> Part:
    """Give a field compared with texts by a method of ``cloche.F``; without a value nothing is equal to one."""
    texts = [value.replace("${", "$${") for value in values if value or how == "one_of"]
    if not texts:
        return FALSE if not values else UNKNOWN
    return Part(getattr(cloche.F[name], how)(*texts), tells=True)


def numbered(name: str, how: str, values: list[int], *, tells: bool = True) -> Part:
    """Give a field compared with numbers."""
    return Part(getattr(cloche.F[name], how)(*values), tells=tells) if values else FALSE
