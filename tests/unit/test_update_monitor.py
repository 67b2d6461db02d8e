"""What is watched of a living sandbox, changed: what the host does about it, whatever the runtime."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from cloche import (
    OPEN,
    Act,
    Host,
    Limits,
    Monitor,
    Partial,
    Sandbox,
    SandboxError,
    SpecError,
    StateError,
    Unenforceable,
    Unsupported,
)
from cloche.testing import FakeRuntime
from cloche.testing.guest import Guest
from cloche_native.rules import Paths, RuleSpec
from tests.unit.fixed import Fixed

pytestmark = pytest.mark.usefixtures("no_own_leaks")
RULE = RuleSpec(name="keep", acts=frozenset({"open"}), paths=(Paths(("/etc/**",)),), answer=errno.EACCES)


async def look(guest: Guest) -> None:
    guest.does(Act.OPEN, "/etc/passwd")
    guest.does(Act.CREATE, "/workspace/new")


async def wait(guest: Guest) -> None:
    await guest.read()


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime(programs={"look": look, "wait": wait})


def told(box: Sandbox) -> list[str]:
    with box.events() as events:
        box.exec("look")
        return [event.act.value for event in events.drain() if event.source == "guest"]


def test_a_monitor_takes_the_place_of_another_and_off_is_one_too(host: Host) -> None:
    with host.create(monitor="writes") as box:
        assert told(box) == ["create"]
        box.update(monitor="full")
        assert told(box) == ["open", "create"]
        box.update(monitor=Monitor("full", acts=frozenset({Act.OPEN})))
        assert told(box) == ["open"]
        box.update(monitor="off")
        assert told(box) == []
        assert "events" not in box.enforcement
        box.update(monitor={"depth": "writes"})  # type: ignore[arg-type]
        assert told(box) == ["create"]
        assert (box.spec.monitor.depth, "events" in box.enforcement) == ("writes", True)


def test_who_reads_already_is_told_of_what_is_watched_now(host: Host) -> None:
    with host.create(monitor="full") as box, box.events(sources=("guest",)) as everything, box.events("open") as opens:
        for monitor in ("writes", "full", "off"):
            box.update(monitor=monitor)
            box.exec("look")
        assert [event.act for event in everything.drain()] == [Act.CREATE, Act.OPEN, Act.CREATE]
        assert [event.act for event in opens.drain()] == [Act.OPEN]


def test_what_was_seen_before_the_change_is_still_told(host: Host) -> None:
    with host.create(monitor="full") as box, box.events(sources=("guest",)) as events:
        box.exec("look")
        box.update(monitor="off")
        assert [event.act for event in events.drain()] == [Act.OPEN, Act.CREATE]


def test_the_way_out_is_named_where_an_act_is_not_watched(host: Host) -> None:
    with host.create(monitor="writes") as box:
        with pytest.raises(SpecError, match=r"open can't be told.*'writes'.*box\.update\(monitor=.full.\)"):
            box.events("open")
        box.update(monitor="full")
        box.events("open").close()
        box.update(monitor="off")
        with pytest.raises(SpecError, match=r"not watched; use box\.update"):
            box.events(sources=("guest",))


def test_what_programs_that_run_keep_is_told_and_stays_told(host: Host) -> None:
    with host.create(monitor="writes") as box:
        before = dict(box.enforcement)
        box.update(monitor="full")
        assert dict(box.enforcement) == before
        box.update(monitor="writes")
        job = box.spawn("wait", stdin=OPEN)
        box.update(monitor=Monitor("full", rules=(RULE,)))
        for name in ("events", "rules"):
            verdict = box.enforcement[name]
            assert isinstance(verdict, Partial)
            assert verdict.caveat.endswith(f"; programs that run keep their {name}")
        changed = {name: box.enforcement[name] for name in ("events", "rules")}
        box.update(limits={"open_files": 99})
        assert {name: box.enforcement[name] for name in changed} == changed
        limited = box.enforcement["open_files"]
        box.update(monitor="writes")
        assert box.enforcement["events"] == before["events"]
        assert ("rules" in box.enforcement, box.enforcement["open_files"]) == (False, limited)
        job.kill()


def test_what_a_sandbox_has_for_its_life_stays_and_nothing_else_can_be_asked_for(host: Host) -> None:
    with host.create(monitor=Monitor("writes", ring=1 << 22, overload="wait", resolve=False)) as box:
        box.update(monitor="full")
        assert box.spec.monitor == Monitor("full", ring=1 << 22, overload="wait", resolve=False)
        for bad in (Monitor(ring=1 << 21), Monitor(overload="count"), Monitor(sources=frozenset({"audit"}))):
            with pytest.raises(SpecError, match=r"monitor\.\w+: .* fixed when a sandbox is created"):
                box.update(monitor=bad)
        assert box.spec.monitor.depth == "full"


@pytest.mark.parametrize("bad", [7, "all", {"depht": "full"}, ["full"]])
def test_monitors_that_make_no_sense_are_refused(host: Host, bad: object) -> None:
    with host.create(monitor="writes") as box:
        before = (box.spec, box.enforcement)
        with pytest.raises(SpecError, match="monitor"):
            box.update(monitor=bad)  # type: ignore[arg-type]
        with pytest.raises(SpecError, match="one at a time"):
            box.update(limits=Limits(pids=9), monitor="full")
        with pytest.raises(SpecError, match="one at a time"):
            box.update()
        assert (box.spec, box.enforcement) == before


def test_a_sandbox_that_was_made_unwatched_stays_so_and_says_how_it_is_done(host: Host) -> None:
    with host.create() as box:
        for monitor in (Monitor("writes", overload="wait"), Monitor("off")):
            with pytest.raises(Unsupported, match=r"not been watched from its start.*Monitor\(.writes., acts=\(\)\)"):
                box.update(monitor=monitor)
        assert not box.spec.monitor
    with host.create(monitor=Monitor("writes", acts=())) as box:  # type: ignore[arg-type]
        assert told(box) == []
        box.update(monitor="full")
        assert told(box) == ["open", "create"]


def test_only_a_living_sandbox_changes_its_monitor(host: Host) -> None:
    with host.create(monitor="writes") as box:
        box.pause()
        box.update(monitor="full")
        box.kill()
        with pytest.raises(StateError, match="change the monitor of"):
            box.update(monitor="writes")
        assert box.spec.monitor.depth == "full"


def test_what_a_runtime_can_not_watch_or_would_not_keep_changes_nothing(
    fakes: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Host(plugins=[fakes(Fixed())], entry_points=False) as host, host.create(monitor="writes") as box:
        before = (box.spec, box.enforcement)
        with pytest.raises(Unsupported, match="can't change what it watches"):
            box.update(monitor="full")
        with pytest.raises(Unenforceable, match=r"nothing was changed.*events: it is not strict; use full"):
            box.update(monitor="strict")
        monkeypatch.setattr(Fixed, "fails", KeyError("x"))
        with pytest.raises(SandboxError, match="KeyError"):
            box.update(monitor="full")
        assert (box.spec, box.enforcement) == before
        box.update(monitor="writes")  # it is so already
