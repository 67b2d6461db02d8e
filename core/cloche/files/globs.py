"""Patterns over paths, matched in time that grows with the length of the path and never with its shape.

All patterns of a list run side by side as one automaton whose states are the bits of one integer: a pattern of n names
has n + 1 of them, and in state i its names before i are matched. A folder's state is made from its parent's by one
name, so whoever walks a tree matches each name once. Within a name the same is done with its characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from cloche import units
from cloche.errors import SpecError

PATTERNS_MAX: Final = 256
PATTERN_BYTES: Final = 4096
MAGIC: Final = frozenset("*?[")

_SINGLE: Final = re.compile(r"\[([^!^])\]")
_Range = tuple[str, str]


class Globs:
    """Some patterns as one automaton. Immutable; states are plain integers, 0 where nothing can match any more."""

    __slots__ = ("_covered", "_ends", "_masks", "_names", "_starts", "_wild", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        """Take patterns that ``check_glob`` accepts."""
        self.patterns = tuple(patterns)
        self._names: dict[str, int] = {}
        self._wild: int = 0
        self._starts = 0
        self._ends: list[int] = []
        magic: dict[str, int] = {}
        bit = 1
        for pattern in self.patterns:
            self._starts |= bit
            for name in _names(pattern):
                if name == "**":
                    self._wild |= bit
                elif MAGIC.isdisjoint(name):
                    self._names[name] = self._names.get(name, 0) | bit
                else:
                    magic[name] = magic.get(name, 0) | bit
                bit <<= 1
            self._ends.append(bit)
            bit <<= 1
        self._covered = sum(self._ends)
        self._masks = tuple((mask, _Name(name)) for name, mask in magic.items())

    @property
    def start(self) -> int:
        """The state of ``/``."""
        return self._settled(self._starts)

    def step(self, state: int, name: str) -> int:
        """Give the state of ``name`` in a folder whose state is ``state``. What is covered stays so."""
        if not state:
            return 0
        hit = state & self._names.get(name, 0)
        for mask, pattern in self._masks:
            if state & mask and pattern.matches(name):
                hit |= state & mask
        return self._settled(hit << 1 | state & (self._wild | self._covered))

    def walk(self, names: Iterable[str]) -> int:
        """Give the state of a path of these names."""
        state = self.start
        for name in names:
            state = self.step(state, name)
        return state

    def first(self, state: int) -> str | None:
        """Give the first pattern that covers a path of this state."""
        if not state & self._covered:
            return None
        return next((p for p, end in zip(self.patterns, self._ends, strict=True) if state & end), None)

    def awaited(self, state: int) -> str | None:
        """Give the first pattern that may cover something below a path of this state."""
        low = 1
        for pattern, end in zip(self.patterns, self._ends, strict=True):
            if state & ((end << 1) - low):
                return pattern
            low = end << 1
        return None

    def expected(self, state: int) -> set[str] | None:
        """Give the names that lead on from a folder of this state, or ``None`` if they can't be listed."""
        if state & (self._wild | self._covered) or any(state & mask for mask, _ in self._masks):
            return None
        return {name for name, mask in self._names.items() if state & mask}

    def _settled(self, state: int) -> int:
        """Any number of names may be none: a state that waits at ``**`` waits behind it too."""
        return state | (state & self._wild) << 1


class _Name:
    """One name of a pattern, as an automaton over characters."""

    __slots__ = ("_any", "_characters", "_end", "_sets", "_stars")

    def __init__(self, pattern: str) -> None:
        self._characters: dict[str, int] = {}
        self._any = self._stars = 0
        sets: list[tuple[int, bool, Sequence[_Range]]] = []
        bit, at = 1, 0
        while at < len(pattern):
            match pattern[at]:
                case "*":
                    self._stars |= bit
                case "?":
                    self._any |= bit
                case "[":
                    negated, ranges, at = parse_set(pattern, at)
                    sets.append((bit, negated, ranges))
                case character:
                    self._characters[character] = self._characters.get(character, 0) | bit
            at += 1
            bit <<= 1
        self._end, self._sets = bit, tuple(sets)

    def matches(self, name: str) -> bool:
        state = 1 | (self._stars & 1) << 1
        for character in name:
            hit = state & (self._characters.get(character, 0) | self._any)
            for bit, negated, ranges in self._sets:
                if state & bit and any(low <= character <= high for low, high in ranges) != negated:
                    hit |= bit
            state = hit << 1 | state & self._stars
            state |= (state & self._stars) << 1
            if not state:
                return False
        return bool(state & self._end)


def check_glob(value: str, what: str) -> str:
    """Give ``value`` if it is a pattern: an absolute, plain path whose names may be patterns. Raises ``SpecError``."""
    units.guest_path(units.text(value, what, most=PATTERN_BYTES), what)
    for name in value.split("/"):
        if "**" in name and name != "**":
            raise SpecError(f"{what}: {units.shown(value)}: '**' stands for whole names; write '*' within a name")
        at = 0
        while (at := name.find("[", at)) >= 0:
            try:
                at = parse_set(name, at)[2]
            except ValueError as error:
                raise SpecError(f"{what}: {units.shown(value)}: {error}; write '[[]' for a plain '['") from None
    return value


def plain(pattern: str) -> str | None:
    """Give the one path that a pattern covers with what is below it, or ``None`` if it may cover several.

    ``/a/**`` is the same as ``/a``, and ``[*]`` is a plain ``*``.
    """
    names = _names(pattern)
    if "**" in names:
        return None
    if any(not MAGIC.isdisjoint(_SINGLE.sub("", name)) for name in names):
        return None
    return "/" + "/".join(_SINGLE.sub(r"\1", name) for name in names)


def _names(pattern: str) -> list[str]:
    """Give the names of a pattern; of several ``**`` in a row one is enough, and at the end it adds nothing."""
    out: list[str] = []
    for name in pattern.split("/")[1:]:
        if name and not (name == "**" and out[-1:] == ["**"]):
            out.append(name)
    return out[:-1] if out[-1:] == ["**"] else out


def parse_set(name: str, at: int) -> tuple[bool, list[_Range], int]:
    """Give whether the set that begins at ``at`` is negated, its ranges, and where its ``]`` is.

    As in glob(7): a ``]`` that comes first is an ordinary character, a ``-`` first or last too.
    """
    first = at + 1
    negated = name[first : first + 1] in ("!", "^")
    first += negated
    end = name.find("]", first + 1)
    if end < 0:
        raise ValueError("a '[' without its ']'")
    ranges: list[_Range] = []
    while first < end:
        if first + 2 < end and name[first + 1] == "-":
            low, high = name[first], name[first + 2]
            if low > high:
                raise ValueError(f"the range {low}-{high} is empty")
            ranges.append((low, high))
            first += 3
        else:
            ranges.append((name[first], name[first]))
            first += 1
    return negated, ranges, end
