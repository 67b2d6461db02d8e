"""Which paths of a box may be used how: one rule, asked by the host for each act and turned into mounts for the guest.

Three lists of patterns, and the operations of each mount. For one path, in this order:

1. ``forbidden`` covers it: nothing is allowed, whatever else is said.
2. It lies in the work folder or a mount, and ``allowed`` is given and does not cover it: nothing is allowed. Folders
   on the way to something that may be allowed can be looked up and listed.
3. The innermost mount (or the work folder) it lies in says which operations there are. The box's own scratch folders
   have all of them; the system's folders can be read, looked up and listed.
4. ``read_only`` covers it: of those, ``write``, ``create`` and ``delete`` are taken away.

Making, removing and renaming are acts on the name itself, so the folder that holds it is not asked. A path is judged as
it is written: whoever asks must not follow symbolic links.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Literal, Self, get_args

from cloche import units
from cloche.errors import AccessDenied, SpecError
from cloche.files.globs import PATTERNS_MAX, Globs, check_glob

if TYPE_CHECKING:
    from cloche.spec import Spec

Operation = Literal["read", "stat", "write", "create", "delete", "list"]

OPERATIONS: Final[tuple[Operation, ...]] = get_args(Operation)
LOOKING: Final[frozenset[Operation]] = frozenset({"read", "stat", "list"})
CHANGING: Final[frozenset[Operation]] = frozenset({"write", "create", "delete"})
ON_THE_WAY: Final[frozenset[Operation]] = frozenset({"stat", "list"})
SCRATCH: Final = ("/tmp", "/dev/shm")  # noqa: S108 - folders of the box, not of the host


@dataclass(frozen=True, slots=True)
class PathPermissions:
    """Patterns over absolute paths in the box; see the module's text for which of them counts.

    A pattern is a path whose names may hold ``*`` (any characters), ``?`` (one) and ``[a-z]`` or ``[!a-z]`` (one of
    these, or none of these); the name ``**`` stands for any number of names. What a pattern matches it covers whole: a
    folder with everything below it. Names that begin with a dot are as others. ``[*]`` is a plain ``*``.
    """

    allowed: tuple[str, ...] = ()
    """If given, only what these cover can be used in the work folder and in mounts."""
    read_only: tuple[str, ...] = ()
    """Can be read but not changed, made or removed."""
    forbidden: tuple[str, ...] = ()
    """Can't be used at all."""

    def __post_init__(self) -> None:
        for kind in fields(self):
            what, value = f"paths.{kind.name}", getattr(self, kind.name)
            if isinstance(value, str | bytes) or not isinstance(value, Iterable):
                raise SpecError(f"{what}: a sequence of patterns is needed, not {units.shown(value)}")
            patterns = tuple(value)
            if len(patterns) > PATTERNS_MAX:
                raise SpecError(f"{what}: {len(patterns)} patterns; at most {PATTERNS_MAX}")
            object.__setattr__(self, kind.name, tuple(dict.fromkeys(check_glob(p, what) for p in patterns)))

    def __bool__(self) -> bool:
        """Say whether anything is asked for."""
        return bool(self.allowed or self.read_only or self.forbidden)

    def joined(self, more: PathPermissions) -> PathPermissions:
        """Give one with the patterns of both."""
        if not more or not self:
            return more or self
        return PathPermissions(*((*getattr(self, f.name), *getattr(more, f.name)) for f in fields(self)))


UNRESTRICTED: Final = PathPermissions()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an operation is allowed, and the rule that says so in words."""

    allowed: bool
    rule: str

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True, slots=True)
class Place:
    """A folder or file that has operations of its own: the work folder, a mount, or scratch."""

    target: str
    operations: frozenset[Operation]
    label: str
    judged: bool = True
    """Whether ``allowed`` has a say in it."""


class Access:
    """The rule of one box, for whoever does something with its files. Immutable, so any thread may ask."""

    __slots__ = ("_allowed", "_forbidden", "_places", "_read_only", "paths")

    def __init__(self, paths: PathPermissions, places: Iterable[Place]) -> None:
        """Take the patterns, and the places that are not the system's."""
        self.paths = paths
        self._allowed = Globs(paths.allowed)
        self._read_only = Globs(paths.read_only)
        self._forbidden = Globs(paths.forbidden)
        self._places = tuple(sorted(places, key=lambda place: len(place.target), reverse=True))

    @classmethod
    def of(cls, spec: Spec, *, workspace: str | None = None) -> Self:
        """Give the rule of the box that ``spec`` describes; ``workspace``: where its work folder lies, if elsewhere."""
        everything = frozenset(OPERATIONS)
        places = [Place(folder, everything, "the box's scratch folder", judged=False) for folder in SCRATCH]
        places += [Place(m.target, m.allows, f"the mount at {m.target}") for m in spec.mounts]
        places.append(Place(workspace or spec.workspace.target, everything, "the work folder"))
        return cls(spec.paths, {place.target: place for place in places}.values())

    def explain(self, path: str) -> Mapping[Operation, Verdict]:
        """Give for each operation whether it is allowed on ``path``, and by which rule. Raises ``SpecError``."""
        units.guest_path(path, "path")
        names = path.split("/")[1:] if path != "/" else []
        if (pattern := self._forbidden.first(self._forbidden.walk(names))) is not None:
            return dict.fromkeys(OPERATIONS, Verdict(allowed=False, rule=f"forbidden pattern {pattern}"))
        place = next((p for p in self._places if inside(path, p.target)), None)
        base = place.operations if place is not None else LOOKING
        said = place.label if place is not None else "the system's folders"
        limit = f"{said}: only {', '.join(o for o in OPERATIONS if o in base) or 'nothing'}"
        out: dict[Operation, Verdict] = {o: Verdict(o in base, said if o in base else limit) for o in OPERATIONS}
        if self.paths.allowed and place is not None and place.judged:
            out |= self._outside(names, base)
        if (pattern := self._read_only.first(self._read_only.walk(names))) is not None:
            out |= {o: Verdict(allowed=False, rule=f"read_only pattern {pattern}") for o in CHANGING if out[o]}
        return out

    def verdict(self, operation: Operation, path: str) -> Verdict:
        """Give whether ``operation`` is allowed on ``path``, which is true or false as a condition."""
        if operation not in OPERATIONS:
            raise SpecError(f"operation: {units.shown(operation)} is unknown; use one of {', '.join(OPERATIONS)}")
        return self.explain(path)[operation]

    def check(self, operation: Operation, path: str) -> None:
        """Do nothing if ``operation`` is allowed on ``path``, else raise ``AccessDenied``."""
        found = self.verdict(operation, path)
        if not found:
            raise AccessDenied(_refusal(operation, path, found.rule))

    def check_tree(self, operation: Operation, path: str) -> None:
        """Check ``path`` with all that is or could be below it, for acts on a whole folder such as a rename.

        It is refused if anything below could be refused, be it there or not: what is moved away from under a pattern
        would escape it.
        """
        self.check(operation, path)
        below = path.rstrip("/") + "/"
        for place in self._places:
            if place.target.startswith(below):
                raise AccessDenied(_refusal(operation, path, f"{place.label}, which lies in it"))
        names = path.split("/")[1:] if path != "/" else []
        closed = [("forbidden", self._forbidden)] + [("read_only", self._read_only)] * (operation in CHANGING)
        for kind, globs in closed:
            if (pattern := globs.awaited(globs.walk(names))) is not None:
                raise AccessDenied(_refusal(operation, path, f"{kind} pattern {pattern}, which may cover some of it"))

    def everywhere(self, path: str) -> frozenset[Operation]:
        """Give the operations that are allowed on ``path`` and on all that is or could be below it."""
        found: set[Operation] = {operation for operation, verdict in self.explain(path).items() if verdict}
        names = path.split("/")[1:] if path != "/" else []
        for place in self._places:
            if place.target != path and inside(place.target, path):
                found &= place.operations
                found &= self._outside_everywhere(place.target.split("/")[1:], judged=place.judged)
        own = next((p for p in self._places if inside(path, p.target)), None)
        found &= self._outside_everywhere(names, judged=own is not None and own.judged)
        if self._read_only.awaited(self._read_only.walk(names)) is not None:
            found -= CHANGING
        if self._forbidden.awaited(self._forbidden.walk(names)) is not None:
            found.clear()
        return frozenset(found)

    def _outside_everywhere(self, names: list[str], *, judged: bool) -> frozenset[Operation]:
        covered = self._allowed.first(self._allowed.walk(names)) is not None
        everything: frozenset[Operation] = frozenset(OPERATIONS)
        return frozenset() if judged and self.paths.allowed and not covered else everything

    def _outside(self, names: list[str], base: frozenset[Operation]) -> dict[Operation, Verdict]:
        """Give what ``allowed`` takes away from a path that it could speak about."""
        state = self._allowed.walk(names)
        if self._allowed.first(state) is not None:
            return {}
        way = ON_THE_WAY & base if self._allowed.awaited(state) is not None else frozenset()
        rule = "no allowed pattern covers it"
        return {o: Verdict(allowed=False, rule=rule) for o in OPERATIONS if o in base - way}


def inside(path: str, folder: str) -> bool:
    """Say whether ``path`` is ``folder`` or lies in it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def operations(value: object, what: str) -> frozenset[Operation]:
    """Give ``value`` as a set of operations, else raise ``SpecError``."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise SpecError(f"{what}: a set of operations is needed, not {units.shown(value)}")
    given = tuple(value)
    for one in given:
        if one not in OPERATIONS:
            raise SpecError(f"{what}: {units.shown(one)} is unknown; operations are {', '.join(OPERATIONS)}")
    if not given:
        raise SpecError(f"{what}: none given; leave out the mount, or allow at least one of {', '.join(OPERATIONS)}")
    return frozenset(given)


def _refusal(operation: str, path: str, rule: str) -> str:
    return (
        f"{operation} {path}: not allowed by the sandbox's policy ({rule}); use another path, "
        "or create the sandbox with paths= or mounts= that allow it"
    )
