"""Matches and records put together, names of rules by number, and what a process was, each by itself."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import Act, AsyncHost, Event, EventBatch, F, Matched, Origin, Rule, Rules, Violation
from cloche.incidents.pairing import Pairing
from cloche.incidents.processes import family
from cloche.incidents.recent import Recent
from cloche.incidents.seat import Seat
from cloche.incidents.telling import hits, target_of
from cloche.incidents.violations import Violations
from cloche.testing import FakeRuntime
from cloche.testing.fake_source import FakeSource
from cloche_native import events as wire
from cloche_native import processes, rules
from cloche_native.judged import JudgedNames
from cloche_native.rules import RuleSpec

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_own_leaks")


def record(number: int, *, act: Act = Act.OPEN, flags: tuple[str, ...] = (), **given: int | bytes) -> bytes:
    bits = sum(wire.FLAGS[flag] for flag in flags)
    values: dict[str, int | bytes] = {"time_ns": number, **given}
    return wire.pack(act=act.number, source="guest", number=number, flags=bits, **values)  # type: ignore[arg-type]


def one_event(act: Act, *flags: str, **given: bytes) -> Event:
    return next(iter(EventBatch(record(1, act=act, flags=flags, **given))))


def program(*names: str) -> rules.Program:
    return rules.compile([RuleSpec(name=name, acts=frozenset({"open"})) for name in names])


def pairs(pairing: Pairing, matches: list[int], raw: bytes) -> list[tuple[int, int | None]]:
    found = pairing.paired([Matched(number, ("a",)) for number in matches], raw)
    return [(matched.number, None if event is None else event.number) for matched, event in found]


def test_a_match_finds_its_record_before_beside_or_after_it() -> None:
    pairing = Pairing(Origin())
    assert pairs(pairing, [1], record(1) + record(2)) == [(1, 1)]
    assert pairs(pairing, [2], b"") == [(2, 2)], "it came before"
    assert pairs(pairing, [4], record(3)) == []
    assert pairs(pairing, [], record(4)) == [(4, 4)], "it came after"


def test_a_match_whose_record_is_missing_is_told_without_one() -> None:
    pairing = Pairing(Origin())
    assert pairs(pairing, [2, 5], record(1) + record(3)) == [(2, None)]
    assert pairs(pairing, [], b"") == [(5, None)], "there is no more"


def test_a_record_whose_match_is_missing_is_found_once() -> None:
    pairing = Pairing(Origin())
    raw = record(1, flags=("matched",)) + record(2) + record(3, flags=("matched",))
    assert pairs(pairing, [1], raw) == [(1, 1)]
    assert [event.number for piece in pairing.unpaired(raw) for event in EventBatch(piece)] == [3]
    assert list(pairing.unpaired(raw)) == []


def test_rules_are_named_by_the_program_that_judged() -> None:
    names = JudgedNames()
    assert not names
    names.add(0, 0, program("a", "b"))
    names.add(10, 12, program("c"))
    assert names
    assert names.of(10, (0, 1)) == ("a", "b")
    assert names.of(11, (1,)) == ("b",), "the newer has no such number"
    assert names.of(13, (0,)) == ("c",)
    names.add(20, 20, None)
    assert names.of(21, (0,)) == ()


def test_what_a_process_became_is_known_in_order_and_what_failed_does_not_count() -> None:
    recent = Recent(Origin())
    became = {"act": Act.EXEC, "pid": 7}
    recent.add(record(1, **became, path=b"/bin/sh", target=b"sh\0-c\0"))  # type: ignore[arg-type]
    recent.add(record(5, **became, path=b"/no", flags=("missing",)) + record(9, **became, path=b"/bin/cat"))  # type: ignore[arg-type]
    now, changed = recent.became(7, 8)
    assert now is not None
    assert (now.exe, now.args, changed) == ("/bin/sh", ("sh", "-c"), True)
    assert recent.became(7, 1) == (None, True)
    assert recent.became(8, 8) == (None, False)


def forked(number: int, pid: int, child: int) -> bytes:
    return record(number, act=Act.FORK, flags=("result",), pid=pid, result=child, exec=1, time_ns=1)


def became(number: int, pid: int, name: bytes, exec_number: int = 1) -> bytes:
    path, target = b"/bin/" + name, name + b"\0"
    return record(number, act=Act.EXEC, pid=pid, exec=exec_number, path=path, target=target, time_ns=1)


def test_who_made_a_process_is_known_where_its_source_tells_so() -> None:
    recent = Recent(Origin(), hidden={Act.FORK})

    def people(number: int, pid: int) -> list[tuple[int, str | None]]:
        (event,) = EventBatch(record(number, pid=pid, exec=1, time_ns=1))
        return [(facts.pid, facts.name) for facts in family(event, recent, local=False)]

    recent.add(became(1, 5, b"sh") + forked(2, 5, 6) + forked(3, 6, 7) + became(4, 7, b"cat") + forked(5, 7, 1))
    assert people(2, 5) == [(5, "sh")]
    assert people(4, 7) == [(7, "sh"), (6, "sh"), (5, "sh")], "before it was another program"
    assert people(6, 7) == [(7, "cat"), (6, "sh"), (5, "sh")]
    assert people(6, os.getpid()) == [(os.getpid(), None)], "whose id it is there says nothing of here"
    recent.add(became(7, 5, b"dash") + forked(8, 7, 5) + became(9, 5, b"ls"))
    assert people(10, 7) == [(7, "cat"), (6, "sh"), (5, "dash")], "its maker's id is another's by now"
    assert people(10, 5) == [(5, "ls"), (7, "cat"), (6, "sh"), (5, "dash")]
    recent.add(became(11, 7, b"id", 2))
    assert people(12, 7) == [(7, "id")], "of another exec, which nobody forked"
    assert [event.number for event in recent.before(12, 1, 16)] == [1, 4, 7, 9]


def test_the_last_events_of_a_program_come_in_their_order_within_bounds() -> None:
    recent = Recent(Origin())
    for start in range(1, 20_000, 500):
        recent.add(b"".join(record(number, exec=number % 2, path=b"/x" * 50) for number in range(start, start + 500)))
    found = [event.number for event in recent.before(19_999, 1, 4)]
    assert found == [19_991, 19_993, 19_995, 19_997]
    assert sum(map(len, recent.pieces())) < 2 << 20
    assert recent.before(19_999, 5, 4) == []


def test_a_living_process_is_known_and_one_that_took_its_number_later_is_not() -> None:
    child = subprocess.Popen(["sleep", "10"])
    try:
        seen = processes.seen(child.pid)
        assert seen is not None
        assert seen.parent == os.getpid()
        later = record(1, pid=child.pid, time_ns=time.monotonic_ns())
        earlier = record(1, pid=child.pid, time_ns=time.monotonic_ns() - 60_000_000_000)
        (one,) = EventBatch(later)
        found = family(one, None, local=True)
        assert [(facts.pid, facts.parent) for facts in found] == [(child.pid, os.getpid())], "it ends at the host"
        (one,) = EventBatch(earlier)
        assert family(one, None, local=True)[0].exe is None
        assert family(one, None, local=False)[0].parent is None
    finally:
        child.kill()
        child.wait()
    assert processes.seen(child.pid) is None


def test_a_program_that_is_sought_along_the_path_is_one_act() -> None:
    found = Violations()
    for flags in (("missing",), ()):
        event = one_event(Act.EXEC, *flags, path=b"/bin/sh", target=b"sh\0-c\0x\0")
        assert target_of(event) == "sh -c x"
        found.add(1, Violation("r", "exec", target_of(event), "", count=hits(event)))
    assert [violation.count for violation in found.all()] == [1]
    assert hits(one_event(Act.EXEC, "missing", path=b"/bin/sh")) == 0
    assert hits(one_event(Act.EXEC, "missing", "denied", path=b"/bin/sh")) == 1
    assert hits(one_event(Act.OPEN, "missing", path=b"/bin/sh")) == 1


@pytest.mark.parametrize(("length", "end"), [(120, "x: r; do not"), (121, "x...: r; do not")])
def test_a_violation_is_a_line_that_says_how_grave_and_is_cut(length: int, end: str) -> None:
    line = str(Violation("r", "open", "\x1b" + "x" * (length - 1), "do not", severity="high", blocked=False))
    assert line.startswith("found (high) open \\x1bxxx")
    assert line.endswith(end)


def test_a_record_whose_match_may_still_come_is_not_counted_for_a_lost_one(fakes: Callable[..., object]) -> None:
    secret = Rule(id="s", summary="x", severity="high", events={"open"}, where=F.file == "/secret")  # type: ignore[arg-type]

    async def main() -> None:
        async with AsyncHost(plugins=[fakes(FakeRuntime())], entry_points=False) as host:
            spec = (await host.create(rules=Rules(use=(secret,)))).spec
            judging = host.bench.judging(spec, workspace="/workspace")
            assert judging is not None
            source = FakeSource(judging.seeing(spec))
            seat = Seat(source, judging, Origin())
            lost, last = (record(number, path=b"/secret", flags=("matched",)) for number in (1, 2))
            assert list(seat.heard(lost, [])) == []
            assert list(seat.heard(last, [])) == []
            assert [event.number for _, event in seat.recovered()] == [1]
            assert [matched.number for matched, _ in seat.heard(b"", [Matched(2, ("s",))])] == [2]
            assert list(seat.recovered()) == []
            source.close()

    anyio.run(main)
