"""``cloche run`` beside other processes: streams that are live, signals that end everything, readers that go away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Start = Callable[..., subprocess.Popen[bytes]]

pytestmark = pytest.mark.usefixtures("no_own_leaks")


def wait_for_handler(process: subprocess.Popen[bytes]) -> None:
    """Come back when ``process`` is about to handle SIGTERM itself."""
    status = Path(f"/proc/{process.pid}/status")
    while not int(status.read_text().split("SigCgt:")[1].split()[0], 16) & 1 << signal.SIGTERM - 1:
        time.sleep(0.001)


@pytest.fixture
def marked() -> Callable[[int], bool]:
    """Give a function that tells whether so many processes of this machine sleep the time of this test, or soon do."""
    wanted = f"sleep\0{seconds()}\0".encode()

    def count() -> int:
        found = 0
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    found += (entry / "cmdline").read_bytes() == wanted
        return found

    def reached(number: int) -> bool:
        deadline = time.monotonic() + 10
        while count() != number and time.monotonic() < deadline:
            time.sleep(0.02)
        return count() == number

    return reached


def seconds() -> str:
    """Give a time to sleep that no other process has: longer than any test."""
    return f"4000.{os.getpid()}"


def test_output_comes_while_the_program_runs_and_input_goes_in(start: Start) -> None:
    process = start("run", "--", "cat", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    for word in (b"one\n", b"two\n"):
        process.stdin.write(word)
        process.stdin.flush()
        assert process.stdout.readline() == word
    process.stdin.close()
    assert process.wait(30) == 0


def test_a_silent_open_input_does_not_keep_it_from_ending(start: Start) -> None:
    assert start("run", "--", "true", stdin=subprocess.PIPE).wait(30) == 0


def test_input_that_is_never_read_does_not_keep_it_from_ending(start: Start) -> None:
    process = start("run", "--", "sleep", "0.2", stdin=subprocess.PIPE)
    assert process.stdin is not None
    with pytest.raises(BrokenPipeError):
        process.stdin.write(bytes(100 << 20))
    assert process.wait(30) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_the_whole_box(start: Start, marked: Callable[[int], bool], number: signal.Signals) -> None:
    script = f"(setsid sleep {seconds()} &) ; echo up; exec sleep {seconds()}"
    process = start("run", "--", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert marked(2)
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    assert marked(0)
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_a_signal_ends_it_while_its_input_is_full_and_its_output_unread(start: Start) -> None:
    flood = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    try:
        process = start("run", "--output", "1G", "--", "sh", "-c", "yes <&-", stdin=flood.stdout)
        wait_for_handler(process)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    finally:
        flood.kill()
        flood.communicate()


def test_a_signal_before_the_first_output_ends_it_though_nobody_reads(start: Start) -> None:
    process = start("run", "--output", "1G", "--", "yes")
    wait_for_handler(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM


def test_a_killed_cloche_leaves_no_process_behind(start: Start, marked: Callable[[int], bool]) -> None:
    process = start("run", "--", "sh", "-c", f"(setsid sleep {seconds()} &) ; echo up; exec sleep {seconds()}")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert marked(2)
    process.kill()
    process.wait(30)
    assert marked(0)


def test_a_signal_ignored_by_whoever_started_it_stays_ignored() -> None:
    line = f"trap '' INT HUP; exec {sys.executable} -m cloche run -- sh -c 'echo up; sleep 1; echo survived'"
    with subprocess.Popen(["sh", "-c", line], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGHUP)
        assert process.stdout.read() == b"survived\n"
        assert process.wait(30) == 0


def test_a_reader_that_goes_away_ends_it_quietly(start: Start) -> None:
    process = start("run", "--", "yes")
    assert process.stdout is not None
    assert process.stdout.read(4) == b"y\ny\n"
    process.stdout.close()
    assert process.wait(30) == 128 + signal.SIGPIPE
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_a_slow_reader_loses_nothing(start: Start) -> None:
    size = 20_000_000
    process = start("run", "--output", "1G", "--", "head", "-c", str(size), "/dev/zero")
    assert process.stdout is not None
    time.sleep(1)
    assert len(process.stdout.read()) == size
    assert process.wait(30) == 0


def test_a_time_out_ends_daemons_too(start: Start, marked: Callable[[int], bool]) -> None:
    script = f"setsid sleep {seconds()} & setsid sh -c 'sleep {seconds()}' & sleep {seconds()}"
    process = start("run", "--timeout", "500ms", "--", "sh", "-c", script)
    assert process.wait(30) == 124
    assert marked(0)
