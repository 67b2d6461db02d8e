"""The functions on whole documents, beside jsonpatch, the oracle."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import JsonError, PatchError, PointerError, SpecError, patch
from cloche.patch import Pointer
from tests.patch.drawn import VALUES, edited, places, text, told

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = VALUES.flatmap(lambda value: st.tuples(st.just(value), edited(value)))


@given(PAIRS)
def test_a_patch_makes_the_new_document_of_the_old_for_us_and_for_others(pair: tuple[Any, Any]) -> None:
    old, new = pair
    made = patch.diff(old, new)
    assert made == patch.diff(text(old), text(new))
    assert told(patch.apply(old, made)) == told(new)
    assert told(json.loads(patch.apply(text(old), made))) == told(new)
    assert told(jsonpatch.apply_patch(old, json.loads(made))) == told(new)
    assert (made == b"[]") == (told(old) == told(new))


@given(PAIRS)
def test_what_others_made_is_applied(pair: tuple[Any, Any]) -> None:
    old, new = pair
    made = jsonpatch.make_patch(old, new).patch
    assert patch.are_equal(patch.apply(old, made), new)
    assert patch.are_equal(patch.apply(text(old), text(made)), new)


@given(PAIRS)
def test_a_patch_is_hardly_larger_than_one_that_replaces_everything(pair: tuple[Any, Any]) -> None:
    old, new = pair
    assert len(patch.diff(old, new)) <= len(json.dumps(new, separators=(",", ":"), ensure_ascii=False).encode()) + 64


@given(VALUES, VALUES)
def test_equal_is_what_python_takes_for_equal_but_for_true_and_one(one: object, other: object) -> None:
    def known(value: object) -> object:
        if isinstance(value, dict):
            return {key: known(item) for key, item in value.items()}
        return [known(item) for item in value] if isinstance(value, list) else (isinstance(value, bool), value)

    assert patch.are_equal(one, other) == (known(one) == known(other))


@pytest.mark.parametrize(
    ("one", "other", "equal", "same"),
    [
        (b"1", b"1.0", True, False),
        (b"100", b"1e2", True, False),
        (b"0", b"-0.0", True, False),
        (b"0.1", b"0.1000000000000000055511151231257827", False, False),
        (b"9007199254740993", b"9007199254740992", False, False),
        (b"18446744073709551616", b"18446744073709551617", False, False),
        (b'"\\u0041\\/"', b'"A/"', True, True),
        (b'{"a":1,"b":2}', b' { "b" : 2 , "a" : 1 } ', True, True),
        (b"[1,2]", b"[2,1]", False, False),
        (b"1", b"true", False, False),
        (b"0", b"false", False, False),
        (b"null", b"0", False, False),
        (b'"1"', b"1", False, False),
        (b"{}", b"[]", False, False),
    ],
)
def test_what_is_equal_and_what_is_the_same(one: bytes, other: bytes, equal: bool, same: bool) -> None:  # noqa: FBT001
    assert patch.are_equal(one, other) is equal
    assert (patch.diff(one, other) == b"[]") is same


def test_numbers_pass_through_as_they_were_written() -> None:
    old = b'{"big":123456789012345678901234567890,"small":0.1000000000000000055511151231257827,"e":1E+2}'
    added = b'[{"op":"add","path":"/n","value":1.10}]'
    assert patch.apply(old, added) == old[:-1] + b',"n":1.10}'
    assert patch.get(old, "/big") == b"123456789012345678901234567890"
    value: dict[str, Any] = json.loads(old)
    assert patch.apply(value, added)["big"] == 123456789012345678901234567890


def test_text_in_gives_text_out_and_a_value_gives_a_value() -> None:
    operations = [{"op": "add", "path": "/b", "value": [2]}]
    value = {"a": 1}
    for raw in (b'{"a":1}', bytearray(b'{"a":1}'), memoryview(b'{"a":1}')):
        assert patch.apply(raw, operations) == b'{"a":1,"b":[2]}'
        assert patch.get(raw, "/a") == b"1"
        assert patch.merge_patch(raw, {"a": None}) == b"{}"
    assert patch.apply(value, operations) == {"a": 1, "b": [2]}
    assert patch.apply(value, iter(operations)) == patch.apply(value, text(operations)) == {"a": 1, "b": [2]}
    assert patch.merge_patch(value, b'{"b":{"c":null}}') == {"a": 1, "b": {}}
    assert patch.get(value, "/a") == 1
    assert patch.apply('{"a":1}', []) == '{"a":1}'  # text in a str is a value
    assert value == {"a": 1}
    assert operations == [{"op": "add", "path": "/b", "value": [2]}]


@given(VALUES)
def test_every_place_is_found_by_its_pointer(value: Any) -> None:  # noqa: ANN401 - any JSON value
    for pointer in places(value):
        expected = value
        for step in Pointer.parse(pointer).tokens:
            expected = expected[int(step) if isinstance(expected, list) else step]
        assert told(patch.get(value, pointer)) == told(expected)
        assert told(json.loads(patch.get(text(value), Pointer.parse(pointer)))) == told(expected)


@pytest.mark.parametrize(
    "pointer", ["/x", "/a/2", "/a/-", "/a/01", "/a/x", "/a/0/0", "/a/" + "9" * 30, "/\ud800", "/a/+1"]
)
def test_a_pointer_that_leads_nowhere_is_an_error_of_its_own(pointer: str) -> None:
    with pytest.raises(PointerError, match="there is nothing at") as raised:
        patch.get({"a": [1, 2]}, pointer)
    assert raised.value.pointer == pointer
    assert isinstance(raised.value, LookupError)
    assert str(raised.value).isprintable()


def test_what_is_no_pointer_is_refused() -> None:
    with pytest.raises(SpecError, match="begins with a slash"):
        patch.get({"a": 1}, "a")


def merged(target: Any, change: Any) -> Any:  # noqa: ANN401 - any JSON value
    """RFC 7396 as its section 2 has it."""
    if not isinstance(change, dict):
        return change
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merged(made.get(key), value)
    return made


@given(VALUES, VALUES)
def test_a_merge_patch_does_what_the_standard_says(target: object, change: object) -> None:
    assert told(patch.merge_patch(target, change)) == told(merged(target, change))
    assert told(json.loads(patch.merge_patch(text(target), text(change)))) == told(merged(target, change))


@given(PAIRS)
def test_a_merge_patch_that_was_made_leads_there_or_says_that_none_can(pair: tuple[Any, Any]) -> None:
    old, new = pair
    try:
        made = patch.merge_diff(old, new)
    except PatchError as error:
        assert "can't set anything to null" in str(error)  # noqa: PT017 - which of the two it is, is drawn
        assert "null" in json.dumps(new)
        return
    assert patch.are_equal(merged(old, json.loads(made)), new)


def test_a_splice_changes_a_long_text_by_what_changed_in_it() -> None:
    old = {"text": "one two three " * 200}
    new = {"text": old["text"][:500] + "Ärger 𝄞" + old["text"][520:]}
    made = patch.diff(old, new, splice=True)
    assert [operation["op"] for operation in json.loads(made)] == ["splice"]
    assert len(made) < 300 < len(patch.diff(old, new))
    assert patch.apply(old, made) == new
    with pytest.raises(PatchError, match="operation 0 at /text: the text there is another"):
        patch.apply(new, made)


@pytest.mark.parametrize(
    ("operations", "index", "why"),
    [
        ({}, None, "an array of operations"),
        ([1], 0, "each an object|must be add"),
        ([{"op": "plus", "path": ""}], 0, "op must be"),
        ([{"op": "add", "path": "/x"}], 0, "lacks a member"),
        ([{"op": "test", "path": "/a", "value": [1, 2]}, {"op": "remove", "path": "/x"}], 1, "nothing at that place"),
        ([{"op": "add", "path": "/b", "value": 1}, {"op": "test", "path": "/b", "value": 2}], 1, "the value there is"),
        ([{"op": "add", "path": "/a/3", "value": 0}], 0, "no such index|nothing at that place"),
        ([{"op": "add", "path": "a", "value": 0}], 0, "no JSON Pointer"),
        ([{"op": "move", "from": "/o", "path": "/o/p"}], 0, "moved into itself"),
        ([{"op": "copy", "from": "/nope", "path": "/z"}], 0, "nothing at that place"),
    ],
)
def test_a_patch_that_can_not_be_done_names_its_operation(operations: object, index: int | None, why: str) -> None:
    document = {"a": [1, 2], "o": {}}
    with pytest.raises(PatchError, match=why) as raised:
        patch.apply(document, operations)
    assert raised.value.index == index
    assert str(raised.value).endswith("nothing was changed")
    with pytest.raises(PatchError, match=why):
        patch.apply(text(document), text(operations))
    assert document == {"a": [1, 2], "o": {}}


def test_a_bomb_of_copies_is_bounded() -> None:
    bomb: list[dict[str, Any]] = [{"op": "copy", "from": "", "path": f"/{n}"} for n in range(40)]
    with pytest.raises(PatchError, match="larger than allowed") as raised:
        patch.apply({"a": "x" * 100}, bomb)
    assert raised.value.index is not None
    with pytest.raises(PatchError, match="larger than allowed"):
        patch.apply({"a": "x" * 100}, bomb[:3], most=500)
    assert len(patch.apply(b'{"a":"x"}', bomb[:3], most=500)) < 500


@pytest.mark.parametrize("call", [patch.diff, patch.are_equal, patch.merge_diff, patch.merge_patch])
def test_which_of_two_documents_is_wrong_is_said(call: Callable[[object, object], object]) -> None:
    with pytest.raises(JsonError) as raised:
        call(b"[1, ]", b"[]")
    assert raised.value.position == 4
    assert isinstance(raised.value, ValueError)
    with pytest.raises(JsonError) as raised:
        call({}, b'{"a":1,}')
    assert raised.value.position == 7
    with pytest.raises(JsonError, match="at /n: nan"):
        call({"n": math.nan}, {"n": None})
    with pytest.raises(JsonError, match="at /n: nan"):
        call({"n": None}, {"n": math.nan})


@pytest.mark.parametrize("wrong", [0, -1, 1 << 40, "5", True])
def test_bounds_are_checked(wrong: Any) -> None:  # noqa: ANN401 - on purpose
    with pytest.raises(SpecError, match="depth"):
        patch.diff(1, 2, depth=wrong)
    if wrong != 1 << 40:
        with pytest.raises(SpecError, match="most"):
            patch.apply({}, [], most=wrong)


def test_nesting_is_bounded_and_the_bound_can_be_moved() -> None:
    deep = b"[" * 1025 + b"]" * 1025
    with pytest.raises(JsonError):
        patch.diff(deep, b"[]")
    assert patch.are_equal(deep, deep, depth=2000)
    with pytest.raises(JsonError):
        patch.diff(b"[[[]]]", b"[]", depth=2)
