"""The bytes of an archive, unpacked piece by piece and counted: however it was made, memory and amount stay bounded."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from cloche.errors import ArchiveError, LimitExceeded, SpecError
from cloche.units import count, size

Packing = Literal["none", "gz", "bz2", "xz"]

PIECE: Final = 1 << 18
_RATIO_FROM: Final = 16 << 20
"""Bytes that may come out whatever went in: small files of zeros pack well without being an attack."""
_HEAD_MOST: Final = 2048
"""Bytes of a tar for each member beyond its content, on average: head, padding, a long name."""
_XZ_MEMORY: Final = 128 << 20
_STREAMS_MOST: Final = 100_000
"""Each costs a few microseconds, and may hold nothing. bgzip makes one of every 64 KiB."""
_MAGIC: Final[dict[Packing, bytes]] = {"gz": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\0"}


class Readable(Protocol):
    """What can be read from: ``b""`` is the end. A raw, buffered or network stream, in binary."""

    def read(self, size: int, /) -> bytes: ...  # noqa: D102 - as io.RawIOBase.read


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """How much one archive may hold; beyond it raises ``LimitExceeded``, on import before it is written."""

    size: int | str = "4G"
    """Bytes of all files together."""
    file: int | str = "2G"
    """Bytes of one file."""
    entries: int = 200_000
    """Files, folders and links together."""
    ratio: int = 200
    """Bytes out for each byte in, once 16 MiB are out."""
    depth: int = 64
    """Folders below each other."""

    def __post_init__(self) -> None:
        for field in ("size", "file"):
            object.__setattr__(self, field, size(getattr(self, field), field))
        count(self.entries, "entries")
        count(self.ratio, "ratio")
        count(self.depth, "depth", most=1000)


class Meter:
    """Counts what goes in and comes out against the limits."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._most = size(limits.size, "size") + _HEAD_MOST * limits.entries + _RATIO_FROM
        self._in = self._out = 0

    def went_in(self, length: int) -> None:
        """Count bytes of the archive as it is. Compressed data can hold much of nothing: it is bounded too."""
        self._in += length
        if self._in > self._most:
            raise LimitExceeded(f"archive: longer than {self._most} bytes; raise limits.size if that is meant")

    def came_out(self, length: int) -> None:
        """Count unpacked bytes."""
        self._out += length
        if self._out > _RATIO_FROM and self._out > self._limits.ratio * self._in:
            raise LimitExceeded(
                f"archive: {self._out} bytes came out of {self._in}, more than limits.ratio ({self._limits.ratio}); "
                "it looks like a bomb"
            )
        if self._out > self._most:
            raise LimitExceeded(f"archive: more than {self._most} bytes unpacked; raise limits.size if that is meant")


class Stream:
    """Reads exact amounts from a function that gives pieces of any length, ``b""`` at the end."""

    def __init__(self, fill: Callable[[], bytes]) -> None:
        self._fill = fill
        self._piece = b""
        self._at = 0

    def some(self, most: int) -> bytes:
        """Give 1 to ``most`` bytes, or none at the end."""
        if self._at == len(self._piece):
            self._piece, self._at = self._fill(), 0
        taken = self._piece[self._at : self._at + most]
        self._at += len(taken)
        return taken

    def read(self, length: int) -> bytes:
        """Give ``length`` bytes, or fewer at the end."""
        taken = self.some(length)
        while len(taken) < length and (more := self.some(length - len(taken))):
            taken += more
        return taken

    def pieces(self, length: int) -> Iterator[bytes]:
        """Give ``length`` bytes in pieces; raises ``ArchiveError`` if they are not there."""
        while length:
            piece = self.some(min(length, PIECE))
            if not piece:
                raise ArchiveError(f"archive: it ends {length} bytes before a file does; it is cut off")
            length -= len(piece)
            yield piece


def read_some(source: Readable, length: int) -> bytes:
    """Read from what a caller gave, and look whether it keeps to ``read``'s word."""
    data: object = source.read(length)
    if not isinstance(data, bytes) or len(data) > length:
        raise SpecError(f"source: read({length}) must give at most so many bytes, not {type(data).__name__}")
    return data


def packing(head: bytes) -> Packing:
    """Tell from its first bytes how a stream is compressed."""
    found: list[Packing] = [name for name, magic in _MAGIC.items() if head.startswith(magic)]
    return found[0] if found else "none"


def unpacked(head: bytes, source: Readable, meter: Meter) -> Stream:
    """Give what a stream holds, uncompressed. ``head`` was read from it already, at least 6 bytes if there were."""

    def raw() -> Iterator[bytes]:
        piece = head
        while piece:
            meter.went_in(len(piece))
            yield piece
            piece = read_some(source, PIECE)

    how = packing(head)
    inner = raw() if how == "none" else _decompressed(how, raw())

    def fill() -> bytes:
        piece = next(inner, b"")
        meter.came_out(len(piece))
        return piece

    return Stream(fill)


class _Decoder(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Inflate:
    """zlib in the manner of bz2 and lzma. ``bits`` as in zlib: 31 for gzip, -15 for bare deflate."""

    def __init__(self, bits: int = 31) -> None:
        self._inner = zlib.decompressobj(bits)
        self._full = False

    @property
    def eof(self) -> bool:
        """Whether the compressed data ended."""
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        """Whether nothing comes without more data."""
        return not self._inner.unconsumed_tail and not self._full

    @property
    def unused_data(self) -> bytes:
        """What followed the compressed data."""
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Give at most ``max_length`` bytes."""
        out = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length
        return out


def _decoder(how: Packing) -> _Decoder:
    if how == "gz":
        return Inflate()
    return bz2.BZ2Decompressor() if how == "bz2" else lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _decompressed(how: Packing, raw: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack one stream after the other; what follows a stream must be another one."""
    piece, streams = next(raw, b""), 0
    while piece:
        streams += 1
        if streams > _STREAMS_MOST:
            raise LimitExceeded(f"archive: more than {_STREAMS_MOST} compressed streams in one; compress it as one")
        decoder = _decoder(how)
        while not decoder.eof:
            if not piece and decoder.needs_input and not (piece := next(raw, b"")):
                raise ArchiveError(f"archive: the {how} data is cut off")
            try:
                out = decoder.decompress(piece, PIECE)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                raise ArchiveError(f"archive: the {how} data is damaged, or other data follows it: {error}") from None
            piece = b""
            if out:
                yield out
        piece = decoder.unused_data or next(raw, b"")
