"""Ways round rules: most are found, some are refused, a few are limits that are written down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import cloche
from cloche import Act
from tests.behaviour import tried
from tests.behaviour.evasion import EVASIONS, RULES, VAULT, Evasion, setup
from tests.behaviour.ground import REFUSING

Watch = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.mark.parametrize("one", EVASIONS, ids=lambda one: one.id)
def test_a_way_round_ends_as_the_table_says(host: cloche.Host, programs: Path, runtime: str, one: Evasion) -> None:
    seen = tried.evade(host, one, programs, runtime)
    assert tried.ended(one, seen) == one.ends(runtime), seen


def test_each_rule_of_these_tests_is_silent_where_nothing_is_done(host: cloche.Host) -> None:
    with host.create(monitor="full", rules=cloche.Rules(use=RULES)) as box:
        box.exec("sh", "-c", "echo x > f; cat f; mkdir d; ls").check()
        assert box.incidents() == []


def test_one_change_in_a_flood_of_looks_is_found(host: cloche.Host, programs: Path, runtime: str) -> None:
    changes = cloche.Rule(
        id="own-change", summary="the vault is changed", severity=cloche.Severity.HIGH,
        events=frozenset({Act.WRITE_OPEN, Act.CREATE}), where=cloche.F.file.under(VAULT),
    )  # fmt: skip
    shown = cloche.Mount(str(programs), str(programs))
    with host.create(monitor="writes", rules=cloche.Rules(use=(changes,)), mounts=[shown]) as box:
        setup(box)
        before = len(box.incidents())
        looks, least = ("500000", 50_000) if runtime in REFUSING else ("100000", 5_000)  # ten times dearer
        result = box.exec(str(programs / "flood"), looks, f"{VAULT}/key", "write", timeout=60).check()
        assert int(result.text.split()[0]) > least, "that was no flood"
        guests = [one.rule for one in box.incidents()[before:] if one.exec]
        assert guests == ["own-change"]


WATCHED = """
import sys, cloche
runtime, acts = sys.argv[1:]
with cloche.Host() as host, host.create(monitor="full", runtime=runtime) as box:
    job = box.spawn("python3", "-u", "-c", f'''
import time
while True:
    for _ in range({acts}):
        open("x", "w").close()
    print(time.monotonic(), flush=True)
    time.sleep(0.01)
''')
    print(box.info()["agent_pid"], flush=True)
    for line in job.lines():
        print(line, flush=True)
"""


@pytest.fixture
def watch(host: cloche.Host, runtime: str) -> Watch:
    """Start a host of its own in another process, whose guest tells the time after its acts; give its agent, too."""
    del host  # which says whether that runtime is here

    def start(acts: int = 1) -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-c", WATCHED, runtime, str(acts)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        agent = int(child.stdout.readline())
        child.stdout.readline()
        return child, agent

    return start


def test_a_guest_stands_still_while_its_watcher_does(watch: Watch, runtime: str) -> None:
    if runtime not in REFUSING:
        pytest.skip("what it does waits for nobody until there is much of it: see the next test")
    watched, _ = watch()
    assert watched.stdout is not None
    watched.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    time.sleep(2)
    watched.send_signal(signal.SIGCONT)
    times = [float(watched.stdout.readline()) for _ in range(60)]
    watched.terminate()
    watched.communicate(timeout=30)
    during = [one for one in times if stopped + 0.5 < one < stopped + 1.9]
    assert during == [], "it went on unwatched"
    assert max(times) > stopped + 1.9, "it never went on again"


def test_a_guest_that_does_much_waits_for_a_watcher_that_stands_still(watch: Watch, runtime: str) -> None:
    if runtime in REFUSING:
        pytest.skip("it waits for each act: see the test before")
    watched, agent = watch(500)
    assert watched.stdout is not None
    watched.send_signal(signal.SIGSTOP)
    until = time.monotonic() + 60
    while _used(agent, 2.0) > 0.2:  # it does what it can tell of until nobody takes any more
        assert time.monotonic() < until, "it went on unwatched"
    watched.send_signal(signal.SIGCONT)
    assert _used(agent, 2.0) > 0.2, "it never went on again"
    watched.terminate()
    watched.communicate(timeout=30)


def _used(pid: int, seconds: float) -> float:
    """Give the processor time that a process uses within so many seconds."""

    def now() -> int:
        after = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(after[11]) + int(after[12])

    before = now()
    time.sleep(seconds)
    return (now() - before) / os.sysconf("SC_CLK_TCK")


def test_a_guest_ends_with_its_watcher(watch: Watch) -> None:
    watched, agent = watch()
    guests = [agent, *_below(watched.pid)]
    watched.kill()
    watched.communicate(timeout=30)
    until = time.monotonic() + 10
    while living := [pid for pid in guests if _lives(pid)]:
        assert time.monotonic() < until, f"they live on: {living}"
        time.sleep(0.05)


def _below(parent: int) -> list[int]:
    """Give the processes below one that are guests: Python that knows nothing of cloche."""
    found = []
    for task in Path(f"/proc/{parent}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_below(int(child))]
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
