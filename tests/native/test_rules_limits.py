"""Rules at their limits: full tables, tests of distinct values, bad blobs and rules, many rules at once."""

from __future__ import annotations

import errno
import random
import threading
from typing import Any

import pytest

from cloche_native import events, rules

SECOND = 1_000_000_000
ANY: dict[str, Any] = {"acts": frozenset({"open"})}


def opened(path: bytes = b"/x", **fields: Any) -> bytes:  # noqa: ANN401 - of a record
    return events.pack(**{"act": "open", "path": path, **fields})


def judged(spec: rules.RuleSpec, *records: bytes, **sizes: int) -> tuple[list[rules.Hit], rules.State]:
    state = rules.compile([spec]).state(**sizes)
    return state.judge(b"".join(records)), state


def test_a_full_table_of_windows_counts_as_a_match_and_is_told() -> None:
    spec = rules.RuleSpec(name="often", window=rules.Window(limit=1000, per=1, key=("pid",)), **ANY)
    hits, state = judged(spec, *(opened(pid=pid) for pid in range(200)), windows=8)
    assert len(hits) == 192
    assert {hit.evidence.lost for hit in hits} == {True}
    assert dict(state.lost()) == {"windows": 192, "distinct": 0, "sequences": 0, "novelties": 0}
    later = [opened(pid=pid, time_ns=2 * SECOND) for pid in range(1000, 1008)]
    assert state.judge(b"".join(later)) == []


@pytest.mark.parametrize(
    ("more", "table"),
    [
        ({"window": rules.Window(9, 1, ("pid",), ("path",))}, "distinct"),
        ({"novelty": rules.Novelty(3, 9, frozenset(), ("pid",))}, "novelties"),
    ],
)
def test_the_other_tables_count_as_a_match_when_they_are_full(more: dict[str, Any], table: str) -> None:
    spec = rules.RuleSpec(name="more", **more, **ANY)
    hits, state = judged(spec, *(opened(pid=pid) for pid in range(20)), distinct=8, novelties=8)
    assert len(hits) == state.lost()[table] == 12


def test_a_first_step_that_found_no_room_makes_the_last_one_a_match_for_as_long_as_it_would_count() -> None:
    created = rules.Step(frozenset({"create"}))
    spec = rules.RuleSpec(name="drop", acts=frozenset({"exec"}), sequence=rules.RuleSequence((created,), 1, ("pid",)))
    program = rules.compile([spec])
    state = program.state(sequences=8)
    assert state.judge(b"".join(events.pack(act="create", pid=pid) for pid in range(9))) == []
    assert state.lost()["sequences"] == 1
    hits = state.judge(events.pack(act="exec", pid=8) + events.pack(act="exec", pid=77, time_ns=SECOND))
    assert [hit.evidence.lost for hit in hits] == [True, True]
    assert state.judge(events.pack(act="exec", pid=8, time_ns=SECOND + 1)) == []


def test_a_window_counts_all_of_its_time_and_at_most_a_seventh_more() -> None:
    chance, per = random.Random(5), 7000  # noqa: S311 - the same every time
    for _ in range(50):
        times = sorted(chance.randrange(40_000) for _ in range(chance.randrange(1, 60)))
        limit = chance.randrange(6)
        spec = rules.RuleSpec(name="often", window=rules.Window(limit, per / SECOND), **ANY)
        hits, _ = judged(spec, *(opened(time_ns=time) for time in times))
        found = {hit.offset // 104 for hit in hits}
        for number, now in enumerate(times):
            before = times[: number + 1]
            if sum(now - time < per for time in before) > limit:
                assert number in found
            if sum(now - time <= per * 8 / 7 for time in before) <= limit:
                assert number not in found


def test_distinct_values_are_counted_up_to_63_whatever_their_number() -> None:
    spec = rules.RuleSpec(name="scan", window=rules.Window(63, 1, (), ("path",)), **ANY)
    hits, _ = judged(spec, *(opened(b"/%d" % (number % 300)) for number in range(1000)))
    assert hits[0].offset == sum(len(opened(b"/%d" % number)) for number in range(63))
    assert len(hits) == 1000 - 63
    assert hits[-1].evidence.counted == 64


def test_the_evidence_says_which_text_was_in_which_set_and_when_each_step_was() -> None:
    first = rules.Step(frozenset({"create"}), paths=(rules.Paths((b"/tmp/**",)),))
    second = rules.Step(frozenset({"chmod"}))
    spec = rules.RuleSpec(
        name="drop and run", acts=frozenset({"exec"}),
        paths=(rules.Paths((b"/var/**", b"/tmp/**"), texts=("resolved",)),),
        sequence=rules.RuleSequence((first, second), 60, ("sandbox",)), respond=7,
    )  # fmt: skip
    records = [
        events.pack(act="create", path=b"/tmp/x", time_ns=10), events.pack(act="chmod", time_ns=20),
        events.pack(act="exec", path=b"x", resolved=b"/tmp/x", time_ns=30),
    ]  # fmt: skip
    program = rules.compile([spec])
    (hit,) = program.state().judge(b"".join(records))
    assert hit.evidence.times == (10, 20, 30)
    assert (hit.evidence.more, hit.evidence.text, hit.respond, hit.answer) == ("sequence", 1, 7, 0)
    assert hit.evidence.set is not None
    assert program.sets[hit.evidence.set] == (b"/var/**", b"/tmp/**")


def test_an_argument_with_a_nul_is_found_by_its_bytes() -> None:
    shell = rules.Text("contains", b"\0-c\0", "target")
    spec = rules.RuleSpec(name="shell", acts=frozenset({"exec"}), texts=(shell,), answer=errno.EPERM)
    hits, _ = judged(
        spec, events.pack(act="exec", target=b"sh\0-c\0id\0"), events.pack(act="exec", target=b"sh\0-ci\0")
    )
    assert [(hit.offset, hit.answer) for hit in hits] == [(0, -errno.EPERM)]


@pytest.mark.parametrize("odd", [b"//", b"/./", b"/x/../", b"/.//..//"])
def test_a_path_that_is_not_normal_is_seen_wherever_in_it_that_is(odd: bytes) -> None:
    specs = [
        rules.RuleSpec(name=f"{n}", paths=(rules.Paths((b"/in/" + b"a" * n + b"/*",)),), **ANY) for n in range(1, 41)
    ]
    program = rules.compile(specs)
    for length in range(1, 41):
        folder = b"/in" if odd == b"/.//..//" else b""  # which goes up again
        paths = [folder + b"/in/" + b"a" * length + odd + b"b" * more for more in (1, 2, 7, 16, 17, 30)]
        wanted = [] if folder else [(length - 1,)] * 6
        assert [hit.rules for hit in program.state().judge(b"".join(map(opened, paths)))] == wanted
        ends = [b"/in/" + b"a" * length + b"/y" + end for end in (b"/", b"/.", b"/z/..", b"/..y/..", b"/./")]
        assert [hit.rules for hit in program.state().judge(b"".join(map(opened, ends)))] == [(length - 1,)] * 5


def test_a_thousand_rules_and_sets_each_find_their_own() -> None:
    specs = [
        rules.RuleSpec(name=f"{n}", paths=(rules.Paths((b"/d%d/**" % n,)),), answer=n % 5, respond=n % 256, **ANY)
        for n in range(1024)
    ]
    hits, state = judged_all(specs, b"".join(opened(b"/d%d/x" % n) for n in range(1024)))
    assert [hit.rules for hit in hits] == [(n,) for n in range(1024)]
    assert [hit.evidence.set for hit in hits] == list(range(1024))
    assert state.matches() == [1] * 1024


def test_rules_that_share_a_window_count_an_event_of_both_once() -> None:
    window = rules.Window(2, 1, ("pid",), shared="both")
    specs = [
        rules.RuleSpec(name="reads", acts=frozenset({"open"}), window=window),
        rules.RuleSpec(name="any", acts=frozenset({"open", "create"}), window=window),
        rules.RuleSpec(name="own", acts=frozenset({"open"}), window=rules.Window(2, 1, ("pid",))),
    ]
    batch = b"".join(events.pack(act=act) for act in ("open", "create", "open", "create"))
    hits, _ = judged_all(specs, batch)
    assert [(hit.rules, hit.evidence.counted) for hit in hits] == [((0, 1), 3), ((1,), 4)]


def test_a_window_is_shared_only_with_the_same_window() -> None:
    specs = [
        rules.RuleSpec(name=f"{limit}", acts=frozenset({"open"}), window=rules.Window(limit, 1, shared="one"))
        for limit in (1, 2)
    ]
    with pytest.raises(rules.BadRule, match="'one' is shared with a rule that has another one"):
        rules.compile(specs)


def judged_all(specs: list[rules.RuleSpec], batch: bytes) -> tuple[list[rules.Hit], rules.State]:
    state = rules.compile(specs).state()
    return state.judge(batch), state


def test_threads_that_share_a_program_and_a_state_count_every_event() -> None:
    spec = rules.RuleSpec(name="often", paths=(rules.Paths((b"/x",)),), window=rules.Window(10, 1), **ANY)
    state, batch = rules.compile([spec]).state(), opened() * 500
    threads = [threading.Thread(target=state.judge, args=(batch,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.matches() == [4 * 500 - 10]


def test_a_blob_that_is_none_is_refused_with_the_place() -> None:
    blob = rules.compile([rules.RuleSpec(name="x", window=rules.Window(1, 1), **ANY)]).blob
    for bad in (b"", b"x" * 56, blob[:-1], blob + b"\0", b"\0" + blob[1:]):
        with pytest.raises(rules.BadProgram):
            rules.Program(bad)
    chance = random.Random(1)  # noqa: S311 - the same every time
    for _ in range(3000):
        changed = bytearray(blob)
        for _ in range(chance.randrange(1, 3)):
            changed[chance.randrange(len(blob))] = chance.choice((0, 1, 2, 7, 64, 127, 128, 255))
        program = loaded(bytes(changed))
        if program is not None:
            program.state().judge(opened() * 3)


def loaded(blob: bytes) -> rules.Program | None:
    try:
        return rules.Program(blob)
    except rules.BadProgram as error:
        return None if error.offset < len(blob) else pytest.fail(f"{error.offset} is not in the blob")


def test_a_batch_may_be_anything() -> None:
    program = rules.compile([rules.RuleSpec(name="x", paths=(rules.Paths((b"/x",)),), **ANY)])
    good = opened()
    for bad in (b"x", good[:-1], b"\0" * 96, b"\xff" * 200, good[:88] + b"\xff\xff" + good[90:]):
        state = program.state()
        with pytest.raises(ValueError, match="no record at byte 208"):
            state.judge(good + good + bad)
        assert state.matches() == [2]
    assert program.state().judge(memoryview(b"x" + good)[1:]) == program.state().judge(good)  # type: ignore[arg-type]


# Of any types, which a caller without a type checker may give.
odd_test: Any = rules.Test
odd_paths: Any = rules.Paths
odd_text: Any = rules.Text
odd_window: Any = rules.Window


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"acts": frozenset()}, "looks at no act"), ({"acts": frozenset({"dance"})}, "act 'dance' is unknown"),
        ({"either": (rules.Either(()),)}, "all numbers or all texts"),
        ({"either": (rules.Either((rules.Test("pid", "any"), rules.Text("equal", "x"))),)}, "all numbers or all texts"),
        ({"texts": (rules.Text("equal", "x", "path", spaced=True),)}, "spaced is of the text target"),
        ({"tests": (odd_test("arg9", "=="),)}, "field 'arg9'"), ({"tests": (odd_test("pid", "="),)}, "comparison"),
        ({"tests": (odd_test("pid", "==", 2**64),)}, "value is a whole number"),
        ({"tests": (odd_test("pid", "==", True),)}, "value is a whole number"),
        ({"paths": (odd_paths(()),)}, "no pattern"), ({"paths": (odd_paths("/x"),)}, "not one"),
        ({"paths": (odd_paths(("relative",)),)}, "begins neither"), ({"paths": (odd_paths((b"/a\0",)),)}, "NUL"),
        ({"paths": (odd_paths(("/x",), texts=()),)}, "no text"), ({"paths": (odd_paths(("/x",), "equal"),)}, "how"),
        ({"texts": (odd_text("in", b"x"),)}, "how"),
        ({"texts": (odd_text("equal", b"x", "argv"),)}, "text 'argv'"),
        ({"window": odd_window(1, 0)}, "per is a time"), ({"window": odd_window(-1, 1)}, "limit"),
        ({"window": odd_window(1, float("nan"))}, "per is a time"),
        ({"window": odd_window(64, 1, (), ("pid",))}, "63"),
        ({"window": odd_window(1, 1, ("uid",))}, "key 'uid'"),
        ({"answer": -1}, "answer"), ({"respond": 256}, "respond"),
        ({"sequence": rules.RuleSequence((), 1)}, "earlier steps"),
        ({"novelty": rules.Novelty(3, 1, frozenset({("open",)}))}, "has 1 acts, not 3"),
        ({"novelty": rules.Novelty(7, 1, frozenset())}, "length"),
        ({"novelty": rules.Novelty(3, 65, frozenset())}, "least"),
        ({"novelty": rules.Novelty(3, 1, frozenset()), "window": odd_window(1, 1)}, "window and novelty"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_meant_is_refused_by_name(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(rules.BadRule, match=f"rule 'odd': .*{reason}") as caught:
        rules.compile([rules.RuleSpec(**{"name": "odd", **ANY, **fields})])
    assert caught.value.rule == "odd"


def test_more_rules_than_there_can_be_are_refused() -> None:
    with pytest.raises(rules.BadRule, match="at most 1024 rules"):
        rules.compile([rules.RuleSpec(name=f"{n}", **ANY) for n in range(1025)])
