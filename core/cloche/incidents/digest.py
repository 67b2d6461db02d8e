"""The SHA-256 of a file that a guest started, read from the host's side: it follows no way out of the box."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from cloche.files.access import inside
from cloche_native import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloche.runtime_parts import Tree

SIZE_MAX: Final = 256 << 20
"""Bytes of a file that is read; of a larger one nothing is known."""
KEPT: Final = 1024


class Digests:
    """Reads files of one box, each once for as long as it stays the same."""

    def __init__(self, trees: Callable[[], Sequence[Tree]]) -> None:
        """Take what gives the folders in which the host can look (``Instance.trees``)."""
        self._trees = trees
        self._kept: OrderedDict[tuple[int, ...], str] = OrderedDict()
        self._turn = threading.Lock()

    async def of(self, path: str) -> str | None:
        """Give the digest in lower-case hex; ``None`` if there is no such regular file, or it is too large."""
        trees = [tree for tree in self._trees() if tree.vfs is None and inside(path, tree.path)]
        if not trees:
            return None
        tree = max(trees, key=lambda tree: (tree.path == "/", len(tree.path)))  # from / what is absolute leads right
        # A descriptor of its own, because the box may be deleted meanwhile.
        return await anyio.to_thread.run_sync(self._of, os.dup(tree.fd), path[len(tree.path) :])

    def _of(self, root: int, path: str) -> str | None:
        flags, resolve = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
        try:
            fd = openat2(root, path.lstrip("/") or ".", flags=flags, resolve=resolve)
        except (OSError, ValueError):
            return None
        finally:
            os.close(root)
        try:
            return self._read(fd)
        except OSError:  # it lies on storage that fails, or on a file system that the guest serves
            return None
        finally:
            os.close(fd)

    def _read(self, fd: int) -> str | None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > SIZE_MAX:
            return None
        key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        with self._turn:
            if (known := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return known
        whole, left = hashlib.sha256(), SIZE_MAX
        while left > 0 and (some := os.read(fd, min(left, 1 << 20))):  # it may grow meanwhile
            whole.update(some)
            left -= len(some)
        if not left:
            return None
        with self._turn:
            self._kept[key] = whole.hexdigest()
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return whole.hexdigest()
