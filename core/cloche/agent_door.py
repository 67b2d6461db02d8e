"""What an ``AgentInstance`` needs of whatever brings its box up: a socket to the agent, its end, ways to folders."""

from __future__ import annotations

import errno
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import cloche_native as native

_RESOLVE = native.RESOLVE_BENEATH | native.RESOLVE_NO_SYMLINKS | native.RESOLVE_NO_MAGICLINKS


class Agent(ABC):
    """What starts the programs of one box. Made before the box is up; ``close`` gives back what it holds.

    It speaks as ``cloche_native.agent`` tells over ``socket``, the host's end of ``control_pair()``, where it has said
    that it is ready by the end of ``start``. A runtime whose box is not brought up by ``Launch.argv`` alone, or whose
    end has to be seen to, gives one of its own to ``AgentInstance``.
    """

    relays_terminals = False
    """Whether the agent passes on what a terminal says by a socket that it is given, for it can hand out none."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        """The host's end, from ``start`` until ``close``."""
        self.watch: socket.socket | None = None
        """The host's end of the socket for the listener, where programs are watched."""
        self.root_fd: int | None = None
        """A descriptor of the box's folder /, where the host can have one."""
        self.agent_pid = 0
        """The host's id of the process that speaks for the agent; all that the box runs is it or below it."""

    @abstractmethod
    async def start(self) -> None:
        """Bring the box up, until the agent says that it is ready. Raises ``StartError``."""

    @abstractmethod
    async def kill(self) -> None:
        """Kill every process of the box and wait until they are gone. Harmless when repeated, and before ``start``.

        Raises ``SandboxError`` for what stays.
        """

    @abstractmethod
    def close(self) -> None:
        """Close everything. The processes must be gone. Harmless when repeated."""

    def processes(self) -> Sequence[int]:
        """Give the host's ids of the processes with which the box ends."""
        return (self.agent_pid,)

    def info(self) -> Mapping[str, str]:
        """Give facts a person may want to see."""
        return {"agent_pid": str(self.agent_pid)}

    def folder(self, path: str) -> int:
        """Give a new O_PATH descriptor of a folder of the box, reached through no link.

        Raises OSError, ENOENT for one that the host can't reach.
        """
        if self.root_fd is None:
            raise FileNotFoundError(errno.ENOENT, "the host can't reach it", path)
        flags = os.O_PATH | os.O_DIRECTORY
        return native.openat2(self.root_fd, path.lstrip("/") or ".", flags=flags, resolve=_RESOLVE)
