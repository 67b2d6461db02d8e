"""A file system of Python objects, with a quota, for any number of threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, ClassVar, cast

from cloche.errors import FileError, NotFound, SpecError, StateError
from cloche.files.nodes import Handle, Node, Quota, release
from cloche.files.vfs import Entry, FileStat, OpenMode, Vfs, check_path, check_permissions

NAME_MAX = 255  # bytes, as everywhere on Linux (pathname(7))
TARGET_MAX = 4095  # bytes of a link's text, as there


class MemoryVfs(Vfs):
    """Holds at most ``size`` bytes of content and ``entries`` names; while a file is replaced, both count."""

    name: ClassVar[str] = "memory"

    def __init__(self, *, size: int, entries: int) -> None:
        self._quota = Quota(size, entries)
        self._size, self._entries = size, entries
        self._inodes = 1
        self._root: Node | None = Node(0o755, names={}, inode=1)

    def stat(self, path: str) -> FileStat:
        """Tell about ``path`` itself."""
        with self._act("stat", path) as (folder, name):
            return self._need("stat", path, folder, name).stat()

    def list(self, path: str = "/") -> list[Entry]:
        """Give what is directly in a folder, by name."""
        with self._act("list", path) as (folder, name):
            names = self._need("list", path, folder, name).names
            if names is None:
                raise _refusal("list", path, "it is no folder")
            prefix = path.rstrip("/") + "/"
            return [Entry(prefix + inner, names[inner].stat()) for inner in sorted(names)]

    def open(self, path: str, mode: OpenMode = "r", *, permissions: int = 0o644) -> BinaryIO:
        """Open a regular file unbuffered; it goes on to work when its name is gone."""
        check_permissions(permissions)
        if mode not in ("r", "r+", "w", "a", "x"):
            raise SpecError(f"open {path!r:.80}: mode {mode!r:.20} is unknown; use r, r+, w, a or x")
        with self._act("open", path) as (folder, name):
            node = self._find(folder, name)
            if node is None:
                if mode in ("r", "r+"):
                    raise _missing("open", path)
                node = self._add("open", path, folder, name, Node(permissions, data=bytearray()))
            elif mode == "x":
                raise _refusal("open", path, "something of that name is there already")
            if node.data is None:
                raise _refusal("open", path, f"it is a {node.kind}, and links are not followed")
            file = Handle(node, node.data, mode, self._quota)
            if mode == "w":
                file.truncate(0)
            return cast("BinaryIO", file)

    def write(self, path: str, data: bytes, *, permissions: int | None = None) -> None:
        """Put a file in place, whole or not at all."""
        wanted = None if permissions is None else check_permissions(permissions)
        with self._act("write", path) as (folder, name):
            old = self._find(folder, name)
            if old is not None and old.names is not None:
                raise _refusal("write", path, "it is a folder")
            if len(data) > self._quota.bytes:
                raise _refusal("write", path, "no space is left; remove something or give it more")
            kept = old.mode & 0o777 if old is not None and old.data is not None else 0o644
            node = Node(kept if wanted is None else wanted, data=bytearray(data))
            if old is not None:
                self._drop(folder, name)
            self._add("write", path, folder, name, node)
            self._quota.bytes -= len(data)

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file."""
        with self.open(path, "a") as file:
            try:
                file.write(data)
            except OSError as error:
                raise _refusal("append to", path, "no space is left; remove something or give it more") from error

    def mkdir(self, path: str, *, parents: bool = False, permissions: int = 0o755) -> None:
        """Make a folder; those made above it get ``0o755``."""
        check_permissions(permissions)
        names = check_path(path)[1:].split("/")
        for depth in range(1 if parents else len(names), len(names)):
            self._mkdir("/" + "/".join(names[:depth]), 0o755, there_is_fine=True)
        self._mkdir(path, permissions, there_is_fine=parents)

    def move(self, source: str, target: str, *, replace: bool = True) -> None:
        """Rename, as rename(2)."""
        with self._act("move", source) as (folder, name), self._act("move", target) as (goal, new):
            node, old = self._need("move", source, folder, name), self._find(goal, new)
            if not name or not new or (source != target and target.startswith(source + "/")):
                raise _refusal("move", source, f"to {target!r:.80} can't be done: into itself, or the root")
            if old is not None and not replace:
                raise _refusal("move", source, f"something of the name {target!r:.80} is there already")
            if old is node:
                return
            if old is not None and ((old.names is None) != (node.names is None) or old.names):
                raise _refusal("move", source, f"{target!r:.80} is of another kind, or a folder that is not empty")
            if old is not None:
                self._drop(goal, new)
            del _names(folder)[name]
            _names(goal)[new] = node
            for changed in (folder, goal):
                changed.touch(content=True)
            node.touch(content=False)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a name, and what is below it if ``recursive``."""
        with self._act("remove", path) as (folder, name):
            node = self._need("remove", path, folder, name)
            if not name:
                raise _refusal("remove", path, "the root can't be removed")
            if node.names and not recursive:
                raise _refusal("remove", path, "the folder is not empty; use recursive=True")
            self._drop(folder, name)

    def chmod(self, path: str, permissions: int) -> None:
        """Set the permission bits, which nothing here depends on."""
        check_permissions(permissions)
        with self._act("chmod", path) as (folder, name):
            node = self._need("chmod", path, folder, name)
            if node.target is not None:
                raise _refusal("chmod", path, "it is a link, and links are not followed")
            node.mode = permissions
            node.touch(content=False)

    def symlink(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        if not isinstance(target, str) or "\0" in target or not 0 < len(os.fsencode(target)) <= TARGET_MAX:
            raise SpecError(f"target: {target!r:.80} must be text of 1 to {TARGET_MAX} bytes without NUL")
        with self._act("symlink", path) as (folder, name):
            if self._find(folder, name) is not None:
                raise _refusal("symlink", path, "something of that name is there already")
            self._add("symlink", path, folder, name, Node(0o777, target=target))

    def usage(self) -> dict[str, float]:
        """Give what of it is used, by the names of ``cloche.Stats``: bytes of content, and names."""
        with self._quota.turn:
            used, names = self._size - self._quota.bytes, self._entries - self._quota.names
        return {"disk_used": used, "disk_size": self._size, "files_used": names, "files_size": self._entries}

    def close(self) -> None:
        """Let go of everything; open files go on."""
        with self._quota.turn:
            self._root = None

    # -- inside -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _act(self, act: str, path: str) -> Iterator[tuple[Node, str]]:
        """Give one thread at a time the folder that ``path`` lies in and its name there; of ``/`` the name ``""``."""
        names = check_path(path)[1:].split("/")
        if any(len(os.fsencode(name)) > NAME_MAX for name in names):
            raise SpecError(f"{act} {path!r:.80}: a name in it is longer than {NAME_MAX} bytes")
        with self._quota.turn:
            if self._root is None:
                raise StateError(f"{act} {path!r:.80}: the file system is closed")
            folder = self._root
            for name in names[:-1]:
                node = _names(folder).get(name)
                if node is not None and node.target is not None:
                    raise _refusal(act, path, "a symbolic link is in the way; links are not followed")
                if node is None or node.names is None:
                    raise _missing(act, path)
                folder = node
            yield folder, names[-1]

    def _find(self, folder: Node, name: str) -> Node | None:
        return _names(folder).get(name) if name else folder

    def _need(self, act: str, path: str, folder: Node, name: str) -> Node:
        node = self._find(folder, name)
        if node is None:
            raise _missing(act, path)
        return node

    def _mkdir(self, path: str, permissions: int, *, there_is_fine: bool) -> None:
        with self._act("mkdir", path) as (folder, name):
            node = self._find(folder, name)
            if node is None:
                self._add("mkdir", path, folder, name, Node(permissions, names={}))
            elif not there_is_fine or node.names is None:
                raise _refusal("mkdir", path, "something of that name is there already")

    def _add(self, act: str, path: str, folder: Node, name: str, node: Node) -> Node:
        if not self._quota.names:
            raise _refusal(act, path, "no room for another name is left; remove something or give it more")
        self._quota.names -= 1
        self._inodes += 1
        node.inode = self._inodes
        _names(folder)[name] = node
        folder.touch(content=True)
        return node

    def _drop(self, folder: Node, name: str) -> None:
        """Take a name away with all that is below it."""
        folder.touch(content=True)
        left = [_names(folder).pop(name)]
        while left:
            gone = left.pop()
            left += (gone.names or {}).values()
            gone.linked = False
            self._quota.names += 1
            release(gone, self._quota)


def _names(folder: Node) -> dict[str, Node]:
    assert folder.names is not None  # noqa: S101 - what is walked through are folders
    return folder.names


def _refusal(act: str, path: str, why: str) -> FileError:
    return FileError(f"{act} {path!r:.80}: {why}")


def _missing(act: str, path: str) -> NotFound:
    return NotFound(f"{act} {path!r:.80}: there is nothing of that name, or a name on the way is no folder")
