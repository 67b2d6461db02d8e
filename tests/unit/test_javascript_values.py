from __future__ import annotations

import json
import math
from collections import OrderedDict
from datetime import UTC, date, datetime
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import UNDEFINED, BigInt, GuestError, Opaque, SpecError
from cloche_wasm.javascript.codec import DEEPEST, ForeignText, guest_error, pack, parsed, unpack, unpack_arguments

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
keys = st.text() | st.sampled_from(["$t", "__proto__", "toJSON"])
moments = st.datetimes(timezones=st.just(UTC)).map(lambda t: t.replace(microsecond=t.microsecond // 1000 * 1000))
leaves = plain | st.binary() | moments | st.just(UNDEFINED) | st.integers().map(BigInt)
errors = st.builds(GuestError, st.text(), st.text(), st.text())
values = st.recursive(
    leaves | errors,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(keys, inner)
        | st.dictionaries(st.integers(), inner, min_size=1)
        | st.sets(st.integers())
    ),
    max_leaves=12,
)
anything = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(keys, inner)
        | st.fixed_dictionaries(
            {"$t": st.sampled_from(["bigint", "date", "map", "set", "bytes", "error", "object", "number"]), "v": inner}
        )
    ),
    max_leaves=12,
)


def across(value: object) -> Any:  # noqa: ANN401 - of any type
    packed = pack(value)
    return unpack(parsed(packed[1:]), tagged=packed[0] == "t")


@given(values)
def test_what_goes_out_comes_back(value: object) -> None:
    assert across([value]) == [value]


@given(st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_whole_numbers_beyond_what_a_double_holds_are_bigints(value: object) -> None:
    packed = pack(value)
    if packed[0] == "v":
        assert json.loads(packed[1:]) == value


def test_numbers_that_json_lacks_stay_numbers() -> None:
    back = across([math.nan, math.inf, -math.inf, -0.0])
    assert math.isnan(back[0])
    assert back[1:3] == [math.inf, -math.inf]
    assert math.copysign(1, back[3]) == -1


def test_undefined_alone_is_none_and_within_a_value_is_itself() -> None:
    assert across(UNDEFINED) is None
    assert across([UNDEFINED]) == [UNDEFINED]
    assert not UNDEFINED
    assert repr(UNDEFINED) == "cloche.UNDEFINED"


def test_kinds_of_what_json_has_go_as_what_they_are() -> None:
    class Size(IntEnum):
        BIG = 3

    assert across([Size.BIG, OrderedDict(a=1), (1, 2), bytearray(b"x")]) == [3, {"a": 1}, [1, 2], b"x"]
    assert across(date(2026, 1, 2)) == datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("value", [object(), [len], {"a": {1j}}, datetime(2026, 1, 1), Opaque("[Function]")])  # noqa: DTZ001 - what is refused
def test_what_can_not_cross_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match="can't go to the guest"):
        pack(value)


def test_circles_and_deep_nesting_are_refused() -> None:
    circle: list[object] = []
    circle.append(circle)
    deep: object = 1
    for _ in range(DEEPEST + 2):
        deep = [deep]
    for value in (circle, deep):
        with pytest.raises(SpecError, match="nested deeper"):
            pack(value)


def test_what_python_can_not_have_as_keys_is_pairs() -> None:
    pairs = {"$t": "map", "v": [[[1], "list"], [{"$t": "set", "v": []}, 2]]}
    assert unpack(pairs, tagged=True) == [([1], "list"), (set(), 2)]
    alike = {"$t": "map", "v": [[1, "one"], [True, "true"]]}
    assert unpack(alike, tagged=True) == [(1, "one"), (True, "true")]
    assert unpack({"$t": "set", "v": [[1], [1]]}, tagged=True) == [[1], [1]]


def test_moments_that_python_can_not_hold_are_shown() -> None:
    assert unpack({"$t": "date", "v": None}, tagged=True) == Opaque("Invalid Date")
    assert unpack({"$t": "date", "v": 8.64e15}, tagged=True) == Opaque("Date(8640000000000000)")


@pytest.mark.parametrize(
    "value",
    [
        {"$t": "unheard"},
        {"$t": ["date"]},
        {"$t": "bytes", "v": "!"},
        {"$t": "bigint", "v": 3},
        {"$t": "map", "v": [1]},
        {"$t": "error", "v": ["a"]},
        {"$t": "date", "v": "now"},
        {"$t": "opaque", "v": 1},
        {"$t": "object", "v": []},
    ],
)
def test_forms_that_the_guest_would_not_write_are_refused(value: object) -> None:
    with pytest.raises(ForeignText):
        unpack(value, tagged=True)


@given(anything)
def test_hostile_text_gives_a_value_or_is_refused(value: object) -> None:
    try:
        unpack(value, tagged=True)
        unpack_arguments("t" + json.dumps([value]))
    except ForeignText:
        pass


def test_text_that_is_no_json_is_refused() -> None:
    for text in ("", "{", "[" * 100_000, b"\xff"):
        with pytest.raises(ForeignText):
            parsed(text)
    for text in ("", "v{}", "x[]"):
        with pytest.raises(ForeignText):
            unpack_arguments(text)
    with pytest.raises(ForeignText):
        guest_error(["name", "message"])
