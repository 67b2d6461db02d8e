"""Sessions that wait are told to rest: what they need not hold meanwhile they give back."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

    from cloche.interpreters.prepared import Closable, Prepared

AFTER: Final = 1.0
"""Seconds after which a session that was used is one that waits."""


class Rests:
    """Looks at the sessions of one interpreter as long as there is one that was used and does not rest yet."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._awake = False
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Look again from now on; from any thread, after each use of a session."""
        if self._awake:
            return
        self._awake = True
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it all of this
            self._prepared.loop.call_soon_threadsafe(self._later)

    def _later(self) -> None:
        if self._timer is None:  # who woke it while it looked wants no second one
            self._timer = self._prepared.loop.call_later(AFTER, self._look)

    def _look(self) -> None:
        self._timer = None
        self._awake = False  # first: a session that is used from here on wakes it
        waiting = {session: since for session in list(self._prepared.sessions) if (since := session.waits) is not None}
        if not waiting:
            return
        before = time.monotonic() - AFTER
        if due := [session for session, since in waiting.items() if since <= before]:
            # Never on the event loop: what a plugin does takes its time.
            threading.Thread(target=_rest, args=(due,), name="cloche-rest", daemon=True).start()
        self._awake = True
        self._later()


def _rest(sessions: list[Closable]) -> None:
    for session in sessions:
        session.rest()
