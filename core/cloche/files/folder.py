"""A file system that is one folder of this machine, safe against whoever fills it at the same time."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import threading
import weakref
from collections.abc import Generator, Iterator
from itertools import islice
from typing import BinaryIO, ClassVar, Final

from cloche import units
from cloche.errors import FileError, LimitExceeded, SandboxError, StateError
from cloche.files.explain import explain
from cloche.files.folder_watch import Allows, FolderWatch
from cloche.files.vfs import (
    Entry,
    FileStat,
    OpenMode,
    Vfs,
    check_path,
    check_permissions,
    write_whole,
)
from cloche.files.walk import Judge, Walk, next_entries, stat_of
from cloche.files.watch import FOLDERS_MAX
from cloche_native import files as native

LIST_MAX: Final = 100_000  # names that ``list`` gives at once, some 60 MB; ``walk`` has no bound
REMOVE_MAX: Final = 1 << 26  # names that one ``remove`` takes away before it says that somebody fills the folder,
COUNTED_MAX: Final = 1 << 21  # and as many where there are fewer: then twice what was there when the first were gone
_STEP: Final = 1 << 14  # names removed between two looks at whether the file system was closed
_MODES: Final = {"r": "rb", "r+": "r+b", "w": "wb", "a": "ab", "x": "wb"}


class FolderVfs(Vfs):
    """What lies beneath the folder that ``fd`` is open on.

    Every path is resolved by the kernel beneath that descriptor without following a link, so that nothing a guest
    plants or swaps meanwhile leads out. With ``uid`` and ``gid`` files are used and made as that user, which takes
    root. ``shown_as`` stands before paths in entries and messages. With ``owned`` the descriptor is closed with the
    file system. Writing syncs nothing to disk. Permissions of new files and folders are exactly those asked for.
    """

    name: ClassVar[str] = "folder"

    def __init__(
        self,
        fd: int,
        *,
        uid: int | None = None,
        gid: int | None = None,
        shown_as: str = "",
        owned: bool = False,
    ) -> None:
        self._folder = native.Folder(fd, uid=uid, gid=gid)
        self._shown_as = shown_as
        self._owned = owned
        self._users = 0
        self._closed = False
        self._watches = weakref.WeakSet[FolderWatch]()
        self._turn = threading.Condition()

    def stat(self, path: str) -> FileStat:
        """Tell about ``path`` itself."""
        with self._use("stat", path) as raw:
            found = self._folder.stat(raw)
        return stat_of(found)

    def list(self, path: str = "/") -> list[Entry]:
        """As ``Vfs.list``; ``LimitExceeded`` for more than ``LIST_MAX`` names."""
        out: list[Entry] = []
        with self._use("list", path) as raw:
            reader = self._folder.reader(raw)
            prefix = f"{self._shown_as}{path.rstrip('/')}/"
            try:
                while batch := next_entries(reader, prefix):
                    out += [entry for _, entry in batch]
                    if len(out) > LIST_MAX:
                        raise LimitExceeded(
                            f"list {units.shown(self._shown(path))}: it holds more than {LIST_MAX} names; use walk"
                        )
            finally:
                reader.close()
        return sorted(out, key=lambda entry: entry.path)

    def open(self, path: str, mode: OpenMode = "r", *, permissions: int = 0o644) -> BinaryIO:
        """Open a regular file unbuffered, as ``Vfs.open``; what is none is refused at once."""
        if mode not in _MODES:
            raise FileError(f"open {units.shown(path)}: mode {units.shown(mode)} is unknown; use r, r+, w, a or x")
        check_permissions(permissions)
        with self._use("open", path) as raw:
            fd = self._folder.open(raw, mode, mode=permissions)
        return io.FileIO(fd, _MODES[mode])

    def write(self, path: str, data: bytes, *, permissions: int | None = None) -> None:
        """Put a file in place by a rename, whole or not at all; the old one stays if that fails."""
        wanted = None if permissions is None else check_permissions(permissions)
        with self._use("write", path) as raw:
            self._folder.write(raw, data, mode=wanted)

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file."""
        with self.open(path, "a") as file, self._use("append to", path):
            write_whole(file, data)

    def mkdir(self, path: str, *, parents: bool = False, permissions: int = 0o755) -> None:
        """Make a folder; those made above it get ``0o755``."""
        check_permissions(permissions)
        with self._use("mkdir", path) as raw:
            try:
                self._folder.mkdir(raw, mode=permissions)
            except FileNotFoundError:
                if not parents:
                    raise
                names = raw.split(b"/")
                for depth in range(1, len(names)):
                    self._mkdir_or_there(b"/".join(names[:depth]), 0o755)
                self._mkdir_or_there(raw, permissions)
            except FileExistsError:
                if not parents or not stat.S_ISDIR(self._folder.stat(raw).mode):
                    raise

    def move(self, source: str, target: str, *, replace: bool = True) -> None:
        """Rename within this folder's file system; mount points stay where they are."""
        to = os.fsencode(check_path(target, "target")[1:])
        with self._use("move", source, target) as raw:
            self._folder.move(raw, to, replace=replace)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a name, as ``Vfs.remove``: any depth, closed folders too, never what a link means."""
        most = 0
        with self._use("remove", path) as raw:
            while not self._folder.remove(raw, recursive=recursive, budget=_STEP):
                if self._closed:
                    raise StateError(f"remove {units.shown(self._shown(path))}: the file system was closed half-way")
                most = (most or self._names_in(path)) - _STEP
                if most <= 0:
                    break
            else:
                return
        raise FileError(
            f"remove {units.shown(self._shown(path))}: somebody fills it as fast as it is emptied; stop them first"
        )

    def _names_in(self, path: str) -> int:
        """Give how many names may be removed below ``path`` before somebody must be filling it meanwhile."""
        try:
            count = sum(1 for _ in islice(self.walk(path), COUNTED_MAX))
            return 2 * (_STEP + count) if count < COUNTED_MAX else REMOVE_MAX
        except SandboxError:  # it holds what can be removed but not read, or is gone
            return COUNTED_MAX

    def walk(self, path: str = "/", *, judge: Judge | None = None) -> Generator[Entry, None, None]:
        """As ``Vfs.walk``, in the order the kernel gives names, so that a folder of any size takes little memory.

        What lies in file systems without files (/proc and its like) is left out. ``judge`` may leave out more.
        """
        return Walk(self._folder, self._use, self._shown_as).run(path, judge)

    def chmod(self, path: str, permissions: int) -> None:
        """Set the permission bits of a file or folder."""
        check_permissions(permissions)
        with self._use("chmod", path) as raw:
            self._folder.chmod(raw, permissions)

    def symlink(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        units.text(target, "target", most=4095)
        with self._use("symlink", path) as raw:
            self._folder.symlink(raw, os.fsencode(target))

    def watch(
        self, path: str = "/", *, recursive: bool = True, most: int = FOLDERS_MAX, allows: Allows | None = None
    ) -> FolderWatch:  # fmt: skip
        """As ``Vfs.watch``; ``most`` folders at most. ``allows`` says of what may be told, and what looked into."""
        check_path(path)
        watch = FolderWatch(
            self._folder, self._use, path, shown_as=self._shown_as, recursive=recursive,
            most=units.count(most, "most"), allows=allows,
        )  # fmt: skip
        with self._turn:
            self._watches.add(watch)
            closed = self._closed
        if closed:
            watch.end()
        return watch

    def shut(self) -> bool:
        """Let no new act begin, without waiting; gives whether none is running either."""
        with self._turn:
            self._closed = True
            return not self._users

    def close(self) -> None:
        """Let no new act begin, and wait until those that run have ended; open streams stay open."""
        with self._turn:
            self._closed = True
            self._turn.wait_for(lambda: not self._users)
            if self._owned:
                self._owned = False
                os.close(self._folder.fd)
            watches = list(self._watches)
        for watch in watches:
            watch.end()

    # -- inside -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _use(self, act: str, path: str, target: str | None = None) -> Iterator[bytes]:
        """Give ``path`` as the native module takes it; the descriptor is not closed before the end."""
        raw = os.fsencode(check_path(path)[1:])
        with self._turn:
            if self._closed:
                raise StateError(f"{act} {units.shown(self._shown(path))}: the file system is closed")
            self._users += 1
        try:
            yield raw
        except OSError as error:
            raise explain(error, act, self._shown(path), target and self._shown(target)) from error
        finally:
            with self._turn:
                self._users -= 1
                if self._closed:
                    self._turn.notify_all()

    def _shown(self, path: str) -> str:
        return (self._shown_as + path).rstrip("/") or "/"

    def _mkdir_or_there(self, raw: bytes, permissions: int) -> None:
        try:
            self._folder.mkdir(raw, mode=permissions)
        except FileExistsError:
            if not stat.S_ISDIR(self._folder.stat(raw).mode):
                raise
