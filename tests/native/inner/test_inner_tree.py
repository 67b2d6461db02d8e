"""Whole trees of processes in a gVisor guest: known, bounded and killed, whatever they do to get away."""

from __future__ import annotations

import errno
import os
import resource
import time
from typing import TYPE_CHECKING

import pytest

from cloche_native.agent import (
    Done,
    ExecFlag,
    Exited,
    Ready,
    Refused,
    Scope,
    Setup,
    Stage,
    Started,
    encode_kill,
    encode_limits,
    encode_quiet,
    encode_signal,
)
from tests.native.inner.guests import PLAIN, UID

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.native.inner.guests import Guest

DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
print(os.getpid(), flush=True)
os.close(1)
time.sleep(1000)
"""
BOMB = """
import os
while True:
    try: os.fork()
    except OSError: pass
"""
COUNT = "import os; print(sum(name.isdigit() for name in os.listdir('/proc')))"


def start(guest: Guest, code: str, *, flags: ExecFlag = ExecFlag.NONE) -> tuple[int, int]:
    """Start a Python program: its exec id, and the reading end of its stdout."""
    reading, writing = os.pipe()
    exec_id = guest.spawn("python3", "-c", code, fds=[writing], flags=flags | ExecFlag.STDOUT)
    os.close(writing)
    guest.expect(Started, exec_id)
    return exec_id, reading


def processes(guest: Guest) -> int:
    """How many there are in the guest, besides the one that counts."""
    return int(guest.run("python3", "-c", COUNT).stdout) - 1


def settles(guest: Guest, count: int) -> bool:
    deadline = time.monotonic() + 5
    while processes(guest) > count and time.monotonic() < deadline:
        time.sleep(0.05)
    return processes(guest) <= count


def test_what_a_program_leaves_behind_is_killed_and_counted(guest: Guest) -> None:
    ran = guest.shell("sleep 1000 & sleep 1000 & setsid sleep 1000 & exit 3")
    assert ran.code == 3
    assert ran.exited.leftovers == 3
    assert settles(guest, 2)  # cloche-inner, and who waits for work


def test_a_daemon_dies_with_its_program_unless_it_may_linger(guest: Guest) -> None:
    exec_id, out = start(guest, DAEMON)
    assert isinstance(last := guest.end_of(exec_id), Exited)
    assert last.leftovers >= 1
    os.close(out)
    exec_id, out = start(guest, DAEMON, flags=ExecFlag.LINGER)
    assert isinstance(last := guest.end_of(exec_id), Exited)
    assert (last.status, last.leftovers) == (0, 0)
    daemon = int(os.read(out, 100))
    os.close(out)
    assert guest.shell(f"test -d /proc/{daemon}").code == 0
    guest.ask(encode_kill(exec_id))
    deadline = time.monotonic() + 5
    while guest.shell(f"test -d /proc/{daemon}").code == 0:
        assert time.monotonic() < deadline, "a daemon outlived its exec"
    guest.ask(encode_quiet(1))
    assert guest.expect(Done) == Done(1, 0)


def test_kill_reaches_every_exec_or_one(guest: Guest) -> None:
    one, other = guest.start("sleep", "1000"), guest.start("sleep", "1000")
    guest.ask(encode_kill(one.id))
    assert isinstance(last := guest.end_of(one.id), Exited)
    assert os.waitstatus_to_exitcode(last.status) == -9
    guest.ask(encode_quiet(1))
    assert guest.expect(Done).error == errno.EBUSY
    guest.ask(encode_kill())
    assert isinstance(guest.end_of(other.id), Exited)


def test_a_fork_bomb_is_bounded_and_killed_and_its_neighbours_are_not(launch: Callable[[], Guest]) -> None:
    guest = launch().ready(Setup(ids=(UID, UID, UID, UID), pids=60))
    neighbour = guest.start("sleep", "1000")
    bomb, out = start(guest, BOMB)
    time.sleep(1)
    guest.ask(encode_kill(bomb))
    began = time.monotonic()
    assert isinstance(last := guest.end_of(bomb), Exited)
    assert time.monotonic() - began < 15
    assert last.leftovers <= 60
    os.close(out)
    assert guest.run("true").code == 0
    assert settles(guest, 3)
    guest.ask(encode_signal(neighbour.id, 15))
    assert isinstance(last := guest.end_of(neighbour.id), Exited)
    assert os.waitstatus_to_exitcode(last.status) == -15


def test_the_bound_of_processes_counts_threads(launch: Callable[[], Guest]) -> None:
    guest = launch().ready(Setup(ids=(UID, UID, UID, UID), pids=10))
    code = """
import threading, time
made = 0
try:
    for _ in range(50): threading.Thread(target=time.sleep, args=(1,), daemon=True).start(); made += 1
except RuntimeError: pass
print(made)
"""
    assert int(guest.run("python3", "-c", code).stdout) == 9


def test_a_process_whose_first_thread_has_gone_is_still_killed(guest: Guest) -> None:
    code = """
import ctypes, os, threading, time
print('up', flush=True)
threading.Thread(target=time.sleep, args=(1000,)).start()
ctypes.CDLL(None).syscall(60, 0)
"""
    exec_id, out = start(guest, code)
    assert os.read(out, 10) == b"up\n"
    time.sleep(0.3)
    guest.ask(encode_kill(exec_id))
    assert isinstance(guest.end_of(exec_id), Exited)
    os.close(out)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_signal_reaches_its_scope(guest: Guest, scope: Scope) -> None:
    code = """
import os, signal, sys, time
def caught(number, frame): print(name, flush=True); os._exit(0)
signal.signal(signal.SIGUSR1, caught)
name = 'main'
if os.fork() == 0:
    name = 'child'
    if os.fork() == 0: os.setsid(); name = 'apart'
print('up', flush=True)
while True: time.sleep(0.05)  # a signal may come right before it sleeps
"""
    exec_id, out = start(guest, code, flags=ExecFlag.LINGER)
    said = b""
    while said.count(b"up\n") < 3:
        said += os.read(out, 100)
    guest.ask(encode_signal(exec_id, 10, scope))
    assert isinstance(guest.end_of(exec_id), Exited)
    wanted = {Scope.MAIN: {b"main"}, Scope.GROUP: {b"main", b"child"}, Scope.TREE: {b"main", b"child", b"apart"}}
    said = b""
    while not wanted[scope] <= set(said.split()):
        said += os.read(out, 100)
    time.sleep(0.5)  # what others would need to speak up
    guest.ask(encode_kill(exec_id))
    while part := os.read(out, 100):
        said += part
    os.close(out)
    assert set(said.split()) == wanted[scope]


def test_limits_are_put_on_programs_and_change_while_they_run(launch: Callable[[], Guest]) -> None:
    files, core = (resource.RLIMIT_NOFILE, 100, 200), (resource.RLIMIT_CORE, 0, 0)
    guest = launch().ready(Setup(ids=(UID, UID, UID, UID), rlimits=[files, core], pids=20))
    show = "import resource as r; print(r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_NPROC), flush=True)"
    assert guest.run("python3", "-c", show).stdout == b"(100, 200) (20, 20)\n"
    exec_id, out = start(guest, f"import sys, time\n{show}\ntime.sleep(2)\n{show}")
    assert os.read(out, 100) == b"(100, 200) (20, 20)\n"
    guest.ask(encode_limits(4, rlimits=[(resource.RLIMIT_NOFILE, 50, 60)], pids=10))
    assert guest.expect(Done) == Done(4, 0)
    guest.ask(encode_limits(5, rlimits=[(resource.RLIMIT_NOFILE, 300, 400)], pids=30))
    assert guest.expect(Done) == Done(5, errno.EPERM)  # this kernel lets nobody raise the hard limit of another
    assert isinstance(guest.end_of(exec_id), Exited)
    assert os.read(out, 100) == b"(50, 60) (10, 10)\n"
    os.close(out)
    assert guest.run("python3", "-c", show).stdout == b"(300, 400) (30, 30)\n"


def test_a_limit_that_can_not_be_set_refuses_each_exec_and_nothing_else(launch: Callable[[], Guest]) -> None:
    guest = launch().ready(Setup(ids=(UID, UID, UID, UID), rlimits=[(99, 1, 1)]))
    for _ in range(3):
        reply = guest.run("true").reply
        assert isinstance(reply, Refused)
        assert (reply.error, reply.stage) == (errno.EINVAL, Stage.LIMITS)
    guest.ready(PLAIN)
    assert guest.run("true").code == 0


def test_a_second_setup_is_for_execs_to_come(guest: Guest) -> None:
    before = guest.start("sleep", "1000")
    guest.ask(Setup(ids=(1234, 0, 1234, 0)).encode())
    assert guest.expect_ready() == Ready(None)
    assert guest.run("id", "-u").stdout == b"1234\n"
    assert guest.shell(f"grep Uid /proc/{before.pid}/status").stdout.split()[1] == b"1000"


def test_a_guest_can_not_reach_process_one(guest: Guest) -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def tried(what, call):
    try:
        call()
        print(what, 'done')
    except OSError as error:
        print(what, 'refused')
def reopened(name, how):
    return lambda: os.open('/proc/1/fd/' + name, how)
for number in (9, 15, 17, 19):
    tried('signal', lambda: os.kill(1, number))
tried('memory', lambda: open('/proc/1/mem', 'rb'))
tried('folder', lambda: os.listdir('/proc/1/cwd'))
tried('program', lambda: open('/proc/1/exe', 'rb'))
for name in os.listdir('/proc/1/fd'):
    path = os.readlink('/proc/1/fd/' + name)
    if path == '/box':
        tried(path, reopened(name, os.O_RDONLY))
    elif 'null' not in path:
        tried(path, reopened(name, os.O_RDWR))
print('ptrace', 'refused' if libc.ptrace(16, 1, 0, 0) == -1 else 'done')
"""
    told = [line.split() for line in guest.run("python3", "-c", code).stdout.decode().splitlines()]
    assert {"/box", "signal", "ptrace"} < {what for what, _ in told}
    assert any(what.endswith("/cgroup.procs") for what, _ in told)
    assert {how for _, how in told} == {"refused"}, told
    assert guest.run("true").code == 0


def test_a_guest_with_a_user_namespace_of_its_own_gets_no_hold_of_the_groups(guest: Guest) -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
os.mkdir('/tmp/groups')
print(libc.unshare(0x10000000), libc.unshare(0x20000))
print([libc.mount(b'none', b'/tmp/groups', kind, 0, b'pids') for kind in (b'cgroup', b'cgroup2', b'tmpfs', b'proc')])
print(os.listdir('/tmp/groups'))
"""
    lines = guest.run("python3", "-c", code).stdout.splitlines()
    assert lines[1:] == [b"[-1, -1, -1, -1]", b"[]"]
    assert b"cgroup" not in guest.shell("cat /proc/mounts").stdout


def test_a_guest_that_stops_all_it_can_holds_nobody_up(guest: Guest) -> None:
    code = """
import os, signal, time
print('up', flush=True)
end = time.monotonic() + 4
while time.monotonic() < end:
    try: os.kill(-1, signal.SIGSTOP)
    except OSError: pass
"""
    storm, out = start(guest, code)
    os.read(out, 10)
    ids = [guest.spawn("true") for _ in range(20)]
    for exec_id in ids:
        guest.ask(encode_kill(exec_id))
    for exec_id in ids:
        assert isinstance(guest.end_of(exec_id), Exited | Refused)
    guest.ask(encode_kill(storm))
    assert isinstance(guest.end_of(storm), Exited)
    os.close(out)
    assert guest.run("true").code == 0


def test_hundreds_of_execs_leave_nothing(guest: Guest) -> None:
    for _ in range(5):
        ids = [guest.spawn("true") for _ in range(40)]
        assert all(isinstance(guest.end_of(exec_id), Exited) for exec_id in ids)
    guest.ask(encode_quiet(2))
    assert guest.expect(Done) == Done(2, 0)
    assert settles(guest, 2)
