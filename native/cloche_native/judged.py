"""Names of rules by their numbers, which a program that was replaced gave in another order."""

from __future__ import annotations

from typing import NamedTuple

from cloche_native import rules

__all__ = ["JudgedNames"]


class _Judging(NamedTuple):
    """A program's names, and the record number after which it may have judged, and after which it surely did."""

    since: int
    surely: int
    names: tuple[str, ...]


class JudgedNames:
    """The programs that a guest was judged by, one after another. True once there was any."""

    def __init__(self) -> None:
        self._programs: list[_Judging] = []

    def __bool__(self) -> bool:
        return bool(self._programs)

    def add(self, since: int, surely: int, program: rules.Program | None) -> None:
        """Take a program that was put in place between the records of these two numbers."""
        self._programs.append(_Judging(since, surely, () if program is None else program.names))
        del self._programs[:-8]

    def of(self, number: int, numbers: tuple[int, ...]) -> tuple[str, ...]:
        """Give the names of the rules that the record of that number matched."""
        which = max((at for at, judging in enumerate(self._programs) if judging.since < number), default=0)
        judging = self._programs[which]
        # Between the two marks either program may have judged; a number that the newer has not is the older's.
        if number <= judging.surely and which and max(numbers, default=0) >= len(judging.names):
            judging = self._programs[which - 1]
        return tuple(judging.names[rule] for rule in numbers if rule < len(judging.names))
