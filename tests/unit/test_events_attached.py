"""Events of a sandbox that another host owns: asked for through its door, told until the end, and counted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from cloche import Act, Events, Host, Monitor, RegistryError, Sandbox, SpecError
from cloche.monitoring.stream import Stream, cut
from cloche.testing import FakeRuntime
from cloche.testing.guest import Guest
from cloche_native import events as wire
from cloche_native.rules import Paths, RuleSpec
from cloche_native.rules import compile as compile_rules

pytestmark = pytest.mark.usefixtures("no_own_leaks")


async def flood(guest: Guest) -> None:
    for number in range(int(guest.args[1])):
        guest.does(Act.OPEN, f"/some/where/{number:05}")


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime(programs={"flood": flood})


@pytest.fixture
def other(host: Host) -> Iterator[Host]:  # noqa: ARG001 - it is to be closed before the one that owns the boxes
    with Host(plugins=[], entry_points=False) as other:
        yield other


@pytest.fixture
def owned(host: Host) -> Iterator[Sandbox]:
    with host.create(monitor="full") as box:
        yield box


def paths(events: Events) -> list[str | None]:
    return [event.path for event in events.drain() if event.act is Act.OPEN]


def test_another_host_sees_what_the_owner_sees(other: Host, owned: Sandbox) -> None:
    with other.attach(owned.id) as box, box.events() as events, owned.events() as here:
        box.exec("flood", "3")
        owned.exec("flood", "2")
        seen, own = events.drain(), here.drain()
        assert [event.raw for event in seen] == [event.raw for event in own]
        assert {event.sandbox for event in seen} == {owned.id}
        assert sum(event.act is Act.OPEN for event in seen) == 5
        assert box.event_counts() == owned.event_counts()
        assert events.lost == 0


def test_events_come_by_themselves_and_end_with_the_sandbox(other: Host, host: Host) -> None:
    owned = host.create(monitor="full")
    with other.attach(owned.id) as box, box.events("open", "deleted") as events:
        owned.exec("flood", "1")
        assert next(events).path == "/some/where/00000"
        owned.delete()
        assert [event.act for event in events] == [Act.DELETED]


def test_deleting_from_afar_tells_the_last_events_too(other: Host, host: Host) -> None:
    box = other.attach(host.create(monitor="full").id)
    events = box.events("ended", "deleted", "begun")
    job = box.spawn("sleep", "60", detach=True)
    box.delete()
    assert [(event.act.value, event.result) for event in events] == [
        ("begun", None), ("ended", -signal.SIGKILL), ("deleted", None),
    ]  # fmt: skip
    assert job.id


def test_what_can_not_be_told_is_refused_from_afar_as_it_is_at_home(other: Host, host: Host) -> None:
    with host.create() as owned, other.attach(owned.id) as box:
        with pytest.raises(SpecError, match="exec can't be told"):
            box.events("exec")
        with pytest.raises(SpecError, match="'jump'"):
            box.events("jump")
        with pytest.raises(SpecError, match="'none' is unknown"):
            box.events(sources=["none"])
        with pytest.raises(SpecError, match="room"):
            box.events(room=1)


def test_many_events_come_whole_and_in_order(other: Host, owned: Sandbox) -> None:
    with other.attach(owned.id) as box, box.events("open") as events:
        owned.exec("flood", "4000")
        owned.exec("flood", "4000")
        assert paths(events) == [f"/some/where/{number:05}" for number in [*range(4000), *range(4000)]]
        assert events.lost == 0


def test_a_slow_reader_afar_is_told_how_many_it_lost(other: Host, owned: Sandbox) -> None:
    with other.attach(owned.id) as box, box.events("open", room="64K") as events:
        for _ in range(10):
            owned.exec("flood", "1000")
        got = len(paths(events))
        assert events.lost == 10_000 - got > 0
        owned.exec("flood", "1")
        assert paths(events) == ["/some/where/00000"]


def test_a_reader_that_is_left_ends_without_the_sandbox(other: Host, owned: Sandbox) -> None:
    with other.attach(owned.id) as box:
        events = box.events("open")
        owned.exec("flood", "1")
        assert len(paths(events)) == 1
        threading.Timer(0.05, events.close).start()
        assert list(events) == []
        owned.exec("flood", "1")
        with box.events("open") as again:
            owned.exec("flood", "1")
            assert len(paths(again)) == 1


def test_a_connection_that_is_lost_is_no_quiet_end(other: Host, owned: Sandbox) -> None:
    box = other.attach(owned.id)
    events = box.events("open")
    owned.exec("flood", "2")
    assert len(events.drain()) == 2
    box.detach()
    with pytest.raises(RegistryError, match="can't be followed any more"):
        next(events)


def test_records_are_cut_between_each_other_and_nowhere_else() -> None:
    raw = b"".join(wire.pack(act="open", number=n + 1, path=b"/" + b"x" * (n * 37 % 500)) for n in range(200))
    for most in (700, 4096, len(raw)):
        pieces = list(cut(raw, most))
        assert b"".join(pieces) == raw
        assert all(len(piece) <= most and wire.check(piece) for piece in pieces)


def test_a_stream_tells_what_is_missing_where_it_is_missing() -> None:
    one = wire.pack(act="open", number=1, sandbox=7)
    stream = Stream(2 * len(one))
    for _ in range(5):
        stream.offer(one)
    assert wire.check(stream.take(len(one))) == 1
    stream.offer(one)  # there is room again, but it would stand before the word of what is missing
    assert wire.check(stream.take()) == 1
    record = wire.unpack(stream.take())
    assert (record.act, record.args[0], record.sandbox) == (wire.ACTS["lost"], 4, 7)
    stream.offer(one)
    assert stream.take() == one
    assert stream.lost == 4


def test_what_is_watched_changes_from_elsewhere(other: Host, owned: Sandbox) -> None:
    rule = RuleSpec(name="keep", acts=frozenset({"unlink"}), paths=(Paths(("/workspace/**", b"/\xff")),), answer=13)
    with other.attach(owned.id) as box, owned.events("open") as events:
        box.update(monitor="writes")
        assert (box.spec, dict(box.enforcement)) == (owned.spec, dict(owned.enforcement))
        assert owned.spec.monitor.depth == "writes"
        box.exec("flood", "1")
        with pytest.raises(SpecError, match=r"open can't be told.*box\.update"):
            box.events("open")
        box.update(monitor=Monitor("full", rules=(rule,)))
        box.exec("flood", "1")
        assert paths(events) == ["/some/where/00000"]
        (known,) = owned.spec.monitor.rules
        assert compile_rules([known]).blob == compile_rules([rule]).blob
        before = owned.spec
        for bad in (Monitor(ring=1 << 22), "all"):
            with pytest.raises(SpecError, match="monitor"):
                box.update(monitor=bad)  # type: ignore[arg-type]
        assert owned.spec == before
