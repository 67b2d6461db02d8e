"""What limits cost at create: every limit there is, against the same box with none."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.timed import timed
from benchmarks.worker import CLOCK, Worker

BLOCKS = 20
CONTENDERS = ["cloche bounded", "cloche boundless"]


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.benchmark(group="limits", timer=CLOCK)
def test_limits(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del block, contender  # which the worker asks for
    timed(benchmark, worker, "start", rounds=8, warmup=1)
