"""Random system calls in a box: the host, the neighbour and the deletion of the box must not notice."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from tests.escape.attack import attack, own_kernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from cloche import Sandbox
    from tests.escape.conftest import Create

LEAST = 1000
"""Calls that a second of this must have made at least; it makes a hundred thousand on a quiet machine."""


@attack(
    "random-calls", "any call with any arguments, from four workers", "syscalls",
    levels=("standard", "enhanced", "maximum"),
)  # fmt: skip
def test_random_system_calls_harm_nobody_outside(
    create: Create, neighbour: Sandbox, programs: Path, request: pytest.FixtureRequest, stopped: Callable[[str], None]
) -> None:
    seconds: float = request.config.getoption("--fuzz-seconds", 1.0) or 0.0
    seed, calls, ends = time.time_ns() & 0xFFFFFFFF, 0, set()
    print(f"the first seed is {seed}")  # noqa: T201 - shown when it fails
    least = seconds * (LEAST / 10 if own_kernel(neighbour) else LEAST)  # each costs some microseconds there
    began = time.monotonic()
    box = create(limits={"pids": 64, "memory": "128M", "output": "2M"}, lifetime=seconds + 120)
    # A program that ended itself at once, or hung, made few calls: then there are more of them.
    while (since := time.monotonic() - began) < seconds or (calls < least and since < seconds + 40):
        left = max(seconds - since, 1.0)
        if box.state != "running":  # it ended its own box, as it may
            ends.add("its box ended")
            box = create(limits={"pids": 64, "memory": "128M", "output": "2M"}, lifetime=seconds + 120)
        done = box.exec(str(programs / "fuzz"), str(seed), str(min(left, 5)), timeout=min(left, 5) + 2)
        ends.add(done.reason)
        told = [int(count) for count in re.findall(rb"^calls (\d+)$", done.stdout, re.MULTILINE)]
        calls += min(told[-1:] or [0])
        seed += 1
        assert neighbour.exec("sh", "-c", "echo $((6 * 7))", timeout=30).text == "42\n", seed
    box.delete()
    assert box.deleted
    assert calls >= least, (seed, ends)
    stopped("nothing outside noticed")
