"""Stopping a guest at the moment a rule finds what it is to be stopped for, before the host has come round to it."""

from __future__ import annotations

import socket
from typing import Self

from cloche_gvisor.control import SocketControl, answered
from cloche_gvisor.replies import RefusedCall
from cloche_native.rules import STOPS
from cloche_native.seccheck import Listener


class Reflex:
    """Has the native thread that judges ask the sentry to stop, once; whoever stops or continues the guest takes note.

    A sentry counts: as often as it was asked to stop it is to be let go on.
    """

    def __init__(self, listener: Listener, line: socket.socket, request: bytes) -> None:
        """Take what ``SocketControl.line`` gives; ``close`` gives it back."""
        self._listener = listener
        self._line = line
        self._request = request
        self.arm()

    @classmethod
    async def of(cls, listener: Listener, control: SocketControl) -> Self | None:
        """Make one for a sandbox that one request stops; ``None`` for another. Raises ``SandboxError``."""
        line = await control.line()
        return None if line is None else cls(listener, *line)

    def arm(self) -> None:
        """Be ready; the guest runs."""
        if self._line.fileno() >= 0:
            self._listener.reflex(self._line.fileno(), self._request, least=STOPS)

    @property
    def acted(self) -> bool:
        """Whether it has asked the sentry, and nobody took note."""
        return self._line.fileno() >= 0 and self._listener.reflexed()

    async def taken(self) -> bool:
        """Do nothing more until ``arm``, and say whether the guest was stopped. Raises ``BrokenSentry``."""
        if self._line.fileno() < 0 or not self._listener.reflex(-1, b"", least=0):
            return False
        try:
            await answered(self._line)
        except RefusedCall:  # it does not know the call by that name: others are tried by who asks now
            self._line.close()
            return False
        return True

    def close(self) -> None:
        """Do nothing any more; the listener is there still. Harmless when repeated."""
        if self._line.fileno() >= 0:
            self._listener.reflex(-1, b"", least=0)
            self._line.close()
