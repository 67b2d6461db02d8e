from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche_native.agent import ExecFlag, Exited, Failed, encode_kill

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche_native.agent import Setup
    from tests.native.init.boxes import Box


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", sys.argv[1]])
    os._exit(0)
os.wait(); time.sleep(0.05)
"""


def test_a_daemon_that_forked_twice_is_killed_with_its_program(
    box: Box, marker: str, gone: Callable[[str], bool]
) -> None:
    ran = box.run("python3", "-c", DAEMON, marker)
    assert (ran.code, ran.exited.leftovers) == (0, 1)
    assert gone(marker)


def test_a_daemon_may_stay_when_asked_and_is_killed_later(
    box: Box, marker: str, alive: Callable[[str], list[int]], gone: Callable[[str], bool]
) -> None:
    started = box.start("python3", "-c", DAEMON, marker, flags=ExecFlag.LINGER)
    assert box.expect(Exited, started.id).leftovers == 0
    assert len(alive(marker)) == 1
    box.ask(encode_kill(started.id))
    assert gone(marker)
    assert box.run("true").code == 0


def test_output_held_open_by_a_grandchild_ends_with_the_program(box: Box, marker: str) -> None:
    began = time.monotonic()
    ran = box.shell(f"(setsid sleep {marker} &) ; echo said")
    assert (ran.stdout, ran.code, ran.exited.leftovers) == (b"said\n", 0, 1)
    assert time.monotonic() - began < 5


def test_a_kill_ends_one_exec_and_no_other(
    box: Box, marker: str, appears: Callable[[str], bool], gone: Callable[[str], bool]
) -> None:
    victim = box.start("sh", "-c", f"sleep {marker}1 & sleep {marker}2; true")
    other = box.start("sleep", f"{marker}3")
    assert appears(f"{marker}1")
    box.ask(encode_kill(victim.id))
    exited = box.expect(Exited, victim.id)
    assert (os.waitstatus_to_exitcode(exited.status), exited.leftovers) == (-signal.SIGKILL, 2)
    assert gone(f"{marker}1")
    assert gone(f"{marker}2")
    assert appears(f"{marker}3")
    box.ask(encode_kill())
    assert os.waitstatus_to_exitcode(box.expect(Exited, other.id).status) == -signal.SIGKILL


def test_a_kill_of_all_ends_all(box: Box, marker: str, gone: Callable[[str], bool]) -> None:
    started = [box.start("sh", "-c", f"trap '' TERM; sleep {marker} & sleep {marker}; wait") for _ in range(6)]
    box.ask(encode_kill())
    for one in started:
        assert os.waitstatus_to_exitcode(box.expect(Exited, one.id).status) == -signal.SIGKILL
    assert gone(marker)
    assert box.run("true").code == 0


BOMB = """
import os, sys
os.write(1, b'.')
while True:
    try:
        os.fork()
    except OSError:
        pass
"""
CHAIN = """
import os, sys
os.write(1, b'.')
while True:
    try:
        if os.fork():
            os._exit(0)
    except OSError:
        pass
    os.setsid() if os.getpid() != os.getsid(0) else None
"""


@pytest.mark.parametrize("script", [BOMB, CHAIN], ids=["bomb", "chain"])
def test_a_fork_bomb_is_killed_fast(limited: Box, script: str, marker: str, gone: Callable[[str], bool]) -> None:
    reading, writing = os.pipe()
    flags = ExecFlag.STDOUT | ExecFlag.LINGER
    started = limited.start("python3", "-c", script, marker, flags=flags, fds=[writing])
    os.close(writing)
    assert os.read(reading, 1) == b"."
    time.sleep(0.3)
    began = time.monotonic()
    limited.ask(encode_kill(started.id))
    while os.read(reading, 4096):  # its end: nobody holds the other side any more
        pass
    assert time.monotonic() - began < 1.5
    os.close(reading)
    assert gone(marker)
    limited.expect(Exited, started.id)
    assert limited.run("true").code == 0


def test_a_process_limit_leaves_room_for_the_next_exec(limited: Box) -> None:
    script = """
import os, time
try:
    while True:
        if os.fork() == 0:
            time.sleep(30)
except OSError:
    print('full', flush=True)
time.sleep(30)
"""
    reading, writing = os.pipe()
    started = limited.start("python3", "-c", script, flags=ExecFlag.STDOUT, fds=[writing])
    os.close(writing)
    assert os.read(reading, 100) == b"full\n"
    # Its programs count against the one uid, but what cloche-init itself starts is not limited.
    reply = limited.run("true").reply
    assert isinstance(reply, Exited)
    limited.ask(encode_kill(started.id))
    exited = limited.expect(Exited, started.id)
    assert 36 <= exited.leftovers <= 40
    os.close(reading)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_guest_that_kills_or_stops_its_shepherd_only_ends_itself(
    box: Box, number: int, marker: str, gone: Callable[[str], bool]
) -> None:
    other = box.start("sleep", "0.6")
    started = box.start(
        "sh", "-c", f"setsid sleep {marker} & sleep {marker} & sleep 0.1; kill -{int(number)} $PPID; sleep {marker}"
    )
    exited = box.expect(Exited, started.id)
    assert os.waitstatus_to_exitcode(exited.status) == -signal.SIGKILL
    assert gone(marker)
    assert box.expect(Exited, other.id).status == 0
    assert box.run("true").code == 0


def test_other_signals_to_a_shepherd_do_nothing(box: Box) -> None:
    signals = "HUP INT QUIT USR1 USR2 TERM CHLD CONT TSTP ALRM PIPE SYS SEGV"
    assert box.shell(f"for s in {signals}; do kill -$s $PPID; done; sleep 0.1; exit 4").code == 4


def test_a_guest_cannot_look_into_its_shepherd(box: Box) -> None:
    script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
parent = os.getppid()
print(libc.ptrace(16, parent, 0, 0), ctypes.get_errno())   # PTRACE_ATTACH
for name in ('mem', 'environ', 'fd/3', 'map_files', 'root', 'cwd', 'exe'):
    try:
        os.listdir(f'/proc/{parent}/{name}') if name == 'map_files' else os.open(f'/proc/{parent}/{name}', os.O_RDONLY)
        print(name, 'open')
    except PermissionError:
        pass
fd = os.pidfd_open(parent)
print(libc.syscall(438, fd, 3, 0), ctypes.get_errno())     # pidfd_getfd
"""
    assert box.run("python3", "-c", script).stdout == b"-1 1\n-1 1\n"
    control = """
import os, time
pid = os.fork()
print(bool(os.open(f'/proc/{pid}/environ', os.O_RDONLY))) if pid else time.sleep(0.2)
"""
    assert box.run("python3", "-c", control).stdout == b"True\n"


def test_pid_1_cannot_be_killed_or_stopped_from_inside(launch: Callable[..., Box], sealed: Setup) -> None:
    box = launch("bwrap").ready(sealed)
    assert box.shell("for s in 1 2 3 9 15 19 11 31; do kill -$s 1; done; kill -9 -1; sleep 0.1").code == -signal.SIGKILL
    assert box.run("echo", "here").stdout == b"here\n"


@pytest.mark.parametrize("how", ["closed", "shut"])
def test_the_end_of_the_control_socket_kills_everything(
    box: Box, how: str, marker: str, gone: Callable[[str], bool]
) -> None:
    box.start("python3", "-c", DAEMON, marker, flags=ExecFlag.LINGER)
    box.start("sh", "-c", f"trap '' HUP INT TERM; sleep {marker}; sleep {marker}")
    if how == "closed":
        box.sock.close()
    else:
        box.sock.shutdown(2)
    assert box.process.wait(5) == 0
    assert gone(marker)


def test_the_death_of_init_kills_everything(box: Box, marker: str, gone: Callable[[str], bool]) -> None:
    box.start("python3", "-c", DAEMON, marker, flags=ExecFlag.LINGER)
    box.start("sleep", marker)
    os.kill(box.pid, signal.SIGKILL)
    box.process.wait(5)
    assert gone(marker)


def test_a_kill_reaches_what_is_stopped(box: Box, marker: str) -> None:
    started = box.start("sh", "-c", f"sleep {marker} & kill -STOP $!; kill -STOP $$")
    time.sleep(0.1)
    box.ask(encode_kill(started.id))
    assert os.waitstatus_to_exitcode(box.expect(Exited, started.id).status) == -signal.SIGKILL


def test_children_of_other_threads_are_found(
    box: Box, marker: str, appears: Callable[[str, int], bool], gone: Callable[[str], bool]
) -> None:
    script = """
import subprocess, sys, threading, time
for _ in range(4):
    threading.Thread(target=lambda: (subprocess.Popen(['setsid', 'sleep', sys.argv[1]]), time.sleep(60))).start()
"""
    started = box.start("python3", "-c", script, marker)
    assert appears(f"sleep\0{marker}", 4)
    box.ask(encode_kill(started.id))
    assert box.expect(Exited, started.id).leftovers == 4
    assert gone(marker)


def test_a_guest_that_starves_its_shepherd_of_files_is_killed_all_the_same(
    box: Box, marker: str, gone: Callable[[str], bool]
) -> None:
    script = f"""
import os, resource, subprocess, time
subprocess.Popen(['setsid', 'sh', '-c', 'sleep {marker} & sleep {marker}'])
time.sleep(0.2)
resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))
"""
    ran = box.run("python3", "-c", script)
    assert ran.code in (0, -signal.SIGKILL)
    assert gone(marker)
    assert box.run("true").code == 0


def test_a_guest_that_starves_init_of_files_ends_its_box(
    box: Box, kind: str, marker: str, gone: Callable[[str], bool]
) -> None:
    init = box.pid if kind == "bare" else 1
    box.start("python3", "-c", DAEMON, marker, flags=ExecFlag.LINGER)
    box.start("python3", "-c", f"import resource, time; resource.prlimit({init}, 7, (0, 0)); time.sleep({marker})")
    time.sleep(0.1)
    with contextlib.suppress(BrokenPipeError):  # it ends at the next thing it has to do, whatever that is
        box.spawn("true")
    assert "limits" in box.expect(Failed).what
    assert box.process.wait(10) == 1
    assert gone(marker)


@pytest.mark.usefixtures("root")
def test_a_shepherd_that_is_stopped_from_outside_is_replaced(
    box: Box, marker: str, gone: Callable[[str], bool]
) -> None:
    reading, writing = os.pipe()
    started = box.start("sleep", marker, flags=ExecFlag.STDOUT, fds=[writing])
    os.close(writing)
    shepherd = int(Path(f"/proc/{box.pid}/task/{box.pid}/children").read_text().split()[0])
    os.kill(shepherd, signal.SIGSTOP)
    assert os.waitstatus_to_exitcode(box.expect(Exited, started.id).status) == -signal.SIGKILL
    assert os.read(reading, 1) == b""
    os.close(reading)
    assert gone(marker)


def test_a_double_report_never_changes_the_first(box: Box) -> None:
    for _ in range(20):
        exec_id = box.spawn("sh", "-c", "(sleep 0.005; kill -9 $PPID) & exit 9")
        # On a busy machine the shepherd may be killed before it says that the program was started.
        assert box.expect(Exited, exec_id).status in (9 << 8, signal.SIGKILL)
