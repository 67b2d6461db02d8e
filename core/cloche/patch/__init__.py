"""Differences of JSON documents: JSON Patch (RFC 6902), merge patches (RFC 7396), pointers (RFC 6901), in C.

A document is JSON text in ``bytes``, ``bytearray`` or ``memoryview``, or else a Python value, a ``str`` included. What
is applied to text gives text, what is applied to a value gives a value; arguments are never changed. What it takes for
equal, and what it refuses, is in docs/json-patch.md. Calls let other threads run.
"""

from __future__ import annotations

from typing import Any, overload

from cloche.patch import values
from cloche.patch.document import Document
from cloche.patch.pointer import Pointer, escape, unescape
from cloche.patch.refusals import answered, nowhere, place, refusal
from cloche.patch.values import DEPTH
from cloche_native import json_apply, json_diff
from cloche_native.json import JsonTextError, Text
from cloche_native.json import are_equal as texts_are_equal
from cloche_native.json_apply import PatchRefused

__all__ = [
    "DEPTH", "Document", "Pointer", "apply", "are_equal", "diff", "escape", "get", "merge_diff", "merge_patch",
    "unescape",
]  # fmt: skip


def diff(old: object, new: object, *, splice: bool = False, depth: int = DEPTH) -> bytes:
    """Give the JSON patch that makes ``new`` of ``old``; ``[]`` if they are the same.

    Each is text or a value. The patch is never more than 64 bytes larger than one that replaces everything. With
    ``splice`` a long text that changed a little is patched by the operation ``splice``, which only this package knows.
    Raises ``JsonError`` for what is not JSON, or nested deeper than ``depth``.
    """
    first, second = values.as_text(old, depth=depth), values.as_text(new, depth=depth)
    return answered(json_diff.diff, first, second, splice=splice, depth=depth)


@overload
def apply(document: Text, patch: object, *, most: int | None = None, depth: int = DEPTH) -> bytes: ...
@overload
def apply(document: object, patch: object, *, most: int | None = None, depth: int = DEPTH) -> Any: ...  # noqa: ANN401
def apply(document: object, patch: object, *, most: int | None = None, depth: int = DEPTH) -> Any:
    """Give what a JSON patch makes of ``document``: text of text, a new value of a value.

    ``patch`` is text or a sequence of operations. ``most`` bounds the bytes that the result, and all that is copied on
    the way, may have; otherwise it is 64 MiB, or 16 times document and patch if that is more. Raises ``JsonError``, and
    ``PatchError`` with the index of the operation that can't be done.
    """
    first, second = values.as_text(document, depth=depth), values.operations(patch, depth=depth)
    return _like(document, answered(json_apply.apply, first, second, most=values.bound(most), depth=depth))


@overload
def merge_patch(target: Text, patch: object, *, most: int | None = None, depth: int = DEPTH) -> bytes: ...
@overload
def merge_patch(target: object, patch: object, *, most: int | None = None, depth: int = DEPTH) -> Any: ...  # noqa: ANN401
def merge_patch(target: object, patch: object, *, most: int | None = None, depth: int = DEPTH) -> Any:
    """Give what a merge patch (RFC 7396) makes of ``target``: text of text, a new value of a value.

    Bounded as ``apply`` is. Raises ``JsonError``, and ``PatchError`` for a result larger or deeper than allowed.
    """
    first, second = values.as_text(target, depth=depth), values.as_text(patch, depth=depth)
    return _like(target, answered(json_apply.merge_patch, first, second, most=values.bound(most), depth=depth))


def merge_diff(old: object, new: object, *, depth: int = DEPTH) -> bytes:
    """Give the merge patch that makes ``new`` of ``old``; ``{}`` if they are the same.

    Raises ``PatchError`` where a member of ``new`` is null and was not before, for a merge patch has no word for that.
    """
    first, second = values.as_text(old, depth=depth), values.as_text(new, depth=depth)
    return answered(json_apply.merge_diff, first, second, depth=depth)


def are_equal(one: object, other: object, *, depth: int = DEPTH) -> bool:
    """Tell whether two documents mean the same: numbers by their worth, keys in any order. Raises ``JsonError``."""
    first, second = values.as_text(one, depth=depth), values.as_text(other, depth=depth)
    return answered(texts_are_equal, first, second, depth=depth)


@overload
def get(document: Text, pointer: str | Pointer, *, depth: int = DEPTH) -> bytes: ...
@overload
def get(document: object, pointer: str | Pointer, *, depth: int = DEPTH) -> Any: ...  # noqa: ANN401
def get(document: object, pointer: str | Pointer, *, depth: int = DEPTH) -> Any:
    """Give what is at a place of ``document`` (RFC 6901): text of text, a value of a value.

    Raises ``PointerError`` if nothing is there, ``SpecError`` for what is no pointer, ``JsonError``.
    """
    text = values.as_text(document, depth=depth)
    try:
        made = json_apply.get(text, place(pointer), depth=depth)
    except PatchRefused:
        raise nowhere(pointer) from None
    except JsonTextError as error:
        raise refusal(error) from None
    return _like(document, made)


def _like(document: object, made: bytes) -> Any:  # noqa: ANN401 - what JSON holds
    return made if values.is_text(document) else values.decode(made)
