"""The door of a host: where other processes of the same user ask for its sandboxes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import anyio

from cloche.errors import NotFound, StateError
from cloche.registry.messages import Channel, trusted
from cloche.registry.session import Session

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.job import AsyncJob
    from cloche.pool.figures import PoolStats
    from cloche.sandbox import AsyncSandbox

CONNECTIONS_MAX: Final = 1024
UNDER_WAY_MAX: Final = 64 << 20
"""Bytes of half-received messages that all connections together may hold in memory."""

Find = Callable[[str], "AsyncSandbox | None"]
Create = Callable[[object], Awaitable["AsyncSandbox | str"]]


class Door:
    """Accepts connections and serves each. ``create`` is what a keeper does; without it the door makes no sandbox."""

    def __init__(
        self,
        host_id: str,
        tasks: Background,
        find: Find,
        create: Create | None,
        pool: Callable[[], Awaitable[PoolStats]],
    ) -> None:
        self.host_id = host_id
        self.kept = create is not None
        self.pool = pool
        """Gives how the pool of this host does."""
        self.sessions: set[Session] = set()
        self._tasks = tasks
        self._find = find
        self._create = create
        self._under_way = 0
        self._stopped = self._waiting = False

    async def serve(self, listening: socket.socket) -> None:
        """Accept until ``stop``."""
        while not self._stopped:
            try:
                connected, _ = listening.accept()
            except BlockingIOError:
                self._waiting = True
                try:
                    await anyio.wait_readable(listening)
                finally:
                    self._waiting = False
                    if self._stopped:
                        listening.close()
                continue
            except OSError:
                await anyio.sleep(0.1)  # no descriptor is left, or the other end is gone already
                continue
            if len(self.sessions) >= CONNECTIONS_MAX or not trusted(connected):
                connected.close()
            else:
                self._tasks.start_soon(self._serve, connected)

    def stop(self, listening: socket.socket) -> None:
        """Accept no more, and close the socket; whoever waits on it does that (see ``Channel.hang_up``)."""
        self._stopped = True
        if self._waiting:
            listening.shutdown(socket.SHUT_RDWR)
        else:
            listening.close()

    async def _serve(self, connected: socket.socket) -> None:
        session = Session(self, Channel(connected, admit=self._admit))
        self.sessions.add(session)
        try:
            await session.run()
        finally:
            self.sessions.discard(session)

    def _admit(self, size: int) -> bool:
        if size > 0 and self._under_way + size > UNDER_WAY_MAX:
            return False
        self._under_way += size
        return True

    def find(self, sandbox_id: str) -> AsyncSandbox:
        """Give the sandbox of that id. Raises ``NotFound``."""
        box = self._find(sandbox_id)
        if box is None:
            raise NotFound(f"host {self.host_id} has no sandbox {sandbox_id!r}; it may have been deleted meanwhile")
        return box

    async def create(self, request: object) -> AsyncSandbox | str:
        """Make a sandbox that this host keeps; the id of the one that has its name and lives elsewhere, if any."""
        if self._create is None:
            raise StateError("this host keeps no sandboxes for others; only a keeper does")
        return await self._create(request)

    def needed(self) -> bool:
        """Say whether anyone is connected who may still ask for something: not only about a deleted sandbox."""
        return any(not session.looks and (session.box is None or not session.box.deleted) for session in self.sessions)

    def changed(self, box: AsyncSandbox, kind: str) -> None:
        """Tell everyone who is attached to ``box`` how it is now."""
        for session in list(self.sessions):
            if session.box is box:
                session.tell_state(kind)

    def job_changed(self, box: AsyncSandbox, job: AsyncJob) -> None:
        """Tell everyone who is attached to ``box`` of a job that began or ended."""
        for session in list(self.sessions):
            if session.box is box:
                session.tell_job(job)


async def connect(folder_fd: int) -> socket.socket:
    """Give a connection to the door in a place. Raises ``OSError``; ``TimeoutError`` if it is too busy."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with contextlib.ExitStack() as undo:
        undo.callback(connected.close)
        with anyio.fail_after(5):
            while True:
                try:
                    connected.connect(f"/proc/self/fd/{folder_fd}/door.sock")
                    break
                except BlockingIOError:  # its backlog is full (connect(2), EAGAIN)
                    await anyio.sleep(0.01)
        undo.pop_all()
    return connected
