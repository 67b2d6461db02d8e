"""A retained document, in lockstep with a value in Python, patched by jsonpatch where both can."""

from __future__ import annotations

import copy
import json
import math
import threading
from typing import TYPE_CHECKING, Any

import jsonpatch
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cloche import JsonError, PatchError, PointerError, StateError
from cloche.patch import Document, are_equal
from cloche_native import json_diff
from cloche_native.json import Json
from tests.patch.drawn import VALUES, edited, places, text, told

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = 1000
"""Bytes that any document may take beside twice its text: what is allotted at least."""


class Lockstep(RuleBasedStateMachine):
    """Whatever is done to a document, it is what the same has made of the value."""

    def __init__(self) -> None:
        super().__init__()
        self.value: Any = None
        self.document = Document(None)

    @initialize(value=VALUES, as_text=st.booleans())
    def begin(self, value: object, as_text: bool) -> None:  # noqa: FBT001
        self.value = value
        self.document = Document(text(value) if as_text else value)

    @rule(data=st.data(), as_text=st.booleans(), splice=st.booleans())
    def update(self, data: st.DataObject, as_text: bool, splice: bool) -> None:  # noqa: FBT001
        old, new = copy.deepcopy(self.value), data.draw(edited(self.value))
        with Document(old) as other:
            made = self.document.update(text(new) if as_text else new, splice=splice)
            other.apply(made)
            assert told(other.value()) == told(new)
        if not splice:
            assert told(jsonpatch.apply_patch(old, json.loads(made))) == told(new)
        assert (made == b"[]") == (told(old) == told(new))
        self.value = new

    @rule(data=st.data(), in_text=st.booleans())
    def apply(self, data: st.DataObject, in_text: bool) -> None:  # noqa: FBT001
        new = data.draw(edited(self.value))
        operations = jsonpatch.make_patch(self.value, new).patch
        self.document.apply(text(operations) if in_text else operations)
        self.value = jsonpatch.apply_patch(self.value, operations)

    @rule(data=st.data())
    def move_and_copy(self, data: st.DataObject) -> None:
        spots = places(self.value)
        kind = data.draw(st.sampled_from(["move", "copy", "test", "remove"]))
        operation: dict[str, Any] = {"op": kind, "path": data.draw(st.sampled_from(spots))}
        if kind in {"move", "copy"}:
            operation["from"] = data.draw(st.sampled_from(spots))
        if kind == "test":
            operation["value"] = data.draw(VALUES)
        if operation["path"] == "" and kind in {"move", "remove"}:
            return  # of the whole document implementations differ
        if kind == "move" and operation["path"].startswith(operation["from"]):
            return  # the oracle lets a value into itself
        try:
            expected = jsonpatch.apply_patch(self.value, [operation])
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
            with pytest.raises(PatchError):
                self.document.apply([operation])
            return
        self.document.apply([operation])
        self.value = expected

    @rule(data=st.data())
    def fail_in_the_middle(self, data: st.DataObject) -> None:
        operations = jsonpatch.make_patch(self.value, data.draw(edited(self.value))).patch
        with pytest.raises(PatchError) as raised:
            self.document.apply([*operations, {"op": "test", "path": "/no such place", "value": 1}])
        assert raised.value.index == len(operations)

    @rule(change=VALUES)
    def merge(self, change: object) -> None:
        def merged(target: Any, patch: Any) -> Any:  # noqa: ANN401 - any JSON value
            if not isinstance(patch, dict):
                return patch
            made = {**target} if isinstance(target, dict) else {}
            for key, value in patch.items():
                made.pop(key, None) if value is None else made.update({key: merged(made.get(key), value)})
            return made

        self.document.merge(change)
        self.value = merged(self.value, change)

    @rule(data=st.data(), broken=st.sampled_from([b"", b"[1,", b'{"a":1,"a":2}', b'"\xff"', b"1 2"]))
    def refuse(self, data: st.DataObject, broken: bytes) -> None:
        with pytest.raises(JsonError):
            self.document.update(broken)
        with pytest.raises(JsonError):
            self.document.apply(broken)
        with pytest.raises(JsonError):
            self.document.update({"no such place": [data.draw(edited(self.value)), math.nan]})

    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        pointer = data.draw(st.sampled_from(places(self.value)))
        expected = jsonpatch.JsonPointer(pointer).resolve(self.value)
        assert told(self.document.get(pointer)) == told(expected)
        with pytest.raises(PointerError):
            self.document.get(pointer + "/no such place")

    @invariant()
    def same(self) -> None:
        assert told(self.document.value()) == told(self.value)
        now = self.document.text
        assert self.document.memory <= 2 * len(now) + SMALL
        with Document(now) as fresh:
            assert fresh.text == now
            assert fresh.hash() == self.document.hash()

    def teardown(self) -> None:
        self.document.close()


TestLockstep = Lockstep.TestCase
TestLockstep.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_an_update_gives_what_changed_and_nothing_where_nothing_did() -> None:
    with Document({"cursor": {"line": 10, "column": 5}, "name": "a"}) as document:
        assert json.loads(document.update({"cursor": {"line": 11, "column": 5}, "name": "a"})) == [
            {"op": "replace", "path": "/cursor/line", "value": 11}
        ]
        assert document.update(b' { "name" : "\\u0061", "cursor": {"column": 5, "line": 11} } ') == b"[]"
        assert document.get("/cursor/line") == 11
        assert document.get_text("/cursor") in {b'{"line":11,"column":5}', b'{"column":5,"line":11}'}
        assert repr(document) == f"<Document of {len(document.text)} bytes>"


def test_nothing_of_what_is_passed_in_is_kept() -> None:
    value: dict[str, Any] = {"a": [1]}
    data = bytearray(b'{"a":[1]}')
    with Document(value) as one, Document(data) as other:
        value["a"].append(2)
        data[6:7] = b"7"
        assert one.value() == other.value() == {"a": [1]}
        one.value()["a"].append(3)
        assert one.value() == {"a": [1]}


def test_equal_documents_have_one_hash_and_others_another() -> None:
    texts = [b'{"a":1,"b":[1.0,"A"]}', b'{ "b": [1, "\\u0041"], "a": 10e-1 }', b'{"a":1,"b":["A",1.0]}', b'{"a":1}']
    hashes = [Document(text).hash() for text in texts]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    assert are_equal(texts[0], texts[1])
    assert all(0 <= one < 1 << 64 for one in hashes)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused_and_nothing_changed(number: float) -> None:
    with Document({"a": [1, None], "b": 2}) as document:
        for value in ({"a": [number, None], "b": 3}, {"a": [1, None], "b": 2, "c": {"d": number}}, [number]):
            with pytest.raises(JsonError, match="has no word in JSON"):
                document.update(value)
            assert document.value() == {"a": [1, None], "b": 2}
        assert document.update({"a": [None, 1], "b": 2}) != b"[]"
        assert document.update({"a": [number, 1], "b": 2}) == b"[]"  # null to the other side, as it was
        assert json.loads(document.update({"a": [None, "null"], "b": 2}))[0]["value"] == "null"


def test_an_update_of_another_depth_is_refused() -> None:
    with Document([[1]], depth=2) as document:
        for deeper in (b"[[[1]]]", [[[1]]]):
            with pytest.raises(JsonError):
                document.update(deeper)
        assert document.text == b"[[1]]"
        with pytest.raises(PatchError, match="deeper than allowed"):
            document.apply([{"op": "add", "path": "/0/0", "value": []}])
        assert document.text == b"[[1]]"


def test_a_closed_document_says_so_at_every_use() -> None:
    document = Document([1])
    document.close()
    document.close()
    uses: list[Callable[[], object]] = [
        lambda: document.update([2]), lambda: document.apply([]), lambda: document.merge({}), document.get,
        document.value, document.hash, lambda: document.text, lambda: document.memory,
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(StateError, match="was closed"):
            use()
    assert repr(document) == "<Document closed>"


def test_threads_take_turns_at_one_document() -> None:
    with Document({"n": list(range(2000))}) as document:
        patches: list[bytes] = []

        def work(first: int) -> None:
            for turn in range(100):
                patches.append(document.update({"n": list(range(2000)), "who": first + turn}))
                document.get("/n/1999")
                document.apply([{"op": "replace", "path": "/n/0", "value": 0}])

        threads = [threading.Thread(target=work, args=(1000 * number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(patches) == 300
        assert document.get("/n") == list(range(2000))
        assert document.get("/who") % 1000 == 99


def test_an_update_that_brings_a_null_is_held_back_until_it_is_asked_for_again() -> None:
    with Json(b'{"a":1,"b":[null,2]}') as held:
        assert json_diff.update_unless_null(held, b'{"a":null,"b":[null,2]}') is None
        assert json_diff.update_unless_null(held, b'{"a":"nullify","b":[null,2]}') is None
        assert json_diff.update_unless_null(held, b' {"a":null}') is None
        assert held.text == b'{"a":1,"b":[null,2]}'
        assert (
            json_diff.update_unless_null(held, b'{"a":2,"b":[null,2]}') == b'[{"op":"replace","path":"/a","value":2}]'
        )
        assert json.loads(json_diff.update(held, b'{"a":null,"b":[null,2]}'))[0]["value"] is None
        assert held.text == b'{"a":null,"b":[null,2]}'
