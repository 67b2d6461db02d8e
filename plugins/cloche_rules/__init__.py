"""The behaviour rules that come with cloche, and rules made from lists of known bad things."""

from __future__ import annotations

from cloche import Rule, hookimpl


@hookimpl
def cloche_rules() -> list[Rule]:
    """Provide the rules of the modules beside this one; called when rules are first wanted."""
    from cloche_rules.every import RULES  # noqa: PLC0415 - a host without rules need not pay for making them

    return list(RULES)
