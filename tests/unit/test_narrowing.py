"""``Policy.restrict`` gives a policy that is never wider, whatever is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cloche import (
    Act,
    Guarantee,
    Limits,
    Mount,
    Network,
    PathPermissions,
    Policy,
    Rule,
    Rules,
    Severity,
    SpecError,
    Workspace,
)
from cloche.narrowing import keeps
from tests.unit.profiled import LEVELS, RULES, bounds, policies, rules, wider

if TYPE_CHECKING:
    from cloche import IsolationLevel

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def restricted(policy: Policy, asked: dict[str, Any]) -> Policy:
    """Give the restricted policy; one that is refused is no example."""
    try:
        return policy.restrict(LEVELS, **asked)
    except SpecError:
        assume(False)
        raise


def same(one: Policy, other: Policy) -> bool:
    def sets(policy: Policy) -> tuple[Policy, Rules]:
        rules = {name: tuple(sorted(map(str, getattr(policy.rules, name)))) for name in ("use", "without", "sensitive")}
        ordered = replace(policy.rules, **rules)  # type: ignore[arg-type]  # three tuples
        return replace(
            policy, forbidden=tuple(sorted(policy.forbidden)), paths=PathPermissions(), rules=Rules.of("off")
        ), ordered  # fmt: skip

    return sets(one) == sets(other)


@QUICK
@given(st.data(), policies)
def test_whatever_is_asked_the_policy_is_never_wider(data: st.DataObject, policy: Policy) -> None:
    assert wider(restricted(policy, data.draw(bounds(policy))), policy) == []


@QUICK
@given(st.data(), policies)
def test_what_was_asked_is_kept_in_what_comes_back(data: st.DataObject, policy: Policy) -> None:
    asked = data.draw(bounds(policy))
    got = restricted(policy, asked)
    assert got.require >= frozenset(asked.get("require", ()))
    assert set(got.forbidden) >= set(asked.get("forbidden", ()))
    for name, value in (
        (n, getattr(asked["limits"], n)) for n in (asked["limits"].asked() if "limits" in asked else ())
    ):
        assert getattr(got.limits, name) <= value
    if "mounts" in asked:
        assert got.mounts == tuple(asked["mounts"])
    if "isolation" in asked:
        assert keeps(LEVELS[got.isolation], LEVELS[asked["isolation"]])


@QUICK
@given(st.data(), policies)
def test_restricting_twice_by_the_same_is_restricting_once(data: st.DataObject, policy: Policy) -> None:
    asked = data.draw(bounds(policy))
    once = restricted(policy, asked)
    assert once.restrict(LEVELS, **asked) == once
    assert once.restrict(LEVELS) == once


@QUICK
@given(st.data(), policies)
def test_a_second_bound_only_narrows_further(data: st.DataObject, policy: Policy) -> None:
    once = restricted(policy, data.draw(bounds(policy)))
    twice = restricted(once, data.draw(bounds(once)))
    assert wider(twice, once) == []
    assert wider(twice, policy) == []


@QUICK
@given(policies, bounds(free=True), bounds(free=True))
def test_bounds_may_come_in_any_order(policy: Policy, first: dict[str, Any], second: dict[str, Any]) -> None:
    policy = replace(
        policy, limits=Limits(disk="1G", files=1000).over(policy.limits), isolation="wide"
    )  # see the next test
    one = restricted(restricted(policy, first), second)
    assert same(one, restricted(restricted(policy, second), first))


def test_a_disk_that_was_as_large_as_memory_is_bounded_by_it() -> None:
    policy = Policy(isolation="wide", limits=Limits(memory="512M"))
    assert policy.restrict(LEVELS, limits={"disk": "1G"}).limits.disk == 512 << 20
    assert policy.restrict(LEVELS, limits={"memory": "256M"}).limits.disk is None
    assert policy.restrict(LEVELS, limits={"files": 1 << 30}).limits.files == 512 * 256


def test_nothing_asked_names_what_held_already() -> None:
    got = Policy(isolation="middle").restrict(LEVELS)
    assert got.limits == LEVELS["middle"].limits
    assert got.network == Network("loopback")


def test_a_wider_bound_changes_nothing() -> None:
    policy = Policy(isolation="narrow").restrict(LEVELS)
    got = policy.restrict(LEVELS, isolation="wide", network="host", limits={"memory": "1T"}, workspace="bind")
    assert got == policy


def test_a_stronger_level_brings_its_own_bounds() -> None:
    policy = Policy(isolation="wide", network=Network("host"), workspace=Workspace("bind", "/srv/work"))
    got = policy.restrict(LEVELS, isolation="narrow")
    assert (got.isolation, got.network, got.limits) == ("narrow", Network("none"), LEVELS["narrow"].limits)
    assert got.workspace == Workspace("overlay", "/srv/work")


def test_a_level_with_larger_defaults_widens_no_limit() -> None:
    got = Policy(isolation="wide").restrict(LEVELS, isolation="roomy")
    assert got.isolation == "roomy"
    assert got.limits == Limits(disk="1G").over(LEVELS["wide"].limits)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"isolation": "aside"}, "neither of 'middle' and 'aside' keeps all"),
        ({"isolation": "none-such"}, "'none-such' is unknown; known levels: aside, middle"),
        ({"isolation": 3}, "3 is not a name"),
        ({"network": "internet"}, "network: 'internet' is unknown"),
        ({"limits": {"memroy": "1G"}}, "limits: 'memroy' is unknown"),
        ({"limits": 3}, "a cloche.Limits is needed"),
        ({"workspace": "/srv"}, "workspace: '/srv' is unknown; a bound is tmpfs, image, overlay, bind"),
        ({"workspace": []}, "is unknown"),
        ({"require": "kernel"}, "require: a sequence"),
        ({"require": ["kernal"]}, "known guarantees are"),
        ({"require": [[]]}, "known guarantees are"),
        ({"forbidden": "/etc"}, "forbidden: a sequence"),
        ({"forbidden": [[]]}, "text is needed"),
        ({"forbidden": ["/workspace"]}, "contradicts itself"),
        ({"mounts": 3}, "mounts: a sequence"),
        ({"mounts": ["/srv:/data"]}, "a cloche.Mount is needed"),
        ({"mounts": [Mount("/srv/b", "/data")]}, "does not show /srv/b at /data"),
        ({"mounts": [Mount("/srv/a", "/elsewhere")]}, "does not show"),
        ({"mounts": [Mount("/srv/a", "/data", read_only=False)]}, "does not allow to create, delete, write at /data"),
        ({"mounts": [Mount("/srv/a", "/data")]}, "without /data/inner, what /data holds there would be seen"),
        ({"paths": ["/x"]}, "a cloche.PathPermissions is needed"),
        ({"rules": 3}, "rules: a cloche.Rules or one of off, on, audit is needed"),
        ({"rules": {"auto_block": "always"}}, "rules.auto_block: 'always' is unknown"),
        ({"paths": PathPermissions(allowed=("/data/*",))}, "can't be told that all of /data/"),
        ({"paths": PathPermissions(allowed=("/other",))}, "can't be told that all of /other"),
    ],
)  # fmt: skip
def test_what_would_widen_or_means_nothing_is_refused(asked: dict[str, Any], message: str) -> None:
    policy = Policy(
        isolation="middle", mounts=(Mount("/srv/a", "/data"), Mount("/srv/b", "/data/inner")),
        paths=PathPermissions(allowed=("/data", "/workspace")),
    )  # fmt: skip
    with pytest.raises(SpecError, match=message.replace("*", r"\*")):
        policy.restrict(LEVELS, **asked)


def test_paths_can_be_allowed_fewer_by_plain_paths_below() -> None:
    policy = Policy(isolation="middle", paths=PathPermissions(allowed=("/workspace", "/data/**")))
    got = policy.restrict(
        LEVELS, paths=PathPermissions(allowed=("/workspace/a", "/data/**"), read_only=("/workspace",))
    )
    assert got.paths == PathPermissions(allowed=("/workspace/a", "/data/**"), read_only=("/workspace",))


def test_levels_are_ordered_by_all_that_they_guarantee() -> None:
    order = {(a, b) for a in LEVELS for b in LEVELS if a != b and keeps(LEVELS[a], LEVELS[b])}
    assert {("narrow", "wide"), ("narrow", "middle"), ("middle", "wide")} <= order
    assert not any("aside" in pair for pair in order)
    assert ("wide", "middle") not in order
    reaching = replace(LEVELS["narrow"], name="reaching", networks=frozenset({"none", "host"}))
    assert keeps(LEVELS["narrow"], reaching)
    assert not keeps(reaching, LEVELS["narrow"])


def test_a_filter_that_is_not_known_can_only_be_compared_with_itself() -> None:
    own: IsolationLevel = replace(LEVELS["narrow"], name="own", syscalls="homemade")
    assert keeps(own, replace(own, name="other"))
    assert not keeps(own, LEVELS["narrow"])
    assert not keeps(LEVELS["narrow"], own)


def test_a_guarantee_can_be_required_on_top() -> None:
    got = Policy(isolation="wide").restrict(LEVELS, require=["kernel"])
    assert got.require == {Guarantee.KERNEL}


# -- rules ------------------------------------------------------------------------------------------------------------


def chosen(some: Rules) -> set[str]:
    return {rule.id for rule in some.chosen(RULES)}


@QUICK
@given(rules, rules)
def test_joined_rules_find_all_that_either_do(one: Rules, other: Rules) -> None:
    assert chosen(one.joined(other)) >= chosen(one) | chosen(other)


def test_rules_are_added_and_none_is_taken_away() -> None:
    policy = Policy(isolation="wide", rules=Rules(use=("net-*",), without=("net-2",)))
    assert chosen(policy.restrict(LEVELS, rules="off").rules) == {"net-1"}
    assert chosen(policy.restrict(LEVELS, rules={"use": ("a",)}).rules) == {"net-1", "a"}
    assert chosen(policy.restrict(LEVELS, rules={"use": ("a", "net-2")}).rules) == {"net-1", "net-2", "a"}
    assert chosen(policy.restrict(LEVELS, rules={"use": ("*",), "without": ("net-1", "a")}).rules) == {"net-1", "net-2"}
    own = Rule(id="own", summary="o", severity="low", events=frozenset({Act.EXEC}))  # type: ignore[arg-type]
    got = policy.restrict(LEVELS, rules=Rules(use=(own,))).restrict(LEVELS, rules=Rules(use=(own,)))
    assert got.rules.use == ("net-*", own)


def test_a_threshold_only_comes_down() -> None:
    on = Rules(auto_block=Severity.HIGH, auto_suspend="never", auto_terminate=Severity.CRITICAL)
    policy = Policy(isolation="wide", rules=on)
    bound = Rules(use=(), auto_block="critical", auto_suspend="medium", auto_terminate="never")  # type: ignore[arg-type]
    assert policy.restrict(LEVELS, rules=bound).rules == replace(on, auto_suspend=Severity.MEDIUM)
    laxer = replace(on, auto_block="never")
    assert replace(policy, rules=laxer).restrict(LEVELS).rules == laxer
    stricter_level = replace(policy, rules=laxer).restrict(LEVELS, isolation="narrow").rules
    assert (stricter_level.auto_block, stricter_level.auto_terminate) == (Severity.MEDIUM, Severity.HIGH)


def test_rules_that_only_tell_can_be_made_to_act_and_never_the_other_way() -> None:
    def audit(has: str, asked: str) -> bool:
        return Policy(isolation="wide", rules=Rules.of(has)).restrict(LEVELS, rules=asked).rules.audit

    assert [audit("audit", "on"), audit("on", "audit"), audit("audit", "audit"), audit("audit", "off")] == [
        False, False, True, True,
    ]  # fmt: skip
    assert audit("off", "audit")  # telling is more than nothing


def test_what_counts_as_secret_only_grows() -> None:
    policy = Policy(isolation="wide", rules=Rules(sensitive=("/a/**",)))
    got = policy.restrict(LEVELS, rules={"use": (), "sensitive": ("/b", "/a/**")})
    assert got.rules.sensitive == ("/a/**", "/b")
