"""What a guest's own system calls cost, as the guest measures them (`inside.c`): the watch on it, not its start."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.timed import timed
from benchmarks.worker import CLOCK, Worker

BLOCKS = 20
FILE = "/usr/bin/true"  # the same file system, depth and rights for every contender


@pytest.mark.parametrize("contender", ["cloche", "cloche process", "posix_spawn", "bwrap", "bwrap-filter", "sandlock"])
@pytest.mark.benchmark(group="inside", timer=CLOCK)
def test_inside(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int, guest: str) -> None:
    del contender, block
    # One round a block: the time of the whole run is not the figure, the nanoseconds it prints are.
    figures = timed(benchmark, worker, "measured", program=[guest, "measure", FILE])
    assert set(figures) == {"open_close", "fork_exec", "getppid"}
    assert all(ns > 0 for batches in figures.values() for ns in batches)
    benchmark.extra_info["inside"] = figures
