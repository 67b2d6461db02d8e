"""The documents of the benchmarks: their patches are right, and none is larger than jsonpatch's."""

from __future__ import annotations

import json
from typing import Any, Final

import jsonpatch
import orjson
import pytest

from benchmarks import json_documents
from cloche.patch import Document, diff

QUICK: Final = [name for name in json_documents.MADE if name != "deep"]
"""The deep one takes seconds to be made; the benchmarks have it."""


@pytest.fixture(scope="module", params=QUICK)
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    made: tuple[Any, Any] = json_documents.pair(request.param)
    return made


def test_patches_are_right_both_ways_and_hold_no_more_than_the_oracles(pair: tuple[Any, Any]) -> None:
    old, new = pair
    with Document(old) as document:
        for before, after in ((old, new), (new, old), (old, new)):
            made = document.update(after)
            assert json.loads(document.text) == after
            assert jsonpatch.apply_patch(before, json.loads(made)) == after
            assert len(made) <= len(orjson.dumps(jsonpatch.make_patch(before, after).patch))
            assert document.memory <= 2 * len(document.text) + 1000
            with Document(document.text) as fresh:
                assert fresh.hash() == document.hash()


def test_what_is_retained_makes_the_same_patch_as_two_texts(pair: tuple[Any, Any]) -> None:
    old, new = (orjson.dumps(value) for value in pair)
    with Document(old) as document:
        assert document.update(new) == diff(old, new)
        document.apply(diff(new, old))
        assert document.text == old or json.loads(document.text) == pair[0]
        assert document.update(new) != b"[]" or pair[0] == pair[1]
        assert document.value() == pair[1]
