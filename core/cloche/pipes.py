"""The host's ends of a program's streams: read and written without blocking the event loop."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import stat
from pathlib import Path
from typing import IO, Final, cast

import anyio
import anyio.to_thread

from cloche.errors import SpecError, StateError

READ_SIZE = 1 << 16  # what a pipe holds by default, pipe(7)
PIPE_SIZE = 1 << 20  # the most an unprivileged user may ask for, pipe(7)
LONG_READ = 1 << 18  # measured: 1 MiB at a time is a third slower, since Python gives back what a read leaves over


class Open:
    """The type of ``cloche.OPEN``."""

    def __repr__(self) -> str:
        return "cloche.OPEN"


OPEN: Final = Open()
"""Give this as ``stdin=`` to write to a job later with ``job.write``."""

Source = bytes | IO[bytes] | Path
Stdin = Source | str | Open | None


class Reader:
    """The host's end of an output pipe or terminal."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._size = READ_SIZE

    def ready(self) -> bytes | None:
        """Give what is there: ``b""`` at the end or once closed, ``None`` if nothing is there now.

        A terminal whose other side is gone reads EIO (pty(7)): that is its end.
        """
        if self.fd < 0:
            return b""
        try:
            data = os.read(self.fd, self._size)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise
        if len(data) == READ_SIZE and self._size == READ_SIZE:
            self._grow()
        return data

    def _grow(self) -> None:
        # Much output: fewer, larger reads. A user over pipe-user-pages-soft keeps the small pipe, which is only slower.
        self._size = LONG_READ
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, PIPE_SIZE)

    def close(self) -> None:
        """Close it, waking whoever waits to read. Harmless when repeated."""
        if self.fd >= 0:
            anyio.notify_closing(self.fd)  # else its number, soon another file's, would still be watched
            os.close(self.fd)
            self.fd = -1  # nor may a task that has not begun yet read from that other file


class Input:
    """The host's end of a program's standard input or terminal."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd: int | None = fd
        self._turn = anyio.Lock(fast_acquire=True)

    def write_ready(self, data: bytes | memoryview) -> int:
        """Write what fits now and give how many bytes that was; -1 once nobody reads it any more."""
        if self._fd is None:
            return -1
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EIO):
                return -1
            raise

    async def write(self, data: bytes) -> None:
        """Write all of ``data``; raises ``StateError`` once it is closed or the program stopped reading."""
        view = memoryview(data)
        async with self._turn:  # pieces of two writers would mix
            while view:
                count = self.write_ready(view)
                if count < 0:
                    raise StateError("the program no longer reads its standard input, or it was closed")
                view = view[count:]
                if view and self._fd is not None:
                    with contextlib.suppress(anyio.ClosedResourceError):
                        await anyio.wait_writable(self._fd)

    def close(self) -> None:
        """Close it, waking whoever waits to write. Harmless when repeated."""
        if self._fd is not None:
            anyio.notify_closing(self._fd)
            os.close(self._fd)
            self._fd = None


async def feed(target: Input, source: Source) -> None:
    """Write all of ``source`` to ``target`` and close it. A program that stops reading ends it early, as in a shell."""
    with contextlib.ExitStack() as stack:
        stack.callback(target.close)
        if isinstance(source, Path):
            source = stack.enter_context(source.open("rb"))
        with contextlib.suppress(StateError):
            if isinstance(source, bytes):
                await target.write(source)
            else:
                while block := await _read(source):
                    await target.write(block)


async def _read(file: IO[bytes]) -> bytes:
    """Give the next piece of ``file``. What can be watched is, so that nothing hangs on a pipe nobody writes to."""
    fd = _watchable(file)
    if fd is not None:
        await anyio.wait_readable(fd)
        return as_bytes(getattr(file, "read1", file.read)(READ_SIZE), "stdin")
    block: object = await anyio.to_thread.run_sync(file.read, READ_SIZE, abandon_on_cancel=True)
    return as_bytes(block, "stdin")


def _watchable(file: IO[bytes]) -> int | None:
    try:
        fd = file.fileno()
    except (OSError, AttributeError):  # io.UnsupportedOperation is an OSError: it lives in memory
        return None
    mode = os.fstat(fd).st_mode
    return fd if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd) else None


def as_bytes(value: object, what: str) -> bytes:
    """Give ``value``, bytes or text, as bytes, else raise ``SpecError``."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        raise SpecError(f"{what}: bytes or text are needed, not {type(value).__name__}")
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise SpecError(f"{what}: the text can't be encoded: {error.reason} at {error.start}") from None


def checked_stdin(value: object) -> Source | Open | None:
    """Give ``value`` if it can be a program's standard input, else raise ``SpecError``."""
    if value is None or isinstance(value, Open):
        return value
    if isinstance(value, bytes | str | bytearray | memoryview):
        return as_bytes(value, "stdin")
    if isinstance(value, Path):
        if not value.is_file():
            raise SpecError(f"stdin: {value} is not a file of the host")
        return value
    if isinstance(value, io.TextIOBase):
        raise SpecError("stdin: the file is open for text; open it in binary mode, or give its .buffer")
    if callable(getattr(value, "read", None)):
        return cast("IO[bytes]", value)
    raise SpecError(f"stdin: give bytes, text, a Path, a binary file, cloche.OPEN or None, not {type(value).__name__}")
