"""Being told what changes in a folder: values, and the contract of a file system that can tell (``Vfs.watch``)."""

from __future__ import annotations

import math
import select
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import anyio
from anyio.to_thread import run_sync

FOLDERS_MAX: Final = 8192
"""Folders that one watch takes unless told otherwise: what the kernel allows a user in all, on the smallest machine."""


class ChangeKind(StrEnum):
    """What happened to a name."""

    CREATED = "created"
    MODIFIED = "modified"
    """Content or what ``stat`` tells changed."""
    DELETED = "deleted"
    MOVED = "moved"
    """Both names were watched. From elsewhere it is ``created``, to elsewhere ``deleted``."""
    OVERFLOW = "overflow"
    """Changes below this path were lost: too many at once, or a folder that could not be looked into. Look anew."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change. By the time it is read, more may have happened to the same name."""

    kind: ChangeKind
    path: str
    """Whole path; of an overflow the folder below which changes were lost."""
    source: str | None = None
    """The path it had before, when it was moved."""


class Watch(ABC):
    """Changes of one folder, in order. ``with`` closes it; any thread may call."""

    @abstractmethod
    def fileno(self) -> int:
        """Give a descriptor that is readable (poll(2)) while there are changes to read, and when it has ended."""

    @abstractmethod
    def read(self) -> list[Change]:
        """Give the changes that there are now, without waiting; none if there are none.

        Raises ``StateError`` once closed, and ``LimitExceeded`` if there are more folders than can be watched: then it
        has ended.
        """

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether nothing more will come: the folder is gone, or ``end`` was called."""

    @abstractmethod
    def end(self) -> None:
        """Let nothing more come, and wake who waits for ``fileno``. Harmless when repeated."""

    @abstractmethod
    def close(self) -> None:
        """Give back what it holds; nobody may be waiting for ``fileno``. Harmless when repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Watching:
    """Changes as they come, for one thread at a time: iterate over it, or ``take`` them.

    It ends when the folder or the sandbox is gone. ``with`` closes it; ``close`` in another thread ends the iteration.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._ready: deque[Change] = deque()
        self._turn = threading.Lock()
        self._closed = False

    def take(self, timeout: float | None = None) -> list[Change]:
        """Wait until there are changes, at most ``timeout`` seconds, and give them all; none if none came, or no more.

        Raises ``LimitExceeded`` if there are more folders than can be watched.
        """
        until = math.inf if timeout is None else time.monotonic() + timeout
        with self._turn:
            while (
                not self._ready
                and not self._fill()
                and not self._watch.ended
                and (left := until - time.monotonic()) > 0
            ):
                poll = select.poll()
                poll.register(self._watch.fileno(), select.POLLIN)
                poll.poll(None if timeout is None else left * 1000)
            taken = list(self._ready)
            self._ready.clear()
            return taken

    def close(self) -> None:
        """Stop watching. Harmless when repeated."""
        self._closed = True
        self._watch.end()
        with self._turn:
            self._watch.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        while not self._ready:
            self._ready += self.take()
            if not self._ready and (self._closed or self._watch.ended):
                raise StopIteration
        return self._ready.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self) -> bool:
        if not self._closed:
            self._ready += self._watch.read()
        return bool(self._ready) or self._closed


class AsyncWatching:
    """Changes as they come, for one task at a time: iterate over it, or ``take`` them (asynchronous ``Watching``)."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._ready: deque[Change] = deque()
        self._turn = anyio.Lock()
        self._closed = False

    async def take(self, timeout: float | None = None) -> list[Change]:
        """Wait until there are changes, at most ``timeout`` seconds, and give them all; none if none came, or no more.

        Raises ``LimitExceeded`` if there are more folders than can be watched.
        """
        async with self._turn:
            with anyio.move_on_after(timeout):
                while not self._ready and not await self._fill() and not self._watch.ended:
                    await anyio.wait_readable(self._watch.fileno())
            taken = list(self._ready)
            self._ready.clear()
            return taken

    async def close(self) -> None:
        """Stop watching. Harmless when repeated."""
        self._closed = True
        self._watch.end()
        with anyio.CancelScope(shield=True):
            async with self._turn:
                self._watch.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        while not self._ready:
            self._ready += await self.take()
            if not self._ready and (self._closed or self._watch.ended):
                raise StopAsyncIteration
        return self._ready.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _fill(self) -> bool:
        if not self._closed:
            await run_sync(self._read)
        return bool(self._ready) or self._closed

    def _read(self) -> None:
        """Keep what was read here: who waits may be cancelled, and nothing may be lost by that."""
        self._ready += self._watch.read()
