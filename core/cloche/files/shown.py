"""A file system that is no folder of the host, at its place in a sandbox."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import BinaryIO, ClassVar

from cloche import units
from cloche.errors import NotFound, Unsupported
from cloche.files.folder_watch import Allows
from cloche.files.vfs import Entry, FileKind, FileStat, OpenMode, Vfs
from cloche.files.walk import Judge
from cloche.files.watch import FOLDERS_MAX, Watch


class ShownVfs(Vfs):
    """What ``inner`` holds, with ``shown_as`` before the paths of entries. Closing it leaves ``inner`` open."""

    name: ClassVar[str] = "shown"

    def __init__(self, inner: Vfs, *, shown_as: str) -> None:
        self._inner = inner
        self._shown_as = shown_as

    def stat(self, path: str) -> FileStat:
        """Tell about ``path`` itself."""
        return self._inner.stat(path)

    def list(self, path: str = "/") -> list[Entry]:
        """Give what is directly in a folder, by name."""
        return [replace(entry, path=self._shown_as + entry.path) for entry in self._inner.list(path)]

    def walk(self, path: str = "/", *, judge: Judge | None = None) -> Generator[Entry, None, None]:
        """As ``Vfs.walk``; ``judge`` may leave out entries, and what is in a folder."""
        above = [iter(self.list(path))]
        while above:
            if (entry := next(above[-1], None)) is None:
                above.pop()
                continue
            verdict = True if judge is None else judge(entry)
            if verdict is not False:
                yield entry
            if verdict and entry.stat.kind is FileKind.FOLDER:
                try:
                    above.append(iter(self.list(entry.path[len(self._shown_as) :])))
                except NotFound:
                    continue  # it vanished meanwhile

    def open(self, path: str, mode: OpenMode = "r", *, permissions: int = 0o644) -> BinaryIO:
        """Open a regular file unbuffered."""
        return self._inner.open(path, mode, permissions=permissions)

    def write(self, path: str, data: bytes, *, permissions: int | None = None) -> None:
        """Put a file in place, whole or not at all."""
        self._inner.write(path, data, permissions=permissions)

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file."""
        self._inner.append(path, data)

    def mkdir(self, path: str, *, parents: bool = False, permissions: int = 0o755) -> None:
        """Make a folder."""
        self._inner.mkdir(path, parents=parents, permissions=permissions)

    def move(self, source: str, target: str, *, replace: bool = True) -> None:
        """Rename within it."""
        self._inner.move(source, target, replace=replace)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a name."""
        self._inner.remove(path, recursive=recursive)

    def chmod(self, path: str, permissions: int) -> None:
        """Set the permission bits."""
        self._inner.chmod(path, permissions)

    def symlink(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        self._inner.symlink(path, target)

    def watch(
        self,
        path: str = "/",
        *,
        recursive: bool = True,  # noqa: ARG002 - of no file system here
        most: int = FOLDERS_MAX,  # noqa: ARG002
        allows: Allows | None = None,  # noqa: ARG002
    ) -> Watch:
        """Refuse: nothing tells of changes."""
        raise Unsupported(f"watch {units.shown(self._shown_as + path)}: it is no folder of this machine; use diff")

    def shut(self) -> bool:
        """Say that nothing has to be waited for: who owns ``inner`` closes it."""
        return True
