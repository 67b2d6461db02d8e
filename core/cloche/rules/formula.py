"""Conditions on their way to C: what is joined by "and" and "or", of tests that C knows and of what Python must ask.

``alternatives`` gives the ways in which a formula can hold, each a native rule's worth: clauses of which all must
hold, each a test or several of which one must.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Final, Literal, TypeAlias

from cloche.rules.condition import AnyOf, Condition, Not
from cloche_native.rule_values import Either, Paths, Test, Text

Native: TypeAlias = Test | Paths | Text
Formula: TypeAlias = "And | Or | Native | Condition"
"""A ``Condition`` in it is what only Python can ask."""


@dataclass(frozen=True, slots=True)
class And:
    """Each part holds."""

    parts: tuple[Formula, ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    """One part holds."""

    parts: tuple[Formula, ...] = ()


_OPPOSITES: Final[dict[str, Literal["==", "!=", "<", ">="]]] = {"==": "!=", "!=": "==", "<": ">=", ">=": "<"}
TRUE, FALSE = And(), Or()


class TooMany(Exception):
    """There are more alternatives than asked for."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to hold: every clause, each of one or more tests of a kind, and every condition that Python asks."""

    clauses: tuple[tuple[Native, ...], ...] = ()
    asked: tuple[Condition, ...] = ()

    def __add__(self, other: Way) -> Way:
        return Way((*self.clauses, *other.clauses), (*self.asked, *other.asked))


def both(parts: Iterable[Formula]) -> Formula:
    """Join by "and", with what is always or never so left out."""
    kept: list[Formula] = []
    for part in parts:
        if part == FALSE:
            return FALSE
        kept += part.parts if isinstance(part, And) else [part]
    kept = _merged(kept, "none")
    return kept[0] if len(kept) == 1 else And(tuple(kept))


def either(parts: Iterable[Formula]) -> Formula:
    """Join by "or", with what is always or never so left out."""
    kept: list[Formula] = []
    for part in parts:
        if part == TRUE:
            return TRUE
        kept += part.parts if isinstance(part, Or) else [part]
    kept = _merged(kept, "in")
    return kept[0] if len(kept) == 1 else Or(tuple(kept))


def opposite(formula: Formula) -> Formula:  # noqa: PLR0911 - one for each kind
    """Give what holds where a formula does not."""
    match formula:
        case And(parts):
            return either(map(opposite, parts))
        case Or(parts):
            return both(map(opposite, parts))
        case Paths(how=how):
            return replace(formula, how="none" if how == "in" else "in")
        case Text(negate=negate):
            return replace(formula, negate=not negate)
        case Test(field, "any", _, mask):
            return Test(field, "==", 0, mask)
        case Test(op=op):
            return replace(formula, op=_OPPOSITES[op])
        case Not(part):
            return part
        case Condition():
            return Not(formula)
    raise TypeError(formula)


def alternatives(formula: Formula, bound: int) -> list[Way]:
    """Give the ways in which a formula holds; none: it never does. Raises ``TooMany`` for more than ``bound``."""
    if isinstance(formula, And):
        found = [alternatives(part, bound) for part in formula.parts]
        if prod(map(len, found)) > bound:
            raise TooMany
        return [sum(ways, Way()) for ways in product(*found)]
    if not isinstance(formula, Or):
        return [Way(asked=(formula,)) if isinstance(formula, Condition) else Way(((formula,),))]
    numbers = tuple(part for part in formula.parts if isinstance(part, Test))
    texts = tuple(part for part in formula.parts if isinstance(part, Paths | Text))
    asked = tuple(part for part in formula.parts if isinstance(part, Condition))
    ways = [Way((clause,)) for clause in (numbers, texts) if clause]
    ways += [Way(asked=(asked[0] if len(asked) == 1 else AnyOf(asked),))] if asked else []
    for part in formula.parts:
        ways += alternatives(part, bound) if isinstance(part, And) else []
    if len(ways) > bound:
        raise TooMany
    return ways


def prefilter(formula: Formula, bound: int) -> list[Way]:
    """Give at most ``bound`` ways of which one holds wherever the formula does, and maybe elsewhere."""
    parts = formula.parts if isinstance(formula, And) else (formula,)
    kept = [Way()]
    for part in parts:
        try:
            more = alternatives(part, bound // len(kept))
        except TooMany:
            continue
        kept = [one + replace(other, asked=()) for one in kept for other in more]
    return kept


def joined(clauses: Iterable[tuple[Native, ...]]) -> dict[str, tuple[object, ...]]:
    """Give clauses as the fields of a native rule or step."""
    fields: dict[str, list[object]] = {"tests": [], "paths": [], "texts": [], "either": []}
    for clause in dict.fromkeys(clauses):
        one, *others = clause
        if others:
            fields["either"].append(Either(clause))
        else:
            fields[{Test: "tests", Paths: "paths", Text: "texts"}[type(one)]].append(one)
    return {name: tuple(values) for name, values in fields.items()}


def _merged(parts: list[Formula], how: str) -> list[Formula]:
    """Make one set of those that are about the same texts: "in" of what is joined by "or", "none" by "and"."""
    found: dict[object, Formula] = {}
    for part in parts:
        if isinstance(part, Paths) and part.how == how:
            known = found.get(part.texts)
            patterns = (*known.patterns, *part.patterns) if isinstance(known, Paths) else part.patterns
            found[part.texts] = replace(part, patterns=tuple(sorted(set(patterns))))
        else:
            found[part] = part
    return list(found.values())
