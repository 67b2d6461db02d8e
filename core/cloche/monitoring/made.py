"""Events that this process makes itself: records in the shape of every other source's, for what the host does."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping
from typing import Final

from cloche.events.acts import Act
from cloche.events.source import EventSource
from cloche_native import events as wire

ROOM: Final = 4 << 20
"""Bytes of records that wait to be drained; what is made beyond is lost, and counted."""
HOST_TEXTS: Final = 0xF * wire.FLAGS["text-kernel"]
HOST_ARGS: Final = 0xF * wire.FLAGS["arg-kernel"]
RESULT: Final = wire.FLAGS["result"]
DENIED: Final = wire.FLAGS["denied"]
CUT: Final = wire.FLAGS["cut"]
MATCHED: Final = wire.FLAGS["matched"]
CLIMBS: Final = wire.FLAGS["climbs"]


class MadeSource(EventSource):
    """A source whose events are made by calls of ``make``, from any thread. It holds a descriptor once asked for it."""

    def __init__(self, name: str, source: str, acts: frozenset[Act], *, sandbox: int, room: int = ROOM) -> None:
        self.name = name
        self.acts = acts
        self.chosen = acts
        self._source = source
        self._sandbox = sandbox
        self._turn = threading.Lock()
        self._ready: deque[bytes] = deque()
        self._room = self._left = room
        self._counts: Counter[Act] = Counter()
        self._number = 0
        self._last = 0
        self._lost = 0
        self._bell = -1
        self._rung = False
        self._closed = False

    def fileno(self) -> int:
        """Give a descriptor that is readable while there are records to drain."""
        with self._turn:
            if self._bell < 0 and not self._closed:
                self._bell = os.eventfd(self._rung, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            return self._bell

    def want(self, acts: Collection[Act]) -> None:
        """Make records of these acts from now on, and of no others."""
        self.chosen = self.wanted(acts)

    def drain(self) -> bytes:
        """Give the records that there are now."""
        with self._turn:
            if self._rung and self._bell >= 0:
                os.eventfd_read(self._bell)
            self._rung = False
            raw = b"".join(self._ready)
            self._ready.clear()
            self._left = self._room
            return raw

    def full(self) -> bool:
        """Say whether the next record might find no room."""
        return self._left < wire.RECORD_MAX

    def ring(self) -> None:
        """Wake whoever waits for it."""
        with self._turn:
            self._ring()

    def _ring(self) -> None:
        if self._bell >= 0 and not self._rung:
            os.eventfd_write(self._bell, 1)
        self._rung = True

    def counters(self) -> Mapping[Act, int]:
        """Give how many acts of each kind there were while they were wanted."""
        with self._turn:
            return dict(self._counts)

    def lost(self) -> int:
        """Give how many records found no room."""
        return self._lost

    def close(self) -> None:
        """Give the descriptor back; nothing is made any more. Harmless when repeated."""
        with self._turn:
            self._closed = True
            self.chosen = frozenset()
            self._ready.clear()
            if self._bell >= 0:
                os.close(self._bell)
                self._bell, self._rung = -1, False

    def make(
        self,
        act: Act,
        *,
        path: bytes = b"",
        resolved: bytes = b"",
        target: bytes = b"",
        target_resolved: bytes = b"",
        args: tuple[int, ...] = (),
        exec: int = 0,  # noqa: A002 - the field's name
        pid: int = 0,
        result: int | None = None,
        denied: bool = False,
        time_ns: int = 0,
        matched: bool = False,
        flags: int = 0,
    ) -> int:
        """Make the record of an act that is wanted, or that a rule ``matched``; give its number, 0 if there is none.

        ``result``: 0 or more, -errno, or ``None``, not known; ``time_ns`` 0: now; ``flags`` as in records.
        """
        flags |= HOST_TEXTS | HOST_ARGS | (RESULT if result is not None else 0) | (DENIED if denied else 0)
        flags |= MATCHED if matched else 0
        texts = [path, resolved, target, target_resolved]
        if max(map(len, texts)) > wire.TEXT_MAX:
            flags |= CUT
            texts = [text[: wire.TEXT_MAX] for text in texts]
        with self._turn:
            if self._closed or (act not in self.chosen and not matched):
                return 0
            self._counts[act] += 1
            self._number += 1
            self._last = max(time_ns or time.monotonic_ns(), self._last)  # records stand in the order of their times
            raw = wire.pack(
                act=act.number, source=self._source, number=self._number, time_ns=self._last,
                sandbox=self._sandbox, flags=flags, exec=exec, pid=pid, result=result or 0, args=args,
                path=texts[0], resolved=texts[1], target=texts[2], target_resolved=texts[3],
            )  # fmt: skip
            if len(raw) > self._left:
                self._lost += 1
                return self._number
            self._left -= len(raw)
            self._ready.append(raw)
            self._ring()
            return self._number


def lost_record(count: int, which: str, *, sandbox: int) -> bytes:
    """Give the record that stands where others are missing: how many, and which."""
    return wire.pack(
        act="lost", source="other", number=1, time_ns=time.monotonic_ns(), sandbox=sandbox,
        flags=HOST_TEXTS | HOST_ARGS, args=(count,), target=as_bytes(which)[: wire.TEXT_MAX],
    )  # fmt: skip


def as_bytes(text: str) -> bytes:
    """Give text as the bytes it stands for; what stands for none is escaped, for a record must not fail."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")
