from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import Enforced, Enforcement, Guarantee, Partial, Unenforced

if TYPE_CHECKING:
    from cloche import Kept

REPORT = Enforcement(
    {
        "network": Enforced("own namespace"),
        "disk": Partial("sized tmpfs", "inodes are not bounded"),
        "memory": Unenforced("no control group here", "delegate one"),
        "cpu": Unenforced("no control group here"),
    }
)
kept: st.SearchStrategy[Kept] = st.one_of(
    st.builds(Enforced, st.text()), st.builds(Partial, st.text(), st.text()), st.builds(Unenforced, st.text())
)


def test_a_report_is_a_mapping_that_can_not_be_changed() -> None:
    features: dict[str, Kept] = {"network": Enforced("x")}
    report = Enforcement(features)
    features["network"] = Unenforced("changed")
    assert report["network"] == Enforced("x")
    assert list(report) == ["network"]
    assert len(report) == 1
    assert "disk" not in report
    with pytest.raises(TypeError):
        report["network"] = Enforced("y")  # type: ignore[index]


def test_each_entry_reads_as_one_line() -> None:
    assert [str(k) for k in REPORT.values()] == [
        "own namespace",
        "sized tmpfs (inodes are not bounded)",
        "no control group here; delegate one",
        "no control group here",
    ]
    assert "own namespace" in repr(REPORT)


def test_refusals_name_what_is_needed_and_not_kept() -> None:
    assert REPORT.refusals(["network", "disk"]) == {}
    assert REPORT.refusals(["memory", "network"]) == {"memory": "no control group here; delegate one"}


def test_a_feature_that_is_not_reported_is_not_kept() -> None:
    assert "does not report" in REPORT.refusals(["kernel"])["kernel"]


@given(st.dictionaries(st.sampled_from([g.value for g in Guarantee]), kept), st.sets(st.sampled_from(list(Guarantee))))
def test_nothing_needed_is_both_unkept_and_accepted(features: dict[str, Kept], needed: set[Guarantee]) -> None:
    report = Enforcement(features)
    refused = report.refusals(needed)
    for name in needed:
        assert (name in refused) == (name not in report or isinstance(report[name], Unenforced))


def test_a_report_is_plain_data_for_json() -> None:
    assert json.loads(json.dumps(REPORT.as_json())) == {
        "network": {"status": "enforced", "mechanism": "own namespace"},
        "disk": {"status": "partial", "mechanism": "sized tmpfs", "caveat": "inodes are not bounded"},
        "memory": {"status": "unenforced", "reason": "no control group here", "fix": "delegate one"},
        "cpu": {"status": "unenforced", "reason": "no control group here", "fix": ""},
    }
