"""The contract of a file system that cloche reads and writes for its user: a box's, or a plugin's backend.

Paths are absolute within the file system (``/`` is its root), written without ``.``, ``..``, ``//`` or NUL; names that
are not UTF-8 come and go as ``os.fsdecode`` gives them. No method follows a symbolic link, be it the last name or one
on the way: whoever fills the tree may be hostile, so that the path that is written is the path that is used.

All methods block, may be called from several threads at once, and raise ``NotFound`` (nothing of that name),
``AccessDenied`` (not allowed), ``FileError`` (there, but of another kind, full, busy …), ``SpecError`` (a path or
argument that can never work) and ``StateError`` (closed).
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Final, Literal, Self

from cloche import units
from cloche.errors import FileError, NotFound, SpecError, Unsupported

if TYPE_CHECKING:
    from cloche.files.watch import Watch

OpenMode = Literal["r", "r+", "w", "a", "x"]

PATH_MAX: Final = 1 << 16
"""Bytes of a path. A guest can nest folders deeper than that, but nothing would then be gained by naming them."""
CHUNK: Final = 1 << 20
PERMISSIONS_MAX: Final = 0o1777


class FileKind(StrEnum):
    """What a name stands for (``st_mode``, inode(7))."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    PIPE = "pipe"
    SOCKET = "socket"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStat:
    """What is known about one name, itself and never what a link points to."""

    kind: FileKind
    size: int
    """Bytes of a file, or of a link's text; of other kinds nothing to rely on."""
    mode: int
    """Permission bits with set-id and sticky, e.g. ``0o644``."""
    modified_ns: int
    """Time of the last change of content, nanoseconds since 1970 (UTC), as the guest or the host set it."""
    changed_ns: int
    """Time of the last change of anything, content or what is told here, by the file system's own clock (``st_ctime``).

    A guest can set ``modified_ns`` as it likes, but not this; where it stands still, so does the file."""
    inode: int
    links: int
    target: str | None = None
    """The text of a symbolic link."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name found by ``list`` or ``walk``: its whole path and what it is."""

    path: str
    stat: FileStat

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


def check_path(value: str, what: str = "path") -> str:
    """Give ``value`` if it is a path as described above, else raise ``SpecError``."""
    return units.guest_path(value, what, most=PATH_MAX)


def check_permissions(value: int) -> int:
    """Give ``value`` if it can be the permissions of a file, else raise ``SpecError``.

    Set-id bits can't be set: in a folder of the host's own, such a file would lend its owner's rights to others.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= PERMISSIONS_MAX:
        raise SpecError(f"permissions: {units.shown(value)} must be a number from 0 to 0o1777, e.g. 0o644")
    return value


def read_most(file: BinaryIO, most: int) -> bytes:
    """Give what is left of ``file``, but not more than ``most`` bytes, however large it says it is."""
    pieces: list[bytes] = []
    while most > 0 and (piece := file.read(min(CHUNK, most))):
        pieces.append(piece)
        most -= len(piece)
    return b"".join(pieces)


def write_whole(file: BinaryIO, data: bytes) -> None:
    """Write all of ``data``: an unbuffered file may take less at once."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def as_bytes(data: bytes | str, act: str) -> bytes:
    """Give what a caller wants written: bytes, or text as UTF-8. Raises ``SpecError``."""
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError as error:
            raise SpecError(f"{act}: the text can't be written as UTF-8: {error.reason}; give bytes") from None
    if not isinstance(data, bytes | bytearray | memoryview):
        raise SpecError(f"{act}: bytes or text are needed, not {type(data).__name__}")
    return data


class Vfs(ABC):
    """One tree of files. ``with`` closes it; abstract methods are musts, the others raise ``Unsupported``."""

    name: ClassVar[str]
    """What people write, lower case, e.g. ``"memory"``."""

    @abstractmethod
    def stat(self, path: str) -> FileStat:
        """Tell about ``path`` itself."""

    @abstractmethod
    def list(self, path: str = "/") -> list[Entry]:
        """Give what is directly in a folder, by name in code-point order."""

    @abstractmethod
    def open(self, path: str, mode: OpenMode = "r", *, permissions: int = 0o644) -> BinaryIO:
        """Open a regular file unbuffered: ``r`` to read, ``w`` made or emptied, ``a`` made or appended to, ``x`` made.

        ``r+`` is to read and write one that is there; the others but ``r`` write alone. Anything but a regular file is
        refused without waiting for it. ``permissions`` are those of a new file; no umask is taken off. The caller
        closes what it gets.
        """

    @abstractmethod
    def write(self, path: str, data: bytes, *, permissions: int | None = None) -> None:
        """Put a file with this content in place, whole or not at all: a reader sees the old one or the new.

        ``None`` keeps the permissions of the file that was there, else gives ``0o644``. A name that stands for
        something else than a file or a link is an error; a link is replaced, not followed.
        """

    @abstractmethod
    def mkdir(self, path: str, *, parents: bool = False, permissions: int = 0o755) -> None:
        """Make a folder. With ``parents`` those above it too, and one that is there already is no error."""

    @abstractmethod
    def move(self, source: str, target: str, *, replace: bool = True) -> None:
        """Give ``source`` the name ``target`` (rename(2)): at once, within one file system, never into itself."""

    @abstractmethod
    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a name; a folder only if it is empty or ``recursive``. Of a link the link, never what it means."""

    def read(self, path: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """Give the bytes of a file from ``offset`` on, all or at most ``size``."""
        with self.open(path) as file:
            file.seek(offset)
            return read_most(file, sys.maxsize if size is None else size)

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file, which is made if it is not there."""
        with self.open(path, "a") as file:
            write_whole(file, data)

    def walk(self, path: str = "/") -> Iterator[Entry]:
        """Give everything below a folder, each folder before what is in it; what vanishes meanwhile is left out."""
        above = [iter(self.list(path))]
        while above:
            entry = next(above[-1], None)
            if entry is None:
                above.pop()
                continue
            yield entry
            if entry.stat.kind is FileKind.FOLDER:
                try:
                    above.append(iter(self.list(entry.path)))
                except NotFound:
                    continue  # it vanished meanwhile
                except FileError:
                    if self.stat(entry.path).kind is FileKind.FOLDER:
                        raise
                    continue  # it is something else by now

    def chmod(self, path: str, permissions: int) -> None:
        """Set the permission bits of a file or folder."""
        raise Unsupported(f"{self.name} files have no permissions that can be set: chmod {path} {permissions:o}")

    def symlink(self, path: str, target: str) -> None:
        """Make ``path`` a symbolic link that says ``target``, which is not checked in any way."""
        raise Unsupported(f"{self.name} files have no symbolic links: {path} -> {target}")

    def watch(self, path: str = "/", *, recursive: bool = True) -> Watch:
        """Begin to watch a folder, and with ``recursive`` all folders below it, now and later. The caller closes it."""
        raise Unsupported(f"{self.name} files can't be watched: {path} (recursive: {recursive})")

    def close(self) -> None:  # noqa: B027 - optional, and nothing is a fine answer
        """Give back what it holds. Harmless when repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
