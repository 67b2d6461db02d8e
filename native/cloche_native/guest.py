"""Looking into a guest's processes: what the supervisor does in C for each call that it is told of, one step at a time.

Everything here reads what a guest wrote, and a process may be gone, or its number another's, by the time of a call.
"""

from __future__ import annotations

import os
from typing import Any, Final, NamedTuple, Self

from cloche_native import _lib
from cloche_native.events import ACTS

__all__ = [
    "AT_FDCWD", "FOUND_LINKED", "FOUND_MISSING", "FOUND_OPEN", "FOUND_SPECIAL", "FOUND_TEXT", "PATH_ROOM", "Found",
    "GuestRoot", "read", "read_text",
]  # fmt: skip

_ffi, _c = _lib.ffi, _lib.lib

AT_FDCWD: Final = -100
PATH_ROOM: Final = 4096
"""PATH_MAX: the longest path that the kernel takes, with its NUL."""
FOUND_MISSING: Final = _c.CLO_FOUND_MISSING
FOUND_LINKED: Final = _c.CLO_FOUND_LINKED
FOUND_SPECIAL: Final = _c.CLO_FOUND_SPECIAL
FOUND_OPEN: Final = _c.CLO_FOUND_OPEN
FOUND_TEXT: Final = _c.CLO_FOUND_TEXT
_READ_MAX: Final = 1 << 24


class Found(NamedTuple):
    """What a guest's path leads to: the path that is judged, ``FOUND_`` bits, ``st_mode`` or 0, and what was met.

    ``error`` is 0, or the number that the guest is told unless the judge has another; ``fd`` the descriptor that the
    guest would get, which is the caller's to close, or -1.
    """

    path: bytes
    flags: int
    mode: int
    error: int
    fd: int = -1


class GuestRoot:
    """The root folder of a box, held by a descriptor of its own; for one thread at a time."""

    def __init__(self, folder: int) -> None:
        """Take the folder that ``folder`` is open on, which may be closed then. Raises OSError."""
        self._fd = os.dup(folder)
        out = _ffi.new("struct clo_guest_root **")
        status = _c.clo_guest_root_new(self._fd, out)
        if status < 0:
            os.close(self._fd)
            _checked(status)
        self._root: Any = out[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what is held; again does nothing."""
        if self._root is not None:
            _c.clo_guest_root_free(self._root)
            self._root = None
            os.close(self._fd)

    def base(self, pid: int, dirfd: int = AT_FDCWD, *, room: int = PATH_ROOM) -> bytes:
        """Give the path of a process's current folder, or of one it has open, as the guest sees it.

        Raises OSError: EBADF for no such descriptor, ENOTDIR for one of no folder as far as its name tells, ENOENT for
        a folder that was removed, EXDEV for one outside the box, ESRCH without the process, EPERM when this process
        may not look into it, ENAMETOOLONG.
        """
        out = _ffi.new("char[]", room)
        size = _checked(_c.clo_guest_base(self._handle(), pid, dirfd, out, room))
        return bytes(_ffi.buffer(out, size))

    def become(self, uid: int | None = None, gid: int | None = None) -> None:
        """Make the calling *thread* act as this user in all that it opens, for good; by default as the one it is.

        It keeps no capability but to look into processes, and no supplementary group. What ``open`` needs first.
        Raises OSError: EINVAL for root, EPERM when it may not change to that user.
        """
        _checked(_c.clo_guest_become(self._handle(), -1 if uid is None else uid, -1 if gid is None else gid))

    def resolve(self, pid: int, path: bytes, dirfd: int = AT_FDCWD, *, follow: bool = True) -> Found:
        """Say what a path of a guest's process leads to; ``follow``: through the last name too, if it is a link."""
        asked, keep = _asked(pid, path, dirfd)
        found = _ffi.new("struct clo_found *")
        status = _c.clo_guest_resolve(self._handle(), asked, follow, found)
        del keep
        _c.clo_found_drop(found)
        return _found(found, status)

    def open(
        self, pid: int, path: bytes, flags: int, mode: int = 0, dirfd: int = AT_FDCWD, *, scope: int | None = None
    ) -> Found:
        """Open for a guest's process what it asks for, with a judge who allows all; ``scope``: by openat2(2).

        EINPROGRESS: it would wait for the other end of a pipe.
        """
        asked, keep = _asked(pid, path, dirfd)
        how = _ffi.new("struct clo_guest_how *", (flags, mode, scope or 0, scope is not None))
        found = _ffi.new("struct clo_found *")
        status = _c.clo_guest_pin(self._handle(), asked, how, found)
        seen = _found(found, status)
        if status == 0:
            status = _c.clo_guest_take(self._handle(), asked, how, found)
        del keep
        _c.clo_found_drop(found)
        return seen._replace(error=max(0, -status), fd=max(-1, status) if not seen.error else -1)

    def act(
        self,
        pid: int,
        act: str,
        path: bytes,
        target: bytes = b"",
        *,
        flags: int = 0,
        args: tuple[int, int] = (0, 0),
        dirfd: int = AT_FDCWD,
        target_dirfd: int = AT_FDCWD,
        follow: bool = False,
    ) -> tuple[Found, Found | None]:
        """Do for a guest's process an act other than an open, with a judge who allows all.

        ``act`` by its name (``"rename"``); ``flags`` as its call takes them; ``args``: a mode, a mode and a device,
        ids or a length; ``target``: the new name, or what a symbolic link leads to. Gives what was judged, with
        ``error`` what the guest is told. Raises KeyError for an act there is not.
        """
        text = _ffi.new("char[]", target)
        wide = [arg & 0xFFFFFFFFFFFFFFFF for arg in args]
        deed = _ffi.new(
            "struct clo_deed *", {"act": ACTS[act], "flags": flags, "arg": wide, "follow": follow, "text": text}
        )
        pinned = 0
        found = [_ffi.new("struct clo_found *", {"fd": -1}) for _ in range(2)]
        given = [(path, dirfd)] + [(target, target_dirfd)] * (act in {"rename", "link"})
        for which, (name, folder) in enumerate(given):
            asked, keep = _asked(pid, name, folder)
            status = _c.clo_deed_pin(self._handle(), deed, which, asked, found[which])
            del keep
            pinned = pinned or status
        status = _c.clo_deed_do(self._handle(), deed, pid, pinned, *found)
        for one in found:
            _c.clo_found_drop(one)
        seen = [_found(one, status) for one in found]
        return seen[0], seen[1] if len(given) > 1 else None

    def _handle(self) -> Any:  # noqa: ANN401 - cffi has no types
        if self._root is None:
            raise ValueError("the root folder of this box was closed")
        return self._root


def read(pid: int, address: int, size: int) -> bytes:
    """Give exactly ``size`` bytes, at most 16 MiB, of a process's memory.

    Raises OSError: EFAULT when not all of it is readable, EPERM when this process may not look into that one (its
    user, Yama), ESRCH when it is gone.
    """
    if not 0 <= size <= _READ_MAX:
        raise ValueError(f"size must be 0 to {_READ_MAX} bytes, not {size}")
    out = _ffi.new("char[]", size)
    _checked(_c.clo_guest_read(pid, address, out, size))
    return bytes(_ffi.buffer(out, size))


def read_text(pid: int, address: int, *, room: int = PATH_ROOM) -> bytes:
    """Give the string at ``address`` of a process's memory, up to its NUL; ENAMETOOLONG if ``room`` bytes have none.

    Raises OSError as ``read``.
    """
    out = _ffi.new("char[]", room)
    size = _checked(_c.clo_guest_text(pid, address, out, room))
    return bytes(_ffi.buffer(out, size))


def _asked(pid: int, path: bytes, dirfd: int) -> tuple[Any, Any]:
    if b"\0" in path:
        raise ValueError(f"{path[:80]!r} holds a NUL byte")
    text = _ffi.new("char[]", path)
    asked = _ffi.new("struct clo_asked *", {"pid": pid, "dirfd": dirfd, "path": text, "size": len(path)})
    return asked, text


def _found(found: Any, status: int) -> Found:  # noqa: ANN401 - cffi has no types
    return Found(bytes(_ffi.buffer(found.path, found.size)), found.flags, found.mode, max(0, -status))


def _checked(status: int) -> int:
    if status < 0:
        raise OSError(-status, os.strerror(-status))
    return status
