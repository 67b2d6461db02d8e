"""What makes one JSON text of another: JSON Patches (RFC 6902), and documents that become another text.

Equal are values whose canonical texts are, whatever the order of an object's members: 1 and 1.0 are two. A patch is
never more than 64 bytes longer than one that replaces everything.
"""

from __future__ import annotations

from typing import Any

from cloche_native import _lib
from cloche_native.json import DEPTH, Json, Text, fixed, raise_error

__all__ = ["diff", "follow", "pass_children", "update"]

_ffi, _c = _lib.ffi, _lib.lib
_OUT, _ERROR = _ffi.typeof("struct clo_json_out *"), _ffi.typeof("struct clo_json_error *")
_SPLICE, _ASK, _HELD = int(_c.CLO_JSON_SPLICE), int(_c.CLO_JSON_ASK), int(_c.CLO_JSON_HELD)


def diff(
    old: Text,
    new: Text,
    *,
    splice: bool = False,
    depth: int = DEPTH,
) -> bytes:
    """Give the patch that makes the one text of the other.

    ``splice``: strings of 200 bytes and more may be changed by operations that RFC 6902 does not have. Raises
    JsonTextError for either text, MemoryError.
    """
    with Json(old, depth=depth) as document:
        return update(document, new, splice=splice)


def update(document: Json, text: Text, *, splice: bool = False) -> bytes:
    """Let a document become another text; give the patch that makes it of what it was.

    What is the same as before is only compared. Raises JsonTextError, MemoryError; then the document is as it was.
    """
    return _update(document, text, _how(splice))


def update_unless_null(document: Json, text: Text, *, splice: bool = False) -> bytes | None:
    """Do what ``update`` does unless the patch holds the word null: then nothing has changed, and it gives ``None``."""
    return _update(document, text, _how(splice) | _ASK) or None


def _update(document: Json, text: Text, how: int) -> bytes:
    patch, error = _ffi.new(_OUT), _ffi.new(_ERROR)
    data = fixed(text)
    try:
        status = _c.clo_json_update(document.handle, data, len(data), how, patch, error)
        if status == _HELD:
            return b""  # no patch is
        if status:
            raise_error(status, error)
        return bytes(_ffi.buffer(patch.data, patch.size))
    finally:
        _c.clo_json_out_free(patch)


def follow(document: Json, text: Text) -> list[tuple[int, int, int, int]] | None:
    """Give the index that a text gets after the document's; ``None``: it would be read as a whole. For tests.

    Of each entry the gap, the size, how many are within it and how many children it has.
    """
    data = fixed(text)
    room = len(data) // 32 + 1
    entries = _ffi.new("uint64_t[]", 4 * room)
    count = int(_c.clo_json_followed(document.handle, data, len(data), entries, room))
    if count < 0:
        return None
    numbers: list[Any] = list(entries[0 : 4 * count])
    return [(numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3]) for i in range(0, 4 * count, 4)]


def pass_children(text: bytes, at: int, limit: int, *, cpu: int) -> tuple[int, int]:
    """Go over children of a container in a canonical text, from the begin of one; give where, and how many. For tests.

    It comes to the first that ends at ``limit`` or later, or has an escape. ``cpu``: 0 byte by byte, 1 as every machine
    of this kind can, 2 with AVX2, where there is. Raises ValueError for places that are none.
    """
    if not 0 <= at <= limit <= len(text):
        raise ValueError(f"no places of a text of {len(text):,} bytes: {at:,} and {limit:,}")
    count = _ffi.new("size_t *")
    with _ffi.from_buffer(text) as data:
        begin = int(_c.clo_json_pass(_ffi.cast("uint8_t *", data), at, limit, count, cpu))
    return begin, int(count[0])


def _how(splice: bool) -> int:  # noqa: FBT001 - private
    return _SPLICE if splice else 0
