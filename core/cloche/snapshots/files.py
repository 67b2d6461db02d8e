"""The files of images: written, hashed, looked at."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from cloche import units
from cloche.errors import RegistryError, SnapshotError
from cloche.snapshots import snapshot as values
from cloche.snapshots.snapshot import BoxSnapshot, ImageFile, Shape

if TYPE_CHECKING:
    from cloche.registry.folder import Folder
    from cloche.snapshots.store import SnapshotStore

_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Part:
    """A snapshot that is being written: whoever makes it fills the folder at ``image`` with plain files."""

    def __init__(self, store: SnapshotStore, top: Folder, own: Folder, name: str, image: Folder) -> None:
        self.image = image.path
        self.own = own
        self.name = name
        self._store = store
        self._top = top
        self._image = image

    def commit(
        self, *, runtime: str, needs: Mapping[str, str], shape: Shape, label: str = "", template: str = ""
    ) -> BoxSnapshot:
        """Keep it and give it. Raises ``SnapshotError`` for what is no image, and ``LimitExceeded``: no room."""
        files = tuple(self._taken(name) for name in self._image.names())
        if not 0 < len(files) <= values.FILES_MAX:
            raise SnapshotError(f"the runtime {runtime!r} wrote {len(files)} files for an image; 1 to 64 are taken")
        found, raw = values.written(
            runtime=runtime, needs=needs, shape=shape, files=files, created=time.time(), label=label, template=template
        )
        self._store.commit(self, self._top, raw, found)
        return found

    def _taken(self, name: str) -> ImageFile:
        size, sha256 = digest(self._image, name, sync=True)
        return ImageFile(name, size, sha256)


def digest(folder: Folder, name: str, *, sync: bool = False) -> tuple[int, str]:
    """Give the size and the SHA-256 of a plain file of ours; ``sync``: it is on the disk then, closed to writing."""
    fd = os.open(name, _OPEN, dir_fd=folder.fd)
    with open(fd, "rb") as file:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
            raise SnapshotError(f"the image's file {units.shown(name)} is no plain file of user {os.geteuid()}")
        if sync:
            os.fchmod(fd, 0o400)
            os.fsync(fd)
        return info.st_size, hashlib.file_digest(file, "sha256").hexdigest()


def look(image: Folder, file: ImageFile) -> tuple[int, ...]:
    """Give what changes with a file's content. Raises ``SnapshotError`` unless it is ours alone and as long."""
    info = os.stat(file.name, dir_fd=image.fd, follow_symlinks=False)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise SnapshotError(f"its file {file.name} is no plain file of user {os.geteuid()} alone; it is not used")
    if info.st_size != file.size:
        raise SnapshotError(f"its file {file.name} has {info.st_size} bytes, and had {file.size} when it was saved")
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def drop(top: Folder, name: str) -> None:
    """Remove a folder with all that is in it; one that is gone is no error."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(name, dir_fd=top.fd)


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what goes wrong with files inside into a ``SnapshotError`` that says with which."""
    try:
        yield
    except (OSError, RegistryError) as error:
        raise SnapshotError(f"{what}: {error}") from error
