"""Packs a tree of files into an archive, as a stream; equal trees give equal archives where times are fixed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, get_args

from cloche.errors import FileError, LimitExceeded, NotFound, SpecError
from cloche.files.archive_place import ArchiveSummary
from cloche.files.archive_stream import PIECE, ArchiveLimits
from cloche.files.archive_write import Format, Item, Packer, Writable, packer
from cloche.files.tree import Looks, printable
from cloche.files.vfs import Entry, FileKind, check_path
from cloche.units import shown, size

Target = str | os.PathLike[str] | Writable
"""A path on the host, or what can be written to."""


def export_archive(
    vfs: Looks,
    path: str,
    target: Target,
    *,
    format: Format = "tar",  # noqa: A002 - the word everybody uses
    modified: int | None = None,
    limits: ArchiveLimits = ArchiveLimits(),  # noqa: B008 - frozen
) -> ArchiveSummary:
    """Pack everything below the folder ``path`` into ``target``, names relative to it, sorted.

    A path on the host is written whole or not at all; into a stream it goes as it is read. ``modified`` is the time of
    all members in seconds since 1970 (UTC) instead of their own: with it equal trees give equal archives. Owners are
    not told; a file of several names is packed as often. Links are packed as what they say, never followed.

    Pipes, sockets and devices are left out and named in the answer. In a tree that changes meanwhile: what vanishes is
    left out, a file that grows is packed as long as it was, and one that shrinks is a ``FileError``; pause the box.
    Raises ``LimitExceeded`` too, and for a zip ``FileError`` where a name is not UTF-8.
    """
    check_path(path)
    if format not in get_args(Format):
        raise SpecError(f"format: {shown(format)} is unknown; there are {', '.join(get_args(Format))}")
    if modified is not None and (type(modified) is not int or not 0 <= modified < 1 << 33):
        raise SpecError(f"modified: {shown(modified)} is out of range; give seconds since 1970")
    with _opened(target) as stream, packer(format, stream) as to:
        return _Export(vfs, path, to, modified, limits).run()


@contextmanager
def _opened(target: Target) -> Iterator[Writable]:
    """Open a new file beside the path, which gets its name when all is in it."""
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    final = os.fspath(target)
    aside = f"{final}.{secrets.token_hex(8)}"
    try:
        with open(aside, "xb") as file:
            yield file
        os.replace(aside, final)
    except BaseException:
        if os.path.lexists(aside):
            os.unlink(aside)
        raise


@dataclass(slots=True)
class _Export:
    """One export: what it is of, and the counts so far."""

    vfs: Looks
    path: str
    to: Packer
    modified: int | None
    limits: ArchiveLimits
    files: int = 0
    folders: int = 0
    links: int = 0
    size: int = 0

    def run(self) -> ArchiveSummary:
        begin = self.path if self.path == "/" else self.path + "/"
        skipped: list[str] = []
        for entry in self._entries():
            name = entry.path.removeprefix(begin)
            match entry.stat.kind:
                case FileKind.FILE:
                    self._file(name, entry)
                case FileKind.FOLDER:
                    self.to.add(Item(name=name, stat=entry.stat, seconds=self._seconds(entry)))
                    self.folders += 1
                case FileKind.LINK:
                    self.to.add(Item(name=name, stat=entry.stat, seconds=self._seconds(entry)))
                    self.links += 1
                case _:
                    skipped.append(name)
        return ArchiveSummary(self.files, self.folders, self.links, self.size, tuple(skipped))

    def _entries(self) -> list[Entry]:
        """Give all names sorted: file systems give them in an order that equal trees need not share."""
        entries: list[Entry] = []
        for entry in self.vfs.walk(self.path):
            if len(entries) == self.limits.entries:
                raise LimitExceeded(
                    f"export of {printable(self.path)}: more than {self.limits.entries} names; raise limits.entries"
                )
            entries.append(entry)
        return sorted(entries, key=lambda entry: entry.path)

    def _seconds(self, entry: Entry) -> int:
        return self.modified if self.modified is not None else max(0, entry.stat.modified_ns // 1_000_000_000)

    def _file(self, name: str, entry: Entry) -> None:
        file = _open(self.vfs, entry.path)
        if file is None:
            return
        with file:
            length = file.seek(0, 2)
            file.seek(0)
            self.size += length
            if length > size(self.limits.file, "file") or self.size > size(self.limits.size, "size"):
                raise LimitExceeded(f"export: with {printable(entry.path)} it is beyond limits.file or limits.size")
            pieces = _content(file, length, entry.path)
            self.to.add(
                Item(name=name, stat=entry.stat, seconds=self._seconds(entry), length=length, pieces=pieces)
            )  # fmt: skip
        self.files += 1


def _open(vfs: Looks, path: str) -> BinaryIO | None:
    """Open a file of the tree; None if it is gone, or something else has its name by now."""
    try:
        return vfs.open(path)
    except NotFound:
        return None
    except FileError:
        if _is_file(vfs, path):
            raise
        return None


def _is_file(vfs: Looks, path: str) -> bool:
    try:
        return vfs.stat(path).kind is FileKind.FILE
    except NotFound:
        return False


def _content(file: BinaryIO, length: int, path: str) -> Iterator[bytes]:
    while length:
        piece = file.read(min(length, PIECE))
        if not piece:
            raise FileError(f"export: {printable(path)} shrank while it was read; pause the box, or export again")
        length -= len(piece)
        yield piece
