"""Patches applied to JSON texts and documents: RFC 6902 (and splices), RFC 7396, and pointers (RFC 6901).

Texts are bytes of any form; what is given back is canonical. Where a call raises, nothing has changed. The GIL is free
meanwhile; a document is for one thread at a time.
"""

from __future__ import annotations

from typing import Any, Final

from cloche_native import _lib
from cloche_native.json import DEPTH, KINDS, Json, JsonTextError, Text, check_depth, fixed

__all__ = [
    "PatchRefused", "PatchTextError", "apply", "apply_to", "get", "get_from", "merge_diff", "merge_into", "merge_patch",
]  # fmt: skip

_ffi, _c = _lib.ffi, _lib.lib

_KINDS: Final = (
    "", "memory", "document", "text", "patch", "operation", "field", "pointer", "missing", "index", "test",
    "into_itself", "root", "depth", "size", "splice", "null",
)  # fmt: skip
"""As enum clo_patch_kind has them."""


class PatchTextError(JsonTextError):
    """The patch is no JSON, or the second of two documents."""


class PatchRefused(ValueError):
    """A patch that can't be done, or a pointer to nothing.

    ``kind`` is a word for why: patch, operation, field, pointer, missing, index, test, into_itself, root, depth, size,
    splice or null. ``operation`` is which one, from 0; -1: the patch as a whole. ``pointer`` is what it was about, as
    UTF-8, cut at 480 bytes; ``None``: no pointer.
    """

    def __init__(self, kind: str, operation: int, pointer: bytes) -> None:
        super().__init__(kind, operation, pointer)
        self.kind, self.operation, self.pointer = kind, operation, pointer


def apply(document: Text, patch: Text, *, depth: int = DEPTH, most: int = 0) -> bytes:
    """Give the document with the patch (RFC 6902) applied.

    ``most``: bytes that the result may have, and all that copies and splices make; 0: the larger of 64 MiB and 16
    times both texts. Raises JsonTextError, PatchTextError, PatchRefused and MemoryError.
    """
    return _made(_c.clo_json_apply, document, patch, check_depth(depth), most)


def merge_patch(target: Text, patch: Text, *, depth: int = DEPTH, most: int = 0) -> bytes:
    """Give the target with the merge patch (RFC 7396) applied. The rest is as for ``apply``."""
    return _made(_c.clo_json_merge, target, patch, check_depth(depth), most)


def merge_diff(old: Text, new: Text, *, depth: int = DEPTH) -> bytes:
    """Give the merge patch that makes ``new`` of ``old``.

    Raises JsonTextError, PatchTextError, MemoryError, and PatchRefused of kind null for a member that becomes null,
    which such a patch can't say.
    """
    return _made(_c.clo_json_merge_diff, old, new, check_depth(depth))


def get(document: Text, pointer: bytes, *, depth: int = DEPTH) -> bytes:
    """Give the value that a pointer (UTF-8) names. Raises JsonTextError, PatchRefused and MemoryError."""
    given = fixed(document)
    out, error = _ffi.new("struct clo_json_out *"), _ffi.new("struct clo_patch_error *")
    try:
        _check(_c.clo_json_get_from(given, len(given), check_depth(depth), pointer, len(pointer), out, error), error)
        return bytes(_ffi.buffer(out.data, out.size))
    finally:
        _c.clo_json_out_free(out)


def apply_to(document: Json, patch: Text, *, most: int = 0) -> None:
    """Apply a patch (RFC 6902) to a document in place. Raises PatchTextError, PatchRefused and MemoryError."""
    _change(_c.clo_json_apply_to, document, patch, most)


def merge_into(target: Json, patch: Text, *, most: int = 0) -> None:
    """Apply a merge patch (RFC 7396) to a document in place. Raises as ``apply_to``."""
    _change(_c.clo_json_merge_to, target, patch, most)


def get_from(document: Json, pointer: bytes) -> bytes:
    """Give the value that a pointer (UTF-8) names, as text. Raises PatchRefused and MemoryError."""
    value, size = _ffi.new("const uint8_t **"), _ffi.new("size_t *")
    error = _ffi.new("struct clo_patch_error *")
    _check(_c.clo_json_get(document.handle, pointer, len(pointer), value, size, error), error)
    return bytes(_ffi.buffer(value[0], size[0]))


def _made(function: Any, first: Text, second: Text, *how: int) -> bytes:  # noqa: ANN401 - cffi has no types
    one, other = fixed(first), fixed(second)
    out, error = _ffi.new("struct clo_json_out *"), _ffi.new("struct clo_patch_error *")
    try:
        _check(function(one, len(one), other, len(other), *how, out, error), error)
        return bytes(_ffi.buffer(out.data, out.size))
    finally:
        _c.clo_json_out_free(out)


def _change(function: Any, document: Json, patch: Text, most: int) -> None:  # noqa: ANN401 - cffi has no types
    given, error = fixed(patch), _ffi.new("struct clo_patch_error *")
    _check(function(document.handle, given, len(given), most, error), error)


def _check(kind: int, error: Any) -> None:  # noqa: ANN401 - cffi has no types
    if kind == _c.CLO_PATCH_FINE:
        return
    if kind == _c.CLO_PATCH_MEMORY:
        raise MemoryError("no memory for what the patch makes")
    if kind in {_c.CLO_PATCH_DOCUMENT, _c.CLO_PATCH_TEXT}:
        if error.text.kind == _c.CLO_JSON_MEMORY:
            raise MemoryError("no memory for a JSON text")
        what = PatchTextError if kind == _c.CLO_PATCH_TEXT else JsonTextError
        raise what(KINDS[error.text.kind], error.text.position)
    raise PatchRefused(_KINDS[kind], error.operation, bytes(_ffi.buffer(error.pointer, error.pointer_size)))
