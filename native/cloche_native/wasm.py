"""WebAssembly instances driven through the C interface of the wasmtime library that wasmtime-py ships.

wasmtime-py compiles, validates and links; from there on a call is one crossing of less than a microsecond instead of
some fifteen. Objects of it are given to us and must not be closed while ours live. A linker that ``answer`` has defined
imports in is for this module only.

An ``Instance`` is used by one thread at a time (a second one gets RuntimeError); only ``stop`` may be called beside a
run. The GIL is free while a guest runs. All texts are bytes of UTF-8.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from mmap import mmap
from typing import Any, Final, Literal

from cloche_native import _lib
from cloche_native.wasm_budget import Budget, Shared
from cloche_native.wasm_frame import GRACE, Frame
from cloche_native.wasm_instance import Instance
from cloche_native.wasm_values import (
    Calls,
    DeltaError,
    End,
    Entries,
    Function,
    Imported,
    Outcome,
    Pointed,
    StartError,
    Trap,
    define,
)

_ffi, _c = _lib.ffi, _lib.lib

__all__ = [
    "Budget", "Calls", "DeltaError", "End", "Engine", "Entries", "Function", "Instance", "Library", "Mold", "Outcome",
    "Shared", "StartError", "Trap", "answer",
]  # fmt: skip

_WASM_PAGE: Final = 65536
_DELTAS: Final = (
    "",
    "it is not as long as it says",
    "its stack pointer is another",
    "its memory is less than the template's, or too much",
    "its pages are out of order, or outside of its memory",
    "there is no memory for it",
)
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Library:
    """The library at ``path``. Raises OSError when it can't be loaded, or lacks a function, which the text names."""

    def __init__(self, path: str) -> None:
        """Load it, or find it as it is loaded; it stays for good."""
        message = _ffi.new("char[]", _c.CLO_WASM_MESSAGE)
        self.handle: Any = _c.clo_wasm_load(os.fsencode(path), _c.clo_wasm_ask, message, len(message))
        if not self.handle:
            raise OSError(f"wasmtime's library can't be used: {_ffi.string(message).decode(errors='replace')}")


def _address(managed: Pointed) -> int:
    return ctypes.cast(managed.ptr(), ctypes.c_void_p).value or 0


def _pointer(managed: Pointed) -> Any:  # noqa: ANN401 - cffi has no types
    return _ffi.cast("void *", _address(managed))


def answer(
    library: Library,
    linker: Pointed,
    imports: Iterable[Imported],
    functions: Mapping[tuple[str, str], Callable[..., int | None]] | None = None,
) -> tuple[Function, ...]:
    """Define each import of a module in ``linker``; what it gives goes to ``Mold``.

    ``functions`` are Python's, by module and name: each is called with the instance and its numbers (of 32 bits:
    unsigned) and gives a number or ``None``; what it raises ends the guest's call and is raised from there. The others
    are answered in C: ``env.host_*`` of quickjs-rs, and of WASI what a language needs that sees nothing of the host.
    Raises ValueError for an import that nobody answers, or that is of another type.
    """
    return define(library.handle, _address(linker), imports, functions or {}, _address)


class Engine:
    """wasmtime's engine, made with ``epoch_interruption``, and a thread that ends what runs too long.

    ``stack`` is its ``max_wasm_stack``: a thread with less than that, and 256 KiB more, left is refused.
    """

    def __init__(self, library: Library, engine: Pointed, *, stack: int = 512 << 10) -> None:
        """Start nothing yet: the thread begins with the first run that has an end."""
        self.library, self._engine = library, engine
        handle = _c.clo_wasm_engine_new(library.handle, _pointer(engine), stack)
        if not handle:
            raise MemoryError("no memory for an engine")
        self.handle: Any = _ffi.gc(handle, _c.clo_wasm_engine_free)
        _engines.add(self)


def _after_fork() -> None:
    for engine in list(_engines):
        _c.clo_wasm_engine_forked(engine.handle)


os.register_at_fork(after_in_child=_after_fork)


class Mold:
    """What instances are made of: an InstancePre of wasmtime-py, and what each of them has and may have.

    ``image`` is the memory of a fresh instance, which deltas are against, ``stack_pointer`` its ``__stack_pointer``,
    ``dead`` how many bytes from 0 on mean nothing between calls (its stack, if that comes first): no delta has them;
    ``memory`` bytes an instance may have, ``result`` bytes of one text that crosses. With a frozen clock all clocks
    show ``frozen_ns``. With ``stops`` the guest exports ``stop``, to be called between any two of its instructions when
    it is to end. Used by many threads at once. Raises ValueError for an image that is no multiple of 64 KiB.
    """

    def __init__(
        self,
        engine: Engine,
        pre: Pointed,
        *,
        functions: Sequence[Function] = (),
        image: bytes | memoryview | mmap = b"",
        stack_pointer: int = 0,
        dead: int = 0,
        entries: Entries | None = None,
        memory: int = 64 << 20,
        result: int = 64 << 20,
        clock: Literal["host", "frozen"] = "host",
        frozen_ns: int = 0,
        stops: bool = False,
    ) -> None:
        """Make nothing yet but what all instances share."""
        if len(image) % _WASM_PAGE or len(image) > memory:
            raise ValueError(f"an image is a multiple of 64 KiB and at most {memory} bytes, not {len(image)}")
        if memory < 1 or result < 1 or not 0 <= dead <= len(image):
            raise ValueError(f"memory {memory}, result {result}: positive bytes; dead {dead}: no more than the image")
        self.engine, self.functions, self.image, self.memory = engine, tuple(functions), image, memory
        self._pre, self._pinned = pre, _ffi.from_buffer(image)
        self.exports: dict[str, tuple[int, tuple[int, ...], int]] = {}
        how = _ffi.new("struct clo_wasm_how *")
        how.pre = _pointer(pre)
        how.image, how.image_size = (self._pinned if image else _ffi.NULL), len(image)
        how.memory, how.text, how.stack_pointer = memory, min(result, 0xFFFFFFFF), stack_pointer
        how.dead = dead
        how.clock_frozen, how.frozen, how.stops = clock == "frozen", frozen_ns, stops
        for name, handle in (entries or Entries())._asdict().items():
            setattr(how, name, handle)
        made = _c.clo_wasm_mold_new(engine.handle, how)
        if not made:
            raise MemoryError("no memory for a mold")
        self.handle: Any = _ffi.gc(made, _c.clo_wasm_mold_free)

    def open(self) -> Instance:
        """Give a fresh instance. Raises StartError."""
        return Instance(self)

    def once(
        self,
        code: bytes,
        *,
        wall: float | None,
        grace: float = GRACE,
        prepare: bytes | None = None,
        calls: Calls | None = None,
        top_await: bool = False,
    ) -> Outcome:
        """Do ``Instance.run`` in a fresh instance that is gone afterwards. Raises StartError."""
        frame = Frame.take()
        frame.code(code, prepare, top_await=top_await)
        return frame.cross(_c.clo_wasm_once, self.handle, wall, grace, calls)

    def check(self, delta: bytes | bytearray) -> None:
        """Raise DeltaError unless ``delta`` fits."""
        status = _c.clo_wasm_delta_check(self.handle, _ffi.from_buffer(delta), len(delta))
        if status:
            raise DeltaError(f"this state can't be restored: {_DELTAS[status]}")

    def revive(self, packed: bytes | bytearray | memoryview | mmap) -> Instance:
        """Give an instance in the state of what ``Instance.packed`` gave. Raises as ``restore``."""
        return self._opened_as(_c.clo_wasm_revive, packed)

    def restore(self, delta: bytes | bytearray) -> Instance:
        """Give an instance in the state of ``delta``, which anybody may have made. Raises DeltaError, StartError."""
        self.check(delta)
        return self._opened_as(_c.clo_wasm_delta_apply, delta)

    def _opened_as(self, become: Any, state: bytes | bytearray | memoryview | mmap) -> Instance:  # noqa: ANN401
        instance = self.open()
        status = become(instance.handle, _ffi.from_buffer(state), len(state))
        if status:
            instance.close()
            raise DeltaError(f"this state can't be restored: {_DELTAS[status]}")
        return instance
