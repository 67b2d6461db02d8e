"""A saved interpreter as bytes: what differs from its template, under a header that says what it fits.

``magic, template's digest, CRC-32 of the rest, the rest``, which the bridge packs and makes small. The sum tells
damage, not malice: whoever can write snapshots can make any, and what is restored is a guest like another.
"""

from __future__ import annotations

import struct
import zlib
from mmap import mmap
from typing import Final

from cloche import SnapshotError
from cloche_native import words

_HEADS: Final = 256
"""A state is larger than the memory by the head of each page: less than a part of so many."""
_HEADER: Final = struct.Struct("<8s32sI")


def pack(state: bytes, template: str, magic: bytes) -> bytes:
    """Give the bytes of a snapshot. ``magic`` has 8 bytes and says of which language it is."""
    return _HEADER.pack(magic, bytes.fromhex(template), zlib.crc32(state)) + state


def unpack(snapshot: bytes, template: str, magic: bytes, memory: int) -> bytearray | mmap:
    """Give the state, of an interpreter with at most so many bytes of memory.

    Raises ``SnapshotError`` for what is damaged, of another language or another template, or larger.
    """
    if not isinstance(snapshot, bytes | bytearray | memoryview):
        raise SnapshotError(f"a snapshot is bytes, not {type(snapshot).__name__}")
    held = bytes(snapshot)
    if len(held) < _HEADER.size or held[: len(magic)] != magic:
        raise SnapshotError("this is no snapshot of an interpreter of this language, or the beginning of one")
    _, fits, sum_ = _HEADER.unpack_from(held)
    state = memoryview(held)[_HEADER.size :]
    if zlib.crc32(state) != sum_:
        raise SnapshotError("the snapshot is damaged; take another")
    if fits.hex() != template:
        raise SnapshotError("the snapshot is of another template: the interpreter that saved it had other modules, "
                            "another hardening, came with another version, or was built elsewhere")  # fmt: skip
    try:
        return words.expand(state, memory + memory // _HEADS + _HEADER.size)
    except ValueError as error:
        raise SnapshotError(f"the snapshot holds no state: {error}") from error
