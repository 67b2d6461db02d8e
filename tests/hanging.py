"""Tests that hang where their time-out is not heard, in C or in what ends a test whose time was over.

Such a test ends its process, which is one of those that ``pytest -n`` shares the tests among: with where it was, its
name in ``HUNG`` for ``.ci/run``, and the coverage so far. What was to come in that process goes on in another.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from pathlib import Path
from typing import Final

import coverage

HUNG: Final = Path(".pytest_cache", "hung")
BOUND: Final = 180.0
"""Seconds; more than ``timeout`` in pyproject.toml, less than its ``faulthandler_timeout``, which is for those that
hold the interpreter's lock."""


class Watch(threading.Thread):
    """Looks each second at the test that runs in this process."""

    def __init__(self, stderr: int, *, bound: float = BOUND) -> None:
        super().__init__(name="hanging", daemon=True)
        self._stderr = stderr
        self._bound = bound
        self._running: tuple[str, float] | None = None

    def begin(self, name: str) -> None:
        self._running = (name, time.monotonic() + self._bound)

    def end(self) -> None:
        self._running = None

    def run(self) -> None:
        while True:
            time.sleep(1)
            running = self._running
            if running is not None and time.monotonic() > running[1]:
                self._leave(running[0])

    def _leave(self, name: str) -> None:
        try:
            os.write(self._stderr, f"\n{name} hangs:\n".encode())
            faulthandler.dump_traceback(self._stderr)
            HUNG.parent.mkdir(exist_ok=True)
            with HUNG.open("a") as file:
                file.write(f"{name}\n")
            measured = coverage.Coverage.current()
            if measured is not None:
                measured.stop()
                measured.save()
        finally:
            os._exit(3)
