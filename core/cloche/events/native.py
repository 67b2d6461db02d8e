"""A source whose records a native thread makes, judged and counted there: what all such have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar

from cloche import units
from cloche.errors import SpecError
from cloche.events.acts import Act
from cloche.events.event import Origin
from cloche.events.source import EventSource, Matched
from cloche.rules.programs import program_of
from cloche_native import rules
from cloche_native.judged import JudgedNames
from cloche_native.matches import Match
from cloche_native.rings import Ringed


class NativeSource(EventSource):
    """Subclass it for a source that is one box of a native thread's."""

    answers: ClassVar[bool] = True
    """Whether it is asked before an act is done, so that what a rule answers is what the guest is told."""

    def __init__(self, native: Ringed, acts: frozenset[Act], origin: Origin) -> None:
        """Take the native side, a ``Supervisor`` or a ``Listener``, which ``close`` ends, and what it can tell of."""
        self.acts = self._wanted = acts
        self._native = native
        self._origin = origin
        self._own = frozenset[Act]()
        self._names = JudgedNames()
        self._unmatched = 0
        self._end: tuple[dict[Act, int], int] | None = None

    @staticmethod
    def program(specs: tuple[rules.RuleSpec, ...]) -> rules.Program | None:
        """Give what judges by these rules, each set of which is compiled once; ``None`` for none."""
        return program_of(specs) if specs else None

    @property
    def origin(self) -> Origin:
        """The box's id, this machine's clock and calls."""
        return self._origin

    @property
    def judges(self) -> bool:
        """Whether it was given rules."""
        return bool(self._names)

    def want(self, acts: Collection[Act]) -> None:
        """Have records of these acts only; the others may be looked at all the same."""
        self._wanted = self.wanted(acts)
        self._put_wishes()

    def keep(self, acts: frozenset[Act]) -> None:
        """Have records of these acts too, whoever wants them, as far as they are seen: for the host itself."""
        self._own = acts
        self._put_wishes()

    def change(self, acts: frozenset[Act]) -> None:
        """Tell of these acts at most from now on; what was wanted of others is so no more."""
        self.acts = acts
        self.want(self._wanted & acts)

    def judge(self, program: object) -> None:
        """Judge by these rules, or none, from now on, as far as their acts are seen."""
        if not isinstance(program, rules.Program | None):
            raise SpecError(f"judge: a cloche_native.rules.Program is needed, not {units.shown(program)}")
        if self._end is None:
            before = self._native.status().records
            self._native.judge(program)
            self._names.add(before, self._native.status().records, program)

    def matches(self) -> Sequence[Matched]:
        """Take what matched."""
        if self._end is not None or not self._names:
            return ()
        answer: Callable[[Match], int] = (lambda match: match.answer) if self.answers else lambda _: 0
        return [
            Matched(m.number, self._names.of(m.number, m.rules), answer(m), m.evidence.counted, m.evidence.lost)
            for m in self._native.matches()
        ]

    def unmatched(self) -> int:
        """Give how many matches found no room."""
        if self._end is None:
            self._unmatched = self._native.status().lost_matches
        return self._unmatched

    def counters(self) -> Mapping[Act, int]:
        """Give the native counters, which no full ring can falsify."""
        return self._counts()[0]

    def lost(self) -> int:
        """Give how many records won't be told."""
        return self._counts()[1]

    def close(self) -> None:
        """End the native side; the last counts stay."""
        if self._end is None:
            self._end = self._counts()
            self._native.close()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _counts(self) -> tuple[dict[Act, int], int]:
        return self._end if self._end is not None else self._counted()

    @abstractmethod
    def _counted(self) -> tuple[dict[Act, int], int]:
        """Give what ``counters`` and ``lost`` are now; not asked once it is closed."""

    def _put_wishes(self) -> None:
        if self._end is None:
            self._native.want(act.number for act in self._wanted | self._own)
