"""Bounds on time go by a clock that nobody sets."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cloche import Host, Sandbox

YEAR = 365 * 86_400.0

pytestmark = pytest.mark.usefixtures("no_own_leaks")


@pytest.fixture(autouse=True)
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the machine's date jump by years, back and forth, each time somebody asks."""
    dates = itertools.cycle([time.time() + 10 * YEAR, 0.0, time.time() - 10 * YEAR, time.time()])
    monkeypatch.setattr(time, "time", lambda: next(dates))
    monkeypatch.setattr(time, "time_ns", lambda: int(next(dates) * 1e9))


def test_a_date_that_jumps_ends_nothing_early_and_nothing_late(box: Sandbox) -> None:
    done = box.exec("echo", "hi", timeout=30)
    assert (done.reason, 0 <= done.duration < 5) == ("exited", True)
    began = time.monotonic()
    assert box.exec("sleep", "60", timeout=0.1).reason == "timeout"
    box.update(limits={"wall": 0.1})
    assert box.exec("sleep", "60").reason == "limit:wall"
    assert time.monotonic() - began < 10


def test_idleness_and_lifetime_do_not_heed_the_date(host: Host) -> None:
    with host.create(idle_timeout=0.1) as idle, host.create(lifetime=0.2) as short:
        assert (idle.wait(), short.wait()) == ("limit:idle_timeout", "limit:lifetime")
