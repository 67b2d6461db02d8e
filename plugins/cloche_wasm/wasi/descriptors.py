"""What a program has open: streams of the host, files and folders; a number each, and at most so many."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import BinaryIO

from cloche import FileKind
from cloche_wasm.wasi.errors import Errno, Refused


class FileType(IntEnum):
    """Numbers of the specification (``filetype``)."""

    UNKNOWN = 0
    CHARACTER = 2
    FOLDER = 3
    FILE = 4
    LINK = 7


class Right(IntFlag):
    """Those of the specification's ``rights`` that make a difference here."""

    READ = 1 << 1
    SEEK = 1 << 2
    TELL = 1 << 5
    WRITE = 1 << 6
    ALLOCATE = 1 << 8
    SET_SIZE = 1 << 22


class Flag(IntFlag):
    """``fdflags``."""

    APPEND = 1
    NONBLOCK = 4


ALL_RIGHTS = (1 << 29) - 1
WRITING = Right.WRITE | Right.ALLOCATE | Right.SET_SIZE
KINDS = {FileKind.FILE: FileType.FILE, FileKind.FOLDER: FileType.FOLDER, FileKind.LINK: FileType.LINK}


@dataclass(slots=True)
class Stream:
    """A descriptor of the host that is the program's; ``None`` reads as ended and swallows what is written."""

    fd: int | None
    writes: bool
    flags: int = 0

    def close(self) -> None:
        """Close it."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


@dataclass(slots=True)
class OpenFile:
    """A file; ``io`` has its position."""

    path: str
    io: BinaryIO
    flags: int = 0
    reads: bool = True
    writes: bool = False

    def close(self) -> None:
        """Close it."""
        self.io.close()


@dataclass(slots=True)
class Folder:
    """A folder, by its path; ``name`` is what the program was told, if it was given to it at its start."""

    path: str
    name: bytes | None = None
    listing: list[tuple[bytes, FileType, int]] | None = None
    """What is in it as it was when it was last read from its beginning."""

    def close(self) -> None:
        """Do nothing: it holds nothing."""


Open = Stream | OpenFile | Folder


class Table:
    """Descriptors by number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[int, Open] = {}

    def add(self, what: Open) -> int:
        """Give it the lowest free number. Refuses more than there may be, and closes it then."""
        if len(self._open) >= self._most:
            what.close()
            raise Refused(Errno.MFILE)
        number = next(n for n in range(len(self._open) + 1) if n not in self._open)
        self._open[number] = what
        return number

    def room(self) -> None:
        """Refuse unless there is room for one more."""
        if len(self._open) >= self._most:
            raise Refused(Errno.MFILE)

    def __getitem__(self, number: int) -> Open:
        try:
            return self._open[number]
        except KeyError:
            raise Refused(Errno.BADF) from None

    def file(self, number: int) -> OpenFile:
        """Give a file."""
        match self[number]:
            case OpenFile() as file:
                return file
            case Folder():
                raise Refused(Errno.ISDIR)
            case _:
                raise Refused(Errno.SPIPE)

    def folder(self, number: int) -> Folder:
        """Give a folder."""
        what = self[number]
        if not isinstance(what, Folder):
            raise Refused(Errno.NOTDIR)
        return what

    def close(self, number: int) -> None:
        """Close one."""
        what = self[number]
        del self._open[number]
        what.close()

    def renumber(self, number: int, to: int) -> None:
        """Put one in the place of another, which is closed."""
        what, old = self[number], self[to]
        if what is not old:
            del self._open[number]
            self._open[to] = what
            old.close()

    def close_all(self) -> None:
        """Close all."""
        for what in self._open.values():
            what.close()
        self._open.clear()
