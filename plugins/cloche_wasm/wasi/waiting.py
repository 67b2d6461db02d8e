"""Waiting in a program's thread, such that whoever ends the program wakes it."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Mapping

from cloche_wasm.wasi.errors import Errno, Refused

LONGEST = 86400.0  # seconds of one wait; poll(2) takes some days, and whoever waits for more waits again
PIECE = 4096  # bytes: what a pipe that poll(2) says can be written takes without waiting (PIPE_BUF, pipe(7))


class Waiting:
    """The program's own bell; ``ring`` may be called from any thread, and then no wait lasts any more."""

    def __init__(self) -> None:
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._turn = threading.Lock()

    def ring(self) -> None:
        """Wake the program for good. Harmless once it is closed."""
        with self._turn:
            if self._bell >= 0:
                os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        """Close the bell."""
        with self._turn:
            os.close(self._bell)
            self._bell = -1

    def until(self, wanted: Mapping[int, int], seconds: float | None) -> dict[int, int]:
        """Wait until a descriptor can do what ``wanted`` says (events of poll(2)), or the time is over.

        Refuses with INTR once the bell was rung.
        """
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        for fd, events in wanted.items():
            poll.register(fd, events)
        end = float("inf") if seconds is None else time.monotonic() + seconds
        found: dict[int, int] = {}
        while not found:
            left = end - time.monotonic()
            found = dict(poll.poll(max(0.0, min(left, LONGEST)) * 1000))
            if left <= LONGEST:
                break
        if self._bell in found:
            raise Refused(Errno.INTR)
        return found

    def read(self, fd: int, size: int) -> bytes:
        """Give what is there, waiting for something; nothing at the end."""
        self.until({fd: select.POLLIN}, None)
        return os.read(fd, size)

    def write(self, fd: int, data: bytes) -> int:
        """Write all of it, waiting for room. Gives how much; PIPE where nobody reads."""
        done = 0
        while done < len(data):
            self.until({fd: select.POLLOUT}, None)
            done += os.write(fd, data[done : done + PIECE])
        return done
