"""Records of events: what is packed is what is unpacked, and nothing else passes."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche_native import events

acts = st.sampled_from(sorted(events.ACTS.values()))
paths = st.binary(max_size=40).map(lambda text: text.replace(b"\0", b"/"))
u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
pids = st.integers(0, 2**31 - 1)
records: st.SearchStrategy[dict[str, object]] = st.builds(
    dict, act=acts, source=st.integers(0, 3), number=u64, time_ns=u64, sandbox=u32, flags=st.integers(0, 0x1FFFF),
    pid=pids, tid=pids, call=st.integers(-1, 2**31 - 1), exec=u32, result=st.integers(-(2**63), 2**63 - 1),
    args=st.tuples(u64, u64, u64, u64), path=paths, resolved=paths, target=paths, target_resolved=paths,
)  # fmt: skip


@given(st.lists(records, max_size=5))
def test_what_is_packed_is_what_is_unpacked(asked: list[dict[str, object]]) -> None:
    raw = b"".join(events.pack(**one) for one in asked)  # type: ignore[arg-type]
    assert events.check(raw) == len(asked)
    assert [one._asdict() for one in events.iterate(raw)] == asked


def plain_check(raw: bytes) -> int:
    """Say what a batch is, from cdef.h's words: how many records, or -1 - the offset of the bad one."""
    at = count = 0
    while at < len(raw):
        if len(raw) - at < 96:
            return -1 - at
        fields = struct.unpack_from("=IHHQQIIiiiIq4Q4H", raw, at)
        size, act, source, flags, sizes = fields[0], fields[1], fields[2], fields[6], fields[-4:]
        texts, begin = [], at + 96
        for length in sizes:
            texts.append(raw[begin : begin + length])
            begin += length
        good = (
            act in events.ACT_NAMES and source < 4 and flags < 0x20000
            and fields[7] >= 0 and fields[8] >= 0 and fields[9] >= -1
            and max(sizes) <= 4095 and size == -(-(96 + sum(sizes)) // 8) * 8 and size <= len(raw) - at
            and not any(raw[begin : at + size])
        )  # fmt: skip
        if not good or any(b"\0" in text for n, text in enumerate(texts) if n != 2 or act in {6, 7, 8, 30}):
            return -1 - at
        at, count = at + size, count + 1
    return count


def checked(raw: bytes | bytearray | memoryview) -> int:
    try:
        return events.check(raw)
    except events.BadRecord as error:
        return -1 - error.offset


@given(st.lists(records, min_size=1, max_size=3), st.data())
def test_a_changed_byte_or_a_cut_is_judged_as_the_plain_reading_does(
    asked: list[dict[str, object]], data: st.DataObject
) -> None:
    raw = bytearray(b"".join(events.pack(**one) for one in asked))  # type: ignore[arg-type]
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    assert checked(raw) == plain_check(bytes(raw))
    assert checked(cut) == plain_check(cut)


@given(st.binary(max_size=400))
def test_any_bytes_are_checked_at_any_address(raw: bytes) -> None:
    assert checked(raw) == plain_check(raw)
    assert checked(memoryview(b"x" + raw)[1:]) == plain_check(raw)


def good() -> bytes:
    return events.pack(act="rename", path=b"/a", target=b"/b")


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (0, b"\x0c\0\0\0", "size"), (0, b"\xff\xff\xff\xff", "size"), (0, b"\x61\0\0\0", "size"),
        (0, b"\x70\0\0\0", "cut off"), (4, b"\x2a\0", "act"), (4, b"\xff\xff", "act"), (6, b"\4\0", "source"),
        (28, b"\0\0\2\0", "flags"), (32, b"\xff\xff\xff\xff", "number"), (40, b"\xfe\xff\xff\xff", "number"),
        (88, b"\xff\xff", "texts"), (88, b"\0\0", "zeros"), (96, b"\0", "NUL"), (99, b"\0", "NUL"),
        (103, b"x", "zeros"),
    ],
)  # fmt: skip
def test_a_bad_record_is_named_by_its_offset_and_what_is_wrong(at: int, value: bytes, reason: str) -> None:
    bad = bytearray(good())
    bad[at : at + len(value)] = value
    with pytest.raises(events.BadRecord, match=f"byte 104 is bad: .*{reason}") as caught:
        events.check(good() + bad)
    assert caught.value.offset == 104


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"act": "nothing"}, "act 'nothing' is unknown; there are open, write-open"), ({"act": 42}, "unknown"),
        ({"act": "open", "source": 4}, "source"), ({"act": "open", "path": b"x" * 4096}, "4096 bytes"),
        ({"act": "open", "resolved": b"a\0"}, "NUL in resolved"), ({"act": "mount", "target": b"a\0"}, "NUL"),
        ({"act": "rename", "target_resolved": b"a\0"}, "NUL in target_resolved"),
        ({"act": "open", "args": (1, 2, 3, 4, 5)}, "four arguments"), ({"act": "open", "args": (2**64,)}, "fit"),
        ({"act": "open", "args": (-(2**64) - 1,)}, "fit"), ({"act": "open", "pid": -1}, "pid=-1"),
        ({"act": "open", "flags": 0x20000}, "flags"), ({"act": "open", "sandbox": -1}, "fit"),
    ],
)  # fmt: skip
def test_what_a_record_cannot_hold_is_refused_when_packed(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        events.pack(**fields)  # type: ignore[arg-type]


def test_the_largest_record_there_can_be_holds_four_whole_texts() -> None:
    text = b"p" * events.TEXT_MAX
    raw = events.pack(act="link", path=text, resolved=text, target=text, target_resolved=text)
    assert len(raw) == events.RECORD_MAX
    assert events.check(raw) == 1


def test_arguments_of_programs_and_addresses_may_hold_a_nul() -> None:
    for act in ("exec", "connect"):
        raw = events.pack(act=act, target=b"a\0b\0")
        assert events.unpack(raw).target == b"a\0b\0"


def test_what_of_the_environment_steers_stands_beside_the_arguments_of_a_program_alone() -> None:
    raw = bytearray(events.pack(act="exec", path=b"/sh", target=b"sh\0", target_resolved=b"A=b\0C=d\0"))
    assert events.check(raw) == 1
    assert events.unpack(bytes(raw)).target_resolved == b"A=b\0C=d\0"
    raw[4:6] = events.ACTS["memfd"].to_bytes(2, sys.byteorder)
    with pytest.raises(events.BadRecord, match="NUL"):
        events.check(raw)


def test_unpacking_where_no_record_is_says_so() -> None:
    for offset in (-1, 1, 104, 10**9):
        with pytest.raises(events.BadRecord):
            events.unpack(good(), offset)
    with pytest.raises(events.BadRecord):
        list(events.offsets(good() + bytes(96)))
    with pytest.raises(events.BadRecord):
        list(events.offsets(good() + b"x"))


def test_names_of_acts_are_those_of_the_c_side() -> None:
    assert (events.ACTS["open"], events.ACTS["write-open"], events.ACTS["lost"]) == (0, 1, 56)
    assert events.SOURCES == {"guest": 0, "files": 1, "life": 2, "other": 3}
    assert (events.FLAGS["denied"], events.FLAGS["text-kernel"], events.FLAGS["matched"]) == (0x200, 1, 0x10000)
