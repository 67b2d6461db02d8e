"""Bytes that are words of 32 bits, made small quickly: what is alike in one object and the next is said once."""

from __future__ import annotations

from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Final

from cloche_native import _lib

_ffi, _c = _lib.ffi, _lib.lib

Words = bytes | bytearray | memoryview | mmap
_WORD: Final = 4
_LARGE: Final = 1 << 20
_HUGE_PAGES: Final = 14
"""MADV_HUGEPAGE, which Python names only where its C library does."""


def shrink(data: Words) -> bytes:
    """Give ``data`` made small, at most a 128th and 64 bytes larger. Raises ValueError unless it is whole words."""
    given = _ffi.from_buffer(data)
    size = len(given)
    if size % _WORD:
        raise ValueError(f"words have {_WORD} bytes, and {size} bytes are none")
    room = _ffi.new("char[]", size + size // 128 + 64)
    return bytes(_ffi.buffer(room, _c.clo_words_shrink(given, size, room)))


def expand(data: Words, most: int) -> mmap | bytearray:
    """Give what was made small, which anybody may have made up.

    Raises ValueError for what ``shrink`` does not give, and for more than ``most`` bytes.
    """
    given = _ffi.from_buffer(data)
    size = _c.clo_words_expand(given, len(given), _ffi.NULL, 0)
    if size > most:
        raise ValueError(f"it comes to {size} bytes, and {most} are the most")
    out = _room(max(size, 0))
    if size < 0 or _c.clo_words_expand(given, len(given), _ffi.from_buffer(out), size) != size:
        raise ValueError("its bytes are not what words are made small to")
    return out


def _room(size: int) -> mmap | bytearray:
    """Give memory; much of it in large pages, which the kernel gives sooner."""
    if size < _LARGE:
        return bytearray(size)
    room = mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    room.madvise(_HUGE_PAGES)
    return room
