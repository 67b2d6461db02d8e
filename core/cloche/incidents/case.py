"""One incident while it goes on: counted up, answered, and given as it is now."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from cloche.incidents.incident import Incident, Taken
from cloche.incidents.telling import looked_at, message_of

if TYPE_CHECKING:
    from cloche.events.event import Event
    from cloche.incidents.match import ProcessFacts
    from cloche.rules.rule import Rule

TAKEN_MAX: Final = 64
"""How many of the things done about one incident are kept; the first ones stay."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What there is to show: the event, those before it, who did it."""

    event: Event | None = None
    before: Sequence[Event] = ()
    family: tuple[ProcessFacts, ...] = ()
    exec: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    """What is shown among the fields besides."""


class Case:
    """One incident: a rule, and the program that did what it finds."""

    def __init__(
        self, rule: Rule, evidence: Evidence, *, sandbox: str, name: str | None, args: Callable[[], tuple[str, ...]],
        audit: bool,
    ) -> None:  # fmt: skip
        self.rule = rule
        self.audit = audit
        self.count = 0
        self.blocked = False
        self.answering = False
        """Whether what stops the sandbox is being done for it."""
        self._taken: list[Taken] = []
        self._args = args
        event, family = evidence.event, evidence.family
        extra = "".join(f"; {name}: {value}" for name, value in evidence.details.items())
        self._first = Incident(
            id=secrets.token_hex(8), sandbox=sandbox, sandbox_name=name, rule=rule.id, rule_version=rule.version,
            severity=rule.severity, time=time.time() if event is None else event.time,
            message=(rule.summary if evidence.details else message_of(rule, event, family)) + extra, hint=rule.hint,
            attack=rule.attack, event={} if event is None else event.as_json(),
            before=tuple(other.as_json() for other in evidence.before), process=family,
            exec=evidence.exec or None,
            fields={**evidence.details, **({} if event is None else looked_at(rule, event, family))}, audit=audit,
        )  # fmt: skip

    @property
    def id(self) -> str:
        """The incident's."""
        return self._first.id

    @property
    def exec(self) -> int:
        """The number of the program, 0 for none."""
        return self._first.exec or 0

    def strange(self, what: Mapping[str, Any]) -> None:
        """Note that its program was strange: one level graver, once, and nothing more is done for it."""
        if "anomaly" not in self._first.fields:
            self._first = replace(
                self._first, severity=self._first.severity.raised(), fields={**self._first.fields, "anomaly": what}
            )

    def took(self, response: str, detail: str = "", *, done: bool) -> None:
        """Note what was done, or was not and why. The same said again is not noted twice."""
        taken = Taken(response, done, detail)
        if taken not in self._taken and len(self._taken) < TAKEN_MAX:
            self._taken.append(taken)

    def now(self) -> Incident:
        """Give it as it is now."""
        return replace(
            self._first, count=max(1, self.count), blocked=self.blocked, taken=tuple(self._taken),
            args=self._args() if self._first.exec else (),
        )  # fmt: skip
