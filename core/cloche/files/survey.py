"""What patterns cover in the folders that a box will show, looked up before it is made.

A runtime that keeps paths by what it shows says which folder lies where; it gets back steps to be done in order once
they are in place, and what can't be kept that way. Nothing is followed out of a folder: a symbolic link in it is met as
a link. What is found may change until the box is made, so each step must fail where it does not find what it names.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Final

from cloche.errors import SpecError
from cloche.files.access import PathPermissions, inside
from cloche.files.globs import Globs, plain
from cloche.files.look import Look, PathAct, PathStep, ShownPath

STEPS_MAX: Final = 4096
MADE: Final = ("/proc", "/dev")  # folders of a box that are made for it, and shown by no one
_WAY_OUT: Final = {"forbidden": "forbid", "read_only": "protect"}


class PathSurvey:
    """The lists of a ``PathPermissions`` over what a box shows; ``links``: symbolic links of the box's own."""

    def __init__(self, paths: PathPermissions, shown: Sequence[ShownPath], *, links: Sequence[str] = ()) -> None:
        """Look at nothing yet."""
        self._paths, self._shown, self._links = paths, shown, links
        lists = (("forbidden", paths.forbidden), ("read_only", paths.read_only))
        self._plain = [(kind, path) for kind, several in lists for p in several if (path := plain(p)) is not None]
        self._patterns = [(kind, p) for kind, several in lists for p in several if plain(p) is None]
        self._closing = Globs(path for _, path in self._plain)
        self._allowed = Globs(paths.allowed)
        self._read_only = Globs(paths.read_only)

    def problems(self) -> list[str]:
        """Give what could not be kept by any steps, each with the way out."""
        return [*self._of_plain(), *self._of_patterns()]

    def caveats(self) -> list[str]:
        """Give what is kept, but not as one might think."""
        out = []
        if self._patterns or any(self._is_of_host(path) for _, path in self._plain):
            out.append("it covers what is there when the box is made, not what the host adds or replaces there later")
        if self._paths.allowed and any(s.judged and s.writable for s in self._shown):
            out.append("in a folder that is not allowed as a whole, the guest can make nothing that was not there")
        return out

    def steps(self) -> list[PathStep]:
        """Give what is to be done, after looking into the folders. Raises ``SpecError`` where that is too much work."""
        look = Look(self._paths, self._shown)
        out = look.all()
        for step in self._allowed_but_missing(out):
            if step.act is PathAct.FOLDER:
                out.insert(0, step)
            else:
                out.insert(out.index(PathStep(PathAct.SEAL, step.hidden)), step)
        for kind, path in self._plain:
            out += self._further(kind, path)
        if len(out) > STEPS_MAX:
            raise SpecError(
                f"paths: the patterns cover {len(out)} separate files and folders here; at most {STEPS_MAX}. "
                "Name whole folders instead"
            )
        return out

    # -- inside -----------------------------------------------------------------------------------------------------

    def _further(self, kind: str, path: str) -> Iterator[PathStep]:
        """Give what a plain path needs besides what the walk found: where it is not there, or behind a link."""
        place = self._place(path)
        there = place is not None and _is_there(place, path)
        if there or (place is not None and self._is_closed(place, path)):
            return
        linked = place is not None and _link_on_the_way(place, path) is not None
        if place is None or not place.writable or linked:
            if kind == "forbidden":
                yield PathStep(PathAct.MASK, path)
        elif place.private:
            yield PathStep(PathAct.MAKE, path)
            yield from (PathStep(PathAct.PIN, folder) for folder in _between(place.target, path))

    def _allowed_but_missing(self, steps: Sequence[PathStep]) -> Iterator[PathStep]:
        """Give what makes an allowed folder where there is none and it costs the host nothing."""
        hidden = [step.path for step in steps if step.act is PathAct.ONLY]
        for pattern in self._paths.allowed:
            path = plain(pattern)
            place = self._place(path) if path is not None else None
            folder = next((h for h in hidden if path is not None and inside(path, h)), None)
            if path is None or place is None or folder is None or not place.private or _is_there(place, path):
                continue
            if (
                _link_on_the_way(place, path) is None
                and self._allowed.first(_walk(self._allowed, _above(path))) is None
            ):
                yield PathStep(PathAct.FOLDER, path)
                yield PathStep(PathAct.SHOW, path, folder)

    def _is_of_host(self, path: str) -> bool:
        place = self._place(path)
        return place is not None and place.source is not None and not place.private

    def _place(self, path: str) -> ShownPath | None:
        return max((s for s in self._shown if inside(path, s.target)), key=lambda s: len(s.target), default=None)

    def _is_closed(self, place: ShownPath, path: str) -> bool:
        """Say whether nothing can be made at ``path`` anyway: by another rule, or in a folder that allows nothing."""
        if place.judged and self._paths.allowed and self._allowed.first(_walk(self._allowed, path)) is None:
            return True
        return self._closing.first(_walk(self._closing, _above(path))) is not None

    def _of_plain(self) -> Iterator[str]:
        for kind, path in self._plain:
            place = self._place(path)
            if place is None:
                yield from _of_made(kind, path)
            elif place.writable and not self._is_closed(place, path):
                link = _link_on_the_way(place, path)
                if link is not None:
                    yield (
                        f"{kind} {path}: {link} is a symbolic link in {place.target}, which the guest may replace; "
                        f"{_WAY_OUT[kind]} what it leads to, or the whole folder"
                    )
                elif not place.private and not _is_there(place, path):
                    yield (
                        f"{kind} {path}: it is not there, and the guest could make it, since it may write in "
                        f"{place.target}; make it first, or {_WAY_OUT[kind]} the whole folder"
                    )

    def _of_patterns(self) -> Iterator[str]:
        growing = list(self._growing())
        for kind, pattern in self._patterns:
            link = next((link for link in self._links if pattern.startswith(link + "/")), None)
            if link is not None:
                yield f"{kind} {pattern}: {link} is a symbolic link in the box; write the folder it leads to"
            made = next((folder for folder in MADE if pattern.startswith(folder + "/")), None)
            if made is not None and not any(inside(made, s.target) or inside(s.target, made) for s in self._shown):
                yield f"{kind} {pattern}: what is in {made} is made by the box; only plain paths can be forbidden there"
            globs = Globs((pattern,))
            folder = next((root for root in growing if _awaits(globs, root)), None)
            if folder is not None:
                yield (
                    f"{kind} {pattern}: the guest may write in {folder}, and could make more that it covers after "
                    f"the box is made; {_WAY_OUT[kind]} plain paths there, or make the folder read-only"
                )

    def _growing(self) -> Iterator[str]:
        """Give the folders in which the guest can make names."""
        for place in self._shown:
            if not place.writable or self._read_only.first(_walk(self._read_only, place.target)) is not None:
                continue
            covered = self._allowed.first(_walk(self._allowed, place.target)) is not None
            if not place.judged or not self._paths.allowed or covered:
                yield place.target
                continue
            for pattern in self._paths.allowed:
                path = plain(pattern)
                if path is not None and inside(path, place.target):
                    yield path
                elif path is None and _awaits(Globs((pattern,)), place.target):
                    yield place.target


def _of_made(kind: str, path: str) -> Iterator[str]:
    folder = next((made for made in MADE if inside(path, made)), None)
    if folder is None:
        return
    if kind == "read_only":
        yield f"read_only {path}: what is in {folder} is made by the box; it can only be forbidden"
    name = path[len(folder) + 1 :].partition("/")[0]
    if folder == "/proc" and (name.isdigit() or name in ("self", "thread-self")):
        yield f"forbidden {path}: it is another one for each process, and only one of them could be covered"


def _walk(globs: Globs, path: str) -> int:
    return globs.walk(path.split("/")[1:])


def _above(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _awaits(globs: Globs, path: str) -> bool:
    """Say whether a pattern could cover something below ``path`` without covering that."""
    state = _walk(globs, path)
    return globs.first(state) is None and globs.awaited(state) is not None


def _between(folder: str, path: str) -> list[str]:
    """Give the folders above ``path`` and below ``folder``, the highest first."""
    names = path[len(folder.rstrip("/")) + 1 :].split("/")[:-1]
    return [folder.rstrip("/") + "/" + "/".join(names[: i + 1]) for i in range(len(names))]


def _is_there(place: ShownPath, path: str) -> bool:
    """Say whether the box shows something at ``path`` that is reached without a symbolic link."""
    if path == place.target:
        return True
    if place.source is None or _link_on_the_way(place, path) is not None:
        return False
    return os.path.lexists(place.source + path[len(place.target) :])


def _link_on_the_way(place: ShownPath, path: str) -> str | None:
    if place.source is None or path == place.target:
        return None
    for one in [*_between(place.target, path), path]:
        try:
            if stat.S_ISLNK(os.lstat(place.source + one[len(place.target) :]).st_mode):
                return one
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise SpecError(
                    f"paths: {one} can't be looked at ({error.strerror}); nothing can be said of it"
                ) from None
            return None
    return None
