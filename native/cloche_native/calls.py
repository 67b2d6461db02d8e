"""How the supervisor takes apart a call that it is notified of, and what a static filter answers to it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

from cloche_native import _lib

__all__ = ["filter_answer", "laid_out"]

_ffi, _c = _lib.ffi, _lib.lib
_INSTRUCTION: Final = 8
_DATA: Final = 64  # struct seccomp_data


def laid_out() -> Iterator[tuple[str, int | None, int | None]]:
    """Give every call whose registers are known: its name, and its number on x86_64 and aarch64; None: it has none."""
    numbers = _ffi.new("int32_t[2]")
    index = 0
    while name := _c.clo_call_name(index, numbers):
        first, second = (None if number < 0 else int(number) for number in numbers)
        yield _ffi.string(name).decode(), first, second
        index += 1


def filter_answer(program: bytes, data: bytes) -> tuple[int, bool]:
    """Give what a seccomp filter answers to ``struct seccomp_data``, and whether it looked at the call's arguments.

    The answer is a SECCOMP_RET_ value with its data. Raises ValueError for what the kernel takes for no program.
    """
    if len(data) != _DATA:
        raise ValueError(f"struct seccomp_data has {_DATA} bytes, not {len(data)}")
    if len(program) % _INSTRUCTION:
        raise ValueError(f"a filter is instructions of {_INSTRUCTION} bytes each, {len(program)} are none")
    code = _ffi.new("uint64_t[]", len(program) // _INSTRUCTION)
    _ffi.buffer(code)[:] = program
    value = _ffi.new("uint32_t *")
    looked = _c.clo_filter_answer(code, len(program) // _INSTRUCTION, data, value)
    if looked == -errno.EINVAL:
        raise ValueError("that is no filter: an operation, a jump or an offset in it is not allowed in one")
    return int(value[0]), bool(looked)
