"""Few patterns for many paths: which parts of the caller's folders a program used."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from cloche.files.access import CHANGING, Operation, inside

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.learning.seen import Seen
    from cloche.spec import Spec

PARTS_MAX: Final = 8
"""Parts of one folder that are named; of more, the folder is."""
PATTERNS_EACH: Final = 32
SECRETS: Final = (
    ".git", ".hg", ".svn", ".env", ".env.*", ".ssh", ".aws", ".azure", ".gcloud", ".gnupg", ".kube", ".netrc", ".npmrc",
    ".pypirc", "*.pem", "*.key", "*.p12", "*.kdbx", "id_rsa*", "id_ed25519*", "credentials*", "secrets*",
)  # fmt: skip
"""Names at the top of a folder that it need not see if it did not look."""


@dataclass(slots=True)
class _Node:
    """One name of a path: what was done there, and what is below."""

    operations: set[Operation] = field(default_factory=set)
    whole: bool = False
    below: dict[str, _Node] = field(default_factory=dict)


@dataclass(slots=True)
class Used:
    """How one folder (or file) of the caller's was used: the work folder, or a mount."""

    target: str
    source: str | None
    """Where it lies on the host; ``None`` for one that is the box's own."""
    operations: frozenset[Operation] = frozenset()
    patterns: tuple[str, ...] = ()
    """What of it was used; only ``target`` itself where that is all, or nearly."""
    unused: tuple[str, ...] = ()
    """What may hold secrets there and was not touched, though the patterns cover it."""

    @property
    def written(self) -> bool:
        """Whether anything was changed there."""
        return bool(self.operations & CHANGING)


def used(spec: Spec, seen: Seen) -> list[Used]:
    """Give how each folder of the caller's was used, the work folder first."""
    places = [Used(spec.workspace.target, spec.workspace.source)]
    places += [Used(mount.target, mount.source) for mount in spec.mounts]
    inner = sorted(places, key=lambda place: len(place.target), reverse=True)
    shares: dict[str, dict[str, set[Operation]]] = {place.target: {} for place in places}
    for path, operations in seen.paths.items():
        place = next((place for place in inner if inside(path, place.target)), None)
        if place is not None:
            shares[place.target][path] = operations
    for place in places:
        _fill(place, shares[place.target], seen)
    return places


def _fill(place: Used, paths: dict[str, set[Operation]], seen: Seen) -> None:
    root = _Node()
    for path, operations in paths.items():
        node = root
        for name in _names(path, place.target):
            node = node.below.setdefault(name, _Node())
        node.operations |= operations
        node.whole = node.whole or path in seen.listed
    for path in seen.named:  # where names come and go, the folder that holds them is needed
        if inside(path, place.target) and path != place.target:
            node = root
            for name in _names(path, place.target)[:-1]:
                node = node.below.setdefault(name, _Node())
            node.whole = True
    looked_only = not any(operations - {"stat"} for operations in paths.values())
    place.operations = frozenset[Operation]().union(*paths.values())
    if not paths or (looked_only and set(paths) <= {place.target}):
        place.operations = frozenset()  # it was only passed by
        return
    patterns = [place.target] if place.source is None or root.whole else _patterns(root, place.target)
    place.patterns = tuple(patterns if len(patterns) <= PATTERNS_EACH else [place.target])
    place.unused = tuple(_unused(place, root)) if place.patterns == (place.target,) else ()


def _patterns(node: _Node, path: str) -> list[str]:
    if node.whole or not node.below:
        return [path]
    parts = [part for name, child in sorted(node.below.items()) for part in _patterns(child, f"{path}/{_plain(name)}")]
    return parts if len(parts) <= PARTS_MAX else [path]


def _unused(place: Used, root: _Node) -> Iterable[str]:
    """Give the names at the top of a folder of the host that look like secrets, and were not touched."""
    if place.source is None or not os.path.isdir(place.source):
        return
    for entry in sorted(os.listdir(place.source)):
        if entry not in root.below and any(fnmatchcase(entry, secret) for secret in SECRETS):
            yield f"{place.target}/{_plain(entry)}"


def _names(path: str, target: str) -> list[str]:
    return [name for name in path[len(target) :].split("/") if name]


def _plain(name: str) -> str:
    """Give a name as a pattern that matches nothing else."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def folders(paths: Iterable[str], *, depth: int = 3) -> dict[str, int]:
    """Give how many paths lie in each folder, of so many names at most: for people to read."""
    out: dict[str, int] = {}
    for path in paths:
        names = path.split("/")[1:]
        folder = "/" + "/".join(names[: min(depth, max(1, len(names) - 1))])
        out[folder] = out.get(folder, 0) + 1
    return dict(sorted(out.items(), key=lambda pair: (-pair[1], pair[0])))
