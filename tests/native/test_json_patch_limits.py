"""What hostile patches may not do: grow without end, nest without end, or cut strings that they were not made for."""

from __future__ import annotations

import copy
import json
import random

import pytest

from cloche_native.json import Json
from cloche_native.json_apply import PatchRefused, apply, apply_to
from cloche_native.json_diff import diff
from tests.native.drawn_json import draw_operation, draw_value, oracle, text_of

DRAWN = 700


def test_copies_that_double_the_document_end_at_the_limit() -> None:
    text = text_of({"a": ["x" * 1000]})
    patch = text_of([{"op": "copy", "from": "/a", "path": "/a/-"}] * 60)
    document = Json(text)
    for refused in (lambda: apply(text, patch), lambda: apply_to(document, patch)):
        with pytest.raises(PatchRefused) as caught:
            refused()
        assert caught.value.kind == "size"
        assert 10 < caught.value.operation < 20  # 1 kB doubled to 64 MiB
    assert document.text == text


def test_copies_that_are_removed_again_count_too() -> None:
    text = text_of({"a": "x" * 1000})
    patch = text_of([{"op": "copy", "from": "/a", "path": "/b"}, {"op": "remove", "path": "/b"}] * 10)
    assert apply(text, patch, most=12_000) == text
    with pytest.raises(PatchRefused) as caught:
        apply(text, patch, most=8_000)
    assert (caught.value.kind, caught.value.operation) == ("size", 14)


def test_a_result_of_the_most_bytes_is_allowed_and_one_more_is_not() -> None:
    patch = b'[{"op":"add","path":"/b","value":"xyz"}]'
    assert apply(b'{"a":1}', patch, most=17) == b'{"a":1,"b":"xyz"}'
    with pytest.raises(PatchRefused) as caught:
        apply(b'{"a":1}', patch, most=16)
    assert (caught.value.kind, caught.value.operation) == ("size", -1)


def _nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def test_no_operation_makes_more_levels_than_allowed() -> None:
    text = b'{"a":%b,"b":[],"c":{"d":[%b]}}' % (_nested(1023), b"1," * 3000 + b"1")
    add = b'[{"op":"add","path":"/b/0","value":%b}]'
    assert apply(text, add % _nested(1022)).count(b"[") == 1023 + 1022 + 2
    document = Json(text)
    for patch in (
        add % _nested(1023),  # more levels than a patch of its own could have
        b'[{"op":"copy","from":"/a","path":"/b/-"}]',
        b'[{"op":"move","from":"/a","path":"/b/-"}]',
        b'[{"op":"copy","from":"","path":"/b/-"}]',
        b'[{"op":"add","path":"/a/0/0/-","value":[]},{"op":"move","from":"/a","path":"/c/d/0"}]',
    ):
        with pytest.raises(PatchRefused) as caught:
            apply_to(document, patch)
        assert caught.value.kind == "depth"
        assert document.text == text
    apply_to(document, b'[{"op":"move","from":"/c","path":"/b/-"},{"op":"move","from":"/a/0/0","path":"/b/-"}]')
    assert Json(document.text).text == document.text


def test_levels_are_counted_exactly_however_a_value_is_indexed() -> None:
    rng = random.Random(1024)  # noqa: S311 - seeded test data
    refused = 0
    for _ in range(400):
        levels, chance = rng.randrange(1, 130), rng.choice((0.0, 0.03, 0.5, 1.0))
        value = b"0"
        for _ in range(levels):
            filler = b'"%b",' % (b"x" * 70) if rng.random() < chance else b""
            value = rng.choice((b"[%b%b]" % (filler, value), b'{"a":[%b0],"b":%b}' % (filler, value)))
        text, patch = b'{"a":[]}', b'[{"op":"add","path":"/a/0","value":%b}]' % value
        depth = 2 + max(levels, 2 if b'"a":[' in value else 1) + rng.choice((-1, 0, 1))
        if depth >= 2 + _levels(value):
            assert apply(text, patch, depth=depth) == b'{"a":[%b]}' % value
            continue
        with pytest.raises(PatchRefused) as caught:
            apply(text, patch, depth=depth)
        assert caught.value.kind == "depth"
        refused += 1
    assert refused > 50


def _levels(text: bytes) -> int:
    level = most = 0
    for byte in text:  # no bracket stands in a string
        level += (byte in b"[{") - (byte in b"]}")
        most = max(most, level)
    return most


def test_a_splice_is_guarded_by_the_hash_of_the_string() -> None:
    splice = {"op": "splice", "path": "/0", "at": 1, "remove": 1, "insert": "é", "length": 3}
    with pytest.raises(PatchRefused) as caught:
        apply(b'["abc"]', text_of([{**splice, "hash": "0123456789abcdef"}]))
    assert caught.value.kind == "splice"
    for wrong in ("0123456789ABCDEF", "0", 5, None):
        with pytest.raises(PatchRefused) as caught:
            apply(b'["abc"]', text_of([{**splice, "hash": wrong}]))
        assert caught.value.kind == "field"
    assert apply(b'["abc"]', text_of([splice])) == '["aéc"]'.encode()


def test_drawn_splices_give_what_slices_give() -> None:
    rng = random.Random(109)  # noqa: S311 - seeded test data
    alphabet = ["a", "b", "é", "\U0001f600", '"', "\\", "\n", "\x01", "/"]
    for _ in range(500):
        value = "".join(rng.choices(alphabet, k=rng.randrange(40))) * rng.choice((1, 1, 9))
        at = rng.randrange(len(value) + 1)
        remove = rng.randrange(len(value) - at + 1)
        insert = "".join(rng.choices(alphabet, k=rng.randrange(9)))
        patch = [{"op": "splice", "path": "/s", "at": at, "remove": remove, "insert": insert, "length": len(value)}]
        made = apply(json.dumps({"s": value}).encode(), json.dumps(patch).encode())
        assert json.loads(made) == {"s": value[:at] + insert + value[at + remove :]}


def test_many_splices_of_a_long_string_are_done_in_one_copy_of_it() -> None:
    value = "".join(f"wörd {i}\n" for i in range(20_000))
    patch, expected = [], value
    for at in range(len(value) - 10, 0, -700):
        patch.append({"op": "splice", "path": "/t", "at": at, "remove": 3, "insert": "\u20ac\n and more"})
        expected = expected[:at] + "\u20ac\n and more" + expected[at + 3 :]
    text = text_of({"t": value})
    made = apply(text, text_of(patch), most=2 * len(text))
    assert json.loads(made) == {"t": expected}


def test_a_spliced_string_that_was_copied_stays_what_it_was() -> None:
    splice = {"op": "splice", "path": "/a", "at": 0, "remove": 1, "insert": "x"}
    copied = {"op": "copy", "from": "/a", "path": "/b"}
    patch = [
        splice,
        copied,
        {**splice, "insert": "y"},
        {**splice, "path": "/b", "insert": "z"},
        {**splice, "insert": "w"},
    ]
    assert apply(b'{"a":"123"}', text_of(patch)) == b'{"a":"w23","b":"z23"}'


def test_what_a_diff_gives_makes_one_document_of_another() -> None:
    rng = random.Random(6)  # noqa: S311 - seeded test data
    for _ in range(DRAWN):
        old, new = draw_value(rng), draw_value(rng)
        changed = copy.deepcopy(old)
        for _ in range(3):
            changed = (oracle(changed, [draw_operation(rng, changed)]) or (changed,))[0]
        for target in (new, changed):
            kept, other = Json(text_of(old)), Json(text_of(target))
            patch = diff(kept.text, other.text, splice=rng.random() < 0.5)
            apply_to(kept, patch)
            assert kept.equals(other)
            assert json.loads(kept.text) == target


def test_diffs_of_long_strings_are_applied() -> None:
    rng = random.Random(7)  # noqa: S311 - seeded test data
    for _ in range(60):
        words = [f"{rng.choice(('wörd', 'line', 'quote'))}{i} " for i in range(300)]
        changed = list(words)
        for _ in range(rng.randrange(1, 9)):
            changed[rng.randrange(300)] = rng.choice(("", "new\n", '"\U0001f600" '))
        old, new = Json(text_of({"t": "".join(words)})), Json(text_of({"t": "".join(changed)}))
        patch = diff(old.text, new.text, splice=True)
        assert b'"splice"' in patch or words == changed
        apply_to(old, patch)
        assert old.text == new.text
