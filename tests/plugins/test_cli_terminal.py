"""``cloche run -it`` on a real pseudo-terminal: what is typed, its size, Ctrl-C, and how it is left."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Open = Callable[..., "Screen"]


class Screen:
    """A person at a terminal in which ``cloche`` runs."""

    def __init__(self, *args: str, rows: int, columns: int, own: bool) -> None:
        self._ours, self.theirs = os.openpty()
        termios.tcsetwinsize(self.theirs, (rows, columns))
        self.before = termios.tcgetattr(self.theirs)
        self._seen = b""
        # setsid -c makes it the controlling terminal, so that the kernel sends SIGWINCH and SIGINT by itself.
        prefix = ("setsid", "-c", "-w") if own else ()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "cloche", *args],
            stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip

    def type(self, text: bytes) -> None:
        os.write(self._ours, text)

    def until(self, pattern: bytes, timeout: float = 30) -> re.Match[bytes]:
        """Read until ``pattern`` is there; what comes later is kept."""
        deadline = time.monotonic() + timeout
        while (found := re.search(pattern, self._seen)) is None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._ours], [], [], left)[0]:
                pytest.fail(f"{pattern!r} did not come; there is {self._seen!r}")
            self._seen += os.read(self._ours, 65536)
        self._seen = self._seen[found.end() :]
        return found

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self._ours, (rows, columns))

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self.theirs) == self.before

    def hang_up(self) -> None:
        os.close(self._ours)
        self._ours = -1

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
        for fd in (self._ours, self.theirs):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def screen(no_own_leaks: None) -> Iterator[Open]:  # noqa: ARG001 - looks after the others are closed
    opened: list[Screen] = []

    def make(*args: str, rows: int = 33, columns: int = 101, own: bool = False) -> Screen:
        opened.append(Screen(*args, rows=rows, columns=columns, own=own))
        return opened[-1]

    yield make
    for one in opened:
        with suppress(ProcessLookupError):
            one.close()


def test_a_shell_in_it_is_interactive(screen: Open) -> None:
    person = screen("run", "-it", "--", "sh")
    person.until(rb"\$ $")
    person.type(b"tty; echo $TERM $((40 + 2))\n")
    person.until(rb"/dev/pts/\d+\r\nxterm 42\r\n")
    assert not person.is_as_before()
    person.type(b"exit 5\n")
    assert person.process.wait(30) == 5
    assert person.is_as_before()


def test_it_has_the_size_of_ours_and_follows_it(screen: Open) -> None:
    person = screen("run", "-it", "--", "sh", own=True)
    person.until(rb"\$ $")
    person.type(b"stty size\n")
    person.until(rb"33 101\r\n")
    person.resize(40, 120)
    deadline = time.monotonic() + 30
    while True:
        person.type(b"stty size\n")
        if person.until(rb"(\d+ \d+)\r\n")[1] == b"40 120":
            break
        assert time.monotonic() < deadline


def test_ctrl_c_interrupts_the_program_and_not_the_box(screen: Open) -> None:
    person = screen("run", "-it", "--", "sh", own=True)
    person.until(rb"\$ $")
    person.type(b"sh -c 'echo now; exec sleep 1000'\n")  # now from the very job that Ctrl-C is for
    person.until(rb"now\r\n")
    person.type(b"\x03")
    person.until(rb"\$ $")
    person.type(b"echo still $((1 + 1))\n")
    person.until(rb"still 2\r\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_leaves_the_terminal_as_it_was(screen: Open, number: signal.Signals) -> None:
    person = screen("run", "-it", "--", "sh", "-c", "echo up; sleep 1000")
    person.until(b"up\r\n")
    assert not person.is_as_before()
    person.process.send_signal(number)
    assert person.process.wait(30) == 128 + number
    assert person.is_as_before()


def test_a_terminal_that_hangs_up_ends_the_box(screen: Open) -> None:
    person = screen(
        "run", "-it", "--", "sh", "-c", "trap '' HUP; echo up; while :; do echo more; sleep 0.1; done", own=True
    )
    person.until(b"up\r\n")
    person.hang_up()
    assert person.process.wait(30) == 128 + signal.SIGHUP


def test_a_time_out_is_explained_on_a_terminal_that_is_as_before(screen: Open) -> None:
    person = screen("run", "-it", "--timeout", "300ms", "--", "sh", "-c", "echo up; sleep 1000")
    person.until(rb"up\r\n")
    person.until(rb"cloche: sh: it was ended after 0.3 s .*\r\n")
    assert person.process.wait(30) == 124
    assert person.is_as_before()


def test_without_t_ctrl_c_ends_the_box(screen: Open) -> None:
    person = screen("run", "--", "sh", "-c", "echo up; sleep 1000", own=True)
    person.until(rb"up\r\n")
    person.type(b"\x03")
    assert person.process.wait(30) == 128 + signal.SIGINT


def test_without_i_nothing_that_is_typed_goes_in(screen: Open) -> None:
    person = screen("run", "--", "sh", "-c", "cat; echo end of input")
    person.until(rb"end of input\r\n")
    assert person.process.wait(30) == 0


def test_with_i_alone_lines_go_in(screen: Open) -> None:
    person = screen("run", "-i", "--", "sh", "-c", "echo ready; read line; echo got $line")
    person.until(rb"ready\r\n")
    person.type(b"something\n")
    person.until(rb"got something\r\n")
    assert person.process.wait(30) == 0


def test_typed_ahead_answers_to_queries_do_not_reach_our_shell(screen: Open) -> None:
    person = screen("run", "-it", "--", "sh", "-c", "echo up; sleep 1")
    person.until(rb"up\r\n")
    person.type(b"echo injected\n")
    assert person.process.wait(30) == 0
    os.set_blocking(person.theirs, False)
    with pytest.raises(BlockingIOError):
        os.read(person.theirs, 100)


# -- in a sandbox that is there -----------------------------------------------------------------------------------


@pytest.fixture
def kept(screen: Open) -> Iterator[str]:  # noqa: ARG001 - the terminals go first
    """Give the id of a sandbox that a background process holds; both are gone after the test."""
    command = [sys.executable, "-m", "cloche"]
    made = subprocess.run([*command, "create", "--name", "term"], capture_output=True, timeout=60, check=True)
    yield made.stdout.decode().strip()
    subprocess.run([*command, "rm", "-f", "--all"], capture_output=True, timeout=60, check=True)
    folder = Path(os.environ["XDG_RUNTIME_DIR"], "cloche")
    deadline = time.monotonic() + 20
    while [*folder.glob("keepers/host-*"), *folder.glob("hosts/*")]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_program_in_a_sandbox_that_is_there_has_our_terminal(screen: Open, kept: str) -> None:
    person = screen("exec", "-it", kept, "--", "sh", own=True)
    person.until(rb"\$ $")
    person.type(b"tty; stty size; echo $TERM\n")
    person.until(rb"/dev/pts/\d+\r\n33 101\r\nxterm\r\n")
    person.type(b"sh -c 'echo up; exec sleep 600'\n")  # what has said so is what ^C goes to
    person.until(rb"\nup\r\n")
    person.type(b"\x03")
    person.until(rb"\$ $")
    person.type(b"exit 6\n")
    assert person.process.wait(30) == 6
    assert person.is_as_before()


def test_a_shell_opens_in_a_sandbox_that_is_there(screen: Open, kept: str) -> None:  # noqa: ARG001 - named "term"
    person = screen("shell", "term")
    person.until(rb"[$#] ")
    person.type(b"echo $((40 + 2)); exit 4\n")
    person.until(rb"[\r\n]42\r\n")
    assert person.process.wait(30) == 4
    assert person.is_as_before()


def test_figures_are_shown_live_until_ctrl_c(screen: Open, kept: str) -> None:  # noqa: ARG001 - named "term"
    person = screen("stats", "--every", "0.2", own=True)
    for _ in range(3):
        person.until(rb"term +running")
    person.type(b"\x03")
    assert person.process.wait(30) == 0
    assert person.is_as_before()
