"""The judge of rules in C: the same as the plain reading for any rules and any batch, however it is cut."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloche_native import events, rules
from cloche_native.rule_blob import FIELDS, KEYS, OPS, TEXTS
from tests.native.drawn import chooser
from tests.native.reference_rules import Hit, Reference

ACTS = ("open", "create", "symlink", "exec", "connect")
PATHS = (
    b"/etc/shadow", b"/etc/passwd", b"/home/u/.ssh/id_rsa", b"/w/x", b"/w//./x", b"/w/../etc/shadow", b"/", b"/w/",
    b"/etc/../../etc/shadow", b"/w/..x", b"relative", b"/a/very/long/one/that/fills/some/words/of/eight/.hidden",
)  # fmt: skip
PATTERNS = (b"/etc/shadow", b"/etc/**", b"**/.ssh/id_*", b"/w/*", b"/w", b"/", b"**/x", b"/home/?/**", b"/relative")
TARGETS = (*PATHS, b"", b"../etc/shadow", b"192.0.2.1")
ARGVS = (b"", b"sh\0-c\0x\0", b"\0", b"x\0\0", b"sh -c\0X", b"192.0.2.1")

GAPS = (0, 0, 1, 1, 3, 3, 10, 10, 40, 200, -5)
few = st.integers(0, 3)


def happened(number: int, now: int) -> bytes:
    """Give one of very many records: a whole one is one draw."""
    one = chooser(number)
    act = one(ACTS)
    return events.pack(
        act=act, path=one((*PATHS, b"")), resolved=one((*PATHS, b"")), pid=one((0, 1)), args=(one((0, 1, 2)),),
        target=one(ARGVS if act == "exec" else TARGETS), flags=one((0, 0x200, 0x4000)),
        exec=one((0, 1)), sandbox=one((0, 1)),
        source=one((0, 1, 2)), result=one((-2, -1, 0, 1)), time_ns=now,
        target_resolved=one((*PATHS, b"", b"/etc/shadow\0" if act == "exec" else b"")),
    )  # fmt: skip


def batch_of(seed: int, length: int) -> list[bytes]:
    """Give records with times that mostly go on by less than the windows under test, and now and then back."""
    chance, now, found = random.Random(seed), 1000, []  # noqa: S311 - hypothesis chooses the seed
    for _ in range(length):
        now = max(0, now + chance.choice(GAPS))
        found.append(happened(chance.getrandbits(60), now))
    return found


# Drawn by a seed, or hypothesis would mostly try batches of a few records, in which nothing is counted.
batches = st.builds(batch_of, st.integers(0, 2**32), st.integers(0, 60))
acts = st.one_of(st.just(frozenset(ACTS)), st.frozensets(st.sampled_from(ACTS), min_size=1))
two_keys = st.lists(st.sampled_from(sorted(KEYS)), max_size=2, unique=True).map(tuple)
keys = st.one_of(st.sampled_from(((), ("pid",), ("exec", "sandbox"))), two_keys)
times = st.sampled_from((10e-9, 40e-9, 150e-9))  # some are gaps, so that ends are met
tests = st.lists(
    st.builds(
        rules.Test, st.sampled_from(sorted(FIELDS)), st.sampled_from(sorted(OPS)),
        st.sampled_from((0, 1, 2, -1, 2**63)), st.sampled_from((-1, 1, 3)),
    ), max_size=2,
).map(tuple)  # fmt: skip
some_paths = st.lists(
    st.builds(
        rules.Paths, st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3).map(tuple),
        st.sampled_from(("in", "in", "none", "outside")),
        st.lists(st.sampled_from(sorted(TEXTS)), min_size=1, unique=True).map(tuple),
    ), max_size=2,
).map(tuple)  # fmt: skip
texts = st.lists(
    st.builds(
        rules.Text, st.sampled_from(("equal", "prefix", "suffix", "contains")),
        st.sampled_from((b"", b"/", b"/etc", b"x", b"sHadow", b"shadow", b"192.0.2.1", b"-c X", b"sh -", b" x")),
        st.sampled_from(sorted(TEXTS)), st.booleans(), st.booleans(),
    ) | st.builds(
        rules.Text, st.sampled_from(("equal", "prefix", "suffix", "contains")),
        st.sampled_from((b"", b" ", b"x", b"-c X", b"sh -", b" x", b"sh -c x")), st.just("target"), st.booleans(),
        st.booleans(), st.just(True),
    ), max_size=1,
).map(tuple)  # fmt: skip
eithers = st.one_of(
    tests.map(lambda some: rules.Either(some or (rules.Test("pid", "any"),))),
    st.tuples(some_paths, texts).map(lambda two: rules.Either(two[0] + two[1] or (rules.Text("equal", b"x"),))),
)
either = st.lists(eithers, max_size=2).map(tuple)
steps = st.builds(rules.Step, acts, st.just(()), st.one_of(st.just(()), some_paths))
windows = st.builds(rules.Window, st.integers(0, 5), times, keys, keys)
SHARED = (rules.Window(2, 40e-9, ("pid",), shared="a"), rules.Window(1, 40e-9, ("pid",), ("path",), shared="b"))
sequences = st.builds(rules.RuleSequence, st.lists(steps, min_size=1, max_size=3).map(tuple), times, keys)
grams = st.frozensets(st.tuples(*[st.sampled_from(ACTS)] * 3), max_size=20)
novelties = st.builds(rules.Novelty, st.just(3), st.integers(1, 9), grams, keys, times)


@st.composite
def specs(draw: st.DrawFn) -> list[rules.RuleSpec]:
    found = []
    for number in range(draw(st.integers(1, 5))):
        more: dict[str, Any] = draw(
            st.one_of(
                st.just({}), st.builds(dict, window=st.one_of(windows, st.sampled_from(SHARED))),
                st.builds(dict, sequence=sequences), st.builds(dict, novelty=novelties),
            )
        )  # fmt: skip
        more = more | draw(
            st.one_of(st.just({}), st.builds(dict, tests=tests, paths=some_paths, texts=texts, either=either))
        )
        found.append(
            rules.RuleSpec(
                name=f"rule {number}", acts=draw(acts), answer=draw(st.sampled_from((0, 0, 1, 13))), respond=draw(few),
                **more,
            )
        )  # fmt: skip
    return found


def plain(hit: rules.Hit) -> Hit:
    why = hit.evidence
    ends = why.times[:1] + why.times[-1:]
    return Hit(hit.offset, hit.rules, hit.rule, hit.answer, hit.respond, why.counted, ends)


BY_FOLDER = rules.RuleSpec(name="a", acts=frozenset(ACTS), window=rules.Window(0, 10e-9, (), ("dir",)))


@settings(max_examples=300)
@example([BY_FOLDER], batch_of(0, 7))  # an event in "/" and one without a path
@given(specs(), batches)
def test_any_rules_say_of_any_batch_what_the_plain_reading_says(
    asked: list[rules.RuleSpec], batch: list[bytes]
) -> None:
    program, reference = rules.compile(asked), Reference(asked)
    state = program.state()
    assert [plain(hit) for hit in state.judge(b"".join(batch))] == reference.judge(b"".join(batch))
    assert state.matches() == reference.matches
    assert not any(state.lost().values())


@settings(max_examples=100)
@given(specs(), batches, st.data())
def test_a_batch_that_is_cut_anywhere_gives_the_same(
    asked: list[rules.RuleSpec], batch: list[bytes], data: st.DataObject
) -> None:
    program = rules.compile(asked)
    whole, parts, cut = program.state(), program.state(), data.draw(st.integers(0, len(batch)))
    first, second = b"".join(batch[:cut]), b"".join(batch[cut:])
    again = parts.judge(first) + [hit._replace(offset=hit.offset + len(first)) for hit in parts.judge(second)]
    assert again == whole.judge(first + second)
    assert parts.matches() == whole.matches()


@given(specs())
def test_a_program_loaded_from_its_blob_is_the_same_program(asked: list[rules.RuleSpec]) -> None:
    program = rules.compile(asked)
    again = rules.Program(program.blob)
    assert again.acts() == program.acts() == frozenset().union(*(rule.acts for rule in asked), *(
        step.acts for rule in asked if rule.sequence for step in rule.sequence.steps
    ))  # fmt: skip
    assert again.acts("answered") == frozenset().union(*(rule.acts for rule in asked if rule.answer))
    assert again.acts("resolved") <= again.acts("paths") <= again.acts()
