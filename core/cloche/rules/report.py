"""What a report says of behaviour rules: how many judge, which of them may refuse, and what can get round them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cloche.enforcement import Enforced, Kept, Partial, Unenforced

if TYPE_CHECKING:
    from cloche.rules.compile import Compiled
    from cloche.rules.rule import Rule
    from cloche.rules.ruleset import Rules

NAMED_MAX: Final = 4
"""Rules that are named; of more, how many there are."""


def judged(kept: Kept, asked: Rules, rules: Sequence[Rule], compiled: Compiled) -> Kept:
    """Give what is kept of rules, where ``kept`` is what the runtime says of judging at all."""
    if isinstance(kept, Unenforced):
        return kept
    answering = dict.fromkeys(compiled.rest[spec.name].rule.id for spec in compiled.specs if spec.answer)
    refusing = tuple(name for name in answering if name not in compiled.contained | compiled.kept)
    said = f"{len(rules)} rule{'s' * (len(rules) != 1)}, "
    said += f"of which may refuse: {_some(refusing)}" if refusing else "of which none refuses"
    said += "; they only tell" * asked.audit
    if compiled.kept:
        said += f"; what others would refuse the policy's paths keep from the guest: {_some(sorted(compiled.kept))}"
    mechanism = f"{kept.mechanism}; {said}"
    caveats = [kept.caveat] if isinstance(kept, Partial) else []
    caveats += compiled.caveats if len(compiled.caveats) <= 1 else [_in_short(compiled.caveats)]
    if compiled.contained:
        caveats.append(
            f"this runtime can't refuse acts: one that matches is done and the sandbox then paused, "
            f"by {_some(sorted(compiled.contained))}"
        )
    return Partial(mechanism, "; ".join(caveats)) if caveats else Enforced(mechanism)


def _some(ids: Sequence[str]) -> str:
    more = len(ids) - NAMED_MAX
    return ", ".join(ids[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _in_short(caveats: Sequence[str]) -> str:
    return (
        f"{len(caveats)} rules refuse by what the guest claims, which two threads can get round "
        "(`cloche rules show ID` tells which they are)"
    )
