"""What a sandbox may do, as rows of a table: for a profile and for a sandbox that is there."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from cloche.commands import words

if TYPE_CHECKING:
    from cloche.monitor import Monitor
    from cloche.policy import Workspace
    from cloche.rules.ruleset import Rules
    from cloche.spec import Spec


def policy_rows(spec: Spec) -> list[tuple[str, str]]:
    """Give what ``spec`` allows and bounds, one thing a row."""
    limits = spec.limits
    return [
        ("isolation", spec.level.name),
        ("must keep", ", ".join(words.features(spec.guarantees))),
        ("network", spec.network.mode),
        ("work folder", _folder(spec.workspace)),
        *(("mount", f"{m.source} at {m.target}: {', '.join(sorted(m.allows))}") for m in spec.mounts),
        *((f"paths {key}", path) for key, paths in asdict(spec.paths).items() for path in paths),
        ("watched", _watched(spec.monitor)),
        *_judged(spec.rules),
        ("memory", words.size(limits.memory)),
        ("processors", words.number(limits.cpu)),
        ("processes", words.number(limits.pids)),
        ("open files", words.number(limits.open_files)),
        ("largest file", words.size(limits.file_size)),
        ("disk", words.size(limits.disk) if limits.disk is not None else "as much as memory"),
        ("files", words.number(limits.files) if limits.files is not None else "256 for each M of disk"),
        ("output", words.size(limits.output)),
        ("time per run", words.seconds(limits.wall)),
        ("lifetime", words.seconds(spec.lifetime)),
        ("idle time", words.seconds(spec.idle_timeout)),
    ]


def _watched(monitor: Monitor) -> str:
    if not monitor:
        return "no"
    acts = "" if monitor.acts is None else f": {', '.join(sorted(monitor.acts))}"
    also = f", with {', '.join(sorted(monitor.sources))}" if monitor.sources else ""
    also += f", judged by {len(monitor.rules)} rules" if monitor.rules else ""
    return f"{monitor.depth}{acts}{also}; on overload {monitor.overload}"


def _judged(rules: Rules) -> list[tuple[str, str]]:
    if not rules:
        return [("rules", "none")]
    used = [one if isinstance(one, str) else f"{one.id} (its own)" for one in rules.use]
    rows = [("rules", ", ".join(used) + (" (they only tell)" if rules.audit else ""))]
    rows += [("rules without", ", ".join(rules.without))] if rules.without else []
    rows += [(f"rules {verb}", words.threshold(getattr(rules, name))) for name, verb in words.ANSWERS.items()]
    rows += [("rules and anomalies", "raise severity by one level")] if rules.anomaly else []
    return rows + [("secret", pattern) for pattern in rules.sensitive]


def _folder(work: Workspace) -> str:
    return f"{work.kind} at {work.target}" + (f", of {work.source}" if work.source else "")
