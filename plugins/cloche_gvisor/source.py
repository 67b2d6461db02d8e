"""What the guests of gVisor do, as events: a sentry tells, a native thread of the host hears, judges and counts."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from typing import Final

from cloche import Act, NativeSource, Origin
from cloche_native.seccheck import Listener

BY_NUMBER: Final = {act.number: act for act in Act}


class SentrySource(NativeSource):
    """Tells of what the programs of one box do. What it sees is done already: its rules refuse nothing.

    Acts that nobody wants are told by the sentry all the same, and not kept.
    """

    name = "guest"
    answers = False
    forks = True
    why: str = ""
    """Why it sees nothing any more, where that is known."""

    def __init__(self, listener: Listener, acts: frozenset[Act], origin: Origin, *, waits: bool) -> None:
        """Take a listener that hears; ``close`` ends it. With ``waits`` nothing may be lost: that is an overload."""
        super().__init__(listener, acts, origin)
        self._listener = listener
        self._waits = waits
        self._dropped = 0
        self._alarm = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._bells = select.epoll()  # readable while one of them is
        for bell in (listener.fileno(), self._alarm):
            self._bells.register(bell, select.EPOLLIN)

    def fileno(self) -> int:
        """Give what is readable when the listener rings, or sight was lost."""
        return self._bells.fileno()

    def drain(self) -> bytes:
        """Take what is there, also what the listener has not heard yet, and look whether it can still be relied on."""
        if self._end is not None:
            return b""
        self._hush()
        raw = self._listener.drain()
        if not raw:  # what was told before a result must be there with it
            self._listener.catch_up()
            raw = self._listener.drain()
        self.overloaded = self._waits and self.lost() > 0
        self.blind = self.blind or self._listener.ended()
        return raw

    def counters(self) -> Mapping[Act, int]:
        """Give the native counters, with all that the sentry has told by now."""
        if self._end is None:
            self._listener.catch_up()
        return super().counters()

    def lost(self) -> int:
        """Give how many records are not told, to which those messages belong that the sentry could not send."""
        return self._lost() if self._end is None else super().lost()

    def dropped(self, count: int) -> None:
        """Take what the sentry says when it is asked: how many messages it could not send, in all."""
        if count > self._dropped and self._end is None:
            self._dropped = count
            self._ring()

    def lose_sight(self, why: str) -> None:
        """See nothing any more: whoever listens is told, and ends a sandbox that may not be unseen."""
        if self._end is None:
            self.blind, self.why = True, why
            self._ring()

    def close(self) -> None:
        """End the listener; the last counts stay."""
        if self._end is None:
            self._listener.catch_up()
        super().close()
        if self._alarm >= 0:
            self._bells.close()
            os.close(self._alarm)
            self._alarm = -1

    # -- inside -----------------------------------------------------------------------------------------------------

    def _counted(self) -> tuple[dict[Act, int], int]:
        """Give the counts; programs are told of in any case, but counted where they are asked for."""
        counted = {BY_NUMBER[number]: count for number, count in self._listener.counters().items()}
        seen = {act: count for act, count in counted.items() if act in self.acts}
        return seen, self._lost()

    def _lost(self) -> int:
        status = self._listener.status()
        return status.lost + max(status.dropped, self._dropped)

    def _ring(self) -> None:
        if self._alarm >= 0:
            os.eventfd_write(self._alarm, 1)

    def _hush(self) -> None:
        """Stop ringing, for what was to be told of has been."""
        try:
            os.eventfd_read(self._alarm)
        except BlockingIOError:
            return
