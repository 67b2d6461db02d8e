"""Merge patches (RFC 7396) applied and made in C."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from cloche_native.json import Json
from cloche_native.json_apply import PatchRefused, get, merge_diff, merge_into, merge_patch
from tests.native.drawn_json import draw_operation, draw_value, oracle, ordered, text_of

MERGES = json.loads((Path(__file__).with_name("json") / "merge.json").read_text(encoding="utf-8"))
DRAWN = 700


def _given(case: dict[str, Any], name: str) -> bytes:
    return case[f"{name}_text"].encode() if f"{name}_text" in case else text_of(case[name])


@pytest.mark.parametrize("case", MERGES, ids=lambda case: case["name"])
def test_a_merge_patch_of_the_corpus_gives_what_the_rfc_says(case: dict[str, Any]) -> None:
    target, patch = _given(case, "target"), _given(case, "patch")
    document = Json(target)
    merge_into(document, patch)
    assert ordered(merge_patch(target, patch)) == ordered(document.text) == json.dumps(case["expected"], sort_keys=True)


def _needs_null(old: object, new: object) -> bool:
    """Say whether a member of an object becomes null that is something else, or not there."""
    if not isinstance(new, dict):
        return False
    before = old if isinstance(old, dict) else {}
    for key, value in new.items():
        if value is None and (key not in before or before[key] is not None):
            return True
        if _needs_null(before.get(key), value):
            return True
    return False


def test_merge_patches_made_of_drawn_pairs_make_one_of_the_other() -> None:
    rng = random.Random(7396)  # noqa: S311 - seeded test data
    made = impossible = 0
    for _ in range(DRAWN):
        old = draw_value(rng)
        new = draw_value(rng) if rng.random() < 0.3 else copy.deepcopy(old)
        for _ in range(rng.choice((0, 1, 3))):
            expected = oracle(new, [draw_operation(rng, new)])
            new = expected[0] if expected else new
        if _needs_null(old, new):
            with pytest.raises(PatchRefused) as caught:
                merge_diff(text_of(old), text_of(new))
            assert caught.value.kind == "null"
            assert json.loads(get(text_of(new), caught.value.pointer)) is None
            impossible += 1
            continue
        patch = merge_diff(text_of(old), text_of(new))
        assert ordered(merge_patch(text_of(old), patch)) == json.dumps(new, sort_keys=True)
        made += 1
    assert made > DRAWN // 3
    assert impossible > DRAWN // 50


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, b"{}"),
        ([{"a": 1, "b": [2]}], [{"b": [2], "a": 1}], b'[{"b":[2],"a":1}]'),
        ({"x": [{"a": 1, "b": [2]}]}, {"x": [{"b": [2], "a": 1}]}, b"{}"),
        ({"a": 1}, {"a": 1.0}, b'{"a":1.0}'),
        ({"a": None, "b": 1}, {"a": None}, b'{"b":null}'),
        ({"a": {"b": {"c": 1, "d": 2}}, "e": 3}, {"a": {"b": {"c": 1}}, "e": 3}, b'{"a":{"b":{"d":null}}}'),
        ({"a": 1}, {"a": [None]}, b'{"a":[null]}'),
    ],
)
def test_a_merge_patch_holds_what_differs_and_no_more(old: object, new: object, patch: bytes) -> None:
    assert merge_diff(text_of(old), text_of(new)) == patch


def test_a_merge_patch_can_t_say_null() -> None:
    with pytest.raises(PatchRefused) as caught:
        merge_diff(b'{"a":{"m~/":1}}', b'{"a":{"m~/":{"x":[null],"y":null}}}')
    assert (caught.value.kind, caught.value.pointer) == ("null", b"/a/m~0~1/y")
