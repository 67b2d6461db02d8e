"""Patches applied in C: a corpus of the RFCs' cases, jsonpatch as the oracle, and what hostile patches may not do."""

from __future__ import annotations

import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cloche_native.json import Json, JsonTextError
from cloche_native.json_apply import (
    PatchRefused,
    PatchTextError,
    apply,
    apply_to,
    get,
    get_from,
    merge_diff,
    merge_patch,
)
from tests.native.drawn_json import draw_operation, draw_value, oracle, ordered, places, text_of, token

PATCHES = json.loads((Path(__file__).with_name("json") / "patch.json").read_text(encoding="utf-8"))
DRAWN = 700


def _given(case: dict[str, Any], name: str) -> bytes:
    return case[f"{name}_text"].encode() if f"{name}_text" in case else text_of(case[name])


def _assert_reads_as(document: Json, value: object) -> None:
    """Every place of a document is found by its index, as in a value."""
    for pointer, there in places(value):
        assert json.loads(get_from(document, pointer.encode())) == there


@pytest.mark.parametrize("case", PATCHES, ids=lambda case: case["name"])
def test_a_patch_of_the_corpus_gives_what_the_rfc_says(case: dict[str, Any]) -> None:
    text, patch = _given(case, "doc"), _given(case, "patch")
    document = Json(text)
    before = document.text
    if "error" in case:
        for refused in (lambda: apply(text, patch), lambda: apply_to(document, patch)):
            with pytest.raises(PatchRefused) as caught:
                refused()
            assert caught.value.kind == case["error"]
            assert caught.value.operation == case.get("at", caught.value.operation)
        assert document.text == before
        return
    made = apply(text, patch)
    apply_to(document, patch)
    assert made == document.text
    if "expected_text" in case:
        assert made == case["expected_text"].encode()
    else:
        assert ordered(made) == json.dumps(case["expected"], sort_keys=True)
    _assert_reads_as(document, json.loads(made))


def test_the_corpus_is_large_enough() -> None:
    assert len(PATCHES) >= 200
    assert sum("error" in case for case in PATCHES) >= 80
    assert len({case["name"] for case in PATCHES}) == len(PATCHES)


def test_drawn_patches_give_what_jsonpatch_gives() -> None:
    rng = random.Random(6902)  # noqa: S311 - seeded test data
    done = refused = 0
    for _ in range(DRAWN):
        value = draw_value(rng)
        text = text_of(value)
        document = Json(text)
        for _ in range(4):
            patch = [draw_operation(rng, value) for _ in range(rng.choice((1, 1, 2, 5)))]
            expected = oracle(value, patch)
            assert document.memory == Json(document.text).memory
            if expected is None:
                with pytest.raises(PatchRefused):
                    apply_to(document, text_of(patch))
                refused += 1
                continue
            made = apply(document.text, text_of(patch))
            apply_to(document, text_of(patch))
            (value,) = expected
            assert made == document.text, patch
            assert ordered(made) == json.dumps(value, sort_keys=True), patch
            done += 1
        if len(text) < 20_000:
            _assert_reads_as(document, value)
    assert done > DRAWN
    assert refused > DRAWN // 5


def test_many_changes_of_one_long_array_give_what_a_list_gives() -> None:
    rng = random.Random(5000)  # noqa: S311 - seeded test data
    value: list[dict[str, Any]] = [{"id": i, "text": "some words " * rng.randrange(12)} for i in range(5000)]
    document = Json(text_of(value))
    patch: list[dict[str, Any]] = []
    for i in range(900):
        index = rng.randrange(len(value))
        if rng.random() < 0.4:
            patch.append({"op": "remove", "path": f"/{index}"})
            del value[index]
        elif rng.random() < 0.5:
            patch.append({"op": "add", "path": f"/{index}", "value": {"id": -i}})
            value.insert(index, {"id": -i})
        else:
            patch.append({"op": "replace", "path": f"/{index}/id", "value": i})
            value[index]["id"] = i
    apply_to(document, text_of(patch))
    assert json.loads(document.text) == value
    for i in range(0, len(value), 7):
        assert json.loads(get_from(document, b"/%d" % i)) == value[i]


def test_many_changes_of_one_large_object_give_what_a_dict_gives() -> None:
    rng = random.Random(2500)  # noqa: S311 - seeded test data
    value: dict[str, Any] = {f"key {i}": {"n": i, "text": "words " * rng.randrange(20)} for i in range(2500)}
    document = Json(text_of(value))
    patch: list[dict[str, Any]] = []
    for i in range(600):
        key = f"key {rng.randrange(3000)}"
        if key in value and rng.random() < 0.5:
            patch.append({"op": "remove", "path": f"/{key}"})
            del value[key]
        elif key in value:
            patch.append({"op": "replace", "path": f"/{key}/n", "value": -i})
            value[key]["n"] = -i
        else:
            patch.append({"op": "add", "path": f"/{key}", "value": {"n": i}})
            value[key] = {"n": i}
    apply_to(document, text_of(patch))
    assert json.loads(document.text) == value
    _assert_reads_as(document, value)


def test_get_finds_what_each_pointer_names() -> None:
    rng = random.Random(6901)  # noqa: S311 - seeded test data
    for _ in range(200):
        value = draw_value(rng)
        document = Json(text_of(value))
        for pointer, there in places(value):
            assert json.loads(get_from(document, pointer.encode())) == there
        assert json.loads(get(text_of(value), b"")) == value


@pytest.mark.parametrize(
    ("pointer", "kind"),
    [
        (b"/b", "missing"), (b"/a/3", "index"), (b"/a/-", "index"), (b"/a/00", "index"), (b"a", "pointer"),
        (b"/a~", "pointer"), (b"/a/0/x", "missing"), (b"/\xff", "pointer"),
        (b"/a/18446744073709551616", "index"), (b"/" * 100_000, "missing"),
    ],
)  # fmt: skip
def test_get_refuses_what_names_nothing(pointer: bytes, kind: str) -> None:
    text = b' {"a": [1, 2, 3]}'
    for refused in (partial(get, text), partial(get_from, Json(text))):
        with pytest.raises(PatchRefused) as caught:
            refused(pointer)
        assert caught.value.kind == kind
        assert caught.value.operation == -1
        assert len(caught.value.pointer) <= 480


def test_an_error_names_the_operation_and_its_pointer() -> None:
    document = Json(b'{"a":{"\\u0001":1}}')
    patch = [{"op": "test", "path": "/a/\x01", "value": 1}, {"op": "copy", "from": "/a/é", "path": "/b"}]
    with pytest.raises(PatchRefused) as caught:
        apply_to(document, text_of(patch))
    assert (caught.value.kind, caught.value.operation, caught.value.pointer) == ("missing", 1, "/a/é".encode())
    patch[1] = {"op": "move", "from": "/a", "path": "/x/y"}
    with pytest.raises(PatchRefused) as caught:
        apply_to(document, text_of(patch))
    assert (caught.value.kind, caught.value.operation, caught.value.pointer) == ("missing", 1, b"/x/y")
    assert document.text == b'{"a":{"\\u0001":1}}'


def test_a_text_that_is_no_json_is_told_from_a_patch_that_is_none() -> None:
    with pytest.raises(JsonTextError) as caught:
        apply(b"[1,", b"[]")
    assert not isinstance(caught.value, PatchTextError)
    with pytest.raises(PatchTextError):
        apply(b"[1]", b'[{"op":"add","op":"remove","path":"/0"}]')
    document = Json(b"[1]")
    with pytest.raises(PatchTextError):
        apply_to(document, b"[" * 5000)
    assert document.text == b"[1]"


def test_all_kinds_of_buffers_are_texts() -> None:
    text, patch = b'{"a":1}', b'[{"op":"remove","path":"/a"}]'
    for kind in (bytes, bytearray, memoryview):
        assert apply(kind(text), kind(patch)) == b"{}"
        assert merge_patch(kind(text), kind(b'{"a":null}')) == b"{}"
        assert merge_diff(kind(text), kind(b"{}")) == b'{"a":null}'
        assert get(kind(text), b"/a") == b"1"


def test_names_are_told_apart_in_pointers() -> None:
    value = {name: i for i, name in enumerate(["a/b", "a~1b", "a~b", "a~0b", "~", "/", "~01"])}
    for name, number in value.items():
        assert get(text_of(value), f"/{token(name)}".encode()) == str(number).encode()
