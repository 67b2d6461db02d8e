"""The calls of WASI preview 1 on what is open."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cloche import FileStat
from cloche_wasm.wasi.descriptors import ALL_RIGHTS, KINDS, WRITING, FileType, Flag, Folder, OpenFile, Right, Stream
from cloche_wasm.wasi.errors import Errno, Refused
from cloche_wasm.wasi.guest import Guest

_DIRENT: Final = struct.Struct("<QQIB3x")


class FileCalls(Guest):
    """Reading, writing and looking by descriptor."""

    def fd_close(self, number: int) -> None:
        self.table.close(number)

    def fd_renumber(self, number: int, to: int) -> None:
        self.table.renumber(number, to)

    def fd_advise(self, number: int, offset: int, size: int, advice: int) -> None:
        self.table.file(number)

    def fd_sync(self, number: int) -> None:
        self.table.file(number)

    fd_datasync = fd_sync

    def fd_fdstat_get(self, number: int, to: int) -> None:
        what = self.table[number]
        if isinstance(what, Stream):
            rights = int(Right.WRITE if what.writes else Right.READ)
            self.put(to, "BxHxxxxQQ", FileType.UNKNOWN, what.flags, rights, 0)
        elif isinstance(what, Folder):
            self.put(to, "BxHxxxxQQ", FileType.FOLDER, 0, ALL_RIGHTS & ~(WRITING | Right.READ | Right.SEEK), ALL_RIGHTS)
        else:
            rights = ALL_RIGHTS & ~(0 if what.writes else WRITING) & ~(0 if what.reads else Right.READ)
            self.put(to, "BxHxxxxQQ", FileType.FILE, what.flags, rights, 0)

    def fd_fdstat_set_flags(self, number: int, flags: int) -> None:
        what = self.table[number]
        if isinstance(what, Folder) or flags & ~(Flag.APPEND | Flag.NONBLOCK):
            raise Refused(Errno.NOTSUP)
        what.flags = flags

    def fd_fdstat_set_rights(self, number: int, base: int, inheriting: int) -> None:
        _ = self.table[number]

    def fd_filestat_get(self, number: int, to: int) -> None:
        what = self.table[number]
        if isinstance(what, Stream):
            self.put_bytes(to, bytes(16) + bytes([FileType.UNKNOWN]) + bytes(47))
            return
        if isinstance(what, OpenFile):
            here = what.io.tell()
            size = what.io.seek(0, os.SEEK_END)
            what.io.seek(here)
            found = self.world.at(what.path).found()
            self._filestat(to, found, size=size)
            return
        self._filestat(to, self.world.at(what.path).stat())

    def _filestat(self, to: int, found: FileStat | None, *, size: int | None = None) -> None:
        if found is None:  # the name of an open file is gone
            self.put(to, "QQB7xQQQQQ", 1, 0, FileType.FILE, 0, size or 0, 0, 0, 0)
            return
        kind = KINDS.get(found.kind, FileType.UNKNOWN)
        times = found.modified_ns, found.modified_ns, found.changed_ns
        bounded = (value & (1 << 64) - 1 for value in times)
        self.put(
            to, "QQB7xQQQQQ", 1, found.inode, kind, found.links, found.size if size is None else size, *bounded
        )  # fmt: skip

    def fd_filestat_set_size(self, number: int, size: int) -> None:
        file = self._written(number)
        self._by_name(file.path)
        self._fits(size)
        file.io.truncate(size)

    def fd_allocate(self, number: int, offset: int, size: int) -> None:
        file = self._written(number)
        self._by_name(file.path)
        self._fits(offset + size)
        here = file.io.tell()
        if offset + size > file.io.seek(0, os.SEEK_END):
            file.io.truncate(offset + size)
        file.io.seek(here)

    def fd_filestat_set_times(self, number: int, accessed: int, modified: int, flags: int) -> None:
        _ = self.table[number]
        raise Refused(Errno.NOTSUP)

    def fd_prestat_get(self, number: int, to: int) -> None:
        self.put(to, "II", 0, len(self._given(number)))

    def fd_prestat_dir_name(self, number: int, to: int, size: int) -> None:
        name = self._given(number)
        if size < len(name):
            raise Refused(Errno.NAMETOOLONG)
        self.put_bytes(to, name)

    def _by_name(self, path: str) -> None:
        """Have a call judged that is about what was opened by this path."""
        if self.teller is not None:
            self.teller.name(path, resolved=True)
            self.teller.judge(self.world)

    def _given(self, number: int) -> bytes:
        what = self.table[number]
        if not isinstance(what, Folder) or what.name is None:
            raise Refused(Errno.BADF)
        return what.name

    # -- reading ----------------------------------------------------------------------------------------------------

    def fd_read(self, number: int, vectors: int, count: int, to: int) -> None:
        what, buffers = self.table[number], self.vectors(vectors, count)
        if isinstance(what, Stream):
            self.put(to, "I", self._scatter(self._from_stream(what, sum(size for _, size in buffers)), buffers))
        else:
            self.put(to, "I", self._scatter(self._from_file(number, buffers), buffers))

    def fd_pread(self, number: int, vectors: int, count: int, offset: int, to: int) -> None:
        file, buffers = self.table.file(number), self.vectors(vectors, count)
        with _elsewhere(file, offset):
            data = self._from_file(number, buffers)
        self.put(to, "I", self._scatter(data, buffers))

    def _from_stream(self, stream: Stream, size: int) -> bytes:
        if stream.writes:
            raise Refused(Errno.BADF)
        if stream.fd is None or not size:
            return b""
        if stream.flags & Flag.NONBLOCK and not self.waiting.until({stream.fd: 1}, 0):
            raise Refused(Errno.AGAIN)
        return self.waiting.read(stream.fd, size)

    def _from_file(self, number: int, buffers: list[tuple[int, int]]) -> bytes:
        file = self.table.file(number)
        if not file.reads:
            raise Refused(Errno.BADF)
        return file.io.read(sum(size for _, size in buffers))

    def _scatter(self, data: bytes, buffers: list[tuple[int, int]]) -> int:
        at = 0
        for address, size in buffers:
            self.put_bytes(address, data[at : at + size])
            at += size
        return len(data)

    # -- writing ----------------------------------------------------------------------------------------------------

    def fd_write(self, number: int, vectors: int, count: int, to: int) -> None:
        what, data = self.table[number], self._gathered(vectors, count)
        if isinstance(what, Stream):
            if not what.writes:
                raise Refused(Errno.BADF)
            done = len(data) if what.fd is None else self.waiting.write(what.fd, data)
        else:
            file = self._written(number)
            if file.flags & Flag.APPEND:
                file.io.seek(0, os.SEEK_END)
            done = self._into(file, data)
        self.put(to, "I", done)

    def fd_pwrite(self, number: int, vectors: int, count: int, offset: int, to: int) -> None:
        file, data = self._written(number), self._gathered(vectors, count)
        with _elsewhere(file, offset):
            done = self._into(file, data)
        self.put(to, "I", done)

    def _gathered(self, vectors: int, count: int) -> bytes:
        return b"".join(self.take(address, size) for address, size in self.vectors(vectors, count))

    def _written(self, number: int) -> OpenFile:
        file = self.table.file(number)
        if not file.writes:
            raise Refused(Errno.BADF)
        return file

    def _into(self, file: OpenFile, data: bytes) -> int:
        if data:
            self._fits(file.io.tell() + len(data))
        return file.io.write(data)

    def _fits(self, size: int) -> None:
        if size > (self.file_size if self.file_size is not None else (1 << 63) - 1):
            raise Refused(Errno.FBIG)

    # -- places -----------------------------------------------------------------------------------------------------

    def fd_seek(self, number: int, offset: int, whence: int, to: int) -> None:
        file = self.table.file(number)
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise Refused(Errno.INVAL)
        signed = offset - (1 << 64) if offset >> 63 else offset
        start = (0, file.io.tell(), 0)[whence]
        if whence == os.SEEK_END:
            here = file.io.tell()
            start = file.io.seek(0, os.SEEK_END)
            file.io.seek(here)
        self.put(to, "Q", file.io.seek(_place(start + signed)))

    def fd_tell(self, number: int, to: int) -> None:
        self.put(to, "Q", self.table.file(number).io.tell())

    def fd_readdir(self, number: int, to: int, room: int, cookie: int, used: int) -> None:
        folder = self.table.folder(number)
        if cookie == 0:
            self._by_name(folder.path)
        if folder.listing is None or cookie == 0:
            entries = self.world.list(folder.path)
            folder.listing = [(b".", FileType.FOLDER, 0), (b"..", FileType.FOLDER, 0)] + [
                (os.fsencode(entry.name), KINDS.get(entry.stat.kind, FileType.UNKNOWN), entry.stat.inode)
                for entry in entries
            ]
        out = bytearray()
        for place, (name, kind, inode) in enumerate(folder.listing[cookie:], cookie + 1):
            out += _DIRENT.pack(place, inode, len(name), kind) + name
            if len(out) >= room:
                break
        self.put_bytes(to, bytes(out[:room]))
        self.put(used, "I", min(len(out), room))


@contextmanager
def _elsewhere(file: OpenFile, offset: int) -> Iterator[None]:
    """Have the file stand at ``offset`` for a moment."""
    here = file.io.tell()
    file.io.seek(_place(offset))
    try:
        yield
    finally:
        file.io.seek(here)


def _place(offset: int) -> int:
    if not 0 <= offset < 1 << 63:
        raise Refused(Errno.INVAL)
    return offset
