"""Writes tar and zip: the standard library makes the heads, the content goes through piece by piece."""

from __future__ import annotations

import gzip
import stat
import tarfile
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Final, Literal, Protocol, cast

from cloche.errors import FileError
from cloche.files.archive_place import write_all
from cloche.files.tree import printable
from cloche.files.vfs import FileKind, FileStat

Format = Literal["tar", "tar.gz", "zip"]

_BLOCK: Final = 512
_TYPES: Final = {FileKind.FILE: tarfile.REGTYPE, FileKind.FOLDER: tarfile.DIRTYPE, FileKind.LINK: tarfile.SYMTYPE}
_MODES: Final = {FileKind.FILE: stat.S_IFREG, FileKind.FOLDER: stat.S_IFDIR, FileKind.LINK: stat.S_IFLNK}
_ZIP_TIMES: Final = (315532800, 4354819198)
"""1980 to 2107: what the two bytes of a date in a zip can say."""
_ZIP_NAME_MOST: Final = 0xFFFF


class Writable(Protocol):
    """What can be written to, in binary; it may take a part at a time."""

    def write(self, data: bytes, /) -> int | None: ...  # noqa: D102 - as io.RawIOBase.write


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file, folder or link to be packed."""

    name: str
    stat: FileStat
    seconds: int
    length: int = 0
    pieces: Iterable[bytes] = ()


class Packer(ABC):
    """Writes one format."""

    @abstractmethod
    def add(self, item: Item) -> None:
        """Write one member."""

    @abstractmethod
    def end(self) -> None:
        """Write what comes after the last one."""


@contextmanager
def packer(how: Format, target: Writable) -> Iterator[Packer]:
    """Give a packer, whose end is written only if all went well."""
    sink = _Sink(target)
    # No name and no time in its head, so that equal trees give equal archives.
    packed = gzip.GzipFile("", "wb", 6, cast("IO[bytes]", sink), mtime=0) if how == "tar.gz" else None
    made = _Zip(sink) if how == "zip" else _Tar(packed or sink)
    try:
        yield made
        made.end()
        if packed is not None:
            packed.close()
    except BaseException:
        sink.broken = True
        raise


class _Sink:
    """A target that takes all it is given, until something went wrong."""

    def __init__(self, target: Writable) -> None:
        self._target = target
        self.broken = False
        """The library's writers end what they began when they are forgotten; a broken archive may not look whole."""

    def write(self, data: bytes) -> int:
        if not self.broken:
            write_all(self._target.write, bytes(data))
        return len(data)

    def flush(self) -> None:
        """Leave that to who owns the target."""


class _Tar(Packer):
    """pax (POSIX.1-2001) where ustar does not do: long names, bytes that are no ASCII, files from 8 GiB on."""

    def __init__(self, target: Writable) -> None:
        self._target = target

    def add(self, item: Item) -> None:
        info = tarfile.TarInfo(item.name)
        info.type, info.mode, info.mtime, info.size = (
            _TYPES[item.stat.kind],
            item.stat.mode & 0o777,
            item.seconds,
            item.length,
        )
        info.linkname = item.stat.target or ""
        self._target.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        for piece in item.pieces:
            self._target.write(piece)
        self._target.write(bytes(-item.length % _BLOCK))

    def end(self) -> None:
        self._target.write(bytes(2 * _BLOCK))


class _Zip(Packer):
    def __init__(self, target: _Sink) -> None:
        self._zip = zipfile.ZipFile(cast("IO[bytes]", target), "w", zipfile.ZIP_DEFLATED, allowZip64=True)

    def add(self, item: Item) -> None:
        folder, text = item.stat.kind is FileKind.FOLDER, _utf8(item.name, item.stat.target or "")
        date = time.gmtime(min(max(item.seconds, _ZIP_TIMES[0]), _ZIP_TIMES[1]))[:6]
        info = zipfile.ZipInfo(item.name + "/" if folder else item.name, date)
        info.create_system = 3  # Unix: the mode is in the upper half of the attributes
        info.external_attr = (_MODES[item.stat.kind] | item.stat.mode & 0o777) << 16 | (0x10 if folder else 0)
        info.compress_type = zipfile.ZIP_DEFLATED if item.stat.kind is FileKind.FILE else zipfile.ZIP_STORED
        info.file_size = item.length
        with self._zip.open(info, "w") as member:
            member.write(text)
            for piece in item.pieces:
                member.write(piece)

    def end(self) -> None:
        self._zip.close()


def _utf8(name: str, target: str) -> bytes:
    """Give a link's text as bytes, if the names can be told in a zip."""
    try:
        if len(name.encode()) < _ZIP_NAME_MOST:
            return target.encode()
    except UnicodeEncodeError:
        pass  # told below, with the long ones
    raise FileError(f"zip: {printable(name)} can't be named in a zip, only in UTF-8 and 65534 bytes; take format='tar'")
