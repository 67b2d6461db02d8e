"""Terminals in a gVisor guest, which the host has at the other end of a socket."""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import TYPE_CHECKING

import pytest

from cloche_native.agent import Done, ExecFlag, Exited, Refused, Stage, Started, encode_quiet, encode_resize
from tests.native.init.boxes import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.native.inner.guests import Guest


class Terminal:
    """The host's end of a terminal, and its exec."""

    def __init__(self, guest: Guest, *argv: str) -> None:
        self.guest = guest
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(PATIENCE)
        self.id = guest.spawn(*argv, fds=[theirs.fileno()], flags=ExecFlag.PTY, window=(24, 80))
        theirs.close()

    def until(self, text: bytes) -> bytes:
        said = b""
        while text not in said:
            part = self.sock.recv(65536)
            assert part, said
            said += part
        return said

    def rest(self) -> bytes:
        said = b""
        while part := self.sock.recv(65536):
            said += part
        return said

    def code(self) -> int:
        last = self.guest.end_of(self.id)
        assert isinstance(last, Exited), last
        return os.waitstatus_to_exitcode(last.status)


@pytest.fixture
def terminal(shared: Guest) -> Iterator[Callable[..., Terminal]]:
    """Run a program on a terminal of a guest."""
    made: list[Terminal] = []

    def run(*argv: str) -> Terminal:
        made.append(Terminal(shared, *argv))
        return made[-1]

    yield run
    for one in made:
        one.sock.close()


def test_a_program_has_a_terminal_of_the_size_asked_for(terminal: Callable[..., Terminal]) -> None:
    one = terminal("sh", "-c", "test -t 0 && test -t 1 && test -t 2 && stty size; exit 4")
    assert one.rest() == b"24 80\r\n"
    assert one.code() == 4


def test_what_is_typed_arrives_and_is_shown(terminal: Callable[..., Terminal]) -> None:
    one = terminal("sh", "-c", "read line; echo got $line")
    one.sock.sendall(b"words\n")
    assert one.rest() == b"words\r\ngot words\r\n"
    assert one.code() == 0


def test_the_size_can_change(shared: Guest, terminal: Callable[..., Terminal]) -> None:
    one = terminal("bash", "-c", "trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.1; done")
    one.until(b"up")
    shared.ask(encode_resize(one.id, 50, 132))
    one.until(b"50 132")
    assert one.code() == 0


def test_a_typed_interrupt_is_a_signal_unless_the_program_reads_it_raw(terminal: Callable[..., Terminal]) -> None:
    one = terminal("bash", "-c", "trap 'echo caught; exit 5' INT; echo up; while :; do sleep 0.1; done")
    one.until(b"up")
    one.sock.sendall(b"\x03")
    one.until(b"caught")
    assert one.code() == 5
    raw = terminal("bash", "-c", "stty raw -echo; echo up; head -c 1 | od -An -c")
    raw.until(b"up")
    raw.sock.sendall(b"\x03")
    assert b"003" in raw.rest()
    assert raw.code() == 0


def test_a_hang_up_ends_the_session(terminal: Callable[..., Terminal]) -> None:
    one = terminal("bash", "-c", "echo up; sleep 1000; echo no")
    one.until(b"up")
    one.sock.close()
    assert one.code() in (-1, 129)


def test_much_output_comes_whole_and_a_host_that_does_not_read_stops_the_program(
    shared: Guest, terminal: Callable[..., Terminal]
) -> None:
    one = terminal("sh", "-c", "head -c 2000000 /dev/zero | tr '\\0' x; echo; echo end")
    time.sleep(1)
    shared.ask(encode_quiet(3))
    assert shared.expect(Done).error == errno.EBUSY
    assert one.rest() == b"x" * 2000000 + b"\r\nend\r\n"
    assert one.code() == 0
    shared.ask(encode_quiet(4))
    assert shared.expect(Done) == Done(4, 0)


def test_all_that_was_shown_is_there_once_the_end_is_told(terminal: Callable[..., Terminal]) -> None:
    for _ in range(20):
        one = terminal("sh", "-c", "echo first; exec /bin/echo last")
        assert one.code() == 0
        one.sock.setblocking(False)
        assert one.sock.recv(65536) == b"first\r\nlast\r\n"


def test_a_program_that_is_not_there_is_refused_and_its_terminal_ends(
    shared: Guest, terminal: Callable[..., Terminal]
) -> None:
    one = terminal("/no/such/program")
    last = shared.end_of(one.id)
    assert isinstance(last, Refused)
    assert (last.error, last.stage) == (errno.ENOENT, Stage.EXEC)
    assert one.rest() == b""


def test_what_is_no_socket_is_refused_as_a_terminal(shared: Guest) -> None:
    reading, writing = os.pipe()
    exec_id = shared.spawn("true", fds=[writing], flags=ExecFlag.PTY)
    os.close(writing)
    assert isinstance(shared.end_of(exec_id), Refused | Exited)
    os.close(reading)
    assert shared.run("true").code == 0


def test_terminals_side_by_side_do_not_mix(shared: Guest, terminal: Callable[..., Terminal]) -> None:
    ones = [terminal("sh", "-c", "read line; echo got $line") for _ in range(5)]
    for one in ones:
        shared.expect(Started, one.id)
    for number, one in enumerate(ones):
        one.sock.sendall(b"%d\n" % number)
    for number, one in enumerate(ones):
        assert one.rest().endswith(b"got %d\r\n" % number)


JOBS = """
import os, signal, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_DFL)
job = os.fork()
os.setpgid(job, job) if job else os.setpgid(0, 0)
if job == 0:
    time.sleep(60)
signal.signal(signal.SIGINT, lambda *_: print("told the shell", flush=True))
os.tcsetpgrp(0, job)
print("up", flush=True)
print("signal", os.waitpid(job, 0)[1], flush=True)
os.tcsetpgrp(0, os.getpgrp())
print("own", flush=True)
signal.pause()
"""


def test_what_is_typed_to_interrupt_reaches_the_foreground_job_alone(terminal: Callable[..., Terminal]) -> None:
    one = terminal("python3", "-c", JOBS)
    one.until(b"up\r\n")
    one.sock.sendall(b"\x03")
    assert b"told" not in one.until(b"own\r\n")
    one.sock.sendall(b"\x03")
    assert one.rest().endswith(b"told the shell\r\n")
    assert one.code() == 0


def test_who_tells_of_the_foreground_is_no_childs_business_and_goes_with_the_terminal(
    shared: Guest, terminal: Callable[..., Terminal]
) -> None:
    before = shared.shell("echo /proc/[0-9]*").stdout.split()
    one = terminal(
        "python3", "-c", "import os\ntry: os.wait()\nexcept ChildProcessError: print(os.listdir('/proc/self/fd'))"
    )
    assert one.rest() == b"['0', '1', '2', '3']\r\n"  # 3 is that of listdir
    assert one.code() == 0
    deadline = time.monotonic() + PATIENCE
    while len(shared.shell("echo /proc/[0-9]*").stdout.split()) > len(before):
        assert time.monotonic() < deadline
