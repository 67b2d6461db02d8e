"""Reads pytest-benchmark's JSON, judges it by `budget.toml`, and writes tables for people."""

import json
import statistics
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

INSIDE = ("open_close", "fork_exec", "getppid")
TITLES = {
    "start": ("Create a sandbox, run /bin/true, delete it", "ms"),
    "exec": ("Run /bin/true in a living sandbox", "ms"),
    "open_close": ("Inside: open + close of one file", "µs"),
    "fork_exec": ("Inside: fork + exec + wait of a static program", "µs"),
    "getppid": ("Inside: getppid", "ns"),
    "output": ("A guest's standard output to the host", "MB/s"),
}
SCALE = {"ms": 1e3, "µs": 1e6, "ns": 1e9}


@dataclass(frozen=True, slots=True)
class Row:
    """All rounds of one contender at one figure: seconds each, sorted; for ``output`` also the bytes of one round."""

    contender: str
    seconds: tuple[float, ...]
    size: int = 0

    def shown(self, unit: str) -> tuple[float, float, float]:
        """Give best, median and 95th percentile (the worst twentieth begins there) in ``unit``."""
        best, median = self.seconds[0], statistics.median(self.seconds)
        late = self.seconds[min(len(self.seconds) - 1, int(len(self.seconds) * 0.95))]
        if unit == "MB/s":
            return self.size / best / 1e6, self.size / median / 1e6, self.size / late / 1e6
        return best * SCALE[unit], median * SCALE[unit], late * SCALE[unit]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the benchmarks: figure -> contender -> row, in the order they were measured."""

    figures: dict[str, dict[str, Row]]
    skipped: dict[str, str]
    """Contender -> why it did not take part."""
    contenders: dict[str, str]
    """Contender -> what it applies to the guest."""
    when: str
    machine: str

    def with_figures_of(self, other: "Run") -> "Run":
        """Give this run with every figure that ``other`` has taken from there."""
        return Run(self.figures | other.figures, self.skipped, self.contenders, self.when, self.machine)


def load(path: Path) -> Run:
    """Read a run from pytest-benchmark's JSON; raises ``KeyError`` if it is not one of `benchmarks/`."""
    document = json.loads(path.read_text())
    found: dict[tuple[str, str], list[float]] = {}
    sizes: dict[tuple[str, str], int] = {}
    for entry in document["benchmarks"]:
        contender, extra = entry["params"]["contender"], entry["extra_info"]
        if entry["group"] == "inside":  # the guest's own clock, in nanoseconds
            for name in INSIDE:
                found.setdefault((name, contender), []).extend(ns * 1e-9 for ns in extra[name])
        else:
            found.setdefault((entry["group"], contender), []).extend(entry["stats"]["data"])
            sizes[entry["group"], contender] = extra.get("bytes", 0)
    figures: dict[str, dict[str, Row]] = {}
    for (figure, contender), seconds in found.items():
        row = Row(contender, tuple(sorted(seconds)), sizes.get((figure, contender), 0))
        figures.setdefault(figure, {})[contender] = row
    figures = {figure: figures[figure] for figure in TITLES if figure in figures}
    info = document["machine_info"]
    cpu = info["cpu"]
    machine = f"{cpu.get('brand_raw', 'unknown processor')}, {cpu.get('count', '?')} processors, "
    machine += f"Linux {info['release']}, Python {info['python_version']}"
    return Run(figures, document["skipped"], document["contenders"], document["datetime"][:10], machine)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One budget beside what was measured. ``value`` is None where a contender did not take part."""

    budget: str
    figure: str
    state: Literal["kept", "BREACH", "not measured"]
    value: float | None
    text: str


def judge(run: Run, budgets: Path) -> list[Verdict]:
    """Judge every budget; raises ``ValueError`` for one that is not understood."""
    return [_verdict(run, name, budget) for name, budget in tomllib.loads(budgets.read_text()).items()]


def _verdict(run: Run, name: str, budget: dict[str, Any]) -> Verdict:
    rows = run.figures.get(budget["figure"], {})
    ours, theirs = rows.get(budget["ours"]), [rows[peer] for peer in budget["theirs"] if peer in rows]
    if ours is None:  # a gate that passes because cloche did not run would be worth nothing
        return Verdict(name, budget["figure"], "BREACH", None, f"{budget['ours']} was not measured")
    if not theirs:
        why = "; ".join(f"{peer}: {run.skipped.get(peer, 'not in this run')}" for peer in budget["theirs"])
        return Verdict(name, budget["figure"], "not measured", None, why)
    best = min(theirs, key=lambda row: row.seconds[0])
    mine, other = ours.seconds[0], best.seconds[0]
    pair = f"{ours.contender} / {best.contender}"
    if "ratio_most" in budget:
        value, limit, good = mine / other, f"at most {budget['ratio_most']:g}", mine / other <= budget["ratio_most"]
    elif "below" in budget:
        value, limit, good = mine / other, f"below {budget['below']:g}", mine / other < budget["below"]
    elif "ratio_least" in budget:
        value, limit, good = other / mine, f"at least {budget['ratio_least']:g}", other / mine >= budget["ratio_least"]
    elif "added_ms_most" in budget:
        pair, value = f"{ours.contender} - {best.contender}, ms", (mine - other) * 1e3
        limit, good = f"at most {budget['added_ms_most']:g}", value <= budget["added_ms_most"]
    else:
        raise ValueError(f"budget {name}: no limit given; see the head of budget.toml")
    if "target" in budget:
        limit += f", target {budget['target']:g} {'met' if value <= budget['target'] else 'missed'}"
    return Verdict(name, budget["figure"], "kept" if good else "BREACH", value, f"{pair}: {value:.3g} ({limit})")


def table(run: Run, figure: str) -> tuple[str, list[list[str]]]:
    """Give the title and the lines of one figure's table, the head first; ours come first."""
    title, unit = TITLES[figure]
    rows = run.figures[figure]
    ours = next((row for name, row in rows.items() if name.startswith("cloche")), None)
    head = f"best, {ours.contender} = 1" if ours is not None else ""
    lines = [["", f"best {unit}", f"median {unit}", f"p95 {unit}", head, ""]]
    for name, row in rows.items():
        best, median, late = row.shown(unit)
        compared = ["", ""]
        if ours is not None:
            share = row.seconds[0] / ours.seconds[0]
            rate = 1 / share if unit == "MB/s" else share
            wins = share < 0.995 and not name.startswith("cloche")
            compared = [f"{rate:.2f}", "ahead of cloche" if wins else ""]
        lines.append([name, *(_short(value) for value in (best, median, late)), *compared])
    return title, lines


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}" if value >= 100 else f"{value:.2f}"


def plain(run: Run) -> Iterable[str]:
    """Give every table as lines for a terminal."""
    for figure in run.figures:
        title, lines = table(run, figure)
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        yield f"\n{title}"
        for line in lines:
            cells = [
                line[0].ljust(widths[0]),
                *(cell.rjust(widths[i]) for i, cell in enumerate(line[1:-1], 1)),
                line[-1],
            ]
            yield "  " + "  ".join(cells).rstrip()


def markdown(run: Run, verdicts: list[Verdict]) -> str:
    """Give `docs/benchmarks.md`."""
    out = [HEAD.format(when=run.when, machine=run.machine)]
    out += ["| budget | state | ours / theirs |", "|---|---|---|"]
    out += [f"| {v.budget} | {v.state} | {v.text} |" for v in verdicts]
    for figure in run.figures:
        title, (head, *lines) = table(run, figure)
        out += ["", f"## {title}", "", "| " + " | ".join(head) + " |", "|---|" + "---:|" * 4 + "---|"]
        out += ["| " + " | ".join(line) + " |" for line in lines]
    out += ["", "## The contenders", "", "| name | what is applied to the guest |", "|---|---|"]
    out += [f"| {name} | {what} |" for name, what in run.contenders.items()]
    if run.skipped:
        out += ["", "Did not take part:", ""] + [f"- {name}: {why}" for name, why in run.skipped.items()]
    return "\n".join(out) + "\n"


HEAD = """\
# Benchmarks

Written by `python benchmarks/gate.py --write-docs` on {when}: {machine}. Do not edit; run it again.

Times are those of a shared machine: compare rows, not machines. All contenders of a table take turns, a few rounds at a
time, so that a busy minute hits each. Budgets (`benchmarks/budget.toml`) are judged on the best round of each; a breach
is measured three times before it counts. Peers run in their cheapest form that still isolates something; cloche runs
through its public blocking API with the whole `enhanced` level enforced. Every contender's answer (exit code, output,
CRC-32 of the bytes) is checked before it is timed.

![Best, median and 95th percentile of each contender](benchmarks.svg)

## Budgets
"""
