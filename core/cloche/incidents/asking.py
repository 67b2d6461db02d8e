"""Matches that wait until a rule's own function was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from cloche.events.event import Event
from cloche.events.source import Matched

if TYPE_CHECKING:
    from cloche.incidents.evaluate import Evaluator
    from cloche.incidents.match import Context, ProcessFacts
    from cloche.incidents.seat import Seat
    from cloche.rules.rule import Rule

PENDING: Final = 1 << 16
"""How many wait; what comes beyond counts as if the function agreed."""
AT_ONCE: Final = 256


@dataclass(slots=True)
class Hit:
    """One match of one rule, on its way."""

    rule: Rule
    event: Event
    matched: Matched
    seat: Seat
    family: tuple[ProcessFacts, ...] | None = None
    digest: str | None = None


class Asking:
    """Asks in the background, in order."""

    def __init__(
        self, evaluator: Evaluator, start_soon: Callable[..., None], *, context: Callable[[Hit], Context],
        agreed: Callable[[Hit], object], failed: Callable[[Rule, str], None],
        digest: Callable[[str], Awaitable[str | None]],
    ) -> None:  # fmt: skip
        """Take what makes a context, what is called for each hit that is agreed to, and for a function that failed.

        ``digest`` gives that of a file of the box.
        """
        self._evaluator = evaluator
        self._start_soon = start_soon
        self._context = context
        self._agreed = agreed
        self._failed = failed
        self._digest = digest
        self._pending: list[Hit] = []
        self._busy = False
        self._idle = anyio.Event()

    def ask(self, hit: Hit) -> None:
        """Ask about a hit, sooner or later."""
        if len(self._pending) >= PENDING:
            self._agreed(hit)
            return
        self._pending.append(hit)
        if not self._busy:
            self._busy, self._idle = True, anyio.Event()
            self._start_soon(self._ask)

    async def settled(self) -> None:
        """Wait until all has been asked that is to be asked by now."""
        while self._busy:
            await self._idle.wait()

    async def _ask(self) -> None:
        try:
            while self._pending:
                some, self._pending = self._pending[:AT_ONCE], self._pending[AT_ONCE:]
                for hit in some:
                    path = hit.event.resolved or hit.event.path
                    if hit.rule.digest and path is not None:
                        hit.digest = await self._digest(path)
                answers, failed = await self._evaluator.agreed([self._context(hit) for hit in some])
                for hit, agrees in zip(some, answers, strict=True):
                    if agrees:
                        self._agreed(hit)
                for rule, why in failed:
                    self._failed(rule, why)
        finally:
            self._busy = False
            self._idle.set()
