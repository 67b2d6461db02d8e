"""The three backends."""

from __future__ import annotations

import os
from typing import ClassVar

from cloche import FolderVfs, MemoryVfs, SpecError, Vfs, VfsBackend, VfsOptions
from cloche_native import files as native

SIZE = 64 << 20
ENTRIES_PER_MIB = 256  # an average file of 4 KiB, as in sandboxes
ENTRIES_LEAST = 64


class DirectoryVfs(FolderVfs):
    """A folder of the host."""

    name: ClassVar[str] = "directory"


class TmpfsVfs(FolderVfs):
    """Memory of the kernel, which may be swapped."""

    name: ClassVar[str] = "tmpfs"


class DirectoryBackend(VfsBackend):
    """Gives a folder that is there, as who calls; closing it leaves it as it is."""

    name: ClassVar[str] = "directory"
    summary: ClassVar[str] = "a folder of the host, which stays"

    def open(self, options: VfsOptions) -> Vfs:
        """Open the folder ``options.path``."""
        options.refuse(self.name, "size", "entries", "extra")
        if options.path is None:
            raise SpecError("path: the directory backend needs the folder to use")
        try:
            fd = os.open(options.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SpecError(f"path: {options.path!r:.80} can't be used as a folder: {error.strerror}") from error
        return DirectoryVfs(fd, owned=True)


class TmpfsBackend(VfsBackend):
    """Gives an empty file system that no path leads to; it ends when it is closed, or with this process."""

    name: ClassVar[str] = "tmpfs"
    summary: ClassVar[str] = "kernel memory, mounted nowhere"

    def unavailable(self) -> str | None:
        """Make one, to see."""
        try:
            os.close(native.tmpfs(size=1 << 16, inodes=ENTRIES_LEAST))
        except OSError as error:
            return f"mounting needs root with CAP_SYS_ADMIN and Linux 5.2 ({error.strerror}); use the memory backend"
        return None

    def open(self, options: VfsOptions) -> Vfs:
        """Make one of ``options.size`` bytes, 64 MiB by default, and of 256 entries a MiB."""
        options.refuse(self.name, "path", "extra")
        size = options.size or SIZE
        inodes = 1 + (options.entries or _entries(size))  # its root folder counts
        return TmpfsVfs(native.tmpfs(size=size, inodes=inodes), owned=True)


class MemoryBackend(VfsBackend):
    """Gives an empty file system of Python objects; it ends with them."""

    name: ClassVar[str] = "memory"
    summary: ClassVar[str] = "memory of this process; works everywhere"

    def open(self, options: VfsOptions) -> Vfs:
        """Make one of ``options.size`` bytes, 64 MiB by default, and of 256 entries a MiB."""
        options.refuse(self.name, "path", "extra")
        size = options.size or SIZE
        return MemoryVfs(size=size, entries=options.entries or _entries(size))


def _entries(size: int) -> int:
    return max(ENTRIES_LEAST, (size >> 20) * ENTRIES_PER_MIB)
