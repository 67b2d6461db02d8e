from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

import pytest

import cloche_native as native
from cloche_native import rules
from cloche_native.events import ACTS, FLAGS
from cloche_native.matches import parse
from cloche_native.rules import Paths, RuleSpec, Text, Window
from tests.native.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPENS = frozenset({"open", "write-open", "create"})


def refusing(*patterns: str) -> rules.Program:
    return rules.compile([
        RuleSpec(name="secret", acts=OPENS, paths=(Paths(patterns),), answer=errno.EACCES, respond=7)
    ])  # fmt: skip


def test_a_rule_refuses_what_it_matches_and_nothing_else(watch: Callable[..., Watched]) -> None:
    box = watch()
    box.supervisor.judge(refusing("/etc/shadow"))
    assert box.run("read", "/etc/shadow", "opens", 5, "/etc/group", "open", "/etc/../etc/shadow") == ["-13", "5", "-13"]
    records = box.records()
    assert [record.path for record in records] == [b"/etc/shadow"] * 2
    for record in records:
        assert record.result == -errno.EACCES
        assert record.flags & FLAGS["denied"]
        assert record.flags & FLAGS["matched"]
        assert not record.flags & FLAGS["static"]
    matches = box.supervisor.matches()
    assert [(match.number, match.rules, match.rule, match.answer, match.respond) for match in matches] == [
        (record.number, (0,), 0, -errno.EACCES, 7) for record in records
    ]
    assert box.supervisor.matched(1) == [2]
    assert box.supervisor.counters()[ACTS["open"]].denied == 2


def test_a_rule_that_only_watches_tells_and_lets_go_on(watch: Callable[..., Watched]) -> None:
    box = watch()
    box.supervisor.judge(rules.compile([RuleSpec(name="seen", acts=OPENS, paths=(Paths(("/etc/gr*",)),))]))
    assert int(box.run("open", "/etc/group")[0]) > 0
    (record,) = box.records()
    assert record.flags & FLAGS["matched"]
    assert not record.flags & FLAGS["denied"]


def test_a_window_is_counted_exactly_when_records_are_lost(watch: Callable[..., Watched]) -> None:
    box = watch(wants=[ACTS["open"]], ring=1 << 16)
    rule = RuleSpec(
        name="often", acts=OPENS, paths=(Paths(("/etc/group",)),), window=Window(3000, 60.0), answer=errno.EAGAIN
    )
    box.supervisor.judge(rules.compile([rule]))
    assert box.run("opens", 5000, "/etc/group") == ["3000"]
    assert box.supervisor.matched(1) == [2000]
    assert box.supervisor.status().lost > 0


def test_rules_change_while_the_guest_runs_and_hold_at_once(watch: Callable[..., Watched]) -> None:
    box = watch()
    process = box.start("while", "/etc/group")
    for number in range(50):
        box.supervisor.judge(refusing(f"/etc/{number}"))
        box.supervisor.judge(None)
    assert process.poll() is None
    box.supervisor.judge(refusing("/etc/group"))
    assert process.communicate(timeout=60)[0] == f"{-errno.EACCES}\n"


def test_a_refusal_of_the_static_filter_wins_over_a_rule_which_sees_it(watch: Callable[..., Watched]) -> None:
    box = watch(static=native.seccomp_program("standard", deny=["mkdir"]))
    rule = RuleSpec(name="made", acts=frozenset({"mkdir"}), answer=errno.EACCES)
    box.supervisor.judge(rules.compile([rule]))
    assert box.run("mkdir", "/refused", calls=("mkdir",)) == [str(-errno.EPERM)]
    (record,) = box.records()
    assert record.flags & FLAGS["static"]
    assert record.flags & FLAGS["matched"]
    assert box.supervisor.matched(1) == [1]


def test_a_path_that_can_not_be_read_is_refused_where_a_rule_might_refuse_it(watch: Callable[..., Watched]) -> None:
    box = watch()
    box.supervisor.judge(refusing("/etc/shadow"))
    assert box.run("bad", "edges", "/etc/passwd") == ["-14", "0", "0", str(-errno.ENAMETOOLONG)]
    counts = box.supervisor.counters()[ACTS["open"]]
    assert (counts.denied, counts.unreadable) == (2, 2)


@pytest.mark.usefixtures("root")
def test_a_guest_that_may_not_be_looked_into_opens_nothing_that_is_judged(
    under: Callable[..., tuple[list[str], int, int]], programs: Path
) -> None:
    """A process that is not dumpable is closed to a supervisor that may not trace."""

    def supervise() -> tuple[list[str], int, int]:
        box = Watched(programs, wants=[ACTS["open"]])
        box.supervisor.judge(refusing("/etc/shadow"))
        lines = box.run("open", "/etc/group", "closed", "open", "/etc/group")
        last = box.records()[-1]
        counts = box.supervisor.counters()[ACTS["open"]]
        box.close()
        return [line if int(line) <= 0 else "open" for line in lines], last.flags, counts.unreadable

    lines, flags, unreadable = under(struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000), supervise, uid=65534)
    assert lines == ["open", "0", str(-errno.EPERM)]
    assert flags & FLAGS["unreadable"]
    assert flags & FLAGS["denied"]
    assert unreadable == 1


def test_two_rules_that_match_are_both_told_and_the_first_with_an_answer_decides(watch: Callable[..., Watched]) -> None:
    box = watch()
    box.supervisor.judge(
        rules.compile([
            RuleSpec(name="told", acts=OPENS, paths=(Paths(("/etc/**",)),), respond=200),
            RuleSpec(name="first", acts=OPENS, paths=(Paths(("**/passwd",)),), answer=errno.EACCES),
            RuleSpec(name="second", acts=OPENS, paths=(Paths(("/etc/p*",)),), answer=errno.ENOENT),
        ])
    )  # fmt: skip
    assert box.run("open", "/etc/passwd") == ["-13"]
    (match,) = box.supervisor.matches()
    assert (match.rules, match.rule, match.respond) == ((0, 1, 2), 1, 200)


def test_the_target_of_a_connection_is_judged_however_it_is_written(watch: Callable[..., Watched]) -> None:
    box = watch()
    rule = RuleSpec(
        name="metadata", acts=frozenset({"connect"}), texts=(Text("equal", "169.254.169.254"),), answer=errno.EACCES
    )
    box.supervisor.judge(rules.compile([rule]))
    lines = box.run(
        "connect", "4", "169.254.169.254", 80, "connect", "6", "::ffff:169.254.169.254", 80, calls=("connect",)
    )  # fmt: skip
    assert lines == ["-13", "-13"]


def test_matches_make_calls_wait_once_they_are_taken(watch: Callable[..., Watched]) -> None:
    box = watch(overload="wait", wait_ms=60_000)
    box.supervisor.judge(refusing("/etc/group"))
    assert box.supervisor.matches() == []
    process = box.start("opens", 3000, "/etc/group")
    told = []
    while process.poll() is None:
        told += box.supervisor.matches()
        box.records()
    told += box.supervisor.matches()
    assert len(told) == 3000
    assert box.supervisor.status().lost_matches == 0


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"1234", "cut off at byte 0"),
        (struct.pack("=IHHQIIIiIIIIII4Q", 96, 0, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), "no match at byte 0"),
        (
            struct.pack("=IHHQIIIiIIIIII4Q", 88, 0, 0, 1, 1, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0),
            "no match at byte 0",
        ),
        (struct.pack("=IHHQIIIiIIIIII4Q", 88, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0), "no match at byte 0"),
        (struct.pack("=IHHQIIIiIIIIII4Q", 96, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), "no match at byte 0"),
    ],
)
def test_bytes_that_are_no_matches_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(parse(raw))


def test_more_rules_than_there_can_be_are_not_asked_for(watch: Callable[..., Watched]) -> None:
    with pytest.raises(ValueError, match="at most 1024 rules"):
        watch().supervisor.matched(1025)
