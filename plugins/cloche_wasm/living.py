"""What the interpreters of every language share: an instance of a mold, kept states, and how its time is split."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from mmap import mmap
from typing import ClassVar, Final, Generic, TypeVar

from cloche import InterpreterSpec, Language, LiveInterpreter, Ran, SnapshotError, SpecError, StartError, StateError
from cloche_native import wasm
from cloche_wasm import saved
from cloche_wasm.engine import ADDRESSED

STOP_GRACE: Final = 0.05
"""Seconds, at most, that code which does not heed being asked to stop is given before it is ended hard."""
_WALL_GRACE: Final = 0.25
"""The same at the end of a run's time, of which it is a part: on a busy machine a thread may wait that long."""


class Molded(Language):
    """A language whose interpreters are instances of one mold. Sets ``spec``, ``template`` and ``_mold``."""

    magic: ClassVar[bytes]
    """Eight bytes that its snapshots begin with."""
    spec: InterpreterSpec
    _mold: wasm.Mold

    def opened(self) -> wasm.Instance:
        """Give a fresh instance. Raises ``StartError``."""
        return _made(self._mold.open)

    def revived(self, packed: bytes | bytearray | mmap) -> wasm.Instance:
        """Give an instance in a state that was kept. Raises ``DeltaError``, ``StartError``."""
        return _made(lambda: self._mold.revive(packed))

    def unsaved(self, snapshot: bytes) -> wasm.Instance:
        """Give an instance in the state of a snapshot. Raises ``SnapshotError``, ``StartError``."""
        state = saved.unpack(snapshot, self.template, self.magic, self._mold.memory)
        try:
            return self.revived(state)
        except wasm.DeltaError as error:
            raise SnapshotError(str(error)) from error

    def text(self, code: str) -> bytes | Ran:
        """Give code as UTF-8, or how it ends where it is too long. Raises ``SpecError`` for what is no text."""
        if not isinstance(code, str):
            raise SpecError(f"code is text, not {type(code).__name__}")
        try:
            text = code.encode()
        except UnicodeEncodeError as error:
            raise SpecError(f"the code is no Unicode text: {error}") from error
        most = self.spec.bounds.source
        return (
            text
            if len(text) <= most
            else Ran("limit:size", detail=f"the code has {len(text)} bytes, and may have {most}")
        )

    def crossing(self, variables: Mapping[str, object], pack: Callable[[dict[str, object]], str]) -> str:
        """Give variables as the guest takes them. Raises ``SpecError``, and what ``pack`` raises."""
        for name in variables:
            if not isinstance(name, str):
                raise SpecError(f"variables: a name is text, not {type(name).__name__}")
        packed = pack(dict(variables))
        if len(packed) > self.spec.bounds.value:
            raise SpecError(f"variables: they take {len(packed)} bytes, and {self.spec.bounds.value} may cross")
        return packed


_L = TypeVar("_L", bound=Molded)


class Living(LiveInterpreter, Generic[_L]):
    """One instance, that may be another after a run which had to be ended hard."""

    def __init__(self, language: _L, instance: wasm.Instance, *, keeps: bool) -> None:
        """Take the instance over. With ``keeps`` the state before each run is kept, to go back to."""
        self._language = language
        self._instance: wasm.Instance | None = instance
        self._keeps = keeps
        self._lock = threading.Lock()
        """Held to change or to look at which run is going on."""

    def memory(self) -> int:
        """Give the bytes of its linear memory, of which most are shared with others."""
        return 0 if self._instance is None else self._instance.memory

    def rest(self) -> None:
        """Give back the pages that are the template's once more."""
        if self._instance is not None:
            self._instance.rest()

    def snapshot(self) -> bytes:
        """Give what differs from the template."""
        return saved.pack(self._live().shrunk(), self._language.template, self._language.magic)

    def close(self) -> None:
        """Free the instance."""
        instance, self._instance = self._instance, None
        if instance is not None:
            instance.close()

    def _live(self) -> wasm.Instance:
        if self._instance is None:
            raise StateError("this interpreter is closed, or a run that had to be ended has broken it; open another")
        return self._instance

    def _roll_back(self, instance: wasm.Instance) -> bool:
        """Go back to the state before the run; where none was kept, there is no interpreter any more."""
        self._instance = None
        try:
            kept = instance.kept() if self._keeps else b""
            if kept:
                self._instance = self._language.revived(kept)
        finally:
            instance.close()
        return self._instance is not None


def memory_of(spec: InterpreterSpec) -> int:
    """Give the bytes of memory that one interpreter of a spec may have."""
    return min(spec.limits.memory or ADDRESSED, ADDRESSED)


def walls(seconds: float) -> tuple[float | None, float]:
    """Split seconds into those until code is asked to stop, and those until it is ended."""
    grace = min(_WALL_GRACE, max(seconds, 0.0) / 10)
    return (None if seconds == float("inf") else max(seconds - grace, 0.0)), grace


def _made(make: Callable[[], wasm.Instance]) -> wasm.Instance:
    try:
        return make()
    except wasm.StartError as error:
        raise StartError(f"no interpreter can be made: {error}") from error
