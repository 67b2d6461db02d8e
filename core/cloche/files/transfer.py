"""Files and whole folders brought into a sandbox and out of it, in pieces, with bounds."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from cloche import units
from cloche.errors import FileError, LimitExceeded, NotFound, SandboxError, SpecError
from cloche.files.explain import explain
from cloche.files.folder import FolderVfs
from cloche.files.vfs import CHUNK, Entry, FileKind, Vfs, write_whole

if TYPE_CHECKING:
    from cloche.files.api import Files
    from cloche.files.reach import Reach

Progress = Callable[[int], object]
"""Called with the bytes of content copied so far."""
PIECE: Final = 8 << 20  # bytes that the kernel copies in one call; between two of them the sandbox may be deleted
DOWNLOAD_MAX: Final = 4 << 30
ENTRIES_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What an upload or download copied; ``skipped`` names the pipes, sockets and devices that it did not."""

    files: int = 0
    folders: int = 0
    links: int = 0
    size: int = 0
    skipped: tuple[str, ...] = ()


class _Copy:
    """One transfer: what it may still copy, and what it has copied."""

    def __init__(self, act: str, reach: Reach, most: int, progress: Progress | None) -> None:
        self._act, self._reach, self._most, self._progress = act, reach, most, progress
        self.files = self.folders = self.links = self.size = 0
        self.skipped: list[str] = []

    def done(self) -> Transfer:
        return Transfer(
            files=self.files, folders=self.folders, links=self.links, size=self.size, skipped=tuple(self.skipped)
        )

    def count(self, entry: Entry) -> FileKind:
        """Give the kind of an entry that is to be copied; one that can't be is noted."""
        kind = entry.stat.kind
        self.folders += kind is FileKind.FOLDER
        self.links += kind is FileKind.LINK
        if kind not in (FileKind.FILE, FileKind.FOLDER, FileKind.LINK):
            self.skipped.append(entry.path)
        if self.files + self.folders + self.links + len(self.skipped) > ENTRIES_MAX:
            raise LimitExceeded(f"{self._act}: more than {ENTRIES_MAX} names; take smaller folders, or an archive")
        return kind

    def pump(self, source: BinaryIO, target: BinaryIO, path: str) -> None:
        """Copy what is left of ``source``; of a file as much as it holds now, however it grows meanwhile."""
        self.files += 1
        size = os.fstat(source.fileno()).st_size if isinstance(source, io.FileIO) else None
        if size is not None and self.size + size > self._most:
            raise LimitExceeded(f"{self._act} {units.shown(path)}: more than {self._most} bytes in all; raise most=")
        left = self._most - self.size if size is None else size
        fast = isinstance(source, io.FileIO) and isinstance(target, io.FileIO)
        while left > 0:
            self._reach.check_open()  # an open file would outlive its sandbox
            copied = _send(source, target, min(left, PIECE)) if fast else None
            if copied is None:
                fast = False
                data = source.read(min(left, CHUNK))
                copied = len(data)
                write_whole(target, data)
            if not copied:
                return
            left -= copied
            self.size += copied
            if self._progress is not None:
                self._progress(self.size)
        if size is None and source.read(1):
            raise LimitExceeded(f"{self._act} {units.shown(path)}: more than {self._most} bytes in all")

    def put(self, vfs: Vfs, path: str, source: BinaryIO, permissions: int, shown: str) -> None:
        """Put a file in place of what file or link has the name, whole or not at all."""
        if path == "/" or _kind(vfs, path) is FileKind.FOLDER:
            raise FileError(f"{self._act} {units.shown(shown)}: it is a folder")
        folder = path.rpartition("/")[0]
        temp = f"{folder}/.cloche-{secrets.token_hex(8)}"
        try:
            with vfs.open(temp, "x", permissions=permissions & 0o777) as target:
                try:
                    self.pump(source, target, shown)
                except OSError as error:
                    raise explain(error, self._act, shown) from error
            vfs.move(temp, path)
        except BaseException:
            with contextlib.suppress(SandboxError):  # the sandbox may be gone, and the file with it
                vfs.remove(temp)
            raise


def upload(files: Files, reach: Reach, source: str | Path | BinaryIO, path: str, progress: Progress | None) -> Transfer:
    """See ``Files.upload``."""
    copy = _Copy("upload", reach, (1 << 63) - 1, progress)
    if not isinstance(source, str | os.PathLike):
        copy.put(*_place(reach, path), _readable(source), 0o644, path)
        return copy.done()
    local = Path(source)
    found = _local_stat(local)
    if stat.S_ISREG(found.st_mode):
        with local.open("rb", buffering=0) as stream:
            copy.put(*_place(reach, path), stream, found.st_mode, path)
        return copy.done()
    if not stat.S_ISDIR(found.st_mode):
        raise SpecError(f"upload: {units.shown(str(local))} is neither a file nor a folder")
    with FolderVfs(os.open(local, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), owned=True) as tree:
        files.mkdir(path, parents=True)
        for entry in tree.walk():
            target = path.rstrip("/") + entry.path
            match copy.count(entry):
                case FileKind.FOLDER:
                    files.mkdir(target, parents=True)
                case FileKind.LINK:
                    _link(files, target, entry.stat.target or "")
                case FileKind.FILE:
                    with tree.open(entry.path) as stream:
                        copy.put(*_place(reach, target), stream, entry.stat.mode, target)
    return copy.done()


def download(
    files: Files, reach: Reach, path: str, target: str | Path | BinaryIO, *, most: int, progress: Progress | None
) -> Transfer:
    """See ``Files.download``."""
    copy = _Copy("download", reach, most, progress)
    if not isinstance(target, str | os.PathLike):
        with files.open(path) as source:
            copy.pump(source, _writable(target), path)
        return copy.done()
    local = Path(target)
    found = files.stat(path)
    if found.kind is not FileKind.FOLDER:
        with files.open(path) as source, _folder(local.absolute().parent) as vfs:
            copy.put(vfs, "/" + local.absolute().name, source, found.mode, str(local))
        return copy.done()
    local.mkdir(exist_ok=True)
    with _folder(local) as vfs:
        start = None
        for entry in files.walk(path):
            # Entries come with whole paths; the first one's folder is the folder that is walked.
            start = entry.path.rpartition("/")[0] if start is None else start
            inner = entry.path[len(start) :]
            match copy.count(entry):
                case FileKind.FOLDER:
                    vfs.mkdir(inner, parents=True)
                case FileKind.LINK:
                    _link(vfs, inner, entry.stat.target or "")
                case FileKind.FILE:
                    _fetch(copy, files, entry, vfs, inner)
    return copy.done()


def _fetch(copy: _Copy, files: Files, entry: Entry, vfs: Vfs, inner: str) -> None:
    try:
        source = files.open(entry.path)
    except NotFound:
        return  # it vanished meanwhile
    with source:
        copy.put(vfs, inner, source, entry.stat.mode, entry.path)


def _link(target: Vfs | Files, path: str, text: str) -> None:
    """Make a link, in place of a file or link of that name."""
    if _kind(target, path) in (FileKind.FILE, FileKind.LINK):
        target.remove(path)
    target.symlink(path, text)


def _kind(target: Vfs | Files, path: str) -> FileKind | None:
    try:
        return target.stat(path).kind
    except NotFound:
        return None


def _send(source: BinaryIO, target: BinaryIO, size: int) -> int | None:
    """Let the kernel copy (sendfile(2)); ``None`` where it can't, and nothing was copied."""
    try:
        return os.sendfile(target.fileno(), source.fileno(), None, size)
    except io.UnsupportedOperation:
        return None  # one is no file of the kernel
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            return None
        raise


def _folder(path: Path) -> FolderVfs:
    try:
        return FolderVfs(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), owned=True)
    except OSError as error:
        raise SpecError(f"download: the folder {units.shown(str(path))} can't be used: {error.strerror}") from error


def _local_stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (OSError, ValueError) as error:
        raise SpecError(f"upload: {units.shown(str(path))} can't be read: {error}") from error


def _place(reach: Reach, path: str) -> tuple[Vfs, str]:
    """Give the file system that a file is to be made in, and its path there."""
    at = reach.find("write", path, makes=True)
    return at.vfs, at.inner


def _readable(stream: BinaryIO) -> BinaryIO:
    if not callable(getattr(stream, "read", None)):
        raise SpecError(f"upload: a path or a binary stream is needed, not {units.shown(stream)}")
    return stream


def _writable(stream: BinaryIO) -> BinaryIO:
    if not callable(getattr(stream, "write", None)):
        raise SpecError(f"download: a path or a binary stream is needed, not {units.shown(stream)}")
    return stream
