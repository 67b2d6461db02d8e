"""The committed page tells of all that is tried here, and of nothing that went wrong."""

from __future__ import annotations

from pathlib import Path

from tests.behaviour import atomics
from tests.behaviour.classic import ESCAPES
from tests.behaviour.evasion import EVASIONS
from tests.behaviour.work import WORK

TEXT = (Path(__file__).parents[2] / "docs" / "behaviour-suite.md").read_text(encoding="utf-8")
OWN = atomics.corpus(Path(__file__).parent / "attacks.json")


def test_the_page_names_every_attack_work_way_round_and_escape() -> None:
    names = [one.name for one in OWN] + [one.what for one in WORK] + [one.id for one in (*EVASIONS, *ESCAPES)]
    assert [name for name in names if f"| {name} |" not in TEXT] == [], "write it anew: see tests/behaviour/page.py"


def test_the_page_tells_of_no_attack_that_was_missed() -> None:
    rows = [row for row in TEXT.splitlines() if "| must_detect | missed |" in row]
    assert rows == []


def test_no_rule_names_a_test_of_the_corpus() -> None:
    from cloche_rules import cloche_rules  # noqa: PLC0415 - the rules are wanted here alone

    texts = [repr((rule.where, rule.after)).lower() for rule in cloche_rules()]
    assert [text for text in texts if any(word in text for word in ("atomic", "redcanary", "art-fish"))] == []
