"""Files beneath one folder, for a host that does not trust who fills it.

Paths are bytes, relative to the folder, without ``.``, ``..``, ``//`` or NUL; ``b""`` is the folder itself. No link is
followed, be it the last name or one on the way; what is no regular file is never waited for; file systems without
files (/proc and its like) are refused with EOPNOTSUPP. Names that are mount points are not removed, replaced or moved
(EBUSY): the kernel keeps others from that in the caller's own mount namespace only.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from cloche_native import _lib

__all__ = ["Folder", "Found", "Reader", "tmpfs"]

_ffi, _c = _lib.ffi, _lib.lib

How = Literal["r", "r+", "w", "a", "x", "folder"]

_HOW: Final = {
    "r": _c.CLO_FILE_READ, "r+": _c.CLO_FILE_BOTH, "w": _c.CLO_FILE_WRITE, "a": _c.CLO_FILE_APPEND,
    "x": _c.CLO_FILE_NEW, "folder": _c.CLO_FILE_FOLDER,
}  # fmt: skip
_NOREPLACE: Final = 1  # RENAME_NOREPLACE, renameat2(2)
_LINK_ROOM: Final = 4096  # PATH_MAX
_BATCH: Final = 512  # names; some 24 KiB of records, and in most folders as much of text
_TEXT: Final = 1 << 16
_ID_MAX: Final = (1 << 32) - 2  # the last one means "none" (credentials(7))


class Found(NamedTuple):
    """What is known of one name: the numbers of statx(2), times in nanoseconds, and the text of a link."""

    offset: int
    """Of what follows it in its folder, for ``Reader.seek``."""
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    mode: int
    links: int
    name: bytes = b""
    target: bytes = b""


class Reader:
    """An open folder, read in batches; not for several threads at once. ``close`` it."""

    __slots__ = ("_files", "_records", "_text", "_used", "_who", "fd")

    def __init__(self, fd: int, who: object) -> None:
        self.fd = fd
        self._who = who
        self._files = _ffi.new("struct clo_file[]", _BATCH)
        self._text = _ffi.new("char[]", _TEXT)
        self._used = _ffi.new("size_t *")

    def batch(self) -> tuple[memoryview, list[str]]:
        """Give the next names: packed records of seven numbers each (``Found``'s first), and texts.

        The texts are name, target, name, target … as ``os.fsdecode`` gives them, a target empty where there is no
        link. At the end both are empty. The records last until the next call. What vanished meanwhile is left out.
        """
        count = _checked(_c.clo_file_list(self.fd, self._who, self._files, _BATCH, self._text, _TEXT, self._used))
        if not count:
            return memoryview(b""), []
        texts = os.fsdecode(_ffi.buffer(self._text, self._used[0] - 1)[:]).split("\0")
        if len(texts) != 2 * count:
            raise AssertionError(f"{count} records, but {len(texts)} texts")  # a mistake of ours, never the guest's
        return memoryview(_ffi.buffer(self._files, count * _SIZE)), texts

    def seek(self, offset: int) -> None:
        """Go on after the name whose record had this offset."""
        os.lseek(self.fd, offset, os.SEEK_SET)

    def close(self) -> None:
        """Close the folder. Harmless when repeated."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


_SIZE: Final = _ffi.sizeof("struct clo_file")
RECORD: Final = "=QQQqqII"
"""One record of ``Reader.batch``, for the module struct."""


class Folder:
    """What lies beneath the folder that ``fd`` is open on (O_PATH will do). It does not own the descriptor.

    With ``uid`` and ``gid`` the calling thread acts as that user for the length of each call, without supplementary
    groups and without root's power over files; that takes CAP_SETUID and CAP_SETGID, and this process writes no core
    file any more. All methods may be called from several threads at once, and raise OSError.
    """

    def __init__(self, fd: int, *, uid: int | None = None, gid: int | None = None) -> None:
        if (uid is None) != (gid is None):
            raise ValueError("uid and gid go together")
        for number in (uid, gid):
            if number is not None and not 0 <= number <= _ID_MAX:
                raise ValueError(f"{number} is no user or group id")
        self.fd = fd
        self._who = _ffi.new("struct clo_who *", (-1 if uid is None else uid, -1 if gid is None else gid))

    def open(self, path: bytes, how: How = "r", *, mode: int = 0o644) -> int:
        """Open a regular file, or to list it a ``folder``: a descriptor for the caller to close.

        ``r`` to read, ``r+`` to read and write, ``w`` made or emptied, ``a`` made or appended to, ``x`` made; ``mode``
        is that of a new file, no umask taken off. ENXIO for what is neither a file nor a folder.
        """
        return _checked(_c.clo_file_open(self.fd, self._who, _path(path), _HOW[how], mode), path)

    def reader(self, path: bytes, *, at: int | None = None) -> Reader:
        """Open a folder for reading; ``at`` is an open folder that ``path`` then starts from."""
        root = self.fd if at is None else at
        return Reader(_checked(_c.clo_file_open(root, self._who, _path(path), _HOW["folder"], 0), path), self._who)

    def stat(self, path: bytes) -> Found:
        """Tell about the name itself."""
        file, target = _ffi.new("struct clo_file *"), _ffi.new("char[]", _LINK_ROOM)
        _checked(_c.clo_file_stat(self.fd, self._who, _path(path), file, target), path)
        return Found(
            0, file.inode, file.size, file.modified_ns, file.changed_ns, file.mode, file.links,
            target=_ffi.string(target),
        )  # fmt: skip

    def write(self, path: bytes, data: bytes, *, mode: int | None = None) -> None:
        """Put a new file in the place of whatever file or link has the name, at once, by a name of its own before.

        ``None`` keeps the permissions of the file that was there, less set-id, else gives 0644. Nothing is synced to
        disk. Whatever fails, the old file is untouched and no other one stays.
        """
        temp = f".cloche-{secrets.token_hex(8)}".encode()
        pointer = _ffi.from_buffer(data)
        wanted = -1 if mode is None else mode
        _checked(_c.clo_file_write(self.fd, self._who, _path(path), temp, pointer, len(pointer), wanted), path)

    def mkdir(self, path: bytes, *, mode: int = 0o755) -> None:
        """Make one folder; no umask is taken off."""
        _checked(_c.clo_file_mkdir(self.fd, self._who, _path(path), mode), path)

    def symlink(self, path: bytes, target: bytes) -> None:
        """Make a symbolic link that says ``target``."""
        _checked(_c.clo_file_symlink(self.fd, self._who, _path(path), _path(target)), path)

    def move(self, source: bytes, target: bytes, *, replace: bool = True) -> None:
        """Rename (renameat2(2)); EEXIST if there is something and it is not to be replaced."""
        flags = 0 if replace else _NOREPLACE
        _checked(_c.clo_file_move(self.fd, self._who, _path(source), _path(target), flags), source)

    def chmod(self, path: bytes, mode: int) -> None:
        """Set the permissions of a file or folder; ELOOP for a link."""
        _checked(_c.clo_file_chmod(self.fd, self._who, _path(path), mode), path)

    def remove(self, path: bytes, *, recursive: bool = False, budget: int = 1 << 16) -> bool:
        """Remove a name, with all that is in it if ``recursive``, but not more than ``budget`` names in one call.

        Gives whether it is done. Links are removed, not followed; closed folders are opened; any depth is fine. ESTALE:
        somebody moved folders meanwhile. ENOTEMPTY: somebody filled it again, over and over.
        """
        try:
            _checked(_c.clo_file_remove(self.fd, self._who, _path(path), recursive, budget), path)
        except BlockingIOError:
            return False
        return True


def tmpfs(*, size: int, inodes: int) -> int:
    """Give a memory-backed file system mounted nowhere: an O_PATH descriptor of its root, which lasts as long as that.

    ``size`` in bytes. Needs CAP_SYS_ADMIN (PermissionError) and Linux 5.2. The caller closes it.
    """
    return _checked(_c.clo_tmpfs(b"%d" % size, b"%d" % inodes))


def names(texts: list[str]) -> Iterator[tuple[str, str]]:
    """Pair the texts of ``Reader.batch``: name and target."""
    return zip(texts[::2], texts[1::2], strict=True)


def _path(path: bytes) -> bytes:
    if b"\0" in path:
        raise ValueError(f"{path[:80]!r} holds a NUL byte")
    return path


def _checked(status: int, path: bytes = b"") -> int:
    if status < 0:
        raise OSError(-status, os.strerror(-status), path)
    return status
