"""JSON values as hypothesis draws them, and what two of them have in common by a model in Python."""

from __future__ import annotations

import json
from typing import Any

from click import unstyle
from hypothesis import strategies as st

from cloche.commands.json_shown import indented
from cloche.patch.values import encode

KEYS = st.sampled_from(["a", "b", "ab", "a/b", "m~n", "", "é", "𝄞", '"', "\\", "\n", "0", "-"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=6
)
TEXTS = KEYS | st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
ODD = (0.0, -0.0, 1.0, 1.5, 1e300, 5e-324, 2**53 + 1, 2**64, -(2**63))
NUMBERS = st.integers(-5, 5) | st.integers() | st.sampled_from(ODD)
LEAVES = st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=8) | st.dictionaries(KEYS, inner, max_size=8), max_leaves=40
)


@st.composite
def edited(draw: st.DrawFn, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Draw a value that is ``value`` with a few things done to it."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(0, 3))):
        value = _once(draw, value)
    return value


def _once(draw: st.DrawFn, value: Any) -> Any:  # noqa: ANN401 - as above
    if not isinstance(value, list | dict) or not value or draw(st.integers(0, 4)) == 0:
        return draw(VALUES)
    if isinstance(value, dict):
        key = draw(st.sampled_from(sorted(value)))
        how = draw(st.sampled_from(["into", "into", "remove", "add"]))
        if how == "into":
            value[key] = _once(draw, value[key])
        elif how == "remove":
            del value[key]
        else:
            value[draw(KEYS)] = draw(VALUES)
        return value
    at = draw(st.integers(0, len(value) - 1))
    how = draw(st.sampled_from(["into", "into", "remove", "insert", "move", "reverse"]))
    if how == "into":
        value[at] = _once(draw, value[at])
    elif how == "remove":
        del value[at]
    elif how == "insert":
        value.insert(at, draw(VALUES))
    elif how == "move":
        value.insert(draw(st.integers(0, len(value) - 1)), value.pop(at))
    else:
        value.reverse()
    return value


def text(value: object) -> bytes:
    """Give a value as JSON text, its numbers written as those of values are, with white space."""
    return b"\n".join(line.encode() for line in map(unstyle, indented(encode(value).decode())))


def told(value: object) -> str:
    """Give a value as text that is the same for the same values: 1 is not 1.0, nor 0.0 -0.0; keys have no order."""
    return json.dumps(value, sort_keys=True)


def places(value: object, before: str = "") -> list[str]:
    """Give the pointer of each value within one, itself first."""
    found = [before]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        found += places(child, f"{before}/{str(step).replace('~', '~0').replace('/', '~1')}")
    return found
