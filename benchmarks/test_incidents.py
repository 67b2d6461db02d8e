"""From a guest's act to what follows: its incident is told, its sandbox is suspended, or has been killed.

The guest opens a file that a rule names; the delay is from the time in the record, before the kernel did it, to the
notice on the host's event loop. The 99th percentile is of all rounds; each is a program, or a sandbox, of its own.

In gVisor a guest goes on while its act is told of. There what counts is how far it comes: the guest itself says so, by
its own clock, from before the act to the last sign of life that it gave before the sandbox stood still.
"""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import described, skipped
from cloche import Act, F, Host, Limits, Notice, Rule, Rules, Severity, State

ROUNDS = 100
ANSWERS = {"incident": ("incident", None), "suspended": ("paused", "suspend"), "killed": ("stopped", "terminate")}
"""What is measured, by the notice that is waited for and the response that the rule asks for."""
ON_GVISOR = "cloche gvisor"
PYTHON = "/usr/bin/python3"
OPENS = """
import os, time
begin = time.time_ns()
open("/etc/hostname")
while True:
    os.write(1, b"%d\\n" % (time.time_ns() - begin))
"""
WITHIN_THE_CALL = 1000.0
"""Nanoseconds that stand for a guest that gave no sign of life after the act; a call takes it longer."""
DESCRIBED = "one rule that names a file, with cloche's own runtime, from the act to the notice"


def rule(response: str | None) -> Rule:
    return Rule(
        id="named", summary="opens a file that is named", severity=Severity.HIGH, events=frozenset({Act.OPEN}),
        where=F.file == "/etc/hostname", response=response,
    )  # fmt: skip


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host() as host:
        yield host


def delays(host: Host, kind: str, response: str | None) -> list[float]:
    """Give the nanoseconds from each act to the notice of that kind."""
    found: list[float] = []
    told: list[tuple[float, Notice]] = []
    stop = host.on(kind, callback=lambda notice: told.append((time.time(), notice)))
    try:
        for _ in range(ROUNDS):
            told.clear()
            with host.create(isolation="standard", rules=Rules(use=(rule(response),))) as box:
                box.exec("true")
                job = box.spawn("sh", "-c", "read line < /etc/hostname; sleep 60")
                end = time.monotonic() + 10
                while not told and time.monotonic() < end:
                    time.sleep(0.002)
                (incident,) = box.incidents()
                found.append((told[0][0] - incident.time) * 1e9)
                del job
    finally:
        stop()
    return found


def frozen(host: Host) -> list[float]:
    """Give the nanoseconds that a guest in gVisor runs on after each act for which it is suspended."""
    found: list[float] = []
    limits = Limits(cpu=4)  # one that has used up its share stands still for a while by itself
    rules = Rules(use=(rule("suspend"),))
    with host.create(runtime="gvisor", isolation="standard", rules=rules, limits=limits) as box:
        for _ in range(ROUNDS):
            job = box.spawn(PYTHON, "-I", "-S", "-c", OPENS)
            end = time.monotonic() + 10
            while box.state is not State.PAUSED and time.monotonic() < end:
                time.sleep(0.002)
            assert box.state is State.PAUSED
            time.sleep(0.01)  # what it wrote has come by then
            signs = b"".join(chunk.data for chunk in job.held()).split(b"\n")[:-1]
            found.append(float(signs[-1]) if signs else WITHIN_THE_CALL)
            box.resume()
            job.kill()
            job.wait()
    return found


@pytest.mark.parametrize("contender", [ON_GVISOR])
@pytest.mark.benchmark(group="answers")
def test_frozen(host: Host, benchmark: BenchmarkFixture, contender: str) -> None:
    if (reason := host.unavailable("gvisor")) is not None:
        skipped[contender] = reason
        pytest.skip(reason)
    pedantic: Any = benchmark.pedantic
    note(benchmark, "frozen", pedantic(frozen, args=(host,), rounds=1))


@pytest.mark.parametrize("contender", ["cloche"])
@pytest.mark.parametrize("figure", list(ANSWERS))
@pytest.mark.benchmark(group="answers")
def test_answers(host: Host, benchmark: BenchmarkFixture, contender: str, figure: str) -> None:
    described[contender] = f"{described.get(contender, '')}; {DESCRIBED}".removeprefix("; ")
    pedantic: Any = benchmark.pedantic
    note(benchmark, figure, pedantic(delays, args=(host, *ANSWERS[figure]), rounds=1))


def note(benchmark: BenchmarkFixture, figure: str, found: list[float]) -> None:
    assert len(found) == ROUNDS
    assert min(found) > 0
    benchmark.extra_info["inside"] = {
        f"{figure}_p50": [statistics.median(found)], f"{figure}_p99": [statistics.quantiles(found, n=100)[98]]
    }  # fmt: skip
