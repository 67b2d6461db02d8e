"""The contract of a file system over a plain table, to compare a real one with."""

from __future__ import annotations

from collections.abc import Callable

import cloche
from cloche import FileError, NotFound, Vfs


class Model:
    """The whole contract of names over a flat table: path -> content, or ``None`` for a folder."""

    def __init__(self) -> None:
        self.names: dict[str, bytes | None] = {}

    def write(self, path: str, data: bytes) -> None:
        self._parent(path)
        if self.names.get(path, b"") is None:
            raise FileError
        self.names[path] = data

    def append(self, path: str, data: bytes) -> None:
        self._parent(path)
        if (old := self.names.get(path, b"")) is None:
            raise FileError
        self.names[path] = old + data

    def mkdir(self, path: str) -> None:
        self._parent(path)
        if path in self.names:
            raise FileError
        self.names[path] = None

    def remove(self, path: str, *, recursive: bool = False) -> None:
        self._parent(path)
        if path not in self.names:
            raise NotFound
        below = [p for p in self.names if p.startswith(path + "/")]
        if below and not recursive:
            raise FileError
        for gone in (path, *below):
            del self.names[gone]

    def move(self, source: str, target: str) -> None:
        self._parent(source)
        if source not in self.names:
            raise NotFound
        self._parent(target)
        if target == source:
            return
        if target.startswith(source + "/"):
            raise FileError
        there = target in self.names
        full = any(p.startswith(target + "/") for p in self.names)
        if there and (full or (self.names[source] is None) != (self.names[target] is None)):
            raise FileError
        for path in [p for p in self.names if p == source or p.startswith(source + "/")]:
            self.names[target + path[len(source) :]] = self.names.pop(path)

    def _parent(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        while parent:
            if self.names.get(parent, b"") is not None:
                raise NotFound
            parent = parent.rpartition("/")[0]


ACTS: list[Callable[[Vfs | Model, str, str], object]] = [
    lambda fs, path, other: fs.write(path, other.encode()),
    lambda fs, path, other: fs.append(path, other.encode()),
    lambda fs, path, _: fs.mkdir(path),
    lambda fs, path, _: fs.mkdir(path),
    lambda fs, path, _: fs.remove(path),
    lambda fs, path, _: fs.remove(path, recursive=True),
    lambda fs, path, other: fs.move(path, other),
]


def outcome(act: Callable[[Vfs | Model, str, str], object], on: Vfs | Model, path: str, other: str) -> str:
    """Give how an act ended: the name of the error, or that it was done."""
    try:
        act(on, path, other)
    except cloche.ClocheError as error:
        return type(error).__name__
    return "done"
