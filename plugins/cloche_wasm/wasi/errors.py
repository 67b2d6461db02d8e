"""The error numbers of WASI preview 1, and which of them stands for what the host raises."""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Final

from cloche import AccessDenied, ClocheError, FileError, NotFound, SpecError


class Errno(IntEnum):
    """Those that are used, by the numbers of the specification (``errno``)."""

    SUCCESS = 0
    ACCES = 2
    AGAIN = 6
    BADF = 8
    EXIST = 20
    FAULT = 21
    FBIG = 22
    INTR = 27
    INVAL = 28
    IO = 29
    ISDIR = 31
    LOOP = 32
    MFILE = 33
    NAMETOOLONG = 37
    NFILE = 41
    NOENT = 44
    NOSPC = 51
    NOSYS = 52
    NOTDIR = 54
    NOTEMPTY = 55
    NOTSUP = 58
    PERM = 63
    PIPE = 64
    ROFS = 69
    SPIPE = 70
    XDEV = 75
    NOTCAPABLE = 76


class Refused(Exception):
    """A call that the guest gets an error number for."""

    def __init__(self, number: Errno) -> None:
        super().__init__(number.name)
        self.number = number


class Exited(Exception):
    """The program's own wish to end."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


_OF_HOST: Final = {
    getattr(errno, f"E{number.name}"): number for number in Errno if hasattr(errno, f"E{number.name}")
} | {errno.EDQUOT: Errno.NOSPC, errno.ENFILE: Errno.NFILE, errno.ENXIO: Errno.ACCES}  # fmt: skip
_OF_CLOCHE: Final = ((NotFound, Errno.NOENT), (AccessDenied, Errno.ACCES), (SpecError, Errno.INVAL))


def of_host_number(number: int) -> Errno:
    """Give the number for one of Linux's."""
    return _OF_HOST.get(number, Errno.ACCES)


def host_number(number: Errno) -> int:
    """Give Linux's number for one of WASI's; a path that leads out of its folder is EXDEV there (openat2(2))."""
    return errno.EXDEV if number is Errno.NOTCAPABLE else getattr(errno, f"E{number.name}", 0)


def number_of(error: OSError | ClocheError) -> Errno:
    """Give the number for what a file system raised."""
    if isinstance(error, ClocheError) and isinstance(error.__cause__, OSError):
        error = error.__cause__
    if isinstance(error, OSError):
        return _OF_HOST.get(error.errno or 0, Errno.IO)
    for kind, number in _OF_CLOCHE:
        if isinstance(error, kind):
            return number
    return Errno.NOSPC if isinstance(error, FileError) else Errno.IO  # what kind of file it is was looked at before
