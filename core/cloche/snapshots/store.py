"""Where saved boxes are kept: a folder of the user's own, one folder a snapshot, named by the SHA-256 of its content.

``$XDG_DATA_HOME/cloche/snapshots`` (``~/.local/share``)::

    <id>/manifest       what it is; its SHA-256 is the id
    <id>/image/...      its files, their digests in the manifest
    .new-<random>/      one that is being written; locked as long as its writer lives
    lock                held while snapshots are counted, added or removed

An image holds all that a guest had in memory, and to restore one is to run it: so the folder is closed to all others,
nothing in it is used that belongs to anybody else, and every byte is compared before it is used. A snapshot is there
whole or not at all. Whoever restores one holds a shared lock on its folder, so that nobody removes it meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from cloche import units
from cloche.errors import LimitExceeded, NotFound, RegistryError, SnapshotError
from cloche.registry.folder import Folder
from cloche.snapshots import snapshot as values
from cloche.snapshots.files import Part, digest, drop, look, told
from cloche.snapshots.snapshot import BoxSnapshot

if TYPE_CHECKING:
    from pathlib import Path

SIZE: Final = 4 << 30
"""Bytes of all images together, unless told otherwise."""
MANIFEST_MAX: Final = 4 << 20
NEW: Final = ".new-"
LEAST: Final = 4
"""Digits of an id that are enough to name a snapshot."""


def usual_path(environ: Mapping[str, str] = os.environ) -> str:
    """Give the path of the store of this user, there or not. A relative path in the variable counts as unset."""
    base = environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.join(base, "cloche", "snapshots")


class SnapshotStore:
    """The snapshots of one user. All methods block: a large image takes a while to be read. Safe between processes."""

    def __init__(self, path: str | Path | None = None, *, size: int | str = SIZE) -> None:
        """Keep them at ``path``, by default the usual place, ``size`` bytes at most. Makes nothing yet."""
        self.path = usual_path() if path is None else units.host_path(str(path), "snapshots: folder")
        self.size = units.size(size, "snapshots: size")
        self._whole: dict[str, tuple[tuple[int, ...], ...]] = {}
        """What the files of a snapshot looked like when their digests were right, by its id."""

    def all(self) -> list[BoxSnapshot]:
        """Give all that can be read, newest first. Raises ``SnapshotError`` if the folder is not to be trusted."""
        found: list[BoxSnapshot] = []
        if not os.path.lexists(self.path):
            return found
        with self._folder() as top:
            for name in _ids(top):
                with contextlib.suppress(SnapshotError, FileNotFoundError):
                    found.append(self._read(top, name))
        return sorted(found, key=lambda one: one.created, reverse=True)

    def broken(self) -> Mapping[str, str]:
        """Give the ids of those that can't be used, with why. Every byte of every image is read."""
        reasons: dict[str, str] = {}
        if not os.path.lexists(self.path):
            return reasons
        with self._folder() as top:
            names = _ids(top)
        for name in names:
            try:
                with self.opened(name, again=True):
                    pass
            except SnapshotError as error:
                reasons[name] = str(error)
            except NotFound:  # removed meanwhile
                continue
        return reasons

    def find(self, which: str) -> BoxSnapshot:
        """Give the one whose id begins with ``which``, or whose label it is. Raises ``NotFound``, ``SnapshotError``."""
        with self._folder() as top:
            return self._read(top, self._name(top, which))

    def of_template(self, key: str) -> BoxSnapshot | None:
        """Give the newest that is the template of that key."""
        return next((one for one in self.all() if one.template == key), None)

    @contextlib.contextmanager
    def opened(self, which: str, *, again: bool = False) -> Iterator[tuple[BoxSnapshot, str]]:
        """Give one with the path of the folder of its files, each compared with its digest; it stays until the end.

        What was compared by this store before and has not changed since is not read ``again`` unless wanted. Raises
        ``NotFound``, and ``SnapshotError`` for one that is truncated, altered, or not this user's own.
        """
        with self._folder() as top, contextlib.ExitStack() as stack:
            name = self._name(top, which)
            own = stack.enter_context(self._sub(top, name))
            fcntl.flock(own.fd, fcntl.LOCK_SH)
            found = self._read(top, name)
            with told(f"snapshot {name[:12]}"):
                image = stack.enter_context(own.sub("image"))
                self._compare(image, found, again=again)
            yield found, image.path

    def check_room(self) -> None:
        """Raise ``LimitExceeded`` if there is no room for another snapshot, however small."""
        used = sum(one.size for one in self.all())
        if used >= self.size:
            raise LimitExceeded(
                f"snapshots: {used} bytes of at most {self.size} are taken in {self.path}; remove some by "
                "`cloche snapshot rm` or `cloche snapshot prune`"
            )

    @contextlib.contextmanager
    def writing(self) -> Iterator[Part]:
        """Give a place to write a new one to; what is not committed is removed."""
        with self._folder(make=True) as top:
            self._sweep(top)
            name = f"{NEW}{secrets.token_hex(8)}"
            with told("a new snapshot"), top.sub(name, make=True) as own:
                fcntl.flock(own.fd, fcntl.LOCK_EX)
                try:
                    with own.sub("image", make=True) as image:
                        yield Part(self, top, own, name, image)
                finally:
                    drop(top, name)

    def remove(self, which: str) -> str:
        """Remove one, readable or not, and give its id.

        Raises ``NotFound``, and ``SnapshotError`` while somebody restores it.
        """
        with self._folder() as top, self._lock(top):
            name = self._name(top, which)
            with self._sub(top, name) as own:
                try:
                    fcntl.flock(own.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise SnapshotError(f"snapshot {name[:12]} is being restored just now; try again") from None
                drop(top, name)
            self._whole.pop(name, None)
            return name

    def prune(self, *, older: float = 0.0, keep: int = 0) -> list[BoxSnapshot]:
        """Remove those made more than ``older`` seconds ago, but not the newest ``keep``; give them."""
        bound = time.time() - units.duration(older, "older") if older else float("inf")
        gone = []
        for one in self.all()[units.count(keep, "keep", least=0) :]:
            if one.created <= bound:
                with contextlib.suppress(NotFound):
                    self.remove(one.id)
                    gone.append(one)
        return gone

    # -- inside -----------------------------------------------------------------------------------------------------

    def _folder(self, *, make: bool = False) -> Folder:
        try:
            return Folder.open(self.path, make=make)
        except RegistryError as error:
            if not os.path.lexists(self.path):
                raise NotFound(f"there are no snapshots: {self.path} does not exist") from None
            raise SnapshotError(f"snapshots: {error}") from None

    @staticmethod
    def _sub(top: Folder, name: str) -> Folder:
        try:
            return top.sub(name)
        except FileNotFoundError:
            raise NotFound(f"there is no snapshot {name[:12]}") from None
        except (OSError, RegistryError) as error:
            raise SnapshotError(f"snapshot {name[:12]}: {error}") from None

    @staticmethod
    @contextlib.contextmanager
    def _lock(top: Folder) -> Iterator[None]:
        with told("the lock of the snapshots"):
            fd = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=top.fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield
            finally:
                os.close(fd)

    def _name(self, top: Folder, which: str) -> str:
        text = units.text(which, "snapshot", most=200)
        names = _ids(top)
        if text in names:
            return text
        chosen = [name for name in names if len(text) >= LEAST and name.startswith(text)]
        if not chosen:
            chosen = [one.id for one in self.all() if one.label == text]
        if len(chosen) != 1:
            said = f"{len(chosen)} snapshots go by" if chosen else "there is no snapshot"
            raise NotFound(f"{said} {units.shown(which)}; `cloche snapshot list` shows those there are")
        return chosen[0]

    def _read(self, top: Folder, name: str) -> BoxSnapshot:
        with self._sub(top, name) as own:
            try:
                raw = own.read("manifest", MANIFEST_MAX)
            except (OSError, ValueError) as error:
                raise SnapshotError(f"snapshot {name[:12]}: its manifest can't be read: {error}") from None
        return values.read(raw, name)

    def _compare(self, image: Folder, found: BoxSnapshot, *, again: bool) -> None:
        if image.names() != sorted(file.name for file in found.files):
            raise SnapshotError(f"snapshot {found.id[:12]}: its files are not those that it was saved with")
        seen = tuple(look(image, file) for file in found.files)
        if self._whole.get(found.id) == seen and not again:
            return
        for file in found.files:
            if digest(image, file.name)[1] != file.sha256:
                self._whole.pop(found.id, None)
                raise SnapshotError(f"snapshot {found.id[:12]}: its file {file.name} was altered; remove it")
        self._whole[found.id] = seen

    def commit(self, part: Part, top: Folder, raw: bytes, found: BoxSnapshot) -> None:
        """Put a part in its place; called by it."""
        with self._lock(top):
            used = sum(one.size for one in self.all())
            if used + found.size > self.size:
                raise LimitExceeded(
                    f"snapshots: this one has {found.size} bytes, and {used} of at most {self.size} are taken; remove "
                    "some by `cloche snapshot rm` or `cloche snapshot prune`"
                )
            part.own.write("manifest", raw)
            os.fsync(part.own.fd)
            os.rename(part.name, found.id, src_dir_fd=top.fd, dst_dir_fd=top.fd)
            os.fsync(top.fd)

    @staticmethod
    def _sweep(top: Folder) -> None:
        """Remove what writers left that are dead: nobody holds its lock."""
        for name in top.names():
            if name.startswith(NEW):
                with contextlib.suppress(OSError, RegistryError), top.sub(name) as own:
                    fcntl.flock(own.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    drop(top, name)


def _ids(top: Folder) -> list[str]:
    return [name for name in top.names() if len(name) == values.DIGITS and not name.startswith(".")]
