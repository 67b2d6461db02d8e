from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING

import pytest

from cloche_native.agent import ExecFlag, Exited, Started, encode_resize

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.native.init.boxes import Box


class Terminal:
    """A program on a terminal, seen from the master."""

    def __init__(self, box: Box, *argv: str, window: tuple[int, int] | None = None, env: dict[str, str]) -> None:
        self.box = box
        self.id = box.spawn(*argv, flags=ExecFlag.PTY, window=window, env=env)
        started = box.expect(Started, self.id)
        assert started.terminal is not None
        self.master: int = started.terminal

    def until(self, text: bytes, timeout: float = 10) -> bytes:
        """Read until a text is there."""
        got = b""
        deadline = time.monotonic() + timeout
        while text not in got:
            assert select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0], got
            got += os.read(self.master, 4096)
        return got

    def rest(self) -> bytes:
        """Read to the end, which is EIO for a master, and close."""
        got = b""
        while True:
            try:
                part = os.read(self.master, 4096)
            except OSError:
                part = b""
            if not part:
                os.close(self.master)
                return got
            got += part


@pytest.fixture
def terminal(box: Box) -> Callable[..., Terminal]:
    def start(*argv: str, window: tuple[int, int] | None = None) -> Terminal:
        return Terminal(box, *argv, window=window, env={"PATH": "/usr/bin:/bin", "TERM": "dumb"})

    return start


def test_a_program_has_a_terminal_of_the_size_asked_for(terminal: Callable[..., Terminal], box: Box) -> None:
    ran = terminal("sh", "-c", "tty; stty size; test -t 0 -a -t 1 -a -t 2 && echo all; exit 5", window=(40, 132))
    output = ran.rest().split()
    assert output[0].startswith(b"/dev/pts/")
    assert output[1:] == [b"40", b"132", b"all"]
    assert os.waitstatus_to_exitcode(box.expect(Exited, ran.id).status) == 5


def test_it_is_the_controlling_terminal(terminal: Callable[..., Terminal], box: Box) -> None:
    ran = terminal("sh", "-c", "echo through > /dev/tty; ps -o tty= -p $$")
    assert b"through" in ran.until(b"pts/")
    ran.rest()
    assert box.expect(Exited, ran.id).status == 0


def test_a_line_is_echoed_and_read(terminal: Callable[..., Terminal], box: Box) -> None:
    ran = terminal("sh", "-c", "read line; echo got $line")
    os.write(ran.master, b"hello\n")
    assert ran.rest() == b"hello\r\ngot hello\r\n"
    assert box.expect(Exited, ran.id).status == 0


def test_control_c_is_a_signal(terminal: Callable[..., Terminal], box: Box) -> None:
    ran = terminal("sh", "-c", "echo up; exec sleep 30")
    ran.until(b"up")
    os.write(ran.master, b"\x03")
    assert os.waitstatus_to_exitcode(box.expect(Exited, ran.id).status) == -signal.SIGINT
    ran.rest()


def test_a_resize_is_seen_and_signalled(terminal: Callable[..., Terminal], box: Box) -> None:
    script = (
        "import fcntl, signal, struct, termios, time\n"
        "seen = []\n"
        "signal.signal(signal.SIGWINCH, lambda *_: seen.append(1))\n"
        "print('up', flush=True)\n"
        "while not seen: time.sleep(0.01)\n"
        "print(struct.unpack('HHHH', fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))))"
    )
    ran = terminal("python3", "-c", script, window=(24, 80))
    ran.until(b"up")
    box.ask(encode_resize(ran.id, 50, 200))
    assert b"(50, 200, 0, 0)" in ran.rest()
    assert box.expect(Exited, ran.id).status == 0


def test_the_host_may_resize_by_the_master_too(terminal: Callable[..., Terminal], box: Box) -> None:
    ran = terminal("sh", "-c", "trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.01; done")
    ran.until(b"up")
    fcntl.ioctl(ran.master, termios.TIOCSWINSZ, struct.pack("HHHH", 11, 22, 0, 0))
    assert b"11 22" in ran.rest()
    assert box.expect(Exited, ran.id).status == 0


def test_a_resize_without_a_terminal_is_ignored(box: Box) -> None:
    started = box.start("sleep", "0.1")
    box.ask(encode_resize(started.id, 50, 200))
    assert box.expect(Exited, started.id).status == 0


def test_closing_the_master_hangs_up(terminal: Callable[..., Terminal], box: Box) -> None:
    ran = terminal("sh", "-c", "echo up; exec sleep 30")
    ran.until(b"up")
    os.close(ran.master)
    assert os.waitstatus_to_exitcode(box.expect(Exited, ran.id).status) == -signal.SIGHUP


def test_the_terminal_ends_with_its_program(terminal: Callable[..., Terminal], box: Box, marker: str) -> None:
    ran = terminal("sh", "-c", f"trap '' HUP; setsid sleep {marker} & echo done")
    assert b"done" in ran.rest()
    assert box.expect(Exited, ran.id).leftovers == 1


def test_terminals_of_two_programs_are_two(terminal: Callable[..., Terminal], box: Box) -> None:
    first, second = (terminal("sh", "-c", "tty; read x; echo $x") for _ in range(2))
    names = {first.until(b"\n").split()[0], second.until(b"\n").split()[0]}
    assert len(names) == 2
    os.write(second.master, b"two\n")
    os.write(first.master, b"one\n")
    assert first.rest().endswith(b"one\r\n")
    assert second.rest().endswith(b"two\r\n")
    for ran in (first, second):
        assert box.expect(Exited, ran.id).status == 0
