"""The files of one sandbox, worked on from the host (``box.files``)."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from cloche import units
from cloche.errors import FileError, LimitExceeded, NotFound, SpecError
from cloche.files.reach import Reach
from cloche.files.transfer import DOWNLOAD_MAX, Progress, Transfer, download, upload
from cloche.files.tree import Snapshot, TreeDiff, TreeLimits, diff, snapshot
from cloche.files.vfs import Entry, FileStat, OpenMode, as_bytes, read_most
from cloche.files.watch import FOLDERS_MAX, Watch, Watching

if TYPE_CHECKING:
    from cloche.files.access import Operation
    from cloche.files.archive import Source
    from cloche.files.archive_export import Target
    from cloche.files.archive_place import ArchiveSummary
    from cloche.files.archive_rules import Links, Names
    from cloche.files.archive_stream import ArchiveLimits
    from cloche.files.archive_write import Format

READ_MAX: Final = 256 << 20
"""Bytes that ``read`` gives at most unless told otherwise: a file of a guest may say that it has any size."""


class Files:
    """The files of one sandbox. Every call blocks until it is done; any number of threads may call at once.

    Paths are as the sandbox sees them; one without a leading ``/`` starts in its work folder, as programs do. What the
    guest does meanwhile can make an act fail, never make it reach another file: links are not followed, pipes and
    devices not waited for. The policy's paths and mounts hold here as they do for the guest.

    Acts can be done while the sandbox is running, paused or stopped. A stopped one has only its work folder, ``/tmp``
    and mounts left. They raise ``NotFound``, ``AccessDenied``, ``FileError`` (of another kind, full, busy …),
    ``SpecError`` and ``StateError`` (not started, deleted).
    """

    def __init__(self, reach: Reach) -> None:
        """Take what the sandbox gives way to; made by it."""
        self._reach = reach

    def exists(self, path: str) -> bool:
        """Say whether there is anything of that name, be it a link that leads nowhere."""
        try:
            self.stat(path)
        except NotFound:
            return False
        return True

    def stat(self, path: str) -> FileStat:
        """Tell about ``path`` itself, never what a link points to."""
        at = self._reach.find("stat", path)
        return at.vfs.stat(at.inner)

    def list(self, path: str = ".") -> list[Entry]:
        """Give what is directly in a folder, by name; what the policy hides is left out.

        Raises ``LimitExceeded`` for a folder of more than 100,000 names; use ``walk``.
        """
        at, judge = self._reach.find("list", path), self._reach.judge()
        return [entry for entry in at.vfs.list(at.inner) if judge is None or judge(entry) is not False]

    def walk(self, path: str = ".") -> Generator[Entry, None, None]:
        """Give everything below a folder, each folder before what is in it, in no other order.

        What vanishes meanwhile is left out, and so is what the policy hides and what lies in /proc and its like. Takes
        little memory however much there is. Raises when it gets to a folder that may not be read.
        """
        at = self._reach.find("list", path)
        return at.vfs.walk(at.inner, judge=self._reach.judge())

    def read(self, path: str, *, offset: int = 0, size: int | str | None = None) -> bytes:
        """Give the bytes of a file from ``offset`` on, all or at most ``size``.

        Without ``size`` a file of more than 256 MiB raises ``LimitExceeded``: give a size, or use ``open`` or
        ``download``.
        """
        start = units.count(offset, "offset", least=0, most=(1 << 63) - 1)
        most = READ_MAX if size is None else units.size(size, "size", least=0)
        at = self._reach.find("read", path)
        with at.vfs.open(at.inner) as file:
            file.seek(start)
            data = read_most(file, most)
            if size is None and len(data) == most and file.read(1):
                raise LimitExceeded(
                    f"read {units.shown(path)}: more than {most} bytes; read a part with size=, or use open or download"
                )
        return data

    def read_text(self, path: str, *, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Give the text of a file; ``FileError`` if it is not in that encoding (unless ``errors`` says otherwise)."""
        data = self.read(path)
        try:
            return data.decode(encoding, errors)
        except UnicodeDecodeError as error:
            raise FileError(f"read_text {units.shown(path)}: not {encoding}: {error.reason}; use read") from None
        except LookupError as error:
            raise SpecError(f"read_text: {error}") from None

    def write(self, path: str, data: bytes | str, *, permissions: int | None = None) -> None:
        """Put a file with this content in place, whole or not at all: nobody ever sees a part of it.

        A link of that name is replaced, not followed. ``permissions`` ``None`` keeps those of the file that was there,
        else gives ``0o644``. Text is written as UTF-8. The folder must exist; nothing is synced to disk.
        """
        content = as_bytes(data, "write")
        at = self._reach.find("write", path, makes=True)
        at.vfs.write(at.inner, content, permissions=permissions)

    def append(self, path: str, data: bytes | str) -> None:
        """Add to the end of a file, which is made if it is not there."""
        content = as_bytes(data, "append")
        at = self._reach.find("write", path, makes=True)
        at.vfs.append(at.inner, content)

    def open(self, path: str, mode: OpenMode = "r", *, permissions: int = 0o644) -> BinaryIO:
        """Open a regular file unbuffered: ``r`` to read, ``w`` made or emptied, ``a`` made or appended to, ``x`` made.

        ``r+`` is to read and write one that is there. The caller closes it; it may outlive the sandbox. What reading
        and writing it raise is Python's ``OSError``.
        """
        at = self._reach.find("read" if mode == "r" else "write", path, makes=mode not in ("r", "r+"))
        return at.vfs.open(at.inner, mode, permissions=permissions)

    def mkdir(self, path: str, *, parents: bool = False, permissions: int = 0o755) -> None:
        """Make a folder. With ``parents`` those above it too, and one that is there already is no error."""
        at = self._reach.find("create", path)
        if parents:
            self._reach.check_way(at)
        at.vfs.mkdir(at.inner, parents=parents, permissions=permissions)

    def move(self, source: str, target: str, *, replace: bool = True) -> None:
        """Give ``source`` the name ``target``, at once; with ``replace`` a file that has the name goes.

        Both must lie in the same folder of the sandbox: the work folder, ``/tmp`` or a mount, each a file system of its
        own (``FileError``). From one to another, read and write, or have a program in the box do it.
        """
        old, new = self._reach.find("delete", source), self._reach.find("create", target)
        self._reach.check_move(old, new, replace=replace)
        if old.vfs is not new.vfs:
            raise FileError(
                f"move {units.shown(old.path)} to {units.shown(new.path)}: they lie on different file systems of the "
                "sandbox; copy it and remove the source"
            )
        old.vfs.move(old.inner, new.inner, replace=replace)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a name; a folder only if it is empty or ``recursive``. Of a link the link, never what it means."""
        at = self._reach.find("delete", path, below=recursive)
        at.vfs.remove(at.inner, recursive=recursive)

    def chmod(self, path: str, permissions: int) -> None:
        """Set the permission bits of a file or folder; set-id bits are refused."""
        at = self._reach.find("write", path)
        at.vfs.chmod(at.inner, permissions)

    def symlink(self, path: str, target: str) -> None:
        """Make ``path`` a symbolic link that says ``target``, which is not checked in any way."""
        at = self._reach.find("create", path)
        at.vfs.symlink(at.inner, target)

    def snapshot(self, path: str = ".", *, content: bool = False, limits: TreeLimits | None = None) -> Snapshot:
        """Look at everything below a folder, for ``diff``; with ``content`` take a digest of every file too.

        Without digests it takes up to 20 ms longer where a file was changed just before, and ``diff`` can't always tell
        a file that was only touched from one that was changed. Raises ``LimitExceeded`` beyond ``limits``.
        """
        at = self._reach.find("list", path)
        return snapshot(self, at.path, content=content, limits=limits or TreeLimits())

    def diff(self, before: Snapshot, after: Snapshot | None = None) -> TreeDiff:
        """Tell what differs between two snapshots, or between one and what is there now.

        ``str()`` of it gives a line for each name that was added (A), removed (D), moved (R) or changed (M, or T for
        another kind of file), escaped so that a terminal can show it.
        """
        if after is None:
            after = self.snapshot(before.path, content=before.content, limits=before.limits)
        return diff(before, after)

    def import_archive(
        self,
        source: Source,
        path: str = ".",
        *,
        limits: ArchiveLimits | None = None,
        links: Links = "inside",
        names: Names = "plain",
        replace: bool = False,
    ) -> ArchiveSummary:
        """Unpack a tar (plain, gzip, bzip2 or xz) or a zip into a folder, all of it or nothing.

        ``source`` is a path on the host, or a binary stream. The members are made in a hidden folder aside and moved
        when the last byte was checked. Folders that are there are merged with; a file or link that is there is an
        error, or with ``replace`` gives way. Nothing in an archive leads outside: see ``ArchiveError``. Links are taken
        if they stay inside (``links="any"`` takes all, ``"refuse"`` none), plain UTF-8 names (``names="any"``: all that
        Linux allows); owners, times, set-id and sticky bits are not taken over.

        Raises ``ArchiveError``, ``LimitExceeded`` beyond ``limits``, and what other acts raise.
        """
        from cloche.files.archive import import_archive  # noqa: PLC0415 - the libraries of all formats: 20 ms
        from cloche.files.archive_stream import ArchiveLimits  # noqa: PLC0415 - the same

        if not self.exists(path):
            self.mkdir(path, parents=True)
        at = self._reach.find("list", path)
        begin = at.path if at.path == "/" else at.path + "/"

        needed: tuple[Operation, ...] = ("create", "write", "delete") if replace else ("create", "write")

        def check(name: str) -> None:
            for operation in needed:
                self._reach.find(operation, begin + name)

        return import_archive(
            at.vfs, source, at.inner, limits=limits or ArchiveLimits(), links=links, names=names, replace=replace,
            check=check,
        )  # fmt: skip

    def export_archive(
        self,
        path: str,
        target: Target,
        *,
        format: Format = "tar",  # noqa: A002 - the word everybody uses
        modified: int | None = None,
        limits: ArchiveLimits | None = None,
    ) -> ArchiveSummary:
        """Pack everything below a folder into a ``tar``, ``tar.gz`` or ``zip``, names relative to it and sorted.

        ``target`` is a path on the host, which is written whole or not at all, or a binary stream. ``modified`` is the
        time of all members, in seconds since 1970, instead of their own: with it equal trees give equal archives. Links
        are packed as what they say. Pipes, sockets and devices are left out and named in the answer.

        What vanishes meanwhile is left out, a file that grows is packed as long as it was, one that shrinks raises
        ``FileError``: pause the box first. Raises ``LimitExceeded`` beyond ``limits``.
        """
        from cloche.files.archive_export import export_archive  # noqa: PLC0415 - the libraries of all formats: 20 ms
        from cloche.files.archive_stream import ArchiveLimits  # noqa: PLC0415 - the same

        at = self._reach.find("list", path)
        return export_archive(
            self, at.path, target, format=format, modified=modified, limits=limits or ArchiveLimits()
        )  # fmt: skip

    def upload(self, source: str | Path | BinaryIO, path: str, *, progress: Progress | None = None) -> Transfer:
        """Copy a file or a whole folder of the host, or a binary stream, to ``path``; gives what was copied.

        Each file comes whole or not at all, with its permissions less set-id. A folder is merged into one that is
        there; links stay links, pipes and the like are skipped and named. ``progress`` is called with the bytes so far.
        """
        return upload(self, self._reach, source, path, progress)

    def download(
        self,
        path: str,
        target: str | Path | BinaryIO,
        *,
        most: int | str = DOWNLOAD_MAX,
        progress: Progress | None = None,
    ) -> Transfer:
        """Copy a file or a whole folder to the host, at most ``most`` bytes (4 GiB); gives what was copied.

        As ``upload``. A file that grows is copied as long as it was. Links say what the guest wrote: don't follow them.
        Raises ``LimitExceeded`` also for more than a million names.
        """
        return download(self, self._reach, path, target, most=units.size(most, "most"), progress=progress)

    def watch(self, path: str = ".", *, recursive: bool = True, most: int = FOLDERS_MAX) -> Watching:
        """Begin to watch a folder, and with ``recursive`` all folders below it, now and later: changes as they come.

        Iterate over what it gives, or ``take`` from it; close it. It ends when the folder or the sandbox is gone. What
        the host does is told as what the guest does. Nothing is lost silently: an ``overflow`` says below which path to
        look anew. Not told are reading, and writing through a shared memory map; a name may be told as ``created``
        although it is gone again. Raises ``LimitExceeded``, here or later, for more than ``most`` folders, or more than
        the machine allows this user.
        """
        return Watching(self._watch(path, recursive=recursive, most=most))

    def _watch(self, path: str, *, recursive: bool, most: int) -> Watch:
        at = self._reach.find("list", path)
        return at.vfs.watch(at.inner, recursive=recursive, most=most, allows=self._reach.allows())
