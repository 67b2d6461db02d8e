"""A folder of the test's own as a file system; its descriptor is closed when it is forgotten."""

from __future__ import annotations

import os
import weakref

from cloche import FolderVfs


class Rooted(FolderVfs):
    """What lies below ``root``. ``real`` gives the path on the host, for tests that meddle."""

    def __init__(self, root: str) -> None:
        fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
        weakref.finalize(self, os.close, fd)
        super().__init__(fd)
        self.root = root

    def real(self, path: str) -> str:
        return self.root + path
