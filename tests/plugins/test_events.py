"""What users see of real boxes: the guest's acts, the host's on its files and the life of the box in one stream."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloche import Act, Event, Host, Monitor, Notice, Sandbox, State

Run = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.usefixtures("no_leaks")

MANY = "import os\nfor n in range(4000): os.close(os.open('one', os.O_WRONLY | os.O_CREAT))"
FLOOD = "import os\nwhile True: os.close(os.open('one', os.O_WRONLY | os.O_CREAT))"


@pytest.fixture(params=["namespaces", "bwrap", "process"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def host(runtime: str, host_of: Callable[[str], Host]) -> Host:
    return host_of(runtime)


@pytest.fixture
def box(host: Host) -> Iterator[Sandbox]:
    with host.create(isolation="standard", strict=False, monitor=Monitor(overload="wait")) as box:
        if "events" in box.enforcement.refusals(box.spec.needed()):
            pytest.skip(f"events: {box.enforcement['events']}")
        yield box


def name(event: Event) -> str:
    return (event.resolved or event.path or "").rpartition("/")[2]


def test_one_stream_tells_of_guest_files_and_life_until_the_end(box: Sandbox) -> None:
    events = box.events()
    box.files.write("given", b"1")
    done = box.exec("sh", "-c", "cat given > made; mkdir folder")
    assert done.exit_code == 0
    box.delete()
    seen = list(events)
    assert events.lost == 0
    assert seen[-1].act is Act.DELETED
    assert {event.sandbox for event in seen} == {box.id}
    (written,) = [event for event in seen if event.act is Act.WRITE]
    assert (written.source, written.args[0]) == ("files", 1)
    (begun,) = [event for event in seen if event.act is Act.BEGUN]
    guest = [event for event in seen if event.source == "guest"]
    assert {event.exec for event in guest} == {begun.exec} != {0}
    at = {event.act: event for event in guest if name(event) in ("given", "made", "folder")}
    assert set(at) == {Act.OPEN, Act.CREATE, Act.MKDIR}
    assert begun.time_ns < at[Act.CREATE].time_ns < at[Act.OPEN].time_ns < at[Act.MKDIR].time_ns


def test_a_burst_comes_whole_to_who_asked_for_it_and_is_counted_for_who_did_not(box: Sandbox) -> None:
    with box.events("create") as events:
        box.exec("python3", "-c", MANY)
        created = [event for event in events.drain() if name(event) == "one"]
        assert (len(created), events.lost) == (4000, 0)
    before = box.event_counts()
    box.exec("python3", "-c", MANY)
    after = box.event_counts()
    assert after[Act.CREATE] - before[Act.CREATE] == 4000
    assert after[Act.LOST] == 0


def test_what_is_lost_where_the_guest_need_not_wait_is_told_to_the_last_event(host: Host) -> None:
    monitor = Monitor(ring=64 << 10, overload="count")
    with host.create(isolation="standard", strict=False, monitor=monitor) as box, box.events("create") as events:
        box.exec("python3", "-c", MANY)
        seen = events.drain()
        created = [event for event in seen if name(event) == "one"]
        missing = sum(event.args[0] for event in seen if event.act is Act.LOST)
        assert len(created) + missing == 4000
        assert missing == events.lost == box.event_counts()[Act.LOST]


def test_events_are_seen_by_a_reader_that_waits_within_moments(box: Sandbox) -> None:
    seen = threading.Event()

    def read() -> None:
        for event in events:
            if name(event) == "sign":
                seen.set()

    events = box.events("create")
    thread = threading.Thread(target=read)
    thread.start()
    job = box.spawn("sh", "-c", "echo > sign; sleep 600")
    assert seen.wait(20)
    assert job.running
    box.delete()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("runtime", ["namespaces"], indirect=True)
def test_a_guest_that_can_not_be_followed_is_paused(host: Host) -> None:
    notices: list[Notice] = []
    stuck = threading.Event()

    def hold_up(_: Notice) -> None:
        stuck.set()
        time.sleep(8)  # longer than a guest waits for room

    monitor = Monitor("writes", ring=64 << 10, overload="wait")
    with host.create(isolation="standard", monitor=monitor) as box, box.events("create") as events:
        host.on("paused", callback=notices.append)
        remove = host.on("resumed", callback=hold_up)
        job = box.spawn("python3", "-c", FLOOD)
        next(events)
        box.pause()
        threading.Thread(target=box.resume).start()  # its notice holds up the event loop, which then drains nothing
        assert stuck.wait(20)
        deadline = time.monotonic() + 20
        while len(notices) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        remove()
        assert (box.state, box.reason) == (State.PAUSED, "monitor:overload (guest)")
        assert notices[-1].details["reason"] == box.reason
        box.resume()
        assert job.running
        job.kill()
        assert events.lost == 0


def test_a_run_shows_and_keeps_what_its_program_does(cloche: Run, ended: None, tmp_path: Path) -> None:  # noqa: ARG001
    file = tmp_path / "kept"
    program = ("sh", "-c", "echo out; mkdir folder; exit 3")
    done = cloche("run", "--isolation", "standard", "--events", "--record", str(file), "--", *program)
    assert (done.returncode, done.stdout) == (3, b"out\n")
    assert b"  mkdir       /workspace/folder" in done.stderr
    assert done.stderr.decode().splitlines()[-1].endswith("lost 0")
    kept = cloche("events", "replay", str(file), "-o", "json").stdout.splitlines()
    acts = Counter(json.loads(line)["act"] for line in kept)
    assert (acts["mkdir"], acts["begun"], acts["ended"], acts["deleted"]) == (1, 1, 1, 1)
    again = cloche("run", "--record", str(file), "--", "true")
    assert (again.returncode, b"is there already" in again.stderr) == (125, True)
    assert os.path.getsize(file) > 0
