"""Conditions on an event, as values: built with ``F``, or read from text (``cloche.rules.parse``).

::

    F.file.under("/etc", "/root") & ~F.file.under("${workspace}")
    F.mode.has(0o6000) | F.climbs
    F.argv.contains("--privileged")

``holds`` says what each means. A comparison with several values is true if it is so for one of them. One on a text that
the event does not have, or an argument that its act does not have, is false; its negation is true.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from cloche import units
from cloche.errors import SpecError
from cloche.rules.expressions import expression
from cloche.rules.fields import FIELDS

Op = Literal[
    "==", "<", ">=", "has", "contains", "icontains", "startswith", "endswith", "glob", "under", "matches", "exists"
]
OPS: Final = get_args(Op)
Value = str | int
VALUES_MAX: Final = 4096
DEPTH_MAX: Final = 64
VALUE_MAX: Final = 4095
"""Bytes of one text to compare with."""
_NUMERIC: Final = frozenset({"==", "<", ">=", "has", "exists"})
_TEXTUAL: Final = frozenset({"==", "contains", "icontains", "startswith", "endswith", "glob", "matches", "exists"})
_PATHS: Final = _TEXTUAL | {"under"}
_BY_KIND: Final = {"number": _NUMERIC, "flag": frozenset({"=="}), "text": _TEXTUAL, "process": _TEXTUAL, "path": _PATHS}


def usable(kind: str) -> frozenset[str]:
    """Give the operators that can be asked of a kind of field."""
    return _BY_KIND[kind]


@dataclass(frozen=True, slots=True)
class Condition:
    """What an event must be. ``&``, ``|`` and ``~`` join them."""

    def __and__(self, other: Condition | On) -> Condition:
        return All((*_parts(self, All), *_parts(_checked(other), All)))

    def __or__(self, other: Condition | On) -> Condition:
        return AnyOf((*_parts(self, AnyOf), *_parts(_checked(other), AnyOf)))

    def __invert__(self) -> Condition:
        return self.part if isinstance(self, Not) else Not(self)

    def __bool__(self) -> bool:
        raise SpecError("a condition has no truth by itself: join conditions with & | ~, not with and, or, not")


@dataclass(frozen=True, slots=True)
class All(Condition):
    """Each part holds; without any it always does."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf(Condition):
    """One part at least holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """The part does not hold."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Compare(Condition):
    """One field compared with one or more values.

    Values may hold ``${name}``, of ``cloche.rules.surroundings``, which is filled in for each sandbox.
    """

    field: str
    op: Op
    values: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        known = FIELDS.get(self.field) if isinstance(self.field, str) else None
        if known is None:
            raise SpecError(f"condition: field {units.shown(self.field)} is unknown; `cloche rules fields` lists them")
        what = f"condition on {self.field}"
        if self.op not in _BY_KIND[known.kind]:
            others = ", ".join(sorted(usable(known.kind)))
            raise SpecError(f"{what}: {units.shown(self.op)} can't be asked of a {known.kind}; use one of {others}")
        object.__setattr__(self, "values", units.sequence(self.values, what))
        if (self.op == "exists") != (not self.values):
            need = "takes no value" if self.op == "exists" else "needs a value"
            raise SpecError(f"{what}: {self.op} {need}")
        if len(self.values) > VALUES_MAX:
            raise SpecError(f"{what}: {len(self.values)} values; at most {VALUES_MAX}")
        for value in self.values:
            _check_value(value, numeric=known.kind in ("number", "flag"), what=what, op=self.op)


ALWAYS: Final = All(())
"""Holds of every event."""


class On:
    """One field, for conditions: ``F.file``, ``F["process.name"]``. A flag joined with others is that it is set."""

    __slots__ = ("_field",)

    def __init__(self, field: str) -> None:
        if field not in FIELDS:
            raise SpecError(f"F: field {units.shown(field)} is unknown; `cloche rules fields` lists them")
        self._field = field

    def __and__(self, other: Condition | On) -> Condition:
        return _checked(self) & _checked(other)

    def __or__(self, other: Condition | On) -> Condition:
        return _checked(self) | _checked(other)

    __rand__, __ror__ = __and__, __or__

    def __invert__(self) -> Condition:
        return ~_checked(self)

    def is_set(self) -> Condition:
        """Be set, for a flag."""
        return Compare(self._field, "==", (1,))

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]  # a condition, as in any expression language
        return Compare(self._field, "==", (value,))  # type: ignore[arg-type]  # checked there

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]
        return ~(self == value)

    __hash__ = None  # type: ignore[assignment]

    def __lt__(self, value: int) -> Condition:
        return Compare(self._field, "<", (value,))

    def __ge__(self, value: int) -> Condition:
        return Compare(self._field, ">=", (value,))

    def __le__(self, value: int) -> Condition:
        return ~(self > value)

    def __gt__(self, value: int) -> Condition:
        return Compare(self._field, ">=", (value + 1,))

    def one_of(self, *values: Value) -> Condition:
        """Be equal to one of the values."""
        return Compare(self._field, "==", values)

    def has(self, *bits: int) -> Condition:
        """Have one of these bits set, at least."""
        return Compare(self._field, "has", bits)

    def contains(self, *values: str) -> Condition:
        """Have one of the values somewhere in it."""
        return Compare(self._field, "contains", values)

    def icontains(self, *values: str) -> Condition:
        """Have one of the values somewhere in it, ASCII letters of either case being equal."""
        return Compare(self._field, "icontains", values)

    def startswith(self, *values: str) -> Condition:
        """Begin with one of the values."""
        return Compare(self._field, "startswith", values)

    def endswith(self, *values: str) -> Condition:
        """End with one of the values."""
        return Compare(self._field, "endswith", values)

    def glob(self, *patterns: str) -> Condition:
        """Match one of the patterns (docs/patterns.md); for texts that are no paths ``*`` is any bytes."""
        return Compare(self._field, "glob", patterns)

    def under(self, *folders: str) -> Condition:
        """Be one of the folders or lie below it."""
        return Compare(self._field, "under", folders)

    def matches(self, *patterns: str) -> Condition:
        """Hold a match of a regular expression, searched in linear time; only after the act."""
        return Compare(self._field, "matches", patterns)

    def exists(self) -> Condition:
        """Be there at all."""
        return Compare(self._field, "exists")


class _Fields:
    """All fields: ``F.file``, ``F.mode``, ``F["process.name"]``; a flag alone is ``F.flag("climbs")``."""

    def __getattr__(self, name: str) -> On:
        if name not in FIELDS:
            raise AttributeError(f"no field {name!r}; `cloche rules fields` lists them")
        return On(name)

    def __getitem__(self, name: str) -> On:
        return On(name)

    def flag(self, name: str) -> Condition:
        """Give the condition that an event has a flag: ``F.flag("climbs")``."""
        return On(name).is_set()


F: Final = _Fields()


def _parts(condition: Condition, kind: type[All | AnyOf]) -> tuple[Condition, ...]:
    return condition.parts if isinstance(condition, kind) else (condition,)


def _checked(other: object) -> Condition:
    if isinstance(other, On) and FIELDS[other._field].kind == "flag":  # noqa: SLF001 - of this module
        return other.is_set()
    if not isinstance(other, Condition):
        raise SpecError(f"condition: {units.shown(other)} is no condition; compare a field first (F.file.under(...))")
    return other


def _check_value(value: object, *, numeric: bool, what: str, op: str) -> None:
    if numeric:
        if isinstance(value, bool) or not isinstance(value, int) or not -(1 << 63) <= value < 1 << 64:
            raise SpecError(f"{what}: a whole number of 64 bits is needed, not {units.shown(value)}")
        return
    text = units.text(value, what, most=VALUE_MAX)  # type: ignore[arg-type]  # checked there
    if not text and op != "==":
        raise SpecError(f"{what}: {op} an empty text would always hold")
    if op == "matches":
        expression(text, what)
