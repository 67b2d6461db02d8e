"""A module of WASI that says hello: in a sandbox of its own, and in one that stays."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.timed import timed
from benchmarks.worker import CLOCK, Worker

BLOCKS = 6


@pytest.mark.parametrize("contender", ["cloche wasm", "wasmtime"])
@pytest.mark.benchmark(group="wasi_start", timer=CLOCK)
def test_wasi_start(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "start", rounds=10, warmup=1)


@pytest.mark.parametrize("contender", ["cloche wasm", "wasmtime"])
@pytest.mark.benchmark(group="wasi_exec", timer=CLOCK)
def test_wasi_exec(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "exec", rounds=20, warmup=1)
