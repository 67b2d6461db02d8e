"""The numbers of the wire to cloche-init, as ``native/src/cdef.h`` gives them, and the replies as values."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import reduce

WIRE_VERSION = 3
WIRE_INLINE = 61440
WIRE_BODY_MAX = 4194304
CONTROL_FD = 3
WATCH_FD = 4
HEAD_MEMFD = 1
HEAD = struct.Struct("=HHI")
"""Type, flags, id: struct clo_head."""
ARGUMENT_MAX = 131072
"""Bytes of one argument with its NUL: MAX_ARG_STRLEN, execve(2), for pages of 4 KiB."""


class Message(IntEnum):
    """The kinds of packet: below 64 from host to box, the others back."""

    SETUP = 1
    EXEC = 2
    SIGNAL = 3
    KILL = 4
    RESIZE = 5
    PAUSE = 6
    RESUME = 7
    QUIT = 8
    LIMITS = 9
    WATCH = 10
    QUIET = 11
    READY = 64
    FAILED = 65
    STARTED = 66
    REFUSED = 67
    EXITED = 68
    DONE = 69


class Tag(IntEnum):
    """The kinds of record."""

    FLAGS = 1
    HOSTNAME = 2
    MOUNT = 3
    LANDLOCK = 4
    PATH = 5
    SECCOMP = 6
    RLIMIT = 7
    AFFINITY = 8
    PIDS = 9
    IDS = 10
    MEMORY = 11
    WATCH = 12
    EXEC_FLAGS = 32
    ARGV = 33
    ENV = 34
    CWD = 35
    WINDOW = 36


class Scope(IntEnum):
    """Who gets a signal: the program, its process group, or it and every descendant."""

    MAIN = 0
    GROUP = 1
    TREE = 2


class Cause(IntEnum):
    """Why cloche-init itself killed an exec."""

    NONE = 0
    MEMORY = 1


class Stage(IntEnum):
    """The step at which an exec was refused; only EXEC is about the caller's program."""

    REQUEST = 1
    FORK = 2
    STDIO = 3
    PTY = 4
    LIMITS = 5
    CWD = 6
    LANDLOCK = 7
    SECCOMP = 8
    EXEC = 9


class SetupFlag(IntFlag):
    """What cloche-init does to itself at setup."""

    NONE = 0
    REAPER = 1
    DROP = 2
    ROOT_RO = 4
    HIDE_INIT = 8
    NETWORK = 16
    LOOPBACK = 32
    TRY_WATCH = 64


class MountKind(IntEnum):
    """Mounts made from inside; those from ROOT to SYMLINK only in a setup whose first mount is ROOT."""

    TMPFS = 1
    PROC = 2
    DEV = 3
    OVERLAY = 4
    MASK = 5
    ROOT = 6
    BIND = 7
    SYMLINK = 8
    FOLDER = 9
    AGAIN = 10
    ONLY = 11
    SHOW = 12
    SEAL = 13


class Landlock(IntFlag):
    """Parts of Landlock that are handled; 0 is none."""

    NONE = 0
    FS = 1
    NO_TCP = 2
    SCOPE = 4


class Access(IntFlag):
    """What a Landlock rule allows beneath a path; NO_LINKS is about the path itself."""

    NONE = 0
    READ = 1
    EXECUTE = 2
    WRITE = 4
    LIST = 8
    CREATE = 16
    DELETE = 32
    NO_LINKS = 64


OPERATIONS = {
    "read": Access.READ | Access.EXECUTE, "stat": Access.NONE, "list": Access.LIST, "write": Access.WRITE,
    "create": Access.CREATE, "delete": Access.DELETE,
}  # fmt: skip
"""What of Landlock answers to the operations that a mount allows. Looking a name up is judged by none of it."""


def access_of(operations: Iterable[str]) -> Access:
    """Give what Landlock is to allow for some of ``OPERATIONS``."""
    return reduce(lambda bits, one: bits | OPERATIONS[one], operations, Access.NONE)


class ExecFlag(IntFlag):
    """How a program is started; descriptors are passed in the order stdin, stdout, stderr."""

    NONE = 0
    STDIN = 1
    STDOUT = 2
    STDERR = 4
    PTY = 8
    LINGER = 16
    PROBE = 32
    WORKER = 64
    BY_WORKER = 128


class WireError(ValueError):
    """A packet breaks the format: the two sides are not of one version, or the box is broken. Give the box up."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount made inside: see ``enum clo_mount`` for the use of source and data.

    For DEV, data is the options of the tmpfs at /dev/shm; without any, /dev/shm is an empty read-only folder.
    """

    kind: MountKind
    target: str
    source: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """The box is sealed; root is an O_PATH descriptor of its / and belongs to the receiver; None from cloche-inner."""

    root: int | None


@dataclass(frozen=True, slots=True)
class Failed:
    """Setup failed or a packet was not understood; cloche-init has killed everything and exits."""

    error: int
    what: str


@dataclass(frozen=True, slots=True)
class Started:
    """A program runs; pid is as the box sees it, terminal the PTY master, which belongs to the receiver."""

    id: int
    pid: int
    terminal: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A program was not started; nothing of the guest ran."""

    id: int
    error: int
    stage: Stage


@dataclass(frozen=True, slots=True)
class Exited:
    """A program ended: status as waitpid(2), leftovers killed, CPU time in microseconds, peak resident size in KiB.

    ``cause`` says why cloche-init killed it, if it did so by itself.
    """

    id: int
    status: int
    leftovers: int
    user_us: int
    system_us: int
    peak_kib: int
    cause: Cause = Cause.NONE


@dataclass(frozen=True, slots=True)
class Done:
    """A pause or resume is complete; error is an errno, 0 when all went well."""

    token: int
    error: int


Reply = Ready | Failed | Started | Refused | Exited | Done
