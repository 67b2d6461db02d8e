from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche_native as native
from cloche_native.events import ACTS, FLAGS, iterate
from cloche_native.supervisor import RING_MIN, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.native.watched import Watched

OPEN = ACTS["open"]


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what is bound to be; a minute is for a busy machine."""
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.002)


def cpu_ticks(thread: Path) -> int:
    fields = (thread / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def watch_threads() -> list[Path]:
    return [task for task in Path("/proc/self/task").iterdir() if (task / "comm").read_text() == "cloche-watch\n"]


def test_a_path_at_the_end_of_memory_and_across_pages_is_read_and_one_without_end_is_told(
    watch: Callable[..., Watched],
) -> None:
    box = watch(wants=[OPEN])
    assert box.run("edges", "/etc/passwd") == ["0", "0", str(-errno.ENAMETOOLONG)]
    records = box.records()
    assert sum(record.path == b"/etc/passwd" for record in records) == 2
    assert records[-1].flags & FLAGS["unreadable"]
    assert box.supervisor.counters()[OPEN].unreadable == 1


def test_an_address_that_is_none_gets_the_error_of_the_kernel(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN])
    assert box.run("bad") == [str(-errno.EFAULT)]
    record = box.records()[-1]
    assert record.path == b""
    assert record.flags & FLAGS["unreadable"]


def test_a_path_of_4095_bytes_is_told_whole_and_one_of_4096_is_not_read(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN])
    long = "/" + "a" * 200 + "/" + "/".join(["b" * 100] * 38) + "/"
    long += "c" * (4095 - len(long))
    assert box.run("open", long, "open", long + "c") == [str(-errno.ENOENT), str(-errno.ENAMETOOLONG)]
    first, second = box.records()[-2:]
    assert first.path == long.encode()
    assert second.flags & FLAGS["unreadable"]


def test_a_relative_path_that_grows_too_long_is_cut_and_says_so(watch: Callable[..., Watched], tmp_path: Path) -> None:
    box = watch(wants=[OPEN])
    long = "./" + "/".join(["d" * 202] * 20)
    assert box.run("chdir", tmp_path, "open", long)[1] == str(-errno.ENOENT)
    record = box.records()[-1]
    assert record.path == long.encode()
    assert record.flags & FLAGS["unreadable"]


def test_bytes_of_a_path_are_kept_as_they_are(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN])
    box.run("open", "/tmp/\udcff\udcc3\n\x1b")
    assert box.records()[-1].path == b"/tmp/\xff\xc3\n\x1b"


def test_a_path_that_climbs_above_the_root_says_so(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN])
    box.run("open", "/etc/../../../etc/passwd")
    record = box.records()[-1]
    assert record.path == b"/etc/passwd"
    assert record.flags & FLAGS["climbs"]


def test_every_thread_of_thousands_is_answered_and_told_with_its_process(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN], ring=1 << 22)
    made = int(box.run("threads", 2000, "/etc/group")[0])
    assert made > 500
    records = [record for record in box.records() if record.path == b"/etc/group"]
    assert len(records) == 3 * made
    assert {record.pid for record in records} == {box.running[0].pid}
    assert len({record.tid for record in records}) > 1


def test_a_storm_of_forks_is_answered_to_the_last(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN], ring=1 << 22)
    assert box.run("forks", 300, "/etc/group") == ["300"]
    assert sum(record.path == b"/etc/group" for record in box.records()) == 300


def test_a_guest_whose_signals_come_all_the_time_gets_its_answers(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN], ring=1 << 22)
    assert box.run("alarm", "opens", 2000, "/etc/group")[1] == "2000"


def test_an_exec_from_a_program_of_many_threads_is_told_and_goes_on(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[ACTS["exec"]])
    box.run("threadexec", "/bin/true", calls=("execve",))
    assert sum(record.path == b"/bin/true" for record in box.records()) == 2


def test_the_end_of_the_last_process_is_noticed_also_of_one_that_was_left_behind(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN])
    process = box.start("daemon", "pause")
    process.wait(timeout=60)
    assert box.supervisor.status().listeners == 1
    box.supervisor.want([])
    left = [int(task.name) for task in Path("/proc").iterdir() if task.name.isdigit() and is_left(task)]
    assert len(left) == 1
    os.kill(left[0], signal.SIGKILL)
    wait_until(lambda: box.supervisor.status().listeners == 0)
    assert not box.supervisor.status().closed
    box.theirs.close()
    wait_until(lambda: box.supervisor.status().closed)


def is_left(task: Path) -> bool:
    try:
        return (task / "cmdline").read_bytes().endswith(b"/guest\0daemon\0pause\0")
    except OSError:
        return False


def test_an_idle_guest_and_a_dead_one_cost_no_time(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN])
    box.start("opens", 3, "/etc/group", "pause")
    wait_until(lambda: box.supervisor.counters().get(OPEN) is not None)
    dead = box.start("opens", 3, "/etc/group", "pause", exec_=2)
    wait_until(lambda: box.supervisor.status().listeners == 2)
    dead.kill()  # a zombie until it is waited for
    (thread,) = watch_threads()
    before = cpu_ticks(thread)
    time.sleep(0.3)
    assert cpu_ticks(thread) - before <= 2


def test_a_guest_killed_while_its_call_is_held_harms_nobody(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN], ring=RING_MIN, overload="wait", wait_ms=60_000)
    held = box.start("opens", 100_000, "/etc/group")
    wait_until(lambda: box.supervisor.status().waiting)
    held.kill()
    held.wait(timeout=60)
    box.records()
    wait_until(lambda: box.supervisor.status().listeners == 0)
    assert int(box.run("open", "/etc/group")[0]) > 0


def test_a_ring_that_nobody_drains_loses_by_count_and_the_counters_stay_exact(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN], ring=RING_MIN)
    assert box.run("opens", 5000, "/etc/group") == ["5000"]
    status, counts = box.supervisor.status(), box.supervisor.counters()[OPEN]
    records = box.records()
    assert counts.seen == status.records >= 5000
    assert status.lost == status.records - len(records) > 0
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    box.run("open", "/etc/passwd")
    assert box.records()[-1].number == box.supervisor.status().records


def test_with_wait_nothing_is_lost_and_the_guest_goes_on_when_room_is_made(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN], ring=RING_MIN, overload="wait", wait_ms=60_000)
    process = box.start("opens", 5000, "/etc/group")
    records = []
    while process.poll() is None:
        select.select([box.supervisor.fileno()], [], [], 1)
        records += box.records()
    records += box.records()
    assert process.communicate()[0] == "5000\n"
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    assert box.supervisor.status().lost == 0


def test_more_programs_than_are_listened_to_nearby_are_all_heard_and_lose_nothing(
    watch: Callable[..., Watched],
) -> None:
    box = watch(wants=[ACTS["open"]], overload="wait", ring=RING_MIN, wait_ms=60_000)
    guests = {
        number: box.start("open", "/etc/passwd", "sleep", 30 * number, "opens", 200, "/etc/group", exec_=number)
        for number in range(1, 13)
    }
    records = []
    while any(guest.poll() is None for guest in guests.values()):
        records += box.records()
    records += box.records()
    assert all(guest.returncode == 0 for guest in guests.values())
    heard = Counter(record.exec for record in records if record.path == b"/etc/group")
    assert heard == dict.fromkeys(guests, 200)
    assert box.supervisor.status().lost == 0
    wait_until(lambda: box.supervisor.status().listeners == 0)


def test_what_a_program_did_that_has_ended_is_there_to_be_taken(watch: Callable[..., Watched], tmp_path: Path) -> None:
    box = watch(wants=[ACTS["open"]])
    for number in range(60):
        path = os.fsencode(tmp_path / str(number))
        box.run("open", os.fsdecode(path))
        assert box.records()[-1].path == path


def test_a_guest_that_waits_too_long_is_told_of_and_waits_on(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN], ring=RING_MIN, overload="wait", wait_ms=20)
    process = box.start("opens", 5000, "/etc/group")
    wait_until(lambda: box.supervisor.status().overloaded)
    assert select.select([box.supervisor.fileno()], [], [], 0)[0]
    seen = box.supervisor.counters()[OPEN].seen
    time.sleep(0.05)
    assert (box.supervisor.counters()[OPEN].seen, process.poll()) == (seen, None)
    box.supervisor.resume()
    assert process.communicate(timeout=60)[0] == "5000\n"
    assert not box.supervisor.status().overloaded
    assert box.supervisor.status().lost > 0


def test_a_held_guest_of_one_box_does_not_hold_another_of_the_same_thread(watch: Callable[..., Watched]) -> None:
    from cloche_native.supervisor import SupervisorThread  # noqa: PLC0415 - of this test alone

    thread = SupervisorThread()
    full = watch(wants=[OPEN], ring=RING_MIN, overload="wait", wait_ms=60_000, thread=thread)
    free = watch(wants=[OPEN], thread=thread)
    full.start("opens", 100_000, "/etc/group")
    wait_until(lambda: full.supervisor.status().waiting)
    assert int(free.run("open", "/etc/group")[0]) > 0
    full.close()
    thread.close()


def test_a_flood_in_one_box_leaves_the_other_its_turn(watch: Callable[..., Watched]) -> None:
    from cloche_native.supervisor import SupervisorThread  # noqa: PLC0415 - of this test alone

    thread = SupervisorThread()
    flooded, quiet = (watch(wants=[OPEN], thread=thread) for _ in range(2))
    for number in range(3):
        flooded.start("opens", 10_000_000, "/etc/group", exec_=number)
    assert quiet.run("opens", 200, "/etc/group") == ["200"]
    thread.close()


def test_a_supervisor_closed_while_calls_are_held_lets_them_fail_and_go(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN], ring=RING_MIN, overload="wait", wait_ms=60_000)
    process = box.start("opens", 20_000, "/etc/group", "open", "/etc/group")
    wait_until(lambda: box.supervisor.status().waiting)
    box.supervisor.close()
    good, last = process.communicate(timeout=60)[0].split()
    assert 0 < int(good) < 20_000
    assert int(last) == -errno.ENOSYS


def test_the_host_killed_leaves_a_guest_that_gets_no_answer_but_an_error(programs: Path, tmp_path: Path) -> None:
    script = tmp_path / "host.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from tests.native.watched import Watched
        box = Watched(Path({str(programs)!r}), wants=[{OPEN}])
        process = box.start("while", "/etc/group", out=sys.stdout)
        while not box.supervisor.counters(): time.sleep(0.01)
        print("up", flush=True)
        time.sleep(60)
        """)
    )
    host = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert host.stdout is not None
    assert host.stdout.readline() == "up\n"
    host.kill()
    host.wait()
    lines = host.stdout.read().split()  # the guest's, to its end
    host.stdout.close()
    assert lines == [str(-errno.ENOSYS)]


@pytest.mark.parametrize("body", [b"", b"1234567", b"123456789", b"x" * 8000])
def test_a_packet_of_another_size_is_refused_and_its_descriptor_closed(
    watch: Callable[..., Watched], body: bytes
) -> None:
    box = watch()
    reading, writing = os.pipe()
    if body:
        socket.send_fds(box.theirs, [body], [writing])
    else:
        box.theirs.shutdown(socket.SHUT_WR)  # an empty packet is the end
    os.close(writing)
    assert select.select([reading], [], [], 60)[0] if body else True
    os.close(reading)
    wait_until(lambda: box.supervisor.status().refused == 1 if body else box.supervisor.status().closed)


def test_what_is_no_listener_or_too_many_descriptors_is_refused(watch: Callable[..., Watched]) -> None:
    box = watch()
    good = struct.pack("II", 1, 1)
    pipes = [os.pipe() for _ in range(3)]
    socket.send_fds(box.theirs, [good], [pipes[0][1]])
    socket.send_fds(box.theirs, [good], [pipe[1] for pipe in pipes])
    box.theirs.send(good)
    for _, writing in pipes:
        os.close(writing)
    wait_until(lambda: box.supervisor.status().refused == 3)
    for reading, _ in pipes:
        assert os.read(reading, 1) == b""  # nobody has the other end
        os.close(reading)
    assert int(box.run("open", "/etc/group")[0]) > 0


def test_a_fork_of_the_host_may_throw_its_supervisor_away(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN])
    child = os.fork()
    if not child:
        box.supervisor.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert int(box.run("open", "/etc/group")[0]) > 0


def test_a_listener_that_a_forked_process_still_has_is_done_with_all_the_same(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN])
    first = box.start("opens", 3, "/etc/group", "pause")
    wait_until(lambda: box.supervisor.counters().get(OPEN) is not None and box.supervisor.status().listeners == 1)
    waiting, going = os.pipe()
    child = os.fork()  # it has a copy of every listener
    if not child:
        os.close(going)
        os.read(waiting, 1)
        os._exit(0)
    os.close(waiting)
    first.kill()
    first.wait(timeout=60)
    wait_until(lambda: box.supervisor.status().listeners == 0)
    assert box.run("opens", 200, "/etc/group") == ["200"]
    os.close(going)
    assert os.waitpid(child, 0)[1] == 0


def test_a_supervisor_that_is_forgotten_ends_its_thread(programs: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    root = os.open("/", os.O_PATH)
    supervisor: Supervisor | None = Supervisor(ours.detach(), root)
    assert supervisor is not None
    assert len(watch_threads()) == 1
    supervisor = None
    assert watch_threads() == []
    os.close(root)
    theirs.close()
    assert programs.exists()


def test_threads_of_the_supervisor_take_no_signals(watch: Callable[..., Watched]) -> None:
    watch()
    (thread,) = watch_threads()
    blocked = next(line for line in (thread / "status").read_text().splitlines() if line.startswith("SigBlk"))
    assert int(blocked.split()[1], 16) & 0x7FFFFFFF == 0x7FFFFFFF & ~(1 << 8 | 1 << 18)  # but KILL and STOP


def test_records_while_another_thread_drains_are_whole_and_in_order(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[OPEN], ring=1 << 20)
    processes = [box.start("opens", 3000, "/etc/group", exec_=number) for number in range(3)]
    raw = b""
    while any(process.poll() is None for process in processes):
        raw += box.supervisor.drain()
    raw += box.supervisor.drain()
    numbers = [record.number for record in iterate(raw)]
    assert numbers == sorted(numbers)
    assert len(numbers) + box.supervisor.status().lost == box.supervisor.status().records
    assert box.supervisor.counters()[OPEN].seen >= 9000
    assert native.syscall_number("openat") is not None
