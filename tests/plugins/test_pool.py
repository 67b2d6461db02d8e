"""Boxes that wait, on real runtimes: sealed, fresh and empty as new ones, gone with their host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche import Host, PoolSettings, SpecError
from cloche_native import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloche.pool.figures import PoolStats

RUNTIMES = ["namespaces", "bwrap", "process", "gvisor"]
pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(params=RUNTIMES)
def pooled(request: pytest.FixtureRequest) -> Iterator[Host]:
    """Give a host that keeps one box of a runtime ready."""
    settings = PoolSettings(max=2, wait=60)
    with Host(config={"host": {"runtime": request.param}}, pool=settings) as host:
        if request.param not in host.runtimes:
            pytest.skip(f"no plugin brings runtime {request.param}")
        if (reason := host.unavailable(request.param)) is not None:
            pytest.skip(f"runtime {request.param} is not available here: {reason}")
        yield host


def until(host: Host, is_so: Callable[[PoolStats], bool]) -> PoolStats:
    deadline = time.monotonic() + 30
    while not is_so(stats := host.pool.stats()):
        assert time.monotonic() < deadline, stats
        time.sleep(0.01)
    return stats


def pids(host: Host) -> list[int]:
    """Give the processes with which the boxes end that wait."""
    filling = host._inner.pool._filling
    return [pid for shelf in filling.shelves for box in shelf.idle for pid, _ in box.processes]


def test_a_box_that_waited_keeps_what_a_new_one_keeps(pooled: Host) -> None:
    pooled.pool.warm(isolation="standard")
    script = "[ $(id -u) != 0 ] && echo user; ls -A; grep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status; ulimit -n"
    said: list[list[str]] = []
    for mode in ("off", "require"):
        with pooled.create(isolation="standard", pool=mode) as box:
            assert ("pool" in box.info()) == (mode == "require")
            lines = box.exec("sh", "-c", script).text.splitlines()
            said.append(lines)
            kept = box.enforcement
            said.append(sorted(f"{name} {type(how).__name__}" for name, how in kept.items()))
    assert said[0] == said[2]
    assert said[1] == said[3]


def test_each_has_a_work_folder_of_its_own_that_nobody_used(pooled: Host) -> None:
    pooled.pool.warm(2, isolation="standard")
    for number in range(5):
        with pooled.create(isolation="standard", pool="require") as box:
            ran = box.exec(
                "sh", "-c", "ls -A . /tmp | grep -v : | wc -w; echo secret > left; echo x > /tmp/left; sleep 99 &"
            )
            assert ran.text.split() == ["0"], (number, ran)
            box.files.write(f"{box.workspace}/input", b"6 * 7")
            assert box.exec("cat", "input").stdout == b"6 * 7"
    assert pooled.pool.stats().hits >= 2


def test_events_and_incidents_are_the_sandboxes_own(pooled: Host) -> None:
    asked = {"isolation": "standard", "monitor": "full", "rules": "audit"}
    try:
        pooled.pool.warm(**asked)  # type: ignore[arg-type]
    except cloche.Unenforceable as error:
        pytest.skip(f"this runtime can't be watched here: {error}")
    with pooled.create(**asked, pool="require", name="seen") as box, box.events(sources=["guest"]) as events:  # type: ignore[arg-type]
        box.exec("sh", "-c", "cat /etc/shadow; mkdir made")
        deadline, got = time.monotonic() + 10, list(events.drain())
        while not any(event.act == "mkdir" for event in got):
            assert time.monotonic() < deadline, got
            time.sleep(0.01)
            got += events.drain()
        assert {event.sandbox for event in got} == {box.id}
        assert {incident.sandbox for incident in box.incidents()} <= {box.id}
        assert [record.id for record in pooled.list() if record.own] == [box.id]
        assert [record.name for record in pooled.list() if record.own] == ["seen"]


SEEDS = "import os, random, uuid; print(os.urandom(8).hex(), hash('x'), random.random(), uuid.uuid4(), id(os))"


def test_random_numbers_are_fresh_in_every_box(pooled: Host) -> None:
    pooled.pool.warm(2, isolation="standard")
    said = []
    for _ in range(2):
        until(pooled, lambda stats: stats.idle >= 1)
        with pooled.create(isolation="standard", pool="require") as box:
            said += [box.exec("python3", "-c", SEEDS, timeout=60).text.split() for _ in range(2)]
    for values in list(zip(*said, strict=True))[:4]:  # addresses are layout's, which a kernel of its own may not draw
        assert len(set(values)) == 4, values


def test_a_box_that_was_killed_while_it_waited_is_never_given_out(pooled: Host) -> None:
    pooled.pool.warm(isolation="standard")
    for _ in range(3):
        stats = until(pooled, lambda stats: stats.idle >= 1)
        victims = pids(pooled)
        assert victims
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        with pooled.create(isolation="standard") as box:  # perhaps before anybody has heard of it
            assert box.exec("echo", "alive").stdout == b"alive\n"
        deaths = stats.died
        until(pooled, lambda now: now.died > deaths)  # noqa: B023 - used at once


def test_statistics_begin_with_the_checkout(pooled: Host) -> None:
    pooled.pool.warm(isolation="standard")
    with pooled.create(isolation="standard", pool="require") as box:
        try:
            before = box.stats()
        except cloche.Unsupported:
            pytest.skip("this runtime tells no statistics")
        assert before.get("cpu", 0) < 0.1
        burnt = box.exec("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done").usage
        assert box.stats().get("cpu", 99) >= 0.5 * (burnt.user + burnt.system)


def test_a_host_that_closes_leaves_nothing_that_waited(pooled: Host) -> None:
    pooled.pool.warm(2, isolation="standard")
    waiting = {pid: processes.started(pid) for pid in pids(pooled)}
    pooled.__exit__(None, None, None)
    deadline = time.monotonic() + 10
    while any(processes.started(pid) == start for pid, start in waiting.items()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_work_folder_of_the_host_is_never_waited_for(pooled: Host, open_folder: Path) -> None:
    with pytest.raises(SpecError, match="folder of the host"):
        pooled.create(isolation="standard", workspace=open_folder, pool="require")


KILLED = """
import sys, time
import cloche
runtime = sys.argv[1]
host = cloche.Host(pool={"max": 3, "starts": 2}).__enter__()
if runtime not in host.runtimes or host.unavailable(runtime) is not None:
    print("unavailable", flush=True)
    sys.exit()
host.pool.warm(2, runtime=runtime, isolation="standard")
print("ready", *[pid for s in host._inner.pool._filling.shelves for b in s.idle for pid, _ in b.processes], flush=True)
host.pool.warm(3, runtime=runtime, isolation="standard", wait=False)
time.sleep(60)
"""


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("after", [0.0, 0.3])
def test_a_host_that_is_killed_leaves_no_box_that_waited(
    runtime: str, after: float, open_folder: Path, orphans: Callable[[], list[str]]
) -> None:
    env = {**os.environ, "TMPDIR": str(open_folder), "MARKER": uuid.uuid4().hex}
    with subprocess.Popen([sys.executable, "-c", KILLED, runtime], env=env, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout
        word, *numbers = host.stdout.readline().split()
        if word == "unavailable":
            pytest.skip(f"runtime {runtime} is not available here")
        assert len(numbers) >= 2
        time.sleep(after)
        host.kill()
    deadline = time.monotonic() + 30
    trouble: object = None
    with Host() as next_host:
        while left := [*orphans(), *(pid for pid in numbers if processes.started(int(pid))), *in_folder(open_folder)]:
            assert time.monotonic() < deadline, (left, trouble)
            try:
                next_host.sweep()
            except cloche.RegistryError as error:  # what has not ended yet still holds something
                trouble = error
            time.sleep(0.05)


def in_folder(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("cloche-*")]
