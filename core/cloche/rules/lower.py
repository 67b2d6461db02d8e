"""A condition as a formula of native tests, for one act; what C can't ask stays a condition, behind what it can.

Each comparison becomes exactly what ``cloche.rules.holds`` says; a property test holds the two together.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Final

from cloche.events.acts import SOURCES, Act, EventFlag
from cloche.events.event import syscalls
from cloche.rules.condition import All, AnyOf, Compare, Condition, Not
from cloche.rules.fields import FIELDS, Field
from cloche.rules.filling import filled, meant
from cloche.rules.formula import FALSE, TRUE, Formula, both, either, opposite
from cloche.rules.holds import passer, signed
from cloche.rules.lower_texts import text_formula, text_needed
from cloche.rules.patterns import path_patterns
from cloche.rules.surroundings import Surroundings
from cloche_native.rule_values import Paths, Test, Text


def lowered(condition: Condition, act: Act, around: Surroundings, *, negate: bool = False) -> Formula:
    """Give what a condition, or its opposite, asks of the events of one act. Raises ``SpecError``."""
    match condition:
        case All(parts):
            return (either if negate else both)(lowered(part, act, around, negate=negate) for part in parts)
        case AnyOf(parts):
            return (both if negate else either)(lowered(part, act, around, negate=negate) for part in parts)
        case Not(part):
            return lowered(part, act, around, negate=not negate)
    assert isinstance(condition, Compare)  # noqa: S101 - there are no others; for the type checker
    exact = _exact(condition, act, meant(condition, around))
    if exact is not None:
        return opposite(exact) if negate else exact
    passer(condition, around)  # raises for a value that is no pattern
    if negate or FIELDS[condition.field].kind != "text" or condition.field == "call":
        return Not(condition) if negate else condition
    return both((text_needed(condition, reads(condition, act)[0], _bytes(condition, around)), condition))


def reads(asked: Compare, act: Act) -> tuple[str, ...]:
    """Give what of a record of the act a comparison looks at: texts by name, or an argument by its place."""
    field = FIELDS[asked.field]
    if field.kind == "number" and field.name not in _ALWAYS:
        place = field.place(act)
        return () if place is None else (f"arg{place}",)
    return field.read(act) if field.texts else (field.name,)


_ALWAYS: Final = ("result", "pid", "tid", "exec")


@lru_cache(maxsize=16384)
def _exact(asked: Compare, act: Act, around: Surroundings) -> Formula | None:  # noqa: PLR0911 - one for each kind
    """Give native tests that say just what a comparison does; ``None`` where there are none."""
    field = FIELDS[asked.field]
    if field.kind in ("number", "flag"):
        return _number(asked, field, act)
    if field.kind == "process":
        return None
    if field.name == "source":
        passes = passer(asked, around)
        return either(Test("source", "==", one.number) for one in SOURCES if passes(one.value.encode()))
    if field.name == "call":
        return _call(asked, around)
    texts = field.read(act)
    if not texts:
        return FALSE
    if asked.op == "matches":
        return None if filled(asked, around) else FALSE
    if field.kind == "path":
        patterns = path_patterns(asked, around)
        return Paths(patterns, "in", texts) if patterns else FALSE
    if asked.op == "exists":
        return Text("equal", b"", texts[0], negate=True)
    return text_formula(asked, texts[0], _bytes(asked, around))


def _bytes(asked: Compare, around: Surroundings) -> list[bytes]:
    return [os.fsencode(str(value)) for value in filled(asked, around)]


# ---- numbers ----


def _number(asked: Compare, field: Field, act: Act) -> Formula:
    values = [value for value in asked.values if isinstance(value, int)]
    if field.flag is not None:
        tests = {0: Test("flags", "==", 0, field.flag), 1: Test("flags", "any", 0, field.flag)}
        return either(tests[value] for value in (0, 1) if value in values)
    place = field.place(act)
    if place is None and field.name not in _ALWAYS:
        return FALSE
    known = Test("flags", "any", 0, EventFlag.RESULT) if field.name == "result" else TRUE
    name = field.name if place is None else f"arg{place}"
    return both((known, _compared(asked.op, name, values)))


def _compared(op: str, name: str, values: list[int]) -> Formula:
    match op:
        case "==":
            return either(Test(name, "==", signed(value)) for value in values)
        case "<":
            return Test(name, "<", max(map(signed, values)))
        case ">=":
            return Test(name, ">=", min(map(signed, values)))
        case "has":
            mask = 0
            for value in values:
                mask |= value % (1 << 64)
            return Test(name, "any", 0, mask) if mask else FALSE
        case _:
            return Test(name, "any") if name in ("pid", "tid", "exec") else TRUE


def _call(asked: Compare, around: Surroundings) -> Formula | None:
    """Ask for calls by their numbers on this machine."""
    if asked.op == "exists":
        return Test("call", ">=", 0)
    names = syscalls(os.uname().machine)
    passes = passer(asked, around)
    numbers = [number for number, name in names.items() if passes(name.encode())]
    if asked.op != "==" or any(str(value).isdigit() for value in filled(asked, around)):
        return None
    return either(Test("call", "==", number) for number in sorted(numbers))
