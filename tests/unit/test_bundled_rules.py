"""The rules that come with cloche: each says what it is, and holds to its examples; none names a test of a corpus."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cloche import Condition, Rule, Severity
from cloche.rules.compile import compiled
from cloche.rules.condition import All, AnyOf, Compare, Not
from cloche.rules.severity import Threshold
from cloche.rules.surroundings import Surroundings
from cloche.testing import assert_rule
from cloche_native import rules as native
from cloche_rules.every import RULES
from cloche_rules.page import page
from cloche_rules.words import TAGS

ROOT = Path(__file__).parents[2]
LOOKS = {"stat", "access", "readlink", "chdir"}
READS = {"open", "read", "list"}
FIRST = ("path-traversal", "high-frequency-access", "permission-escalation", "suspicious-symlink", "mount-operation")

each = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)


def acts(rule: Rule) -> set[str]:
    steps = rule.after.steps if rule.after else ()
    return {act.value for act in rule.events.union(*(step.events for step in steps))}


def values(condition: Condition) -> list[str]:
    match condition:
        case All(parts) | AnyOf(parts):
            return [value for part in parts for value in values(part)]
        case Not(part):
            return values(part)
        case Compare():
            return [str(value) for value in condition.values]
    raise AssertionError(condition)


def test_there_are_many_rules_each_with_an_id_of_its_own_and_the_first_five_among_them() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids) >= 60
    assert set(FIRST) <= set(ids)


@each
def test_a_rule_says_what_it_finds_and_what_to_do_instead(rule: Rule) -> None:
    assert rule.message
    assert rule.hint
    assert rule.attack
    assert rule.tags
    assert rule.tags <= set(TAGS), "a tag without a meaning"


@each
def test_a_rule_holds_to_its_examples_of_which_one_at_least_is_an_honest_look_alike(rule: Rule) -> None:
    assert_rule(rule)


@each
def test_a_number_of_attack_is_one_of_2026(rule: Rule) -> None:
    assert all(re.fullmatch(r"T1\d{3}(\.0\d{2})?", number) for number in rule.attack)
    assert not any(number.startswith("T1562") for number in rule.attack), "T1562 became T1685, T1686, T1689 and T1690"


@each
def test_a_rule_is_about_what_is_done_and_never_about_a_test(rule: Rule) -> None:
    steps = rule.after.steps if rule.after else ()
    texts = [rule.id, *values(rule.where), *(value for step in steps for value in values(step.where))]
    named = [
        text
        for text in texts
        if re.search(r"T1\d{3}|atomic|red ?team|persistevil|evil|libprocesshider|diamorphine", text, re.IGNORECASE)
    ]
    assert named == []


@each
def test_reading_is_watched_only_for_rules_that_say_so_and_looking_for_none(rule: Rule) -> None:
    assert not acts(rule) & LOOKS
    assert bool(acts(rule) & READS) == ("reads" in rule.tags)


@each
def test_what_is_refused_is_grave(rule: Rule) -> None:
    assert rule.mode == "observe" or rule.severity >= Severity.HIGH
    assert rule.mode == "inline" or not rule.best_effort


@pytest.mark.parametrize("block", ["never", Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM], ids=str)
@pytest.mark.parametrize(
    "around",
    [
        Surroundings(),
        Surroundings(
            home="/root", writable=("/", "/workspace"), mounted=("/data",), sensitive=("/**/*.pem", "/srv/key")
        ),
        Surroundings(home="/", workspace="/w", writable=(), temporary=(), forbidden=("/srv/**",), read_only=("/usr",)),
    ],
    ids=["usual", "much", "little"],
)
def test_all_rules_fit_one_program_with_room_for_others(around: Surroundings, block: Threshold) -> None:
    specs = compiled(RULES, around, emulated=frozenset(), block=block, audit=False).specs
    assert len(specs) <= native.RULES_MAX // 2
    assert native.compile(specs).names == tuple(spec.name for spec in specs)


def test_what_python_is_left_to_ask_is_asked_of_few_programs_only() -> None:
    made = compiled(RULES, Surroundings(), emulated=frozenset(), block="never", audit=False)
    specs = {spec.name: spec for spec in made.specs}
    asked = [specs[name] for name, rest in made.rest.items() if rest.where is not None]
    assert [spec.name for spec in asked if not spec.paths and not spec.texts] == []


def test_the_page_is_made_from_the_rules() -> None:
    written = (ROOT / "docs" / "built-in-rules.md").read_text(encoding="utf-8")
    assert written == page(), "python -m cloche_rules.page > docs/built-in-rules.md"
