"""What a guest can be seen to do, and what a record of it says: ``Act``, ``Source``, ``EventFlag``.

The numbers are those of ``enum clo_act``, ``clo_source`` and ``clo_event_flag`` (native/src/cdef.h); a test compares
them.
"""

from __future__ import annotations

from enum import IntFlag, StrEnum
from typing import Final

from cloche import units
from cloche.errors import SpecError


class Act(StrEnum):
    """A kind of act, named after what the guest does, whichever call it does it by."""

    OPEN = "open"
    """A file to read only, or a folder."""
    WRITE_OPEN = "write-open"
    """A file to write, which may be there."""
    CREATE = "create"
    """A file that is made if it is not there."""
    MKDIR = "mkdir"
    MKNOD = "mknod"
    UNLINK = "unlink"
    RENAME = "rename"
    LINK = "link"
    SYMLINK = "symlink"
    CHMOD = "chmod"
    CHOWN = "chown"
    UTIME = "utime"
    TRUNCATE = "truncate"
    XATTR = "xattr"
    STAT = "stat"
    ACCESS = "access"
    READLINK = "readlink"
    CHDIR = "chdir"
    LIST = "list"
    READ = "read"
    WRITE = "write"
    EXEC = "exec"
    FORK = "fork"
    EXIT = "exit"
    SIGNAL = "signal"
    PTRACE = "ptrace"
    SETID = "setid"
    LIMIT = "limit"
    MEMFD = "memfd"
    PROTECT = "protect"
    MOUNT = "mount"
    CHROOT = "chroot"
    NAMESPACE = "namespace"
    MODULE = "module"
    KERNEL = "kernel"
    SYSTEM = "system"
    SOCKET = "socket"
    CONNECT = "connect"
    BIND = "bind"
    LISTEN = "listen"
    ACCEPT = "accept"
    SEND = "send"
    CREATED = "created"
    """From here on: the life of the sandbox, told by its host."""
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"
    DELETED = "deleted"
    BEGUN = "begun"
    ENDED = "ended"
    LOST = "lost"
    """Records are missing; the first argument says how many."""

    @property
    def number(self) -> int:
        """What stands for it in a record."""
        return _NUMBERS[self]


_LIFE: Final = 48
_GUEST_ACTS: Final = list(Act)[: list(Act).index(Act.CREATED)]
_NUMBERS: Final = {
    act: index if index < len(_GUEST_ACTS) else index - len(_GUEST_ACTS) + _LIFE for index, act in enumerate(Act)
}
BY_NUMBER: Final = {number: act for act, number in _NUMBERS.items()}


class Source(StrEnum):
    """Where a record comes from, in the order of their numbers."""

    GUEST = "guest"
    """The guest's own calls, seen from outside."""
    FILES = "files"
    """The host's files API, on the caller's behalf."""
    LIFE = "life"
    """The host, about the sandbox itself."""
    OTHER = "other"
    """A plugin."""

    @property
    def number(self) -> int:
        """What stands for it in a record."""
        return SOURCES.index(self)


SOURCES: Final = tuple(Source)


class EventFlag(IntFlag):
    """What else is to be known of one event.

    The first eight say for which texts and arguments the kernel vouches; what lacks its bit is *claimed*: it lay in
    memory that the guest can change while it is read.
    """

    PATH_KERNEL = 0x1
    RESOLVED_KERNEL = 0x2
    TARGET_KERNEL = 0x4
    TARGET_RESOLVED_KERNEL = 0x8
    ARG0_KERNEL = 0x10
    ARG1_KERNEL = 0x20
    ARG2_KERNEL = 0x40
    ARG3_KERNEL = 0x80
    PINNED = 0x100
    """``resolved`` is the very object that was acted on."""
    DENIED = 0x200
    """It was not done; ``result`` is what the guest was told."""
    STATIC = 0x400
    """Denied by what is always denied, not by a rule."""
    UNREADABLE = 0x800
    """A text could not be read from the guest."""
    CUT = 0x1000
    """A text was longer than is kept."""
    CLIMBS = 0x2000
    """``path`` goes above the root folder by ``..``."""
    RESULT = 0x4000
    """``result`` is known."""
    MISSING = 0x8000
    """Nothing was at ``resolved``; it is where it would be."""
    MATCHED = 0x10000
    """A rule matched."""


FLAGS: Final = EventFlag(0x1FFFF)
"""All of them."""
TEXTS: Final = ("path", "resolved", "target", "target_resolved")
"""The texts of a record, in order."""
ARGS: Final = 4


def act_set(acts: object, what: str) -> frozenset[Act]:
    """Give a set of acts from names or acts. Raises ``SpecError`` naming what is none."""
    try:
        return frozenset(Act(act) for act in units.sequence(acts, what))
    except ValueError as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{what}: {error}; `cloche events acts` names them") from None
