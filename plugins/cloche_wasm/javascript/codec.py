"""Values of Python in the guest's text and back: ``guest/values.js`` is the other half, and says the form.

What the guest sends may be anything: a form that ``values.js`` would not write raises ``ForeignText``.
"""

# ruff: noqa: ANN401 - values of any shape are what this module is about

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, cast

from cloche import UNDEFINED, BigInt, GuestError, Opaque, SpecError, Undefined

DEEPEST: Final = 100
"""Levels of nesting that may cross, as in ``values.js``."""
_SAFE: Final = (1 << 53) - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_dumps = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_scan = cast("Any", json.JSONDecoder()).scan_once  # decode() looks for spaces around it, which costs as much again


class ForeignText(Exception):
    """The guest's side sent what it would not send by itself."""


def pack(value: object) -> str:
    """Give ``value`` as the guest's ``unpack`` takes it: ``v`` and JSON, or ``t`` and JSON with tags in it.

    Raises ``SpecError`` for what can't cross: other types, circles, more than 100 levels.
    """
    changed = _outward(value, 0)
    return ("v" if changed is value else "t") + _dumps(changed)


def unpack(value: Any, *, tagged: bool) -> Any:
    """Give what ``values.js`` packed, parsed as JSON. ``undefined`` alone is ``None``. Raises ``ForeignText``."""
    if not tagged:
        return value
    return alone(_inward(value, 0))


def alone(value: Any) -> Any:
    """Give a value that is not part of another: ``undefined`` is ``None``."""
    return None if value is UNDEFINED else value


def unpack_arguments(text: str) -> list[Any]:
    """Give the arguments of a call, from ``v`` or ``t`` and JSON. Raises ``ForeignText``."""
    found = parsed(text[1:])
    if not isinstance(found, list) or text[:1] not in {"v", "t"}:
        raise ForeignText("arguments are a list")
    return [unpack(item, tagged=text[0] == "t") for item in found]


def parsed(text: str | bytes) -> Any:
    """Give JSON of the guest's side. Raises ``ForeignText``."""
    try:
        text = text.decode() if isinstance(text, bytes) else text
        value, end = _scan(text, 0)
    except (ValueError, RecursionError, StopIteration) as error:
        raise ForeignText(f"the guest's text is no JSON: {error}") from error
    if end != len(text):
        raise ForeignText("there is more than one JSON in the guest's text")
    return value


def _outward(value: Any, depth: int) -> Any:
    """Give ``value`` with what JSON has no word for tagged; itself if there is nothing of the kind in it."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        return value if -_SAFE <= value <= _SAFE else _tag("bigint", hex(value))
    if kind is float:
        return value if math.isfinite(value) else _tag("number", _NUMBERS[str(value)])
    if depth > DEEPEST:
        raise SpecError(f"a value nested deeper than {DEEPEST} levels, or one that holds itself, can't go to the guest")
    if isinstance(value, dict):
        return _outward_mapping(value, depth)
    if isinstance(value, list | tuple):
        return _outward_items(value, depth)
    return _outward_other(value, depth)


def _outward_items(value: list[Any] | tuple[Any, ...], depth: int) -> Any:
    items = [_outward(item, depth + 1) for item in value]
    return value if all(new is old for new, old in zip(items, value, strict=True)) else items


def _outward_mapping(value: dict[Any, Any], depth: int) -> Any:
    """Give an object, or a map where keys are not all texts."""
    if not all(type(key) is str for key in value):
        return _tag("map", [[_outward(key, depth + 1), _outward(item, depth + 1)] for key, item in value.items()])
    items = {key: _outward(item, depth + 1) for key, item in value.items()}
    if "$t" in items:
        return _tag("object", items)
    return value if all(items[key] is value[key] for key in items) else items


def _outward_other(value: Any, depth: int) -> Any:
    for kinds, given in _OUTWARD:
        if isinstance(value, kinds):
            return given(value, depth)
    raise SpecError(f"a {type(value).__name__} can't go to the guest; it takes None, bool, int, float, str, bytes, "
                    "datetime, and lists, tuples, dicts and sets of these")  # fmt: skip


def _milliseconds(value: date) -> int:
    """Give a moment as JavaScript counts it; a day is its beginning in UTC."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    elif value.tzinfo is None:
        raise SpecError("a datetime without a timezone can't go to the guest; give it one, UTC for instance")
    return (value - _EPOCH) // timedelta(milliseconds=1)


def _tag(kind: str, value: object) -> dict[str, object]:
    return {"$t": kind, "v": value}


def _inward(value: Any, depth: int) -> Any:
    if isinstance(value, list):
        return [_inward(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if depth > 3 * DEEPEST:  # tags take levels of their own
        raise ForeignText("the value is nested too deep")
    if "$t" not in value:
        return {key: _inward(item, depth + 1) for key, item in value.items()}
    kind = value["$t"]
    read = _KINDS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise ForeignText("the value has a tag that nobody knows")
    try:
        return read(value.get("v"), depth + 1)
    except (TypeError, ValueError, OverflowError, KeyError, AttributeError) as error:
        raise ForeignText(f"the value's {kind} is malformed") from error


def _inward_object(value: Any, depth: int) -> Any:
    return {key: _inward(item, depth) for key, item in value.items()}


def _inward_set(value: Any, depth: int) -> Any:
    """Give a set, or a list where Python can't keep its items apart or in a set at all."""
    items = [_inward(item, depth) for item in value]
    if all(_keyable(item) for item in items) and len(found := set(items)) == len(items):
        return found
    return items


def _inward_map(value: Any, depth: int) -> Any:
    """Give a dict, or a list of pairs where Python can't keep its keys apart or have them at all."""
    pairs = [(_inward(key, depth), _inward(item, depth)) for key, item in value]
    if all(_keyable(key) for key, _ in pairs) and len(found := dict(pairs)) == len(pairs):
        return found
    return pairs


def _keyable(value: object) -> bool:
    return isinstance(value, Hashable) and not isinstance(value, tuple)


def _inward_date(value: Any, _depth: int) -> Any:
    """Give a moment in UTC; those before year 1 and after 9999, and no moment at all, are only shown."""
    if value is None:
        return Opaque("Invalid Date")
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except OverflowError:
        return Opaque(f"Date({int(value)})")


def _inward_error(value: Any, _depth: int) -> Any:
    return guest_error(value)


def guest_error(value: Any) -> GuestError:
    """Give an error as ``values.js`` describes one. Raises ``ForeignText``."""
    match value:
        case [str(name), str(message), str(stack)]:
            return GuestError(name, message, stack)
    raise ForeignText("an error is described by three texts")


def _shown(value: Any, _depth: int) -> Opaque:
    if not isinstance(value, str):
        raise ForeignText("what can't cross is shown by a text")
    return Opaque(value)


_OUTWARD: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any, int], Any]], ...]] = (
    (Undefined, lambda _value, _depth: _tag("undefined", None)),
    (BigInt, lambda value, _depth: _tag("bigint", hex(value))),
    (int, lambda value, depth: _outward(int(value), depth)),
    (float, lambda value, depth: _outward(float(value), depth)),
    (str, lambda value, _depth: str(value)),
    ((bytes, bytearray, memoryview), lambda value, _depth: _tag("bytes", base64.b64encode(value).decode())),
    ((set, frozenset), lambda value, depth: _tag("set", [_outward(item, depth + 1) for item in value])),
    (date, lambda value, _depth: _tag("date", _milliseconds(value))),
    (GuestError, lambda value, _depth: _tag("error", [value.name, value.message, value.stack])),
    (Mapping, lambda value, depth: _outward_mapping(dict(value), depth)),
)
"""Subclasses of what JSON has, and what goes with a tag."""
_KINDS: Final[dict[str, Callable[[Any, int], Any]]] = {
    "undefined": lambda _value, _depth: UNDEFINED,
    "bigint": lambda value, _depth: BigInt(value, 16),
    "number": lambda value, _depth: float(value.replace("Infinity", "inf")),
    "date": _inward_date,
    "bytes": lambda value, _depth: base64.b64decode(value, validate=True),
    "object": _inward_object,
    "set": _inward_set,
    "map": _inward_map,
    "error": _inward_error,
    "opaque": _shown,
}
