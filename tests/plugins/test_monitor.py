"""What programs in real boxes of each runtime do, as events: seen, refused, held, and never more than was asked."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import cloche
import cloche_native as native
from cloche import Act, Event, EventFlag, Monitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche.monitor import Depth

pytestmark = pytest.mark.usefixtures("no_leaks")

WORK = "echo x > new; mkdir folder; rm new; cat /etc/hostname; true"
FLOOD = """
import os
print("up", flush=True)
while True:
    os.close(os.open("flood", os.O_WRONLY | os.O_CREAT))
"""


@pytest.fixture(params=["namespaces", "bwrap", "process"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def host(runtime: str, host_of: Callable[[str], cloche.Host]) -> cloche.Host:
    """Give a host that makes boxes of one runtime."""
    return host_of(runtime)


@pytest.fixture
def watched(host: cloche.Host) -> Iterator[Callable[..., cloche.Sandbox]]:
    """Give a function that makes a watched box."""
    made: list[cloche.Sandbox] = []

    def make(monitor: Monitor | Depth = "full", *, isolation: str = "standard") -> cloche.Sandbox:
        made.append(host.create(isolation=isolation, strict=False, monitor=monitor))
        return made[-1]

    yield make
    for box in made:
        box.delete()


def seen(box: cloche.Sandbox, *argv: str, code: int = 0) -> list[Event]:
    """Run a program and give what of it was told by the guest's source."""
    with box.events(sources=("guest",)) as events:
        done = box.exec(*argv)
        assert done.exit_code == code, done
        return events.drain()


def of(events: list[Event], act: Act, name: str) -> list[Event]:
    return [event for event in events if event.act is act and os.path.basename(event.path or "") == name]


def test_what_a_program_writes_is_told_and_what_it_reads_is_not_at_depth_writes(
    watched: Callable[..., cloche.Sandbox],
) -> None:
    box = watched("writes")
    events = seen(box, "sh", "-c", WORK)
    assert of(events, Act.CREATE, "new")
    assert of(events, Act.MKDIR, "folder")
    assert of(events, Act.UNLINK, "new")
    assert of(events, Act.EXEC, "cat")
    assert not {Act.OPEN, Act.STAT, Act.ACCESS, Act.READLINK} & {event.act for event in events}
    assert not {Act.OPEN, Act.STAT, Act.ACCESS, Act.READLINK} & set(box.event_counts())  # nor was it looked at
    assert len({event.exec for event in events}) == 1
    assert all(event.sandbox == box.id and event.pid > 0 for event in events)
    assert isinstance(box.enforcement["events"], cloche.Partial)


@pytest.mark.parametrize("isolation", ["standard", "enhanced", "maximum"])
def test_what_a_program_reads_is_told_at_depth_full(watched: Callable[..., cloche.Sandbox], isolation: str) -> None:
    events = seen(watched("full", isolation=isolation), "sh", "-c", "head -c 1 /usr/bin/env")
    assert [event.path for event in of(events, Act.OPEN, "env")] == ["/usr/bin/env"]
    assert of(events, Act.EXEC, "head")


def test_files_are_opened_in_the_place_of_a_guest_only_where_it_has_a_view_of_its_own(
    host: cloche.Host, runtime: str
) -> None:
    if runtime == "process":
        with pytest.raises(cloche.Unenforceable, match="Landlock alone"):
            host.create(isolation="standard", monitor="strict")
        with host.create(isolation="standard", strict=False, monitor="strict") as box:
            assert box.exec("cat", "/etc/shadow").exit_code == 1  # as without: nothing is opened for it
            assert isinstance(box.enforcement["events"], cloche.Unenforced)
        return
    with host.create(isolation="standard", strict=False, monitor="strict") as box:
        assert of(seen(box, "cat", "/etc/hostname"), Act.OPEN, "hostname")
        assert "in the guest's place" in str(box.enforcement["events"])
    with pytest.raises(cloche.Unenforceable, match="what Landlock keeps from it"):
        host.create(isolation="maximum", monitor="strict")


def test_what_the_policy_refuses_is_told_as_refused(watched: Callable[..., cloche.Sandbox]) -> None:
    for isolation in ("standard", "maximum"):
        events = seen(watched("writes", isolation=isolation), "chroot", "/tmp", "true", code=125)
        (chroot,) = [event for event in events if event.act is Act.CHROOT]
        assert chroot.denied
        assert EventFlag.STATIC in chroot.flags
        assert (chroot.call, chroot.result) == ("chroot", -errno.EPERM)


def test_a_watched_program_is_left_with_no_more_than_another(
    host: cloche.Host, watched: Callable[..., cloche.Sandbox]
) -> None:
    script = (
        "import ctypes, os; c = ctypes.CDLL(None, use_errno=True); "
        "print([(c.syscall(n, -1, -1, -1, -1, -1, -1), ctypes.get_errno()) for n in "
        "[*range(424, 470), 101, 155, 161, 165, 166, 167, 169, 175, 246, 250, 272, 298, 308, 310, 317, 321, 323]])"
    )
    with host.create(isolation="standard", strict=False) as plain:
        expected = plain.exec("python3", "-c", script)
    assert expected.exit_code == 0
    assert watched("full").exec("python3", "-c", script).stdout == expected.stdout


def test_a_guest_has_no_descriptor_of_the_watching(watched: Callable[..., cloche.Sandbox]) -> None:
    script = "import os\nfor fd in range(64):\n  try: os.fstat(fd)\n  except OSError: continue\n  print(fd, end=' ')"
    assert watched().exec("python3", "-c", script).stdout == b"0 1 2 "


def test_a_program_that_is_not_there_is_127_as_ever_and_its_execution_was_tried(
    watched: Callable[..., cloche.Sandbox],
) -> None:
    (tried,) = [event for event in seen(watched(), "/no/such/program", code=127) if event.act is Act.EXEC]
    # The agent's own memory, where the first path lies, is closed to a host that is not root and has no user namespace.
    assert tried.path == "/no/such/program" or EventFlag.UNREADABLE in tried.flags


def test_each_event_belongs_to_the_program_that_did_it(watched: Callable[..., cloche.Sandbox]) -> None:
    box = watched("writes")
    with box.events(Act.MKDIR, Act.BEGUN) as events:
        for job in [box.spawn("mkdir", name) for name in ("a", "b", "c", "d")]:
            assert job.wait().exit_code == 0
        box.exec("sh", "-c", "(sleep 0.1; mkdir late) >/dev/null 2>&1 & mkdir soon", linger=True)
        told = [next(events) for _ in range(11)]
    made = {os.path.basename(event.path or ""): event.exec for event in told if event.act is Act.MKDIR}
    begun = {(event.target or "").split("\0")[1]: event.exec for event in told if event.act is Act.BEGUN}
    assert made == {
        "a": begun["a"],
        "b": begun["b"],
        "c": begun["c"],
        "d": begun["d"],
        "soon": begun["-c"],
        "late": begun["-c"],
    }
    assert len(set(begun.values())) == 5


def test_where_nothing_is_watched_nothing_is_told(host: cloche.Host) -> None:
    with host.create(isolation="standard", strict=False) as box:
        with box.events() as events:
            assert box.exec("sh", "-c", WORK).exit_code == 0
            assert {event.source for event in events.drain()} == {"life"}
        assert "events" not in box.enforcement


def test_only_what_is_wanted_comes_and_everything_is_counted(watched: Callable[..., cloche.Sandbox]) -> None:
    box = watched(Monitor("full", acts=frozenset({Act.MKDIR, Act.OPEN})))
    with box.events(Act.MKDIR) as events:
        assert box.exec("sh", "-c", WORK).exit_code == 0
        assert {event.act for event in events.drain()} == {Act.MKDIR}
    counts = box.event_counts()
    assert counts[Act.MKDIR] == 1
    assert counts[Act.OPEN] > 1
    assert Act.CREATE not in counts


def created(box: cloche.Sandbox) -> int:
    return box.event_counts().get(Act.CREATE, 0)


def test_a_busy_program_can_be_paused_continued_and_killed(watched: Callable[..., cloche.Sandbox]) -> None:
    box = watched("writes")
    job = box.spawn("python3", "-c", FLOOD)
    assert next(job.lines()) == "up"
    for _ in range(3):
        box.pause()
        before = created(box)
        time.sleep(0.05)
        assert created(box) == before
        box.resume()
        deadline = time.monotonic() + 10
        while created(box) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert created(box) > before
    job.kill()
    assert job.wait().signal == signal.SIGKILL
    assert box.exec("true").exit_code == 0


HOST = """
import sys, time
import cloche
host = cloche.Host(config={"host": {"runtime": sys.argv[1]}}).__enter__()
box = host.create(isolation="standard", strict=False, monitor="writes")
job = box.spawn("python3", "-c", sys.argv[2])
assert next(job.lines()) == "up"
print(box.info()["agent_pid"], flush=True)
time.sleep(60)
"""


@pytest.mark.usefixtures("host")
def test_a_host_that_is_killed_leaves_no_busy_program_that_it_watched(runtime: str) -> None:
    command = [sys.executable, "-c", HOST, runtime, FLOOD]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        agent = int(process.stdout.readline())
        process.kill()
        process.wait(20)
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{agent}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{agent}")


CREATES = """
import sys
import cloche
with cloche.Host(config={"host": {"runtime": sys.argv[1]}}) as host:
    try:
        host.create(isolation="standard", monitor="full")
    except cloche.Unenforceable as error:
        print(error)
    with host.create(isolation="standard", strict=False, monitor="full") as box, box.events() as events:
        print(box.exec("echo", "works").text.strip(), box.enforcement["events"])
        print([event.act for event in events.drain() if event.source == "guest"])
"""
INSIDE = """
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
allow_all = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))
program = struct.pack("HxxxxxxP", 1, ctypes.addressof(allow_all))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.syscall(ctypes.c_long(int(sys.argv[2])), ctypes.c_long(1), ctypes.c_long(8), program) >= 0
"""


def told_unwatched(command: list[str], why: str) -> None:
    """Run CREATES in a process where nothing can be watched: it is told why, and works."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    refused, works, told = done.stdout.strip().rsplit("\n", 2)
    assert why in refused
    assert works.startswith(f"works {why}")
    assert told == "[]"


@pytest.mark.usefixtures("host")
def test_inside_a_program_that_is_watched_already_a_sandbox_says_so_and_works_unwatched(runtime: str) -> None:
    told_unwatched(
        [sys.executable, "-c", INSIDE + CREATES, runtime, str(native.syscall_number("seccomp"))],
        "this process is itself watched by another, and the kernel takes one watcher for a program",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no capability to lose")
@pytest.mark.usefixtures("host")
def test_root_that_may_not_look_into_its_guests_says_so_and_works_unwatched(runtime: str) -> None:
    without = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    told_unwatched([*without, sys.executable, "-c", CREATES, runtime], "root without CAP_SYS_PTRACE may not read")
