"""File systems for ``host.vfs``: a folder of the host, memory of the kernel, memory of this process."""

from __future__ import annotations

from cloche import VfsBackend, hookimpl
from cloche_vfs.backends import DirectoryBackend, MemoryBackend, TmpfsBackend


@hookimpl
def cloche_vfs_backends() -> list[VfsBackend]:
    """Provide the backends."""
    return [DirectoryBackend(), TmpfsBackend(), MemoryBackend()]
