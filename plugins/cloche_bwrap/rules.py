"""What Landlock adds to the mounts of a box: the operations of a mount one by one, or all of it a second time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cloche_native as native
from cloche import Mount, Spec
from cloche_bwrap import plan
from cloche_native import agent as wire
from cloche_native.agent import Access, access_of

LOOK = Access.READ | Access.LIST | Access.EXECUTE
CHANGE = Access.WRITE | Access.CREATE | Access.DELETE
EVERYTHING = LOOK | CHANGE
TRUNCATE_SINCE = 3  # Landlock ABI that judges truncate(2), Linux 6.2 (landlock(7))
UNJUDGED = "its stat, and changes of mode, times and attributes where it can be written, are not judged by Landlock"


@dataclass(frozen=True, slots=True)
class _Place:
    target: str
    source: str | None
    access: Access


def judged(spec: Spec) -> list[Mount]:
    """Give the mounts whose operations take more than a mount that can be written or not."""
    return [mount for mount in spec.mounts if access_of(mount.allows) not in (LOOK, EVERYTHING)]


def problems(spec: Spec, base: Sequence[plan.Part]) -> list[str]:
    """Give which operations could not be kept, and what to do."""
    fine = judged(spec)
    if fine and native.landlock_abi() == 0:
        return [f"mount {m.target}: its operations need Landlock: {native.landlock_reason()}" for m in fine]
    return [problem for mount in fine for problem in _of_mount(mount, _places(spec, base))]


def caveats(spec: Spec) -> list[str]:
    """Give what Landlock leaves open of the operations that were asked for."""
    fine = judged(spec)
    unkept = [m.target for m in spec.mounts if "stat" not in m.allows or (m in fine and not m.read_only)]
    return [f"mount {', '.join(unkept)}: {UNJUDGED}"] if unkept else []


def setup(spec: Spec, parts: Sequence[plan.Part], before: wire.Setup) -> wire.Setup:
    """Give ``before`` with Landlock's rules where operations need them, or the level asks for all of it twice.

    They hold even if a mount were wrong; they cost something on every open (a third of a microsecond where measured).
    """
    fine = judged(spec)
    if not (fine or spec.level.path_rules) or native.landlock_abi() == 0:
        return before
    rules = _each(parts, spec) if fine else _all(spec)
    return replace(before, landlock=wire.Landlock.FS, paths=tuple((access, path) for access, path in rules if access))


def _all(spec: Spec) -> Iterator[tuple[Access, str]]:
    yield LOOK, "/"
    yield Access.READ | Access.LIST | CHANGE, "/dev"
    for path in ("/tmp", spec.workspace.target, *(m.target for m in spec.mounts if not m.read_only)):  # noqa: S108 - in the box
        yield EVERYTHING, path


def _each(parts: Sequence[plan.Part], spec: Spec) -> Iterator[tuple[Access, str]]:
    """Give a rule for each part: one for ``/`` would allow the same in all of them."""
    mounts = {mount.target: access_of(mount.allows) for mount in spec.mounts}
    if all("list" in mount.allows for mount in spec.mounts):
        yield Access.LIST, "/"
    for part in parts:
        match part:
            case plan.Bind(target):
                own = EVERYTHING if target == spec.workspace.target else LOOK
                yield mounts.get(target, own), target
            case plan.Memory(target) | plan.Overlay(target):
                yield EVERYTHING, target
            case plan.Devices():
                yield Access.READ | Access.LIST | CHANGE, part.target
            case plan.Processes():
                yield LOOK | Access.WRITE, part.target
            case plan.Folder(target) if target == "/run":
                yield Access.LIST, target


def _places(spec: Spec, base: Sequence[plan.Part]) -> list[_Place]:
    out = [_Place(part.target, part.source, LOOK) for part in base if isinstance(part, plan.Bind)]
    out += [_Place(path, None, EVERYTHING) for path in plan.SCRATCH]
    out += [_Place(m.target, m.source, access_of(m.allows)) for m in spec.mounts]
    return [*out, _Place(spec.workspace.target, spec.workspace.source, EVERYTHING)]


def _of_mount(mount: Mount, places: Sequence[_Place]) -> Iterator[str]:
    access = access_of(mount.allows)
    if not mount.read_only and "write" not in mount.allows and native.landlock_abi() < TRUNCATE_SINCE:
        yield f"mount {mount.target}: without write, but Landlock before Linux 6.2 lets files be emptied"
    for place in places:
        if place.target == mount.target or not place.access & ~access:
            continue
        if plan.below(mount.target, place.target):
            yield f"mount {mount.target}: it lies in {place.target}, where more is allowed; mount it elsewhere"
        # A rule is bound to the folder, by whatever name it is reached.
        elif place.source is not None and _shares(mount.source, place.source):
            yield (
                f"mount {mount.target}: {place.source} is shown at {place.target} too, where more is allowed; "
                "give both the same operations"
            )


def _shares(folder: str, other: str) -> bool:
    return os.path.samefile(folder, other) or plan.below(os.path.realpath(other), os.path.realpath(folder))
