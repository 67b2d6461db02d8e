"""Code without a process: a fresh interpreter, one that stays, calls of the host, streams and saved states."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.interpreting import CALLS, YIELDED
from benchmarks.timed import timed
from benchmarks.worker import CLOCK, Worker

BLOCKS = 5
RUNS = 100
JS = ["cloche js", "isolated-vm", "quickjs", "quickjs-rs"]
PYTHON = ["cloche python", "pyeryx"]
SPINNERS = 8
WALL = 0.1  # seconds
IN_TIME = 1e5
"""Nanoseconds that stand for a loop that was ended in time: one is asked to stop a little before."""


@pytest.mark.parametrize("contender", [*JS, "cloche bridge"])
@pytest.mark.benchmark(group="interpreter_fresh", timer=CLOCK)
def test_interpreter_fresh(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "fresh", rounds=3, warmup=1, count=RUNS)
    benchmark.extra_info["items"] = RUNS


@pytest.mark.parametrize("contender", PYTHON)
@pytest.mark.benchmark(group="interpreter_fresh_python", timer=CLOCK)
def test_interpreter_fresh_python(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "fresh", rounds=3, count=RUNS // 4)
    benchmark.extra_info["items"] = RUNS // 4


@pytest.mark.parametrize("contender", [*JS, "cloche bridge"])
@pytest.mark.benchmark(group="interpreter_warm", timer=CLOCK)
def test_interpreter_warm(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "warm", rounds=5, warmup=1, count=RUNS)
    benchmark.extra_info["items"] = RUNS


@pytest.mark.parametrize("contender", PYTHON)
@pytest.mark.benchmark(group="interpreter_warm_python", timer=CLOCK)
def test_interpreter_warm_python(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "warm", rounds=5, warmup=1, count=RUNS)
    benchmark.extra_info["items"] = RUNS


@pytest.mark.parametrize("contender", [*JS, *PYTHON])
@pytest.mark.benchmark(group="interpreter_call", timer=CLOCK)
def test_interpreter_call(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "call", rounds=5, warmup=1)
    benchmark.extra_info["items"] = CALLS


@pytest.mark.parametrize("contender", [*JS, "cloche python"])
@pytest.mark.benchmark(group="interpreter_stream", timer=CLOCK)
def test_interpreter_stream(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "stream", rounds=3, warmup=1)
    benchmark.extra_info["items"] = YIELDED


@pytest.mark.parametrize("contender", ["cloche js", "quickjs-rs"])
@pytest.mark.benchmark(group="interpreter_saved", timer=CLOCK)
def test_interpreter_saved(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "saved", rounds=5, warmup=1, count=50)
    benchmark.extra_info["items"] = 50


@pytest.mark.parametrize("contender", ["cloche js", "quickjs-rs"])
@pytest.mark.benchmark(group="interpreter_saved_large", timer=CLOCK)
def test_interpreter_saved_large(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender
    if block == 0:
        worker.call("fill")
    timed(benchmark, worker, "saved_large", rounds=2, warmup=1)


@pytest.mark.parametrize("contender", [*JS, "cloche node"])
@pytest.mark.benchmark(group="interpreter_compute", timer=CLOCK)
def test_interpreter_compute(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "compute", rounds=2, warmup=1)


@pytest.mark.parametrize("contender", ["cloche js", "cloche js deaf", "isolated-vm"])
@pytest.mark.benchmark(group="interpreter_overshoot")
def test_interpreter_overshoot(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    late: list[float] = timed(benchmark, worker, "spin", count=SPINNERS, wall=WALL)
    benchmark.extra_info["inside"] = {"interpreter_overshoot": [max(*late, IN_TIME)]}
