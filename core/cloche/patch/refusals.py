"""What the native module refuses, in the words of people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from cloche.errors import JsonError, PatchError, PointerError
from cloche.patch.pointer import Pointer
from cloche.units import one_line
from cloche_native.json import JsonTextError
from cloche_native.json_apply import PatchRefused, PatchTextError

_T = TypeVar("_T")
_REASONS: Final = {
    "patch": "a patch is an array of operations, each an object",
    "operation": "op must be add, remove, replace, move, copy, test or splice",
    "field": "it lacks a member that it needs, or has one of the wrong kind",
    "pointer": "this is no JSON Pointer: it is empty or begins with a slash, and ~ is written ~0, / is written ~1",
    "missing": "there is nothing at that place",
    "index": "the array has no such index; write it in digits without leading zeros, - only to add at the end",
    "test": "the value there is another",
    "into_itself": "a value can't be moved into itself",
    "root": "the whole document can't be removed or moved; replace it",
    "depth": "the result would be nested deeper than allowed; give a larger depth= if it may be",
    "size": "the result would be larger than allowed; give a larger most= if it may be",
    "splice": "the text there is another than the one that the splice was made for, or too short for it",
    "null": "a merge patch can't set anything to null, for there that means to remove it; use diff",
}


REFUSED: Final = (JsonTextError, PatchRefused)
"""What the native module raises."""


def answered(act: Callable[..., _T], *given: object, **how: object) -> _T:
    """Give what the native module says to that, or raise what it refuses as an error of cloche."""
    try:
        return act(*given, **how)
    except REFUSED as error:
        raise refusal(error) from None


def refusal(
    error: JsonTextError | PatchRefused, first: str = "the document", second: str = "the patch"
) -> JsonError | PatchError:
    """Give what the native module raised as an error of cloche; both texts of the call are named by what they are."""
    if isinstance(error, PatchRefused):
        return _refused(error)
    name = second if isinstance(error, PatchTextError) else first
    return JsonError(f"{name}: {error}", position=error.position)


def _refused(error: PatchRefused) -> PatchError:
    pointer = error.pointer.decode("utf-8", "replace") or None
    index = error.operation if error.operation >= 0 else None
    place = f" at {one_line(pointer, most=200)}" if pointer is not None else ""
    where = f"operation {index}{place}" if index is not None else f"the patch{place}"
    return PatchError(
        f"{where}: {_REASONS.get(error.kind, error.kind)}; nothing was changed", index=index, pointer=pointer
    )


def place(pointer: str | Pointer) -> bytes:
    """Give a pointer as the native module takes it. Raises ``SpecError`` for none, and as ``nowhere`` says."""
    parsed = pointer if isinstance(pointer, Pointer) else Pointer.parse(pointer)
    try:
        return str(parsed).encode()
    except UnicodeEncodeError:  # no document has a key with half of a surrogate pair
        raise nowhere(parsed) from None


def nowhere(pointer: str | Pointer) -> PointerError:
    """Give the error of a pointer that leads nowhere."""
    return PointerError(
        f"there is nothing at {one_line(str(pointer), most=200)} of this document", pointer=str(pointer)
    )
