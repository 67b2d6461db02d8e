"""Reads a tar stream member by member, and believes nothing it says.

Formats: POSIX.1-1988 (ustar), POSIX.1-2001 (pax), GNU (long names, large numbers) and what came before them (v7), as
tar(5) of libarchive and the GNU tar manual describe them. The standard library's reader takes headers of any length
into memory and calls itself for each that precedes a member; this one bounds both, and refuses what readers are known
to understand differently, so that nobody finds another tree in the archive than was checked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from cloche.errors import ArchiveError
from cloche.files.archive_stream import Stream

MemberKind = Literal["file", "folder", "link", "hard link"]

_BLOCK: Final = 512
_HEADER_MOST: Final = 64 << 10
_NAME_MOST: Final = 4096
_POSIX, _GNU, _V7 = b"ustar\x0000", b"ustar  \0", b"\0" * 8
_KINDS: Final[Mapping[bytes, MemberKind]] = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "hard link", b"2": "link", b"5": "folder",
}  # fmt: skip
_REFUSED: Final = {
    b"3": "a device", b"4": "a device", b"6": "a pipe", b"S": "a sparse file", b"M": "a file's rest",
}  # fmt: skip
_USED: Final = frozenset({b"path", b"linkpath", b"size", b"hdrcharset"})
_CHARSETS: Final = frozenset({b"BINARY", b"ISO-IR 10646 2000 UTF-8"})


@dataclass(slots=True)
class Member:
    """One member as the archive tells it, nothing of it checked but what concerns the format."""

    name: bytes
    kind: MemberKind
    mode: int
    size: int = 0
    target: bytes = b""
    """Of a link its text, of a hard link the name of an earlier member."""
    pieces: Iterator[bytes] = field(default_factory=lambda: iter(()))
    """The content, ``size`` bytes. What is not taken is skipped."""


@dataclass(slots=True)
class _Before:
    """What headers before a member say about it."""

    pax: dict[bytes, bytes] = field(default_factory=dict)
    name: bytes | None = None
    target: bytes | None = None


def tar_members(stream: Stream) -> Iterator[Member]:
    """Give each member of a tar stream; raises ``ArchiveError`` at the first thing that is wrong."""
    before = _Before()
    pending = False
    while any(block := _block(stream)):
        kind = _checked(block)[156:157]
        if kind in {b"x", b"g", b"L", b"K"}:
            pending = _read_before(stream, block, kind, before) or pending
            continue
        member = _member(block, kind, before)
        before, pending = _Before(), False
        member.pieces = stream.pieces(member.size)
        yield member
        for _ in member.pieces:
            pass  # what its taker left
        _skip_padding(stream, member.size)
    if pending:
        raise ArchiveError("tar: the archive ends where a member was announced")
    rest = _block(stream)
    while rest:
        if rest.strip(b"\0"):
            raise ArchiveError("tar: something follows the end of the archive; give the archive alone")
        rest = stream.some(_HEADER_MOST)


def _block(stream: Stream) -> bytes:
    block = stream.read(_BLOCK)
    if len(block) < _BLOCK:
        raise ArchiveError("tar: the archive is cut off, or no tar: its end mark is missing")
    return block


def _skip_padding(stream: Stream, size: int) -> None:
    for _ in stream.pieces(-size % _BLOCK):
        pass


def _checked(block: bytes) -> bytes:
    total = sum(block) - sum(block[148:156]) + 8 * 0x20
    if _number(block[148:156], "checksum") != total:
        raise ArchiveError("tar: a header's checksum is wrong: damaged, or no tar")
    if block[257:265] not in {_POSIX, _GNU, _V7}:
        raise ArchiveError(f"tar: the format {block[257:265]!r} is unknown; pack it as ustar, pax or GNU tar")
    return block


def _read_before(stream: Stream, block: bytes, kind: bytes, before: _Before) -> bool:
    """Read a header about the next member, or with ``g`` about all; tell whether a member must follow."""
    size = _number(block[124:136], "size")
    if size > _HEADER_MOST:
        raise ArchiveError(f"tar: a header of {size} bytes; at most {_HEADER_MOST} are read")
    data = b"".join(stream.pieces(size))
    _skip_padding(stream, size)
    if kind == b"g":
        if said := _records(data).keys() & (_USED - {b"hdrcharset"}):
            raise ArchiveError(f"tar: {sorted(said)} for all members at once is not taken")
        return False
    if kind == b"x":
        twice, before.pax = bool(before.pax), _records(data)
    elif kind == b"L":
        twice, before.name = before.name is not None, _text(data)
    else:
        twice, before.target = before.target is not None, _text(data)
    if twice or (before.pax and (before.name, before.target) != (None, None)):
        raise ArchiveError("tar: two headers tell the same of one member")
    return True


def _records(data: bytes) -> dict[bytes, bytes]:
    """Read pax records, ``length key=value newline``; length counts all of it (pax(1))."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        digits, blank, _ = data[at : at + 8].partition(b" ")
        length = int(digits) if blank and digits.isdigit() else 0
        record = data[at : at + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if length > len(data) - at or record[-1:] != b"\n" or not key or not equals:
            raise ArchiveError("tar: a pax header is malformed")
        if key in found:
            raise ArchiveError(f"tar: a pax header says {key!r:.80} twice")
        if key.startswith(b"GNU.sparse."):
            raise ArchiveError("tar: sparse files are not taken; pack it without --sparse")
        found[key] = value
        at += length
    if found.get(b"hdrcharset", b"BINARY") not in _CHARSETS:
        raise ArchiveError("tar: names in another encoding than UTF-8 are not taken")
    return {key: value for key, value in found.items() if key in _USED}


def _member(block: bytes, kind: bytes, before: _Before) -> Member:
    name, target = _text(block[:100]), _text(block[157:257])
    if block[257:265] == _POSIX and (prefix := _text(block[345:500])):
        name = prefix + b"/" + name
    name = before.pax.get(b"path", name if before.name is None else before.name)
    target = before.pax.get(b"linkpath", target if before.target is None else before.target)
    if kind not in _KINDS:
        what = _REFUSED.get(kind, f"of a kind that is not taken ({kind!r})")
        raise ArchiveError(f"tar: {name!r:.200} is {what}; files, folders and links are taken")
    if max(len(name), len(target)) > _NAME_MOST:
        raise ArchiveError(f"tar: {name!r:.80}... is named in more than {_NAME_MOST} bytes")
    size = _number(block[124:136], "size")
    if (said := before.pax.get(b"size")) is not None:
        if not said.isdigit() or len(said) > 19:  # noqa: PLR2004 - as many digits as 2^63 has
            raise ArchiveError(f"tar: {name!r:.200} has the size {said!r:.80}")
        size = int(said)
    said_kind = _KINDS[kind]
    if kind in {b"0", b"\0"} and name.endswith(b"/"):
        said_kind = "folder"  # v7 had no other way to say so, and readers still take it for one
    if size and said_kind != "file":
        raise ArchiveError(f"tar: {name!r:.200} is a {said_kind} with content")
    return Member(name, said_kind, _number(block[100:108], "mode") & 0o7777, size, target)


def _text(field_: bytes) -> bytes:
    return field_.partition(b"\0")[0]


def _number(field_: bytes, what: str) -> int:
    """Read a number: octal digits, or with the first bit set the rest in binary (GNU), which may not be negative."""
    if field_[0] & 0x80:
        if field_[0] != 0x80 or any(field_[1:-8]):  # noqa: PLR2004 - the mark alone; 0xFF begins a negative number
            raise ArchiveError(f"tar: a {what} is negative or beyond all files")
        number = int.from_bytes(field_[-8:] if len(field_) > 8 else field_[1:], "big")  # noqa: PLR2004 - 8 bytes hold it
        if number >> 63:
            raise ArchiveError(f"tar: a {what} is negative or beyond all files")
        return number
    digits = field_.strip(b" \0")
    if digits.strip(b"01234567"):
        raise ArchiveError(f"tar: a {what} is no number: {field_!r}")
    return int(digits or b"0", 8)
