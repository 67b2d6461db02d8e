"""Which acts of a guest a system call is, and which of them can be told of at a depth of watching.

Sets of acts are whole numbers, one bit for each ``clo_act`` of ``native/src/cdef.h``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from operator import or_
from typing import Final, Literal

from cloche_native import _lib
from cloche_native.calls import laid_out
from cloche_native.filters import machine_number

__all__ = ["DEPTHS", "Depth", "acts_of", "acts_seen", "calls"]

_ffi, _c = _lib.ffi, _lib.lib

Depth = Literal["off", "writes", "full", "strict"]
DEPTHS: Final[tuple[Depth, ...]] = ("off", "writes", "full", "strict")
"""How much is watched, from nothing to everything; the place in here is ``clo_depth``."""
_ARGUMENTS: Final = 6
_ZEROS: Final = (0,) * _ARGUMENTS
_TRIED: Final = (
    _ZEROS, ((1 << 31) - 1,) * 6, (0, 0, 7, 0, 0, 0), (0x7E020000, *_ZEROS[1:]), (0, 0x40, 0x40, 0x40, 0, 0),
    (0, 1, 1, 1, 0, 0), (16,) * 6,
)  # fmt: skip
"""Registers by which every act that a call may be is found."""


def acts_of(number: int, arguments: Sequence[int], *, machine: str | None = None) -> int:
    """Give the acts that a system call with these six registers may be; 0: it is never told of.

    Of several acts, which one it is lies behind a pointer. Raises ValueError for an unknown machine, for other than six
    arguments, and for one that is no unsigned number of 64 bits.
    """
    arch = machine_number(machine)
    if len(arguments) != _ARGUMENTS or not all(0 <= value < 1 << 64 for value in arguments):
        raise ValueError(f"a system call has {_ARGUMENTS} arguments of 64 bits, not {list(arguments)}")
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"the number of a system call has 64 bits: {number}")
    return int(_c.clo_acts_of(arch, number, _ffi.new("uint64_t[6]", list(arguments))))


@lru_cache(maxsize=1)
def calls() -> tuple[tuple[str, int, int], ...]:
    """Give each call of this machine that is ever told of: its name, its number, and the acts that it may be."""
    arch = machine_number(None)
    found = []
    for name, *numbers in laid_out():
        number = numbers[arch]
        if number is not None:
            found.append((name, number, reduce(or_, (acts_of(number, registers) for registers in _TRIED))))
    return tuple(found)


def acts_seen(depth: Depth) -> int:
    """Give the acts that can be told of at ``depth``. Raises ValueError for an unknown one."""
    if depth not in DEPTHS:
        raise ValueError(f"depth {depth!r} is unknown; there are {', '.join(DEPTHS)}")
    return int(_c.clo_acts_seen(DEPTHS.index(depth)))
