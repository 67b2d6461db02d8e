"""The folders that the programs of one box see: a file system in memory, and folders of the host at their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cloche import Entry, FileKind, FileStat, NotFound, Vfs
from cloche_wasm.wasi.errors import Errno, Refused

LINKS_MAX: Final = 40  # links followed in one path, as Linux does (path_resolution(7))
PATH_MAX: Final = 4096  # bytes


@dataclass(frozen=True, slots=True)
class Place:
    """A file system of the box, at ``path``."""

    path: str
    vfs: Vfs
    writable: bool = True
    folder: str = "/"
    """Where in ``vfs`` it begins."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One path of the box: the place it lies in, and the path in there. It leads over no link."""

    place: Place
    inner: str

    def stat(self) -> FileStat:
        """Tell about it. Raises ``NotFound``."""
        return self.place.vfs.stat(self.inner)

    def found(self) -> FileStat | None:
        """Tell about it, if it is there."""
        try:
            return self.stat()
        except NotFound:
            return None

    def changed(self) -> Spot:
        """Give itself, or refuse where nothing may be changed."""
        if not self.place.writable:
            raise Refused(Errno.ROFS)
        return self


class World:
    """All places of a box; the innermost one that holds a path is used."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = sorted(places, key=lambda place: len(place.path), reverse=True)

    def at(self, path: str) -> Spot:
        """Give where an absolute path without links and dots lies. Refuses one that lies in no place."""
        for place in self._places:
            if path == place.path or path.startswith(place.path.rstrip("/") + "/"):
                rest = path[len(place.path.rstrip("/")) :].rstrip("/")
                return Spot(place, (place.folder.rstrip("/") + rest) or "/")
        raise Refused(Errno.NOTCAPABLE)

    def list(self, path: str) -> list[Entry]:
        """Give what is directly in a folder."""
        spot = self.at(path)
        return spot.place.vfs.list(spot.inner)

    def is_place(self, path: str) -> bool:
        """Say whether a place begins there: it can be neither removed nor moved."""
        return any(place.path == path for place in self._places)

    def resolve(self, base: str, path: str, *, follow: bool) -> str:
        """Give the path that ``path`` means from the folder ``base``, never one outside of that.

        Links on the way are followed, and of the last name if ``follow``; what is not there may be the last name alone.
        """
        if len(path.encode("utf-8", "surrogateescape")) > PATH_MAX:
            raise Refused(Errno.NAMETOOLONG)
        if path == "":
            raise Refused(Errno.NOENT)
        if path.startswith("/"):
            raise Refused(Errno.NOTCAPABLE)
        way: list[str] = []
        left, links = path.split("/")[::-1], 0
        while left:
            name = left.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if not way:
                    raise Refused(Errno.NOTCAPABLE)
                way.pop()
                continue
            more = any(after not in ("", ".") for after in left)
            target = self._step(_joined(base, [*way, name]), more=more, follow=follow or bool(left))
            if target is None:
                way.append(name)
                continue
            links += 1
            if links > LINKS_MAX:
                raise Refused(Errno.LOOP)
            left += target.split("/")[::-1]
        return _joined(base, way)

    def _step(self, path: str, *, more: bool, follow: bool) -> str | None:
        """Give the text of a link to follow, or ``None`` to go on; refuses a way through what is no folder."""
        found = self.at(path).found()
        if found is not None and found.target is not None and (more or follow):
            if found.target.startswith("/"):
                raise Refused(Errno.NOTCAPABLE)
            return found.target
        if more and (found is None or found.kind is not FileKind.FOLDER):
            raise Refused(Errno.NOENT if found is None else Errno.NOTDIR)
        return None


def _joined(base: str, names: list[str]) -> str:
    return "/" + "/".join([*filter(None, [base.strip("/")]), *names])
