"""One isolated instance of a module; see ``cloche_native.wasm``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from cloche_native import _lib
from cloche_native.wasm_frame import GRACE, Frame, nanoseconds, refuse
from cloche_native.wasm_values import Calls, Outcome, Trap
from cloche_native.words import shrink

if TYPE_CHECKING:
    from cloche_native.wasm import Mold

_ffi, _c = _lib.ffi, _lib.lib

_WASM_PAGE: Final = 65536
_RESULTS: Final = (_c.CLO_WASM_I32, _c.CLO_WASM_I64, _c.CLO_WASM_NOTHING)


class Instance:
    """One isolated instance, of ``Mold.open``: alive until a trap or a hard end; ``close`` gives its memory back."""

    def __init__(self, mold: Mold) -> None:
        """Make it. Raises StartError."""
        self._handle: Any = None
        self._lock = threading.Lock()
        self.mold = mold
        made, message = _ffi.new("struct clo_wasm_instance **"), _ffi.new("char[]", _c.CLO_WASM_MESSAGE)
        status = _c.clo_wasm_open(mold.handle, made, message)
        if status:
            refuse(status, message)
        self._handle = made[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back. Harmless when repeated. Raises RuntimeError while it runs."""
        with self._lock:
            if self._handle is not None and _c.clo_wasm_close(self._handle):
                refuse(_c.CLO_WASM_BUSY)
            self._handle = None

    @property
    def handle(self) -> Any:  # noqa: ANN401 - cffi has no types
        """Give the C twin. Raises RuntimeError after ``close``."""
        if self._handle is None:
            raise RuntimeError("this instance is closed")
        return self._handle

    @property
    def alive(self) -> bool:
        """Whether it can be called."""
        return self._handle is not None and bool(_c.clo_wasm_alive(self._handle))

    # ---- Any module. ----

    def call(
        self, name: str, *numbers: int, wall: float | None = None, grace: float = GRACE, calls: Calls | None = None
    ) -> int | None:
        """Call an export that takes and gives integers.

        Raises Trap when it does not return, KeyError for no such export, ValueError for other arguments than it takes.
        """
        number, kinds, result = self._export(name)
        if len(numbers) != len(kinds):
            raise ValueError(f"{name} takes {len(kinds)} numbers, not {len(numbers)}")
        values = _ffi.new("int64_t[]", max(1, len(numbers)))
        for at, value in enumerate(numbers):
            values[at] = value if value < 1 << 63 else value - (1 << 64)
        frame = Frame.take()
        out = frame.cross(
            lambda subject, run: _c.clo_wasm_call(subject, number, values, len(numbers), run),
            self.handle, wall, grace, calls, self,
        )  # fmt: skip
        if out.end != "done":
            raise Trap(out.end, out.detail, out.number)
        if result == _c.CLO_WASM_NOTHING:
            return None
        return int(_ffi.cast("int32_t", values[0])) if result == _c.CLO_WASM_I32 else int(values[0])

    def _export(self, name: str) -> tuple[int, tuple[int, ...], int]:
        known = self.mold.exports.get(name)
        if known is None:
            number = _c.clo_wasm_name(self.mold.handle, name.encode())
            if number < 0:
                raise MemoryError("too many exports are called")
            kinds, count, result = _ffi.new("uint8_t[]", 16), _ffi.new("uint32_t *"), _ffi.new("uint8_t *")
            if _c.clo_wasm_kinds(self.handle, number, kinds, count, result):
                raise KeyError(f"there is no export {name} that can be called")
            known = number, tuple(kinds[0 : count[0]]), result[0]
            if any(kind > _c.CLO_WASM_I64 for kind in known[1]) or known[2] not in _RESULTS:
                raise KeyError(f"the export {name} is no function of integers")
            self.mold.exports[name] = known
        return known

    @property
    def memory(self) -> int:
        """Bytes of its memory."""
        return len(self._view())

    def _view(self) -> Any:  # noqa: ANN401 - cffi has no types
        size = _ffi.new("size_t *")
        memory = _c.clo_wasm_memory(self.handle, size)
        return _ffi.buffer(memory, size[0]) if size[0] else b""

    def read(self, at: int, size: int) -> bytes:
        """Give so many bytes of its memory. Raises IndexError outside of it."""
        view = self._view()
        if at < 0 or size < 0 or size > len(view) - at:
            raise IndexError(f"{size} bytes at {at} are not in a memory of {len(view)}")
        return bytes(view[at : at + size])

    def write(self, at: int, data: bytes) -> None:
        """Put bytes into its memory. Raises IndexError outside of it."""
        view = self._view()
        if at < 0 or len(data) > len(view) - at:
            raise IndexError(f"{len(data)} bytes at {at} are not in a memory of {len(view)}")
        view[at : at + len(data)] = data

    def grow(self, size: int) -> None:
        """Add so many bytes to its memory, a multiple of 64 KiB. Raises MemoryError."""
        if size < 0 or size % _WASM_PAGE or _c.clo_wasm_grow(self.handle, size // _WASM_PAGE):
            raise MemoryError(f"its memory can't grow by {size} bytes")

    def get_global(self, name: str) -> int:
        """Give an exported global of integers. Raises KeyError."""
        value = _ffi.new("int64_t *")
        if _c.clo_wasm_get(self.handle, name.encode(), value):
            raise KeyError(f"there is no global {name} of integers")
        return int(value[0])

    def set_global(self, name: str, value: int) -> None:
        """Set one. Raises KeyError for one that is not there, or can't be set."""
        if _c.clo_wasm_set(self.handle, name.encode(), value):
            raise KeyError(f"there is no global {name} of integers that can be set")

    def image(self) -> bytes:
        """Give all of its memory."""
        return bytes(self._view())

    # ---- The JavaScript guest of quickjs-rs. ----

    def mint(self, expression: bytes) -> int:
        """Evaluate, and give a handle of the value, good as long as the instance is. Raises Trap."""
        frame = Frame.take()
        frame.code(expression)
        return self._made(frame, _c.clo_wasm_mint)

    def function(self, name: str) -> None:
        """Make a global function that asks the ``calls`` of a run. Raises Trap."""
        frame = Frame.take()
        frame.code(name.encode())
        self._made(frame, _c.clo_wasm_function)

    def _made(self, frame: Frame, function: Callable[..., int]) -> int:
        out = frame.cross(function, self.handle, None, 0, None, self)
        if out.end != "done":
            raise Trap(out.end, out.detail)
        return out.number

    def run(
        self,
        code: bytes,
        *,
        wall: float | None,
        grace: float = GRACE,
        prepare: bytes | None = None,
        calls: Calls | None = None,
        top_await: bool = False,
        keep: bool = False,
    ) -> Outcome:
        """Evaluate a script on top of what was run before, and give what the ``encode`` entry makes of its value.

        First ``prepare`` goes to the entry of that name. After ``wall`` seconds the guest is stopped softly, ``grace``
        later hard; ``None``: it has no end. With ``keep`` the state before it is remembered, for ``kept``.
        """
        frame = Frame.take()
        frame.code(code, prepare, top_await=top_await, keep=keep)
        return frame.cross(_c.clo_wasm_eval, self.handle, wall, grace, calls, self)

    def tell(self, text: bytes, *, wall: float | None, grace: float = GRACE, keep: bool = False) -> Outcome:
        """Give a text to a component that was linked into one module, and take its answer; else as ``run``."""
        frame = Frame.take()
        frame.code(text, keep=keep)
        return frame.cross(_c.clo_wasm_tell, self.handle, wall, grace, None, self)

    def invoke(
        self,
        handle: int,
        args: Sequence[bytes | None] = (),
        *,
        wall: float | None,
        grace: float = GRACE,
        calls: Calls | None = None,
    ) -> Outcome:
        """Call a function that was minted, with texts, ``None`` for undefined. Raises ValueError for over 8 of them."""
        frame = Frame.take()
        frame.texts(handle, args)
        return frame.cross(_c.clo_wasm_invoke, self.handle, wall, grace, calls, self)

    def resume(self, *, wall: float | None, grace: float = GRACE, calls: Calls | None = None) -> Outcome:
        """Run the jobs that wait, and ask the ``poll`` entry."""
        return Frame.take().cross(_c.clo_wasm_resume, self.handle, wall, grace, calls, self)

    def stop(self, grace: float = GRACE) -> None:
        """End what runs: softly now, hard after ``grace`` seconds. From any thread; harmless if nothing runs."""
        with self._lock:
            if self._handle is not None:
                _c.clo_wasm_stop(self._handle, nanoseconds(grace))

    # ---- Deltas. ----

    def delta(self) -> bytes:
        """Give the pages that differ from the mold's image, for ``Mold.restore``. Raises ValueError without one."""
        needed = _c.clo_wasm_delta(self.handle, _ffi.NULL, 0)
        if needed < 0:
            raise ValueError("a state can only be saved against the image of a template")
        room = _ffi.new("char[]", needed)
        _c.clo_wasm_delta(self.handle, room, needed)
        return bytes(_ffi.buffer(room, needed))

    def keep(self) -> None:
        """Remember the state as it is now, for ``kept``. Raises ValueError without an image."""
        if _c.clo_wasm_keep(self.handle):
            raise ValueError("a state can only be kept against the image of a template, and if there is memory for it")

    def kept(self) -> bytes:
        """Give the state that was remembered last, for ``Mold.revive``, also when it is dead; b"": none was."""
        size = _ffi.new("size_t *")
        kept = _c.clo_wasm_kept(self.handle, size)
        return bytes(_ffi.buffer(kept, size[0])) if size[0] else b""

    def rest(self) -> int:
        """Give back the memory that it can have again, and forget what was kept; give how many bytes that were.

        Nothing of its state is lost. To be called before it waits for long: what is given back is a page fault later.
        """
        return max(0, int(_c.clo_wasm_rest(self.handle)))

    def packed(self) -> bytes:
        """Give the state as it is now, for ``Mold.revive``; it is kept too. Raises ValueError as ``keep``."""
        self.keep()
        return self.kept()

    def shrunk(self) -> bytes:
        """Give what ``packed`` does, made small by ``cloche_native.words``."""
        self.keep()
        size = _ffi.new("size_t *")
        kept = _c.clo_wasm_kept(self.handle, size)
        return shrink(_ffi.buffer(kept, size[0]))
