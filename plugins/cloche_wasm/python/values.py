"""Values as text, in both directions: this module is the host's half and the guest's, where nothing of cloche is.

JSON as Python writes it, NaN and infinities included; what it has no word for is ``{"$t": kind, "v": ...}``.
"""

# ruff: noqa: ANN401 - values of any shape are what this module is about

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

DEEPEST: Final = 100
"""Levels of nesting that may cross."""
_PLAIN: Final = 1 << 63
_TAG: Final = "$t"

Other = Callable[[object], Any]


class Crossing(ValueError):
    """A value can't cross, or a text is none that this module writes."""


def pack(value: object, other: Other) -> str:
    """Give ``value`` as text. What has no form is what ``other`` makes of it. Raises ``Crossing``."""
    try:
        return json.dumps(_outward(value, other, 0))
    except (ValueError, RecursionError, UnicodeError) as error:
        raise Crossing(str(error)) from None


def unpack(text: str, opaque: Callable[[str], Any]) -> Any:
    """Give the value of a text, whoever wrote it; ``opaque`` makes something of what can only be shown.

    Raises ``Crossing``.
    """
    try:
        return inward(json.loads(text), opaque)
    except (ValueError, RecursionError) as error:
        raise Crossing(f"the text is no value: {error}") from None


def inward(value: Any, opaque: Callable[[str], Any], depth: int = 0) -> Any:
    """Give the value of what JSON gave. Raises ``Crossing``."""
    if depth > 2 * DEEPEST:
        raise Crossing("the value is nested too deeply")
    if isinstance(value, list):
        return [inward(item, opaque, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if _TAG not in value:
        return {key: inward(item, opaque, depth + 1) for key, item in value.items()}
    kind, held = value[_TAG], value.get("v")
    if kind == "opaque" and isinstance(held, str):
        return opaque(held)
    read = _INWARD.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise Crossing("the value has a tag that nobody knows")
    try:
        return read(inward(held, opaque, depth + 1))
    except (TypeError, ValueError, ArithmeticError, AttributeError):
        raise Crossing(f"the value's {kind} is malformed") from None


def _outward(value: Any, other: Other, depth: int) -> Any:
    kind = type(value)
    if value is None or kind in {bool, str, float}:
        return value
    if kind is int:
        return value if -_PLAIN <= value < _PLAIN else _tagged("int", hex(value))
    if depth >= DEEPEST:
        raise Crossing(f"a value is nested deeper than {DEEPEST} levels, or holds itself")
    if kind is list:
        return [_outward(item, other, depth + 1) for item in value]
    return _outward_dict(value, other, depth) if kind is dict else _outward_other(value, other, depth)


def _outward_dict(value: dict[Any, Any], other: Other, depth: int) -> Any:
    if _TAG not in value and all(type(key) is str for key in value):
        return {key: _outward(item, other, depth + 1) for key, item in value.items()}
    pairs = [[_outward(key, other, depth + 1), _outward(item, other, depth + 1)] for key, item in value.items()]
    return _tagged("dict", pairs)


def _outward_other(value: Any, other: Other, depth: int) -> Any:
    kind = type(value)
    if (tag := _SEQUENCES.get(kind)) is not None:
        return _tagged(tag, [_outward(item, other, depth + 1) for item in value])
    if (written := _OUTWARD.get(kind)) is not None:
        tag, write = written
        return _tagged(tag, write(value))
    for plain in (int, float, str, dict, list, tuple, set, datetime, date):
        if isinstance(value, plain):  # of a subclass, of which the other side knows nothing
            return _outward(_as(plain, value), other, depth)
    return other(value)


def _as(plain: type, value: Any) -> Any:
    if plain is datetime:
        return datetime.combine(value.date(), value.timetz())
    return date(value.year, value.month, value.day) if plain is date else plain(value)


def _tagged(kind: str, value: object) -> dict[str, object]:
    return {_TAG: kind, "v": value}


def _text(data: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(data).decode()


_SEQUENCES: Final[dict[type, str]] = {tuple: "tuple", set: "set", frozenset: "frozenset"}
_OUTWARD: Final[dict[type, tuple[str, Callable[[Any], Any]]]] = {
    bytes: ("bytes", _text),
    bytearray: ("bytes", _text),
    memoryview: ("bytes", _text),
    complex: ("complex", lambda value: [value.real, value.imag]),
    datetime: ("datetime", datetime.isoformat),
    date: ("date", date.isoformat),
    time: ("time", time.isoformat),
    timedelta: ("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: ("decimal", str),
}
_INWARD: Final[dict[str, Callable[[Any], Any]]] = {
    "int": lambda held: int(held, 16),
    "dict": lambda held: {key: item for key, item in held},  # noqa: C416 - pairs, each of two
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "bytes": lambda held: base64.b64decode(held, validate=True),
    "complex": lambda held: complex(held[0], held[1]),
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "timedelta": lambda held: timedelta(days=held[0], seconds=held[1], microseconds=held[2]),
    "decimal": Decimal,
}
