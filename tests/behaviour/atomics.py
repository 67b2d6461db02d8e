"""Runs a corpus of small attack scripts, each in a sandbox of its own, and says which were found.

::

    python -m tests.behaviour.atomics FILE.json [--keys KEY ...] [--label must_detect] [--by-input] [-o table|json]
        [--runtime gvisor] [--trace FOLDER]

The corpus is JSON: ``tests``, each with ``key``, ``technique``, ``name``, ``shell``, ``command``, ``label`` and
``dependencies`` (``pre`` asks whether something is there, ``get`` makes it). It is attack programs: they run on the
``ground`` of a disposable sandbox and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cloche
from tests.behaviour.ground import ATOMICS, LIMIT_SECONDS, REFUSING, RUNTIMES, WATCH, Ground, told_only

AT_ONCE = 4
"""Sandboxes at a time: most wait for something."""
FOUND_FROM = cloche.Severity.LOW
"""A match below this is no detection: any program does that."""
OUR_OWN = "limit:timeout"
"""What ends an attack that takes too long is no defence."""
STOPPED_FROM = cloche.Severity.HIGH
"""Where nothing can be refused, a match of this ends the sandbox."""
_PLACE = re.compile(r"(?<!\$)PathToAtomicsFolder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One attack."""

    key: str
    technique: str
    name: str
    shell: str
    command: str
    label: str
    dependencies: tuple[Mapping[str, str], ...] = ()

    def argv(self) -> tuple[str, ...]:
        """Give the program that is run."""
        return (self.shell, "-c", at_home(self.command))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attack ended: ``blocked``, ``stopped``, ``detected``, ``missed``, or ``did not run``."""

    script: Script
    outcome: str
    rules: Mapping[str, str] = field(default_factory=dict)
    """Rules that found it, with their severity; those below the bar too."""
    refused: tuple[str, ...] = ()
    """Mechanisms that refused something of it, and were reported."""
    detail: str = ""

    @property
    def found(self) -> bool:
        """Whether it was detected or prevented."""
        return self.outcome in ("blocked", "stopped", "detected")


def at_home(command: str) -> str:
    """Give a command with the folder of the corpus named as the guest sees it."""
    return _PLACE.sub(ATOMICS, command)


def corpus(path: str | Path) -> list[Script]:
    """Read a corpus; raises ``ValueError`` for what is none."""
    found = json.loads(Path(path).read_text(encoding="utf-8"))
    wanted = [name for name in Script.__dataclass_fields__ if name != "dependencies"]
    return [
        Script(**{name: test[name] for name in wanted}, dependencies=tuple(test.get("dependencies", ())))
        for test in found["tests"]
    ]


def attempt(ground: Ground, script: Script, trace: Path | None = None, *, by_input: bool = False) -> Outcome:
    """Run one attack and give what was found; ``by_input``: no argument of a program holds its text."""
    argv, text = (script.shell,) if by_input else script.argv(), at_home(script.command) if by_input else None
    with ground.box(monitor=WATCH, rules=told_only(ground.runtime)) as box:
        prepare(box, script)
        if ground.runtime not in REFUSING:
            box.update(rules=cloche.Rules(auto_terminate=STOPPED_FROM))
        before = len(box.incidents())
        if trace is None:
            result = box.exec(*argv, stdin=text, timeout=LIMIT_SECONDS)
        else:
            with box.events(room="256M") as events, cloche.EventRecorder(trace, metadata={"key": script.key}) as file:
                result = box.exec(*argv, stdin=text, timeout=LIMIT_SECONDS)
                box.delete()
                for batch in events.batches():
                    file.write(batch)
            trace.chmod(0o644)
        found = box.incidents()[before:]
        stopped = not box.deleted and box.reason.startswith("rule:")
        return judged(script, found, result, stopped=stopped)


def prepare(box: cloche.Sandbox, script: Script) -> None:
    """Make what the attack needs, as far as that can be had without a network."""
    for need in script.dependencies:
        if not box.exec("sh", "-c", at_home(need["pre"]), timeout=LIMIT_SECONDS).ok:
            box.exec("bash", "-c", at_home(need["get"]), timeout=LIMIT_SECONDS)


def judged(
    script: Script, found_in_it: Iterable[cloche.Incident], result: cloche.Result, *, stopped: bool = False
) -> Outcome:
    """Say what became of an attack; ``stopped``: the sandbox was ended for it."""
    rules: dict[str, cloche.Severity] = {}
    for incident in found_in_it:
        rules[incident.rule] = max(incident.severity, rules.get(incident.rule, incident.severity))
    refused = tuple(sorted({v.rule for v in result.violations if v.blocked and v.mechanism != "rule"} - {OUR_OWN}))
    blocked = any(v.blocked for v in result.violations if v.mechanism == "rule") or bool(refused)
    found = any(severity >= FOUND_FROM for severity in rules.values())
    outcome = "stopped" if stopped else "blocked" if blocked else "detected" if found else "missed"
    if outcome == "missed" and result.exit_code in (126, 127):
        outcome = "did not run"
    return Outcome(
        script=script, outcome=outcome, rules={name: str(severity) for name, severity in sorted(rules.items())},
        refused=refused, detail=f"{result.reason} {result.exit_code} {result.stderr[-99:]!r}",
    )  # fmt: skip


def attempted(
    scripts: Sequence[Script], trace: Path | None = None, *, by_input: bool = False, runtime: str = "namespaces"
) -> list[Outcome]:
    """Run all of them, a few at a time."""
    with cloche.Host() as host:
        ground = Ground(host, runtime)
        try:

            def one(script: Script) -> Outcome:
                file = None if trace is None else trace / f"{script.key}.events"
                return attempt(ground, script, file, by_input=by_input)

            with ThreadPoolExecutor(AT_ONCE) as pool:
                return list(pool.map(one, scripts))
        finally:
            ground.close()


def score(outcomes: Iterable[Outcome], label: str) -> tuple[int, int]:
    """Give how many of a label were found, and how many there are."""
    some = [one for one in outcomes if one.script.label == label]
    return sum(one.found for one in some), len(some)


def table(outcomes: Sequence[Outcome]) -> str:
    """Give the outcomes as text."""
    rows = [
        f"{one.script.key:14} {one.script.label:12} {one.outcome:11} {', '.join(one.rules) or '-'}"
        f"{' refused: ' + ', '.join(one.refused) if one.refused else ''}  [{one.script.name}] {one.detail}"
        for one in outcomes
    ]
    for label in dict.fromkeys(one.script.label for one in outcomes):
        ends = Counter(one.outcome for one in outcomes if one.script.label == label)
        found, all_ = score(outcomes, label)
        rows.append(f"{label}: {found} of {all_} found ({', '.join(f'{n} {end}' for end, n in ends.items())})")
    return "\n".join(rows)


def plain(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Give the outcomes as data."""
    return [{**asdict(one), "script": one.script.key, "label": one.script.label} for one in outcomes]


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the program of this module."""
    parser = argparse.ArgumentParser(description="Run a corpus of attack scripts in disposable sandboxes.")
    parser.add_argument("file", help="the corpus")
    parser.add_argument("--keys", nargs="*", help="only these tests")
    parser.add_argument("--label", help="only tests of this label")
    parser.add_argument("--by-input", action="store_true", help="give scripts on standard input, not as an argument")
    parser.add_argument("--runtime", choices=RUNTIMES, default="namespaces")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--trace", type=Path, help="a folder to keep the events of each test in")
    asked = parser.parse_args(arguments)
    scripts = [
        script
        for script in corpus(asked.file)
        if (asked.keys is None or script.key in asked.keys) and asked.label in (None, script.label)
    ]
    outcomes = attempted(scripts, asked.trace, by_input=asked.by_input, runtime=asked.runtime)
    sys.stdout.write((table(outcomes) if asked.output == "table" else json.dumps(plain(outcomes), indent=1)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
