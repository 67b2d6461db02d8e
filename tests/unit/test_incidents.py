"""What rules find in a sandbox becomes violations and incidents, and is answered: with a runtime that pretends."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from cloche import (
    Act,
    AsyncHost,
    Context,
    Count,
    F,
    Host,
    Incident,
    Matched,
    Monitor,
    Notice,
    Response,
    Rule,
    Rules,
    Severity,
    State,
    hookimpl,
)
from cloche.incidents.audit import AuditLog
from cloche.testing import FakeRuntime
from tests.awaited import settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloche import AsyncSandbox
    from cloche.testing import Guest

pytestmark = pytest.mark.usefixtures("no_own_leaks")


def rule(name: str = "secret", **given: Any) -> Rule:  # noqa: ANN401 - of many kinds
    usual: dict[str, Any] = {
        "summary": "opens a secret", "severity": Severity.MEDIUM, "events": frozenset({Act.OPEN}),
        "where": F.file.glob("/secret*"), "hint": "leave it alone",
    }  # fmt: skip
    return Rule(id=name, **{**usual, **given})


class Ticket(Response):
    """A response that does what it is told to."""

    name = "ticket"
    summary = "opens a ticket"
    seconds = 0.05

    def __init__(self) -> None:
        self.opened: list[Incident] = []
        self.trouble: Exception | None = None
        self.hangs = False

    async def respond(self, incident: Incident, box: AsyncSandbox) -> str | None:
        assert box.id == incident.sandbox
        if self.trouble is not None:
            raise self.trouble
        if self.hangs:
            await box.wait()
        self.opened.append(incident)
        return f"ticket {len(self.opened)}"


class Plugin:
    """Brings the response, and hears of incidents."""

    def __init__(self) -> None:
        self.ticket = Ticket()
        self.raised: list[Incident] = []

    @hookimpl
    def cloche_responses(self) -> list[Response]:
        return [self.ticket]

    @hookimpl
    def cloche_incident_raised(self, incident: Incident) -> None:
        self.raised.append(incident)


async def opens(guest: Guest) -> None:
    """Open each path that it is given, and then live as long as it is asked to."""
    *paths, seconds = guest.args[1:]
    for path in paths:
        guest.does(Act.OPEN, path)
    await guest.sleep(float(seconds))


async def flood(guest: Guest) -> None:
    """Open 50,000 secrets; with an argument without a pause, so that most records are lost."""
    for number in range(50_000):
        guest.does(Act.OPEN, f"/secret{number % 7}")
        if not guest.args[1:] and number % 1000 == 0:
            await guest.sleep(0.001)


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime(programs={"opens": opens, "flood": flood})


@pytest.fixture
def plugin() -> Plugin:
    return Plugin()


@pytest.fixture
def host(fakes: Callable[..., object], runtime: FakeRuntime, plugin: Plugin) -> Iterator[Host]:
    with Host(plugins=[fakes(runtime), plugin], entry_points=False) as host:
        yield host


# -- violations and incidents ----------------------------------------------------------------------------------------


def test_what_a_rule_finds_is_in_the_result_and_told_once_with_a_count(host: Host) -> None:
    with host.create(rules=Rules(use=(rule(),))) as box:
        result = box.exec("opens", "/a", "/secret", "/secret", "/secret2", "0")
        assert [(v.rule, v.operation, v.target, v.count, v.blocked, v.hint) for v in result.violations] == [
            ("secret", "open", "/secret", 2, False, "leave it alone"),
            ("secret", "open", "/secret2", 1, False, "leave it alone"),
        ]
        assert box.exec("opens", "/a", "0").violations == ()
        assert box.violations == result.violations
        again = box.exec("opens", "/secret", "0").violations
        assert [(v.target, v.count) for v in again] == [("/secret", 1)]
        assert [(v.target, v.count) for v in box.violations] == [("/secret", 3), ("/secret2", 1)]


def test_an_incident_holds_the_evidence_and_counts_up(host: Host) -> None:
    found = rule(message="opened {file} ({result})", attack=("T1552.001",))
    with host.create(name="one", rules=Rules(use=(found,))) as box:
        box.exec("opens", *(f"/{number}" for number in range(20)), "/secret", "/secret", "0")
        (incident,) = box.incidents()
        assert incident.rule == "secret"
        assert incident.count == 2
        assert incident.severity is Severity.MEDIUM
        assert incident.message == "opened /secret (0)"
        assert incident.attack == ("T1552.001",)
        assert incident.sandbox_name == "one"
        assert incident.args[0] == "opens"
        assert incident.event["path"] == "/secret"
        assert incident.fields["file"] == "/secret"
        assert not incident.blocked
        assert abs(incident.time - time.time()) < 60
        assert list(host.incidents) == [incident]
        assert Incident.from_json(incident.as_json()) == incident
        box.exec("opens", "/secret", "0")
        assert [one.count for one in box.incidents()] == [2, 1], "one for each program of the caller's"
    assert [one.count for one in host.incidents] == [2, 1], "they outlive their sandbox"


def test_without_rules_nothing_is_judged(host: Host) -> None:
    with host.create(monitor="full") as box:
        assert box.exec("opens", "/secret", "0").violations == ()
        assert (box.violations, box.incidents()) == ((), ())


def test_who_asked_for_no_events_gets_only_what_matched(host: Host) -> None:
    with host.create(rules=Rules(use=(rule(),))) as box, box.events() as events:
        box.exec("opens", "/a", "/secret", "/b", "0")
        assert [event.path for event in events.drain() if event.source == "guest"] == ["/secret"]
    with host.create(monitor="full", rules=Rules(use=(rule(),))) as box, box.events("open") as events:
        box.exec("opens", "/a", "/secret", "0")
        assert [event.path for event in events.drain()] == ["/a", "/secret"]


@pytest.mark.parametrize("text", ["/secret\x1b[31m", "/secret\nnew", "/secret\x00x", "/secret\udcff\u202e"])
def test_hostile_texts_are_escaped_where_they_are_shown(host: Host, text: str) -> None:
    with host.create(rules=Rules(use=(rule(message="opened {path}"),))) as box:
        result = box.exec("opens", text.replace("\x00", ""), "0")
        (incident,) = box.incidents()
        for shown in (str(incident), incident.message, str(result.violations[0])):
            assert shown.isprintable()


def test_a_flood_is_counted_and_told_within_bounds(host: Host) -> None:
    told: list[Notice] = []
    with host.create(limits={"wall": 60}, rules=Rules(use=(rule(), rule("all", where=F.file.exists())))) as box:
        host.on("incident", callback=told.append)
        result = box.exec("flood", timeout=60)
        assert sum(v.count for v in result.violations if v.rule == "secret") == 50_000
        assert {i.rule: i.count for i in box.incidents()} == {"secret": 50_000, "all": 50_000}
        settled(box, "all", "alert")
    assert len(told) <= 4


def test_what_matched_is_told_although_its_record_was_lost(host: Host) -> None:
    with host.create(rules=Rules(use=(rule(),))) as box:
        result = box.exec("flood", "at-once")
        seen = sum(v.count for v in result.violations)
        counts = {(one.rule, one.exec is None): one.count for one in box.incidents()}
        lost = counts["monitor-lost", True]
        assert 0 < seen < 50_000
        assert lost == 50_000 - seen == counts["secret", True]
        assert counts["secret", False] == seen


def test_many_targets_take_no_more_than_their_room(host: Host) -> None:
    with host.create(rules=Rules(use=(rule(),))) as box:
        box.exec("opens", *(f"/secret{number}" for number in range(3000)), "0")
        assert len(box.violations) <= 1001
        assert sum(v.count for v in box.violations) == 3000
        assert box.violations[-1].target == "(others)"


def test_notices_of_one_rule_are_limited_and_the_count_of_the_others_told(host: Host) -> None:
    told: list[Notice] = []
    host.on("incident", callback=told.append)
    with host.create(rules=Rules(use=(rule(),))) as box:
        for _ in range(40):
            box.exec("opens", "/secret", "0")
        assert len(box.incidents()) == 40
        last = settled(box, "secret", "alert")
        assert last.taken[0].done
        silent = [one for one in box.incidents() if any(not t.done for t in one.taken)]
        assert len(told) + len(silent) == 40
        time.sleep(1.05)
        box.exec("opens", "/secret", "0")
        end = time.monotonic() + 5
        while told[-1].details.get("untold") is None and silent and time.monotonic() < end:
            time.sleep(0.01)
        assert not silent or told[-1].details == {"rule": "secret", "untold": str(len(silent))}
        assert isinstance(told[0].incident, Incident)


# -- rules' own functions --------------------------------------------------------------------------------------------


def test_a_rules_own_function_must_agree(host: Host) -> None:
    seen: list[Context] = []

    def evaluate(context: Context) -> bool:
        seen.append(context)
        return context.event.path == "/secret1"

    with host.create(rules=Rules(use=(rule(evaluate=evaluate),)), metadata={"who": "me"}) as box:
        result = box.exec("opens", "/secret0", "/secret1", "/a", "0")
        assert [v.target for v in result.violations] == ["/secret1"]
        assert [context.event.path for context in seen] == ["/secret0", "/secret1"]
        assert seen[0].metadata == {"who": "me"}
        assert seen[0].rule.id == "secret"


@pytest.mark.parametrize("how", ["raises", "exits", "hangs", "dawdles"])
def test_a_function_that_fails_counts_as_agreeing_and_is_told(host: Host, how: str) -> None:
    calls: list[int] = []
    release = threading.Event()

    def evaluate(_: Context) -> bool:
        calls.append(1)
        if how == "raises":
            raise ZeroDivisionError("\x1b[31m")
        if how == "exits":
            raise SystemExit(3)
        if how == "hangs":
            release.wait(5)
        end = time.thread_time() + 0.002
        while time.thread_time() < end:
            pass
        return False

    with host.create(rules=Rules(use=(rule(evaluate=evaluate),))) as box:
        for _ in range(3):
            box.exec("opens", "/secret", "0")
        result = box.exec("opens", "/secret", "/secret", "0")
        assert [(v.target, v.count) for v in result.violations] == [("/secret", 2)]
        failed = next(one for one in box.incidents() if one.rule == "rule-failed")
        assert failed.fields["rule"] == "secret"
        assert failed.fields["of"] == "the policy itself"
        assert str(failed).isprintable()
        assert len(calls) == (3 if how == "dawdles" else 1)
        assert failed.severity is Severity.MEDIUM
        release.set()


def test_a_caller_that_goes_away_while_a_function_is_asked_leaves_no_stream_open(
    fakes: Callable[..., object], runtime: FakeRuntime
) -> None:
    def evaluate(_: Context) -> bool:
        time.sleep(0.4)
        return True

    async def main() -> None:
        async with AsyncHost(plugins=[fakes(runtime)], entry_points=False) as host:
            box = await host.create(rules=Rules(use=(rule(evaluate=evaluate),)))
            await box.exec("opens", "/other", "0")  # what the first one opens for good
            before = len(os.listdir("/proc/self/fd"))
            with anyio.move_on_after(0.15) as scope:
                await box.exec("opens", "/secret", "0")
            assert scope.cancel_called
            assert len(os.listdir("/proc/self/fd")) == before

    anyio.run(main)


# -- answers ---------------------------------------------------------------------------------------------------------


def test_a_rule_that_suspends_pauses_until_a_person_resumes(host: Host) -> None:
    with host.create(rules=Rules(use=(rule(response="suspend"),))) as box:
        job = box.spawn("opens", "/secret", "0.01")
        incident = settled(box, "secret", "suspend", "alert")
        assert incident.taken[0].done
        assert (str(box.state), box.reason) == ("paused", "rule:secret")
        time.sleep(0.05)
        assert job.running
        box.resume()
        assert job.wait(5).ok
        assert str(box.state) == "running"
        assert job.wait(5).violations[0].rule == "secret"
        box.spawn("opens", "/secret", "0.01")
        end = time.monotonic() + 5
        while str(box.state) != "paused" and time.monotonic() < end:
            time.sleep(0.005)
        assert str(box.state) == "paused", "a later hit suspends it again"


def test_a_rule_that_terminates_ends_the_sandbox_and_its_evidence_stays(host: Host) -> None:
    with host.create(rules=Rules(use=(rule(severity=Severity.CRITICAL),), auto_terminate=Severity.HIGH)) as box:
        result = box.exec("opens", "/secret", "30")
        assert result.reason == "rule:secret"
        assert [v.rule for v in result.violations] == ["secret"]
        incident = settled(box, "secret", "terminate", "alert")
        assert (box.state, box.reason) == (State.STOPPED, "rule:secret")
    assert host.incidents.since(sandbox=box.id, severity="critical") == [incident]


def test_thresholds_choose_by_severity(host: Host) -> None:
    rules = (rule("low", severity=Severity.LOW), rule("high", severity=Severity.HIGH, where=F.file == "/h"))
    with host.create(rules=Rules(use=rules, auto_suspend=Severity.HIGH)) as box:
        assert box.exec("opens", "/secret", "0").ok
        assert str(box.state) == "running"
        box.spawn("opens", "/h", "0")
        settled(box, "high", "suspend")
        assert str(box.state) == "paused"


def test_in_audit_mode_nothing_is_done_but_said(host: Host, plugin: Plugin) -> None:
    rules = (
        rule("a", response="terminate", mode="inline", severity=Severity.CRITICAL, best_effort=True),
        rule("b", response="ticket"),
    )  # fmt: skip
    with host.create(rules=Rules(use=rules, audit=True, auto_block=Severity.HIGH)) as box:
        assert box.exec("opens", "/secret", "0").ok
        first = settled(box, "a", "block", "terminate", "alert")
        assert [(one.response, one.done) for one in first.taken] == [
            ("block", False), ("terminate", False), ("alert", True)
        ]  # fmt: skip
        assert first.audit
        second = settled(box, "b", "ticket")
        assert not next(one for one in second.taken if one.response == "ticket").done
        assert plugin.ticket.opened == []


def test_a_plugins_response_is_called_with_the_incident_and_its_words_are_kept(host: Host, plugin: Plugin) -> None:
    with host.create(rules=Rules(use=(rule(response="ticket"),))) as box:
        box.exec("opens", "/secret", "0")
        incident = settled(box, "secret", "ticket")
        assert [(one.response, one.done, one.detail) for one in incident.taken] == [
            ("alert", True, ""), ("ticket", True, "ticket 1"),
        ]  # fmt: skip
        assert [one.id for one in plugin.ticket.opened] == [incident.id]
        end = time.monotonic() + 5
        while not plugin.raised and time.monotonic() < end:
            time.sleep(0.005)
        assert [one.id for one in plugin.raised] == [incident.id]
        assert plugin.raised[0].taken == incident.taken


@pytest.mark.parametrize(("how", "said"), [("raises", "ValueError: no"), ("hangs", "longer than 0.05 s")])
def test_a_response_that_fails_is_recorded_and_all_else_goes_on(
    host: Host, plugin: Plugin, how: str, said: str
) -> None:
    plugin.ticket.trouble = ValueError("no") if how == "raises" else None
    plugin.ticket.hangs = how == "hangs"
    both = rule(response="ticket", severity=Severity.HIGH)
    with host.create(rules=Rules(use=(both,), auto_terminate=Severity.HIGH)) as box:
        if how == "hangs":  # a stopped box ends its wait
            box.update(rules=Rules(use=(both,), auto_terminate="never"))
        box.exec("opens", "/secret", "0.2")
        incident = settled(box, "secret", "ticket", "alert")
        ticket = next(one for one in incident.taken if one.response == "ticket")
        assert not ticket.done
        assert said in ticket.detail
        if how == "raises":
            assert box.state is State.STOPPED


# -- the host's own acts ---------------------------------------------------------------------------------------------


def test_rules_are_changed_while_it_runs(host: Host) -> None:
    with host.create(rules=Rules(use=(rule(),))) as box:
        assert box.exec("opens", "/secret", "/other", "0").violations[0].rule == "secret"
        box.update(rules=Rules(use=(rule("other", where=F.file == "/other"),)))
        assert [v.rule for v in box.exec("opens", "/secret", "/other", "0").violations] == ["other"]
        box.update(rules="off")
        assert box.exec("opens", "/secret", "/other", "0").violations == ()
        assert [one.rule for one in box.incidents()] == ["secret", "other"]
        box.update(rules=Rules(use=(rule(),)))
        assert [v.rule for v in box.exec("opens", "/secret", "/other", "0").violations] == ["secret"]


def test_what_is_lost_is_an_incident(host: Host, runtime: FakeRuntime) -> None:
    with host.create(rules=Rules(use=(rule(),)), monitor=Monitor(ring=65536)) as box, box.events():
        source = runtime.instances[0].source
        assert source is not None

        async def much(guest: Guest) -> None:
            for number in range(5000):
                guest.does(Act.OPEN, f"/{number}")

        runtime.programs["much"] = much
        box.exec("much")
        lost = next(one for one in box.incidents() if one.rule == "lost")
        assert lost.count == source.lost()
        assert lost.fields["source"] == "guest"


def test_incidents_go_to_the_audit_log_where_one_is_configured(
    fakes: Callable[..., object], runtime: FakeRuntime, tmp_path: Path
) -> None:
    config = {"audit": {"folder": str(tmp_path / "log")}}
    with Host(plugins=[fakes(runtime)], entry_points=False, config=config) as host:
        asked = (rule(), rule("info", severity=Severity.INFO), rule("said", severity=Severity.INFO, response="log"))
        with host.create(rules=Rules(use=asked)) as box:
            box.exec("opens", "/secret\x1b", "0")
            settled(box, "secret", "log")
            settled(box, "info", "alert")
            settled(box, "said", "log")
    with AuditLog(tmp_path / "log") as log:
        found = [entry.body["rule"] for entry in log.entries() if entry.kind == "incident"]
        assert sorted(found) == ["said", "secret"]


def test_a_rule_that_asks_for_the_log_says_so_where_there_is_none(host: Host) -> None:
    with host.create(rules=Rules(use=(rule(response="log"),))) as box:
        box.exec("opens", "/secret", "0")
        taken = settled(box, "secret", "log", "alert").taken
        assert [(one.response, one.done) for one in taken] == [("alert", True), ("log", False)]


def test_a_monitor_that_is_changed_leaves_the_rules_in_force(host: Host) -> None:
    with host.create(rules=Rules(use=(rule(),))) as box:
        box.update(monitor="full")
        with box.events("open") as events:
            assert [v.rule for v in box.exec("opens", "/a", "/secret", "0").violations] == ["secret"]
            assert [event.path for event in events.drain()] == ["/a", "/secret"]
        box.update(monitor=Monitor("writes", acts=frozenset()))
        assert [v.rule for v in box.exec("opens", "/a", "/secret", "0").violations] == ["secret"]


def test_what_the_life_of_a_sandbox_tells_is_judged_too(host: Host) -> None:
    begun = rule("begun", events=frozenset({Act.BEGUN}), where=F.argv.contains("opens"))
    with host.create(rules=Rules(use=(begun,))) as box:
        box.exec("opens", "/a", "0")
        box.exec("true")
        assert [(one.rule, one.count) for one in box.incidents()] == [("begun", 1)]


def test_a_hit_before_a_pause_does_not_suspend_again_after_it(host: Host) -> None:
    with host.create(rules=Rules(use=(rule(response="suspend"), rule("b", response="suspend")))) as box:
        box.spawn("opens", "/secret", "0")
        settled(box, "secret", "suspend", "alert")
        settled(box, "b", "suspend", "alert")
        box.resume()
        time.sleep(0.1)
        assert box.state is State.RUNNING


@pytest.mark.parametrize("counted", [False, True])
def test_a_match_that_was_lost_is_found_again_or_told(host: Host, runtime: FakeRuntime, *, counted: bool) -> None:
    often = Count(limit=2, per=60) if counted else None
    with host.create(rules=Rules(use=(rule(count=often),))) as box:
        source = runtime.instances[0].source
        assert source is not None
        found = source.matches
        lost: list[Matched] = []

        def lose() -> tuple[Matched, ...]:
            lost.extend(found())
            return ()

        source.matches = lose  # type: ignore[method-assign]  # as if its room was full
        source.unmatched = lambda: len(lost)  # type: ignore[method-assign]
        result = box.exec("opens", "/secret", "/a", "/secret", "/secret2", "0")
        counts = {one.rule: one.count for one in box.incidents()}
        if counted:  # what a window has counted can't be asked again
            assert counts == {"monitor-lost": 1}
            assert result.violations == ()
        else:
            assert counts == {"secret": 3}
            assert [(v.target, v.count) for v in result.violations] == [("/secret", 2), ("/secret2", 1)]
