"""An incident: a behaviour that was found, the evidence, and what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cloche.errors import SpecError
from cloche.incidents.match import ProcessFacts
from cloche.rules.severity import Severity


@dataclass(frozen=True, slots=True)
class Taken:
    """One response: its name, whether it was done, and why not, or what it would have done (``audit``)."""

    response: str
    done: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What happened in a sandbox, with the evidence as it was then. Its texts are a guest's: escape them to show them.

    ``message`` is escaped. ``str(incident)`` is one line that can be printed.
    """

    id: str
    """Unique on this machine."""
    sandbox: str
    sandbox_name: str | None
    rule: str
    rule_version: int
    severity: Severity
    """The rule's, or one more where an anomaly was found beside it."""
    time: float
    """Seconds since the epoch, of the act."""
    message: str
    hint: str = ""
    attack: tuple[str, ...] = ()
    event: Mapping[str, Any] = field(default_factory=dict)
    """The act that matched, as ``Event.as_json`` gives it."""
    before: tuple[Mapping[str, Any], ...] = ()
    """The last acts before it that were seen, oldest first."""
    process: tuple[ProcessFacts, ...] = ()
    """The process, its parent, and so on."""
    exec: int | None = None
    """Which program of the caller's it belongs to."""
    args: tuple[str, ...] = ()
    """The arguments of that program."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What the rule looked at, by name: why it matched."""
    count: int = 1
    """How many hits of the rule it stands for: those of one program are told once, and counted."""
    blocked: bool = False
    """Whether the act was refused."""
    audit: bool = False
    """Whether nothing was done because the rules only watch."""
    taken: tuple[Taken, ...] = ()
    """What was done, in order."""

    def as_json(self) -> dict[str, Any]:
        """Give all of it as plain data."""
        return {**asdict(self), "severity": str(self.severity)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Incident:
        """Give the incident of what ``as_json`` gave. Raises ``SpecError`` for what is none."""
        try:
            values = dict(data)
            values["severity"] = Severity.of(values["severity"], "incident: severity")
            for name in ("attack", "before", "args"):
                values[name] = tuple(values.get(name, ()))
            values["process"] = tuple(
                ProcessFacts(**{**facts, "args": tuple(facts.get("args", ()))}) for facts in values.get("process", ())
            )
            values["taken"] = tuple(Taken(**taken) for taken in values.get("taken", ()))
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise SpecError(f"incident: it is none: {type(error).__name__}: {error}") from None

    def __str__(self) -> str:
        """Give it in one line."""
        done = ", ".join(taken.response for taken in self.taken if taken.done)
        return f"{self.severity} {self.rule}: {self.message}" + (f" [{done}]" if done else "")
