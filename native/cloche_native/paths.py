"""Paths as bytes, judged by their text alone: their normal form, and patterns of them. No file is looked at."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from cloche_native import _lib

__all__ = [
    "PATTERNS_BYTES", "PATTERNS_MAX", "PATTERN_MAX", "SETS_MAX", "PathCache", "Patterns", "PatternsInfo",
    "check_pattern", "normalise",
]  # fmt: skip

_ffi, _c = _lib.ffi, _lib.lib

PATTERN_MAX: Final = _c.CLO_PATTERN_MAX
"""Bytes of one pattern at most."""
PATTERNS_MAX: Final = _c.CLO_PATTERNS_MAX
"""Patterns of one ``Patterns`` at most."""
PATTERNS_BYTES: Final = _c.CLO_PATTERNS_BYTES
"""Bytes of all of them at most."""
SETS_MAX: Final = _c.CLO_PATTERN_SETS
"""Sets of one ``Patterns`` at most."""

_FAULTS: Final = {
    _c.CLO_PATTERN_EMPTY: "is empty",
    _c.CLO_PATTERN_LONG: f"has more than {PATTERN_MAX} bytes",
    _c.CLO_PATTERN_NUL: "has a NUL in it, which no path has",
    _c.CLO_PATTERN_RELATIVE: "begins neither with '/' nor with '**/'; for any depth write '**/' before it",
    _c.CLO_PATTERN_NOTHING: "has an empty component: a '/' at its end, or two in a row",
    _c.CLO_PATTERN_DOTS: "has a component '.' or '..', which no path in its normal form has",
    _c.CLO_PATTERN_STARS: "has '**' within a component; between two '/' it stands alone, else write '*'",
    _c.CLO_PATTERN_ESCAPE: "ends, or a component of it, with a lone backslash; write two for one",
    _c.CLO_PATTERN_CLASS: (
        "has a bad class: [...] needs an end, one byte at least, no '/', a backslash before '[' and ']', "
        "'!' and not '^' for others, and ranges upwards"
    ),
}


class PatternsInfo(NamedTuple):
    """What patterns became: automata and all their states, ``direct`` patterns matched one by one, bytes of memory."""

    patterns: int
    sets: int
    automata: int
    states: int
    direct: int
    bytes: int


class Patterns:
    r"""Sets of patterns, made ready to say which sets a path is in; immutable, for any number of threads.

    A pattern is components of bytes, each after a ``/``. ``*`` in a component is any bytes, ``?`` one, ``[a-z]`` one
    of these, ``[!a-z]`` one of the others, ``\x`` is x as it is. ``/a/**`` is ``/a`` and all below, ``**/a`` that at
    any depth, ``/a/**/b`` any number of components between, also none. Each is given with the number of its set.
    Raises ValueError for what is no pattern and says why, or for too many. ``states``: at most so many in one
    automaton, for less memory and more time a path; 0 is as many as do well.
    """

    def __init__(self, patterns: Iterable[tuple[bytes, int]], *, sets: int, states: int = 0) -> None:
        self._patterns = list(patterns)
        if not 0 < sets <= SETS_MAX:
            raise ValueError(f"sets must be from 1 to {SETS_MAX}, not {sets}")
        asked = _ffi.new("struct clo_pattern_asked[]", len(self._patterns))
        keep: list[Any] = []  # what the array points to must outlive the call
        for record, (text, number) in zip(asked, self._patterns, strict=True):
            if not 0 <= number < sets:
                raise ValueError(f"pattern {text[:100]!r} is of set {number}; there are {sets}, from 0")
            keep.append(_ffi.from_buffer(text))
            record.text, record.size, record.set = keep[-1], min(len(text), PATTERN_MAX + 1), number
        out, bad = _ffi.new("struct clo_paths **"), _ffi.new("uint32_t *")
        status = _c.clo_paths_build_within(asked, len(self._patterns), sets, states, out, bad)
        if status < 0:
            raise self._error(-status, bad[0])
        self.handle = _ffi.gc(out[0], _c.clo_paths_free)
        """What C calls ``struct clo_paths *``, for the other wrappers of this package."""
        self.words = (sets + 63) // 64
        """Words of 64 bits that a set of sets takes."""

    def match(self, path: bytes) -> frozenset[int]:
        """Give the numbers of the sets that an absolute path in its normal form is in; any other text is in none."""
        bits = _ffi.new("uint64_t[]", self.words)
        _c.clo_paths_match(self.handle, path, len(path), bits)
        return _numbers(bits, self.words)

    def info(self) -> PatternsInfo:
        """Give what the patterns became."""
        info = _ffi.new("struct clo_paths_info *")
        _c.clo_paths_info(self.handle, info)
        return PatternsInfo(info.patterns, info.sets, info.automata, info.states, info.direct, info.bytes)

    def _error(self, number: int, bad: int) -> Exception:
        if number == errno.EINVAL:
            return ValueError(_fault(self._patterns[bad][0]))
        if number == errno.E2BIG:
            return ValueError(
                f"{len(self._patterns)} patterns are too many, too long or too much together (from number {bad} on): "
                f"at most {PATTERNS_MAX}, of {PATTERNS_BYTES} bytes and 512 different classes in all"
            )
        return OSError(number, os.strerror(number))


class PathCache:
    """Patterns with a memory of the last few hundred paths, up to 122 bytes each; for one thread at a time."""

    def __init__(self, patterns: Patterns) -> None:
        handle = _c.clo_path_cache_new(patterns.handle)
        if handle == _ffi.NULL:
            raise MemoryError("there is no memory for a cache of paths")
        self._patterns = patterns  # must outlive the cache
        self._handle = _ffi.gc(handle, _c.clo_path_cache_free)

    def match(self, path: bytes) -> frozenset[int]:
        """Give what ``Patterns.match`` does."""
        bits = _ffi.new("uint64_t[]", self._patterns.words)
        _c.clo_path_cache_match(self._handle, path, len(path), bits)
        return _numbers(bits, self._patterns.words)

    def clear(self) -> None:
        """Forget all paths."""
        _c.clo_path_cache_clear(self._handle)


def check_pattern(text: bytes) -> None:
    """Raise ValueError, saying why, for what is no pattern (``Patterns`` has the grammar)."""
    message = _fault(text)
    if message:
        raise ValueError(message)


def normalise(base: bytes, path: bytes) -> tuple[bytes, bool]:
    """Give ``path``, looked up from the folder ``base`` if it is not absolute, as an absolute one in its normal form.

    That has no ``//``, ``.`` or ``..`` and no ``/`` at its end. The second is whether a ``..`` went above the root,
    where the kernel stays. ``x/..`` is taken away even where ``x`` is a link to elsewhere: only the text counts.
    """
    room = len(base) + len(path) + 2
    out, climbs = _ffi.new("char[]", room), _ffi.new("_Bool *")
    size = _c.clo_path_normalise(base, len(base), path, len(path), out, room, climbs)
    return bytes(_ffi.buffer(out, size)), bool(climbs[0])


def _fault(text: bytes) -> str:
    fault = _c.clo_pattern_fault(text, len(text))
    return f"pattern {text[:100]!r} {_FAULTS[fault]}" if fault else ""


def _numbers(bits: Any, words: int) -> frozenset[int]:  # noqa: ANN401 - cffi has no types
    whole = int.from_bytes(_ffi.buffer(bits, words * 8), sys.byteorder)
    return frozenset(number for number in range(words * 64) if whole >> number & 1)
