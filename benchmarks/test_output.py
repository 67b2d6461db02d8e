"""Much standard output of a guest, taken by the host: bytes counted each time, their CRC-32 compared first."""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.timed import timed
from benchmarks.worker import CLOCK, Worker

BLOCKS = 20
CHECKED = 16 << 20
BLOCK = 65536  # as in inside.c
WAYS = {
    "cloche spawn": ("cloche", "spawn"),
    "cloche exec": ("cloche", "exec"),
    "read 64K": ("posix_spawn", "read-64K"),
    "read 1M": ("posix_spawn", "read-1M"),
}


def pattern_crc(size: int) -> int:
    """Give the CRC-32 of what ``inside flood SIZE`` must print, worked out apart from it."""
    rest = bytes((i * 31 + (i >> 8) * 17) & 255 for i in range(8, BLOCK))
    crc = 0
    for number in range(size // BLOCK):
        crc = zlib.crc32(rest, zlib.crc32(number.to_bytes(8, "little"), crc))
    return crc


class Flood(NamedTuple):
    guest: str
    size: int


@pytest.fixture
def flood(guest: str, pytestconfig: pytest.Config) -> Flood:
    return Flood(guest, (1 << 30) if pytestconfig.getoption("full") else (256 << 20))


@pytest.mark.parametrize("contender", WAYS)
@pytest.mark.benchmark(group="output", timer=CLOCK)
def test_output(
    benchmark: BenchmarkFixture, workers: Callable[[str], Worker], contender: str, block: int, flood: Flood
) -> None:
    name, way = WAYS[contender]
    worker = workers(name)
    if block == 0:
        crc = worker.call("flood", guest=flood.guest, size=CHECKED, way=way, checked=True)
        assert crc == pattern_crc(CHECKED)
    assert timed(benchmark, worker, "flood", guest=flood.guest, size=flood.size, way=way) == flood.size
    benchmark.extra_info["bytes"] = flood.size
