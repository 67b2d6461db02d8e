"""Rules that were compiled find just the events for which their conditions hold, whatever rules, box and events."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche import Act, Event, EventBatch
from cloche.errors import SpecError
from cloche.rules.compile import Compiled, compiled
from cloche.rules.condition import OPS, AnyOf, Compare, Condition, F
from cloche.rules.fields import FIELDS
from cloche.rules.holds import holds
from cloche.rules.rule import After, Count, Earlier, Rule
from cloche.rules.severity import Severity
from cloche.rules.surroundings import Surroundings
from cloche_native import events
from cloche_native import rules as native
from tests.native.drawn import chooser
from tests.native.reference_rules import Reference, key_of, latest_start

ACTS = (Act.OPEN, Act.RENAME, Act.SYMLINK, Act.EXEC, Act.CONNECT, Act.XATTR, Act.SETID, Act.MOUNT)
PATHS = (
    b"/etc/shadow", b"/etc", b"/", b"/w/x", b"/w//./x", b"/w/../etc/shadow", b"tmpfs", b"/home/[a]/.ssh/id_rsa",
    b"/w/etc/",    b"/a.b/..c/.d", b"/etcs/hshadow", b"/xetc/shadows", b"/X/Shadow", b"", b"",
)  # fmt: skip
ARGVS = (
    b"", b"sh\0", b"sh\0-c\0a b\0", b"a\0b\0", b"a b\0", b"a\0\0", b"\0", b"\0b\0", b"a\0b", b"ab\0ba\0", b"a b c\0d\0",
    b"xa\0ax\0", b"bax\0",
)  # fmt: skip
TARGETS = (*PATHS, b"../etc/shadow", b"192.0.2.1", b"security.capability", b"a b")
NUMBERS = (0, 1, 2, 6, 1 << 63, (1 << 64) - 1, 4095)
VALUES = (
    "/etc/shadow", "/etc/", "/etc", "/", "etc", "x", "shadow", "/w", "/w/x", "a", "b", "a b", " b", "b ", "a b c",
    "a b c d", "s", "..c", "/..", "//", "c/s", "w/", "/etc/s", "h", "sh", "-c", "tmpfs", "192.0.2.1", "ba", "guest",
    "openat", "", ".", "*", "[a]", "${workspace}", "${writable}/x", "${mounted}", "${home}/.ssh", "../etc/shadow", "é",
    "/a.b/..c", "security.",
)  # fmt: skip
GLOBS = (
    "*", "/**", "**/x", "/etc/*", "*a*", "a*", "*b", "a?b", "[a-c]*", "?", "/w/[!a]", "**/.ssh/**", "${workspace}/**",
    "sh", "a*b*",
)  # fmt: skip
HERE = Surroundings(home="/home/[a]", workspace="/w", writable=("/w", "/tmp"), sensitive=("/**/id_*",))


def happened(number: int, now: int) -> bytes:
    """Give one of very many records: a whole one is one draw."""
    one = chooser(number)
    act = one(ACTS)
    return events.pack(
        act=act.value, path=one(PATHS), resolved=one(PATHS), target=one(ARGVS if act is Act.EXEC else TARGETS),
        target_resolved=one(PATHS) if act in (Act.RENAME, Act.MOUNT) else b"", pid=one((0, 1)), exec=one((0, 1)),
        args=(one(NUMBERS), one(NUMBERS), one(NUMBERS)), flags=one((0, 0x200, 0x4000, 0x2000, 0x1F000)),
        result=one((-2, 0, 1)), source=one((0, 1, 2)), call=one((-1, 257, 4000)), time_ns=now,
    )  # fmt: skip


def batch_of(seed: int, length: int) -> bytes:
    chance, now, found = random.Random(seed), 1000, b""  # noqa: S311 - hypothesis chooses the seed
    for _ in range(length):
        now += chance.choice((0, 1, 1, 3, 10, 40, 200))
        found += happened(chance.getrandbits(96), now)
    return found


batches = st.builds(batch_of, st.integers(0, 2**32), st.integers(0, 40))


def every_act() -> bytes:
    """Give records of each act with each text in each place where one is looked at."""
    found = b""
    for act in ACTS:
        texts = set(ARGVS if act is Act.EXEC else TARGETS)
        for number, text in enumerate(sorted({*texts, *PATHS})):
            path = text if b"\0" not in text else b"/w/a"
            found += events.pack(
                act=act.value, path=path, resolved=PATHS[number % len(PATHS)], target=text if text in texts else b"",
                target_resolved=text if act is Act.EXEC else path if act in (Act.RENAME, Act.MOUNT) else b"",
                args=(NUMBERS[number % 7], NUMBERS[number % 5], NUMBERS[number % 3]), pid=number % 2, exec=number % 3,
                flags=(0, 0x200, 0x4000, 0x2000, 0x1F000)[number % 5], result=number % 3 - 2, source=number % 3,
                call=(-1, 257, 4000)[number % 3],
            )  # fmt: skip
    return found


ALL = every_act()
ALL_EVENTS = list(EventBatch(ALL))


@pytest.mark.parametrize("name", [name for name in FIELDS if "." not in name])
def test_each_comparison_finds_what_it_holds_of(name: str) -> None:
    number = FIELDS[name].kind in ("number", "flag")
    asked: list[Condition] = []
    for op in OPS:
        values = NUMBERS if number else {"glob": GLOBS, "matches": ("a.*b", "^s", "c$")}.get(op, VALUES)
        for value in values if op != "exists" else (None,):
            asked += meant(name, op, () if value is None else (value,))
    found = made(*(rule(id=f"r{number}", where=where) for number, where in enumerate(asked)))
    expected = [{f"r{number}" for number, where in enumerate(asked) if holds(where, one, HERE)} for one in ALL_EVENTS]
    wrong = [
        (asked[int(one[1:])], event.as_json())
        for event, names, right in zip(ALL_EVENTS, found_by(found, ALL), expected, strict=True)
        for one in names ^ right
    ]
    assert wrong == []
    assert any(expected) or name == "ancestors"  # of which nothing is known here


def meant(name: str, op: Any, values: tuple[Any, ...]) -> list[Condition]:  # noqa: ANN401 - as tried
    """Give the comparison and its opposite; nothing where it means nothing of this field or in this box."""
    try:
        asked = Compare(name, op, values)
        made(rule(where=asked))
    except SpecError:
        return []
    return [asked, ~asked]


@st.composite
def comparisons(draw: st.DrawFn) -> Condition:
    field = FIELDS[draw(st.sampled_from([name for name in FIELDS if "." not in name]))]
    number = field.kind in ("number", "flag")
    op = draw(st.sampled_from([op for op in OPS if op != "matches" or not number]))
    if op == "exists":
        return draw_or_none(field.name, op, ())
    choices = st.sampled_from(
        NUMBERS if number else GLOBS if op == "glob" else ("a.*b", "^s", "c$") if op == "matches" else VALUES
    )
    return draw_or_none(field.name, op, tuple(draw(st.lists(choices, min_size=1, max_size=3))))


def draw_or_none(field: str, op: Any, values: tuple[Any, ...]) -> Condition:  # noqa: ANN401 - as drawn
    """Give the comparison, or one that always holds where it can't be meant, of this field or in this box."""
    try:
        asked = Compare(field, op, values)
        holds(asked, next(iter(EventBatch(events.pack(act="open", path=b"/x")))), HERE)
        for act in ACTS:
            made(Rule(id="x", summary="x", severity=Severity.LOW, events=frozenset({act}), where=asked))
    except SpecError:
        return F.pid >= 0
    return asked


def made(*rules: Rule) -> Compiled:
    return compiled(rules, HERE, emulated=frozenset(), block="never", audit=False)


def joined(parts: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    some = st.lists(parts, min_size=1, max_size=4).map(lambda found: AnyOf(tuple(found)))
    return st.one_of(st.tuples(parts, parts).map(lambda two: two[0] & two[1]), some, parts.map(lambda one: ~one))


conditions = st.recursive(comparisons(), joined, max_leaves=8)
acts = st.one_of(st.just(frozenset(ACTS)), st.frozensets(st.sampled_from(ACTS), min_size=1))


def found_by(program: Compiled, batch: bytes) -> list[set[str]]:
    """Give for each event the rules that it matches, what Python is left to ask included."""
    numbered = dict(zip(events.offsets(batch), EventBatch(batch), strict=True))
    found: dict[int, set[str]] = {offset: set() for offset in numbered}
    for hit in native.compile(program.specs).state().judge(batch):
        for number in hit.rules:
            rest = program.rest[program.specs[number].name]
            if rest.where is None or holds(rest.where, numbered[hit.offset], HERE):
                found[hit.offset].add(rest.rule.id)
    return list(found.values())


@settings(max_examples=300)
@given(st.lists(st.tuples(acts, conditions), min_size=1, max_size=4), batches)
def test_a_compiled_rule_finds_what_its_condition_holds_of(
    asked: list[tuple[frozenset[Act], Condition]], batch: bytes
) -> None:
    rules = [
        Rule(id=f"r{number}", summary="x", severity=Severity.LOW, events=some, where=where)
        for number, (some, where) in enumerate(asked)
    ]
    expected = [{rule.id for rule in rules if met(event, rule.events, rule.where)} for event in EventBatch(batch)]
    assert found_by(made(*rules), batch) == expected


def met(event: Event, events_of: frozenset[Act], where: Condition) -> bool:
    return event.act in events_of and holds(where, event, HERE)


def native_only(asked: Condition) -> Condition:
    """Give the condition if C can ask all of it, of any act; else another."""
    try:
        made(rule(where=asked, count=Count(1, 1)))
    except SpecError:
        return (F.file.under("/etc") & ~(F.name == "shadow")) | (F.argv == "b") | (F.first == 2)
    return asked


def rule(**parts: Any) -> Rule:  # noqa: ANN401 - parts of any rule
    given: dict[str, Any] = {"id": "one", "summary": "x", "severity": Severity.LOW, "events": frozenset(ACTS)}
    return Rule(**given | parts)


times = st.sampled_from((10e-9, 40e-9, 150e-9))
keys = st.sampled_from(((), ("pid",), ("path",), ("exec", "act")))
counts = st.builds(Count, st.integers(0, 3), times, keys, keys)


@settings(max_examples=150)
@given(acts, conditions.map(native_only), counts, batches)
def test_a_rule_that_counts_does_so_over_all_its_ways_to_hold(
    some: frozenset[Act], where: Condition, count: Count, batch: bytes
) -> None:
    counted = [number for number, event in enumerate(EventBatch(batch)) if met(event, some, where)]
    records = [batch[at : at + record_size(batch, at)] for at in events.offsets(batch)]
    window = native.Window(count.limit, count.per, count.key, count.distinct)
    oracle = Reference([native.RuleSpec(name="one", acts=frozenset(ACTS), window=window)])
    over = [number for number in counted if oracle.judge(records[number])]
    found = found_by(made(rule(events=some, where=where, count=count)), batch)
    assert [number for number, names in enumerate(found) if names] == over


def record_size(batch: bytes, at: int) -> int:
    return int.from_bytes(batch[at : at + 4], sys.byteorder)


steps = st.builds(Earlier, acts, conditions.map(native_only))


@settings(max_examples=150)
@given(acts, conditions, st.lists(steps, min_size=1, max_size=3), times, keys, batches)
def test_a_rule_with_earlier_steps_finds_every_last_one(
    some: frozenset[Act],
    where: Condition,
    earlier: list[Earlier],
    within: float,
    key: tuple[Any, ...],
    batch: bytes,
) -> None:
    after = After(tuple(earlier), within, key)
    try:
        program = made(rule(events=some, where=where, after=after))
    except SpecError as error:
        if "native rules are too many" not in str(error):
            raise
        return
    histories: dict[object, list[tuple[int, tuple[bool, ...]]]] = {}
    expected = []
    for number, (event, record) in enumerate(zip(EventBatch(batch), events.iterate(batch), strict=True)):
        history = histories.setdefault(key_of(key, record), [])
        begun = latest_start(history, len(earlier) - 1, len(history)) if met(event, some, where) else None
        history.append((event.time_ns, tuple(met(event, step.events, step.where) for step in earlier)))
        if begun is not None and event.time_ns - begun <= round(within * 1e9):
            expected.append(number)
    assert [number for number, names in enumerate(found_by(program, batch)) if names] == expected
