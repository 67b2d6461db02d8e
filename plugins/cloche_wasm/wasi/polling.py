"""Waiting for times and streams at once: ``poll_oneoff``."""

from __future__ import annotations

import select
import struct
import time
from collections.abc import Callable
from typing import Final

from cloche_wasm.wasi.descriptors import Stream, Table
from cloche_wasm.wasi.errors import Errno, Refused
from cloche_wasm.wasi.waiting import Waiting

SUBSCRIPTION: Final = 48
"""Bytes of one."""
CLOCKS: Final[dict[int, Callable[[], int]]] = {
    0: time.time_ns, 1: time.monotonic_ns, 2: time.thread_time_ns, 3: time.thread_time_ns,
}  # fmt: skip
"""What gives the nanoseconds of each clock."""
_CLOCK, _READ, _WRITE = 0, 1, 2  # kinds of events
_WANTED: Final = {_READ: select.POLLIN, _WRITE: select.POLLOUT}
_ABSOLUTE: Final = 1


class Wait:
    """What a program waits for in one call."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._clocks: list[tuple[int, int]] = []
        self._streams: list[tuple[int, int, int]] = []
        self._ready: list[bytes] = []

    def add(self, raw: bytes, at: int) -> None:
        """Take one subscription, as it lies in memory."""
        user, kind = struct.unpack_from("<QB", raw, at)
        if kind == _CLOCK:
            self._add_clock(user, *struct.unpack_from("<IxxxxQ8xH", raw, at + 16))
        elif kind in _WANTED:
            self._add_stream(user, kind, struct.unpack_from("<I", raw, at + 16)[0])
        else:
            raise Refused(Errno.INVAL)

    def _add_clock(self, user: int, clock: int, span: int, flags: int) -> None:
        if clock not in CLOCKS:
            self._ready.append(_event(user, Errno.INVAL, _CLOCK))
            return
        left = span - CLOCKS[clock]() if flags & _ABSOLUTE else span
        self._clocks.append((time.monotonic_ns() + left, user))

    def _add_stream(self, user: int, kind: int, number: int) -> None:
        try:
            what = self._table[number]
        except Refused as refused:
            self._ready.append(_event(user, refused.number, kind))
            return
        if isinstance(what, Stream) and what.fd is not None:
            self._streams.append((what.fd, kind, user))
        else:
            self._ready.append(_event(user, Errno.SUCCESS, kind, 1))

    def done(self, waiting: Waiting) -> list[bytes]:
        """Wait, and give the events as they lie in memory."""
        wanted: dict[int, int] = {}
        for fd, kind, _ in self._streams:
            wanted[fd] = wanted.get(fd, 0) | _WANTED[kind]
        found = waiting.until(wanted, self._seconds())
        over = select.POLLHUP | select.POLLERR
        for fd, kind, user in self._streams:
            if found.get(fd, 0) & (_WANTED[kind] | over):
                self._ready.append(_event(user, Errno.SUCCESS, kind, 1, int(bool(found[fd] & select.POLLHUP))))
        now = time.monotonic_ns()
        return self._ready + [_event(user, Errno.SUCCESS, _CLOCK) for due, user in self._clocks if due <= now]

    def _seconds(self) -> float | None:
        if self._ready:
            return 0.0
        return (min(self._clocks)[0] - time.monotonic_ns()) / 1e9 if self._clocks else None


def _event(user: int, number: Errno, kind: int, size: int = 0, flags: int = 0) -> bytes:
    return struct.pack("<QHB5xQH6x", user, number, kind, size, flags)
