"""Conditions as text, in the grammar that ``parse`` reads."""

from __future__ import annotations

import re
from typing import Final

from cloche.errors import SpecError
from cloche.rules.condition import DEPTH_MAX, All, AnyOf, Compare, Condition, Not, Value
from cloche.rules.fields import FIELDS
from cloche.rules.syntax import RESERVED

_BARE: Final = re.compile(r"[A-Za-z0-9_./${}*?:@%+-]+", re.ASCII)
_ESCAPES: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", '"': '\\"'}
_LOOSEST, _IN_AND, _IN_NOT = range(3)


def written_condition(condition: Condition) -> str:
    """Give the text of a condition: ``parse_condition`` makes of it one that means the same.

    The same is an equal one, for what ``&``, ``|`` and ``~`` joined. Raises ``SpecError`` for one nested too deeply.
    """
    return _text(condition, _LOOSEST, 0)


def _text(condition: Condition, place: int, depth: int) -> str:
    if depth > DEPTH_MAX:
        raise SpecError(f"condition: nested more than {DEPTH_MAX} deep, so it can't be written")
    match condition:
        case Compare():
            text = _comparison(condition)
        case Not(part=Compare(op="==", values=(value,)) as part) if FIELDS[part.field].kind != "flag":
            text = f"{part.field} != {_value(value)}"
        case Not():
            text = f"not {_text(condition.part, _IN_NOT, depth + 1)}"
        case All(parts=()) | AnyOf(parts=()):
            text = "always" if isinstance(condition, All) else "never"
        case All(parts=(part,)) | AnyOf(parts=(part,)):
            text = _text(part, place, depth + 1)
        case All():
            text = _joined(" and ", [_text(part, _IN_AND, depth + 1) for part in condition.parts], place >= _IN_NOT)
        case AnyOf():
            text = _joined(" or ", [_text(part, _LOOSEST, depth + 1) for part in condition.parts], place >= _IN_AND)
        case _:
            raise SpecError(f"condition: a {type(condition).__name__} can't be written")
    return text


def _joined(word: str, parts: list[str], bracketed: bool) -> str:  # noqa: FBT001 - one place calls it
    text = word.join(parts)
    return f"({text})" if bracketed else text


def _comparison(one: Compare) -> str:
    if FIELDS[one.field].kind == "flag" and one.values == (1,):
        return one.field
    if one.op == "exists":
        return f"{one.field} exists"
    if len(one.values) == 1:
        return f"{one.field} {'=' if one.op == '==' else one.op} {_value(one.values[0])}"
    values = ", ".join(map(_value, one.values))
    if one.op in ("<", ">="):  # these take one value each; true if one holds
        return f"({' or '.join(f'{one.field} {one.op} {_value(value)}' for value in one.values)})"
    return f"{one.field} {'in' if one.op == '==' else one.op} ({values})"


def _value(value: Value) -> str:
    if isinstance(value, int):
        return str(value)
    if _BARE.fullmatch(value) and value not in RESERVED:
        return value
    return f'"{"".join(map(_escaped, value))}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - a byte that was no UTF-8 (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - four digits
