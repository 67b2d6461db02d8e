"""What a name in memory stands for, and an open file of it."""

from __future__ import annotations

import errno
import io
import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloche.files.vfs import FileKind, FileStat

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


@dataclass(slots=True)
class Quota:
    """What is left: bytes of content, and names. ``turn`` is held by whoever reads or changes anything."""

    bytes: int
    names: int
    turn: threading.RLock = field(default_factory=threading.RLock)


@dataclass(slots=True, eq=False)
class Node:
    """A file, a folder or a link: exactly one of ``data``, ``names`` and ``target`` is set."""

    mode: int
    data: bytearray | None = None
    names: dict[str, Node] | None = None
    target: str | None = None
    inode: int = 0
    modified: int = field(default_factory=time.time_ns)
    changed: int = field(default_factory=time.time_ns)
    handles: int = 0
    linked: bool = True

    @property
    def kind(self) -> FileKind:
        """What it is."""
        if self.data is not None:
            return FileKind.FILE
        return FileKind.FOLDER if self.names is not None else FileKind.LINK

    def touch(self, *, content: bool) -> None:
        """Note a change, of the content or only of what ``stat`` tells."""
        self.changed = time.time_ns()
        if content:
            self.modified = self.changed

    def stat(self) -> FileStat:
        """Tell about it."""
        folders = sum(node.names is not None for node in (self.names or {}).values())
        return FileStat(
            kind=self.kind, size=len(self.data if self.data is not None else os.fsencode(self.target or "")),
            mode=self.mode, modified_ns=self.modified, changed_ns=self.changed, inode=self.inode,
            links=int(self.linked) if self.names is None else 2 + folders, target=self.target,
        )  # fmt: skip


class Handle(io.RawIOBase):
    """An open file, unbuffered. It goes on to work when its name is gone; what it holds counts until it is closed."""

    def __init__(self, node: Node, data: bytearray, mode: str, quota: Quota) -> None:
        super().__init__()
        self._node, self._data, self._quota = node, data, quota
        self._reads, self._writes, self._appends = mode in ("r", "r+"), mode != "r", mode == "a"
        self._position = 0
        node.handles += 1

    def readable(self) -> bool:
        """Say whether it was opened to read."""
        return self._reads

    def writable(self) -> bool:
        """Say whether it was opened to write."""
        return self._writes

    def seekable(self) -> bool:
        """Say that it can go to any place."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into ``buffer``; gives how much, 0 at the end."""
        self._refuse(writing=False)
        view = memoryview(buffer).cast("B")
        with self._quota.turn:
            piece = self._data[self._position : self._position + len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data``; ``OSError`` ENOSPC if the quota has no room for it."""
        self._refuse(writing=True)
        piece = bytes(data)
        with self._quota.turn:
            if self._appends:
                self._position = len(self._data)
            end = self._position + len(piece)
            if piece and end > len(self._data):
                self._resize(end)
            self._data[self._position : end] = piece
            self._node.touch(content=True)
        self._position = end
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place, which may lie behind the end; gives it."""
        self._refuse(writing=self._writes)
        start = (0, self._position, len(self._data))[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = start + offset
        return self._position

    def truncate(self, size: int | None = None, /) -> int:
        """Make it exactly ``size`` bytes long, or end it here."""
        self._refuse(writing=True)
        with self._quota.turn:
            self._resize(self._position if size is None else size)
            self._node.touch(content=True)
        return len(self._data)

    def close(self) -> None:
        """Let go of it. Harmless when repeated."""
        if not self.closed:
            with self._quota.turn:
                self._node.handles -= 1
                release(self._node, self._quota)
        super().close()

    def _resize(self, size: int) -> None:
        more = size - len(self._data)
        if more > self._quota.bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._quota.bytes -= more
        if more > 0:
            self._data.extend(bytes(more))
        else:
            del self._data[size:]

    def _refuse(self, *, writing: bool) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if not (self._writes if writing else self._reads):
            raise io.UnsupportedOperation("not open for writing" if writing else "not open for reading")


def release(node: Node, quota: Quota) -> None:
    """Give back the room of a file that no name and no open file needs any more."""
    if node.data is not None and not node.linked and not node.handles:
        quota.bytes += len(node.data)
        node.data.clear()
