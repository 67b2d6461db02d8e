"""Memory that programs share: see ``Budget``."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, NamedTuple

from cloche_native import _lib

if TYPE_CHECKING:
    from cloche_native.wasm import Library
    from cloche_native.wasm_values import Pointed

_ffi, _c = _lib.ffi, _lib.lib


class Shared(NamedTuple):
    """What is held of a budget: bytes now and at most so far, and how often more was refused."""

    used: int
    peak: int
    refused: int


class Budget:
    """Bytes that all memories of some engines may have together, whatever each of them may. For many threads at once.

    A memory that would need more does not grow, as where it is at its own bound; one that can't begin is an error.
    """

    def __init__(self, library: Library, most: int) -> None:
        """Take how many bytes. Raises ValueError for less than one."""
        if most < 1:
            raise ValueError(f"a budget has positive bytes, not {most}")
        made = _c.clo_wasm_budget_new(library.handle, most)
        if not made:
            raise MemoryError("no memory for a budget")
        self._handle: Any = _ffi.gc(made, _c.clo_wasm_budget_free)

    def lend(self, config: Pointed) -> None:
        """Have engines that are made of this ``wasmtime.Config`` take their memories from it."""
        pointer = _ffi.cast("void *", ctypes.cast(config.ptr(), ctypes.c_void_p).value or 0)
        if _c.clo_wasm_budget_lend(self._handle, pointer):
            raise MemoryError("too many engines share one budget")

    def resize(self, most: int) -> None:
        """Allow so many bytes from now on; what is held already stays."""
        if most < 1:
            raise ValueError(f"a budget has positive bytes, not {most}")
        _c.clo_wasm_budget_set(self._handle, most)

    def look(self) -> Shared:
        """Say what is held."""
        figures = _ffi.new("uint64_t[3]")
        _c.clo_wasm_budget_look(self._handle, figures)
        return Shared(*figures)
