"""What a run needs that a profile does not give it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from cloche.files.access import Access, inside
from cloche.learning.places import folders
from cloche.narrowing import NETWORKS
from cloche.policy import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.learning.draft import Learned
    from cloche.learning.seen import Seen
    from cloche.spec import Spec

SHOWN_MAX: Final = 20
"""Folders that are named; of more, how many there are."""


@dataclass(frozen=True, slots=True)
class More:
    """One thing that is needed: what it is called in a profile, what the profile has, and what the run needs."""

    what: str
    has: str
    needs: str


def missing(learned: Learned, spec: Spec) -> list[More]:
    """Give what ``learned`` needs beyond ``spec``, which a profile comes to. Empty: it would do."""
    return [
        *_network(learned.seen, spec), *_limits(learned, spec), *_mounts(learned, spec), *_paths(learned, spec),
        *_rules(learned, spec),
    ]  # fmt: skip


def _network(seen: Seen, spec: Spec) -> Iterator[More]:
    if NETWORKS.index(seen.network) > NETWORKS.index(spec.network.mode):
        why = next(iter(seen.far), None) or next(iter(seen.near), "a socket")
        yield More("network", spec.network.mode, f"{seen.network}: {why}")


def _limits(learned: Learned, spec: Spec) -> Iterator[More]:
    took = learned.figures
    needs: dict[str, float] = {
        "memory": took.memory, "pids": took.pids, "output": took.output, "wall": took.seconds,
        "file_size": took.largest,
    }  # fmt: skip
    for name in (field.name for field in fields(Limits)):
        limit = getattr(spec.limits, name)
        if limit is not None and needs.get(name, 0) > limit:
            yield More(f"limits.{name}", f"{limit:g}", f"{needs[name]:g}")


def _mounts(learned: Learned, spec: Spec) -> Iterator[More]:
    shown = {mount.target for mount in spec.mounts} | {spec.workspace.target}
    for used in learned.places:
        if used.source is None or not used.patterns or used.target in shown:
            continue
        how = "written" if used.written else "read"
        yield More("mounts", "nothing there", f"{used.source} at {used.target}, {how}")
    work = learned.places[0]
    if work.source is not None and work.patterns and spec.workspace.source is None:
        yield More("workspace", spec.workspace.kind, f"{work.source}, {'written' if work.written else 'read'}")
    elif work.source is not None and work.written and spec.workspace.kind == "overlay":
        yield More("workspace", "overlay", "bind: it is written")


def _paths(learned: Learned, spec: Spec) -> Iterator[More]:
    """Give what was done to files of the caller's that the profile would not allow, by folder."""
    rule = Access.of(spec)
    shown = [mount.target for mount in spec.mounts] + [spec.workspace.target]
    for operation in ("read", "write", "create", "delete"):
        refused: list[str] = []
        for path, operations in learned.seen.paths.items():
            if operation not in operations or not any(inside(path, folder) for folder in shown):
                continue
            if not rule.verdict(operation, path):
                refused.append(path)
        for folder, count in list(folders(refused, depth=4).items())[:SHOWN_MAX]:
            first = next(path for path in refused if inside(path, folder))
            which = f"{folder} ({count} files)" if count > 1 else first
            yield More("paths", rule.verdict(operation, first).rule, f"{operation} {which}")


def _rules(learned: Learned, spec: Spec) -> Iterator[More]:
    """Give the rules that the run matched; it was judged by those of the profile."""
    for rule, violation in sorted(learned.rules.items()):
        if spec.rules and rule not in spec.rules.without:
            yield More("rules.without", "judged by it", f"{rule}: {violation.operation} {violation.target}")
