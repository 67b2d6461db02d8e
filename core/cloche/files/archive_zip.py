"""Reads a zip file member by member, and believes nothing it says.

Format: PKWARE's APPNOTE.TXT 6.3.10, with ZIP64. A zip tells everything twice, in the central directory and before each
member, and readers differ in what they take when the two contradict. Here nothing may: the members must lie one after
the other, from the first byte up to the directory, each as the directory says. So no two share bytes (a bomb whose
members overlap), none is hidden, and nothing precedes or follows.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from cloche.errors import ArchiveError, LimitExceeded
from cloche.files.archive_stream import PIECE, ArchiveLimits, Inflate, Meter, read_some
from cloche.files.archive_tar import Member, MemberKind
from cloche.units import size as in_bytes

_END: Final = struct.Struct("<4sHHHHIIH")
_LOCATOR: Final = struct.Struct("<4sIQI")
_END64: Final = struct.Struct("<4sQHHIIQQQQ")
_CENTRAL: Final = struct.Struct("<4sHHHHHHIIIHHHHHII")
_LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
_COMMENT_MOST: Final = 0xFFFF
_NAME_MOST: Final = 4096
_ENCRYPTED: Final = 0x0001 | 0x0040 | 0x2000
_SIZES_FOLLOW: Final = 0x0008
_UTF8: Final = 0x0800
_STORED, _DEFLATED = 0, 8
_UNIX: Final = 3
_FULL, _FULL_SHORT = 0xFFFFFFFF, 0xFFFF


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the central directory says of one member."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    system: int
    attributes: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Directory:
    offset: int
    size: int
    entries: int


class _File:
    """A seekable source, with positions counted from where it stood."""

    def __init__(self, source: BinaryIO, start: int) -> None:
        self._source = source
        self._start = start
        self.length = source.seek(0, 2) - start

    def at(self, offset: int, length: int) -> bytes:
        self.seek(offset)
        return self.take(length)

    def seek(self, offset: int) -> None:
        self._source.seek(self._start + offset)

    def take(self, length: int) -> bytes:
        taken = read_some(self._source, length)
        while len(taken) < length and (more := read_some(self._source, length - len(taken))):
            taken += more
        if len(taken) < length:
            raise ArchiveError("zip: the archive is cut off")
        return taken


def zip_members(source: BinaryIO, start: int, limits: ArchiveLimits) -> Iterator[Member]:
    """Give each member of the zip that begins at ``start``, in the order in which they lie there.

    Raises ``ArchiveError`` for what is wrong and ``LimitExceeded`` for what is too much; of the latter, all that the
    directory tells is known before the first member is given.
    """
    file = _File(source, start)
    directory = _find_directory(file)
    if directory.entries > limits.entries:
        raise LimitExceeded(f"zip: {directory.entries} members; limits.entries is {limits.entries}")
    entries = sorted(_entries(file, directory), key=lambda entry: entry.offset)
    total, most = sum(entry.size for entry in entries), in_bytes(limits.size, "size")
    if total > most:
        raise LimitExceeded(f"zip: {total} bytes unpacked; limits.size is {most}")
    ends = [*(entry.offset for entry in entries), directory.offset][1:]
    if entries and entries[-1].offset > directory.offset:
        raise ArchiveError(f"zip: {entries[-1].name!r:.200} lies outside the archive")
    meter, at = Meter(limits), 0
    for entry, end in zip(entries, ends, strict=True):
        if entry.offset != at:
            raise ArchiveError(f"zip: {entry.name!r:.200} overlaps another member, or hides something before it")
        yield from _member(file, entry, end, meter)
        at = end
    if at != directory.offset:
        raise ArchiveError("zip: something that is no member precedes the directory")


def _find_directory(file: _File) -> _Directory:
    """Find the record at the end; the archive's comment may not hold another one."""
    begin = max(0, file.length - _END.size - _COMMENT_MOST)
    tail = file.at(begin, file.length - begin)
    found = tail.find(b"PK\5\6")
    if found < 0 or len(tail) - found < _END.size:
        raise ArchiveError("zip: no directory at the end: the archive is cut off, or no zip")
    _, disk, first, here, entries, length, offset, comment = _END.unpack_from(tail, found)
    end = begin + found
    if found + _END.size + comment != len(tail) or tail.count(b"PK\5\6") > 1:
        raise ArchiveError("zip: the end is ambiguous: something follows it, or it is there twice")
    if _FULL in {length, offset} or (entries == _FULL_SHORT and _has_locator(file, end)):
        directory, end = _find_directory64(file, end)
    elif (disk, first, here) != (0, 0, entries):
        raise ArchiveError("zip: it is a part of an archive in several files")
    else:
        directory = _Directory(offset, length, entries)
    if directory.offset + directory.size != end or directory.entries * _CENTRAL.size > directory.size:
        raise ArchiveError("zip: the directory is not where the end says, or not as long")
    return directory


def _has_locator(file: _File, end: int) -> bool:
    return end >= _LOCATOR.size and file.at(end - _LOCATOR.size, 4) == b"PK\6\7"


def _find_directory64(file: _File, end: int) -> tuple[_Directory, int]:
    if end < _LOCATOR.size + _END64.size:
        raise ArchiveError("zip: the ZIP64 end is missing")
    mark, _, offset, _ = _LOCATOR.unpack(file.at(end - _LOCATOR.size, _LOCATOR.size))
    if mark != b"PK\6\7" or offset != end - _LOCATOR.size - _END64.size:
        raise ArchiveError("zip: the ZIP64 end is not where it must be")
    fields = _END64.unpack(file.at(offset, _END64.size))
    mark, length, _, _, disk, first, here, entries, size, begin = fields
    if mark != b"PK\6\6" or length != _END64.size - 12 or (disk, first, here) != (0, 0, entries):
        raise ArchiveError("zip: the ZIP64 end is malformed, or of an archive in several files")
    return _Directory(begin, size, entries), offset


def _entries(file: _File, directory: _Directory) -> Iterator[_Entry]:
    at, end = directory.offset, directory.offset + directory.size
    for _ in range(directory.entries):
        if _CENTRAL.size > end - at:
            raise ArchiveError("zip: the directory is cut off")
        fields = _CENTRAL.unpack(file.at(at, _CENTRAL.size))
        mark, made, _, flags, method, _, _, crc, packed, size, name_size, extra_size, comment, disk, _, mode, offset = (
            fields
        )
        length = _CENTRAL.size + name_size + extra_size + comment
        if mark != b"PK\1\2" or length > end - at or name_size > _NAME_MOST:
            raise ArchiveError("zip: the directory is malformed")
        name = file.take(name_size)
        sizes = _sizes64(file.take(extra_size), name, [size, packed, offset])
        _refuse(name, flags, method, disk)
        yield _Entry(name, flags, method, crc, sizes[1], sizes[0], made >> 8, mode, sizes[2])
        at += length
    if at != end:
        raise ArchiveError("zip: the directory holds more than its members")


def _refuse(name: bytes, flags: int, method: int, disk: int) -> None:
    if flags & _ENCRYPTED:
        raise ArchiveError(f"zip: {name!r:.200} is encrypted; give it unencrypted")
    if method not in {_STORED, _DEFLATED}:
        raise ArchiveError(f"zip: {name!r:.200} is packed with method {method}; stored and deflated are read")
    if disk:
        raise ArchiveError(f"zip: {name!r:.200} lies in another file")


def _sizes64(extra: bytes, name: bytes, sizes: list[int]) -> list[int]:
    """Fill in from ZIP64's extra field what did not fit in 32 bits."""
    at = 0
    while len(extra) - at >= 4:  # noqa: PLR2004 - a field's head
        tag, length = struct.unpack_from("<HH", extra, at)
        at += 4
        if length > len(extra) - at:
            raise ArchiveError(f"zip: {name!r:.200} has a malformed extra field")
        if tag == 1:
            wide = [number for (number,) in struct.iter_unpack("<Q", extra[at : at + length // 8 * 8])]
            if len(wide) < sizes.count(_FULL):
                break
            return [wide.pop(0) if number == _FULL else number for number in sizes]
        at += length
    if _FULL in sizes:
        raise ArchiveError(f"zip: {name!r:.200} has no size")
    return sizes


def _member(file: _File, entry: _Entry, end: int, meter: Meter) -> Iterator[Member]:
    fields = _LOCAL.unpack(file.at(entry.offset, _LOCAL.size))
    mark, _, flags, method, _, _, crc, packed, size, name_size, extra_size = fields
    at = entry.offset + _LOCAL.size + name_size + extra_size
    if mark != b"PK\3\4" or at > end or entry.packed > end - at:
        raise ArchiveError(f"zip: {entry.name!r:.200} is not where the directory says, or overlaps another member")
    name = file.take(name_size)
    size, packed = _sizes64(file.take(extra_size), name, [size, packed])
    known = (entry.crc, entry.packed, entry.size)
    follow = bool(flags & _SIZES_FOLLOW)
    same = (crc, packed, size) == known or (
        follow and all(n in {0, k} for n, k in zip((crc, packed, size), known, strict=True))
    )
    if (name, method, flags & ~_UTF8) != (entry.name, entry.method, entry.flags & ~_UTF8) or not same:
        raise ArchiveError(f"zip: {entry.name!r:.200} is another one in its own head than in the directory")
    tail = end - at - entry.packed
    if tail:
        if not follow or not _descriptor_fits(file.at(end - tail, min(tail, 25)), *known):
            raise ArchiveError(f"zip: something is hidden behind {entry.name!r:.200}")
        file.seek(at)
    member = _described(entry)
    member.pieces = _content(file, entry, meter)
    if member.kind == "link":
        if entry.size > _NAME_MOST:
            raise ArchiveError(f"zip: the link {entry.name!r:.200} has a text of {entry.size} bytes")
        member.target, member.size = b"".join(member.pieces), 0
    yield member
    for _ in member.pieces:
        pass  # what its taker left


def _descriptor_fits(tail: bytes, crc: int, packed: int, size: int) -> bool:
    forms = [struct.pack("<IQQ", crc, packed, size)]
    if max(packed, size) <= _FULL:
        forms.append(struct.pack("<III", crc, packed, size))
    return tail in {mark + form for form in forms for mark in (b"", b"PK\7\b")}


def _described(entry: _Entry) -> Member:
    """Tell the kind of a member: by Unix mode where one is given, else by the slash at the end of its name."""
    folder = entry.name.endswith(b"/")
    mode = entry.attributes >> 16 if entry.system == _UNIX else 0
    kind: MemberKind = "folder" if folder else "file"
    match stat.S_IFMT(mode):
        case 0 if not mode:
            mode = 0o755 if folder else 0o644
        case stat.S_IFLNK if not folder:
            kind = "link"
        case stat.S_IFDIR if folder:
            pass
        case 0:
            pass
        case stat.S_IFREG if not folder:
            pass
        case _:
            raise ArchiveError(f"zip: {entry.name!r:.200} is no file, folder or link, or not what its name says")
    if folder and entry.size:
        raise ArchiveError(f"zip: {entry.name!r:.200} is a folder with content")
    return Member(entry.name, kind, mode & 0o7777, entry.size)


def _content(file: _File, entry: _Entry, meter: Meter) -> Iterator[bytes]:
    crc = length = 0
    for piece in _packed(file, entry, meter) if entry.method == _STORED else _inflated(file, entry, meter):
        length += len(piece)
        if length > entry.size:
            break
        meter.came_out(len(piece))
        crc = zlib.crc32(piece, crc)
        yield piece
    if (length, crc) != (entry.size, entry.crc):
        raise ArchiveError(f"zip: {entry.name!r:.200} is damaged: its length or checksum is wrong")


def _packed(file: _File, entry: _Entry, meter: Meter) -> Iterator[bytes]:
    left = entry.packed
    while left:
        piece = file.take(min(left, PIECE))
        left -= len(piece)
        meter.went_in(len(piece))
        yield piece


def _inflated(file: _File, entry: _Entry, meter: Meter) -> Iterator[bytes]:
    decoder, packed = Inflate(-15), _packed(file, entry, meter)
    while not decoder.eof:
        piece = next(packed, b"") if decoder.needs_input else b""
        if decoder.needs_input and not piece:
            raise ArchiveError(f"zip: {entry.name!r:.200} is damaged: its data ends too soon")
        try:
            out = decoder.decompress(piece, PIECE)
        except zlib.error as error:
            raise ArchiveError(f"zip: {entry.name!r:.200} is damaged: {error}") from None
        if out:
            yield out
    if decoder.unused_data or next(packed, b""):
        raise ArchiveError(f"zip: something is hidden behind the data of {entry.name!r:.200}")
