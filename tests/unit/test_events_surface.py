"""What users see of events: streams, the hub of a sandbox, its own sources, and what happens when something is lost."""

from __future__ import annotations

import errno
import gc
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import anyio
import pytest

from cloche import (
    AccessDenied,
    Act,
    AsyncHost,
    AsyncSandbox,
    Event,
    EventFlag,
    Files,
    Host,
    IsolationLevel,
    Monitor,
    NotFound,
    Notice,
    Runtime,
    SpecError,
    State,
    Tree,
    hookimpl,
)
from cloche.files.reach import Reach
from cloche.monitoring.files import FilesSource
from cloche.monitoring.made import MadeSource
from cloche.testing import FakeRuntime
from cloche.testing.fake_source import FakeSource
from cloche.testing.guest import Guest

pytestmark = pytest.mark.usefixtures("no_own_leaks")


async def look(guest: Guest) -> None:
    guest.does(Act.OPEN, "/etc/passwd")
    guest.does(Act.CREATE, "/workspace/new")
    guest.does(Act.EXEC, "/bin/ls", "ls\0-l\0", result=-errno.EACCES)


async def flood(guest: Guest) -> None:
    for number in range(3000):
        guest.does(Act.OPEN, f"/some/where/{number:05}")


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime(programs={"look": look, "flood": flood})


def names(events: list[Event]) -> list[str]:
    return [event.act.value for event in events]


def source_of(runtime: FakeRuntime) -> FakeSource:
    (instance,) = runtime.instances
    assert instance.source is not None
    return instance.source


# -- the life of a sandbox --------------------------------------------------------------------------------------------


def test_the_life_of_a_sandbox_and_of_its_programs_is_told(host: Host) -> None:
    box = host.create(start=False)
    events = box.events()
    box.start()
    box.exec("echo", "one two", "three")
    box.pause()
    box.resume()
    assert box.exec("none-such").exit_code == 127
    box.delete()
    seen = list(events)
    assert names(seen) == ["started", "begun", "ended", "paused", "resumed", "begun", "ended", "deleted"]
    begun, ended = seen[1], seen[2]
    assert (begun.target, ended.result) == ("echo\0one two\0three\0", 0)
    assert begun.exec == ended.exec == begun.args[0] > 0
    assert seen[6].result == 127
    assert {event.sandbox for event in seen} == {box.id}
    assert [event.number for event in seen] == list(range(1, 9))
    assert abs(seen[0].time - time.time()) < 5
    assert events.lost == 0
    assert events.drain() == []


def test_a_background_job_that_is_ended_by_a_signal_is_told_so(host: Host) -> None:
    with host.create() as box, box.events("ended") as events:
        job = box.spawn("sleep", "60")
        job.kill()
        (event,) = events.drain()
    assert (event.target, event.result) == ("sleep\x0060\0", -9)


def test_events_have_ended_for_one_who_asks_when_the_sandbox_is_deleted(host: Host) -> None:
    box = host.create(monitor="full")
    box.delete()
    assert list(box.events()) == []
    assert list(box.events("open")) == []


def test_what_happened_before_one_asked_is_not_told(host: Host) -> None:
    with host.create() as box, box.events() as first:
        box.exec("true")
        with box.events() as second:
            assert names(first.drain()) == ["begun", "ended"]
            assert second.drain() == []


def test_a_sandbox_that_is_stopped_tells_why(host: Host) -> None:
    with host.create() as box, box.events("stopped") as events:
        box.kill()
        (event,) = events.drain()
    assert event.target == "killed"


# -- the files API ----------------------------------------------------------------------------------------------------


@contextmanager
def told(root: Path) -> Iterator[tuple[Files, FilesSource]]:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    tree = Tree("/workspace", fd)
    reach = Reach("abc", "/workspace", lambda: [tree])
    source = FilesSource(files := Files(reach), reach.whole, sandbox=1)
    try:
        yield files, source
    finally:
        source.close()
        reach.close()
        os.close(fd)


def test_each_act_on_files_is_told_with_what_came_of_it(tmp_path: Path) -> None:
    with told(tmp_path) as (files, source):
        files.write("a", b"12345")
        files.read("/workspace/a", size=3)
        files.move("a", "b")
        files.open("c", "w", permissions=0o600).close()
        files.symlink("link", "/etc/shadow")
        with pytest.raises(NotFound):
            files.stat("none")
        with pytest.raises(AccessDenied):
            files.remove("/etc/passwd")
        with pytest.raises(SpecError):
            files.mkdir("bad\0name")
        assert files.exists("b")
        seen = list(source.read())
    assert [(event.act.value, event.resolved, event.result) for event in seen] == [
        ("write", "/workspace/a", 0),
        ("read", "/workspace/a", 3),
        ("rename", "/workspace/a", 0),
        ("create", "/workspace/c", 0),
        ("symlink", "/workspace/link", 0),
        ("stat", "/workspace/none", -errno.ENOENT),
        ("unlink", "/etc/passwd", -errno.EACCES),
        ("mkdir", None, -errno.EINVAL),
        ("stat", "/workspace/b", 0),
    ]
    write, read, rename, create, symlink = seen[:5]
    assert (write.path, write.args[0], read.args[0]) == ("a", 5, 3)
    assert rename.target_resolved == "/workspace/b"
    assert create.args[:2] == (os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    assert symlink.target == "/etc/shadow"
    assert seen[6].denied
    assert seen[7].path == "bad\\0name"


def test_whole_folders_are_told_by_what_is_done_with_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "one").write_bytes(b"12")
    with told(tmp_path / "in") as (files, source):
        files.upload(tmp_path / "out", "deep")
        files.download("deep/one", tmp_path / "back")
        list(files.walk())
        seen = list(source.read())
    assert [(event.act.value, event.path, event.args[0]) for event in seen] == [
        ("mkdir", "deep", 0),
        ("write", "deep", 2),
        ("stat", "deep/one", 0),
        ("open", "deep/one", 0),
        ("read", "deep/one", 2),
        ("list", ".", 0),
    ]


def test_only_acts_that_are_wanted_are_told_and_unwanted_the_files_are_as_they_were(tmp_path: Path) -> None:
    with told(tmp_path) as (files, source):
        assert type(files) is not Files
        source.want([Act.WRITE])
        files.write("a", b"1")
        files.read("a")
        source.want([])
        assert type(files) is Files
        files.write("a", b"2")
        assert names(list(source.read())) == ["write"]
        assert source.counters() == {Act.WRITE: 1}


# -- what the guest does ----------------------------------------------------------------------------------------------


def test_a_monitored_guest_is_seen_by_each_reader_as_far_as_that_asked(host: Host) -> None:
    with host.create(monitor="full") as box, box.events() as everything, box.events("open", Act.CREATE) as some:
        box.exec("look")
        assert sorted(names(everything.drain())) == ["begun", "create", "ended", "exec", "open"]
        opened, created = some.drain()
    assert (opened.path, created.path) == ("/etc/passwd", "/workspace/new")
    assert opened.exec != 0


def test_sources_keep_a_reader_to_where_events_come_from(host: Host) -> None:
    with (
        host.create(monitor="full") as box,
        box.events(sources=["guest"]) as guest,
        box.events(sources=["life"]) as life,
    ):
        box.exec("look")
        assert names(guest.drain()) == ["open", "create", "exec"]
        assert names(life.drain()) == ["begun", "ended"]


def test_events_may_be_asked_for_before_the_start(host: Host) -> None:
    box = host.create(monitor="full", start=False)
    events = box.events("open", "exec")
    box.start()
    box.exec("look")
    box.delete()
    assert names(list(events)) == ["open", "exec"]


def test_acts_that_nobody_watches_are_refused_with_the_way_out(host: Host) -> None:
    with host.create() as box:
        with pytest.raises(SpecError, match=r"exec can't be told.*'off'.*monitor=.full"):
            box.events("exec", "begun")
        with pytest.raises(SpecError, match="open"):
            box.events("open")
        box.events("open", "begun", sources=["files", "life"]).close()
        with pytest.raises(SpecError, match="exec"):
            box.events("exec", sources=["files"])
        with pytest.raises(SpecError, match=r"'none' is unknown.*guest"):
            box.events(sources=["none"])
        with pytest.raises(SpecError, match="is unknown"):
            box.events(sources=[["files"]])  # type: ignore[list-item]
        with pytest.raises(SpecError, match="sources"):
            box.events(sources="files")
        with pytest.raises(SpecError, match="not watched; create it with"):
            box.events(sources=["guest"])
        with pytest.raises(SpecError, match="'jump'"):
            box.events("jump")
        with pytest.raises(SpecError, match="room"):
            box.events(room=1)
    with host.create(monitor="writes", start=False) as box:
        with pytest.raises(SpecError, match=r"open.*'writes'"):
            box.events("open")
        box.events("exec").close()


def test_counts_tell_what_was_seen(host: Host) -> None:
    with host.create(monitor="full") as box, box.events() as events:
        box.exec("look")
        counts = box.event_counts()
        assert (counts[Act.OPEN], counts[Act.BEGUN], counts[Act.LOST]) == (1, 1, 0)
        assert len(events.drain()) == 5


def test_nothing_is_made_or_drained_when_nobody_asked(host: Host, runtime: FakeRuntime) -> None:
    with host.create(monitor="full") as box:
        box.exec("look")
        assert source_of(runtime).drain() == b""
        with box.events("open") as events:
            box.exec("look")
            assert names(events.drain()) == ["open"]
        box.exec("look")
        assert source_of(runtime).drain() == b""


def test_a_reader_that_is_dropped_without_being_closed_is_fed_no_more(host: Host, runtime: FakeRuntime) -> None:
    with host.create(monitor="full") as box:
        events = box.events("open")
        box.exec("look")
        assert next(events).act is Act.OPEN
        assert source_of(runtime).chosen == {Act.OPEN}
        del events
        gc.collect()
        box.exec("look")
        box.events("begun").close()
        assert source_of(runtime).chosen == set()


# -- what is lost -----------------------------------------------------------------------------------------------------


def test_a_slow_reader_loses_its_own_and_is_told_where_and_nobody_else_does(host: Host, runtime: FakeRuntime) -> None:
    notices: list[Notice] = []
    host.on("lost", callback=notices.append)
    with host.create(monitor="full") as box, box.events("open", room="64K") as slow, box.events("open") as quick:
        box.exec("flood")
        assert len(quick.drain()) == 3000
        box.exec("flood")
        seen = slow.drain()
        assert (seen[-1].act, seen[-1].args[0]) == (Act.LOST, 6000)
        assert slow.lost == 6000
        source_of(runtime).does(Act.OPEN, 1, "/later", result=0)
        assert [event.path for event in slow.drain()] == ["/later"]
        assert (quick.lost, len(quick.drain())) == (0, 3001)
    assert notices == []


def test_what_a_source_lost_is_told_to_readers_and_to_the_host(host: Host) -> None:
    notices: list[Notice] = []
    host.on("lost", callback=notices.append)
    with host.create(monitor=Monitor(ring=64 << 10)) as box, box.events("open") as events:
        box.exec("flood")
        seen = events.drain()
        opened = [event for event in seen if event.act is Act.OPEN]
        missing = sum(event.args[0] for event in seen if event.act is Act.LOST)
        assert missing == events.lost == 3000 - len(opened) > 0
        assert box.event_counts()[Act.LOST] == missing
    assert sum(int(notice.details["lost"]) for notice in notices) == missing
    assert {notice.details["source"] for notice in notices} == {"guest"}


def test_a_sandbox_whose_source_fails_is_killed_and_says_why(host: Host, runtime: FakeRuntime) -> None:
    with host.create(monitor="full") as box, box.events() as events:
        box.spawn("sleep", "60")
        source_of(runtime).break_down(OSError(errno.EIO, "the thread is gone"))
        assert "monitor:guest failed: OSError" in box.wait()
        assert box.state is State.STOPPED
        (lost,) = [event for event in events.drain() if event.act is Act.LOST]
        assert "guest" in (lost.target or "")


def test_a_sandbox_that_lives_on_unseen_is_killed_and_one_that_ended_too_is_not_blamed(
    host: Host, runtime: FakeRuntime
) -> None:
    with host.create(monitor="full") as box:
        source_of(runtime).go_blind()
        assert box.wait() == "monitor:guest sees nothing any more"
    with host.create(monitor="full") as box:
        source_of(runtime).go_blind()
        box.kill()
        assert box.wait() == box.reason == "killed"


@pytest.mark.parametrize("overloaded", ["pause", "kill"])
def test_a_sandbox_that_can_not_be_followed_is_paused_or_killed_by_its_level(
    overloaded: Literal["pause", "kill"], runtime: FakeRuntime, make_level: Callable[[str], IsolationLevel]
) -> None:
    level = replace(make_level("enhanced"), overloaded=overloaded)

    class Plugin:
        @hookimpl
        def cloche_runtimes(self) -> list[Runtime]:
            return [runtime]

        @hookimpl
        def cloche_isolation_levels(self) -> list[IsolationLevel]:
            return [level]

    notices: list[Notice] = []
    with Host(plugins=[Plugin()], entry_points=False) as host, host.create(monitor="full") as box:
        host.on("paused", "stopped", callback=notices.append)
        with box.events("paused", "stopped") as events:
            source_of(runtime).overload()
            (event,) = next(events.batches())
        assert event.act.value == notices[0].type.value == {"pause": "paused", "kill": "stopped"}[overloaded]
        assert event.target == notices[0].details["reason"] == box.reason == "monitor:overload (guest)"
        if overloaded == "pause":
            source_of(runtime).overloaded = False
            box.resume()
            assert (box.state, box.reason) == (State.RUNNING, "")


# -- all sandboxes of a host -------------------------------------------------------------------------------------------


def test_a_host_tells_the_events_of_all_its_sandboxes_until_it_closes(host: Host) -> None:
    first = host.create()
    with host.events("created", "begun", "deleted") as events, host.events() as left:
        first.exec("true")
        second = host.create(monitor="full")
        left.close()
        second.exec("look")
        first.delete()
        second.delete()
        seen = sorted(events.drain(), key=lambda event: event.time_ns)
        assert [(event.sandbox, event.act.value) for event in seen] == [
            (first.id, "begun"), (second.id, "created"), (second.id, "begun"), (first.id, "deleted"),
            (second.id, "deleted"),
        ]  # fmt: skip


def test_a_reader_of_all_sandboxes_ends_with_the_host(fakes: Callable[..., object], runtime: FakeRuntime) -> None:
    async def main() -> list[str]:
        async with AsyncHost(plugins=[fakes(runtime)], entry_points=False) as host:
            events = host.events("created", "deleted")
            await host.create()
        return [event.act.value async for event in events]

    assert anyio.run(main) == ["created", "deleted"]


# -- the asynchronous face --------------------------------------------------------------------------------------------


@asynccontextmanager
async def async_box(plugin: object) -> AsyncIterator[AsyncSandbox]:
    async with AsyncHost(plugins=[plugin], entry_points=False) as host, await host.create(monitor="full") as box:
        yield box


def test_an_asynchronous_reader_gets_events_one_by_one_until_the_end(
    fakes: Callable[..., object], runtime: FakeRuntime
) -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def read() -> None:
            seen.extend([event.act.value async for event in events])

        async with anyio.create_task_group() as group, async_box(fakes(runtime)) as box:
            events = box.events("open", "begun", "deleted")
            group.start_soon(read)
            await box.exec("look")
        return seen

    assert sorted(anyio.run(main)) == ["begun", "deleted", "open"]


def test_a_reader_that_is_closed_from_elsewhere_ends(fakes: Callable[..., object], runtime: FakeRuntime) -> None:
    async def main() -> list[int]:
        sizes: list[int] = []

        async def read() -> None:
            sizes.extend([len(batch) async for batch in events.batches()])

        async with async_box(fakes(runtime)) as box:
            events = box.events("open", "create")
            async with anyio.create_task_group() as group:
                group.start_soon(read)
                await box.exec("look")
                await anyio.wait_all_tasks_blocked()
                await events.close()
                await events.close()
        return sizes

    assert sum(anyio.run(main)) == 2


# -- sources that this process makes ----------------------------------------------------------------------------------


def test_a_made_source_cuts_texts_that_are_too_long_and_takes_what_is_no_text() -> None:
    source = MadeSource("one", "other", frozenset({Act.OPEN}), sandbox=1)
    source.make(Act.OPEN, path=b"/" + b"x" * 5000, result=3)
    (event,) = source.read()
    assert len(event.path or "") == 4095
    assert EventFlag.CUT in event.flags
    source.close()
    source.make(Act.OPEN)
    assert source.drain() == b""
