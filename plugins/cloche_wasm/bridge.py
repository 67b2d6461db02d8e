"""The native bridge to wasmtime's library, as all guests that are driven through it share it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from wasmtime import _ffi

from cloche_native import wasm

if TYPE_CHECKING:
    from collections.abc import Sequence

    import wasmtime

    from cloche_wasm.engine import Engine


@cache
def library() -> wasm.Library:
    """Give the library that the wheel brings."""
    return wasm.Library(str(_ffi.filename))


@cache
def bridged(of: Engine) -> wasm.Engine:
    """Give the native side of an engine, with the thread that ends what runs too long."""
    return wasm.Engine(library(), of.wasm, stack=of.stack)


def link(linker: wasmtime.Linker, imports: Sequence[wasmtime.ImportType]) -> None:
    """Define imports by what the native module answers itself. Raises ``ValueError`` for one that it does not."""
    wasm.answer(library(), linker, imports)
