"""/bin/true by exec in a sandbox that lives, beside the same program by posix_spawn: what cloche adds to a call."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.timed import timed
from benchmarks.worker import CLOCK, Worker

BLOCKS = 20


@pytest.mark.parametrize("contender", ["cloche", "cloche process", "posix_spawn"])
@pytest.mark.benchmark(group="exec", timer=CLOCK)
def test_exec(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "exec", rounds=10, warmup=2)
