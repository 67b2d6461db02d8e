"""The contract of a plugin that provides file systems (hook ``cloche_vfs_backends``)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from anyio.to_thread import run_sync

from cloche import units
from cloche.errors import PluginError, SpecError, Unsupported
from cloche.files.vfs import Vfs


@dataclass(frozen=True, slots=True, kw_only=True)
class VfsOptions:
    """What a file system is to be like; ``None`` leaves it to the backend, which refuses what it can't do."""

    path: str | None = None
    """Where it lies on the host, absolute."""
    size: int | None = None
    """How many bytes it holds at most."""
    entries: int | None = None
    """How many files, folders and links it holds at most."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """What only this backend knows."""

    def __post_init__(self) -> None:
        if self.path is not None and not units.text(self.path, "path").startswith("/"):
            raise SpecError(f"path: {units.shown(self.path)} must be absolute")
        if self.size is not None:
            units.size(self.size, "size")
        if self.entries is not None:
            units.count(self.entries, "entries", most=1 << 32)
        if not isinstance(self.extra, Mapping):
            raise SpecError(f"extra: a mapping is needed, not {units.shown(self.extra)}")

    def refuse(self, backend: str, *names: str) -> None:
        """Raise ``SpecError`` if one of these options is given: for what a backend has no use for."""
        for name in names:
            if getattr(self, name):
                raise SpecError(f"{name}: the {backend} backend does not take it")


class VfsBackend(ABC):
    """A way to make file systems. Subclass it, and give an object of it in the ``cloche_vfs_backends`` hook."""

    name: ClassVar[str]
    """What people write: lower case, e.g. ``"memory"``."""
    summary: ClassVar[str]
    """One line for tables."""

    def unavailable(self) -> str | None:
        """Give ``None`` if it works here, else why not and what to do. Always works by default."""
        return None

    @abstractmethod
    def open(self, options: VfsOptions) -> Vfs:
        """Give a file system, which the caller closes. Called only if ``unavailable()`` gives ``None``.

        Raises ``SpecError`` for options that it can't keep. May block; it runs in a worker thread.
        """


async def open_vfs(backends: Mapping[str, VfsBackend], name: str, options: VfsOptions) -> Vfs:
    """Open a file system of the backend ``name`` in a worker thread; see ``AsyncHost.vfs``."""
    backend = backends.get(name) if isinstance(name, str) else None
    if backend is None:
        known = ", ".join(sorted(backends)) or "none"
        raise SpecError(f"file system {units.shown(name)} is unknown; there are {known}")
    if not isinstance(options, VfsOptions):
        raise SpecError(f"options: cloche.VfsOptions are needed, not {units.shown(options)}")

    def make() -> Vfs:
        if (reason := backend.unavailable()) is not None:
            raise Unsupported(f"the file system {name} does not work here: {reason}")
        return backend.open(options)

    made = await run_sync(make)
    if not isinstance(made, Vfs):
        raise PluginError(f"the backend {name} gave {made!r:.80}, which is no cloche.Vfs")
    return made
