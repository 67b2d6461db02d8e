"""JSON texts: the verdict is orjson's, the canonical text has the same value, equality is by worth."""

from __future__ import annotations

import itertools
import json as reference
import pickle
import re
import threading
from fractions import Fraction

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloche_native import json

DEEP = json.DEPTH
ACCEPTED = [
    b"0", b"-0", b"-0.0", b"0e5", b"1E+5", b"1.5e-3", b"18446744073709551616", b"1e-99999999999999999999", b"true",
    b"0e99999999999999999999", b"1" + b"0" * 400 + b"e-400", b"0." + b"0" * 400 + b"1e400", b"1.7976931348623158e308",
    b"null", b'""', b'"\\/"', b'"\\u0000"', b'"\x7f"', b'"\\ud83d\\ude00"', b'"\\uD83D\\uDE00"', b'"\xf4\x8f\xbf\xbf"',
    b"[]", b"{}", b" [ ] ", b"\t{\r\n}\n", b'{"":0}', b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b"[[],[[]],{}]", b'{"a":{"a":{"a":1}},"b":{"a":1}}', b'"' + b"x" * 100 + b'"', b'"' + "é".encode() * 40 + b'"',
    b'"\\"\\\\\\b\\f\\n\\r\\t"', b"[1,\n2]", b'"\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80"', b'"\xed\x9f\xbf\xee\x80\x80"',
]  # fmt: skip
REFUSED = {
    b"": ("truncated", 0), b" ": ("truncated", 1), b"[": ("truncated", 1), b"[1": ("truncated", 2),
    b'{"a"': ("truncated", 4), b'{"a":': ("truncated", 5), b'"a': ("truncated", 2), b'"\\': ("truncated", 1),
    b'"\\u00': ("truncated", 1), b"nul": ("truncated", 3), b"-": ("truncated", 1), b"1e": ("truncated", 2),
    b"1.": ("truncated", 2), b"[1,": ("truncated", 3), b'"\\ud800\\': ("truncated", 1), b"[[]": ("truncated", 3),
    b"[1 2]": ("syntax", 3), b"[1,]": ("syntax", 3), b"[,1]": ("syntax", 1), b"{,}": ("syntax", 1), b"]": ("syntax", 0),
    b'{"a":1,}': ("syntax", 7), b"{1:2}": ("syntax", 1), b'{"a" 1}': ("syntax", 5), b'["a" "b"]': ("syntax", 5),
    b"nuul": ("syntax", 2), b"NaN": ("syntax", 0), b"Infinity": ("syntax", 0), b"'a'": ("syntax", 0),
    b"\xef\xbb\xbf1": ("syntax", 0), b"\x0c1": ("syntax", 0), b"[1}": ("syntax", 2), b"+1": ("syntax", 0),
    b"tru e": ("syntax", 3), b"- 1": ("number", 1), b".5": ("syntax", 0), b"/**/1": ("syntax", 0),
    b"\x00": ("syntax", 0), b"1 2": ("trailing", 2), b"1\x00": ("trailing", 1), b"[1]]": ("trailing", 3),
    b"{}{}": ("trailing", 2),
    b"01": ("number", 1), b"-01": ("number", 2), b"1.e1": ("number", 2), b"1e+x": ("number", 3), b"-a": ("number", 1),
    b'"\xff"': ("utf8", 1), b'"\xc0\x80"': ("utf8", 1), b'"\xe0\x80\x80"': ("utf8", 1), b'"\xed\xa0\x80"': ("utf8", 1),
    b'"\xf4\x90\x80\x80"': ("utf8", 1), b'"\xf0\x80\x80\x80"': ("utf8", 1), b'"\xc3"': ("utf8", 1),
    b"\x80": ("utf8", 0),
    b'"' + b"a" * 50 + b"\xe2\x82" + b'"': ("utf8", 51), b'"\xf8\x88\x80\x80\x80"': ("utf8", 1),
    b'"\x00"': ("control", 1), b'"\n"': ("control", 1), b'"' + b"a" * 40 + b"\x1f" + b'"': ("control", 41),
    b'"\\x"': ("escape", 1), b'"\\u00g0"': ("escape", 1), b'"\\U0041"': ("escape", 1), b'"\\\n"': ("escape", 1),
    b'"\\ud800"': ("surrogate", 1), b'"\\udc00"': ("surrogate", 1), b'"\\ud800\\ud800"': ("surrogate", 1),
    b'"\\ud800a"': ("surrogate", 1), b'"\\ud800\\n"': ("surrogate", 1), b'[ "\\udc00"]': ("surrogate", 3),
    b"1e309": ("range", 0), b"-1e400": ("range", 0), b"[1.7976931348623159e308]": ("range", 1),
    b"1" + b"0" * 400: ("range", 0), b"0." + b"0" * 400 + b"1e800": ("range", 0),
    b"1e99999999999999999999": ("range", 0),
    b"[" * (DEEP + 1) + b"]" * (DEEP + 1): ("deep", DEEP), b"[" * 10_000: ("deep", DEEP),
    b'{"a":' * (DEEP + 1) + b"1" + b"}" * (DEEP + 1): ("deep", DEEP * 5),
}  # fmt: skip
DUPLICATES = {
    b'{"a":1,"a":1}': 7,
    b'{"a":1,"\\u0061":2}': 7,
    b'[{"b":{"x":1},"c":2, "b":3}]': 21,
    b"{" + b",".join(b'"%d":0' % (number % 40) for number in range(41)) + b"}": 1 + 10 * 6 + 30 * 7,
    b'{"' + b"k" * 30 + b'":1,"' + b"k" * 30 + b'":2}': 36,
}
TOKENS = [
    b"[", b"]", b"{", b"}", b",", b":", b'"', b'"a"', b"1", b"0", b"-", b".", b"e", b"E+", b"true", b"nul", b" ", b"\n",
    b"\\", b"\\u", b"\\u00e9", b"\\ud83d\\ude00", b"\\ud800", b"\xc3", b"\xc3\xa9", b"\xf0\x9f\x98\x80",
    b"\xed\xa0\x80", b"\x00", b"1e400", b"99999999999999999999", b"x" * 33,
]  # fmt: skip

characters = st.one_of(st.characters(codec="utf-8"), st.sampled_from('"\\/\n\x00\x1f\x7fé😀a'))
strings = st.text(characters, max_size=80)
numbers = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.integers(-3, 3), st.floats(allow_nan=False, allow_infinity=False)
)
scalars = st.one_of(st.none(), st.booleans(), numbers, strings)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=12), st.dictionaries(strings, inner, max_size=20)),
    max_leaves=40,
)


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """Draw a text of any style."""
    value = draw(values)
    if draw(st.booleans()):
        return orjson.dumps(value)
    indent = draw(st.sampled_from([None, 0, 2]))
    return reference.dumps(value, indent=indent, ensure_ascii=draw(st.booleans())).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    text = bytearray(draw(written()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 2))] = draw(st.sampled_from(TOKENS))
    return bytes(text)


def verdict(text: bytes, cpu: int | None = None) -> tuple[str, int]:
    try:
        return "fine", json.check_text(text, cpu=cpu)
    except json.JsonTextError as error:
        return error.kind, error.position


def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise LookupError("the same key twice")
    return made


def worth(text: bytes) -> object:
    """Read with numbers that are not rounded, so that == is equality by worth; True is no 1."""

    def mark(value: object) -> object:
        if isinstance(value, bool):
            return ("bool", value)
        if isinstance(value, list):
            return [mark(item) for item in value]
        return {key: mark(item) for key, item in value.items()} if isinstance(value, dict) else value

    return mark(reference.loads(text, parse_int=Fraction, parse_float=Fraction))


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_json_allows_is_accepted(text: bytes) -> None:
    assert verdict(text)[0] == "fine"
    orjson.loads(text)


@pytest.mark.parametrize("text", REFUSED)
def test_what_json_does_not_allow_is_refused_with_its_place(text: bytes) -> None:
    assert verdict(text) == REFUSED[text]
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(text)
    with pytest.raises(json.JsonTextError, match=f"at byte {REFUSED[text][1]}:"):
        json.Json(text)


@pytest.mark.parametrize("text", DUPLICATES)
def test_a_key_that_stands_twice_is_refused(text: bytes) -> None:
    assert verdict(text) == ("duplicate", DUPLICATES[text])


@given(damaged())
@settings(max_examples=400)
def test_the_verdict_is_that_of_orjson(text: bytes) -> None:
    kind = verdict(text)[0]
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        assert kind not in {"fine", "duplicate"}
        return
    if kind == "duplicate":
        with pytest.raises(LookupError):
            reference.loads(text, object_pairs_hook=once)
        return
    with json.Json(text) as kept:
        assert orjson.loads(kept.text) == value


@given(st.one_of(damaged(), written()))
@settings(max_examples=200)
def test_each_way_of_scanning_gives_the_same(text: bytes) -> None:
    assert verdict(text, 0) == verdict(text, 1) == verdict(text, 2)


def test_utf8_is_what_python_takes_wherever_it_stands() -> None:
    borders = bytes.fromhex("22 41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")
    pads = [b"x" * size for size in (0, 27, 29, 30, 31, 63)]
    for number, sequence in enumerate(itertools.product(borders[1:], repeat=3)):
        middle = bytes(sequence) + (b"\x80" if sequence[0] >= 0xF0 else b"")
        text = b'"' + "é".encode() + pads[number % 6] + middle + pads[number // 6 % 6] + b'"'
        try:
            text.decode()
            expected = ("fine", json.check_text(text, cpu=0))
        except UnicodeDecodeError as error:
            expected = ("utf8", error.start)
        assert verdict(text) == expected


@given(st.one_of(st.binary(min_size=70, max_size=200), st.text().map(str.encode)))
@settings(max_examples=200)
def test_utf8_is_checked_the_same_in_each_way(data: bytes) -> None:
    text = b'"' + "é".encode() * 40 + data.translate(None, b'"\\') + "€".encode() * 30 + b'"'
    assert verdict(text, 0) == verdict(text, 1) == verdict(text, 2)


@given(written())
@settings(max_examples=200)
def test_a_kept_text_is_canonical_and_has_the_same_value(text: bytes) -> None:
    with json.Json(text) as kept:
        assert worth(kept.text) == worth(text)
        assert not re.search(r"\s", re.sub(r'"(\\.|[^"\\])*"', "", kept.text.decode()))
        assert kept.size == len(kept.text) <= len(text)
        assert kept.memory <= 2 * kept.size + 200
        with json.Json(kept.text) as again:
            assert again.text == kept.text
            assert again.hash() == kept.hash()
    plain = orjson.dumps(orjson.loads(text))
    with json.Json(plain) as kept:
        assert kept.text == plain


@given(values, values, st.booleans())
@example([1, 2], [1.0, 2e0], True)
def test_equality_is_by_worth_in_any_order_of_members(one: object, other: object, same: bool) -> None:  # noqa: FBT001
    if same:
        other = one
    first = orjson.dumps(one)
    second = reference.dumps(other, sort_keys=True, indent=1).encode()
    equal = worth(first) == worth(second)
    assert json.are_equal(first, second) is equal
    if equal:
        assert json.Json(first).hash() == json.Json(second).hash()


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (b"1", b"1.0", True), (b"1", b"10e-1", True), (b"-0.0", b"0", True), (b"0e7", b"0", True), (b"-1", b"1", False),
        (b"9007199254740993", b"9007199254740992", False), (b"0.1", b"0.10000000000000000001", False),
        (b"1e2", b"100.00", True), (b"0.001e3", b"1", True), (b"1.25", b"125e-2", True), (b"12", b"1.25", False),
        (b"1", b"true", False), (b'"1"', b"1", False), (b"null", b"false", False), (b"[]", b"{}", False),
        (b'"\\u0041"', b'"A"', True), (b'"e\xcc\x81"', b'"\xc3\xa9"', False), (b"[1,2]", b"[2,1]", False),
        (b'{"a":1,"b":[2]}', b'{"b":[2.0],"a":1}', True), (b'{"a":1}', b'{"b":1}', False), (b"[1]", b"[1,1]", False),
        (b'{"a":1,"b":2}', b'{"a":1}', False), (b'{"a":{"b":[1,{"c":2}]}}', b'{"a":{"b":[1,{"c":2e0}]}}', True),
    ],
)  # fmt: skip
def test_values_are_equal(one: bytes, other: bytes, equal: bool) -> None:  # noqa: FBT001
    assert json.are_equal(one, other) is json.are_equal(other, one) is equal
    assert (json.Json(one).hash() == json.Json(other).hash()) is equal


def test_large_objects_are_equal_in_any_order() -> None:
    members: dict[str, object] = {f"key {number}": [number, {"x": "y" * (number % 90)}] for number in range(3000)}
    backwards = dict(reversed(members.items()))
    first, second = json.Json(orjson.dumps(members)), json.Json(orjson.dumps(backwards))
    assert first.equals(second)
    assert first.hash() == second.hash()
    backwards["key 7"] = None
    assert not first.equals(json.Json(orjson.dumps(backwards)))


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b",".join([b"1"] * 5000) + b"]",
        b"[" + b",".join([b"[" * 500 + b"]" * 500] * 20) + b"]",
        b'{"data":[' + b",".join([b'{"a":"' + b"x" * 60 + b'"}'] * 500) + b"]}",
        b"[" * 1000 + b'"' + b"x" * 5000 + b'"' + b"]" * 1000,
    ],
)
def test_a_kept_text_takes_less_than_twice_its_bytes(text: bytes) -> None:
    with json.Json(text) as kept:
        assert kept.size <= kept.memory <= 1.5 * kept.size + 200


def test_any_buffer_of_bytes_is_a_text() -> None:
    assert json.Json(bytearray(b"[1]")).text == b"[1]"
    assert json.Json(memoryview(b"xx[1]yy")[2:5]).text == b"[1]"


def test_a_closed_document_says_so() -> None:
    kept = json.Json(b"1")
    kept.close()
    kept.close()
    with pytest.raises(ValueError, match="closed"):
        _ = kept.text


@pytest.mark.parametrize("depth", [-1, json.DEPTH_MAX + 1])
def test_a_depth_that_can_not_be_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="levels"):
        json.Json(b"1", depth=depth)
    with pytest.raises(ValueError, match="scanning"):
        json.check_text(b"1", cpu=3)


def test_fewer_levels_can_be_allowed() -> None:
    assert json.Json(b"1", depth=0).text == b"1"
    assert json.Json(b"[[1]]", depth=2).size == 5
    with pytest.raises(json.JsonTextError) as caught:
        json.Json(b"[[[1]]]", depth=2)
    assert (caught.value.kind, caught.value.position) == ("deep", 2)
    assert json.Json(b"[" * 4096 + b"]" * 4096, depth=4096).hash()


def test_an_error_can_be_sent_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(json.JsonTextError("utf8", 7)))  # noqa: S301 - our own
    assert (error.kind, error.position, str(error)) == ("utf8", 7, str(json.JsonTextError("utf8", 7)))


def test_documents_of_different_threads_do_not_disturb_each_other() -> None:
    texts = [orjson.dumps([{"k": [number] * size} for size in range(200)]) for number in range(4)]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            with json.Json(texts[number]) as kept:
                if kept.text != texts[number]:
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("size", [0, 3, 4, 255, 258, 259, 260, 515, 700, 1100])
def test_the_word_null_is_found_wherever_it_stands(size: int) -> None:
    text = (b"nul-ull-" * 200)[:size]
    assert not json.holds_null(text)
    for at in range(size - 3):
        assert json.holds_null(text[:at] + b"null" + text[at + 4 :]), at
