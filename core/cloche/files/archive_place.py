"""Makes the members of an archive in a file system: each checked first, all made aside, then moved into place."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from cloche.errors import ArchiveError, ClocheError, FileError, LimitExceeded, NotFound
from cloche.files.archive_rules import STAGE, Rules, said
from cloche.files.archive_stream import PIECE, ArchiveLimits
from cloche.files.archive_tar import Member
from cloche.files.vfs import FileKind, Vfs
from cloche.units import size

_OWNER: Final = 0o700


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """What went in or out. Names in ``skipped`` are pipes, sockets and devices, which no archive gets."""

    files: int
    folders: int
    links: int
    size: int
    """Bytes of all files together."""
    skipped: tuple[str, ...] = ()


class Stage:
    """A folder aside, in the one where all shall be: that is the same file system, so that moving is a rename."""

    def __init__(
        self, vfs: Vfs, path: str, limits: ArchiveLimits, rules: Rules, check: Callable[[str], object] | None = None
    ) -> None:
        self._vfs, self._limits, self._rules, self._check = vfs, limits, rules, check
        self._base = path if path == "/" else path + "/"
        self._aside = f"{self._base}{STAGE}{secrets.token_hex(8)}"
        self._file_most, self._left = size(limits.file, "file"), size(limits.size, "size")
        self._kinds: dict[tuple[str, ...], FileKind] = {}
        self._below: dict[tuple[str, ...], list[tuple[str, ...]]] = {(): []}
        self._implied: set[tuple[str, ...]] = set()
        self._modes: dict[tuple[str, ...], int] = {}
        self._entries = 0
        self._undo: list[Callable[[], None]] = []
        self._begun = False

    def _begin(self) -> None:
        """Make the folder aside, once there is something to put in."""
        self._begun = True
        for path in (self._aside, self._aside + "/new", self._aside + "/old"):
            self._vfs.mkdir(path, permissions=_OWNER)

    def take(self, member: Member) -> None:
        """Check a member and make it aside."""
        self._count()
        parts = self._rules.name(member.name)
        if not parts:
            if member.kind != "folder":
                raise ArchiveError("archive: what all is in can only be a folder")
            return
        if self._check is not None:
            self._check("/".join(parts))
        if not self._begun:
            self._begin()
        self._parents(parts)
        if parts in self._kinds and not (member.kind == "folder" and parts in self._implied):
            raise ArchiveError(f"archive: {said('/'.join(parts))} is in it twice")
        mode = member.mode & 0o777
        match member.kind:
            case "folder":
                self._folder(parts, mode)
            case "file":
                self._file(parts, mode, member.size, member.pieces)
            case "link":
                self._vfs.symlink(self._new(parts), self._rules.link(parts, member.target))
                self._add(parts, FileKind.LINK)
            case "hard link":
                self._copy(parts, mode, member.target)

    def place(self, *, replace: bool) -> ArchiveSummary:
        """Move everything to where it shall be, or say why not and leave all as it was."""
        moves: dict[tuple[str, ...], bool] = {}
        taken: list[str] = []
        self._plan((), moves, taken, replace=replace)
        if taken:
            names = ", ".join(said(name) for name in taken[:3]) + (" ..." if len(taken) > 3 else "")  # noqa: PLR2004
            raise FileError(
                f"import: there already, or of another kind: {names}; nothing was changed. "
                "Import elsewhere, remove them, or give replace=True for files"
            )
        for number, (parts, there) in enumerate(moves.items()):
            self._move(parts, f"{self._aside}/old/{number}" if there else None)
        for parts in sorted(self._modes, key=len, reverse=True):
            if any(parts[:end] in moves for end in range(1, len(parts) + 1)):
                self._vfs.chmod(self._final(parts), self._modes[parts])
        self._undo.clear()
        if self._begun:
            self._vfs.remove(self._aside, recursive=True)
        kinds = list(self._kinds.values())
        return ArchiveSummary(
            kinds.count(FileKind.FILE),
            kinds.count(FileKind.FOLDER),
            kinds.count(FileKind.LINK),
            size(self._limits.size, "size") - self._left,
        )

    def discard(self, error: BaseException) -> None:
        """Undo all that was made; what can't be undone is told in a note of the error."""
        if self._begun:
            self._undo.insert(0, partial(self._vfs.remove, self._aside, recursive=True))
        for step in reversed(self._undo):
            try:
                step()
            except NotFound:
                continue  # the guest was faster
            except ClocheError as failed:
                error.add_note(f"not undone: {failed}")

    def _move(self, parts: tuple[str, ...], kept: str | None) -> None:
        """Move one into place; what is there is kept aside until all went well."""
        final = self._final(parts)
        if kept is not None:
            self._vfs.move(final, kept, replace=False)
            self._undo.append(partial(self._vfs.move, kept, final))
        self._vfs.move(self._new(parts), final, replace=False)
        self._undo.append(partial(self._vfs.remove, final, recursive=True))

    def _plan(
        self, folder: tuple[str, ...], moves: dict[tuple[str, ...], bool], taken: list[str], *, replace: bool
    ) -> None:  # fmt: skip
        """Find what can be moved whole; into folders that are there already, look deeper."""
        for parts in self._below[folder]:
            try:
                there = self._vfs.stat(self._final(parts)).kind
            except NotFound:
                moves[parts] = False
                continue
            folders = (there is FileKind.FOLDER) + (self._kinds[parts] is FileKind.FOLDER)
            if folders == 2:  # noqa: PLR2004 - both
                self._plan(parts, moves, taken, replace=replace)
            elif replace and not folders:
                moves[parts] = True
            else:
                taken.append("/".join(parts))

    def _parents(self, parts: tuple[str, ...]) -> None:
        for end in range(1, len(parts)):
            above = parts[:end]
            kind = self._kinds.get(above)
            if kind is None:
                self._count()
                if self._check is not None:
                    self._check("/".join(above))
                self._vfs.mkdir(self._new(above))
                self._add(above, FileKind.FOLDER)
                self._implied.add(above)
            elif kind is not FileKind.FOLDER:
                raise ArchiveError(
                    f"archive: {said('/'.join(parts))} lies in {said('/'.join(above))}, which it makes a {kind}"
                )

    def _count(self) -> None:
        self._entries += 1
        if self._entries > self._limits.entries:
            raise LimitExceeded(f"archive: more than {self._limits.entries} names; limits.entries says so")

    def _folder(self, parts: tuple[str, ...], mode: int) -> None:
        if parts in self._implied:
            self._implied.discard(parts)
            self._modes[parts] = mode
            return
        self._vfs.mkdir(self._new(parts), permissions=mode | _OWNER)
        self._add(parts, FileKind.FOLDER)
        if mode & _OWNER != _OWNER:
            self._modes[parts] = mode  # set when all is in it

    def _file(self, parts: tuple[str, ...], mode: int, length: int, pieces: Iterable[bytes]) -> None:
        if length > self._file_most:
            raise LimitExceeded(
                f"archive: {said('/'.join(parts))} has {length} bytes; limits.file is {self._file_most}"
            )
        if length > self._left:
            raise LimitExceeded(f"archive: more than {size(self._limits.size, 'size')} bytes; limits.size says so")
        self._left -= length
        with self._vfs.open(self._new(parts), "x", permissions=mode) as file:
            for piece in pieces:
                write_all(file.write, piece)
        self._add(parts, FileKind.FILE)

    def _copy(self, parts: tuple[str, ...], mode: int, target: bytes) -> None:
        """Make a hard link as a file of the same content: two names of one file would be a surprise to who imports."""
        source = self._rules.name(target)
        if self._kinds.get(source) is not FileKind.FILE:
            raise ArchiveError(
                f"archive: {said('/'.join(parts))} is a hard link to {said(target)}, no earlier file in it"
            )
        with self._vfs.open(self._new(source)) as file:
            length = file.seek(0, 2)
            file.seek(0)
            self._file(parts, mode, length, _read(file.read, length))

    def _add(self, parts: tuple[str, ...], kind: FileKind) -> None:
        self._kinds[parts] = kind
        self._below[parts[:-1]].append(parts)
        if kind is FileKind.FOLDER:
            self._below[parts] = []

    def _new(self, parts: tuple[str, ...]) -> str:
        return f"{self._aside}/new/{'/'.join(parts)}"

    def _final(self, parts: tuple[str, ...]) -> str:
        return self._base + "/".join(parts)


def write_all(write: Callable[[bytes], object], data: bytes) -> None:
    """Write to a stream that may take only a part at a time."""
    view = memoryview(data)
    while view:
        done = write(bytes(view) if len(view) < len(data) else data)
        if not isinstance(done, int) or not 0 < done <= len(view):
            raise FileError(f"write: {len(view)} bytes were given and {done!r:.40} taken; is the target non-blocking?")
        view = view[done:]


def _read(read: Callable[[int], bytes], length: int) -> Iterator[bytes]:
    """Give at most ``length`` bytes of a file that a guest may be writing to."""
    while length and (piece := read(min(length, PIECE))):
        length -= len(piece)
        yield piece
