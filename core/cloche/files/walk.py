"""Entries of folders as the native module reads them, and walks through trees of any size and shape."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from typing import Final

from cloche import units
from cloche.errors import FileError
from cloche.files.vfs import PATH_MAX, Entry, FileKind, FileStat, check_path
from cloche_native import files as native

HELD: Final = 32  # folders that a walk keeps open, the innermost ones; the others are opened again on the way back
_KINDS: Final = {
    stat.S_IFREG: FileKind.FILE, stat.S_IFDIR: FileKind.FOLDER, stat.S_IFLNK: FileKind.LINK,
    stat.S_IFIFO: FileKind.PIPE, stat.S_IFSOCK: FileKind.SOCKET,
}  # fmt: skip
_VANISHED: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE}

Judge = Callable[[Entry], bool | None]
"""What a walk does with an entry: ``True`` give it and enter it, ``None`` only give it, ``False`` neither."""
Use = Callable[[str, str], AbstractContextManager[bytes]]
"""Gives the raw form of a path for an act, turns errors into cloche's, and keeps the tree open meanwhile."""


def stat_of(found: native.Found) -> FileStat:
    """Give what the native module found in the words of the contract."""
    return FileStat(
        kind=_KINDS.get(stat.S_IFMT(found.mode), FileKind.DEVICE), size=found.size, mode=stat.S_IMODE(found.mode),
        modified_ns=found.modified_ns, changed_ns=found.changed_ns, inode=found.inode, links=found.links,
        target=os.fsdecode(found.target) if stat.S_ISLNK(found.mode) else None,
    )  # fmt: skip


def next_entries(reader: native.Reader, prefix: str) -> list[tuple[int, Entry]]:
    """Give some more entries of a folder, each with the offset to go on from; none at its end."""
    records, texts = reader.batch()
    return [
        (
            offset,
            Entry(
                prefix + name,
                FileStat(
                    kind=_KINDS.get(mode & 0o170000, FileKind.DEVICE), size=size, mode=mode & 0o7777,
                    modified_ns=modified, changed_ns=changed, inode=inode, links=links,
                    target=target if mode & 0o170000 == stat.S_IFLNK else None,
                ),
            ),
        )
        for (offset, inode, size, modified, changed, mode, links), (name, target) in zip(
            struct.iter_unpack(native.RECORD, records), native.names(texts), strict=True
        )
    ]  # fmt: skip


class Walk:
    """One walk through a tree that may change meanwhile, and be as wide and as deep as a guest can make it.

    It holds a batch of names and a descriptor of each of the innermost ``HELD`` folders, of those above only path and
    position.
    """

    def __init__(self, folder: native.Folder, use: Use, shown_as: str) -> None:
        self._folder = folder
        self._use = use
        self._shown_as = shown_as

    def run(self, path: str, judge: Judge | None) -> Generator[Entry, None, None]:
        """Give the entries below ``path``, each folder before what is in it."""
        levels = [_Level(check_path(path).rstrip("/"), None)]
        try:
            self._enter(levels[0], None)
            while levels:
                level = levels[-1]
                row = next(level.rows, None)
                if row is None:
                    if not self._more(level):
                        level.close()
                        levels.pop()
                    continue
                level.offset, entry = row
                verdict = True if judge is None else judge(entry)
                if verdict is not False:
                    yield entry
                if verdict and entry.stat.kind is FileKind.FOLDER:
                    inner = _Level(f"{level.path}/{entry.name}", entry.name)
                    if self._enter(inner, level):
                        levels.append(inner)
                        if len(levels) > HELD:
                            levels[-HELD - 1].close()
        finally:
            for level in levels:
                level.close()

    def _enter(self, level: _Level, above: _Level | None) -> bool:
        """Open the folder of a level; gives whether it is (still) one that can be looked into."""
        if len(os.fsencode(level.path)) > PATH_MAX:
            raise FileError(f"walk {units.shown(self._shown_as + level.path)}: it lies deeper than a path can say")
        with self._use("walk", level.path or "/") as raw:
            try:
                if above is None or above.reader is None or level.name is None:
                    level.reader = self._folder.reader(raw)
                else:
                    level.reader = self._folder.reader(os.fsencode(level.name), at=above.reader.fd)
            except OSError as error:
                if above is None or error.errno not in {*_VANISHED, errno.EOPNOTSUPP}:
                    raise
                return False
        return True

    def _more(self, level: _Level) -> bool:
        """Read on in a level, opened again where that was let go; gives whether there was more."""
        with self._use("walk", level.path or "/") as raw:
            try:
                if level.reader is None:
                    level.reader = self._folder.reader(raw)
                    level.reader.seek(level.offset)
                batch = next_entries(level.reader, f"{self._shown_as}{level.path}/")
            except OSError as error:
                if error.errno not in _VANISHED:
                    raise
                return False
        level.rows = iter(batch)
        return bool(batch)


class _Level:
    """One folder of a walk: its path, and how far it was read."""

    __slots__ = ("name", "offset", "path", "reader", "rows")

    def __init__(self, path: str, name: str | None) -> None:
        self.path, self.name = path, name
        self.reader: native.Reader | None = None
        self.rows: Iterator[tuple[int, Entry]] = iter(())
        self.offset = 0

    def close(self) -> None:
        """Let go of the folder and of the names that were read ahead."""
        self.rows = iter(())
        if self.reader is not None:
            self.reader.close()
            self.reader = None
