"""Python values as JSON text and back: quick where orjson may do it, exact where it may not."""

from __future__ import annotations

import gc
import json
import marshal
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NoReturn, TypeGuard

import orjson

from cloche.errors import JsonError
from cloche.patch.pointer import Pointer
from cloche.units import SIZE_MAX, count, one_line, shown
from cloche_native.json import DEPTH_MAX, Text, holds_null

DEPTH: Final = 1024
"""How deep containers may be nested, unless said otherwise."""
_TEXT: Final = (bytes, bytearray, memoryview)
"""What is JSON text as it stands. Anything else is a Python value, text in a ``str`` too."""
_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
_BINARY: Final = 2
"""The version of marshal's format that has each float as a g and its eight bytes, and nothing but once."""
_ODD: Final = re.compile(rb"g.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)
"""What each float that is not finite has there, and by chance something else: an exponent of ones."""
_LEAVES: Final = frozenset({str, int, float, bool, type(None)})
_LONG: Final = re.compile(rb"(?:^|[\[:,])-?[0-9]{19}")


def is_text(document: object) -> TypeGuard[Text]:
    """Tell whether something is JSON text, and no Python value."""
    return isinstance(document, _TEXT)


def as_text(document: object, *, depth: int = DEPTH) -> bytes:
    """Give text as it stands and a value as text; nobody can change it meanwhile. Raises as ``encode`` does."""
    levels(depth)
    return bytes(document) if is_text(document) else encode(document, depth=depth)


def levels(depth: int) -> int:
    """Give ``depth`` if containers can be nested as deep, else raise ``SpecError``."""
    return count(depth, "depth", most=DEPTH_MAX)


def bound(most: int | None) -> int:
    """Give how many bytes a result may have as the native module takes it: 0 is its own bound."""
    return 0 if most is None else count(most, "most", most=SIZE_MAX)


def encode(value: object, *, depth: int = DEPTH) -> bytes:
    """Give a Python value as JSON text; integers are exact however long.

    Raises ``JsonError`` naming the place of what JSON has no word for: a number that is not finite, a key that is no
    text, half of a surrogate pair, a value of another kind, one nested deeper than ``depth`` or in itself.
    """
    text = quick(value, depth=depth)
    # orjson writes NaN and the infinities as null. A text without that word is of a value without them.
    return text if not holds_null(text) or finite(value) else exact(value, depth=depth)


def quick(value: object, *, depth: int = DEPTH) -> bytes:
    """Give what ``encode`` does, but a number that is not finite as ``null``."""
    try:
        text: bytes = orjson.dumps(value, option=_OPTIONS)
    except TypeError:  # it takes no integer of more than 64 bits, nor 255 levels; and it names no place
        return exact(value, depth=depth)
    return text


def finite(value: Any) -> bool:  # noqa: ANN401 - marshal tells what it takes
    """Tell whether every float in it is finite; it may say no of one that is only an attribute of an instance."""
    with suppress(ValueError):  # of other kinds than the plain ones
        if _ODD.search(marshal.dumps(value, _BINARY)) is None:
            return True
    return _all_finite(value)


def _all_finite(value: object) -> bool:
    """Look at each float, by the collector's way into containers, a whole level at a time."""
    level: list[Any] = [value]
    while level:
        if not all(map(math.isfinite, [one for one in level if one.__class__ is float])):
            return False
        others = [one for one in level if one.__class__ not in _LEAVES]
        level = gc.get_referents(*[[one.value] if isinstance(one, Enum) else one for one in others if _holds(one)])
    return True


def _holds(value: object) -> bool:
    return isinstance(value, dict | list | tuple | Enum)


@dataclass(slots=True)
class _Open:
    """A container that is being written: what is left of it, and how its end is written."""

    left: Iterator[tuple[str | int, object]]
    end: str
    step: str | int | None = None
    lead: str = ""


def exact(value: object, *, depth: int = DEPTH) -> bytes:
    """Give what ``encode`` does, a part at a time in Python. Raises as it does."""
    out: list[str] = []
    opened: list[_Open] = []
    item = value
    while True:
        while isinstance(item, Enum):
            item = item.value
        if isinstance(item, dict | list | tuple):
            if len(opened) == depth:
                _refuse(opened, f"containers are nested deeper than {depth:,} here, or in themselves")
            out.append("{" if isinstance(item, dict) else "[")
            opened.append(_opened(item))
        else:
            out.append(_leaf(item, opened))
        following = _following(opened, out)
        if following is None:
            return "".join(out).encode()
        holder = opened[-1]
        holder.step, item = following
        out.append(holder.lead + (_key(holder.step, opened) if holder.end == "}" else ""))
        holder.lead = ","


def _following(opened: list[_Open], out: list[str]) -> tuple[str | int, object] | None:
    """Give the next member or element, once the containers that have no more are closed; None at the end of all."""
    while opened:
        following = next(opened[-1].left, None)
        if following is not None:
            return following
        out.append(opened.pop().end)
    return None


def _opened(container: dict[Any, object] | list[object] | tuple[object, ...]) -> _Open:
    if isinstance(container, dict):
        return _Open(iter(container.items()), "}")
    return _Open(iter(enumerate(container)), "]")


def _key(key: object, opened: list[_Open]) -> str:
    if not isinstance(key, str):
        opened[-1].step = None
        _refuse(opened, f"a key is text, not {shown(key)}")
    return _leaf(key, opened) + ":"


def _leaf(item: object, opened: list[_Open]) -> str:
    if isinstance(item, float) and not math.isfinite(item):
        _refuse(opened, f"{item!r} has no word in JSON; give None, text or a number")
    known = isinstance(item, str | int | float) or item is None
    try:
        # orjson knows more: a UUID, a fragment.
        text: bytes = json.dumps(item, ensure_ascii=False).encode() if known else orjson.dumps(item, option=_OPTIONS)
        return text.decode()
    except UnicodeEncodeError:
        return _refuse(opened, "text with half of a surrogate pair is no UTF-8")
    except (TypeError, ValueError) as error:  # a number of thousands of digits
        why = error if isinstance(item, int) else f"give dict, list, tuple, str, int, float, bool or None; {error}"
        return _refuse(opened, f"{shown(item)} can't be written as JSON: {why}")


def _refuse(opened: list[_Open], why: str) -> NoReturn:
    steps = [holder.step for holder in opened if holder.step is not None]
    place = one_line(str(Pointer(tuple(str(step) for step in steps))), most=200)
    raise JsonError(f"at {place or 'the top'}: {why}")


def decode(text: bytes) -> Any:  # noqa: ANN401 - what JSON holds
    """Give valid JSON text as a Python value: integers exact however long, other numbers as the nearest float.

    Raises ``JsonError`` where Python has no way to hold it: nested deeper than 1,024, an integer of too many digits.
    """
    try:
        # orjson makes floats of integers beyond 64 bits.
        return orjson.loads(text) if _LONG.search(text) is None else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JsonError(f"this document is no value that Python can hold: {error}; work on its text") from None


def operations(patch: object, *, depth: int = DEPTH) -> bytes:
    """Give a patch as JSON text: text as it stands, or operations as Python values. Raises ``JsonError``."""
    if isinstance(patch, Iterable) and not isinstance(patch, (*_TEXT, str, dict, list)):
        patch = list(patch)
    return as_text(patch, depth=depth)
