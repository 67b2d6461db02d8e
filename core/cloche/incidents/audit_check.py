"""Reading an audit log, and finding what was done to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Final

from cloche import units
from cloche.errors import AuditError, RegistryError
from cloche.incidents.audit import MARK, Place, check_file, locked, name, numbers, read_mark
from cloche.incidents.audit_line import GENESIS, LINE_MAX, Entry, unsealed
from cloche.registry.folder import Folder

FINDINGS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about one place of a log: the file, the line in it from 1 (0: all of it), and what is so."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        """Give it in one line."""
        return f"{self.file}{f', line {self.line}' if self.line else ''}: {self.what}"


@dataclass(frozen=True, slots=True)
class Verified:
    """What a walk over a whole log found. ``broken``: what shows that it was changed; ``notes``: what has a reason."""

    files: int
    lines: int
    seq: int
    """Number of the last line."""
    hash: str
    """Its hash: noted elsewhere, it vouches for all up to there."""
    broken: tuple[Finding, ...]
    """At most a hundred, in order."""
    notes: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was changed."""
        return not self.broken


@dataclass(slots=True)
class _Walk:
    """Where a walk is: what the next line must follow, and what was found so far."""

    mark: Place | None
    holds: str | None
    seq: int = 0
    hash: str = GENESIS
    anywhere: bool = False
    """The next line may follow any: it begins a log whose older files were removed."""
    lines: int = 0
    marked: bool = False
    held: bool = False
    oldest: int = 1
    broken: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def breaks(self, file: int | str, line: int, what: str) -> None:
        if len(self.broken) < FINDINGS_MAX:
            self.broken.append(Finding(file if isinstance(file, str) else name(file), line, what))

    def note(self, file: int | str, line: int, what: str) -> None:
        if len(self.notes) < FINDINGS_MAX:
            self.notes.append(Finding(file if isinstance(file, str) else name(file), line, what))


def verified(folder: Folder, *, holds: str | None = None) -> Verified:
    """Walk the log in ``folder``; see ``AuditLog.verify``."""
    with _snapshot(folder) as (mark, mark_size, files):
        walk = _Walk(mark, holds)
        if mark is None and (files or mark_size):
            walk.breaks(MARK, 0, "it is missing or was changed: lines cut from the end would not be missed")
        _check_files(walk, list(files))
        for number, (file, size) in files.items():
            _walk_file(walk, number, file, size, last=number == max(files))
        _check_end(walk, list(files))
        return Verified(len(files), walk.lines, walk.seq, walk.hash, tuple(walk.broken), tuple(walk.notes))


def entries(folder: Folder) -> Iterator[Entry]:
    """Give the lines of a log as they are; see ``AuditLog.entries``."""
    with _snapshot(folder) as (_, _, files):
        for number, (file, size) in files.items():
            for at, line, _ in _lines(file, size):
                try:
                    yield unsealed(line)
                except ValueError as error:
                    body = {"file": name(number), "line": at, "bytes": len(line), "why": str(error)}
                    yield Entry(0, 0.0, "damaged", body, "", "")


def last_whole(folder: Folder, number: int) -> Place | None:
    """Give the place behind the last whole line of a file, by that line alone; ``None`` if there is none."""
    found: Place | None = None
    with _reading(folder, number) as (file, size):
        end = 0
        for _, line, _ in _lines(file, size):
            end += len(line)
            with contextlib.suppress(ValueError):
                entry = unsealed(line)
                found = Place(number, end, entry.seq, entry.hash)
    return found


@contextlib.contextmanager
def _snapshot(folder: Folder) -> Iterator[tuple[Place | None, int, dict[int, tuple[BufferedReader, int]]]]:
    """Open all files as they are at one moment: the mark, its size, the files by number with their sizes."""
    with contextlib.ExitStack() as stack:
        try:
            with contextlib.ExitStack() as lock:
                mark, size = None, 0
                with contextlib.suppress(FileNotFoundError):
                    fd = lock.enter_context(locked(folder, exclusive=False))
                    mark, size = read_mark(fd), os.fstat(fd).st_size
                files = {number: stack.enter_context(_reading(folder, number)) for number in numbers(folder)}
        except (OSError, ValueError, RegistryError) as error:
            raise AuditError(f"the audit log in {folder.path} can't be read: {error}") from None
        yield mark, size, files


@contextlib.contextmanager
def _reading(folder: Folder, number: int) -> Iterator[tuple[BufferedReader, int]]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    with open(os.open(name(number), flags, dir_fd=folder.fd), "rb") as file:
        check_file(file.fileno(), name(number))
        yield file, os.fstat(file.fileno()).st_size


def _lines(file: BufferedReader, size: int) -> Iterator[tuple[int, bytes, int]]:
    """Give each line with its number and the byte behind it; one that is far too long in pieces."""
    number = at = 0
    file.seek(0)
    while at < size and (line := file.readline(min(LINE_MAX + 1, size - at))):
        number, at = number + 1, at + len(line)
        yield number, line, at


def _check_files(walk: _Walk, there: list[int]) -> None:
    """Look at which files there are; what the lines say of them comes later."""
    if not there:
        return
    walk.anywhere = there[0] > 1
    for number in range(there[0], there[-1]):
        if number not in there:
            walk.breaks(number, 0, "the file is missing")
            if len(walk.broken) == FINDINGS_MAX:
                break
    if walk.mark is not None:
        for number in there:
            if number > walk.mark.file + 1:
                walk.breaks(number, 0, "the file was put in: the log does not go so far")


def _walk_file(walk: _Walk, number: int, file: BufferedReader, size: int, *, last: bool) -> None:
    """Follow the lines of one file. ``damaged`` are those behind the last whole one, ``region`` their bytes."""
    damaged: list[tuple[int, str]] = []
    region = bytearray()
    named = False
    for at, line, end in _lines(file, size):
        try:
            entry = unsealed(line)
        except ValueError as error:
            damaged.append((at, str(error)))
            region += line
            continue
        _check_next(walk, (number, at), entry, damaged, bytes(region))
        if not named and entry.kind != "torn":
            named = True
            if (entry.kind, entry.body.get("file")) != ("file", number) and not damaged:
                walk.breaks(number, at, "it does not begin as this file: it was renamed, or its first lines are gone")
        damaged, region = [], bytearray()
        walk.lines, walk.seq, walk.hash, walk.anywhere = walk.lines + 1, entry.seq, entry.hash, False
        walk.held = walk.held or entry.hash == walk.holds
        walk.marked = walk.marked or walk.mark == Place(number, end, entry.seq, entry.hash)
    if damaged:
        _check_torn(walk, number, damaged, size - len(region), last=last)
    elif last and not named:
        walk.note(number, 0, "it is empty: its writer was stopped; who writes next goes on there")


def _check_next(
    walk: _Walk, where: tuple[int, int], entry: Entry, damaged: list[tuple[int, str]], region: bytes
) -> None:
    """Look whether a whole line follows the last one, and says what it must of damaged ones between."""
    number, at = where
    follows = walk.anywhere or (entry.seq, entry.prev) == (walk.seq + 1, walk.hash)
    if damaged and follows and entry.kind == "torn" and _are(entry, region):
        walk.note(number, damaged[0][0], f"torn, {len(region)} bytes: a writer was stopped in it; line {at} says so")
    else:
        for line, why in damaged:
            walk.breaks(number, line, why)
        if entry.kind == "torn":
            walk.breaks(number, at, "the torn line that it tells of is gone or was changed")
    if not follows and entry.seq != walk.seq + 1 + len(damaged):
        gap = entry.seq - walk.seq - 1
        walk.breaks(number, at, f"{gap} lines before it are missing" if gap > 0 else "it is not in its place")
    elif not follows and not damaged:
        walk.breaks(number, at, "it does not follow the line before it: one of the two was replaced")
    if entry.kind == "broken":
        walk.breaks(number, at, "who wrote it found the log changed")
    elif entry.kind == "failed":
        walk.note(number, at, "lines before it could not be written; it says how many")
    elif entry.kind == "file" and isinstance(entry.body.get("oldest"), int):
        walk.oldest = entry.body["oldest"]


def _check_torn(walk: _Walk, number: int, damaged: list[tuple[int, str]], begin: int, *, last: bool) -> None:
    """Look at damaged lines at the end of a file: behind the mark they are what a stopped writer leaves."""
    mark = walk.mark
    if last and mark is not None and (walk.marked or mark.seq == 0) and (number > mark.file or begin >= mark.at):
        walk.note(number, damaged[0][0], "torn: a writer was stopped in it; who writes next says so")
        return
    for line, why in damaged:
        walk.breaks(number, line, why)


def _check_end(walk: _Walk, there: list[int]) -> None:
    """Look at what only the whole log tells."""
    mark = walk.mark
    if mark is not None and mark.seq and not walk.marked:
        walk.breaks(
            MARK, 0, f"it vouches for line {mark.seq}, in {name(mark.file)}, which is not there as it was: "
            "the end was cut off or changed"
        )  # fmt: skip
    elif mark is not None and walk.seq > mark.seq:
        walk.note(MARK, 0, f"{walk.seq - mark.seq} lines are behind it: their writer was stopped")
    for number in there:
        if number < walk.oldest:
            walk.note(number, 0, "it was to be removed, being too old")
    if there and there[0] > walk.oldest:
        walk.breaks(walk.oldest, 0, "the file is missing")
    if walk.holds is not None and not walk.held:
        found = units.one_line(walk.holds, most=64)
        walk.breaks(MARK, 0, f"no line has the hash {found}: this is another log, or that part is gone")


def _are(entry: Entry, region: bytes) -> bool:
    """Say whether a record of the kind ``torn`` tells of these bytes; it may have ended the line itself."""
    for raw in (region, region[:-1]):
        if entry.body == {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}:
            return raw is region or region.endswith(b"\n")
    return False
