"""Events kept in a file: ``EventRecorder`` writes it, ``cloche.events.replay`` reads it.

A ``.cloche-events`` file begins with 16 bytes, then come blocks to its end, each a head of 12 bytes and its content:

======  =====================================================================================================
bytes   what
======  =====================================================================================================
16      ``MAGIC``: 0x93, ``cloche-events``, a line feed, the version of the format
4       kind of the block: ``HEAD`` or ``EVTS``
4       length of its content, little endian, at most ``BLOCK_MAX``
4       CRC-32 (as in zlib) of kind, length and content
length  content
======  =====================================================================================================

``HEAD`` is a JSON object: what the records that follow leave out (``Origin``), and what the caller adds; there may be
many, each holds until the next. ``EVTS`` is records as ``struct clo_event`` of native/src/cdef.h, in the byte order
that ``HEAD`` names. Nothing is ever changed in place, so a file whose writer was killed is whole up to its last block.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from cloche import __version__, units
from cloche.errors import FileError, SpecError, StateError
from cloche.events.event import HEAD, EventBatch, Origin

MAGIC: Final = b"\x93cloche-events\n\x01"
BLOCK: Final = struct.Struct("<4sII")
HEADER, EVENTS = b"HEAD", b"EVTS"
BLOCK_MAX: Final = 1 << 20
CLOCK_SLACK: Final = 1_000_000
"""Nanoseconds by which two readings of the clocks may differ and mean the same."""
METADATA_MAX: Final = 64


def checksum(kind: bytes, content: bytes) -> int:
    """Give the CRC-32 of a block."""
    return zlib.crc32(content, zlib.crc32(kind + len(content).to_bytes(4, "little")))


class EventRecorder:
    """Writes batches to a file, and goes on in a new one when that is full.

    ``path`` must not be there yet. It holds at most ``size`` bytes; then it is renamed to ``path.1``, that one to
    ``path.2`` and so on, ``files`` in all, and the oldest is removed: with ``files=1`` what is full is begun anew.
    ``metadata`` is kept in each. The files are the caller's alone (mode 0600). Not for several threads at once.
    """

    def __init__(
        self, path: str | Path, *, size: int | str = "256M", files: int = 4, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Begin the file. Raises ``SpecError``, ``FileError`` if it is there, and ``OSError``."""
        self.path = Path(units.host_path(path, "events file"))
        self.size = units.size(size, "events file: size", least=4 * BLOCK_MAX)
        self.files = units.count(files, "events file: files", most=1000)
        self.rotated = 0
        """How many files were full."""
        self._metadata = _checked(metadata or {})
        self._origin: Origin | None = None
        self._written = 0
        self._fd = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, batch: EventBatch) -> None:
        """Add all of ``batch``; it is in the file, if not on the disk, when this returns. Raises ``OSError``."""
        if self._fd < 0:
            raise StateError(f"the events file {self.path} is closed")
        for piece in _pieces(batch.raw):
            news = self._origin is None or not _same(self._origin, batch.origin)
            header = self._header(batch.origin) if news else b""
            if self._origin is not None and self._written + len(header) + len(piece) + 2 * BLOCK.size > self.size:
                self._rotate()
                header = self._header(batch.origin)
            if header:
                self._put(HEADER, header)
                self._origin = batch.origin
            self._put(EVENTS, piece)

    def close(self) -> None:
        """Close the file. Harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        try:
            fd = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
        except FileExistsError:
            raise FileError(f"{self.path} is there already; give the events a file of their own") from None
        self._fd, self._written, self._origin = fd, 0, None
        self._write(MAGIC)
        return fd

    def _rotate(self) -> None:
        self.close()
        for number in range(self.files - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number - 1}") if number > 1 else self.path
            with contextlib.suppress(FileNotFoundError):  # fewer were filled so far, or somebody removed one
                older.replace(self.path.with_name(f"{self.path.name}.{number}"))
        if self.files == 1:
            self.path.unlink(missing_ok=True)
        self.rotated += 1
        self._fd = self._open()

    def _header(self, origin: Origin) -> bytes:
        content = json.dumps({
            "format": 1, "cloche": __version__, "byte_order": sys.byteorder, "machine": origin.machine,
            "clock": origin.clock, "sandboxes": {str(number): id_ for number, id_ in origin.sandboxes.items()},
            "metadata": self._metadata,
        }).encode()  # fmt: skip
        if len(content) > BLOCK_MAX:
            raise SpecError(f"events file: what its events leave out takes {len(content)} bytes; at most {BLOCK_MAX}")
        return content

    def _put(self, kind: bytes, content: bytes) -> None:
        whole = self._written
        try:
            self._write(BLOCK.pack(kind, len(content), checksum(kind, content)) + content)
        except BaseException:
            os.ftruncate(self._fd, whole)  # so that what comes later can be read
            self._written = whole
            raise

    def _write(self, raw: bytes) -> None:
        view = memoryview(raw)
        while view:
            done = os.write(self._fd, view)
            self._written += done
            view = view[done:]


def _pieces(raw: bytes) -> Iterator[bytes]:
    """Cut a checked batch between records into parts that fit a block."""
    begin = at = 0
    while at < len(raw):
        (size, *_) = HEAD.unpack_from(raw, at)
        if at + size - begin > BLOCK_MAX:
            yield raw[begin:at]
            begin = at
        at += size
    if begin < at:
        yield raw[begin:at]


def _same(one: Origin, other: Origin) -> bool:
    drift = abs(one.clock - other.clock)
    return drift < CLOCK_SLACK and one.machine == other.machine and dict(one.sandboxes) == dict(other.sandboxes)


def _checked(metadata: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(metadata, Mapping) or len(metadata) > METADATA_MAX:
        raise SpecError(f"events file: metadata: a mapping of at most {METADATA_MAX} texts is needed")
    return {
        units.text(key, "metadata key", most=256): units.text(value, f"metadata {key}")
        for key, value in metadata.items()
    }


def open_to_read(path: str | Path) -> int:
    """Open an events file, never waiting. Raises ``FileError`` for what is none."""
    try:
        fd = os.open(units.host_path(path, "events file"), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise FileError(f"the events file {units.shown(str(path))} can't be read: {error.strerror}") from None
    what = "it is no regular file"
    if stat.S_ISREG(os.fstat(fd).st_mode):
        if os.pread(fd, len(MAGIC), 0) == MAGIC:
            return fd
        what = "it does not begin as one of a version that this one can read"
    os.close(fd)
    raise FileError(f"{units.shown(str(path))} is no file of events: {what}")
