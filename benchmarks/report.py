"""Reads pytest-benchmark's JSON, judges it by `budget.toml`, and writes tables for people."""

import json
import math
import statistics
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.json_documents import TITLES as JSON

TITLES = {
    "start": ("Create a sandbox, run /bin/true, delete it", "ms"),
    "exec": ("Run /bin/true in a living sandbox", "ms"),
    "limits": ("Create a sandbox, run /bin/true, delete it: with every limit and with none", "ms"),
    "open_close": ("Inside: open + close of one file", "µs"),
    "fork_exec": ("Inside: fork + exec + wait of a static program", "µs"),
    "getppid": ("Inside: getppid", "ns"),
    "watch_opens": ("Watching: a Python program opens and reads 20,000 files, each 200 of them", "ms"),
    "watch_gcc": ("Watching: gcc -O1 of one file", "ms"),
    "watch_pip": ("Watching: pip installs a local wheel of 120 files", "ms"),
    "watch_open": ("Watching: open + close of one file, by a program in C (medians)", "µs"),
    "watch_busy": ("Watching: the same while another Python thread of the host spins", "µs"),
    "block_p50": ("Watching: a call is refused by the host: median", "µs"),
    "block_p99": ("Watching: a call is refused by the host: 99th percentile", "µs"),
    "visible": ("Watching: from the act to the event in Python", "ms"),
    "incident_p50": ("Rules: from the act to its incident: median", "ms"),
    "incident_p99": ("Rules: from the act to its incident: 99th percentile", "ms"),
    "suspended_p50": ("Rules: from the act to the suspended sandbox: median", "ms"),
    "suspended_p99": ("Rules: from the act to the suspended sandbox: 99th percentile", "ms"),
    "frozen_p50": ("Rules: from the act to a guest in gVisor that stands still: median", "ms"),
    "frozen_p99": ("Rules: from the act to a guest in gVisor that stands still: 99th percentile", "ms"),
    "killed_p50": ("Rules: from the act to the killed sandbox: median", "ms"),
    "killed_p99": ("Rules: from the act to the killed sandbox: 99th percentile", "ms"),
    "output": ("A guest's standard output to the host", "MB/s"),
    "files_in": ("100 MB into a living sandbox", "MB/s"),
    "files_out": ("100 MB out of it", "MB/s"),
    "walk": ("Walk 10,000 files of it", "ms"),
    "sentries": ("Take a message of gVisor's sentry apart", "ns"),
    "rules": ("Judge an event of a real stream by 23 rules with 129 patterns", "ns"),
    "rules_1000": ("Judge it by 69 rules with 1,015 patterns", "ns"),
    "rules_build": ("Compile these 69 rules", "ms"),
    "gvisor_start": ("gVisor: create a sandbox, run /bin/true, delete it", "ms"),
    "pool_first": ("Ask for a sandbox, and have the first output of a program in it", "ms"),
    "restored_first": ("gVisor: ask for a sandbox, and have the answer of a Python in it that has imported much", "ms"),
    "gvisor_exec": ("gVisor: run /bin/true in a living sandbox", "ms"),
    "gvisor_message": ("gVisor: a line to a program in a living sandbox, and its answer", "µs"),
    "gvisor_opens": ("gVisor: a Python program opens and reads 2,000 files, each 200 of them", "ms"),
    "interpreter_fresh": ("Code without a process: 1+2 in an interpreter of its own", "µs"),
    "interpreter_warm": ("Code without a process: 1+2 in one that stays", "µs"),
    "interpreter_fresh_python": ("Code without a process: Python's 1+2 in an interpreter of its own", "µs"),
    "interpreter_warm_python": ("Code without a process: Python's 1+2 in one that stays", "µs"),
    "interpreter_call": ("Code without a process: a call of a function of the host", "µs"),
    "interpreter_stream": ("Code without a process: an item of a stream", "µs"),
    "interpreter_saved": ("Code without a process: a small session saved and restored", "µs"),
    "interpreter_saved_large": ("Code without a process: a session of 14 MB saved and restored", "ms"),
    "interpreter_density": ("Code without a process: private memory of an interpreter that waits", "KB"),
    "interpreter_overshoot": ("Code without a process: the last of eight endless loops ends so late", "ms"),
    "interpreter_compute": ("Code without a process: code that only computes, fib(27)", "ms"),
    "wasi_start": ("WASI: create a sandbox, run a module that says hello, delete it", "ms"),
    "wasi_exec": ("WASI: run it in a living sandbox", "ms"),
    **{f"json_{name}": (f"JSON patch: {title}", "µs" if name == "editor" else "ms") for name, title in JSON.items()},
    "patch_apply": ("JSON patch: ten operations applied to a project's files (0.9 MB)", "ms"),
}
SCALE = {"ms": 1e3, "µs": 1e6, "ns": 1e9, "KB": 1e-3}


@dataclass(frozen=True, slots=True)
class Row:
    """All rounds of one contender at one figure: seconds each, sorted; where bytes are moved also how many a round.

    A round of many ``items`` counts as the seconds of one. Where memory is measured, what is called seconds is bytes.
    """

    contender: str
    seconds: tuple[float, ...]
    size: int = 0
    note: str = ""
    """What else there is to say of it."""

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
        figures = self.figures | other.figures
        ordered = {figure: figures[figure] for figure in TITLES if figure in figures}
        skipped = {name: why for name, why in (self.skipped | other.skipped).items() if name not in other.contenders}
        return Run(ordered, skipped, self.contenders | other.contenders, other.when, other.machine)


def load(path: Path) -> Run:
    """Read a run from pytest-benchmark's JSON; raises ``KeyError`` if it is not one of `benchmarks/`."""
    document = json.loads(path.read_text())
    found: dict[tuple[str, str], list[float]] = {}
    sizes: dict[tuple[str, str], int] = {}
    notes: dict[tuple[str, str], str] = {}
    for entry in document["benchmarks"]:
        contender, extra = entry["params"]["contender"], entry["extra_info"]
        if "inside" in extra:  # by the guest's own clock, in nanoseconds
            for name, values in extra["inside"].items():
                found.setdefault((name, contender), []).extend(ns * 1e-9 for ns in values)
        elif "bytes_each" in extra:
            for name, values in extra["bytes_each"].items():
                found.setdefault((name, contender), []).extend(values)
        else:
            items = extra.get("items", 1)
            found.setdefault((entry["group"], contender), []).extend(took / items for took in entry["stats"]["data"])
            sizes[entry["group"], contender] = extra.get("bytes", 0)
            notes[entry["group"], contender] = extra.get("note", "")
    figures: dict[str, dict[str, Row]] = {}
    for (figure, contender), seconds in found.items():
        row = Row(
            contender, tuple(sorted(seconds)), sizes.get((figure, contender), 0), notes.get((figure, contender), "")
        )
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


_KINDS: dict[str, tuple[str, str, Callable[[float, float], float]]] = {
    "ratio_most": ("{ours} / {theirs}", "at most", lambda mine, other: mine / other),
    "below": ("{ours} / {theirs}", "below", lambda mine, other: mine / other),
    "ratio_least": ("{ours} / {theirs}", "at least", lambda mine, other: other / mine),
    "us_most": ("{ours}, µs", "at most", lambda mine, _: mine * 1e6),
    "kb_most": ("{ours}, KB", "at most", lambda mine, _: mine * 1e-3),
    "added_ms_most": ("{ours} - {theirs}, ms", "at most", lambda mine, other: (mine - other) * 1e3),
}
"""By the name of a limit: what is compared, how the limit is said, and the value of our best round and theirs."""


def _verdict(run: Run, name: str, budget: dict[str, Any]) -> Verdict:
    if budget["figure"].endswith("*"):
        return _family(run, name, budget)
    rows = run.figures.get(budget["figure"], {})
    ours, theirs = rows.get(budget["ours"]), [rows[peer] for peer in budget["theirs"] if peer in rows]
    if ours is None and budget["ours"] in run.skipped:  # what it needs is not on this machine
        return Verdict(name, budget["figure"], "not measured", None, f"{budget['ours']}: {run.skipped[budget['ours']]}")
    if ours is None:  # a gate that passes because cloche did not run would be worth nothing
        return Verdict(name, budget["figure"], "BREACH", None, f"{budget['ours']} was not measured")
    if not theirs and not {"us_most", "kb_most"} & budget.keys():
        why = "; ".join(f"{peer}: {run.skipped.get(peer, 'not in this run')}" for peer in budget["theirs"])
        return Verdict(name, budget["figure"], "not measured", None, why)
    best = min(theirs or [ours], key=lambda row: row.seconds[0])
    kind = _kind(name, budget)
    pair, _, of = _KINDS[kind]
    value = of(ours.seconds[0], best.seconds[0])
    return _judged(name, budget, kind, value, pair.format(ours=ours.contender, theirs=best.contender))


def _family(run: Run, name: str, budget: dict[str, Any]) -> Verdict:
    """Judge a budget over all figures of which the names begin so: by their geometric mean, or by the worst of them."""
    figures = [rows for figure, rows in run.figures.items() if figure.startswith(budget["figure"][:-1])]
    (peer,) = budget["theirs"]
    both = [(rows[budget["ours"]], rows[peer]) for rows in figures if budget["ours"] in rows and peer in rows]
    if not both:
        why = (
            run.skipped.get(peer) or run.skipped.get(budget["ours"]) or f"{peer} and {budget['ours']}: not in this run"
        )
        return Verdict(name, budget["figure"], "not measured", None, why)
    kind = _kind(name, budget)
    pair, _, of = _KINDS[kind]
    values = [of(ours.seconds[0], theirs.seconds[0]) for ours, theirs in both]
    if budget["over"] == "mean":
        value = math.exp(statistics.fmean(map(math.log, values)))
    else:
        value = min(values) if kind == "ratio_least" else max(values)
    text = f"{pair.format(ours=budget['ours'], theirs=peer)}, {budget['over']} of {len(values)}"
    return _judged(name, budget, kind, value, text)


def _kind(name: str, budget: dict[str, Any]) -> str:
    kind = next((kind for kind in _KINDS if kind in budget), None)
    if kind is None:
        raise ValueError(f"budget {name}: no limit given; see the head of budget.toml")
    return kind


def _judged(name: str, budget: dict[str, Any], kind: str, value: float, pair: str) -> Verdict:
    words, bound = _KINDS[kind][1], budget[kind]
    least = kind == "ratio_least"
    good = value < bound if kind == "below" else value >= bound if least else value <= bound
    limit = f"{words} {bound:g}"
    if "target" in budget:
        met = value >= budget["target"] if least else value <= budget["target"]
        limit += f", target {budget['target']:g} {'met' if met else 'missed'}"
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
            compared = [f"{rate:.2f}", "; ".join(filter(None, ["ahead of cloche" if wins else "", row.note]))]
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
