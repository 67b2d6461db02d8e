"""TypeScript made JavaScript: types are taken out, enums and the like written out; nothing is checked.

The transformer is a WebAssembly program as well (OXC): it reads what a stranger wrote, in a memory of its own, under a
wall time. Its instances are used again, but for those that gave way or grew large.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import Final

import wasmtime

from cloche import SpecError, StartError
from cloche_native import wasm
from cloche_wasm import guests
from cloche_wasm.bridge import bridged, link
from cloche_wasm.cache import user_cache
from cloche_wasm.engine import STACK, engine
from cloche_wasm.text import one_line

SECONDS: Final = 5.0
"""How long one source may take."""
MEMORY: Final = 512 << 20
"""Bytes of memory that the transformer may take."""
SPARE: Final = 16 << 20
"""Bytes of memory with which one is kept for the next source: its memory never shrinks."""
_KEPT: Final = 256
_KEPT_MOST: Final = 32 << 10
"""How many answers are kept, and for sources of at most how many characters."""


class TypeScriptError(SpecError):
    """The source is no TypeScript, or more than the transformer can take; the message is one line and printable."""


class _Flag(IntFlag):
    SOURCE = 1 << 0
    STRIP = 1 << 8
    CONST_TO_VAR = 1 << 9


class _Status(IntEnum):
    DONE = 0
    UNCHANGED = 1
    BAD_INPUT = 2
    SYNTAX = 3
    FAILED = 4
    PANIC = 5


def to_javascript(source: str, *, name: str = "input.ts", session: bool = False) -> str:
    """Give ``source`` as JavaScript. ``name`` is for messages.

    ``session``: what ``const`` declares at the top level is declared by ``var``, so that a later piece may do it again.
    Raises ``TypeScriptError`` for what can't be read.
    """
    if len(source) > _KEPT_MOST:
        return _transformed(source, name, session=session)
    return _remembered(source, name, session=session)


def _transformed(source: str, name: str, *, session: bool) -> str:
    flags = _Flag.SOURCE | _Flag.STRIP | (_Flag.CONST_TO_VAR if session else 0)
    try:
        data, known_as = source.encode(), name.encode()
    except UnicodeEncodeError:
        raise TypeScriptError("the source holds half a character, which no file can: a lone surrogate") from None
    transformer = _spared() or _Transformer(_mold(MEMORY))
    answer = transformer.transform(data, known_as, flags)
    if transformer.memory <= SPARE:
        _spare.append(transformer)
    if isinstance(answer, TypeScriptError):
        raise answer
    return answer


_remembered = lru_cache(_KEPT)(_transformed)
_spare: list[_Transformer] = []
"""Those that are sound and that nobody uses: as many as were ever used at once."""


def _spared() -> _Transformer | None:
    try:
        return _spare.pop()
    except IndexError:
        return None


@lru_cache(1)
def _mold(memory: int) -> wasm.Mold:
    """Give what instances with so many bytes of memory are made of."""
    used = engine(STACK)
    module = user_cache().module(used, guests.read(guests.TRANSFORM), guests.TRANSFORM.name)
    linker = wasmtime.Linker(used.wasm)
    link(linker, module.imports)
    return wasm.Mold(bridged(used), linker.instantiate_pre(module), memory=memory)


class _Transformer:
    """An instance, for one thread at a time. Whoever gets an exception from it drops it."""

    def __init__(self, mold: wasm.Mold) -> None:
        try:
            self._instance = mold.open()
        except wasm.StartError as error:
            raise StartError(f"no transformer of TypeScript can be made: {error}") from error

    @property
    def memory(self) -> int:
        """Bytes of its memory."""
        return self._instance.memory

    def transform(self, source: bytes, name: bytes, flags: int) -> str | TypeScriptError:
        """Give the text, or what is wrong with the source. Raises ``TypeScriptError`` when it gave way itself."""
        try:
            return self._transform(source, name, flags)
        except wasm.Trap as trap:
            raise TypeScriptError(f"{one_line(name.decode())}: {_why(trap)}") from None

    def _transform(self, source: bytes, name: bytes, flags: int) -> str | TypeScriptError:
        names, sources = self._put(name), self._put(source)
        status = self._call("qjst_transform", names, len(name), sources, len(source), flags)
        if status == _Status.UNCHANGED:
            answer: str | TypeScriptError = source.decode()
        elif status == _Status.DONE:
            answer = self._taken("result")
        else:
            said = " ".join(self._taken("error").split()) or f"it can't be read (status {status})"
            answer = TypeScriptError(one_line(said.replace("source parse error in ", "", 1)))
            if status not in {_Status.BAD_INPUT, _Status.SYNTAX}:
                raise answer
        self._call("qjst_free", names, len(name))
        self._call("qjst_free", sources, len(source))
        self._call("qjst_result_free")
        return answer

    def _call(self, name: str, *given: int) -> int:
        answer = self._instance.call(name, *given, wall=SECONDS, grace=0)  # it can't be asked to stop
        return (answer or 0) & 0xFFFFFFFF

    def _put(self, data: bytes) -> int:
        at = self._call("qjst_alloc", len(data))
        if data and (not at or at + len(data) > self.memory):
            raise TypeScriptError(f"the source, of {len(data)} bytes, is more than the transformer can take")
        self._instance.write(at, data)
        return at

    def _taken(self, what: str) -> str:
        at, size = self._call(f"qjst_{what}_ptr"), self._call(f"qjst_{what}_len")
        try:
            return self._instance.read(at, size).decode(errors="replace")
        except IndexError:
            raise TypeScriptError("the transformer gave way") from None


def _why(trap: wasm.Trap) -> str:
    if trap.end == "stopped":
        return f"it takes more than {SECONDS:g} s to read"
    if trap.end == "stack" or "out of bounds" in trap.detail:  # of its second stack, which is memory
        return "it is nested too deeply"
    return "the transformer gave way, perhaps for memory"
