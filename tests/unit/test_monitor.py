"""``Monitor``: what is to be seen of a guest, checked when made, and asked for in every way there is."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from cloche import Act, Enforcement, Host, Monitor, Policy, Profile, Sandbox, Spec, SpecError, Unenforceable
from cloche.monitor import LOOKS, OFF
from cloche.registry.plain import from_plain, to_plain
from cloche.testing import FakeRuntime
from cloche_native import rules
from cloche_native.rules import Paths, RuleSequence, RuleSpec, Step
from tests.unit.profiled import monitors

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depth": "deep"}, "monitor.depth: 'deep' is unknown; use one of off, writes, full, strict"),
        ({"depth": None}, "monitor.depth: None is unknown"),
        ({"acts": "exec"}, "monitor.acts: a sequence is needed, not 'exec'"),
        ({"acts": [3]}, "monitor.acts: 3 is not a valid Act"),
        ({"acts": ["stat"], "depth": "writes"}, "stat can't be told at depth 'writes'; use full"),
        ({"acts": ["open"], "depth": "off"}, "open can't be told at depth 'off'"),
        ({"resolve": 1}, "monitor.resolve is True or False, not 1"),
        ({"overload": "drop"}, "monitor.overload: 'drop' is unknown; use one of count, wait"),
        ({"ring": 4096}, "monitor.ring: 4096 is out of range"),
        ({"ring": 1 << 40}, "monitor.ring: 1099511627776 bytes are too many"),
        ({"ring": True}, "monitor.ring: a size is an int"),
        ({"sources": ["../x"]}, "monitor.sources: '../x' is not a name"),
        ({"sources": [f"s{n}" for n in range(65)]}, "monitor.sources: 65 are too many; at most 64"),
        ({"sources": ["audit"], "depth": "off"}, "with depth 'off' nothing is watched"),
    ],
)
def test_a_monitor_that_makes_no_sense_says_what_is_wrong(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Monitor(**fields)
    assert message in str(caught.value)
    with pytest.raises(SpecError) as caught:
        Monitor.of(fields)
    assert message in str(caught.value)


RULE = RuleSpec(name="motd", acts=frozenset({"unlink"}), paths=(Paths((b"/etc/**",)),), answer=13)


BAD_ACTS: dict[str, Any] = {"acts": 3}
BAD_TESTS: dict[str, Any] = {"tests": (3,)}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (3, "monitor.rules: a sequence is needed"),
        (("x",), "monitor.rules: a cloche_native.rules.RuleSpec is needed, not 'x'"),
        ((replace(RULE, acts=frozenset({"nope"})),), "monitor.rules: rule 'motd': act 'nope' is unknown"),
        ((replace(RULE, **BAD_ACTS),), "monitor.rules: "),
        ((replace(RULE, **BAD_TESTS),), "monitor.rules: "),
        ((replace(RULE, paths=(Paths(("etc",)),)),), "monitor.rules: rule 'motd'"),
        ((replace(RULE, acts=frozenset({"open"})),), "they look at open, which can't be seen at depth 'writes'"),
        (
            (replace(RULE, sequence=RuleSequence((Step(frozenset({"stat"})),), 1.0)),),
            "they look at stat, which can't be seen at depth 'writes'",
        ),
    ],
)
def test_rules_that_can_not_be_meant_are_refused(rules: object, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Monitor("writes", rules=rules)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_what_rules_are_about_is_seen_although_it_is_not_told() -> None:
    monitor = Monitor("full", acts=frozenset({Act.EXEC}), rules=(RULE,))
    assert monitor.told == {Act.EXEC}
    assert monitor.seen == {Act.EXEC, Act.UNLINK}
    assert Monitor("full").joined(monitor).rules == monitor.joined(monitor).rules == (RULE,)


def test_rules_reach_another_process_and_no_file() -> None:
    monitor = Monitor("full", rules=(RULE,))
    (rule,) = from_plain(Monitor, json.loads(json.dumps(to_plain(monitor))), "monitor").rules
    assert compile(rule) == compile(RULE)
    profile = Profile(name="a", summary="b", policy=Policy(monitor=monitor))
    with pytest.raises(SpecError, match="rules of its monitor can't be written"):
        profile.to_toml()


def compile(rule: RuleSpec) -> bytes:  # noqa: A001 - as the module of rules calls it
    return rules.compile([rule]).blob


def test_a_runtime_that_says_nothing_of_rules_can_not_be_given_any(fakes: Callable[..., object]) -> None:
    class Lenient(FakeRuntime):
        name = "lenient"

        def enforcement(self, spec: Spec) -> Enforcement:
            return super().enforcement(replace(spec, monitor=Monitor("full")))

    with (
        Host(plugins=[fakes(Lenient())], entry_points=False) as host,
        pytest.raises(Unenforceable, match="rules: this runtime can't judge what its guests do"),
    ):
        host.create(monitor=Monitor("full", rules=(RULE,)))


def test_a_monitor_can_not_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Monitor().depth = "off"  # type: ignore[misc]


def test_a_depth_is_a_monitor_in_short() -> None:
    assert Monitor.of("writes") == Monitor("writes")
    assert Monitor.of({"depth": "writes", "ring": 1 << 20}) == Monitor("writes")
    assert Monitor.of(OFF) is OFF
    assert [bool(Monitor.of(depth)) for depth in ("off", "writes", "full", "strict")] == [False, True, True, True]


def test_looking_is_told_only_by_name() -> None:
    assert Act.OPEN in Monitor("full").told
    assert not Monitor("full").told & LOOKS
    assert Monitor("full", acts=frozenset(LOOKS)).told == LOOKS
    assert Act.OPEN not in Monitor("writes").told


@given(monitors)
def test_a_monitor_comes_back_from_its_plain_forms(monitor: Monitor) -> None:
    assert Monitor.of(json.loads(json.dumps(monitor.as_plain()))) == monitor
    assert from_plain(Monitor, json.loads(json.dumps(to_plain(monitor))), "monitor") == monitor


@given(monitors, monitors, monitors)
def test_joining_sees_all_that_each_sees_in_any_order(a: Monitor, b: Monitor, c: Monitor) -> None:
    assert a.joined(b).told == a.told | b.told
    assert replace(a.joined(b), overload=None) == replace(b.joined(a), overload=None)
    assert a.joined(b).joined(c) == a.joined(b.joined(c))
    assert a.joined(a) == a.joined(a).joined(a)


def test_a_host_passes_on_what_is_to_be_seen(host: Host) -> None:
    with host.create(monitor="full") as box:
        assert box.spec.monitor == Monitor("full", overload="wait")
        assert "events" in box.spec.needed()
        assert "events" in box.enforcement
    with host.create(policy=Policy(monitor=Monitor("writes", overload="count"))) as box:
        assert box.spec.monitor == Monitor("writes", overload="count")
    with host.create(restrict={"monitor": "strict"}) as box:
        assert box.spec.monitor == Monitor("strict", overload="wait")
    assert host.run("echo", "hi", monitor=Monitor("writes")).text == "hi\n"


def test_nothing_is_watched_unless_asked(box: Sandbox) -> None:
    assert box.spec.monitor == OFF
    assert "events" not in box.spec.needed()
    assert "events" not in box.enforcement


@pytest.mark.parametrize("given", ["all", 3, {"deep": 1}])
def test_a_host_refuses_what_is_no_monitor(host: Host, given: object) -> None:
    with pytest.raises(SpecError, match="monitor"):
        host.create(monitor=given)  # type: ignore[arg-type]


def test_a_runtime_that_says_nothing_of_events_can_not_be_asked_for_them(fakes: Callable[..., object]) -> None:
    class Blind(FakeRuntime):
        name = "blind"

        def enforcement(self, spec: Spec) -> Enforcement:
            return super().enforcement(replace(spec, monitor=OFF))

    with Host(plugins=[fakes(Blind())], entry_points=False) as host:
        with pytest.raises(Unenforceable, match="events: this runtime can't tell what its guests do"):
            host.create(monitor="writes")
        with host.create(monitor="writes", strict=False) as box:
            assert "can't tell" in str(box.enforcement["events"])
