"""The gvisor runtime beside gVisor's own command line and beside Docker."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import compiled
from benchmarks.opening import opening
from benchmarks.timed import timed
from benchmarks.worker import CLOCK, Worker

BLOCKS = 4
PEERS = ["runsc", "docker runc", "docker runsc"]
MESSAGES = 50
FILES = 2_000
OURS = ["cloche gvisor", "cloche gvisor rules", "cloche gvisor all"]


@pytest.mark.parametrize("contender", ["cloche gvisor", "cloche", *PEERS, "runsc do"])
@pytest.mark.benchmark(group="gvisor_start", timer=CLOCK)
def test_gvisor_start(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    rounds = 2 if contender.startswith("docker") else 5
    timed(benchmark, worker, "start", rounds=rounds, warmup=int(block == 0))


@pytest.mark.parametrize("contender", ["cloche gvisor", "cloche", *PEERS])
@pytest.mark.benchmark(group="gvisor_exec", timer=CLOCK)
def test_gvisor_exec(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del block
    theirs = contender in PEERS  # 20 ms and more each
    timed(benchmark, worker, "exec", rounds=3 if theirs else 10, warmup=1 if theirs else 2)


@pytest.mark.parametrize("contender", ["cloche gvisor", "cloche resident"])
@pytest.mark.benchmark(group="gvisor_message", timer=CLOCK)
def test_gvisor_message(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int) -> None:
    del contender, block
    timed(benchmark, worker, "message", rounds=2, warmup=1, count=MESSAGES)
    benchmark.extra_info["items"] = MESSAGES


@pytest.fixture(scope="module")
def opens() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory(prefix="cloche-watched-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield [compiled("watched.c", folder), "exec", *opening(folder, FILES)]


@pytest.mark.parametrize("contender", [*OURS, "runsc"])
@pytest.mark.benchmark(group="gvisor_opens", timer=CLOCK)
def test_gvisor_opens(
    worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int, opens: list[str]
) -> None:
    del block
    found = timed(benchmark, worker, "measured", program=opens)
    assert found["size"] == FILES
    assert contender != "cloche gvisor all" or found["counts"]["open"] >= FILES
    benchmark.extra_info["inside"] = {"gvisor_opens": found["ns"]}
