"""Shows which rules match events that were recorded: for whoever tunes rules on traces.

::

    python -m tests.behaviour.replayed TRACE.events ... [--writable FOLDER ...] [--least medium]

It judges by the same compiled rules as a living sandbox does, and asks in Python what C left; what is known of
processes (``process.name``) is what the trace tells.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cloche
from cloche.rules.compile import Compiled, compiled
from cloche.rules.holds import holds
from cloche_native import rules as native


@dataclass(frozen=True, slots=True)
class Matched:
    """One rule that matched in a trace: how often, and the first event."""

    rule: cloche.Rule
    count: int
    first: str


def replayed(trace: Path, rules: Sequence[cloche.Rule], around: cloche.Surroundings) -> list[Matched]:
    """Give what matches in a trace, by rule. Raises ``FileError`` and ``SpecError``."""
    made = compiled(rules, around, emulated=frozenset(), block="never", audit=True)
    program = native.compile(made.specs)
    state = program.state()
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    processes: dict[int, cloche.ProcessFacts] = {}
    with cloche.replay(trace) as source:
        while raw := source.drain():
            hits = {hit.offset: hit for hit in state.judge(raw)}
            offset = 0
            for event in cloche.EventBatch(raw, source.origin):
                _follow(processes, event)
                if (hit := hits.get(offset)) is not None:
                    for name in _agreed(made, program, hit, event, around, processes):
                        counts[name] += 1
                        first.setdefault(name, str(event))
                offset += int.from_bytes(raw[offset : offset + 4], sys.byteorder)
    by_id = {rule.id: rule for rule in rules}
    return [Matched(by_id[name], count, first[name]) for name, count in counts.most_common()]


def _agreed(
    made: Compiled, program: native.Program, hit: native.Hit, event: cloche.Event, around: cloche.Surroundings,
    processes: dict[int, cloche.ProcessFacts],
) -> set[str]:  # fmt: skip
    """Give the ids of the rules that an event matches when Python was asked too."""
    found = set()
    for number in hit.rules:
        rest = made.rest[program.names[number]]
        if rest.where is None or holds(rest.where, event, around, processes.get(event.pid)):
            found.add(rest.rule.id)
    return found


def _follow(processes: dict[int, cloche.ProcessFacts], event: cloche.Event) -> None:
    if event.act is cloche.Act.EXEC and not event.denied:
        args = tuple((event.target or "").removesuffix("\0").split("\0"))
        processes[event.pid] = cloche.ProcessFacts(event.pid, None, event.resolved or event.path, args)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the program of this module."""
    parser = argparse.ArgumentParser(description="Show which rules match recorded events.")
    parser.add_argument("traces", nargs="+", type=Path)
    parser.add_argument(
        "--writable", nargs="*", default=(), help="folders that the sandbox could write, beside its own"
    )
    parser.add_argument("--least", default="info", help="leave out rules below this severity")
    asked = parser.parse_args(arguments)
    plain = cloche.Surroundings()
    around = plain.over({"writable": (*plain.writable, *asked.writable), "mounted": asked.writable})
    with cloche.Host() as host:
        rules = cloche.Rules.of("on").chosen(host.plugins.rules)
    for trace in asked.traces:
        found = [one for one in replayed(trace, rules, around) if one.rule.severity >= cloche.Severity.of(asked.least)]
        sys.stdout.write(f"{trace.stem}: {', '.join(f'{one.rule.id} ({one.rule.severity})' for one in found) or '-'}\n")
        for one in found:
            sys.stdout.write(f"    {one.rule.id} x{one.count}: {one.first[:200]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
