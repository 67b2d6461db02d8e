from __future__ import annotations

import os
import select
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche_native.agent import Done, ExecFlag, Exited, Mount, MountKind, encode_kill, encode_pause, encode_resume

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche_native.agent import Setup
    from tests.native.init.boxes import Box


def drained(fd: int) -> bytes:
    """What is in a pipe now."""
    got = b""
    while select.select([fd], [], [], 0)[0]:
        got += os.read(fd, 65536)
    return got


@pytest.fixture
def ticking(box: Box) -> tuple[int, int]:
    """A tree of four that each write all the time, one in a session of its own: its exec id and the pipe."""
    reading, writing = os.pipe()
    tick = "while :; do echo .; sleep 0.005; done"
    started = box.start(
        "sh", "-c", f"({tick}) & ({tick}) & setsid sh -c '{tick}' & {tick}", flags=ExecFlag.STDOUT, fds=[writing]
    )
    os.close(writing)
    os.read(reading, 1)
    return started.id, reading


def test_a_pause_stops_the_tree_and_a_resume_lets_it_go_on(box: Box, ticking: tuple[int, int]) -> None:
    exec_id, pipe = ticking
    box.ask(encode_pause(71))
    assert box.expect(Done) == Done(71, 0)
    drained(pipe)
    time.sleep(0.2)
    assert drained(pipe) == b""
    box.ask(encode_resume(72))
    assert box.expect(Done) == Done(72, 0)
    time.sleep(0.2)
    assert drained(pipe) != b""
    box.ask(encode_kill(exec_id))
    assert box.expect(Exited).leftovers >= 3
    os.close(pipe)


def test_what_is_paused_can_be_killed_and_others_started(box: Box, ticking: tuple[int, int]) -> None:
    exec_id, pipe = ticking
    box.ask(encode_pause(1))
    assert box.expect(Done).error == 0
    assert box.run("true").code == 0
    box.ask(encode_kill(exec_id))
    assert box.expect(Exited).id == exec_id
    os.close(pipe)


def test_a_pause_of_nothing_is_done_at_once(box: Box) -> None:
    for token in (0, 5, 2**32 - 1):
        box.ask(encode_pause(token))
        assert box.expect(Done) == Done(token, 0)
        box.ask(encode_resume(token))
        assert box.expect(Done) == Done(token, 0)


def test_a_fork_bomb_is_paused(limited: Box, marker: str, alive: Callable[[str], list[int]]) -> None:
    script = """
import os
while True:
    try:
        if os.fork() and os.getpid() % 3 == 0:
            os._exit(0)
    except OSError:
        pass
"""
    started = limited.start("python3", "-c", script, marker, flags=ExecFlag.LINGER)
    time.sleep(0.3)
    limited.ask(encode_pause(9))
    assert limited.expect(Done) == Done(9, 0)

    def states() -> dict[int, str]:
        found = {}
        for pid in alive(marker):
            state, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].strip().partition(" ")
            found[pid] = state + rest.split()[10]  # and utime
        return found

    before = states()
    assert before
    assert {state[0] for state in before.values()} <= {"T", "D"}
    time.sleep(0.2)
    assert states() == before
    limited.ask(encode_kill(started.id))
    deadline = time.monotonic() + 2
    while alive(marker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(marker)


HIDDEN = """
import ctypes, os, sys, time
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)   # PR_SET_DUMPABLE: with hidepid nobody of the same uid sees it in /proc
if os.fork() == 0:
    if os.fork() == 0:
        while True:
            os.write(1, b'.'); time.sleep(0.005)
    time.sleep(1000)
time.sleep(1000)
"""


def test_processes_that_hide_in_proc_are_paused_and_killed(launch: Callable[..., Box], sealed: Setup) -> None:
    mounts = (Mount(MountKind.PROC, "/proc", data="subset=pid,hidepid=invisible"), *sealed.mounts[1:])
    box = launch("bwrap").ready(replace(sealed, mounts=mounts))
    reading, writing = os.pipe()
    started = box.start("python3", "-c", HIDDEN, flags=ExecFlag.STDOUT, fds=[writing])
    os.close(writing)
    os.read(reading, 1)
    assert box.run("ls", f"/proc/{started.pid}").code != 0  # hidden indeed
    box.ask(encode_pause(1))
    assert box.expect(Done).error == 0
    drained(reading)
    time.sleep(0.1)
    assert drained(reading) == b""
    box.ask(encode_kill(started.id))
    assert box.expect(Exited, started.id).leftovers == 2
    os.close(reading)
