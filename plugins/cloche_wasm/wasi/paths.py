"""The calls of WASI preview 1 on paths: each from an open folder, and never out of it."""

from __future__ import annotations

import os
from enum import IntFlag
from typing import TYPE_CHECKING

from cloche import FileKind, FileStat
from cloche_wasm.wasi.descriptors import WRITING, Flag, Folder, OpenFile, Right
from cloche_wasm.wasi.errors import Errno, Refused
from cloche_wasm.wasi.files import FileCalls

if TYPE_CHECKING:
    from cloche_wasm.wasi.world import Spot

_FOLLOW = 1  # lookupflags


class How(IntFlag):
    """``oflags``."""

    CREATE = 1
    FOLDER = 2
    NEW = 4
    EMPTY = 8


class PathCalls(FileCalls):
    """Opening, making, moving and removing by name."""

    def path_open(
        self, base: int, lookup: int, at: int, size: int, how: int, rights: int, inheriting: int, flags: int, to: int
    ) -> None:  # fmt: skip
        path = self._path(base, at, size, follow=bool(lookup & _FOLLOW))
        spot = self.world.at(path)
        found = spot.found()
        writes = bool(rights & WRITING)
        if flags & ~(Flag.APPEND | Flag.NONBLOCK | 0b11010):
            raise Refused(Errno.INVAL)
        self.table.room()
        if found is not None and found.kind is FileKind.FOLDER:
            if how & How.NEW and how & How.CREATE:
                raise Refused(Errno.EXIST)
            if writes and not how & How.FOLDER:
                raise Refused(Errno.ISDIR)
            self.put(to, "I", self.table.add(Folder(path)))
            return
        if how & How.FOLDER:
            raise Refused(Errno.NOENT if found is None else Errno.NOTDIR)
        file = self._file(spot, found, path, how, writes=writes, reads=bool(rights & Right.READ))
        file.flags = flags & (Flag.APPEND | Flag.NONBLOCK)
        self.put(to, "I", self.table.add(file))

    def _file(self, spot: Spot, found: FileStat | None, path: str, how: int, *, writes: bool, reads: bool) -> OpenFile:
        if found is None:
            if not how & How.CREATE:
                raise Refused(Errno.NOENT)
            spot.changed()
            spot.place.vfs.open(spot.inner, "x").close()
        elif how & How.NEW and how & How.CREATE:
            raise Refused(Errno.EXIST)
        elif found.kind is FileKind.LINK:
            raise Refused(Errno.LOOP)
        if writes or how & How.EMPTY:
            spot.changed()
        io = spot.place.vfs.open(spot.inner, "r+" if writes or how & How.EMPTY else "r")
        if how & How.EMPTY:
            io.truncate(0)
        return OpenFile(path, io, reads=reads or not writes, writes=writes)

    def path_filestat_get(self, base: int, lookup: int, at: int, size: int, to: int) -> None:
        self._filestat(to, self.world.at(self._path(base, at, size, follow=bool(lookup & _FOLLOW))).stat())

    def path_filestat_set_times(
        self, base: int, lookup: int, at: int, size: int, accessed: int, modified: int, flags: int
    ) -> None:  # fmt: skip
        self.world.at(self._path(base, at, size, follow=bool(lookup & _FOLLOW))).stat()
        raise Refused(Errno.NOTSUP)

    def path_create_directory(self, base: int, at: int, size: int) -> None:
        spot = self._new(self._path(base, at, size))
        spot.place.vfs.mkdir(spot.inner)

    def path_remove_directory(self, base: int, at: int, size: int) -> None:
        path = self._path(base, at, size)
        spot = self._there(path)
        if spot.stat().kind is not FileKind.FOLDER:
            raise Refused(Errno.NOTDIR)
        if self.world.list(path):
            raise Refused(Errno.NOTEMPTY)
        spot.place.vfs.remove(spot.inner)

    def path_unlink_file(self, base: int, at: int, size: int) -> None:
        spot = self._there(self._path(base, at, size))
        if spot.stat().kind is FileKind.FOLDER:
            raise Refused(Errno.ISDIR)
        spot.place.vfs.remove(spot.inner)

    def path_rename(self, base: int, at: int, size: int, new_base: int, new_at: int, new_size: int) -> None:
        old, new = self._path(base, at, size, last=False), self._path(new_base, new_at, new_size)
        source, target = self._there(old), self._target(new)
        if source.place is not target.place:
            raise Refused(Errno.XDEV)
        if new.startswith(old + "/"):
            raise Refused(Errno.INVAL)
        found, there = source.stat(), target.found()
        if there is not None and (there.kind is FileKind.FOLDER) != (found.kind is FileKind.FOLDER):
            raise Refused(Errno.ISDIR if there.kind is FileKind.FOLDER else Errno.NOTDIR)
        if there is not None and there.kind is FileKind.FOLDER and old != new and self.world.list(new):
            raise Refused(Errno.NOTEMPTY)
        source.place.vfs.move(source.inner, target.inner)

    def path_symlink(self, target_at: int, target_size: int, base: int, at: int, size: int) -> None:
        target = self.text(target_at, target_size)
        if not target:
            raise Refused(Errno.NOENT)
        if self.teller is not None:
            self.teller.says = target
        if target.startswith("/"):
            self._path(base, at, size, last=False)
            raise Refused(Errno.NOTCAPABLE)
        spot = self._new(self._path(base, at, size))
        spot.place.vfs.symlink(spot.inner, target)

    def path_readlink(self, base: int, at: int, size: int, to: int, room: int, used: int) -> None:
        target = self.world.at(self._path(base, at, size)).stat().target
        if target is None:
            raise Refused(Errno.INVAL)
        text = os.fsencode(target)[:room]
        self.put_bytes(to, text)
        self.put(used, "I", len(text))

    def _path(self, base: int, at: int, size: int, *, follow: bool = False, last: bool = True) -> str:
        """Give the path that a text means; once the ``last`` of a call is known, it is judged."""
        folder, text = self.table.folder(base), self.text(at, size)
        if self.teller is None:
            return self.world.resolve(folder.path, text, follow=follow)
        path = self.teller.resolve(self.world, folder.path, text, follow=follow)
        if last:
            self.teller.judge(self.world)
        return path

    def _new(self, path: str) -> Spot:
        spot = self.world.at(path)
        if spot.found() is not None:
            raise Refused(Errno.EXIST)
        return spot.changed()

    def _there(self, path: str) -> Spot:
        spot = self._target(path)
        spot.stat()
        return spot

    def _target(self, path: str) -> Spot:
        if self.world.is_place(path):
            raise Refused(Errno.PERM)
        return self.world.at(path).changed()
