"""Takes what happens in a sandbox, and what it uses, while a program runs there."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Self

from cloche.errors import ClocheError, SandboxError
from cloche.learning.bounds import Figures
from cloche.learning.seen import Seen

if TYPE_CHECKING:
    from types import TracebackType

    from cloche.blocking import Sandbox
    from cloche.output import Chunk
    from cloche.spec import Result

EVERY: Final = 0.05
"""Seconds between two looks."""
ROOM: Final = "256M"
"""For events that wait to be taken: some two million."""
FILES_MAX: Final = 5000
"""Changed files whose size is asked for at the end."""


class Watching:
    """A thread beside a program that takes its events and looks at what it uses. A context, around the program's life.

    What it gives, ``seen`` and ``figures``, is whole once ``finish`` was called.
    """

    def __init__(self, box: Sandbox) -> None:
        """Watch a sandbox that was made with a monitor."""
        self.seen = Seen()
        self.figures = Figures()
        self._box = box
        self._over = threading.Event()
        self._trouble: ClocheError | None = None
        self._measured = (0.0, 0.0)
        self._events = box.events(sources=("guest",), room=ROOM)
        self._thread = threading.Thread(target=self._serve, name="learning", daemon=True)

    def __enter__(self) -> Self:
        self._measure()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._events.close()

    def printed(self, chunk: Chunk) -> None:
        """Count what the program prints."""
        self.figures.output += len(chunk.data)

    def finish(self, result: Result) -> None:
        """Take the last of it, while the sandbox is still there. Raises ``SandboxError`` if something was not seen."""
        self._stop()
        if self._trouble is not None:
            raise SandboxError(f"what the program did can't be told: {self._trouble}") from self._trouble
        self._measure()
        self._drain()
        if self._events.lost:
            raise SandboxError(
                f"{self._events.lost} events were lost, so what was learned would not be all; learn of less at a time"
            )
        self.figures.seconds = result.duration
        self.figures.memory = max(self.figures.memory, result.usage.peak_memory)
        changed = [path for path, operations in self.seen.paths.items() if "write" in operations]
        self.figures.largest = max((self._size(path) for path in changed[:FILES_MAX]), default=0)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _serve(self) -> None:
        try:
            while not self._over.wait(EVERY):
                self._measure()
                self._drain()
        except ClocheError as error:  # raised by ``finish``
            self._trouble = error

    def _drain(self) -> None:
        for event in self._events.drain():
            self.seen.take(event)

    def _measure(self) -> None:
        try:
            stats = self._box.stats()
        except ClocheError:  # it was stopped, or this runtime can't tell; what is not known is not bounded
            return
        figures, now, cpu = self.figures, time.monotonic(), stats.get("cpu", 0.0)
        figures.memory = max(figures.memory, int(stats.get("memory_peak", stats.get("memory", 0))))
        figures.pids = max(figures.pids, int(stats.get("pids", 0)))
        before, at = self._measured
        if at and now - at > EVERY / 2:
            figures.processors = max(figures.processors, (cpu - before) / (now - at))
        self._measured = (cpu, now)

    def _size(self, path: str) -> int:
        try:
            return self._box.files.stat(path).size
        except ClocheError:  # it is gone again, or in none of the folders that the host can work in
            return 0
