"""The profile that a run leads to, and a note for each thing in it: why it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cloche import units
from cloche.files.access import PathPermissions
from cloche.learning import bounds
from cloche.narrowing import NETWORKS
from cloche.policy import Limits, Network, NetworkMode, Policy, Workspace
from cloche.profile import Profile
from cloche.rules.ruleset import Rules

if TYPE_CHECKING:
    from cloche.learning.bounds import Figures
    from cloche.learning.places import Used
    from cloche.learning.seen import Seen
    from cloche.policy import Mount
    from cloche.spec import Spec, Violation

NOTE_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Learned:
    """What one run showed: all that a profile is made of."""

    spec: Spec
    """What it ran under."""
    seen: Seen
    figures: Figures
    places: Sequence[Used]
    """The work folder first."""
    violations: Sequence[Violation] = ()
    """What rules found, and what the policy refused."""

    @property
    def rules(self) -> dict[str, Violation]:
        """The rules that its own behaviour matches, by id, with the first match of each."""
        found: dict[str, Violation] = {}
        for violation in self.violations:
            if violation.mechanism == "rule":
                found.setdefault(violation.rule, violation)
        return found


@dataclass(frozen=True, slots=True)
class Draft:
    """A profile, and notes by key: ``limits.memory``, ``mounts.0``, ``rules.without.ID``."""

    profile: Profile
    notes: Mapping[str, str]

    def to_toml(self) -> str:
        """Give the profile as TOML with the notes as comments; what it holds is that of ``profile.to_toml``."""
        out: list[str] = []
        table, mounts, key = "", -1, ""
        for line in self.profile.to_toml().splitlines():
            if line.startswith("["):
                mounts += line == "[[mounts]]"
                table = f"mounts.{mounts}." if line == "[[mounts]]" else f"{line.strip('[]')}."
                note = self.notes.get(table.rstrip("."))
            elif " = " in line:
                key = f"{table}{line.partition(' = ')[0]}"
                note = self.notes.get(key)
            else:
                note = self.notes.get(f"{key}.{line.strip().strip(',').strip(QUOTE)}")
            line = _readable(line) if key.startswith("limits.") else line  # noqa: PLW2901 - the same, for people
            out.append(f"{line}  # {note}" if note else line)
        return "\n".join(out) + "\n"


QUOTE: Final = '"'


def drafted(learned: Learned, *, name: str, summary: str, env: Mapping[str, str], rules: Rules) -> Draft:
    """Give the narrowest profile that lets a program do what it was seen to do; ``rules`` judged it, and are to."""
    spec, seen = learned.spec, learned.seen
    modes: tuple[NetworkMode, ...] = (seen.network, spec.network.mode)
    mode = min(modes, key=NETWORKS.index)
    notes: dict[str, str] = {"network": _network_note(seen, spec)}
    work, kept = _workspace(learned, notes), _mounts(learned, notes)
    if rules:
        left_out = (*rules.without, *(rule for rule in sorted(learned.rules) if rule not in rules.without))
        rules = replace(rules, without=left_out, audit=False)
    for rule, violation in learned.rules.items():
        notes[f"rules.without.{rule}"] = _note(f"{violation.severity}: {violation.operation} {violation.target}")
    if rules and not learned.rules:
        notes["rules"] = "nothing that it did matched one"
    policy = Policy(
        isolation=spec.level.name,
        require=spec.guarantees - spec.level.guarantees,
        network=Network(mode),
        limits=_limits(learned.figures, seen, notes),
        workspace=work,
        mounts=kept,
        paths=_paths(learned, {work.target, *(mount.target for mount in kept)}, notes),
        rules=rules,
    )
    return Draft(Profile(name=name, summary=summary, policy=policy, env=env), notes)


def _readable(line: str) -> str:
    """Give a line of limits with whole KiB and MiB as they are written by people."""
    name, _, value = line.partition(" = ")
    if name not in ("memory", "output", "file_size") or not value.isdecimal() or int(value) % 1024:
        return line
    kib = int(value) >> 10
    return f'{name} = "{kib}K"' if kib % 1024 else f'{name} = "{kib >> 10}M"'


def _network_note(seen: Seen, spec: Spec) -> str:
    if seen.sockets and spec.network.mode == "none":
        return "it tried to make a socket, and was refused; learn with another --network if it must"
    if seen.far:
        return _note(f"it spoke to {', '.join(sorted(seen.far)[:3])}{' ...' * (len(seen.far) > 3)}")  # noqa: PLR2004
    if seen.near:
        return _note(f"among its own programs: {', '.join(sorted(seen.near)[:3])}")
    return "it made a socket, and spoke to nobody" if seen.sockets else "it made no socket that leads anywhere"


def _workspace(learned: Learned, notes: dict[str, str]) -> Workspace:
    work, used = learned.spec.workspace, learned.places[0]
    if work.source is None or not used.patterns:
        notes["workspace"] = "it is the box's own" if work.source is None else "nothing of the caller's was used"
        return replace(work, kind="tmpfs", source=None)
    if not used.written:
        notes["workspace"] = "nothing in it was changed"
        return replace(work, kind="overlay")
    return work


def _mounts(learned: Learned, notes: dict[str, str]) -> tuple[Mount, ...]:
    """Give the mounts that were used; one that was only read is read-only."""
    kept: list[Mount] = []
    by_target = {used.target: used for used in learned.places[1:]}
    for mount in learned.spec.mounts:
        used = by_target[mount.target]
        if not used.patterns:
            continue
        notes[f"mounts.{len(kept)}"] = _note(f"{', '.join(sorted(used.operations))}")
        only_read = mount.operations is None and not used.written
        kept.append(replace(mount, read_only=True) if only_read else mount)
    return tuple(kept)


def _paths(learned: Learned, targets: set[str], notes: dict[str, str]) -> PathPermissions:
    places = [place for place in learned.places if place.target in targets and place.patterns]
    parts = any(place.patterns != (place.target,) for place in places)
    allowed = [pattern for place in places for pattern in place.patterns]
    if parts and not any(place is learned.places[0] for place in places):
        allowed.append(learned.spec.workspace.target)  # its own, when nothing of it was used
    unused = [pattern for place in places for pattern in place.unused]
    if unused:
        notes["paths.forbidden"] = "there, not used, and secrets by their names"
    if parts:
        notes["paths.allowed"] = "what it used of the caller's folders"
    return PathPermissions(allowed=tuple(allowed) if parts else (), forbidden=tuple(unused))


def _limits(figures: Figures, seen: Seen, notes: dict[str, str]) -> Limits:
    """Give a limit for each figure that is known."""
    found: dict[str, float] = {"output": bounds.output(figures.output), "wall": bounds.wall(figures.seconds)}
    notes["limits.output"] = f"it printed {figures.output} bytes"
    notes["limits.wall"] = f"it took {figures.seconds:.2f} s"
    found["file_size"] = bounds.file_size(figures.largest)
    notes["limits.file_size"] = f"its largest file has {figures.largest} bytes"
    if figures.memory:
        found["memory"] = bounds.memory(figures.memory)
        notes["limits.memory"] = f"at most {figures.memory / bounds.MIB:.1f}M were used"
    if figures.pids:
        found["pids"] = bounds.pids(figures.pids, len(seen.processes))
        notes["limits.pids"] = f"at most {figures.pids} at once, of {len(seen.processes)} seen"
    if figures.processors:
        found["cpu"] = bounds.cpu(figures.processors)
        notes["limits.cpu"] = f"at most {figures.processors:.2f} processors' worth"
    return Limits(**found)  # type: ignore[arg-type]  # whole numbers where they must be


def _note(text: str) -> str:
    return units.one_line(text, most=NOTE_MAX)
