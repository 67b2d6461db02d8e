"""gVisor's messages: what C makes of them is what a plain reading does, whatever they are."""

from __future__ import annotations

import platform
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche_native import events
from cloche_native.events import ACTS, FLAGS
from cloche_native.seccheck import PACKET_MAX, Decoder, decode, joined
from tests.native import sentry_messages as say
from tests.native.reference_seccheck import PlainDecoder

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="call numbers here are x86_64's")

SECOND = 1_000_000_000
SHADOWS = frozenset({257, 59, 83, 87, 42})


def plain(
    packets: Iterable[tuple[bytes, int]], *, shadows: frozenset[int] = SHADOWS, init: bool = True
) -> tuple[list[events.Record], tuple[int, ...]]:
    decoder = PlainDecoder(sandbox=9, shadows=shadows, init=init)
    told = [
        raw for packet, now in packets for raw in decoder.feed(packet[:PACKET_MAX], now, cut=len(packet) > PACKET_MAX)
    ]
    told += decoder.flush(0)
    records = [events.unpack(raw)._replace(number=n, time_ns=0) for n, raw in enumerate(told, 1)]
    return records, (decoder.packets, decoder.bad, decoder.unknown, decoder.dropped)


def native(
    packets: Iterable[tuple[bytes, int]], *, shadows: frozenset[int] = SHADOWS, init: bool = True
) -> tuple[list[events.Record], tuple[int, ...]]:
    decoder = Decoder(sandbox=9, shadows=shadows, init=init)
    raw = b"".join(decoder.feed([packet], time_ns=now) for packet, now in packets) + decoder.flush()
    events.check(raw)
    return [record._replace(time_ns=0) for record in events.iterate(raw)], decoder.counts()[:4]


def one(packet: bytes, **options: object) -> events.Record:
    raw, _ = decode([packet], **options)  # type: ignore[arg-type]
    (record,) = events.iterate(raw)
    return record


@given(st.lists(say.packets() | say.broken(), max_size=12), st.data())
def test_any_messages_are_told_as_the_plain_reading_tells_them(packets: list[bytes], data: st.DataObject) -> None:
    timed, now = [], 5 * SECOND
    for packet in packets:
        now += data.draw(st.sampled_from([0, 0, 1, SECOND // 2, SECOND]))
        timed.append((packet, now))
    init = data.draw(st.booleans())
    assert native(timed, init=init) == plain(timed, init=init)


@given(say.broken())
def test_one_packet_of_any_bytes_is_told_as_the_plain_reading_tells_it(packet: bytes) -> None:
    assert native([(packet, SECOND)]) == plain([(packet, SECOND)])


@given(say.packets(), st.integers(0, 3000))
def test_a_packet_that_was_too_long_is_told_as_far_as_it_goes(packet: bytes, kept: int) -> None:
    decoder = PlainDecoder(sandbox=0, shadows=frozenset(), init=False)
    wanted = [events.unpack(raw) for raw in (*decoder.feed(packet[:kept], 0, cut=True), *decoder.flush(0))]
    head = struct.pack("=I", len(packet[:kept]) | 0x80000000)
    ours = Decoder()
    raw = ours.feed_joined(head + packet[:kept]) + ours.flush()
    assert [record._replace(number=0) for record in events.iterate(raw)] == wanted
    assert ours.counts().bad == decoder.bad


def test_packets_at_once_are_told_as_one_by_one() -> None:
    packets = [say.call(7, "openat", {4: -100, 6: f"/tmp/{n}".encode(), 7: n}, end=say.ended(n)) for n in range(20_000)]
    raw, counts = decode(packets)
    assert counts.records == counts.packets == len(packets)
    assert [record.path for record in events.iterate(raw)] == [f"/tmp/{n}".encode() for n in range(20_000)]
    assert events.check(raw) == len(packets)


def test_what_is_joined_and_cut_off_counts_as_bad() -> None:
    whole = joined([say.call(37, "listen")])
    decoder = Decoder()
    assert decoder.feed_joined(whole[:-1]) == b""
    assert decoder.feed_joined(whole[:3]) == b""
    assert decoder.counts()[:2] == (2, 2)


@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        (
            say.call(7, "openat", {4: -100, 6: b"../a", 7: 0}, who=say.context(cwd=b"/w/x"), end=say.ended(3)),
            {"act": "open", "path": b"/w/a", "result": 3, "flags": 0x4030, "pid": 7, "tid": 7, "call": 257},
        ),
        (say.call(7, "openat", {4: 5, 5: b"/etc", 6: b"shadow", 7: 1}), {"act": "write-open", "path": b"/etc/shadow"}),
        (say.call(7, "openat", {4: 5, 6: b"shadow"}), {"act": "open", "path": b"shadow", "flags": 0x830}),
        (say.call(7, "creat", {4: -100, 6: b"/x", 8: 0o600}), {"act": "create", "args": (577, 0o600, 0, 0)}),
        (
            say.call(10, "connect", {4: 3, 6: b"\x02\0\0\x50\x0a\0\0\1" + bytes(8)}, end=say.ended(0, 111)),
            {"act": "connect", "target": b"10.0.0.1", "args": (2, 80, 0, 0), "result": -111, "flags": 0x4000},
        ),
        (say.call(24, "bind", {6: b"\x01\0/run/s"}), {"act": "bind", "target": b"/run/s", "args": (1, 0, 0, 0)}),
        (say.call(12, "socket", {4: 2, 5: 1}), {"act": "socket", "args": (2, 1, 0, 0), "flags": 0x70}),
        (say.call(13, "fchdir", {4: 3, 5: b"/srv"}), {"act": "chdir", "resolved": b"/srv", "flags": 2}),
        (say.call(14, "setuid", {4: 0}), {"act": "setid", "flags": 0x10}),
        (say.call(15, "setresgid", {4: 1, 5: 2, 6: 3}), {"act": "setid", "args": (1, 2, 3, 0)}),
        (say.call(16, "prlimit64", {4: 9, 5: 7}), {"act": "limit", "args": (9, 7, 0, 0)}),
        (say.call(21, "chroot", {4: b"/j"}), {"act": "chroot", "path": b"/j"}),
        (say.call(23, "clone", {4: 0x10000000}), {"act": "namespace", "args": (0x10000000, 0, 0, 0)}),
        (
            say.call(9, "read", {4: 3, 5: b"/etc/shadow", 6: 99}),
            {"act": "read", "resolved": b"/etc/shadow", "flags": 0x12},
        ),
        (say.call(6, "unlink", {5: 1}), {"act": "unlink", "flags": 0x800}),
        (say.call(6, "rmdir", {5: 1}), {"act": "unlink", "flags": 0x810, "args": (0x200, 0, 0, 0)}),
        (say.call(6, "ptrace", {5: 16, 6: 4}), {"act": "ptrace", "args": (16, 4, 0, 0), "flags": 0x30}),
        (say.call(6, "kill", {5: 4, 6: 9}), {"act": "signal", "args": (4, 9, 0, 0)}),
        (
            say.packet(2, say.fields({1: say.context(), 3: 12, 4: 12, 6: 17})),
            {"act": "fork", "result": 12, "args": (17, 0, 0, 0), "call": -1},
        ),
        (say.packet(4, say.fields({1: say.context(), 2: 7 << 8})), {"act": "exit", "result": 7, "args": (7, 0, 0, 0)}),
        (say.packet(4, say.fields({1: say.context(), 2: 9})), {"act": "exit", "result": -9, "args": (137, 0, 0, 0)}),
    ],
)
def test_a_message_is_the_act_that_it_is(packet: bytes, wanted: dict[str, object]) -> None:
    record = one(packet)
    given_ = {name: events.ACT_NAMES[record.act] if name == "act" else getattr(record, name) for name in wanted}
    assert given_ == wanted


@pytest.mark.parametrize(
    "packet",
    [
        say.call(8, "read"), say.call(14, "setsid"), say.call(16, "prlimit64", {5: 7}), say.call(23, "clone", {4: 17}),
        say.call(29, "fork"), say.packet(1, b""), say.packet(5, say.fields({1: say.context()})),
        say.packet(2, say.fields({1: say.context(), 3: 8, 4: 7, 6: 0x10000})), say.call(6, "read", {5: 1}),
    ],
)  # fmt: skip
def test_what_is_no_act_is_not_told(packet: bytes) -> None:
    raw, counts = decode([packet])
    assert (raw, counts.bad, counts.unknown) == (b"", 0, 0)


@pytest.mark.parametrize(
    "packet",
    [
        b"", b"\x08", struct.pack("<HHI", 7, 7, 0), struct.pack("<HHI", 9, 7, 0), struct.pack("<HHI", 65535, 7, 0),
        say.packet(7, b""), say.call(7, "read", {6: b"/x"}), say.call(11, "openat"),
        say.packet(7, b"\x0a\xff\xff\xff\xff\x0f"), say.packet(7, b"\x18" + b"\x80" * 10), say.packet(7, b"\x1b\x1c"),
        say.packet(7, b"\x18" + b"\xff" * 9 + b"\x02"), say.packet(7, b"\x00\x01"), say.call(7, "open", {6: b"/a\0b"}),
        say.call(37, "listen", who=say.fields({2: -1})), say.call(37, "listen", end=say.fields({2: 4096})),
        say.call(7, "open", {6: 5}), say.call(7, "open", {7: b"x"}), say.packet(37, say.field(1, 5)),
        say.packet(37, say.fields({3: 50}) + b"\x0a\x02\x10"),
        say.packet(37, say.fields({3: 50}) + b"\x0d\x01\x02\x03\x04"),
    ],
)  # fmt: skip
def test_what_is_no_message_is_counted_and_changes_nothing(packet: bytes) -> None:
    raw, counts = decode([packet])
    assert (raw, counts.bad, counts.packets) == (b"", 1, 1)


def test_unknown_types_and_drops_are_counted() -> None:
    counts = decode([say.packet(0, b"\xff"), say.packet(39, b"", dropped=7), say.packet(37, b"\xff", dropped=5)])[1]
    assert counts[:4] == (3, 1, 2, 7)


def test_nesting_however_deep_is_not_followed() -> None:
    deep = b""
    for _ in range(5000):
        deep = say.field(7, deep)
    record = one(say.packet(37, say.fields({1: say.context() + deep, 3: 50}) + say.field(20, deep)))
    assert record.act == ACTS["listen"]


def test_a_call_that_only_its_registers_tell_of_is_told_without_its_text() -> None:
    """A text that is no UTF-8 keeps the sentry from sending the message that has it."""
    raw_open = say.call(6, "openat", {5: -100, 6: 4096, 7: 577})
    seen = say.call(7, "openat", {4: -100, 6: b"/x", 7: 577})
    other = say.call(37, "listen")
    raw, counts = decode([raw_open, seen, raw_open, other], shadows=[257])
    acts = [
        (events.ACT_NAMES[record.act], record.path, bool(record.flags & FLAGS["unreadable"]))
        for record in events.iterate(raw)
    ]
    assert acts == [("create", b"/x", False), ("create", b"", True), ("listen", b"", False)]
    assert counts.unreadable == 1


def test_what_is_held_is_told_after_a_second_or_at_the_end() -> None:
    decoder = Decoder(shadows=[257])
    raw_open = say.call(6, "openat", {5: -100, 6: 4096})
    assert decoder.feed([raw_open], time_ns=SECOND) == b""
    assert decoder.feed([say.packet(1, b"")], time_ns=2 * SECOND - 1) == b""
    (record,) = events.iterate(decoder.feed([say.packet(1, b"")], time_ns=2 * SECOND))
    assert (record.act, record.time_ns) == (ACTS["open"], 2 * SECOND)
    assert decoder.feed([raw_open], time_ns=3 * SECOND) == b""
    assert len(list(events.iterate(decoder.flush()))) == 1


def test_a_raw_call_with_its_result_is_one_record() -> None:
    enter, leave = say.call(6, "mkdir", {5: 1, 6: 0o755}), say.call(6, "mkdir", {5: 1, 6: 0o755}, end=say.ended(0, 17))
    (record,) = events.iterate(decode([enter, leave], shadows=[83])[0])
    assert (record.act, record.result, record.args[0]) == (ACTS["mkdir"], -17, 0o755)


def execve(path: bytes, argv: list[bytes], **options: bytes) -> bytes:
    return say.call(11, "execve", {6: path, 7: argv}, **options)


def executed(path: bytes, argv: list[bytes], env: list[bytes], who: bytes = b"") -> bytes:
    return say.packet(3, say.fields({1: who or say.context(), 2: path, 3: argv, 4: env}))


def test_a_start_is_told_once_with_what_was_asked_and_what_it_became() -> None:
    asked = execve(b"true", [b"true", b"x"], who=say.context(cwd=b"/bin"))
    became = executed(b"/usr/bin/true", [b"true", b"x"], [b"HOME=/", b"LD_PRELOAD=/e.so"])
    done = execve(b"true", [b"true"], end=say.ended())
    (record,) = events.iterate(decode([asked, became, done])[0])
    assert (record.path, record.resolved) == (b"/bin/true", b"/usr/bin/true")
    assert (record.target, record.target_resolved) == (b"true\0x\0", b"LD_PRELOAD=/e.so\0")
    assert record.flags == FLAGS["text-kernel"] * 0b1110


def test_a_start_that_fails_is_told_with_its_result() -> None:
    (record,) = events.iterate(decode([execve(b"/no", [b"no"]), execve(b"/no", [b"no"], end=say.ended(0, 2))])[0])
    assert (record.path, record.result) == (b"/no", -2)


def test_a_start_of_which_nothing_more_is_heard_is_told_as_it_was_asked() -> None:
    raw, _ = decode([execve(b"/a", [b"a"]), say.call(37, "listen"), execve(b"/b", [b"b"])])
    assert [record.path for record in events.iterate(raw)] == [b"/a", b"", b"/b"]


def test_more_starts_at_once_than_are_held_are_all_told() -> None:
    raw, counts = decode([execve(b"/x", [b"x"], who=say.context(tid, tid)) for tid in range(10, 40)])
    assert [record.tid for record in events.iterate(raw)] == list(range(10, 40))
    assert counts.records == 30


def test_arguments_and_environment_are_cut_where_the_supervisor_cuts_them() -> None:
    became = executed(b"/x", [b"a" * 2000, b"b"], [b"PATH=" + b"p" * 600, *[b"ENV=" + b"e" * 500] * 9])
    record = one(became)
    assert record.target == b"a" * 1023 + b"\0"
    assert record.target_resolved[:512] == b"PATH=" + b"p" * 506 + b"\0"
    assert len(record.target_resolved) <= events.TEXT_MAX
    assert record.flags & FLAGS["cut"]


def test_what_the_init_of_a_box_does_is_no_act_and_its_children_have_the_number_of_their_exec() -> None:
    init, child, grandchild = say.context(1, 1), say.context(5, 5, name=b"exec-42"), say.context(6, 6)
    packets = [
        say.call(37, "listen", who=init),
        say.packet(2, say.fields({1: init, 3: 5, 4: 5, 6: 17})),
        say.call(37, "listen", who=child),
        executed(b"/bin/sh", [b"sh"], [], child),
        say.call(37, "listen", who=child),
        say.packet(2, say.fields({1: child, 3: 6, 4: 6, 6: 17})),
        executed(b"/bin/ls", [b"ls"], [], say.context(6, 6, name=b"exec-99")),
        say.packet(4, say.fields({1: grandchild, 2: 0})),
        say.packet(4, say.fields({1: init, 2: 0})),
    ]
    told = list(events.iterate(decode(packets, init=True)[0]))
    assert [events.ACT_NAMES[record.act] for record in told] == ["exec", "listen", "fork", "exec", "exit"]
    assert {record.exec for record in told} == {42}
    assert len(list(events.iterate(decode(packets, init=False)[0]))) == 9


def test_whose_a_process_is_that_executes_nothing_the_init_of_its_box_says_alone() -> None:
    init, worker, child = say.context(1, 1), say.context(5, 5, name=b"exec-4294967295"), say.context(6, 6)
    packets = [
        say.packet(2, say.fields({1: init, 3: 5, 4: 5, 6: 17})),
        executed(b"/usr/bin/python3", [b"python3"], [], worker),
        say.packet(2, say.fields({1: worker, 3: 6, 4: 6, 6: 17})),
        say.call(6, "nfsservctl", {5: 6, 6: 99}, who=worker),
        say.call(37, "listen", who=child),
        say.call(6, "nfsservctl", {5: 6, 6: 42}, who=init),
        say.call(37, "listen", who=child),
        say.call(6, "nfsservctl", {5: 1 << 31, 6: 42}, who=init),
        say.call(6, "nfsservctl", {5: 77, 6: 43}, who=init),
        say.call(37, "listen", who=say.context(77, 77)),
    ]
    told = list(events.iterate(decode(packets, init=True)[0]))
    assert [(events.ACT_NAMES[record.act], record.exec) for record in told] == [
        ("exec", 0xFFFFFFFF), ("fork", 0xFFFFFFFF), ("listen", 0xFFFFFFFF), ("listen", 42), ("listen", 43),
    ]  # fmt: skip


def test_the_current_folder_is_tracked_where_messages_do_not_say_it() -> None:
    packets = [
        say.call(13, "chdir", {4: -100, 6: b"/srv"}, end=say.ended()),
        say.packet(2, say.fields({1: say.context(), 3: 8, 4: 8, 6: 17})),
        say.call(13, "chdir", {4: -100, 6: b"in"}, end=say.ended()),
        say.call(13, "chdir", {4: -100, 6: b"not"}, end=say.ended(0, 2)),
        say.call(7, "openat", {4: -100, 6: b"a"}),
        say.call(7, "openat", {4: -100, 6: b"b"}, who=say.context(8, 8)),
        say.call(7, "openat", {4: -100, 6: b"c"}, who=say.context(9, 9)),
    ]
    told = list(events.iterate(decode(packets)[0]))
    assert [record.path for record in told[-3:]] == [b"/srv/in/a", b"/srv/b", b"c"]
    assert told[-1].flags & FLAGS["unreadable"]


@pytest.mark.parametrize("bad", [{"shadows": [512]}, {"shadows": [-1]}, {"sandbox": -1}, {"sandbox": 1 << 32}])
def test_what_can_not_be_meant_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"number"):
        Decoder(**bad)  # type: ignore[arg-type]
