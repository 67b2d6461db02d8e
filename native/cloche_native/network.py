"""Networks of a box's own: two new network namespaces with a cable (veth) between them, and sockets in such.

A namespace is a descriptor: whoever holds one holds the network, and with the last one, and the last process in it, the
kernel takes all of it down. Nothing has a name and nothing can be left behind.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from ipaddress import IPv4Interface

from cloche_native import _lib

__all__ = ["Cable", "cable", "socket_in"]

_ffi, _c = _lib.ffi, _lib.lib


@dataclass(frozen=True, slots=True)
class Cable:
    """Two namespaces, descriptors that ``close`` gives back, each with one end of the cable and a loopback, both up.

    ``inside`` holds ``eth0``, ``outside`` holds ``box0`` and is not the host's network either; no route leads further.
    What is inside reaches what ``socket_in`` makes outside, and nothing else.
    """

    inside: int
    outside: int

    def close(self) -> None:
        """Let go of both. Once only."""
        os.close(self.inside)
        os.close(self.outside)


def cable(inside: IPv4Interface, outside: IPv4Interface) -> Cable:
    """Give two new namespaces whose ends of the cable have these addresses, of one network.

    Raises ValueError for addresses of different networks, and OSError: EPERM without CAP_SYS_ADMIN, EOPNOTSUPP where
    the kernel has no veth. Takes some milliseconds.
    """
    if inside.network != outside.network or inside.ip == outside.ip:
        raise ValueError(f"{inside} and {outside} are no two addresses of one network")
    request = _ffi.new("struct clo_cable *")
    request.inside_address = int.from_bytes(inside.packed, sys.byteorder)
    request.outside_address = int.from_bytes(outside.packed, sys.byteorder)
    request.prefix = inside.network.prefixlen
    _checked(_c.clo_cable(request))
    return Cable(request.inside, request.outside)


def socket_in(space: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Give a new IPv4 socket of the network namespace ``space``, whatever namespace this process is in.

    Raises OSError: EPERM without CAP_SYS_ADMIN, EINVAL where ``space`` is no network namespace.
    """
    return socket.socket(fileno=_checked(_c.clo_socket_in(space, socket.AF_INET, kind)))


def _checked(status: int) -> int:
    if status < 0:
        raise OSError(-status, os.strerror(-status))
    return status
