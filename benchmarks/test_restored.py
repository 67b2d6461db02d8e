"""From asking for a sandbox to the answer of a Python in it that has imported much: restored against new."""

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.worker import CLOCK, Worker

BLOCKS = 4


@pytest.mark.parametrize("contender", ["cloche gvisor restored", "cloche gvisor imported"])
@pytest.mark.benchmark(group="restored_first", timer=CLOCK)
def test_restored_first(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    pedantic: Any = benchmark.pedantic
    pedantic(lambda: worker.call("first"), setup=lambda: worker.call("prepare"), rounds=4)
