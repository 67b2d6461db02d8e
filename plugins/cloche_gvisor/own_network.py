"""The isolated network of one box: a cable from gVisor's network to a namespace of the host that holds nothing else.

runsc takes over the interface of the namespace that it is given: ``INSIDE`` of the cable, and nothing is left in there.
The host's end is in a second namespace, with no way from it to the host's own network: a box reaches what ``listen``
makes there, and an address of the host, a service on it, or a network beyond it is none of what it can name.

runsc takes a namespace for the host's own if it sees /proc/sys/net/core/rmem_default (google/gvisor#10704: since Linux
6.11 that is in all of them, runsc before August 2024 does not know it), and refuses it; so it sees that folder empty.
"""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Interface
from typing import Final

import anyio.to_thread

from cloche import SandboxError
from cloche_native import network

HOST: Final = IPv4Interface("10.231.7.1/30")
INSIDE: Final = IPv4Interface("10.231.7.2/30")
"""The same for each box: none sees another's."""
FD: Final = 3
"""Which descriptor of runsc the namespace is."""
PLACE: Final = f"/proc/self/fd/{FD}"
COVER: Final = "/proc/sys/net"
_BACKLOG: Final = 128


class OwnNetwork:
    """What a box holds of its cable. With the last descriptor of it, and the sandbox, all of it is gone."""

    def __init__(self) -> None:
        self._inside = self._outside = -1

    async def lay(self) -> int:
        """Make it, and give the descriptor that runsc is to have. Raises OSError."""
        made = await anyio.to_thread.run_sync(network.cable, INSIDE, HOST)
        self._inside, self._outside = made.inside, made.outside
        return self._inside

    def handed_over(self) -> None:
        """Let go of the end that runsc has, or will never have."""
        if self._inside >= 0:
            os.close(self._inside)
        self._inside = -1

    async def listen(self, port: int) -> socket.socket:
        """Give a socket that listens at the host's end. Raises ``SandboxError`` for a port that is taken."""
        made = await anyio.to_thread.run_sync(network.socket_in, self._outside)
        try:
            made.bind((str(HOST.ip), port))
            made.listen(_BACKLOG)
        except OSError as error:
            made.close()
            raise SandboxError(f"port {port} of the sandbox's own network can't be listened at: {error}") from error
        return made

    def close(self) -> None:
        """Let go of both ends. Harmless when repeated."""
        self.handed_over()
        if self._outside >= 0:
            os.close(self._outside)
        self._outside = -1
