"""Being told of changes in folders (inotify(7)), for a host that does not trust who changes them.

Folders are given by descriptor, so that no path is looked up. What comes is what the kernel wrote: a guest chooses the
names in it, and nothing else.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from cloche_native import _lib

__all__ = [
    "ATTRIB", "CREATE", "DELETE", "DELETE_SELF", "FOLDER", "IGNORED", "MODIFY", "MOVED_FROM", "MOVED_TO", "MOVE_SELF",
    "OVERFLOW", "READ_MAX", "UNMOUNT", "Told", "add", "open_watch", "parse", "read", "remove",
]  # fmt: skip

_c = _lib.lib

MODIFY: Final = _c.CLO_WATCH_MODIFY
ATTRIB: Final = _c.CLO_WATCH_ATTRIB
MOVED_FROM: Final = _c.CLO_WATCH_MOVED_FROM
MOVED_TO: Final = _c.CLO_WATCH_MOVED_TO
CREATE: Final = _c.CLO_WATCH_CREATE
DELETE: Final = _c.CLO_WATCH_DELETE
DELETE_SELF: Final = _c.CLO_WATCH_DELETE_SELF
MOVE_SELF: Final = _c.CLO_WATCH_MOVE_SELF
UNMOUNT: Final = _c.CLO_WATCH_UNMOUNT
OVERFLOW: Final = _c.CLO_WATCH_OVERFLOW
IGNORED: Final = _c.CLO_WATCH_IGNORED
FOLDER: Final = _c.CLO_WATCH_FOLDER

READ_MAX: Final = 1 << 16
"""Bytes read at once: some 2000 events of short names. The kernel keeps up to fs.inotify.max_queued_events more."""
_EVENT: Final = struct.Struct("=iIII")
_NAME_MAX: Final = 256  # NAME_MAX and a NUL, padded to the size of the head
_HINTS: Final = {
    errno.ENOSPC: "no more folders can be watched by this user; raise fs.inotify.max_user_watches",
    errno.EMFILE: "no more watches, or open files, for this user; raise fs.inotify.max_user_instances",
}


class Told(NamedTuple):
    """One event: of which folder (``add``'s number, -1 for an overflow), what, which move, which name in it."""

    number: int
    mask: int
    cookie: int
    name: bytes


def open_watch() -> int:
    """Give a descriptor without watches, which never blocks. The caller closes it. Raises OSError."""
    return _checked(_c.clo_watch_open())


def add(watch: int, folder: int) -> int:
    """Watch the folder that ``folder`` is open on, which may be closed then: its number, the same for the same one.

    Raises OSError: ENOSPC when this user watches as many as allowed.
    """
    return _checked(_c.clo_watch_add(watch, folder))


def remove(watch: int, number: int) -> None:
    """Watch a folder no more; one that is gone already is no error."""
    status = _c.clo_watch_remove(watch, number)
    if status != -errno.EINVAL:
        _checked(status)


def read(watch: int) -> list[Told]:
    """Give the events that there are now, at most some thousand; none if there are none."""
    try:
        data = os.read(watch, READ_MAX)
    except BlockingIOError:
        return []
    return list(parse(data))


def parse(data: bytes) -> Iterator[Told]:
    """Read packed events. Raises ValueError for what the kernel would not write."""
    at = 0
    while at < len(data):
        if _EVENT.size > len(data) - at:
            raise ValueError(f"an event's head is cut off at {at} of {len(data)} bytes")
        number, mask, cookie, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        if length > len(data) - at or length > _NAME_MAX + _EVENT.size:
            raise ValueError(f"an event's name of {length} bytes does not fit at {at} of {len(data)} bytes")
        name = data[at : at + length].partition(b"\0")[0]
        if b"/" in name or name in {b".", b".."}:
            raise ValueError(f"an event names {name!r}, which is no name")
        at += length
        yield Told(number, mask, cookie, name)


def _checked(status: int) -> int:
    if status < 0:
        raise OSError(-status, _HINTS.get(-status) or os.strerror(-status))
    return status
