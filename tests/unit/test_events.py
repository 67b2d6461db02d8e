"""``Event`` and ``EventBatch``: what a record says, and that nothing in it is believed before it was checked."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import Act, Event, EventBatch, EventFlag, Origin, Source, SpecError
from cloche.events.acts import FLAGS
from cloche.events.meaning import MEANINGS
from cloche_native import events as native

HERE = Origin({7: "abc"}, clock=5_000_000_000, machine="x86_64")
paths = st.binary(max_size=60).map(lambda raw: raw.replace(b"\0", b"/"))
records = st.fixed_dictionaries({
    "act": st.sampled_from([act.number for act in Act]),
    "source": st.integers(0, 3),
    "number": st.integers(1, (1 << 64) - 1),
    "time_ns": st.integers(0, 1 << 62),
    "sandbox": st.sampled_from([7, 8]),
    "flags": st.integers(0, FLAGS.value),
    "pid": st.integers(0, (1 << 31) - 1),
    "tid": st.integers(0, (1 << 31) - 1),
    "call": st.integers(-1, 500),
    "exec": st.integers(0, (1 << 32) - 1),
    "result": st.integers(-(1 << 63), (1 << 63) - 1),
    "args": st.tuples(*[st.integers(0, (1 << 64) - 1)] * 4),
    "path": paths, "resolved": paths, "target": paths, "target_resolved": paths,
})  # fmt: skip


def one(**fields: object) -> Event:
    whole: dict[str, Any] = {"act": Act.OPEN.number, "number": 1, "sandbox": 7, **fields}
    (event,) = EventBatch(native.pack(**whole), HERE)
    return event


def test_acts_sources_and_flags_have_the_numbers_of_the_record() -> None:
    assert {act.value: act.number for act in Act} == native.ACTS
    assert {source.value: source.number for source in Source} == native.SOURCES
    single = {str(flag.name).lower().replace("_", "-"): flag.value for flag in EventFlag if flag.value > 0x80}
    assert single == {name: bit for name, bit in native.FLAGS.items() if bit > 0x80}
    assert (native.FLAGS["text-kernel"], native.FLAGS["arg-kernel"]) == (EventFlag.PATH_KERNEL, EventFlag.ARG0_KERNEL)
    assert set(MEANINGS) == set(Act)


@given(st.lists(records, max_size=5))
def test_what_was_packed_is_read(made: list[dict[str, Any]]) -> None:
    batch = EventBatch(b"".join(native.pack(**fields) for fields in made), HERE)
    assert len(batch) == len(made)
    for event, fields in zip(batch, made, strict=True):
        assert (event.act.number, event.source.number) == (fields["act"], fields["source"])
        for name in ("number", "time_ns", "pid", "tid", "exec", "args", "flags"):
            assert getattr(event, name) == fields[name]
        assert event.sandbox == {7: "abc", 8: "#8"}[fields["sandbox"]]
        assert event.result == (fields["result"] if event.flags & EventFlag.RESULT else None)
        for name in ("path", "resolved", "target", "target_resolved"):
            text = getattr(event, name)
            assert (text or "").encode("utf-8", "surrogateescape") == fields[name]
        assert str(event).isprintable()
        assert repr(event).isprintable()
        json.loads(json.dumps(event.as_json(), allow_nan=False))


@given(st.lists(records, min_size=1, max_size=3), st.data())
def test_bytes_that_were_changed_are_refused_or_still_whole_records(
    made: list[dict[str, Any]], data: st.DataObject
) -> None:
    raw = bytearray(b"".join(native.pack(**fields) for fields in made))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        batch = EventBatch(cut, HERE)
    except SpecError:
        return
    events = list(batch)
    assert len(events) == len(batch)
    assert b"".join(event.raw for event in events) == cut
    for event in events:
        assert str(event).isprintable()
        event.as_json()


@pytest.mark.parametrize("raw", [b"\0" * 96, b"x", b"\xff" * 200, 3, "text", None, bytearray(96)])
def test_what_is_no_batch_is_refused(raw: object) -> None:
    with pytest.raises(SpecError, match="events: "):
        EventBatch(raw)  # type: ignore[arg-type]


def test_time_is_of_the_clock_on_the_wall() -> None:
    assert one(time_ns=2_500_000_000).time == 7.5
    assert one(time_ns=3).time_ns == 3


def test_a_call_has_its_name_on_the_machine_of_its_record() -> None:
    assert one(call=257).call == "openat"
    assert one(call=-1).call is None
    assert one(call=9999).call == "9999"
    (event,) = EventBatch(one(call=56).raw, Origin(machine="aarch64"))
    assert event.call == "openat"
    (event,) = EventBatch(one(call=56).raw, Origin(machine="vax"))
    assert event.call == "56"


def test_what_lay_in_memory_of_the_guest_is_claimed() -> None:
    event = one(path=b"/a", resolved=b"/b", flags=EventFlag.RESOLVED_KERNEL | EventFlag.ARG0_KERNEL)
    assert [event.claimed(name) for name in ("path", "resolved", "target", "arg0", "arg1")] == [
        True, False, False, False, True,
    ]  # fmt: skip
    with pytest.raises(SpecError, match="claimed: 'pid' is unknown"):
        event.claimed("pid")


def test_a_line_steers_no_terminal_and_is_one_line() -> None:
    event = one(path=b"/a\x1b[2J\nb\xff", result=-13, flags=EventFlag.RESULT | EventFlag.DENIED, pid=42)
    assert str(event) == "abc open /a\\x1b[2J\\nb\\xff pid 42 -EACCES denied"
    event = one(act=Act.EXEC.number, path=b"sh", resolved=b"/bin/sh", target=b"sh\0-c\0true\0", result=0)
    assert str(event) == "abc exec /bin/sh sh -c true"
    assert len(str(one(path=b"/" + b"x" * 4000))) < 500


def test_json_names_arguments_by_the_act_and_keeps_bytes_that_are_no_text() -> None:
    event = one(
        act=Act.RENAME.number, path=b"/a", target=b"/\xff", args=(1, 2, 3, 4), call=264, number=9, exec=2,
        flags=EventFlag.PATH_KERNEL | EventFlag.MATCHED, source=1, time_ns=0,
    )  # fmt: skip
    assert event.as_json() == {
        "act": "rename", "source": "files", "number": 9, "time": 5.0, "sandbox": "abc", "exec": 2, "call": "renameat",
        "args": {"flags": 1}, "path": "/a", "target": {"base64": "L/8="}, "flags": ["matched"], "claimed": ["target"],
    }  # fmt: skip


def test_events_of_the_same_record_are_equal_and_none_can_be_changed() -> None:
    event = one(path=b"/a")
    assert event == one(path=b"/a")
    assert event != one(path=b"/b")
    assert len({event, one(path=b"/a")}) == 1
    with pytest.raises(FrozenInstanceError):
        event.raw = b""  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):  # TypeError: a fault of Python 3.11 with slots
        event.act = Act.EXEC  # type: ignore[misc]
