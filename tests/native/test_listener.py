"""The thread that hears sentries: what it is sent it tells, counts and judges, whoever sends it."""

from __future__ import annotations

import os
import platform
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from cloche_native import events, rules
from cloche_native.events import ACTS, FLAGS
from cloche_native.rules import Paths, RuleSequence, RuleSpec, Step, Window
from cloche_native.seccheck import PACKET_MAX, Listener, ListenerThread, decode
from tests.native import sentry_messages as say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="call numbers here are x86_64's")

OPENS = frozenset({"open", "write-open", "create"})


class Sentry:
    """The other end of a listener, and what came of it."""

    def __init__(self, **options: object) -> None:
        ours, self.end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener = Listener(ours.detach(), **({"init": False} | options))  # type: ignore[arg-type]

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.end.send(packet)

    def heard(self, count: int) -> None:
        """Wait until so many packets have come."""
        until = time.monotonic() + 20
        while self.listener.status().packets < count:
            assert time.monotonic() < until, self.listener.status()
            time.sleep(0.001)

    def records(self) -> list[events.Record]:
        raw = self.listener.drain()
        events.check(raw)
        return list(events.iterate(raw))

    def close(self) -> None:
        self.listener.close()
        self.end.close()


@pytest.fixture
def sentry() -> Iterator[Callable[..., Sentry]]:
    made: list[Sentry] = []

    def make(**options: object) -> Sentry:
        made.append(Sentry(**options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def opened(path: bytes, flags: int = 0) -> bytes:
    return say.call(7, "openat", {4: -100, 6: path, 7: flags})


def test_what_is_sent_is_told_as_the_decoder_tells_it(sentry: Callable[..., Sentry]) -> None:
    packets = [opened(b"/a"), say.call(37, "listen"), b"junk", say.packet(99, b""), opened(b"/b", 577)]
    box = sentry(sandbox=4)
    box.send(*packets)
    box.heard(5)
    wanted = [each._replace(time_ns=0) for each in events.iterate(decode(packets, sandbox=4)[0])]
    assert [each._replace(time_ns=0) for each in box.records()] == wanted
    status = box.listener.status()
    assert (status.bad, status.unknown, status.lost, status.records, status.ended) == (1, 1, 0, 3, False)
    assert dict(box.listener.counters()) == {ACTS["open"]: 1, ACTS["create"]: 1, ACTS["listen"]: 1}


def test_the_bell_rings_and_is_still_when_all_is_taken(sentry: Callable[..., Sentry]) -> None:
    box = sentry()
    poll = select.poll()
    poll.register(box.listener.fileno(), select.POLLIN)
    assert not poll.poll(50)
    before = time.monotonic_ns()
    box.send(opened(b"/a"))
    assert poll.poll(5000)
    (record,) = box.records()
    assert before <= record.time_ns <= time.monotonic_ns()
    assert not poll.poll(50)


def test_all_that_was_sent_before_is_there_for_who_asks_for_it(sentry: Callable[..., Sentry]) -> None:
    box = sentry()
    box.listener.catch_up()
    assert box.records() == []
    for turn in range(200):
        paths = [b"/%d/%d" % (turn, n) for n in range(turn + 1)]
        box.send(*map(opened, paths))
        box.listener.catch_up()
        assert [record.path for record in box.records()] == paths
    assert box.listener.counters()[ACTS["open"]] == 200 * 201 // 2
    box.send(opened(b"/last"))
    box.end.close()
    box.listener.catch_up()
    assert [record.path for record in box.records()] == [b"/last"]
    assert box.listener.status().bad == 0
    box.listener.close()
    with pytest.raises(ValueError, match="closed"):
        box.listener.catch_up()


def test_a_grave_match_sends_at_once_what_it_was_told_to_and_once(sentry: Callable[..., Sentry]) -> None:
    box = sentry()
    grave = RuleSpec(name="grave", acts=OPENS, paths=(Paths(("/grave",)),), respond=rules.STOPS | 20)
    plain = RuleSpec(name="plain", acts=OPENS, paths=(Paths(("/plain",)),), respond=rules.STOPS - 1)
    box.listener.judge(rules.compile([grave, plain]))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    theirs.setblocking(False)

    def does(*paths: bytes) -> bytes:
        box.send(*map(opened, paths))
        box.listener.catch_up()
        try:
            return theirs.recv(100)
        except BlockingIOError:
            return b""

    with ours, theirs:
        assert does(b"/grave") == b"", "nobody asked for it"
        assert not box.listener.reflex(ours.fileno(), b"stop", least=rules.STOPS)
        assert does(b"/plain", b"/other") == b""
        assert not box.listener.reflexed()
        assert does(b"/grave", b"/grave") == b"stop"
        assert box.listener.reflexed()
        assert box.listener.reflex(ours.fileno(), b"again", least=rules.STOPS)
        assert not box.listener.reflexed()
        assert does(b"/grave") == b"again"
        assert box.listener.reflex(ours.fileno(), b"never", least=rules.STOPS)
        assert not box.listener.reflex(-1, b"", least=0)
        assert does(b"/grave") == b""
        box.listener.reflex(ours.fileno(), b"too late", least=rules.STOPS)
        theirs.close()
        box.send(opened(b"/grave"))
        box.listener.catch_up()
        assert not box.listener.reflexed(), "nobody is there to be told"
        with pytest.raises(OSError, match="Invalid argument"):
            box.listener.reflex(ours.fileno(), b"x" * 257, least=0)
        box.listener.close()
        assert not box.listener.reflex(ours.fileno(), b"stop", least=0)
        assert not box.listener.reflexed()


def test_a_burst_finds_room_after_few_events_as_after_none(sentry: Callable[..., Sentry]) -> None:
    box = sentry()
    packets = [opened(b"/%d" % n) for n in range(500)]  # 56,000 bytes of records
    for before in (*range(140, 160), 600, 700):
        for packet in (packets * 2)[:before]:
            box.send(packet)
        box.listener.catch_up()
        assert len(box.records()) == before
        for packet in packets:
            box.send(packet)
        box.listener.catch_up()
        assert len(box.records()) == len(packets)
    assert box.listener.lost() == 0


def test_one_that_asks_for_all_that_was_sent_is_kept_by_nobody_who_sends_on(sentry: Callable[..., Sentry]) -> None:
    box = sentry()
    over = threading.Event()

    def flood() -> None:
        while not over.is_set():
            box.send(opened(b"/a"))

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        for _ in range(200):
            box.listener.catch_up()
    finally:
        over.set()
        flooding.join()
    box.listener.catch_up()
    assert box.listener.counters()[ACTS["open"]] == box.listener.status().packets


def test_the_end_is_told_and_what_was_held_with_it(sentry: Callable[..., Sentry]) -> None:
    box = sentry(shadows=[257])
    box.send(say.call(6, "openat", {5: -100, 6: 1}))
    box.heard(1)
    assert not box.listener.ended()
    box.end.close()
    assert select.select([box.listener.fileno()], [], [], 5)[0]
    until = time.monotonic() + 5
    while not box.listener.ended():
        assert time.monotonic() < until
        time.sleep(0.001)
    (record,) = box.records()
    assert record.flags & FLAGS["unreadable"]
    assert box.listener.status().unreadable == 1


def test_what_is_sent_right_before_the_end_is_told(sentry: Callable[..., Sentry]) -> None:
    box = sentry()
    box.send(*[opened(b"/%d" % n) for n in range(100)])
    box.end.close()
    box.heard(100)
    assert [record.path for record in box.records()] == [b"/%d" % n for n in range(100)]


def test_a_packet_without_bytes_is_bad_and_no_end(sentry: Callable[..., Sentry]) -> None:
    box = sentry()
    box.send(b"", opened(b"/a"))
    box.heard(2)
    assert (box.listener.status().bad, box.listener.ended(), len(box.records())) == (1, False, 1)


def test_what_is_held_is_told_after_a_while_though_nothing_comes(sentry: Callable[..., Sentry]) -> None:
    box = sentry(shadows=[257])
    box.send(say.call(6, "openat", {5: -100, 6: 1}))
    assert select.select([box.listener.fileno()], [], [], 5)[0]
    (record,) = box.records()
    assert record.flags & FLAGS["unreadable"]


def test_a_packet_that_is_too_long_is_told_as_far_as_it_goes(sentry: Callable[..., Sentry]) -> None:
    box = sentry()
    box.end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * PACKET_MAX)
    long = [b"x" * 100] * (PACKET_MAX // 50)
    packet = say.packet(3, say.fields({1: say.context(), 2: b"/bin/echo", 3: long}))
    try:
        box.send(packet)
    except OSError:
        pytest.skip("this machine lets nobody send that much at once (net.core.wmem_max)")
    box.heard(1)
    (record,) = box.records()
    assert record.resolved == b"/bin/echo"
    assert record.flags & FLAGS["cut"]
    assert len(record.target) == 1024


def test_rules_judge_with_windows_and_tell_what_matched(sentry: Callable[..., Sentry]) -> None:
    box = sentry(wants=[])
    box.listener.judge(
        rules.compile([
            RuleSpec(name="secret", acts=OPENS, paths=(Paths(("/etc/shadow",)),), respond=9, answer=13),
            RuleSpec(name="often", acts=OPENS, paths=(Paths(("/tmp/*",)),), window=Window(5, 60.0)),
        ])
    )  # fmt: skip
    box.send(*[opened(b"/tmp/%d" % n) for n in range(8)], opened(b"/etc/../etc/shadow"), opened(b"/etc/passwd"))
    box.heard(10)
    records, matches = box.records(), box.listener.matches()
    assert [record.path for record in records] == [b"/tmp/5", b"/tmp/6", b"/tmp/7", b"/etc/shadow"]
    assert all(record.flags & FLAGS["matched"] and not record.flags & FLAGS["denied"] for record in records)
    assert [(match.number, match.rules) for match in matches] == [
        (records[0].number, (1,)), (records[1].number, (1,)), (records[2].number, (1,)), (records[3].number, (0,)),
    ]  # fmt: skip
    assert (matches[3].respond, matches[3].answer, matches[0].evidence.counted) == (9, -13, 6)
    assert box.listener.matched(2) == [1, 3]
    assert box.listener.counters()[ACTS["open"]] == 10


def test_a_sequence_is_followed(sentry: Callable[..., Sentry]) -> None:
    box = sentry(wants=[])
    steps = (Step(acts=frozenset({"create"}), paths=(Paths(("/tmp/**",)),)),)
    box.listener.judge(
        rules.compile(
            [RuleSpec(name="drop", acts=frozenset({"connect"}), sequence=RuleSequence(steps, 60, ("sandbox",)))]
        )
    )
    box.send(say.call(10, "connect", {6: b"\x02\0\0\x50\x0a\0\0\1"}), opened(b"/tmp/x", 577))
    box.send(say.call(10, "connect", {6: b"\x02\0\0\x50\x0a\0\0\1"}))
    box.heard(3)
    assert box.listener.matched(1) == [1]
    (match,) = box.listener.matches()
    assert len(match.evidence.times) == 2


def test_rules_may_be_changed_while_it_is_flooded(sentry: Callable[..., Sentry]) -> None:
    box = sentry(wants=[])
    flood = threading.Thread(target=box.send, args=[opened(b"/etc/shadow")] * 20_000)
    flood.start()
    program = rules.compile([RuleSpec(name="secret", acts=OPENS, paths=(Paths(("/etc/shadow",)),))])
    for _ in range(200):
        box.listener.judge(program)
        box.listener.judge(None)
    box.listener.judge(program)
    flood.join()
    box.heard(20_000)
    box.send(opened(b"/etc/shadow"))
    box.heard(20_001)
    assert box.listener.matched(1)[0] >= 1
    assert box.listener.counters()[ACTS["open"]] == 20_001


def test_only_what_is_wanted_or_kept_is_told(sentry: Callable[..., Sentry]) -> None:
    box = sentry(wants=[ACTS["listen"]])
    box.send(opened(b"/a"), say.call(37, "listen"))
    box.heard(2)
    box.listener.want([])
    box.listener.keep([ACTS["open"]])
    box.send(opened(b"/b"), say.call(37, "listen"))
    box.heard(4)
    assert [(record.act, record.number) for record in box.records()] == [(ACTS["listen"], 1), (ACTS["open"], 2)]
    assert box.listener.counters()[ACTS["open"]] == 2


def test_a_full_ring_loses_records_and_counts_each_but_never_a_match(sentry: Callable[..., Sentry]) -> None:
    box = sentry(ring=1 << 16)
    box.listener.judge(rules.compile([RuleSpec(name="last", acts=OPENS, paths=(Paths(("/last",)),))]))
    box.send(*[opened(b"/%d" % n) for n in range(3000)], opened(b"/last"))
    box.heard(3001)
    status, records = box.listener.status(), box.records()
    assert status.records == 3001
    assert 0 < status.lost == 3001 - len(records) == box.listener.lost()
    assert [match.number for match in box.listener.matches()] == [3001]
    assert box.listener.unmatched() == 0
    assert box.listener.counters()[ACTS["open"]] == 3001


def test_what_the_sentry_says_it_dropped_is_told_and_rings(sentry: Callable[..., Sentry]) -> None:
    box = sentry()
    box.send(say.packet(1, b"", dropped=12))
    assert select.select([box.listener.fileno()], [], [], 5)[0]
    box.heard(1)
    assert box.listener.dropped() == 12


def test_many_boxes_share_a_thread_and_a_flood_of_one_does_not_starve_another() -> None:
    thread = ListenerThread()
    boxes = [Sentry(thread=thread, sandbox=n) for n in range(20)]
    stop = threading.Event()

    def flood() -> None:
        while not stop.is_set():
            boxes[0].send(opened(b"/flood"))

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        for box in boxes[1:]:
            box.send(opened(b"/quiet"))
        for box in boxes[1:]:
            box.heard(1)
            assert [(record.path, record.sandbox) for record in box.records()] == [(b"/quiet", boxes.index(box))]
    finally:
        stop.set()
        flooding.join()
    boxes[3].close()
    boxes[4].send(opened(b"/still"))
    boxes[4].heard(2)
    thread.close()
    for box in boxes:
        with pytest.raises(ValueError, match="closed"):
            box.listener.drain()
        box.close()


def test_nothing_is_left_when_it_is_closed() -> None:
    before = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    for _ in range(30):
        box = Sentry()
        box.send(opened(b"/a"))
        box.close()
        box.listener.close()
    fds, threads = len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
    assert fds == before[0]
    assert threads <= before[1]  # one of an earlier test may have been about to end


def test_one_that_is_dropped_without_being_closed_ends_well() -> None:
    for _ in range(20):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener = Listener(ours.detach())
        theirs.send(opened(b"/a"))
        del listener
        theirs.close()


@pytest.mark.parametrize(
    "bad", [{"ring": 1000}, {"ring": 1 << 31}, {"wants": [99]}, {"shadows": [512]}, {"sandbox": -1}]
)
def test_what_can_not_be_meant_is_refused_and_the_socket_stays(bad: dict[str, object]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, pytest.raises(ValueError, match=r"number|ring|act"):
        Listener(ours.fileno(), **bad)  # type: ignore[arg-type]
    with pytest.raises(OSError, match=r"Bad file descriptor"):
        Listener(1 << 20)
