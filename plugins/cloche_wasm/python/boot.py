"""Python's first minutes: what every interpreter would have to do is done, and the memory is taken as it then is.

CPython counts the references to each object in the object, so whoever only looks at one writes to its page, and each
interpreter would soon have a copy of its own of a hundred pages in which nothing else changed. So all objects that
there are after booting are made immortal, as CPython makes some of its own: their count says so, and stays. And what
was freed here and there on the way is filled, so that what an interpreter makes lies together, behind all else.
"""

from __future__ import annotations

import array
import base64
import json
import struct
from typing import Final

from cloche import StartError
from cloche_native import wasm
from cloche_wasm.text import one_line

POINTER: Final = "__stack_pointer"
_SECONDS: Final = 60.0
_MOST: Final = 1 << 26
"""Bytes that may cross while booting."""
_WARM: Final = ("1 + 1", "x = 1\nprint(x)", "def f(): yield 1\nlist(f())", "1 / 0", "await_ = [x, {'a': 2.5}]\nawait_")
_TIMES: Final = 100
"""How often: CPython fits its code to what goes through it, in place, and is done with that after so many runs."""
_DROP: Final = "del x, f, await_"
_CLEAN: Final = "import gc\ngc.collect()\ndel gc"
"""Frees also what CPython keeps for objects of some types to come."""
_CLEANED: Final = 3
"""How often: what one run frees in the end is in the way of the next."""
_SIZES: Final = (*range(1 << 16, 1 << 12, -4096), *range(4096, 0, -8))
_FREEZE: Final = "import gc\ngc.freeze()\ndel gc"
"""Takes all that there is out of the garbage collector's sight, who would touch it."""
_ALL: Final = """\
import array, gc, sys
found, left = set(), [sys.modules]
while left:
    one = left.pop()
    if id(one) not in found:
        found.add(id(one))
        left += gc.get_referents(one)
        left.append(type(one))
[id(None), array.array("I", found).tobytes()]
"""
"""Gives where None is, and every object that a module leads to."""
_OBJECT: Final = struct.Struct("<II")
"""What an object of CPython begins with on a machine of 32 bits: the count of its references, and its type."""
_IMMORTAL: Final = 1 << 30
"""The least count of an object that is not counted."""


def booted(mold: wasm.Mold) -> tuple[bytes, int]:
    """Give the memory of an interpreter, and its stack pointer. Raises ``StartError``."""
    with mold.open() as instance:
        _boot(instance)
        before = instance.image()
        none, found = _found(_run(instance, _ALL))
        after = instance.image()
    with mold.open() as instance:  # looking leaves megabytes behind; here nobody looked
        _boot(instance)
        _run(instance, _FREEZE)
        image, pointer = bytearray(instance.image()), instance.get_global(POINTER)
    _immortalize(image, before, after, none, found)
    return bytes(image), pointer


def _immortalize(image: bytearray, before: bytes, after: bytes, none: int, found: array.array[int]) -> None:
    """Make those objects immortal that are there in ``image`` as they were before and after they were found.

    An object that came and went has another count or type there, or its type is no object that was found.
    """
    count, _ = _OBJECT.unpack_from(image, none)
    if count < _IMMORTAL:
        raise StartError(f"Python could not be booted: None has the count {count}, and is known to be immortal")
    known = set(found)
    for at in found:
        if at > len(before) - _OBJECT.size:
            continue
        head = _OBJECT.unpack_from(before, at)
        same = head == _OBJECT.unpack_from(after, at) == _OBJECT.unpack_from(image, at)
        if same and 0 < head[0] < _IMMORTAL and head[1] in known:
            struct.pack_into("<I", image, at, count)


def _boot(instance: wasm.Instance) -> None:
    for code in (*_WARM * _TIMES, _DROP):
        _run(instance, code)
    for _ in range(_CLEANED):
        _run(instance, _CLEAN)
        _fill(instance)


def _fill(instance: wasm.Instance) -> None:
    """Take all memory that is free between what is not, for good."""
    behind = instance.call("malloc", 1 << 20) or 0
    instance.call("free", behind)
    for size in _SIZES:
        while (last := instance.call("malloc", size) or 0) < behind:
            if not last:
                raise StartError("Python could not be booted: it has no memory left")
        instance.call("free", last)


def _run(instance: wasm.Instance, code: str) -> str:
    given = {"do": "run", "code": code, "room": _MOST, "value": _MOST}
    out = instance.tell(json.dumps(given).encode(), wall=_SECONDS)
    if out.end != "done" or out.text is None:
        raise StartError(f"Python could not be booted: {out.end} {one_line(out.detail)}")
    return str(json.loads(out.text).get("value", ""))


def _found(value: str) -> tuple[int, array.array[int]]:
    try:
        none, held = json.loads(value)
        return int(none), array.array("I", base64.b64decode(held["v"]))
    except (ValueError, TypeError, KeyError) as error:
        raise StartError(f"Python could not be booted: {one_line(str(error))}") from error
