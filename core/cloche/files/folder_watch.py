"""Watches a folder of this machine that somebody hostile fills, and all folders below it.

The kernel tells of single folders, by a number and names in them. Where a folder is now is kept in a tree of these
numbers, which follows renames. A new folder is first watched and then listed, so that what was made in it before is
told too. Where the tree can't be trusted any more, since the kernel dropped events or a guest was too fast, an
``overflow`` is told and all is looked at anew.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, Literal

from cloche import units
from cloche.errors import LimitExceeded, NotFound, StateError
from cloche.files.vfs import FileKind
from cloche.files.walk import Use, next_entries
from cloche.files.watch import Change, ChangeKind, Watch
from cloche.files.watched import LostError, Node, Watched
from cloche_native import files as native
from cloche_native import watch as kernel

Allows = Callable[[Literal["stat", "list"], str], object]
"""Says whether a path, as the box sees it, may be told of (``stat``) or looked into (``list``)."""

_GONE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE, errno.EOPNOTSUPP}
_CLOSED: Final = {errno.EACCES, errno.EPERM}
_FULL: Final = {errno.ENOSPC, errno.EMFILE, errno.ENFILE}
_FOUND_MAX: Final = 1 << 16
"""Names that one ``read`` tells because it found them in new folders; beyond them it is an overflow."""
_DRAIN: Final = 64
_DEEPEST: Final = 3840
"""Bytes of a folder's path, so that the names in it still fit into a path that can be used (PATH_MAX, 4096)."""


class FolderWatch(Watch):
    """Changes below ``path`` of a folder; ``shown_as`` stands before the paths that are told."""

    def __init__(
        self, folder: native.Folder, use: Use, path: str, *, shown_as: str = "", recursive: bool, most: int,
        allows: Allows | None = None,
    ) -> None:  # fmt: skip
        self._folder, self._use, self._allows = folder, use, allows
        self._base, self._shown_as = path.rstrip("/"), shown_as
        self._recursive, self._most = recursive, most
        self._folders = Watched(self._base)
        self._moving: dict[int, tuple[int, str, str]] = {}
        self._out: list[Change] = []
        self._finds = 0
        self._error: LimitExceeded | None = None
        self._ended, self._closed = False, True
        self._turn = threading.Lock()
        self._open()
        self._closed = False

    def __del__(self) -> None:
        """Give back what a forgetful owner did not."""
        self.close()

    def fileno(self) -> int:
        """Give a descriptor that is readable while there is something to read."""
        return self._poll.fileno()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._ended and self._error is None

    def read(self) -> list[Change]:
        """Give the changes that there are now."""
        with self._turn:
            if self._closed:
                raise StateError("the watch is closed")
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            self._finds = 0
            try:
                if not self._ended:
                    self._read()
            except LimitExceeded as error:
                self._error = error
                self._end()
            except StateError:
                self._end()  # the file system was closed: its sandbox is gone
            taken, self._out = self._out, []
            return taken

    def end(self) -> None:
        """Let nothing more come, and wake who waits."""
        with self._turn:
            self._end()

    def close(self) -> None:
        """Give back the descriptors."""
        with self._turn:
            if self._closed:
                return
            self._closed = self._ended = True
            self._poll.close()
            os.close(self._wake)
            os.close(self._fd)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        with ExitStack() as failed:
            try:
                self._fd = kernel.open_watch()
            except OSError as error:
                raise self._too_many(self._base, error) from error
            failed.callback(os.close, self._fd)
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            failed.callback(os.close, self._wake)
            self._poll = select.epoll()
            failed.callback(self._poll.close)
            self._poll.register(self._fd, select.EPOLLIN)
            self._poll.register(self._wake, select.EPOLLIN)
            self._enter(None, "", tell=False)
            if self._out:
                os.eventfd_write(self._wake, 1)  # a folder that can't be looked into is told at once
            failed.pop_all()

    def _end(self) -> None:
        if not self._ended and not self._closed:
            self._ended = True
            os.eventfd_write(self._wake, 1)

    def _read(self) -> None:
        if self._out:
            os.eventfd_read(self._wake)  # told when it began
        try:
            self._take(kernel.read(self._fd))
            if self._moving:
                self._take(kernel.read(self._fd))  # the other half of a move comes right behind
            self._settle()
        except LostError:
            self._begin_anew()

    def _take(self, events: list[kernel.Told]) -> None:
        for told in events:
            if told.mask & kernel.OVERFLOW:
                raise LostError
            node = self._folders.get(told.number)
            if node is None or self._ended:
                continue
            if not told.name:
                self._itself(told)
            else:
                self._inside(told, node, os.fsdecode(told.name))

    def _itself(self, told: kernel.Told) -> None:
        """Take what happened to a folder itself; if it is not the outermost, the one above it tells more."""
        outermost = told.number == self._folders.root
        if told.mask & kernel.IGNORED:
            self._folders.drop(told.number)
        if outermost and told.mask & (kernel.IGNORED | kernel.DELETE_SELF | kernel.MOVE_SELF | kernel.UNMOUNT):
            self._tell(ChangeKind.DELETED, self._base)
            self._end()
        elif outermost and told.mask & kernel.ATTRIB:
            self._tell(ChangeKind.MODIFIED, self._base)

    def _inside(self, told: kernel.Told, node: Node, name: str) -> None:
        path = f"{self._folders.path(told.number)}/{name}"
        enters = self._recursive and bool(told.mask & kernel.FOLDER)
        if told.mask & kernel.CREATE:
            if name in node.found:
                node.found.discard(name)
            else:
                self._tell(ChangeKind.CREATED, path)
        elif told.mask & kernel.DELETE:
            node.found.discard(name)
            self._folders.leave(told.number, name)
            self._tell(ChangeKind.DELETED, path)
        elif told.mask & kernel.MOVED_FROM:
            node.found.discard(name)
            self._moving[told.cookie] = (told.number, name, path)
        elif told.mask & kernel.MOVED_TO:
            enters = not self._moved(told, name, path) and enters
        elif told.mask & (kernel.MODIFY | kernel.ATTRIB):
            self._tell(ChangeKind.MODIFIED, path)
            enters = enters and name not in node.below  # it could not be looked into, and perhaps now can
        if enters and not told.mask & (kernel.DELETE | kernel.MOVED_FROM):
            self._enter(told.number, name, tell=True)

    def _moved(self, told: kernel.Told, name: str, path: str) -> bool:
        """Take the second half of a move; gives whether what was moved is a folder that is watched."""
        number, old, source = self._moving.pop(told.cookie, (-1, "", ""))
        if number == -1:
            self._tell(ChangeKind.CREATED, path)
            return False
        self._tell(ChangeKind.MOVED, path, source)
        moved = self._folders.leave(number, old)
        return moved is not None and not self._folders.place(moved, told.number, name)

    def _settle(self) -> None:
        """Tell of what was moved out of sight, and watch it no more."""
        for number, name, path in self._moving.values():
            self._tell(ChangeKind.DELETED, path)
            moved = self._folders.leave(number, name)
            for gone in () if moved is None else self._folders.forget(moved):
                kernel.remove(self._fd, gone)
        self._moving.clear()

    def _begin_anew(self) -> None:
        for number in self._folders.forget_all():
            kernel.remove(self._fd, number)
        self._moving.clear()
        for _ in range(_DRAIN):
            if not kernel.read(self._fd):
                break
        self._tell(ChangeKind.OVERFLOW, self._base)
        try:
            self._enter(None, "", tell=False)
        except NotFound:
            self._tell(ChangeKind.DELETED, self._base)
            self._end()

    def _enter(self, above: int | None, name: str, *, tell: bool) -> None:
        """Watch a folder and those below it; ``tell`` of what is found in there."""
        todo = [(above, name)]
        while todo:
            above, name = todo.pop()
            path = self._base if above is None else f"{self._folders.path(above)}/{name}"
            if len(os.fsencode(self._shown(path))) > _DEEPEST:
                self._tell(ChangeKind.OVERFLOW, path)
                continue
            if self._allows is not None and not self._allows("list", self._shown(path)):
                continue
            with self._use("watch", path or "/") as raw:
                try:
                    reader = self._folder.reader(raw)
                except OSError as error:
                    if above is None or error.errno not in _GONE | _CLOSED:
                        raise
                    if error.errno in _CLOSED:
                        self._tell(ChangeKind.OVERFLOW, path)
                    continue
                try:
                    todo += self._look(reader, above, name, path, tell=tell)
                finally:
                    reader.close()

    def _look(
        self, reader: native.Reader, above: int | None, name: str, path: str, *, tell: bool
    ) -> list[tuple[int | None, str]]:  # fmt: skip
        try:
            number = kernel.add(self._fd, reader.fd)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise self._too_many(path, error) from error
        new = self._folders.place(number, above, name)
        if len(self._folders) > self._most:
            raise self._too_many(self._base, f"more than {self._most} folders; watch a part of it, or raise most")
        inner: list[tuple[int | None, str]] = []
        node = self._folders.get(number)
        while new and node is not None and (self._recursive or tell) and (batch := next_entries(reader, "")):
            for _, entry in batch:
                if tell:
                    self._found(node, entry.path, f"{path}/{entry.path}")
                if self._recursive and entry.stat.kind is FileKind.FOLDER:
                    inner.append((number, entry.path))
        return inner

    def _found(self, node: Node, name: str, path: str) -> None:
        self._finds += 1
        if self._finds <= _FOUND_MAX:
            node.found.add(name)
            self._tell(ChangeKind.CREATED, path)
        elif self._finds == _FOUND_MAX + 1:
            self._tell(ChangeKind.OVERFLOW, self._base)

    def _too_many(self, path: str, why: OSError | str) -> LimitExceeded:
        said = why if isinstance(why, str) else why.strerror
        return LimitExceeded(f"watch {units.shown(self._shown(path))}: {said}")

    def _tell(self, kind: ChangeKind, path: str, source: str | None = None) -> None:
        whole, old = self._shown(path), None if source is None else self._shown(source)
        if self._allows is not None and kind is not ChangeKind.OVERFLOW:
            seen, was = self._allows("stat", whole), old is not None and self._allows("stat", old)
            if not seen:
                if was and old is not None:
                    self._out.append(Change(ChangeKind.DELETED, old))
                return
            if old is not None and not was:
                kind, old = ChangeKind.CREATED, None
        change = Change(kind, whole, old)
        if not self._out or self._out[-1] != change:
            self._out.append(change)

    def _shown(self, path: str) -> str:
        return self._shown_as + path or "/"
