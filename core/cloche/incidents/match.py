"""One hit of a rule, as the rule's own function and those who respond see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloche.events.event import Event
    from cloche.rules.rule import Rule
    from cloche.rules.surroundings import Surroundings


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One process of the guest as far as it is known; its pid is the host's, its texts are the guest's and hostile."""

    pid: int
    parent: int | None = None
    exe: str | None = None
    args: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        """The last component of its program."""
        return None if self.exe is None else self.exe.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Context:
    """What ``Rule.evaluate`` is given: an event that passed all that C could ask."""

    rule: Rule
    event: Event
    around: Surroundings
    process: ProcessFacts | None = None
    ancestors: tuple[ProcessFacts, ...] = ()
    """Its parent first."""
    counted: int = 0
    """How many events the rule's count saw."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the caller noted with the sandbox."""
    digest: str | None = None
    """SHA-256, in lower-case hex, of the file that the act is on: for a rule that asks for it by ``digest``.

    It is read after the act, so a guest that is quick can have changed the file; ``None`` if it is gone, is no regular
    file, has over 256 MiB, or lies where the host can't look.
    """
