"""Lines of gVisor's strace: the texts of calls whose trace points carry none.

A sentry writes them into a pipe, one JSON object a line; that of a call is there before the enter point of the same
call is. The texts are a guest's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from cloche_native import _lib

__all__ = ["Line", "Lines", "parse_line"]

_ffi, _c = _lib.ffi, _lib.lib
_ARGUMENTS: Final = 6


class Line(NamedTuple):
    """What a call's line says.

    ``texts``: of its paths, and of its folders' descriptors, by the number of the argument, from 0. ``lossy``: bytes
    that are no UTF-8 stand there as U+FFFD; ``bad``: one could not be read from the guest's memory.
    """

    texts: dict[int, bytes]
    lossy: bool = False
    bad: bool = False


class Lines:
    """The reading end of a pipe that a sentry writes to. It never waits, and keeps at most some 4 MB.

    ``fd`` belongs to it once it is made, and no longer blocks. Raises OSError.
    """

    def __init__(self, fd: int) -> None:
        """Begin to read."""
        os.set_blocking(fd, False)
        handle = _ffi.new("struct clo_lines **")
        if error := _c.clo_lines_new(fd, handle):
            raise OSError(-error, os.strerror(-error))
        self._handle: Any = _ffi.gc(handle[0], _c.clo_lines_free)
        self._closed = False

    def take(self, tid: int, call: str, arguments: Sequence[int]) -> Line | None:
        """Give what the line of a call says whose enter point was received; ``None``: there is none.

        What that thread did before is forgotten. Raises ValueError where the line can be read in more than one way,
        which its guest has taken pains for.
        """
        found = _ffi.new("struct clo_line *")
        return _line(_c.clo_lines_take(self._open(), tid, call.encode(), _registers(arguments), found), found)

    def read(self) -> int:
        """Take what is there out of the pipe, so that nobody waits for room in it; give how many bytes."""
        return int(_c.clo_lines_read(self._open()))

    def forget(self) -> None:
        """Forget what has come."""
        _c.clo_lines_forget(self._open())

    @property
    def lost(self) -> int:
        """How many lines found no room."""
        return int(_c.clo_lines_lost(self._open()))

    @property
    def ended(self) -> bool:
        """Whether nobody can write any more."""
        return bool(_c.clo_lines_ended(self._open()))

    @property
    def pointer(self) -> Any:  # noqa: ANN401 - cffi has no types
        """The native object, for others of this package."""
        return self._open()

    def close(self) -> None:
        """Give it back. May be called again."""
        if not self._closed:
            self._closed = True
            _ffi.release(self._handle)

    def _open(self) -> Any:  # noqa: ANN401 - cffi has no types
        if self._closed:
            raise ValueError("these lines are closed")
        return self._handle


def parse_line(message: bytes, call: str, arguments: Sequence[int]) -> Line | None:
    """Give what a message says of that call with these registers, ``None`` if it is not of it.

    Raises ValueError where it can be read in more than one way.
    """
    found, kept = _ffi.new("struct clo_line *"), _ffi.from_buffer(message)
    name = call.encode()
    return _line(_c.clo_line_parse(kept, len(message), 0, name, _registers(arguments), found), found)


def _registers(arguments: Sequence[int]) -> Any:  # noqa: ANN401 - cffi has no types
    if len(arguments) != _ARGUMENTS or not all(0 <= value < 1 << 64 for value in arguments):
        raise ValueError(f"a system call has {_ARGUMENTS} arguments of 64 bits, not {list(arguments)}")
    return _ffi.new("uint64_t[6]", list(arguments))


def _line(status: int, found: Any) -> Line | None:  # noqa: ANN401 - cffi has no types
    if status == -errno.EBADMSG:
        raise ValueError("the line of that call can be read in more than one way")
    if status < 0:
        return None
    texts = {one.argument: bytes(_ffi.buffer(one.text, one.size)) for one in found.text[0 : found.texts]}
    return Line(texts, bool(found.flags & _c.CLO_LINE_LOSSY), bool(found.flags & _c.CLO_LINE_BAD))
