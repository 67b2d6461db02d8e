"""Create a sandbox, run /bin/true in it, delete it: cloche through its blocking API with everything applied."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.timed import timed
from benchmarks.worker import CLOCK, Worker

BLOCKS = 20
CONTENDERS = [
    "cloche", "cloche run", "cloche bwrap", "cloche process", "cloche full", "posix_spawn", "bwrap", "bwrap-wheel",
    "sandlock", "nsjail", "firejail", "srt",
]  # fmt: skip


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.benchmark(group="start", timer=CLOCK)
def test_start(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del block
    slow = contender == "srt"  # a third of a second each
    timed(benchmark, worker, "start", rounds=1 if slow else 5, warmup=0 if slow else 1)
