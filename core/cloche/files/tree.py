"""What a tree of files looked like at one time, and what differs between two such looks.

What proves that a file did not change, in this order: equal digests, where both snapshots took them; else equal size,
inode number and *both* times. The time of the last change of content alone proves nothing, since a guest may set it;
the time of any change (``FileStat.changed_ns``) it can't set. That clock ticks only every few milliseconds: a file
that was changed in the very tick of the snapshot is looked at again when the tick is over.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import BinaryIO, Final, Literal, Protocol

from cloche.errors import AccessDenied, FileError, LimitExceeded, NotFound
from cloche.files.vfs import Entry, FileKind, FileStat
from cloche.units import count, escaped, size

What = Literal["kind", "content", "touched", "mode", "target"]

_TICK_NS: Final = 20_000_000
"""Longer than the tick of any kernel's file times: 10 ms at the 100 Hz that the slowest run at (time(7))."""
_PIECE: Final = 1 << 20
_QUOTED: Final = {'"': '\\"', "\\": "\\\\"}


class Looks(Protocol):
    """What is looked at: any ``Vfs``, or the files of a sandbox with its rules."""

    def walk(self, path: str, /) -> Iterator[Entry]: ...  # noqa: D102 - as Vfs.walk
    def stat(self, path: str, /) -> FileStat: ...  # noqa: D102 - as Vfs.stat
    def open(self, path: str, /) -> BinaryIO: ...  # noqa: D102 - as Vfs.open


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLimits:
    """How much a snapshot may take; beyond it raises ``LimitExceeded``. A guest chooses how large its tree is."""

    entries: int = 1_000_000
    content: int | str = "16G"
    """Bytes that are read for digests, all files together; a file of holes is as long as it says."""

    def __post_init__(self) -> None:
        count(self.entries, "entries")
        object.__setattr__(self, "content", size(self.content, "content"))


@dataclass(frozen=True, slots=True)
class Seen:
    """What one name stood for."""

    stat: FileStat
    digest: str | None = None
    """SHA-256 of a file's content, hexadecimal; None where it was not asked for or could not be read."""
    settled: bool = True
    """Whether a later change is sure to show in ``stat``; not so for a file that was being written just then."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tree at one time: names relative to its ``path``, sorted.

    Of a tree that changes meanwhile, each name is as it was at some moment between begin and end.
    """

    path: str
    entries: Mapping[str, Seen]
    content: bool
    """Whether digests were taken."""
    limits: TreeLimits = TreeLimits()

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"Snapshot({printable(self.path)}, {len(self)} names{', with digests' if self.content else ''})"


@dataclass(frozen=True, slots=True)
class Changed:
    """A name that is in both, and differs in ``what``.

    ``content``: size, digest or time of content differ. ``touched``: something was done to it that may or may not have
    changed its content; only digests can tell.
    """

    path: str
    what: tuple[What, ...]
    before: Seen
    after: Seen

    def __str__(self) -> str:
        said = [self._detail(what) for what in self.what]
        return f"{'T' if 'kind' in self.what else 'M'}  {_name(self.path, self.after)} ({', '.join(said)})"

    def _detail(self, what: What) -> str:
        old, new = self.before.stat, self.after.stat
        match what:
            case "kind":
                return f"{old.kind} -> {new.kind}"
            case "mode":
                return f"mode {old.mode:o} -> {new.mode:o}"
            case "target":
                return f"-> {printable(new.target or '')}"
            case _:
                return what


@dataclass(frozen=True, slots=True)
class Moved:
    """A name that is another's file or folder now, of the same inode number and otherwise as it was."""

    source: str
    path: str
    after: Seen

    def __str__(self) -> str:
        return f"R  {printable(self.source)} -> {_name(self.path, self.after)}"


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """What differs between two snapshots; false if nothing does. ``str()`` gives a line for each, names escaped."""

    added: Mapping[str, Seen]
    removed: Mapping[str, Seen]
    changed: tuple[Changed, ...]
    moved: tuple[Moved, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.moved)

    def __len__(self) -> int:
        return len(self.added) + len(self.removed) + len(self.changed) + len(self.moved)

    def __str__(self) -> str:
        lines = [(path, f"A  {_name(path, seen)}") for path, seen in self.added.items()]
        lines += [(path, f"D  {_name(path, seen)}") for path, seen in self.removed.items()]
        lines += [(change.path, str(change)) for change in self.changed]
        lines += [(move.path, str(move)) for move in self.moved]
        return "\n".join(line for _, line in sorted(lines))


def printable(name: str) -> str:
    r"""Give a name that a guest chose as a terminal may show it: as it is, or in double quotes and escaped.

    Escaped are control characters, bytes that are no UTF-8 (``\xff``), whatever turns or hides text, quotes and
    backslashes.
    """
    if name.isprintable() and '"' not in name and "\\" not in name:
        return name
    return '"' + "".join(_QUOTED.get(c) or (c if c.isprintable() else escaped(c)) for c in name) + '"'


def snapshot(
    vfs: Looks, path: str = "/workspace", *, content: bool = False, limits: TreeLimits = TreeLimits()
) -> Snapshot:  # fmt: skip
    """Look at everything below a folder; with ``content`` take a digest of every file too.

    Without digests it takes up to 20 ms longer where a file was changed just before. Raises ``LimitExceeded``, and
    what ``Vfs.walk`` raises.
    """
    begin = path if path == "/" else path + "/"
    started = time.time_ns()
    found: dict[str, Seen] = {}
    for entry in vfs.walk(path):
        if len(found) == limits.entries:
            raise LimitExceeded(
                f"snapshot of {printable(path)}: more than {limits.entries} names; raise limits.entries"
            )
        found[entry.path.removeprefix(begin)] = Seen(entry.stat)
    if content:
        _take_digests(vfs, begin, found, limits)
    else:
        _settle(vfs, begin, found, started)
    return Snapshot(path, MappingProxyType(dict(sorted(found.items()))), content, limits)


def diff(before: Snapshot, after: Snapshot) -> TreeDiff:
    """Tell what differs. A name is ``moved`` only if the inode number and all else are the same; see ``Changed``."""
    added = {name: seen for name, seen in after.entries.items() if name not in before.entries}
    removed = {name: seen for name, seen in before.entries.items() if name not in after.entries}
    moved = list(_moves(removed, added)) if removed and added else []
    for one in moved:
        del removed[one.source], added[one.path]
    changed: list[Changed] = []
    for name, old in before.entries.items():
        new = after.entries.get(name)
        if new is not None and (what := _what(old, new)):
            changed.append(Changed(name, what, old, new))
    tops = tuple(_tops(moved))
    return TreeDiff(MappingProxyType(added), MappingProxyType(removed), tuple(changed), tops)


def _what(old: Seen, new: Seen) -> tuple[What, ...]:
    was, now = old.stat, new.stat
    if was.kind is not now.kind:
        return ("kind",)
    what: list[What] = []
    if was.kind is FileKind.LINK:
        return ("target",) if was.target != now.target else ()
    if was.kind is FileKind.FILE:
        if old.digest is not None and new.digest is not None:
            if old.digest != new.digest:
                what.append("content")
        elif was.size != now.size or was.modified_ns != now.modified_ns:
            what.append("content")
        elif was.changed_ns != now.changed_ns or was.inode != now.inode or not old.settled:
            what.append("touched")
    elif was.kind is not FileKind.FOLDER and (was.inode, was.changed_ns) != (now.inode, now.changed_ns):
        what.append("touched")
    if was.mode != now.mode:
        what.append("mode")
    return tuple(what)


def _moves(removed: Mapping[str, Seen], added: Mapping[str, Seen]) -> Iterator[Moved]:
    """Pair names by inode number; one with several names on either side stays removed and added."""
    sources: dict[int, str | None] = {}
    for name, seen in removed.items():
        sources[seen.stat.inode] = None if seen.stat.inode in sources else name
    for name, seen in added.items():
        source = sources.pop(seen.stat.inode, None)
        if source is not None and _same_but_moved(removed[source], seen):
            yield Moved(source, name, seen)


def _same_but_moved(old: Seen, new: Seen) -> bool:
    """Compare all that a rename leaves alone. A number may be used again, for a file of another content."""
    was, now = old.stat, new.stat
    same = (was.kind, was.mode, was.modified_ns, was.target) == (now.kind, now.mode, now.modified_ns, now.target)
    return same and old.digest == new.digest and (was.kind is FileKind.FOLDER or was.size == now.size)


def _tops(moved: list[Moved]) -> Iterator[Moved]:
    """Leave out what only went along with its folder."""
    folders = {one.source: one.path for one in moved if one.after.stat.kind is FileKind.FOLDER}
    for one in moved:
        above, _, last = one.source.rpartition("/")
        if folders.get(above) is None or f"{folders[above]}/{last}" != one.path:
            yield one


def _settle(vfs: Looks, begin: str, found: dict[str, Seen], started: int) -> None:
    """Look again, in a later tick, at what was changed in the tick of the walk."""
    fresh = [name for name, seen in found.items() if seen.stat.changed_ns > started - _TICK_NS and _opens(seen)]
    if not fresh:
        return
    time.sleep(_TICK_NS / 1e9)
    for name in fresh:
        now = time.time_ns()
        try:
            stat = vfs.stat(begin + name)
        except NotFound:
            del found[name]
        else:
            found[name] = Seen(stat, settled=stat.changed_ns <= now - _TICK_NS)


def _take_digests(vfs: Looks, begin: str, found: dict[str, Seen], limits: TreeLimits) -> None:
    left = size(limits.content, "content")
    for name, seen in list(found.items()):
        if not _opens(seen):
            continue
        try:
            digest, length = _digest(vfs, begin + name, left)
        except NotFound:
            del found[name]
        except (AccessDenied, FileError):
            continue  # it may not be read, or is no file any more: no digest says so
        else:
            left -= length
            found[name] = replace(seen, digest=digest)


def _digest(vfs: Looks, path: str, most: int) -> tuple[str, int]:
    digest, length = hashlib.sha256(), 0
    with vfs.open(path) as file:
        while piece := file.read(_PIECE):
            length += len(piece)
            if length > most:
                raise LimitExceeded(f"digest of {printable(path)}: more to read than limits.content allows; raise it")
            digest.update(piece)
    return digest.hexdigest(), length


def _opens(seen: Seen) -> bool:
    return seen.stat.kind is FileKind.FILE


def _name(path: str, seen: Seen) -> str:
    return printable(path + "/" if seen.stat.kind is FileKind.FOLDER else path)
