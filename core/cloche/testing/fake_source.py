"""What the programs of a ``FakeRuntime`` do, as far as they say so themselves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cloche.events.acts import Act
from cloche.monitoring.judging import JudgingSource
from cloche.monitoring.life import ACTS as LIFE
from cloche.rules.programs import program_of

if TYPE_CHECKING:
    from cloche.monitor import Monitor
    from cloche.spec import Spec


class FakeSource(JudgingSource):
    """The source ``guest`` of a fake box, fed by ``Guest.does``. It breaks, loses or is overloaded when told to."""

    def __init__(self, spec: Spec, vetoes: frozenset[Act] = frozenset(Act)) -> None:
        super().__init__("guest", "guest", spec.monitor.told - LIFE, sandbox=spec.number, room=spec.monitor.ring)
        self._broken: Exception | None = None
        self._vetoes = vetoes
        self._rules = spec.monitor.rules
        if self._rules:
            self.judge(program_of(self._rules))

    def does(self, act: Act, number: int, *texts: str, result: int) -> int:
        """Make the record of an act of the program of that number; give what it is answered."""
        path, target = ([os.fsencode(text) for text in texts] + [b"", b""])[:2]
        matched = self.ask(act, path=path, resolved=path, target=target, exec=number)
        if matched is not None and act not in self._vetoes:
            matched = matched._replace(answer=0)
        if matched is not None and matched.answer:
            result = matched.answer
        record = self.make(
            act, path=path, resolved=path, target=target, exec=number, result=result, matched=matched is not None,
            denied=matched is not None and matched.answer != 0,
        )  # fmt: skip
        if matched is not None:
            self.match(matched, record)
        return result

    def change(self, monitor: Monitor) -> None:
        """Tell of what this monitor tells at most, and judge by its rules."""
        if monitor.rules != self._rules:
            self._rules = monitor.rules
            self.judge(program_of(self._rules) if self._rules else None)
        self.acts = monitor.told - LIFE
        self.chosen &= self.acts

    def drain(self) -> bytes:
        """Give the records that there are; raise what it was told to fail with."""
        if self._broken is not None:
            raise self._broken
        return super().drain()

    def break_down(self, error: Exception) -> None:
        """Fail from now on."""
        self.ring()
        self._broken = error

    def go_blind(self) -> None:
        """See nothing any more."""
        self.blind = True
        self.ring()

    def overload(self) -> None:
        """Say that the guest waits, and nothing helps."""
        self.overloaded = True
        self.ring()
