"""One crossing into a guest: what it needs, kept for the next one. Of ``cloche_native.wasm``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from cloche_native import _lib
from cloche_native.wasm_values import ENDS, Asked, Calls, Outcome, StartError

if TYPE_CHECKING:
    from cloche_native.wasm_instance import Instance

_ffi, _c = _lib.ffi, _lib.lib

GRACE: Final = 0.25
"""Seconds between a soft end and a hard one."""
_ROOM: Final = 16384
_LONG: Final = 1 << 62
_DONE, _EXITED = _c.CLO_WASM_DONE, _c.CLO_WASM_EXITED
_AWAIT, _KEEP, _TICKS = _c.CLO_WASM_AWAIT, _c.CLO_WASM_KEEP, _c.CLO_WASM_TICKS
_spare: list[Frame] = []


def nanoseconds(seconds: float) -> int:
    """Give a time in nanoseconds, at least 1. Raises ValueError for one below 0, or none at all."""
    if not seconds >= 0:
        raise ValueError(f"a time is a number of seconds from 0, not {seconds}")
    return max(1, int(min(seconds * 1e9, _LONG)))


def refuse(status: int, message: Any = None) -> NoReturn:  # noqa: ANN401 - cffi has no types
    """Raise for a crossing that did not take place."""
    text = _ffi.string(message).decode(errors="replace") if message is not None else ""
    if status == _c.CLO_WASM_NOT_STARTED:
        raise StartError(f"the instance can't be made: {text}")
    if status == _c.CLO_WASM_NO_HOST_MEMORY:
        raise MemoryError("no memory for an instance")
    if status == _c.CLO_WASM_BUSY:
        raise RuntimeError("this instance runs already: it is for one thread, and one call, at a time")
    if status == _c.CLO_WASM_STACK_SMALL:
        raise RuntimeError("this thread has less stack than the guest may use: start it after threading.stack_size")
    raise RuntimeError(f"this module can't be used so: {text}")


class Frame:
    """A struct clo_wasm_run and room for its text; taken from those that are spare, and given back by ``cross``."""

    __slots__ = ("_asked", "_handle", "_kept", "_room", "run")

    def __init__(self) -> None:
        """Make one."""
        self.run: Any = _ffi.new("struct clo_wasm_run *")
        self._room: Any = _ffi.new("char[]", _ROOM)
        self._kept: list[Any] = []
        self._asked = Asked()
        self._handle: Any = _ffi.new_handle(self._asked)
        self.run.room, self.run.room_size = self._room, _ROOM
        self.run.python = self._handle

    @classmethod
    def take(cls) -> Frame:
        """Give a spare one, or a new one."""
        try:
            frame = _spare.pop()
        except IndexError:
            return cls()
        run = frame.run
        run.code = run.before = _ffi.NULL
        run.flags = run.count = 0
        return frame

    def code(self, code: bytes, before: bytes | None = None, *, top_await: bool = False, keep: bool = False) -> None:
        """Say what to evaluate."""
        run = self.run
        data = _ffi.from_buffer(code)
        self._kept.append(data)
        run.code, run.code_size = data, len(code)
        if before is not None:
            data = _ffi.from_buffer(before)
            self._kept.append(data)
            run.before, run.before_size = data, len(before)
        run.flags = (_AWAIT if top_await else 0) | (_KEEP if keep else 0)

    def texts(self, handle: int, texts: Sequence[bytes | None]) -> None:
        """Say what to call, and with what."""
        run = self.run
        if len(texts) > _c.CLO_WASM_TEXTS:
            raise ValueError(f"a function of a guest takes at most {_c.CLO_WASM_TEXTS} texts, not {len(texts)}")
        run.handle, run.count = handle, len(texts)
        for at, text in enumerate(texts):
            data = _ffi.NULL if text is None else _ffi.from_buffer(text)
            self._kept.append(data)
            run.texts[at].text, run.texts[at].size = data, 0 if text is None else len(text)

    def cross(  # noqa: PLR0917 - one caller each, and microseconds count
        self,
        function: Callable[[Any, Any], int],
        subject: Any,  # noqa: ANN401 - cffi has no types
        wall: float | None,
        grace: float,
        calls: Calls | None,
        instance: Instance | None = None,
    ) -> Outcome:
        """Do it. Raises what a callback raised that ends a run, and RuntimeError if it did not take place."""
        run = self.run
        run.wall, run.grace = 0 if wall is None else nanoseconds(wall), nanoseconds(grace)
        if threading.get_ident() == threading.main_thread().ident:
            run.flags |= _TICKS
        asked = self._asked
        asked.calls, asked.instance = calls, instance
        try:
            status = function(subject, run)
            if asked.ended is not None:
                raise asked.ended
            if status >= len(ENDS):
                refuse(status, run.message)
            text = None
            if status == _DONE:
                text = _ffi.buffer(run.large or run.room, run.size)[:]
            detail = "" if run.message[0] == b"\0" else _ffi.string(run.message).decode(errors="replace")
            number = run.exit_code if status == _EXITED else run.handle
            return Outcome(
                ENDS[status], text, not run.raised, bool(run.interrupted), run.memory, run.calls, detail, asked.raised,
                number,
            )  # fmt: skip
        finally:
            if run.large:
                _c.clo_wasm_forget(run)
            self._kept.clear()
            asked.calls = asked.instance = asked.raised = asked.ended = None
            _spare.append(self)
