"""Taking records out of a native thread's rings, and what its wrappers share."""

from __future__ import annotations

import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, Protocol, Self

from cloche_native import _lib
from cloche_native.matches import Match, parse
from cloche_native.rules import RULES_MAX, Program

__all__ = ["RING", "RING_MAX", "RING_MIN", "Ringed", "act_bits", "checked", "ring_size", "take_all"]

_ffi, _c = _lib.ffi, _lib.lib

RING: Final = 1 << 18
"""Bytes of a box's ring: some 1500 records. Pages of it that were never needed take no memory."""
RING_MIN: Final = 1 << 16
RING_MAX: Final = 1 << 30
_TAKE: Final = 1 << 16
_TAKE_MAX: Final = 1 << 22


def take_all(take: Callable[[Any, int], int]) -> bytes:
    """Take whole records by ``take(out, room)`` until there are none, or some 4 MB. Raises OSError."""
    found = bytearray()
    room = _ffi.new("uint64_t[]", _TAKE // 8)
    while len(found) < _TAKE_MAX:
        taken = checked(take(room, _TAKE))
        found += _ffi.buffer(room, taken)
        if taken <= _TAKE - _c.CLO_EVENT_MAX:  # not for want of room
            break
    return bytes(found)


def ring_size(ring: int) -> int:
    """Give a ring's size back; raises ValueError for what can't be one."""
    if not RING_MIN <= ring <= RING_MAX or ring & (ring - 1):
        raise ValueError(f"a ring has a power of two of bytes, {RING_MIN} to {RING_MAX}, not {ring}")
    return ring


def act_bits(acts: Iterable[int]) -> int:
    """Give a set of acts as bits; raises ValueError for a number that is none."""
    bits = 0
    for act in acts:
        if not 0 <= act < _c.CLO_ACTS:
            raise ValueError(f"there is no act {act}; they are numbered up to {_c.CLO_ACTS - 1}")
        bits |= 1 << act
    return bits


def checked(status: int, hints: Mapping[int, str] | None = None) -> int:
    """Give a status of C back, or raise OSError for a negative errno, with what ``hints`` say of it."""
    if status < 0:
        raise OSError(-status, (hints or {}).get(-status) or os.strerror(-status))
    return status


class _Thread(Protocol):
    """A native thread that puts what is taken here."""

    _boxes: weakref.WeakSet[Any]

    def close(self) -> None: ...


class Ringed(ABC):
    """One box on a native thread, with a ring, a bell, rules and what they matched.

    All methods may be called from several threads; ``close`` ends it for all.
    """

    _calls: ClassVar[str]
    """How the names of the functions in C begin that ask it."""
    _hints: ClassVar[Mapping[int, str]]
    """What is to be said of an errno."""
    _what: ClassVar[str]

    def __init__(self, handle: Any, thread: _Thread, *, own: bool) -> None:  # noqa: ANN401 - cffi has no types
        """Take what C made; with ``own`` the thread ends with it."""
        self._handle = _ffi.gc(handle, self._function("free"))
        self._thread = thread
        self._own = own
        self._thread._boxes.add(self)  # noqa: SLF001 - of this module
        self._closed = False
        self._lock = threading.Lock()  # nobody closes it while another looks

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def fileno(self) -> int:
        """Give a descriptor that is readable while there are records to take, or the status has changed."""
        with self._lock:
            return int(self._function("bell")(self._open()))

    def drain(self) -> bytes:
        """Take the records there are, whole ones, at most some 4 MB at once; never waits. Empty if there are none."""
        return self._take("take")

    def matches(self) -> list[Match]:
        """Take which rules matched which event, since the last time. Events are told of by their numbers."""
        return list(parse(self._take("take_matches")))

    def judge(self, program: Program | None) -> None:
        """Judge by these rules from now on, by none at None; what was counted for those before is forgotten."""
        with self._lock:
            pointer = _ffi.NULL if program is None else program.pointer
            checked(self._function("judge")(self._open(), pointer), self._hints)

    @abstractmethod
    def want(self, acts: Iterable[int]) -> None:
        """Have every record of these acts from now on, and of others only what a rule matched."""

    @abstractmethod
    def status(self) -> Any:  # noqa: ANN401 - each has its own
        """Give how it stands: among others ``records``, numbers given so far, and ``lost_matches``."""

    def matched(self, rules: int) -> list[int]:
        """Give how many events each of the first ``rules`` rules matched; exact, whatever became of the records."""
        if not 0 <= rules <= RULES_MAX:
            raise ValueError(f"there are at most {RULES_MAX} rules, not {rules}")
        counts = _ffi.new("uint64_t[]", max(1, rules))
        with self._lock:
            checked(self._function("matched")(self._open(), counts, rules), self._hints)
        return list(counts[0:rules])

    def close(self) -> None:
        """Let go of the box. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            _ffi.release(self._handle)
        self._thread._boxes.discard(self)  # noqa: SLF001 - of this module
        if self._own:
            self._thread.close()

    # -- inside -----------------------------------------------------------------------------------------------------

    @classmethod
    def _function(cls, name: str) -> Any:  # noqa: ANN401 - the same
        return getattr(_c, f"{cls._calls}_{name}")

    def _take(self, name: str) -> bytes:
        take = self._function(name)
        with self._lock:
            box = self._open()
            return take_all(lambda out, room: int(take(box, out, room)))

    def _open(self) -> Any:  # noqa: ANN401 - the same
        if self._closed:
            raise ValueError(f"this {self._what} is closed")
        return self._handle
