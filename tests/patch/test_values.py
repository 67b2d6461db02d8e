"""Python values become JSON text and come back: as orjson has it where it is right, exactly where it is not."""

from __future__ import annotations

import json
import math
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import JsonError
from cloche.patch import values

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


class Colour(Enum):
    RED = "red"
    RANGE = (1, math.nan)


class Level(IntEnum):
    LOW = 1


@dataclass
class Point:
    x: int


@given(JSON)
def test_every_value_comes_back_as_it_was(value: object) -> None:
    text = values.encode(value)
    assert values.decode(text) == value
    assert json.loads(text) == value


@given(JSON)
def test_both_ways_to_write_mean_the_same(value: object) -> None:
    assert json.loads(values.exact(value)) == json.loads(values.encode(value))


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**4000, -(10**30)])
def test_integers_are_exact_however_long(number: int) -> None:
    text = values.encode({"n": [number]})
    assert text == b'{"n":[%d]}' % number
    assert values.decode(text) == {"n": [number]}
    assert values.decode(b"%d" % number) == number


def test_digits_in_text_and_of_a_fraction_are_no_integer() -> None:
    value = ["a 12345678901234567890", 0.0012345678901234567, ",12345678901234567890"]
    assert values.decode(values.encode(value)) == value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("wrapped", "place"),
    [
        (lambda n: n, "the top"),
        (lambda n: [0, {"a/b": [n]}], "/1/a~1b/0"),
        (lambda n: {"k": (None, n)}, "/k/1"),
        (lambda n: OrderedDict(deep=[[n]]), "/deep/0/0"),
    ],
)
def test_a_number_that_is_not_finite_is_refused_by_its_place(
    wrapped: Callable[[float], object], place: str, number: float
) -> None:
    with pytest.raises(JsonError, match=f"^at {place}: -?(nan|inf) has no word in JSON") as raised:
        values.encode(wrapped(number))
    assert raised.value.position is None


def test_a_number_that_is_not_finite_is_found_in_an_enum() -> None:
    with pytest.raises(JsonError, match="at /c/1: nan"):
        values.encode({"c": Colour.RANGE})


@given(JSON, st.sampled_from([math.nan, -math.nan, math.inf, -math.inf]))
def test_every_number_that_is_not_finite_is_found_wherever_it_is(value: object, number: float) -> None:
    assert values.finite(value)
    several = ([value, number], {"gggggg": value, "n": [(number, value)]}, OrderedDict(n=number), [Level.LOW, number])
    for wrapped in several:
        assert not values.finite(wrapped)
        assert not values._all_finite(wrapped)


def test_the_word_null_alone_is_no_reason_to_refuse() -> None:
    assert values.encode({"a": None, "b": "null", "c": 1.5}) == b'{"a":null,"b":"null","c":1.5}'


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"a": {1: 2}}, "at /a: a key is text, not 1"),
        ({"a": {None: 2}}, "at /a: a key is text, not None"),
        ({"a": [{1, 2}]}, "at /a/0: {1, 2} can't be written"),
        ([b"bytes"], "at /0: b'bytes' can't be written"),
        ([object], "at /0: <class 'object'> can't be written"),
        (["x", "\ud800"], "at /1: text with half of a surrogate pair"),
        ({"\udfff": 1}, "half of a surrogate pair"),
        ([Point(1)], "at /0: .*Point"),
        ([datetime(2026, 1, 1, tzinfo=UTC)], "at /0: .*datetime"),
        ([10**5000], "at /0: an? .*can't be written as JSON: Exceeds the limit"),
    ],
)
def test_what_has_no_word_in_json_is_refused_by_its_place(value: object, why: str) -> None:
    with pytest.raises(JsonError, match=why):
        values.encode(value)


def test_a_hostile_key_can_not_steer_a_terminal_by_the_message() -> None:
    with pytest.raises(JsonError) as raised:
        values.encode({"\x1b[31m\n\u202e": [math.nan]})
    assert str(raised.value).isprintable()


def test_what_orjson_knows_besides_is_written_the_same_either_way() -> None:
    value = {"c": Colour.RED, "l": Level.LOW, "u": uuid.UUID(int=5), "t": (1, 2), "f": orjson.Fragment(b'{"z":1}')}
    assert values.encode(value) == values.exact(value)
    assert values.decode(values.encode(value)) == {
        "c": "red", "l": 1, "u": "00000000-0000-0000-0000-000000000005", "t": [1, 2], "f": {"z": 1},
    }  # fmt: skip


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [253, 254, 255, 1000, 1024])
def test_nesting_is_allowed_as_deep_as_was_said(levels: int) -> None:
    text = values.encode(nested(levels))
    assert text == b"[" * levels + b"]" * levels
    assert values.encode(values.decode(text)) == text


def test_what_is_deeper_or_in_itself_is_refused() -> None:
    with pytest.raises(JsonError, match="nested deeper than 1,024 here"):
        values.encode(nested(1025))
    with pytest.raises(JsonError, match="nested deeper than 300 here"):
        values.encode(nested(301), depth=300)
    round_trip: list[Any] = []
    round_trip.append(round_trip)
    with pytest.raises(JsonError, match="or in themselves"):
        values.encode(round_trip)


def test_what_python_can_not_hold_is_refused() -> None:
    with pytest.raises(JsonError, match="no value that Python can hold"):
        values.decode(b"9" * 5000)
    with pytest.raises(JsonError, match="no value that Python can hold"):
        values.decode(b"[" * 1100 + b"]" * 1100)
