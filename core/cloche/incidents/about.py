"""What a judge knows of its sandbox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloche.events.event import Event
    from cloche.incidents.case import Case
    from cloche.incidents.evaluate import Evaluator
    from cloche.rules.rule import Rule
    from cloche.spec import Violation


@dataclass(frozen=True, slots=True)
class About:
    """What the judge knows of its sandbox, and whom it tells."""

    id: str
    name: str | None
    number: int
    metadata: Mapping[str, str]
    brought: Callable[[Rule], str]
    """Which plugin, or file, a rule is of."""
    args: Callable[[int], tuple[str, ...]]
    """The arguments of the program of that number."""
    start_soon: Callable[..., None]
    evaluator: Evaluator
    raised: Callable[[Case], None]
    """Answer a new incident."""
    again: Callable[[Case, int], None]
    """Answer one more hit of a known one, at that time (nanoseconds of CLOCK_MONOTONIC)."""
    changed: Callable[[Case], None]
    """Take a case that was counted up."""
    digest: Callable[[str], Awaitable[str | None]]
    """Give the SHA-256 of a file of the box, ``None`` if that can't be had."""
    explain: Callable[[Event], Violation | None] = lambda _: None
    """Say what of the policy refuses an act that one of its own rules found."""
