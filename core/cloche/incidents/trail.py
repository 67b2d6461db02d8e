"""What a host writes to its audit log: in a thread of its own, so that a slow disk holds nobody up."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from cloche.errors import AuditError

if TYPE_CHECKING:
    from cloche.incidents.audit import AuditLog
    from cloche.incidents.incident import Incident

WAITING_MAX: Final = 4096
"""Lines that wait for the disk; beyond, they are lost, counted and told."""
CLOSING: Final = 10.0
"""Seconds for what waits to be written at the end."""


class Trail:
    """Hands records to a log in order. ``append`` never waits and never raises: what can't be written is told.

    ``told`` is called with a sentence for each failure, in the thread that writes.
    """

    def __init__(self, log: AuditLog, told: Callable[[str], object]) -> None:
        """Begin. The log is closed at the end."""
        self.log = log
        self.lost = 0
        """How many records never came to the log, as more waited than there is room for."""
        self._told = told
        self._queue: queue.Queue[tuple[str, Mapping[str, Any]] | None] = queue.Queue(WAITING_MAX)
        self._thread: threading.Thread | None = None

    def append(self, kind: str, body: Mapping[str, Any]) -> None:
        """Have a line written, soon."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="cloche audit", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait((kind, body))
        except queue.Full:
            self.lost += 1  # told by the thread, when it comes to it

    def incident(self, incident: Incident) -> None:
        """Have an incident written."""
        self.append("incident", incident.as_json())

    def close(self) -> None:
        """Write what waits, for ten seconds at most, and close the log; blocks."""
        if self._thread is not None:
            with contextlib.suppress(queue.Full):  # the disk stands still: told below
                self._queue.put(None, timeout=CLOSING)
                self._thread.join(CLOSING)
            if self._thread.is_alive():
                self._told(f"the audit log in {self.log.path} is not written any further: the disk does not answer")
                return
            self._thread = None
        self.log.close()

    def _write(self) -> None:
        lost = 0
        while (record := self._queue.get()) is not None:
            try:
                if self.lost > lost:
                    lost, missed = self.lost, self.lost - lost
                    self._told(f"the audit log in {self.log.path} is too slow: {missed} records are lost")
                    self.log.append("lost", {"lines": missed})
                self.log.append(*record)
            except (AuditError, ValueError) as error:
                self._told(str(error))
