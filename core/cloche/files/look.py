"""The walk through what a box will show, which finds what patterns cover there and says in which order to act on it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from cloche.errors import SpecError
from cloche.files.access import PathPermissions, inside
from cloche.files.globs import Globs

LOOKED_MAX: Final = 100_000
DEPTH_MAX: Final = 128


class PathAct(StrEnum):
    """What is done to a path of the box. Where it says so, what is not there is a failure."""

    COVER = "cover"
    """Something empty over it, which must be there."""
    MAKE = "make"
    """The same; if nothing is there, an empty folder."""
    MASK = "mask"
    """Something empty over what it leads to, links followed, if it is there."""
    FREEZE = "freeze"
    """Made read-only with all that is below; it must be there."""
    PIN = "pin"
    """Kept from being renamed or removed; it must be there."""
    ONLY = "only"
    """Hidden: an empty folder of the box instead, into which what follows is shown again. It must be there."""
    SHOW = "show"
    """ShownPath again in place, from what the last ONLY hid, where it must be there."""
    SEAL = "seal"
    """Closed: nothing more can be made directly in the empty folder of an ONLY."""
    FOLDER = "folder"
    """An empty folder of the guest's, if nothing is there."""


@dataclass(frozen=True, slots=True)
class PathStep:
    """One act on one path; ``hidden`` is the folder that a SHOW shows a part of."""

    act: PathAct
    path: str
    hidden: str = ""


@dataclass(frozen=True, slots=True)
class ShownPath:
    """A folder or file of the host at ``target``, or with no ``source`` an empty folder of the box's own."""

    target: str
    source: str | None
    writable: bool
    private: bool = False
    """What is made there stays in the box, so that an empty folder may be put there."""
    judged: bool = False
    """It is the work folder or a mount, so that ``allowed`` has a say in it."""


@dataclass(frozen=True, slots=True)
class At:
    """A path being looked at: where it is shown, what it is on the host, and the states of the three lists."""

    path: str
    place: ShownPath | None
    kind: str | None
    """``folder``, ``file`` or ``link``; ``None``: only made for what is mounted below it."""
    forbidden: int
    read_only: int
    allowed: int
    hidden: str = ""
    """The folder of the ONLY that it lies in, unless it is shown again."""
    frozen: bool = False


@dataclass(slots=True)
class Look:
    """One walk; ``all`` begins it, once."""

    paths: PathPermissions
    shown: Sequence[ShownPath]
    steps: list[PathStep] = field(default_factory=list)
    looked: int = 0
    pinned: set[str] = field(default_factory=set)
    forbidden: Globs = field(init=False)
    read_only: Globs = field(init=False)
    allowed: Globs = field(init=False)

    def __post_init__(self) -> None:
        paths = self.paths
        self.forbidden, self.read_only, self.allowed = map(Globs, (paths.forbidden, paths.read_only, paths.allowed))

    def all(self) -> list[PathStep]:
        """Give every step, each folder before what is in it."""
        self.visit(At("/", None, None, self.forbidden.start, self.read_only.start, self.allowed.start), None, ())
        return self.steps

    def visit(self, at: At, parent: int | None, above: tuple[str, ...]) -> None:
        """Look at one name; ``parent`` is the open folder that holds it, ``above`` the folders that can be renamed."""
        own = next((s for s in self.shown if s.target == at.path), None)
        if own is not None:
            at, above = replace(at, place=own), ()
        kind = _kind(at, own)
        if kind == "link":
            return
        if self.forbidden.first(at.forbidden) is not None:
            if at.place is not None and not at.hidden:
                self._put(PathAct.COVER, at.path, above)
            return
        before = at
        at = self._limited(at, kind)
        if at is not before:
            above = ()
        if self._is_frozen_here(at):
            if self._changes(at):
                self._put(PathAct.FREEZE, at.path, above)
            at, above = replace(at, frozen=True), ()
        if kind == "folder" and self._goes_on(at):
            self._descend(at, own, parent, (*above, at.path) if self._renamable(at, own) else ())
        if at.hidden == at.path:
            self.steps.append(PathStep(PathAct.SEAL, at.path))

    def _limited(self, at: At, kind: str) -> At:
        """PathAct on what ``allowed`` says of this path: give it as hidden, or as shown again."""
        if at.place is None or not at.place.judged or not self.allowed.patterns:
            return at
        if self.allowed.first(at.allowed) is not None:
            if at.hidden:
                self.steps.append(PathStep(PathAct.SHOW, at.path, at.hidden))
                return replace(at, hidden="")
        elif not at.hidden:
            self.steps.append(PathStep(PathAct.ONLY if kind == "folder" else PathAct.COVER, at.path))
            return replace(at, hidden=at.path) if kind == "folder" else at
        return at

    def _is_frozen_here(self, at: At) -> bool:
        covered = self.read_only.first(at.read_only) is not None
        return covered and at.place is not None and not at.frozen and not at.hidden

    def _changes(self, at: At) -> bool:
        return any(s.writable and (s is at.place or inside(s.target, at.path)) for s in self.shown)

    def _renamable(self, at: At, own: ShownPath | None) -> bool:
        return own is None and at.place is not None and at.place.writable and not at.frozen and not at.hidden

    def _goes_on(self, at: At) -> bool:
        return (
            self.forbidden.awaited(at.forbidden) is not None
            or (not at.frozen and self.read_only.awaited(at.read_only) is not None)
            or (bool(at.hidden) and self.allowed.awaited(at.allowed) is not None)
            or (not at.hidden and bool(self.allowed.patterns) and any(
                s.judged and s.target != at.path and inside(s.target, at.path) for s in self.shown
            ))
        )  # fmt: skip

    def _descend(self, at: At, own: ShownPath | None, parent: int | None, above: tuple[str, ...]) -> None:
        if at.path.count("/") > DEPTH_MAX:
            raise SpecError(f"paths: {at.path:.100}…: over {DEPTH_MAX} folders deep; name the folder as a whole")
        with _opened(at, own, parent) as folder:
            entries = self._entries(at, folder) if folder is not None else {}
            below = at.path.rstrip("/") + "/"
            names = {s.target[len(below) :].split("/")[0] for s in self.shown if s.target.startswith(below)}
            for name in sorted({*entries, *names} - {""}):
                self.looked += 1
                if self.looked > LOOKED_MAX:
                    raise SpecError(
                        f"paths: the patterns lead through over {LOOKED_MAX} files and folders; begin them with the "
                        "folders they are about"
                    )
                states = (
                    self.forbidden.step(at.forbidden, name), self.read_only.step(at.read_only, name),
                    self.allowed.step(at.allowed, name),
                )  # fmt: skip
                if any(states) or name in names:
                    there = replace(
                        at, path=below + name, kind=entries.get(name), forbidden=states[0], read_only=states[1],
                        allowed=states[2],
                    )  # fmt: skip
                    self.visit(there, folder, above)

    def _entries(self, at: At, folder: int) -> dict[str, str]:
        """Give the names in a folder, or of a big one just those that patterns lead to, and what they are."""
        wanted: set[str] | None = set()
        lists = ((self.forbidden, at.forbidden), (self.read_only, at.read_only), (self.allowed, at.allowed))
        for globs, state in lists:
            names = globs.expected(state)
            wanted = None if names is None or wanted is None else wanted | names
        if wanted is None:
            with os.scandir(folder) as entries:
                return {
                    entry.name: _kind_of(entry.is_symlink(), entry.is_dir(follow_symlinks=False)) for entry in entries
                }
        out = {}
        for name in wanted:
            try:
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
                    raise SpecError(
                        f"paths: {at.path}/{name} can't be looked at ({error.strerror}); make its folder accessible"
                    ) from None
                continue
            out[name] = _kind_of(stat.S_ISLNK(mode), stat.S_ISDIR(mode))
        return out

    def _put(self, act: PathAct, path: str, above: tuple[str, ...]) -> None:
        for folder in above:
            if folder not in self.pinned:
                self.pinned.add(folder)
                self.steps.append(PathStep(PathAct.PIN, folder))
        self.steps.append(PathStep(act, path))


def _kind(at: At, own: ShownPath | None) -> str:
    if own is not None:
        return "folder" if own.source is None or os.path.isdir(own.source) else "file"
    return at.kind or "folder"


def _kind_of(link: bool, folder: bool) -> str:  # noqa: FBT001 - two facts of one entry
    return "link" if link else "folder" if folder else "file"


@contextmanager
def _opened(at: At, own: ShownPath | None, parent: int | None) -> Iterator[int | None]:
    """Give the folder open for reading, or ``None`` where nothing of the host is there."""
    how = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    source = own.source if own is not None else None
    if source is None and (own is not None or at.kind is None):
        yield None
        return
    try:
        if source is not None:
            fd = os.open(source, how)
        else:
            fd = os.open(at.path.rpartition("/")[2], how | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        yield None  # it is gone
        return
    except OSError as error:
        if isinstance(error, PermissionError) and at.place is not None and not at.place.writable:
            yield None  # the guest has no more rights than we, and can't change any there
            return
        raise SpecError(
            f"paths: {at.path} can't be looked into ({error.strerror}), so what the patterns cover there is not known; "
            "make it readable, or forbid it as a whole"
        ) from None
    try:
        yield fd
    finally:
        os.close(fd)
