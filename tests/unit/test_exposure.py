"""The score: how open a sandbox is, from what its policy says and its runtime reports."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cloche import (
    Capacity,
    Enforced,
    Guarantee,
    Kept,
    Limits,
    Mount,
    Network,
    Partial,
    Policy,
    Rules,
    Severity,
    Spec,
    SpecError,
    Unenforced,
    Workspace,
    score,
)
from cloche.exposure import WORDS
from tests.unit.profiled import LEVELS, bounds, policies

if TYPE_CHECKING:
    from collections.abc import Mapping

MACHINE = Capacity(memory=8 << 30, processors=4)
FEATURES = (
    *(g.value for g in Guarantee), "open_files", "file_size", "output", "wall",
)  # fmt: skip
WHOLE: Mapping[str, Kept] = {name: Enforced("kept") for name in FEATURES}
JUDGED: Mapping[str, Kept] = {**WHOLE, "rules": Enforced("judged")}
reports = st.dictionaries(
    st.sampled_from([*FEATURES, "rules"]),
    st.sampled_from([Enforced("a"), Partial("b", "c"), Unenforced("d", "e"), Unenforced("f")]),
)


def spec_of(policy: Policy) -> Spec:
    level = LEVELS[policy.isolation]
    return Spec(
        id="abc", name=None, level=level, guarantees=level.guarantees | policy.require,
        network=policy.network or level.network, limits=policy.limits.over(level.limits), workspace=policy.workspace,
        mounts=policy.mounts, paths=policy.permissions(), rules=policy.rules.at(level),
    )  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), policies, reports)
def test_restricting_never_makes_the_score_worse(data: st.DataObject, policy: Policy, report: dict[str, Kept]) -> None:
    try:
        tighter = policy.restrict(LEVELS, **data.draw(bounds(policy)))
    except SpecError:
        assume(False)  # refused: there is nothing to score
        raise
    before, after = (score(spec_of(p), report, capacity=MACHINE) for p in (policy, tighter))
    assert after.number <= before.number
    by_name = {row.feature: row.share for row in before.rows}
    assert [row.feature for row in after.rows if row.share > by_name[row.feature]] == []


@given(reports, st.sampled_from([*FEATURES, "rules"]))
def test_keeping_more_never_makes_the_score_worse(report: dict[str, Kept], name: str) -> None:
    spec = spec_of(Policy(isolation="middle", rules=Rules.of("on")))
    scores = [
        score(spec, {**report, name: kept}, capacity=MACHINE).number
        for kept in (Enforced("a"), Partial("b", "c"), Unenforced("d"))
    ]
    assert scores == sorted(scores)


def test_the_weights_are_points_of_a_hundred() -> None:
    rows = score(spec_of(Policy(isolation="wide")), {}, capacity=MACHINE).rows
    assert sum(row.weight for row in rows) == 100
    assert len({row.feature for row in rows}) == len(rows)


def test_all_open_is_ten_and_all_closed_is_nearly_nothing() -> None:
    limits = Limits(
        memory="16G", cpu=8, pids=1 << 20, open_files=1 << 20, file_size="16G", output="1G", wall=math.inf
    )  # fmt: skip
    given_away = Policy(
        isolation="wide", network=Network("host"), limits=limits, workspace=Workspace("bind", "/srv/w"),
        mounts=tuple(Mount(f"/srv/{n}", f"/m{n}", read_only=False) for n in range(40)),
    )  # fmt: skip
    worst = score(spec_of(given_away), {}, capacity=MACHINE)
    assert (worst.number, worst.word) == (10.0, "open")
    tiny = Limits(memory="4M", cpu=0.01, pids=1, open_files=8, file_size=4096, disk="64K", output=0, wall=0.001)
    most = Policy(isolation="narrow", limits=tiny, rules=Rules(auto_block=Severity.INFO))
    best = score(spec_of(most), JUDGED, capacity=MACHINE)
    assert (best.number, best.word) == (0.01, "sealed")


def test_a_feature_that_is_not_reported_counts_as_open() -> None:
    spec = spec_of(Policy(isolation="narrow"))
    for name in FEATURES:
        less = {key: kept for key, kept in WHOLE.items() if key != name}
        if name != "pause":
            assert score(spec, less, capacity=MACHINE).number > score(spec, WHOLE, capacity=MACHINE).number


def test_each_row_says_what_is_so_and_what_is_exposed_what_to_do() -> None:
    report = {**WHOLE, "kernel": Unenforced("it is shared", "use another"), "process": Partial("a wall", "thin here")}
    rows = {row.feature: row for row in score(spec_of(Policy(isolation="wide")), report, capacity=MACHINE).rows}
    assert (rows["kernel"].found, rows["kernel"].improve) == ("it is shared", "use another")
    assert rows["process"].found == "a wall; but thin here"
    assert (rows["filesystem"].exposes, rows["filesystem"].improve) == ("", "")
    for row in rows.values():
        assert row.found
        assert bool(row.exposes) == bool(row.improve) == (row.share > 0)


def test_the_rows_begin_with_what_adds_most() -> None:
    rows = score(spec_of(Policy(isolation="wide")), {}, capacity=MACHINE).rows
    assert [row.points for row in rows] == sorted((row.points for row in rows), reverse=True)


def test_rules_that_answer_more_expose_less() -> None:
    rules = ["off", "audit", {"auto_block": "never"}, {"auto_block": "critical"}, {"auto_terminate": "low"}]
    rows = [
        next(row for row in score(spec_of(policy), JUDGED, capacity=MACHINE).rows if row.feature == "rules")
        for policy in (Policy(isolation="wide", rules=Rules.of(one)) for one in rules)  # type: ignore[arg-type]
    ]
    assert [row.share for row in rows] == [1.0, 0.6, 0.6, 0.48, 0.12]
    assert "answered from low on" in rows[-1].found
    report = {**WHOLE, "rules": Unenforced("no plugin brings rules")}
    row = next(row for row in score(spec_of(Policy(isolation="wide", rules=Rules())), report).rows
               if row.feature == "rules")  # fmt: skip
    assert (row.share, row.found) == (1.0, "no plugin brings rules")


@pytest.mark.parametrize("policy", [
    {"network": Network("host")},
    {"workspace": Workspace("bind", "/srv/w")},
    {"mounts": (Mount("/srv/a", "/a"),)},
    {"limits": Limits(memory="4G")},
])  # fmt: skip
def test_opening_more_makes_the_score_worse(policy: dict[str, Any]) -> None:
    closed = Policy(isolation="wide")
    numbers = [score(spec_of(p), WHOLE, capacity=MACHINE).number for p in (closed, replace(closed, **policy))]
    assert numbers[0] < numbers[1]


def test_the_machine_is_this_one_unless_another_is_given() -> None:
    here = Capacity.here()
    assert here.memory > 1 << 26
    assert here.processors >= 1
    spec = spec_of(Policy(isolation="wide"))
    assert score(spec, WHOLE) == score(spec, WHOLE, capacity=here)


def test_every_score_has_a_word() -> None:
    assert [most for most, _ in WORDS] == sorted(most for most, _ in WORDS)
    assert WORDS[-1][0] == 10.0
