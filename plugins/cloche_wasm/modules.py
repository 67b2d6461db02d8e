"""Modules that code may import: texts in one folder of the host, never followed out of it; and what was refused."""

from __future__ import annotations

import errno
import os
import threading
from typing import Final

from cloche import Modules, SpecError, Violation
from cloche_native.files import Folder

_MOST: Final = 16 << 20
"""Bytes of one module's text."""
_REFUSED_MOST: Final = 100
"""Modules that are named as refused in one run."""


class ModuleTexts:
    """What ``modules`` has. Subclass it for how a language names them. Used by many threads at once."""

    def __init__(self, modules: Modules) -> None:
        """Open the folder, if there is one. Raises ``SpecError``."""
        self._modules = modules
        self._lock = threading.Lock()
        self._fd: int | None = None
        if modules.folder is not None:
            try:
                self._fd = os.open(modules.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except (OSError, ValueError) as error:
                raise SpecError(f"modules: the folder {modules.folder!r} can't be opened: {error}") from error

    def read(self, path: bytes) -> str | None:
        """Give the text of a file of the folder; ``None`` if there is none, or what is there is no text."""
        with self._lock:  # the descriptor must not be closed, and given to another file, in between
            if self._fd is None:
                return None
            try:
                fd = Folder(self._fd).open(path)
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
                    raise
                return None
        with os.fdopen(fd, "rb") as file:
            data = file.read(_MOST + 1)
        try:
            return data.decode() if len(data) <= _MOST else None
        except UnicodeDecodeError:
            return None

    def close(self) -> None:
        """Close the folder."""
        with self._lock:
            fd, self._fd = self._fd, None
            if fd is not None:
                os.close(fd)


class RefusedModules(dict[str, Violation]):
    """By name, each once, what code wanted to import in one run and may not."""

    def add(self, name: str) -> None:
        """Note one, unless there are many already."""
        if len(self) < _REFUSED_MOST and name not in self:
            self[name] = Violation(
                rule="module:not-allowed",
                operation="import",
                target=name,
                hint="name it in modules=Modules(allow=...)",
                mechanism="module",
                severity="low",
            )
