"""Memory that cloche-init itself bounds, and limits that change while programs run."""

from __future__ import annotations

import errno
import os
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche_native.agent import (
    Cause,
    Done,
    ExecFlag,
    Exited,
    MountKind,
    Started,
    encode_kill,
    encode_limits,
    encode_pause,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche_native.agent import Setup
    from tests.native.init.boxes import Box

MIB = 1 << 20
HOG = "import time\nx = bytearray(%d << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('full', flush=True)\n"


@pytest.fixture
def bounded(launch: Callable[..., Box], kind: str, setup: Setup) -> Box:
    """A box that is ready, whose programs may have 96 MiB together."""
    started: Box = launch(kind)
    return started.ready(replace(setup, memory=96 * MIB))


def test_a_program_that_takes_too_much_is_killed_and_the_cause_told(bounded: Box) -> None:
    ran = bounded.run("python3", "-c", HOG % 300 + "time.sleep(60)")
    assert (ran.code, ran.exited.cause) == (-signal.SIGKILL, Cause.MEMORY)
    assert ran.exited.peak_kib < 300 << 10
    ran = bounded.run("python3", "-c", HOG % 32)
    assert (ran.stdout, ran.code, ran.exited.cause) == (b"full\n", 0, Cause.NONE)


def test_the_memory_of_many_processes_counts_together(bounded: Box) -> None:
    script = f"import os, time\nfor _ in range(4):\n if not os.fork(): exec({HOG % 40 + 'time.sleep(60)'!r})\nos.wait()"
    ran = bounded.run("python3", "-c", script)
    assert (ran.code, ran.exited.cause) == (-signal.SIGKILL, Cause.MEMORY)
    assert ran.exited.leftovers >= 1


def test_pages_that_processes_share_count_once(bounded: Box) -> None:
    script = HOG % 48 + "import os\nfor _ in range(4):\n if not os.fork(): time.sleep(1); os._exit(0)\n"
    ran = bounded.run("python3", "-c", script + "for _ in range(4): os.wait()")
    assert (ran.stdout, ran.code, ran.exited.cause) == (b"full\n", 0, Cause.NONE)


def test_the_one_that_has_most_is_killed_and_the_others_go_on(bounded: Box) -> None:
    theirs, ours = os.pipe()
    script = HOG % 16 + "import sys; sys.exit(sys.stdin.read() != 'go')"
    small = bounded.spawn("python3", "-c", script, fds=[theirs], flags=ExecFlag.STDIN)
    bounded.expect(Started, small)
    os.close(theirs)
    ran = bounded.run("python3", "-c", HOG % 300 + "time.sleep(60)")
    assert ran.exited.cause == Cause.MEMORY
    os.write(ours, b"go")
    os.close(ours)
    end = bounded.end_of(small)
    assert isinstance(end, Exited)
    assert (end.status, end.cause) == (0, Cause.NONE)


def test_what_lingers_is_killed_too(bounded: Box, marker: str, gone: Callable[[str], bool]) -> None:
    ran = bounded.run(
        "sh", "-c", f"setsid python3 -c '{HOG % 300}time.sleep({marker})' >/dev/null 2>&1 &", flags=ExecFlag.LINGER
    )
    assert (ran.code, ran.exited.cause) == (0, Cause.NONE)
    deadline = time.monotonic() + 10
    while not gone(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gone(marker)


def test_files_in_memory_count_too(launch: Callable[..., Box], sealed: Setup) -> None:
    mounts = tuple(
        replace(mount, data="size=64m,mode=1777") if mount.kind is MountKind.TMPFS else mount for mount in sealed.mounts
    )
    box = launch("bwrap").ready(replace(sealed, mounts=mounts, memory=64 * MIB))
    assert box.run("sh", "-c", "head -c 40000000 /dev/zero > /tmp/f; sleep 0.3").exited.cause == Cause.NONE
    ran = box.run("python3", "-c", HOG % 40 + "time.sleep(5)")
    assert ran.exited.cause == Cause.MEMORY
    assert box.run("sh", "-c", "rm /tmp/f").code == 0
    assert box.run("python3", "-c", HOG % 40).code == 0


def test_a_program_that_hides_its_shares_is_weighed_whole(bounded: Box) -> None:
    hide = "import ctypes; assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0\n"  # PR_SET_DUMPABLE
    assert bounded.run("python3", "-c", hide + HOG % 300 + "time.sleep(60)").exited.cause == Cause.MEMORY


def test_one_killed_by_request_has_no_cause(bounded: Box) -> None:
    exec_id = bounded.spawn("sleep", "60")
    bounded.expect(Started, exec_id)
    bounded.ask(encode_kill(exec_id))
    end = bounded.end_of(exec_id)
    assert isinstance(end, Exited)
    assert (end.status, end.cause) == (signal.SIGKILL, Cause.NONE)


def test_a_paused_program_counts_and_can_be_killed_for_memory(bounded: Box) -> None:
    exec_id = bounded.spawn("python3", "-c", HOG % 48 + "time.sleep(60)")
    pid = bounded.expect(Started, exec_id).pid
    assert pid
    time.sleep(0.5)
    bounded.ask(encode_pause(77))
    assert bounded.expect(Done).error == 0
    bounded.ask(encode_limits(78, memory=16 * MIB))
    assert bounded.expect(Done).error == 0
    end = bounded.end_of(exec_id)
    assert isinstance(end, Exited)
    assert end.cause == Cause.MEMORY


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


def test_an_idle_box_costs_next_to_nothing_to_watch(bounded: Box) -> None:
    exec_id = bounded.spawn("sleep", "60")
    bounded.expect(Started, exec_id)
    before = cpu_ticks(bounded.pid)
    time.sleep(2)
    assert cpu_ticks(bounded.pid) - before <= 2 * os.sysconf("SC_CLK_TCK") / 50  # 2 % of one processor; a tick is 10 ms


# -- limits that change ----------------------------------------------------------------------------------------------


SHOW = "import resource as r, sys\nfor _ in sys.stdin: print(r.getrlimit(7)[0], r.getrlimit(1)[0], flush=True)"


def test_new_limits_hold_for_what_runs_and_what_comes(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    box = launch(kind).ready(replace(setup, rlimits=[(resource.RLIMIT_NOFILE, 100, 100)]))
    ours, theirs = os.pipe(), os.pipe()
    exec_id = box.spawn("python3", "-c", SHOW, fds=[ours[0], theirs[1]], flags=ExecFlag.STDIN | ExecFlag.STDOUT)
    box.expect(Started, exec_id)
    os.close(ours[0])
    os.close(theirs[1])
    os.write(ours[1], b"\n")
    assert os.read(theirs[0], 99).split()[0] == b"100"
    lower = [(resource.RLIMIT_NOFILE, 50, 50), (resource.RLIMIT_FSIZE, 8192, 8192)]
    box.ask(encode_limits(5, rlimits=lower))
    assert box.expect(Done) == Done(5, 0)
    os.write(ours[1], b"\n")
    assert os.read(theirs[0], 99) == b"50 8192\n"
    assert box.run("python3", "-c", SHOW, stdin=b"\n").stdout == b"50 8192\n"
    # A hard limit can't be raised for what runs, and that is told; what comes has the new one.
    box.ask(encode_limits(6, rlimits=[(resource.RLIMIT_NOFILE, 80, 80)]))
    assert box.expect(Done) == Done(6, errno.EPERM)
    os.write(ours[1], b"\n")
    assert os.read(theirs[0], 99) == b"50 8192\n"
    assert box.run("python3", "-c", SHOW, stdin=b"\n").stdout == b"80 8192\n"
    os.close(ours[1])
    os.close(theirs[0])
    box.end_of(exec_id)


def test_new_limits_reach_a_tree(
    limited: Box, marker: str, appears: Callable[..., bool], alive: Callable[[str], list[int]]
) -> None:
    script = f"for i in 1 2 3; do (setsid sleep {marker} &) ; done; sleep {marker}"
    exec_id = limited.spawn("sh", "-c", script)
    assert appears(f"sleep\0{marker}", 4)
    limited.ask(encode_limits(5, rlimits=[(resource.RLIMIT_NOFILE, 33, 33)]))
    assert limited.expect(Done) == Done(5, 0)
    found = alive(f"sleep\0{marker}")
    assert len(found) == 4
    for pid in found:
        assert "Max open files            33" in Path(f"/proc/{pid}/limits").read_text()
    limited.ask(encode_kill(exec_id))
    limited.end_of(exec_id)


def test_the_number_of_processes_changes_for_what_comes(limited: Box) -> None:
    count = "import resource as r; print(r.getrlimit(6)[0])"
    before = int(limited.run("python3", "-c", count).stdout)
    limited.ask(encode_limits(5, pids=10))
    assert limited.expect(Done) == Done(5, 0)
    after = int(limited.run("python3", "-c", count).stdout)
    assert after in (before - 30, before - 29)  # the shepherd of the one before counts until it is reaped


def test_more_limits_than_there_are_resources_are_refused_whole(box: Box) -> None:
    box.ask(encode_limits(5, rlimits=[(number, 1, 1) for number in range(100, 117)]))
    assert box.expect(Done) == Done(5, errno.E2BIG)
    assert box.run("true").code == 0
