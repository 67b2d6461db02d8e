"""Private memory of interpreters that wait; it hardly differs from time to time, so a few rounds will do."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.timed import timed
from benchmarks.worker import Worker

BLOCKS = 2
KEPT = {
    "cloche js": 500,
    "cloche js unused": 1000,
    "isolated-vm": 50,
    "quickjs": 200,
    "quickjs-rs": 50,
    "cloche python": 20,
    "pyeryx": 20,
}
"""Interpreters that stay at once, where their memory is measured."""


@pytest.mark.parametrize("contender", KEPT)
@pytest.mark.benchmark(group="interpreter_density")
def test_interpreter_density(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del worker, block  # that one is seen to run; memory is measured in a process where nothing was done before
    alone = Worker(contender)
    try:
        alone.call("find")
        each = timed(benchmark, alone, "density", count=KEPT[contender])
    finally:
        alone.close()
    benchmark.extra_info["bytes_each"] = {"interpreter_density": [each]}
