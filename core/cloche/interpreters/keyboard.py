"""Ctrl-C while code runs in the main thread.

Python acts on a signal only when the main thread comes back to it, which code that never ends does not let it. So
the signal is written to a pipe, too, as it comes, and a thread that reads there ends the run; ``KeyboardInterrupt``
follows by itself.
"""

from __future__ import annotations

import os
import signal as signals
import threading
import time
from collections.abc import Callable
from typing import Final

NUDGE: Final = 0.005
"""Seconds between two tries to end a run: one may come just before it begins."""


class Keyboard:
    """The reader of one host. It begins with the first run in the main thread."""

    def __init__(self) -> None:
        self._pipe: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], None] | None = None

    def begin(self, stop: Callable[[], None] | None) -> bool:
        """Have Ctrl-C call ``stop`` from now on, if this is the main thread and nobody else has taken signals."""
        if threading.get_ident() != _MAIN:
            return False
        if self._thread is None or not self._thread.is_alive():  # it does not come along into a forked process
            self._open()
        assert self._pipe is not None  # noqa: S101 - opened just now
        before = signals.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        if before != -1:
            signals.set_wakeup_fd(before)
            return False
        self._stop = stop
        return True

    def end(self) -> None:
        """Let Ctrl-C be as before; called if ``begin`` said so."""
        self._stop = None
        signals.set_wakeup_fd(-1)

    def close(self) -> None:
        """End the thread. Harmless when repeated."""
        if self._pipe is None or self._thread is None:
            return
        pipe, self._pipe = self._pipe, None
        if self._thread.is_alive():
            os.write(pipe[1], b"\0")
            self._thread.join()
        for fd in pipe:
            os.close(fd)

    def _open(self) -> None:
        for fd in self._pipe or ():  # shared with the process that this was forked from
            os.close(fd)
        pipe = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(pipe[1], False)
        self._thread = threading.Thread(target=self._serve, args=(pipe[0],), name="cloche-keyboard", daemon=True)
        self._pipe = pipe
        self._thread.start()

    def _serve(self, fd: int) -> None:
        while 0 not in (came := os.read(fd, 64)):
            # A program that has its own handler decides by itself what a Ctrl-C means.
            raises = signals.getsignal(signals.SIGINT) is signals.default_int_handler
            stop = self._stop
            while raises and stop is not None and signals.SIGINT in came and self._stop is stop:
                stop()
                time.sleep(NUDGE)


_MAIN: Final = threading.main_thread().ident
