"""Patches between JSON texts: right by the oracle (jsonpatch), small, and the same however they were found."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import jsonpatch
import orjson
import pytest

from cloche_native.json import Json, JsonTextError
from cloche_native.json_apply import apply
from cloche_native.json_diff import diff, follow, pass_children, update
from tests.native.json_pairs import pairs, seeded, spliced

PAIRS = int(os.environ.get("CLOCHE_JSON_PAIRS", "100000"))
PARTS = 4


def sorted_text(value: Any) -> bytes:  # noqa: ANN401 - JSON
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def applied(old: bytes, patch: bytes) -> Any:  # noqa: ANN401 - JSON
    """Give what the oracle makes of a text; splices, which it has not, are done here."""
    document = orjson.loads(old)
    for operation in orjson.loads(patch):
        if operation["op"] == "splice":
            document = spliced(document, operation)
        else:
            document = jsonpatch.apply_patch(document, [operation], in_place=True)
    return document


def operations(old: Any, new: Any, *, splice: bool = False) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
    """Give the patch between two values, which is looked at as every patch is."""
    texts = orjson.dumps(old), orjson.dumps(new)
    patch = diff(*texts, splice=splice)
    assert sorted_text(applied(texts[0], patch)) == sorted_text(new)
    assert len(patch) <= len(texts[1]) + 64
    loaded: list[dict[str, Any]] = orjson.loads(patch)
    return loaded


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.timeout(120 + PAIRS // 500)
def test_patches_between_random_values_are_right_by_the_oracle(part: int) -> None:
    for number, (old, new) in enumerate(pairs(part, PAIRS // PARTS)):
        with Json(old) as document, Json(new) as fresh:
            assert follow(document, new) == follow(fresh, new) is not None, (old, new)
            patch = update(document, new, splice=bool(number & 1))
            assert document.text == new
            assert follow(document, new) == follow(fresh, new)
        assert len(patch) <= len(new) + 64, (old, new)
        value = orjson.loads(new)
        assert sorted_text(applied(old, patch)) == sorted_text(value), (old, new, patch)
        assert (patch == b"[]") == (sorted_text(orjson.loads(old)) == sorted_text(value)), (old, new)


def records(count: int) -> list[dict[str, Any]]:
    draw = seeded(count)
    return [
        {
            "at": 1790000000 + number,
            "level": draw.choice(("info", "warn")),
            "text": f"{draw.random()} of {draw.random()}",
        }
        for number in range(count)
    ]


def test_an_element_before_5_000_others_is_one_operation() -> None:
    old = records(5000)
    assert [operation["op"] for operation in operations(old, [{"at": 0}, *old])] == ["add"]
    assert [operation["op"] for operation in operations(old, old[1:])] == ["remove"]


def test_elements_of_a_ring_go_in_front_and_come_behind() -> None:
    old, new = records(2000), records(2040)
    found = operations({"lines": old}, {"lines": [*old[40:], *new[2000:]]})
    assert [operation["op"] for operation in found] == ["remove"] * 40 + ["add"] * 40


@pytest.mark.parametrize(("begin", "to"), [(0, 3000), (3000, 0), (100, 101), (4990, 20)])
def test_a_block_of_elements_moves(begin: int, to: int) -> None:
    old = records(5000)
    block, rest = old[begin : begin + 10], old[:begin] + old[begin + 10 :]
    found = operations(old, [*rest[:to], *block, *rest[to:]])
    assert {operation["op"] for operation in found} == {"move"}
    assert len(found) <= 10


def test_an_element_that_moves_and_neighbours_that_change_go_together() -> None:
    old = records(400)
    new = json.loads(json.dumps(old))
    new[7]["level"] = new[300]["level"] = "error"
    del new[100]["text"]
    new.insert(350, new.pop(20))
    new.insert(2, {"at": 5})
    kinds = sorted(operation["op"] for operation in operations(old, new))
    assert kinds == ["add", "move", "remove", "replace", "replace"]


def test_one_of_many_equal_elements_is_replaced_where_it_is() -> None:
    new = [0] * 1000
    new[500] = 7
    assert operations([0] * 1000, new) == [{"op": "replace", "path": "/500", "value": 7}]


@pytest.mark.parametrize("seed", range(20))
def test_elements_that_look_alike_are_not_taken_for_equal(seed: int) -> None:
    draw = seeded(seed)
    old = ["".join(draw.choice("ab") if place in (15, 40, 70) else "-" for place in range(100)) for _ in range(60)]
    new = old[:]
    draw.shuffle(new)
    operations(old, new[5:])
    operations([[text] for text in old], [[text] for text in new])


def test_an_array_in_another_order_or_of_all_other_elements_costs_no_more_than_a_replace() -> None:
    old = [{"id": number, "name": f"n{number}"} for number in range(2000)]
    new = seeded(1).sample(old, len(old))
    operations({"items": old}, {"items": new})
    found = operations({"items": old}, {"items": [{"id": -number, "name": "x"} for number in range(2000)]})
    assert [operation["op"] for operation in found] == ["replace"]


def long_pairs() -> dict[str, tuple[Any, Any]]:
    """Give arrays that are neither small nor much alike."""
    draw = seeded(4)
    numbers = [draw.randrange(1000) for _ in range(6000)]
    some = [draw.randrange(1000) if draw.random() < 0.1 else number for number in numbers]
    texts = [f"text number {number}" for number in range(3000)]
    rows = [[[draw.randrange(9) for _ in range(5)] for _ in range(6)] for _ in range(200)]
    more = records(1000)
    return {
        "numbers": (numbers, [draw.randrange(1000) for _ in range(5000)]),
        "two kinds of numbers": ([number % 2 for number in numbers], [number % 3 % 2 for number in numbers]),
        "some numbers": (numbers, some),
        "some numbers, and a few less": (numbers, some[:100] + some[150:3000] + some[3400:]),
        "an order turned round": (list(range(4000)), list(range(4000))[::-1]),
        "texts in another order": (texts, draw.sample(texts, 3000)),
        "other texts": (texts, [text + "!" for text in texts]),
        "rows of rows": (rows, [[row[::-1] for row in rows_] for rows_ in rows[:190]]),
        "each of many": (more, [{**record, "level": "error"} for record in more]),
        "each, and one more": (more, [{"at": 0}, *({**record, "level": "error"} for record in more)]),
        "two thirds": (more, [record for record in more if record["at"] % 3]),
        "the first half as it was": (more, more[:500] + records(1500)[700:]),
    }


@pytest.mark.parametrize("name", long_pairs())
def test_long_arrays_that_have_little_in_common_become_each_other(name: str) -> None:
    old, new = long_pairs()[name]
    operations({"items": old}, {"items": new})
    operations(new, old)
    texts = orjson.dumps(old), orjson.dumps(new)
    with Json(texts[0]) as document, Json(texts[1]) as fresh:
        assert follow(document, texts[1]) == follow(fresh, texts[1]) is not None


def test_a_patch_keeps_what_is_common_before_much_that_is_not() -> None:
    old, new = long_pairs()["the first half as it was"]
    assert len(orjson.dumps(operations(old, new))) < 0.9 * len(orjson.dumps(new))


def test_many_records_with_their_members_in_another_order_are_no_difference() -> None:
    old = records(2000)
    assert operations(old, [dict(reversed(record.items())) for record in old]) == []


def test_numbers_are_told_apart_by_their_text_and_members_by_their_keys_alone() -> None:
    assert operations([1], [1.0]) == [{"op": "replace", "path": "/0", "value": 1.0}]
    assert diff(b"[0.0]", b"[-0.0]") == b'[{"op":"replace","path":"/0","value":-0.0}]'
    assert diff(b'{"a":1e2}', b'{"a":100}') == b'[{"op":"replace","path":"/a","value":100}]'
    assert operations({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": [{"d": 3, "c": 2}], "a": 1}) == []
    assert operations(1, "1") == [{"op": "replace", "path": "", "value": "1"}]


def test_what_is_written_in_another_form_is_no_difference() -> None:
    old = b'{"a/b":[1,2,"\xc3\xa9"],"c":{}}'
    new = b' { "c" : { } , "a\\/b" : [ 1,2 , "\\u00E9" ] }\n'
    assert diff(old, new) == diff(new, old) == b"[]"
    with Json(old) as document:
        assert update(document, new) == b"[]"
        assert document.text == b'{"c":{},"a/b":[1,2,"\xc3\xa9"]}'


def test_a_member_with_a_new_key_moves() -> None:
    value = {"name": "x", "list": list(range(9))}
    assert operations({"a": value, "b": 1}, {"b": 1, "c/~": value}) == [{"op": "move", "from": "/a", "path": "/c~1~0"}]


@pytest.mark.parametrize("count", [1, 9, 40, 300])
def test_many_members_come_and_go(count: int) -> None:
    old: dict[str, Any] = {f"key {number}": {"source": "iana", "n": number} for number in range(2500)}
    new: dict[str, Any] = {key: old[key] for key in list(old)[count:]}
    new |= {f"new {number}": number for number in range(count)}
    assert len(operations(old, new)) == 2 * count
    shuffled = dict(seeded(count).sample(list(new.items()), len(new)))
    assert len(operations(old, shuffled)) == 2 * count


def test_a_key_that_is_there_twice_is_refused_wherever_it_came_from() -> None:
    members = ",".join(f'"key {number}":[{number},"{"x" * 80}"]' for number in range(50))
    old = f"{{{members}}}".encode()
    for new in (
        f'{{"key 7":0,{members}}}', f'{{{members},"key 7":0}}', f'{{"a":1,"b":2,{members},"a":3}}',
        f'{{{members[:200]},"c":1,"c":1{members[200:]}}}',
    ):  # fmt: skip
        with Json(old) as document, pytest.raises(JsonTextError):
            update(document, new.encode())
    moved = orjson.loads(old)
    moved["key 7"] = moved.pop("key 7")
    with Json(old) as document:
        assert follow(document, orjson.dumps(moved)) is not None
        assert update(document, orjson.dumps(moved)) == b"[]"


@pytest.mark.parametrize(
    ("at", "put", "kind"),
    [
        (40, b"", "truncated"), (-1, b"", "truncated"), (-1, b"}}", "trailing"), (20, b"\xff", "utf8"),
        (20, b"\x01", "control"), (20, b"\\x", "escape"), (20, b"\\udc00", "surrogate"), (-3, b"01]}", "number"),
        (-3, b"1e999]}", "range"), (-3, b"[" * 1100, "deep"), (-2, b',"a":1', "syntax"),
    ],
)  # fmt: skip
def test_a_text_that_is_none_is_refused_and_nothing_has_changed(at: int, put: bytes, kind: str) -> None:
    old = b'{"text":"one that is long","more":[1,2,{"x":"' + b"y" * 100 + b'"},3]}'
    new = old[:at] + put + (old[at:] if kind in ("utf8", "control", "escape", "surrogate", "syntax") else b"")
    with Json(old) as document:
        with pytest.raises(JsonTextError) as refused:
            update(document, new)
        with pytest.raises(JsonTextError) as expected:
            Json(new)
        assert (refused.value.kind, refused.value.position) == (expected.value.kind, expected.value.position)
        assert refused.value.kind == kind
        assert document.text == old
        assert update(document, old) == b"[]"


def test_a_splice_changes_the_middle_of_a_long_string() -> None:
    old = "a line of text that goes on, with é and \n and \U0001f600; " * 20
    found = operations({"s": old}, {"s": old[:100] + "NEW " + old[110:900] + old[950:]}, splice=True)
    assert [operation["op"] for operation in found] == ["splice", "splice"]
    assert [operation["at"] for operation in found] == sorted((operation["at"] for operation in found), reverse=True)
    assert found[0]["length"] == len(old)
    assert len(found[0]["hash"]) == 16
    assert "hash" not in found[1]
    assert operations({"s": old}, {"s": old[:100] + old[101:]})[0]["op"] == "replace"
    assert operations({"s": "short"}, {"s": "shorter"}, splice=True)[0]["op"] == "replace"


def test_a_string_of_all_other_words_is_replaced_even_where_splices_are_allowed() -> None:
    draw = seeded(3)
    old, new = (" ".join(str(draw.random()) for _ in range(200)) for _ in range(2))
    assert [operation["op"] for operation in operations([old], [new], splice=True)] == ["replace"]


@pytest.mark.parametrize("seed", range(8))
def test_splices_of_random_strings_are_right(seed: int) -> None:
    draw = seeded(seed)
    pieces = ("a", "foo", "é", "\n", '"', "\\", "\x01", "\U0001f600", "日本", "u0001", "/", "  ", " ", " ")
    for _ in range(150):
        old = new = "".join(draw.choice(pieces) for _ in range(draw.choice((150, 400))))
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(new))
            new = (
                new[:at]
                + "".join(draw.choice(pieces) for _ in range(draw.randrange(4)))
                + new[at + draw.randrange(30) :]
            )
        operations({"a~": [old]}, {"a~": [new]}, splice=True)


def test_patches_with_splices_are_applied_by_the_other_half_of_this_module() -> None:
    for old, new in pairs(7, 3000):
        assert diff(apply(old, diff(old, new, splice=True)), new) == b"[]", (old, new)


@pytest.mark.parametrize("cpu", [1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_children_are_passed_over_in_blocks_as_they_are_byte_by_byte(seed: int, cpu: int) -> None:
    draw = seeded(seed)
    for _, text in pairs(1000 + seed, 400):
        for _ in range(4):
            at = draw.randrange(len(text))
            limit = draw.randrange(at, len(text) + 1)
            assert pass_children(text, at, limit, cpu=cpu) == pass_children(text, at, limit, cpu=0), (text, at, limit)


def test_children_are_counted_up_to_a_limit_an_escape_or_the_end() -> None:
    text = b'[1,"a,]",[2,{"b":[]}],"' + b"x" * 100 + b'",{"c":0},"\\n",3]'
    for cpu in range(3):
        assert pass_children(text, 1, len(text), cpu=cpu) == (text.index(b'"\\n'), 5)
        assert pass_children(text, 1, text.index(b"]}]"), cpu=cpu) == (9, 2)
        assert pass_children(text, 1, 2, cpu=cpu) == (1, 0)
        assert pass_children(b"[" + b"7," * 200 + b"8]", 1, 402, cpu=cpu) == (401, 200)
    with pytest.raises(ValueError, match="places"):
        pass_children(text, 5, 4, cpu=0)


def test_documents_of_two_threads_become_others_at_once() -> None:
    texts = [new for _, new in pairs(99, 300)]
    wrong: list[str] = []

    def follow_all(order: list[bytes]) -> None:
        with Json(b"null") as document:
            for before, text in zip([b"null", *order], order, strict=False):
                patch = update(document, text)
                if sorted_text(applied(before, patch)) != sorted_text(orjson.loads(text)):
                    wrong.append(repr((before, text, patch)))

    threads = [threading.Thread(target=follow_all, args=(order,)) for order in (texts, texts[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
