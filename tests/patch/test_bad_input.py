"""Bytes that somebody else chose: refused with a position, and nothing is lost by them."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import JsonError, PatchError, patch
from tests.patch.drawn import VALUES

CALLS = int(os.environ.get("CLOCHE_JSON_CALLS", "20000"))
"""How many calls must leave nothing behind; 1,000,000 by that variable."""
ROOM = 8 << 20
WHOLE = json.dumps(
    {"key": [1, -2.5e3, True, False, None, "text é 𝄞 \\u0041\\n", {}, []], "other": {"": {"a": ["b"]}}},
    ensure_ascii=False,
).encode()


@pytest.mark.parametrize("size", range(len(WHOLE)))
def test_a_document_cut_anywhere_is_refused_and_says_where(size: int) -> None:
    cut = WHOLE[:size]
    with pytest.raises(JsonError) as raised:
        patch.diff(cut, WHOLE)
    assert raised.value.position is not None
    assert 0 <= raised.value.position <= size
    with patch.Document(WHOLE) as document:
        with pytest.raises(JsonError):
            document.update(cut)
        with pytest.raises(JsonError):
            document.apply(cut)
        assert document.value() == json.loads(WHOLE)


@given(st.binary(max_size=40) | VALUES.map(lambda value: json.dumps(value).encode()), st.data())
def test_the_verdict_is_that_of_orjson(raw: bytes, data: st.DataObject) -> None:
    if raw and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + data.draw(st.binary(max_size=2)) + raw[at + data.draw(st.integers(0, 2)) :]
    try:
        json.loads(raw.decode(), object_pairs_hook=_without_twins)
        orjson.loads(raw)
        fine = True
    except ValueError:
        fine = False
    if fine:
        assert patch.are_equal(raw, raw)
    else:
        with pytest.raises(JsonError):
            patch.are_equal(raw, raw)


def _without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key twice")
    return made


@pytest.mark.parametrize(
    "raw",
    [
        b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"', b'{"\x80":1}',
        b"\xef\xbb\xbf1", b'"\\ud800"', b'"\\udc00\\ud800"', b'"\x00"', b'"\n"', b"\x00", b"01", b"1.", b".5", b"+1",
        b"-", b"1e", b"0x1", b"NaN", b"Infinity", b"-Infinity", b"1e999999999", b"nul", b"'a'", b"[1,]", b'{"a":1,}',
        b"{1:2}", b"[1 2]", b"1 2", b'{"a"}', b'{"a":}', b"// c\n1", b'{"a":1,"b":2,"a":3}', b'{"a":1,"\\u0061":2}',
        b'[{"":0,"":0}]', b"",
        b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"[" * 1_000_000, b'{"a":[' * 500_000,
    ],
    ids=range(41),
)  # fmt: skip
def test_what_is_not_json_is_refused_by_every_function(raw: bytes) -> None:
    with patch.Document([1]) as document:
        for use in (
            lambda: patch.diff(raw, b"1"), lambda: patch.diff(b"1", raw), lambda: patch.are_equal(raw, b"1"),
            lambda: patch.apply(raw, []), lambda: patch.apply([], raw), lambda: patch.merge_patch(raw, 1),
            lambda: patch.merge_patch(1, raw), lambda: patch.merge_diff(raw, 1), lambda: patch.merge_diff(1, raw),
            lambda: patch.get(raw, ""), lambda: patch.Document(raw), lambda: document.update(raw),
            lambda: document.apply(raw), lambda: document.merge(raw),
        ):  # fmt: skip
            with pytest.raises(JsonError) as raised:
                use()
            assert raised.value.position is not None
            assert 0 <= raised.value.position <= len(raw)
        assert document.text == b"[1]"


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/a/18446744073709551616", "value": 1},
        {"op": "add", "path": "/a/" + "9" * 5000, "value": 1},
        {"op": "remove", "path": "/a/18446744073709551615"},
        {"op": "splice", "path": "/t", "at": 2**63, "remove": 2**63, "insert": ""},
        {"op": "splice", "path": "/t", "at": 0, "remove": 2**64 - 1, "insert": "x"},
        {"op": "splice", "path": "/t", "at": 0, "remove": 0, "insert": "x", "length": 2**63},
        {"op": "splice", "path": "/t", "at": -1, "remove": 0, "insert": "x"},
        {"op": "splice", "path": "/t", "at": 0.5, "remove": 0, "insert": "x"},
    ],
    ids=range(8),
)
def test_claims_of_sizes_that_nobody_has_are_refused(operation: dict[str, object]) -> None:
    with patch.Document({"a": [1], "t": "text"}) as document:
        with pytest.raises(PatchError) as raised:
            document.apply([operation])
        assert raised.value.index == 0
        assert document.value() == {"a": [1], "t": "text"}


def test_a_hostile_place_can_not_steer_a_terminal_by_the_message() -> None:
    with pytest.raises(PatchError) as raised:
        patch.apply({}, [{"op": "remove", "path": "/\x1b[31m\n\u202e"}])
    assert str(raised.value).isprintable()
    assert raised.value.pointer == "/\x1b[31m\n\u202e"


def _memory() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _everything() -> None:
    old, new = b'{"a":[1,2,3,{"x":"y"}],"t":"one two three"}', b'{"a":[2,3,{"x":"z"}],"t":"one two four"}'
    with patch.Document(old) as document:
        made = document.update(new, splice=True)
        with pytest.raises(JsonError):
            document.update(new[:-1])
        with pytest.raises(PatchError):
            document.apply([*json.loads(made), {"op": "remove", "path": "/nope"}])
        document.apply(b'[{"op":"add","path":"/n","value":[1,2,3]}]')
    patch.apply(old, patch.diff(old, new))
    patch.merge_patch(old, patch.merge_diff(old, new))
    with pytest.raises(JsonError):
        patch.diff(old, old[:-1])


@pytest.mark.skipif("CLOCHE_SANITIZED" in os.environ, reason="the sanitizer keeps what was freed")
@pytest.mark.timeout(0)
def test_calls_leave_nothing_behind_failed_ones_too() -> None:
    for _ in range(500):
        _everything()
    before = _memory()
    for _ in range(CALLS // 10):
        _everything()
    assert _memory() - before < ROOM
