"""The files of one sandbox, asynchronously: each act of ``Files`` in a worker thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from anyio.to_thread import run_sync

from cloche.files.api import Files
from cloche.files.transfer import DOWNLOAD_MAX, Progress, Transfer
from cloche.files.tree import Snapshot, TreeDiff, TreeLimits
from cloche.files.vfs import Entry, FileStat, OpenMode
from cloche.files.watch import FOLDERS_MAX, AsyncWatching

if TYPE_CHECKING:
    from cloche.files.archive import Source
    from cloche.files.archive_export import Target
    from cloche.files.archive_place import ArchiveSummary
    from cloche.files.archive_rules import Links, Names
    from cloche.files.archive_stream import ArchiveLimits
    from cloche.files.archive_write import Format

_BATCH = 512  # entries fetched by one visit to a worker thread


class AsyncFiles:
    """The files of one sandbox (asynchronous face of ``Files``, where everything is described)."""

    def __init__(self, files: Files) -> None:
        self._files = self.blocking = files

    async def exists(self, path: str) -> bool:
        return await run_sync(self._files.exists, path)

    async def stat(self, path: str) -> FileStat:
        return await run_sync(self._files.stat, path)

    async def list(self, path: str = ".") -> list[Entry]:
        return await run_sync(self._files.list, path)

    async def walk(self, path: str = ".") -> AsyncIterator[Entry]:
        entries = await run_sync(self._files.walk, path)
        try:
            while batch := await run_sync(lambda: [*islice(entries, _BATCH)]):
                for entry in batch:
                    yield entry
        finally:
            entries.close()

    async def read(self, path: str, *, offset: int = 0, size: int | str | None = None) -> bytes:
        return await run_sync(partial(self._files.read, path, offset=offset, size=size))

    async def read_text(self, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
        return await run_sync(partial(self._files.read_text, path, encoding=encoding, errors=errors))

    async def write(self, path: str, data: bytes | str, *, permissions: int | None = None) -> None:
        await run_sync(partial(self._files.write, path, data, permissions=permissions))

    async def append(self, path: str, data: bytes | str) -> None:
        await run_sync(self._files.append, path, data)

    async def open(self, path: str, mode: OpenMode = "r", *, permissions: int = 0o644) -> BinaryIO:
        return await run_sync(partial(self._files.open, path, mode, permissions=permissions))

    async def mkdir(self, path: str, *, parents: bool = False, permissions: int = 0o755) -> None:
        await run_sync(partial(self._files.mkdir, path, parents=parents, permissions=permissions))

    async def move(self, source: str, target: str, *, replace: bool = True) -> None:
        await run_sync(partial(self._files.move, source, target, replace=replace))

    async def remove(self, path: str, *, recursive: bool = False) -> None:
        await run_sync(partial(self._files.remove, path, recursive=recursive))

    async def chmod(self, path: str, permissions: int) -> None:
        await run_sync(self._files.chmod, path, permissions)

    async def symlink(self, path: str, target: str) -> None:
        await run_sync(self._files.symlink, path, target)

    async def snapshot(self, path: str = ".", *, content: bool = False, limits: TreeLimits | None = None) -> Snapshot:
        return await run_sync(partial(self._files.snapshot, path, content=content, limits=limits))

    async def diff(self, before: Snapshot, after: Snapshot | None = None) -> TreeDiff:
        return await run_sync(self._files.diff, before, after)

    async def import_archive(
        self,
        source: Source,
        path: str = ".",
        *,
        limits: ArchiveLimits | None = None,
        links: Links = "inside",
        names: Names = "plain",
        replace: bool = False,
    ) -> ArchiveSummary:
        call = partial(
            self._files.import_archive, source, path, limits=limits, links=links, names=names, replace=replace
        )  # fmt: skip
        return await run_sync(call)

    async def export_archive(
        self,
        path: str,
        target: Target,
        *,
        format: Format = "tar",  # noqa: A002 - the word everybody uses
        modified: int | None = None,
        limits: ArchiveLimits | None = None,
    ) -> ArchiveSummary:
        call = partial(
            self._files.export_archive, path, target, format=format, modified=modified, limits=limits
        )  # fmt: skip
        return await run_sync(call)

    async def upload(self, source: str | Path | BinaryIO, path: str, *, progress: Progress | None = None) -> Transfer:
        return await run_sync(partial(self._files.upload, source, path, progress=progress))

    async def download(
        self,
        path: str,
        target: str | Path | BinaryIO,
        *,
        most: int | str = DOWNLOAD_MAX,
        progress: Progress | None = None,
    ) -> Transfer:
        return await run_sync(partial(self._files.download, path, target, most=most, progress=progress))

    async def watch(self, path: str = ".", *, recursive: bool = True, most: int = FOLDERS_MAX) -> AsyncWatching:
        begin = partial(self._files._watch, path, recursive=recursive, most=most)  # noqa: SLF001 - its other face
        return AsyncWatching(await run_sync(begin))


def _share_docstrings() -> None:
    for name, member in vars(AsyncFiles).items():
        if callable(member) and not name.startswith("_"):
            member.__doc__ = getattr(Files, name).__doc__


_share_docstrings()
