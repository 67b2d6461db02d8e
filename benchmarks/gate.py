"""Runs the benchmarks, prints them beside their peers, and fails on a breach of `budget.toml`.

    python benchmarks/gate.py                 run in quick mode (under four minutes) and judge
    python benchmarks/gate.py --full          five times the rounds
    python benchmarks/gate.py --only FILE...  run and judge only these files of benchmarks/, e.g. test_wasi.py
    python benchmarks/gate.py --install       install the peers first (setup_peers.sh)
    python benchmarks/gate.py --json FILE     judge a run made before; what --only measures takes its place there
    python benchmarks/gate.py --write-docs    also write docs/benchmarks.md and docs/benchmarks.svg

Exit code 0: every budget kept. 1: a breach, measured three times. 2: the benchmarks themselves failed.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))  # started as a script, only this folder is on the path

from benchmarks import chart, json_documents, report  # noqa: E402

FILES = {
    "start": "test_start.py", "exec": "test_exec.py", "output": "test_output.py", "limits": "test_limits.py",
    "files_in": "test_files.py", "files_out": "test_files.py", "walk": "test_files.py",
    "pool_first": "test_pool.py", "restored_first": "test_restored.py",
    "sentries": "test_sentries.py",
    "rules": "test_rules.py", "rules_1000": "test_rules.py", "rules_build": "test_rules.py",
    **dict.fromkeys(("gvisor_start", "gvisor_exec", "gvisor_message", "gvisor_opens"), "test_gvisor.py"),
    **dict.fromkeys(
        (
            f"interpreter_{what}"
            for what in (
                "fresh", "fresh_python", "warm", "warm_python", "call", "stream", "saved", "saved_large", "overshoot",
                "compute",
            )
        ),
        "test_interpreters.py",
    ),
    "interpreter_density": "test_density.py",
    "json_*": "test_json.py",  # a family: budgets name it so
    **dict.fromkeys((f"json_{name}" for name in json_documents.TITLES), "test_json.py"),
    "patch_apply": "test_json.py",
    **dict.fromkeys(("wasi_start", "wasi_exec"), "test_wasi.py"),
    **dict.fromkeys(
        (f"{what}_{p}" for what in ("incident", "suspended", "frozen", "killed") for p in ("p50", "p99")),
        "test_incidents.py",
    ),
    **dict.fromkeys(
        ("watch_opens", "watch_gcc", "watch_pip", "watch_open", "block_p50", "block_p99", "visible"), "test_watching.py"
    ),
}  # fmt: skip
"""Where figures are measured; the others: ``INSIDE``."""
INSIDE = "test_inside.py"
EVERY = [*dict.fromkeys(FILES.values()), INSIDE]
AGAIN = 2  # times that a breach is measured again before it counts
PAUSE = 20.0  # seconds before the second of them
TIMEOUT = 1800.0  # seconds for one run of pytest; each single call has its own, see worker.py


class MeasureError(Exception):
    """A run of the benchmarks failed."""


def measure(files: list[str], name: str, *, full: bool) -> report.Run:
    """Run the benchmark ``files`` and keep the JSON as ``benchmarks/results/NAME.json``."""
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    target = results / f"{name}.json"
    target.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", *(str(HERE / file) for file in files)]
    command += ["-q", "-p", "no:cacheprovider", "--benchmark-quiet", f"--benchmark-json={target}"]
    command += ["--full"] if full else []
    try:
        done = subprocess.run(command, cwd=ROOT, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise MeasureError(f"the benchmarks took more than {TIMEOUT:.0f} s") from None
    if done.returncode != 0 or not target.exists():
        raise MeasureError(f"pytest ended with exit code {done.returncode}: the answers above are wrong or missing")
    return report.load(target)


def judged(run: report.Run, budgets: Path, files: list[str]) -> list[report.Verdict]:
    """Judge the budgets whose figures are measured in ``files``."""
    return [verdict for verdict in report.judge(run, budgets) if FILES.get(verdict.figure, INSIDE) in files]


def breaches(verdicts: list[report.Verdict], measured: list[str]) -> list[report.Verdict]:
    """Give the breaches of what was measured now, not of what comes from a run before."""
    return [v for v in verdicts if v.state == "BREACH" and FILES.get(v.figure, INSIDE) in measured]


def measured_again(run: report.Run, breached: list[report.Verdict], *, full: bool) -> report.Run:
    """Measure what was breached once more; that figure counts, whichever way it turns out."""
    print("\nBreached; measured once more, and that counts:")
    for verdict in breached:
        print(f"  {verdict.budget}: {verdict.text}")
    files = sorted({FILES.get(verdict.figure, INSIDE) for verdict in breached})
    return run.with_figures_of(measure(files, "again", full=full))


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the benchmarks and judge them by budget.toml.")
    parser.add_argument("--full", action="store_true", help="five times the rounds")
    parser.add_argument("--only", nargs="+", metavar="FILE", choices=EVERY, help="run and judge only these files")
    parser.add_argument("--install", action="store_true", help="install the peers first")
    parser.add_argument("--json", type=Path, help="judge this run, or what --only does not measure anew of it")
    parser.add_argument("--write-docs", action="store_true", help="write docs/benchmarks.md and docs/benchmarks.svg")
    options = parser.parse_args()
    if options.install and subprocess.run([str(HERE / "setup_peers.sh"), sys.executable], check=False).returncode != 0:
        print("some peers could not be installed; they are skipped below", file=sys.stderr)

    budgets = HERE / "budget.toml"
    try:
        measured = options.only or ([] if options.json else EVERY)
        run = report.load(options.json) if options.json else None
        if measured:
            new = measure(measured, "part" if options.only else "run", full=options.full)
            run = new if run is None else run.with_figures_of(new)
        assert run is not None
        files = EVERY if options.json else measured
        verdicts = judged(run, budgets, files)
        for attempt in range(AGAIN):
            if not (breached := breaches(verdicts, measured)):
                break
            time.sleep(attempt * PAUSE)  # other work on the machine may pass
            run = measured_again(run, breached, full=options.full)
            verdicts = judged(run, budgets, files)
    except MeasureError as error:
        print(f"gate: {error}", file=sys.stderr)
        return 2

    for line in report.plain(run):
        print(line)
    print("\nBudgets (best over best)")
    for verdict in verdicts:
        print(f"  {verdict.state:12}  {verdict.budget:33}{verdict.text}")
    for name, why in run.skipped.items():
        print(f"  skipped       {name}: {why}")
    if options.write_docs:
        (ROOT / "docs/benchmarks.md").write_text(report.markdown(run, verdicts))
        (ROOT / "docs/benchmarks.svg").write_text(chart.draw(run))
    return 1 if any(v.state == "BREACH" for v in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
