"""Limits from figures: what a run took, with room for another that takes more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20
WALLS: Final = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400)
"""Seconds that people write."""


@dataclass(slots=True)
class Figures:
    """What one run took; 0 is not known."""

    seconds: float = 0.0
    memory: int = 0
    """Bytes, the most of the whole box."""
    pids: int = 0
    """The most processes and threads that were seen at once, the box's own helpers included."""
    processors: float = 0.0
    """The most processors' worth of time, over a tenth of a second or more."""
    output: int = 0
    """Bytes that it printed."""
    largest: int = 0
    """Bytes of the largest file that it left changed."""


def memory(peak: int) -> int:
    """Give half as much again and 16 MiB, in steps of 16 MiB, from 256 MiB on of 64, from 1 GiB on of 256."""
    wanted = peak + peak // 2 + 16 * MIB
    step = (16 if wanted < 256 * MIB else 64 if wanted < 1024 * MIB else 256) * MIB
    return max(32 * MIB, -(-wanted // step) * step)


def pids(peak: int, processes: int) -> int:
    """Give twice the most that were seen at once, a power of two of 16 at least.

    What lives shorter than the time between two looks is not among them: so of all ``processes`` up to 64 count too.
    """
    return _power(max(16, 2 * peak, min(processes, 64)))


def cpu(processors: float) -> float:
    """Give processors in halves, rounded up, one half at least."""
    return max(0.5, math.ceil(processors * 2 - 0.1) / 2)


def wall(seconds: float) -> float:
    """Give four times as long, up to the next time that people write."""
    return float(next((one for one in WALLS if one >= 4 * seconds), WALLS[-1]))


def output(printed: int) -> int:
    """Give twice as much, a power of two of 64 KiB at least."""
    return _power(max(64 << 10, 2 * printed))


def file_size(largest: int) -> int:
    """Give four times the largest, a power of two of 1 MiB at least: what was removed again is not seen."""
    return _power(max(MIB, 4 * largest))


def _power(number: int) -> int:
    return 1 << (number - 1).bit_length()
