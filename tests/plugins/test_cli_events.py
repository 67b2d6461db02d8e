"""``cloche events``: what happens in a sandbox, line by line, and how often it happened."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[bytes]]
Start = Callable[..., subprocess.Popen[bytes]]

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_events_are_followed_until_the_sandbox_is_deleted_escaped_and_counted(
    cloche: Run, made: Callable[..., str], start: Start
) -> None:
    box = made("--monitor", "writes", "--", "sleep", "600")
    process = start("events", "-f", box, "--act", "create,begun,ended,deleted")
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"time")
    time.sleep(0.3)
    script = "printf x > \"$(printf 'a\\033[31mred\\007\\nb')\"; true '\x1b[2J'"
    assert cloche("exec", box, "--", "sh", "-c", script).returncode == 0
    cloche("rm", "-f", box)
    out, err = process.communicate(timeout=30)
    lines = sorted(out.decode().splitlines())
    assert [line.split()[3] for line in lines] == ["begun", "create", "ended", "ended", "deleted"]
    assert r"true '\x1b[2J'" in lines[0]
    assert r"/a\x1b[31mred\x07\nb" in lines[1]
    assert b"\x1b" not in out
    assert lines[3].endswith("sleep 600  = signal 9")
    assert err.decode().splitlines()[-1] == "cloche: 5 events: ended 2, begun 1, create 1, deleted 1; lost 0"
    assert process.returncode == 0


def test_an_interrupt_ends_the_following_and_not_the_sandbox(
    cloche: Run, made: Callable[..., str], start: Start
) -> None:
    box = made("--", "sleep", "600")
    process = start("events", "-f", box, "-o", "json", "--source", "life")
    time.sleep(1.5)
    cloche("exec", box, "--", "true")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert [json.loads(line)["act"] for line in out.splitlines()] == ["begun", "ended"]
    assert b"lost 0" in err
    assert process.returncode == 130
    assert cloche("exec", box, "--", "true").returncode == 0


def test_what_happened_is_counted_and_kept_and_what_nobody_watches_refused(
    cloche: Run, made: Callable[..., str], start: Start, tmp_path: Path
) -> None:
    box = made("--", "sleep", "600")
    file = tmp_path / "kept"
    process = start("events", box, "--record", str(file))
    deadline = time.monotonic() + 20
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    cloche("exec", box, "--", "echo", "one")
    counts = json.loads(cloche("events", box, "-o", "json").stdout)
    assert (counts["begun"], counts["ended"], counts["lost"]) == (1, 1, 0)
    assert b"not watched" in cloche("events", box).stderr
    done = cloche("events", "-f", box, "--act", "exec")
    assert (done.returncode, b"monitor" in done.stderr) == (125, True)
    assert cloche("events", box, "--act", "jump").returncode == 2
    cloche("rm", "-f", box)
    out, _ = process.communicate(timeout=30)
    assert out == b""
    kept = [json.loads(line) for line in cloche("events", "replay", str(file), "-o", "json").stdout.splitlines()]
    assert [event["act"] for event in kept] == ["begun", "ended", "ended", "deleted"]
    assert {event["sandbox"] for event in kept} == {box}


def test_events_by_itself_says_what_there_is(cloche: Run) -> None:
    assert cloche("events").returncode == 2
    assert cloche("events", "-f", "none-such").returncode == 125
    shown = cloche("events", "--help").stdout
    assert b"-f BOX" in shown
    assert b"replay" in shown
