"""What a caller passes on from a hostile hand, and what a guest hands back: the host refuses, bounds, never hangs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from cloche import Mount, SpecError, Workspace
from tests.escape.attack import Attack, attack, attacks

if TYPE_CHECKING:
    from cloche import Sandbox
    from tests.escape.conftest import Create, Place

Stopped = Callable[[str], None]
ESCAPES = "\x1b]0;owned\x07\x1b[2J"


def word(name: str, tries: str, *arguments: str) -> Attack:
    return Attack(id=name, tries=tries, breaks="process", program=arguments)


WORDS = [
    word("nul-in-argument", "a NUL in an argument", "printf", "a\0b"),
    word("surrogate-in-argument", "half a character in an argument", "printf", "\ud800"),
    word("giant-argument", "an argument of a megabyte", "printf", "x" * (1 << 20)),
    word("many-arguments", "a million arguments", *(["printf"] + ["x"] * 1_000_000)),
]


@attacks(WORDS)
def test_a_command_that_can_not_be_one_is_refused_before_anything_runs(
    attack: Attack, shared: Sandbox, stopped: Stopped
) -> None:
    assert shared.exec("printf", "x" * 100_000).text == "x" * 100_000
    with pytest.raises(SpecError):
        shared.exec(*attack.program)
    assert shared.exec("true").ok
    stopped("SpecError")


@attack("hostile-environment", "names and values that make two variables of one", "process")
def test_a_variable_can_not_smuggle_in_another(shared: Sandbox, stopped: Stopped) -> None:
    for name, value in (("A=B", "x"), ("", "x"), ("A\0B", "x"), ("A", "x\0LD_PRELOAD=y"), ("A", "x" * (1 << 18))):
        with pytest.raises(SpecError):
            shared.exec("env", env={name: value})
    shown = shared.exec("env", env={"A": "x\nLD_PRELOAD=y"}).text
    assert "A=x\nLD_PRELOAD=y" in shown
    assert shared.exec("sh", "-c", "echo ${LD_PRELOAD-none}", env={"A": "x\nLD_PRELOAD=y"}).text == "none\n"
    stopped("SpecError")


@attack("hostile-names", "names of boxes that are paths, sequences, endless", "filesystem")
def test_a_box_can_not_be_named_as_a_path_or_an_escape_sequence(create: Create, stopped: Stopped) -> None:
    assert create(name="good.name-1").name == "good.name-1"
    for name in ("../../etc", "a/b", "a\0b", "a\nb", ESCAPES, "x" * 10_000, "-rf", "."):
        with pytest.raises(SpecError) as caught:
            create(name=name)
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 1000
    stopped("SpecError")


@attack("hostile-targets", "mount targets that lead elsewhere", "filesystem")
def test_nothing_is_mounted_where_it_was_not_said(create: Create, stopped: Stopped) -> None:
    for target in ("/", "relative", "/a/../../etc", "/a\0b", "", "/../usr"):
        with pytest.raises(SpecError):
            create(mounts=[Mount("/usr", target)])
        with pytest.raises(SpecError):
            create(workspace=Workspace("bind", "/usr", target=target))
    stopped("SpecError")


@attack("fifo-as-program", "a pipe as program or working folder, on which its opener waits", "process")
def test_nobody_waits_for_a_pipe_that_a_guest_calls_a_program(box: Sandbox, stopped: Stopped) -> None:
    box.exec("sh", "-c", "mkfifo pipe; chmod 755 pipe; cp /bin/true good; ln -s loop loop").check()
    assert box.exec("./good", timeout=10).ok
    began = time.monotonic()
    for program in ("./pipe", "./loop"):
        assert box.exec(program, timeout=10).reason == "refused"
    work = box.exec("pwd").text.strip()
    for folder in ("pipe", "loop"):
        assert box.exec("true", cwd=f"{work}/{folder}", timeout=10).reason == "refused"
    assert time.monotonic() - began < 9
    stopped("refused at once")


@attack("interpreter-loop", "a script that is its own interpreter", "process")
def test_a_script_that_is_its_own_interpreter_ends(box: Sandbox, stopped: Stopped) -> None:
    script = "printf '#!%s/loop\\n' \"$PWD\" > loop; printf '#!/bin/sh\\necho fine\\n' > good; chmod 755 loop good"
    box.exec("sh", "-c", script).check()
    assert box.exec("./good").text == "fine\n"
    done = box.exec("./loop", timeout=10)
    assert (done.reason, done.exit_code) == ("refused", 126)
    stopped("refused, 126")


@attack("input-never-read", "leave a large input unread", "process")
def test_an_input_that_is_never_read_hangs_nobody(box: Sandbox, stopped: Stopped) -> None:
    data = b"x" * (32 << 20)
    assert box.exec("wc", "-c", stdin=data, timeout=30).text.strip() == str(len(data))
    assert box.exec("sleep", "0.1", stdin=data, timeout=20).ok
    assert box.exec("sh", "-c", "exec <&-; sleep 0.1", stdin=data, timeout=20).ok
    assert box.exec("sleep", "60", stdin=data, timeout=0.3).reason == "timeout"
    stopped("the end of the program ends it")


@attack("streams-closed", "close its streams and go on", "process")
def test_a_program_without_streams_is_waited_for_and_bounded(box: Sandbox, stopped: Stopped) -> None:
    done = box.exec("sh", "-c", "exec >&- 2>&- <&-; sleep 0.2; exit 7", timeout=20)
    assert (done.exit_code, done.stdout) == (7, b"")
    assert box.exec("sh", "-c", "exec >&- 2>&- <&-; sleep 60", timeout=0.3).reason == "timeout"
    stopped("its end is told by its process, not by its streams")


@attack("output-not-text", "bytes that are no text, and sequences that steer a terminal", "output")
def test_output_that_is_no_text_arrives_as_it_is_and_is_shown_safely(
    shared: Sandbox, place: Place, stopped: Stopped
) -> None:
    raw = b"\xff\xfe\x00\x80\x1b]0;owned\x07\n"
    done = shared.exec("printf", r"\377\376\000\200\033]0;owned\007\n")
    assert done.stdout == raw
    assert "\ufffd" in done.text
    command = [
        sys.executable,
        "-m",
        "cloche",
        "run",
        "--runtime",
        place.runtime,
        "-o",
        "json",
        "--",
        "printf",
        r"\377\033",
    ]
    shown = subprocess.run(command, capture_output=True, timeout=60, check=True, stdin=subprocess.DEVNULL)
    assert b"\x1b" not in shown.stdout
    assert json.loads(shown.stdout)["exit_code"] == 0
    stopped("bytes stay bytes; JSON is escaped")


@attack("escapes-in-messages", "a program's name that steers the terminal of who reads the error", "output")
def test_an_error_message_steers_no_terminal(place: Place, shared: Sandbox, stopped: Stopped) -> None:
    command = [sys.executable, "-m", "cloche", "run", "--runtime", place.runtime, "--"]
    plain = subprocess.run(
        [*command, "no-such-program"], capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    assert (plain.returncode, b"no-such-program" in plain.stderr) == (127, True)
    hostile = subprocess.run(
        [*command, f"no-{ESCAPES}"], capture_output=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    assert hostile.returncode == 127
    assert b"\x1b" not in hostile.stderr
    assert b"\x07" not in hostile.stderr
    assert "\x1b" not in shared.exec(f"no-{ESCAPES}").explain()
    stopped("written as escapes")


@attack("error-flood", "an endless last word on standard error", "output")
def test_what_is_said_of_an_end_is_short_whatever_was_printed(box: Sandbox, stopped: Stopped) -> None:
    done = box.exec("sh", "-c", "head -c 4000000 /dev/zero | tr '\\0' x >&2; exit 3", timeout=30)
    assert len(done.stderr) == 4_000_000
    assert len(done.explain()) < 2000
    stopped("its last 500 bytes")
