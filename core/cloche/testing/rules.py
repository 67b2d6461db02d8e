"""A check for authors of rules: every example comes out as it says."""

from __future__ import annotations

from cloche.rules.examples import failures
from cloche.rules.rule import Rule


def assert_rule(rule: Rule) -> None:
    """Run all examples of a rule; it must have one that matches at least, and one that does not.

    Raises ``AssertionError`` that names every example which comes out otherwise.
    """
    assert isinstance(rule, Rule), f"a cloche.Rule is needed, not {rule!r:.80}"
    for match, what in ((True, "matches"), (False, "does not match")):
        assert any(example.match is match for example in rule.examples), f"rule {rule.id}: no example {what}; give one"
    found = failures(rule)
    assert not found, "\n".join(f"rule {one.rule}: example {one.number}: {one.why}" for one in found)
