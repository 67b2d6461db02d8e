"""The audit log: lines that are only ever added, each tied to the one before it, in a folder that is the user's alone.

``audit-000001.jsonl`` and on hold the lines (``audit_line`` tells their form). A file that is full is left as it is,
and the first line of the next, of the kind ``file``, goes on with its hash. ``audit.mark`` says in one short line how
far the log goes: file, byte, number of the line and its hash. It is written after each line, so a line that was cut
away is missed, and one that a killed writer had no time to mark is taken as it is. docs/audit.md has the whole format.

Nobody holds a key: who may write the folder can make a new log, from its beginning. Note a hash elsewhere and give it
to ``verify(holds=...)`` to have that found too.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from cloche import units
from cloche.errors import AuditError, RegistryError, SpecError
from cloche.incidents.audit_line import GENESIS, LINE_MAX, Entry, sealed, unsealed
from cloche.incidents.audit_settings import AuditSettings
from cloche.registry.folder import Folder

if TYPE_CHECKING:
    from cloche.incidents.audit_check import Verified

MARK: Final = "audit.mark"
OWN_KINDS: Final = ("file", "torn", "broken", "failed")
"""Kinds of lines that the log writes about itself."""
_FILE: Final = re.compile(r"audit-(\d{6,9})\.jsonl", re.ASCII)
_MARK: Final = re.compile(rb"(\d{9}) (\d{15}) (\d{15}) ([0-9a-f]{64})\n")
_FLAGS: Final = os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class Place:
    """How far a log goes: file and byte at which the next line begins, number and hash of the last one."""

    file: int = 1
    at: int = 0
    seq: int = 0
    hash: str = GENESIS


class AuditLog:
    """Appends to the audit log in ``folder``, which ``make`` makes. Any number of processes and threads may.

    A file holds about ``size`` bytes; ``keep`` files are kept, the oldest is removed, and the log says so. With
    ``sync`` a line is on the disk (fdatasync(2)) when ``append`` returns; without it only a crash of the machine, not
    of the process, can lose the last ones. Folder and files must belong to this user and be closed to all others.
    """

    def __init__(
        self, folder: str | Path, *, size: int | str = "16M", keep: int = 64, sync: bool = True, make: bool = True
    ) -> None:
        """Open the folder. Raises ``SpecError``, and ``AuditError`` for a folder that can't be used or is not safe."""
        asked = AuditSettings(str(folder), size, keep, sync)  # type: ignore[arg-type]  # a size is made of text
        self.path = Path(asked.folder)
        self.size, self.keep, self.sync = asked.size, asked.keep, asked.sync
        self.failed = 0
        """How many lines could not be written so far; the next that can says how many were lost before it."""
        self._untold: list[str] = []
        self._missed = 0
        self._lock = threading.Lock()
        self._folder = opened(str(self.path), make=make)

    def append(self, kind: str, body: Mapping[str, Any]) -> None:
        """Add a line, and before it what is to be told about the log itself. Blocks for the disk.

        Raises ``SpecError`` for a kind that is no name, and ``AuditError`` if it could not be written: the disk is
        full, say. What of it was written is then kept, and marked by whoever writes next.
        """
        if units.identifier(kind, "audit kind") in OWN_KINDS:
            raise SpecError(f"audit kind: {kind!r} is what the log writes about itself; use another name")
        if not isinstance(body, Mapping):
            raise SpecError(f"audit: a mapping is needed, not {units.shown(body)}")
        with self._lock:
            try:
                if self._folder.fd < 0:
                    raise AuditError(f"the audit log in {self.path} is closed")
                with locked(self._folder, exclusive=True) as mark:
                    self._append(mark, kind, body)
            except (OSError, RegistryError, ValueError) as error:
                self.failed, self._missed = self.failed + 1, self._missed + 1
                why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
                self._untold = [*self._untold, why][-8:]
                raise AuditError(
                    f"the audit log in {self.path} can't be written: {why}; the next line that can says what is missing"
                ) from error
            self._untold, self._missed = [], 0

    def entries(self) -> Iterator[Entry]:
        """Give the lines there are now, oldest first; what is not as it was written has the kind ``damaged``."""
        from cloche.incidents.audit_check import entries  # noqa: PLC0415 - who only writes does without

        return entries(self._folder)

    def verify(self, *, holds: str | None = None) -> Verified:
        """Walk all files and say whether every line is there as it was written, and follows the one before it.

        ``holds``: a hash that some line must have. Raises ``AuditError`` if the files can't be read.
        """
        from cloche.incidents.audit_check import verified  # noqa: PLC0415 - the same

        return verified(self._folder, holds=holds)

    def close(self) -> None:
        """Close it. Harmless when repeated."""
        with self._lock:
            self._folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- inside, with the lock held ----------------------------------------------------------------------------------

    def _append(self, mark: int, kind: str, body: Mapping[str, Any]) -> None:
        place, news = self._found(mark)
        there = numbers(self._folder)
        fd = -1
        try:
            if place.file not in there:
                fd, place = self._begin(mark, place)
            else:
                fd = self._open(place.file)
                place, more = self._mended(fd, place)
                if place.file + 1 in there:  # its writer was killed before it could mark that
                    os.close(fd)
                    fd, place = -1, replace(place, file=place.file + 1, at=0)
                    fd = self._open(place.file)
                    place, more = self._mended(fd, place)
                news += more
            if self._untold:
                news.append(("failed", {"lines": self._missed, "why": self._untold}))
            for each, what in (*news, (kind, body)):
                if place.at >= self.size and each not in OWN_KINDS:
                    os.close(fd)
                    fd = -1
                    fd, place = self._begin(mark, replace(place, file=place.file + 1, at=0))
                place = self._put(fd, mark, place, each, what)
        finally:
            if fd >= 0:
                os.close(fd)

    def _found(self, mark: int) -> tuple[Place, list[tuple[str, dict[str, Any]]]]:
        """Give how far the log goes by its mark; without one, by what its last file says."""
        place = read_mark(mark)
        there = numbers(self._folder)
        if place is not None and (place.file in there or place.seq == 0):
            return place, []
        if place is not None:
            return replace(place, file=max([place.file, *there]) + 1, at=0), [("broken", {"missing_file": place.file})]
        if not there and os.fstat(mark).st_size == 0:
            put_mark(mark, Place())
            return Place(), []
        place = Place(file=max(there, default=0) + 1)
        if there:  # go on from the last line that is whole
            from cloche.incidents.audit_check import last_whole  # noqa: PLC0415 - only after damage

            place = last_whole(self._folder, there[-1]) or place
        return place, [("broken", {"mark": "it was missing or damaged"})]

    def _mended(self, fd: int, place: Place) -> tuple[Place, list[tuple[str, dict[str, Any]]]]:
        """Take what was written behind the mark: whole lines as they are; what is torn is ended, to be told about."""
        size, begin = os.fstat(fd).st_size, place.at
        if size < begin:
            if size and os.pread(fd, 1, size - 1) != b"\n":
                _write(fd, b"\n")
            return replace(place, at=os.fstat(fd).st_size), [("broken", {"missing_bytes": begin - size})]
        news: list[tuple[str, dict[str, Any]]] = []
        with open(fd, "rb", closefd=False) as file:
            file.seek(begin)
            while (entry := _next(file.readline(LINE_MAX + 1), place)) is not None:
                place = Place(place.file, place.at + entry[1], entry[0].seq, entry[0].hash)
            empty = place.at == 0
            if place.at < size:
                file.seek(place.at)
                torn = file.read()
                if not torn.endswith(b"\n"):
                    _write(fd, b"\n")
                news.append(("torn", {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}))
                place = replace(place, at=os.fstat(fd).st_size)
        if empty:
            news.append(("file", {"file": place.file, "oldest": numbers(self._folder)[0]}))
        return place, news

    def _open(self, number: int, *, new: bool = False) -> int:
        flags = _FLAGS | os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0)
        fd = os.open(name(number), flags, 0o600, dir_fd=self._folder.fd)
        try:
            check_file(fd, name(number))
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _begin(self, mark: int, place: Place) -> tuple[int, Place]:
        """Begin the file that ``place`` names, then remove those over ``keep``."""
        there = [number for number in numbers(self._folder) if number < place.file]
        extra = there[: max(0, len(there) + 1 - self.keep)]
        oldest = min(set(there) - set(extra), default=place.file)
        fd = self._open(place.file, new=True)
        try:
            place = self._put(fd, mark, place, "file", {"file": place.file, "oldest": oldest})
            if self.sync:
                os.fsync(self._folder.fd)
        except BaseException:
            os.close(fd)
            raise
        for number in extra:
            self._folder.remove(name(number))
        return fd, place

    def _put(self, fd: int, mark: int, place: Place, kind: str, body: Mapping[str, Any]) -> Place:
        line, digest = sealed(place.seq + 1, round(time.time(), 6), kind, body, place.hash)
        _write(fd, line)
        if self.sync:
            os.fdatasync(fd)
        place = Place(place.file, place.at + len(line), place.seq + 1, digest)
        put_mark(mark, place)
        return place


def opened(path: str, *, make: bool) -> Folder:
    """Give the folder of a log. Raises ``AuditError`` if it can't be had or is not this user's alone."""
    try:
        return Folder.open(path, make=make)
    except RegistryError as error:
        raise AuditError(f"audit log: {error}") from None


def name(number: int) -> str:
    """Give the name of a file of the log."""
    return f"audit-{number:06d}.jsonl"


def numbers(folder: Folder) -> list[int]:
    """Give the numbers of the files of a log, in order."""
    found = (_FILE.fullmatch(one) for one in folder.names())
    return sorted(int(match[1]) for match in found if match and name(int(match[1])) == match[0])


def read_mark(fd: int) -> Place | None:
    """Give what the mark says; ``None`` if it is empty or damaged."""
    match = _MARK.fullmatch(os.pread(fd, 256, 0))
    return None if match is None else Place(int(match[1]), int(match[2]), int(match[3]), match[4].decode())


def put_mark(fd: int, place: Place) -> None:
    """Write how far the log goes, over what stood there: as long, so a full disk does not matter."""
    os.pwrite(fd, b"%09d %015d %015d %s\n" % (place.file, place.at, place.seq, place.hash.encode()), 0)


def check_file(fd: int, what: str) -> None:
    """Raise ``ValueError`` unless it is a plain file of this user's that nobody else can open, with one name."""
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o077 or info.st_nlink > 1:
        raise ValueError(f"{what} is not a plain file of user {os.geteuid()} alone (mode 0600, one name)")


@contextlib.contextmanager
def locked(folder: Folder, *, exclusive: bool) -> Iterator[int]:
    """Hold the log's lock, which is on its mark; gives a descriptor of that. Waits for it. Raises ``OSError``."""
    access = os.O_RDWR | os.O_CREAT if exclusive else os.O_RDONLY
    fd = os.open(MARK, access | _FLAGS & ~os.O_APPEND, 0o600, dir_fd=folder.fd)
    try:
        check_file(fd, MARK)
        fcntl.flock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield fd
    finally:
        os.close(fd)


def _next(line: bytes, place: Place) -> tuple[Entry, int] | None:
    """Give what a line says, and its bytes, if it is whole and the next."""
    try:
        entry = unsealed(line)
    except ValueError:
        return None
    return (entry, len(line)) if (entry.seq, entry.prev) == (place.seq + 1, place.hash) else None


def _write(fd: int, raw: bytes) -> None:
    view = memoryview(raw)
    while view:
        view = view[os.write(fd, view) :]
