"""The judge of the benchmarks: each kind of limit, kept and breached, and what was not measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from benchmarks.report import TITLES, Row, Run, judge, table

if TYPE_CHECKING:
    from pathlib import Path

FIGURE: Final = next(iter(TITLES))


def run(**skipped: str) -> Run:
    """Give a run where ours took 2 ms at best and theirs 1 ms."""
    rows = {"ours": Row("ours", (0.002, 0.005)), "theirs": Row("theirs", (0.001, 0.009))}
    return Run({FIGURE: rows}, skipped, {}, "2000-01-01", "a machine")


def judged(folder: Path, limit: str, *, ours: str = "ours", theirs: str = '["theirs"]', **skipped: str) -> str:
    """Give the state and the text of a budget with that limit."""
    budget = folder / "budget.toml"
    budget.write_text(f'[one]\nfigure = "{FIGURE}"\nours = "{ours}"\ntheirs = {theirs}\n{limit}\n', encoding="utf-8")
    [verdict] = judge(run(**skipped), budget)
    return f"{verdict.state}: {verdict.text}"


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [
        ("ratio_most = 2.0", "kept: ours / theirs: 2 (at most 2)"),
        ("ratio_most = 1.9", "BREACH: ours / theirs: 2 (at most 1.9)"),
        ("below = 2.1", "kept: ours / theirs: 2 (below 2.1)"),
        ("below = 2.0", "BREACH: ours / theirs: 2 (below 2)"),
        ("ratio_least = 0.5", "kept: ours / theirs: 0.5 (at least 0.5)"),
        ("ratio_least = 0.6", "BREACH: ours / theirs: 0.5 (at least 0.6)"),
        ("added_ms_most = 1.0", "kept: ours - theirs, ms: 1 (at most 1)"),
        ("added_ms_most = 0.9", "BREACH: ours - theirs, ms: 1 (at most 0.9)"),
        ("us_most = 2000", "kept: ours, µs: 2e+03 (at most 2000)"),
        ("us_most = 1999", "BREACH: ours, µs: 2e+03 (at most 1999)"),
        ("ratio_most = 4\ntarget = 2", "kept: ours / theirs: 2 (at most 4, target 2 met)"),
        ("ratio_least = 0.4\ntarget = 0.6", "kept: ours / theirs: 0.5 (at least 0.4, target 0.6 missed)"),
        ("ratio_most = 4\ntarget = 1", "kept: ours / theirs: 2 (at most 4, target 1 missed)"),
    ],
)
def test_each_kind_of_limit_is_judged_on_the_best_rounds(tmp_path: Path, limit: str, verdict: str) -> None:
    assert judged(tmp_path, limit) == verdict


def test_memory_is_judged_in_kilobytes_and_shown_so(tmp_path: Path) -> None:
    rows = {"cloche js": Row("cloche js", (215_000.0, 216_000.0))}
    measured = Run({"interpreter_density": rows}, {}, {}, "2000-01-01", "a machine")
    budget = tmp_path / "budget.toml"
    text = '[one]\nfigure = "interpreter_density"\nours = "cloche js"\ntheirs = []\nkb_most = {}\n'
    for most, state in ((215, "kept"), (214, "BREACH")):
        budget.write_text(text.format(most), encoding="utf-8")
        assert [verdict.state for verdict in judge(measured, budget)] == [state]
    assert table(measured, "interpreter_density")[1][1][:3] == ["cloche js", "215", "216"]


def test_what_did_not_take_part_is_not_measured_unless_it_is_ours_without_a_reason(tmp_path: Path) -> None:
    alone = judged(tmp_path, "ratio_most = 1", theirs='["third"]', third="not installed")
    assert alone == "not measured: third: not installed"
    assert judged(tmp_path, "us_most = 2000", theirs='["third"]').startswith("kept")
    assert (
        judged(tmp_path, "us_most = 1", ours="fourth", fourth="no namespaces") == "not measured: fourth: no namespaces"
    )
    assert judged(tmp_path, "us_most = 1", ours="fourth") == "BREACH: fourth was not measured"


def test_a_run_of_some_takes_the_place_of_its_figures_only() -> None:
    first, second = list(TITLES)[:2]
    row = Row("ours", (1.0,))
    old = Run({first: {"ours": row}, second: {"ours": row}}, {"late": "was missing"}, {"ours": "before"}, "2000", "one")
    new = Run({first: {"late": row}}, {"gone": "is missing"}, {"late": "now there"}, "2001", "one")
    both = old.with_figures_of(new)
    assert both.figures == {first: {"late": row}, second: {"ours": row}}
    assert list(both.figures) == [first, second]
    assert both.skipped == {"gone": "is missing"}
    assert both.contenders == {"ours": "before", "late": "now there"}
    assert both.when == "2001"


def test_a_budget_without_a_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="budget one: no limit given"):
        judged(tmp_path, "target = 1")
