"""From asking for a sandbox to the first output in it: boxes that wait against new ones."""

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.worker import CLOCK, Worker

BLOCKS = 6


@pytest.mark.parametrize("contender", ["cloche waited", "cloche anew", "cloche gvisor waited", "cloche gvisor anew"])
@pytest.mark.benchmark(group="pool_first", timer=CLOCK)
def test_pool_first(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    pedantic: Any = benchmark.pedantic
    pedantic(lambda: worker.call("first"), setup=lambda: worker.call("prepare"), rounds=5)
