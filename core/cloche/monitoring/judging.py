"""Sources of this process's own making that judge acts before they are done."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloche import units
from cloche.errors import SpecError
from cloche.events.acts import Act
from cloche.events.source import Matched
from cloche.monitoring.made import HOST_ARGS, HOST_TEXTS, MadeSource
from cloche_native import events as wire

if TYPE_CHECKING:
    from cloche_native import rules


class JudgingSource(MadeSource):
    """A source whose acts pass rules: ``ask`` before one is done, then ``make`` and ``match`` with the answer.

    For who does acts in a guest's place, and so can refuse them. All but ``judge`` may be called in any thread.
    """

    def __init__(self, name: str, source: str, acts: frozenset[Act], *, sandbox: int, room: int | None = None) -> None:
        super().__init__(name, source, acts, sandbox=sandbox, **({} if room is None else {"room": room}))
        self._state: rules.State | None = None
        self._judged = frozenset[Act]()
        self._taking = threading.Lock()
        self._matches: list[Matched] = []

    @property
    def judges(self) -> bool:
        """Whether there are rules that acts must pass before they are done."""
        return self._state is not None

    @staticmethod
    def program(specs: tuple[rules.RuleSpec, ...]) -> rules.Program | None:
        """Give what judges by these rules, each set of which is compiled once; ``None`` for none."""
        from cloche.rules.programs import program_of  # noqa: PLC0415 - few sandboxes have any

        return program_of(specs) if specs else None

    def judge(self, program: object) -> None:
        """Judge every act by these rules, from now on."""
        from cloche_native import rules  # noqa: PLC0415 - few sandboxes have any

        if not isinstance(program, rules.Program | None):
            raise SpecError(f"judge: a cloche_native.rules.Program is needed, not {units.shown(program)}")
        looked = frozenset[str]() if program is None else program.acts()
        self._judged = frozenset(act for act in Act if act.value in looked)
        self._state = None if program is None else program.state()

    def matches(self) -> Sequence[Matched]:
        """Take what matched."""
        with self._taking:
            found, self._matches = self._matches, []
        return found

    def ask(
        self,
        act: Act,
        *,
        path: bytes = b"",
        resolved: bytes = b"",
        target: bytes = b"",
        target_resolved: bytes = b"",
        args: tuple[int, ...] = (),
        exec: int = 0,  # noqa: A002 - the field's name
        pid: int = 0,
        flags: int = 0,
    ) -> Matched | None:
        """Judge an act before it is done: what matched, with the answer; its number comes with ``match``."""
        state = self._state
        if state is None or act not in self._judged:
            return None
        most = wire.TEXT_MAX
        raw = wire.pack(
            act=act.number, source=self._source, number=1, time_ns=time.monotonic_ns(), sandbox=self._sandbox,
            flags=HOST_TEXTS | HOST_ARGS | flags, exec=exec, pid=pid, args=args, path=path[:most],
            resolved=resolved[:most], target=target[:most], target_resolved=target_resolved[:most],
        )  # fmt: skip
        for hit in state.judge(raw):
            why, names = hit.evidence, state.program.names
            return Matched(0, tuple(names[rule] for rule in hit.rules), hit.answer, why.counted, why.lost)
        return None

    def match(self, matched: Matched, number: int) -> None:
        """Tell of a match, whose record has this number."""
        with self._taking:
            self._matches.append(matched._replace(number=number))
        self.ring()
