"""Archives that mean harm: each is refused by its typed error, and nothing of it is made."""
# ruff: noqa: ANN401 - what is patched is of many types

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import zipfile
import zlib
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import AccessDenied, ArchiveError, ClocheError, FileError, LimitExceeded
from cloche.files.archive import import_archive
from cloche.files.archive_stream import ArchiveLimits
from tests.unit.rooted import Rooted

if TYPE_CHECKING:
    from pathlib import Path

END = bytes(1024)


@pytest.fixture
def vfs(tmp_path: Path) -> Rooted:
    (tmp_path / "root").mkdir()
    return Rooted(str(tmp_path / "root"))


def entry(
    name: str | bytes, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "", **fields: Any
) -> bytes:
    """Give one member of a tar, with whatever head the caller wants."""
    info = tarfile.TarInfo(os.fsdecode(name))
    info.type, info.linkname, info.size = kind, target, len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + data + bytes(-len(data) % 512)


def head(patches: dict[int, bytes], name: str = "a", data: bytes = b"", kind: bytes = b"0") -> bytes:
    """Give a member whose head is overwritten at some offsets, and its checksum right again."""
    block = bytearray(entry(name, kind=kind)[:512])
    block[124:136] = b"%011o\0" % len(data)
    for offset, value in patches.items():
        block[offset : offset + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + bytes(-len(data) % 512)


def pax(*records: tuple[bytes, bytes] | bytes, kind: bytes = b"x") -> bytes:
    data = b""
    for record in records:
        if isinstance(record, tuple):
            body = b" " + b"=".join(record) + b"\n"
            length = next(n for n in range(len(body) + 1, len(body) + 9) if n == len(body) + len(str(n)))
            data += str(length).encode() + body
        else:
            data += record
    return head({}, "x", data, kind)


def refused(vfs: Rooted, data: bytes, message: str, *, error: type[ClocheError] = ArchiveError, **options: Any) -> None:
    with pytest.raises(error, match=message) as caught:
        import_archive(vfs, io.BytesIO(data), "/in", **options)
    assert str(caught.value).isprintable()
    assert not hasattr(caught.value, "__notes__")
    assert vfs.list("/in") == []


def test_the_control_of_all_below_a_plain_member_is_made(vfs: Rooted) -> None:
    import_archive(vfs, io.BytesIO(entry("a", b"1") + pax((b"path", b"b")) + head({}, "z", b"2") + END), "/in")
    assert [(file.path, vfs.read(file.path)) for file in vfs.list("/in")] == [("/in/a", b"1"), ("/in/b", b"2")]


NAMES = {
    "/etc/passwd": "absolute",
    "../x": "absolute",
    "a/../../x": "absolute",
    "a//b": "absolute",
    "a/./b": "absolute",
    "..": "absolute",
    "": "absolute",
    "/": "absolute",
    "./../x": "absolute",
    "a\\..\\x": "backslash",
    "C:x": "drive letter",
    "c:/windows": "drive letter",
    "n" * 256: "too long",
    "/".join(["d" * 101] * 40): "too long",
}


@pytest.mark.parametrize(("name", "message"), NAMES.items(), ids=lambda value: repr(value)[:20])
def test_a_name_that_is_not_plainly_inside(vfs: Rooted, name: str, message: str) -> None:
    limits = ArchiveLimits(depth=1000)
    refused(vfs, entry("ok", b"1") + entry(name) + END, message, limits=limits)
    refused(vfs, entry("ok", b"1") + entry(name + "/", kind=tarfile.DIRTYPE) + END, message, limits=limits)
    if name.strip("/"):
        refused(vfs, zipped(("ok", b"1"), (name, b"2")), message, limits=limits)
    refused(vfs, pax((b"path", name.encode())) + head({}) + END, message, limits=limits)


def test_a_name_with_nul_or_bytes_that_are_no_utf8(vfs: Rooted) -> None:
    refused(vfs, pax((b"path", b"a\0b")) + head({}) + END, "NUL")
    refused(vfs, entry(b"a\xff", b"2") + END, "not UTF-8", names="plain")
    refused(vfs, patched(zipped(("a_b", b"")), b"a_b", b"a\0b"), "NUL")
    refused(vfs, patched(zipped(("a_b", b"")), b"a_b", b"a\xffb"), "not UTF-8")
    refused(vfs, entry("l", kind=tarfile.SYMTYPE, target=os.fsdecode(b"\xff")) + END, "not UTF-8")


def test_a_name_given_twice(vfs: Rooted) -> None:
    folder = entry("a", kind=tarfile.DIRTYPE)
    for first, second in (
        (entry("a", b"1"), entry("./a", b"2")),
        (folder, folder),
        (folder, entry("a")),
        (entry("a/b"), entry("a")),
    ):
        refused(vfs, first + second + END, "in it twice")
    with pytest.warns(UserWarning, match="Duplicate"):
        refused(vfs, zipped(("a", b"1"), ("a", b"2")), "in it twice")
    import_archive(vfs, io.BytesIO(entry("a/b") + entry("a", kind=tarfile.DIRTYPE, mode=0o711) + END), "/in")
    assert vfs.stat("/in/a").mode == 0o711


def test_a_file_under_a_link_of_the_same_archive(vfs: Rooted, tmp_path: Path) -> None:
    link = entry("d", kind=tarfile.SYMTYPE, target=str(tmp_path))
    for links in ("any", "inside", "refuse"):
        refused(vfs, link + entry("d/x", b"2") + END, "outside" if links == "inside" else "d", links=links)
    refused(
        vfs, entry("d", kind=tarfile.SYMTYPE, target=".") + entry("d/x", b"2") + END, "lies in d, which it makes a link"
    )
    refused(vfs, link + entry("d", b"2") + END, "twice", links="any")
    refused(vfs, entry("d", b"1") + entry("d/x", b"2") + END, "lies in d, which it makes a file")
    assert sorted(os.listdir(tmp_path)) == ["root"]


def test_a_link_in_the_folder_that_is_imported_into_is_not_followed(vfs: Rooted, tmp_path: Path) -> None:
    vfs.mkdir("/in")
    vfs.symlink("/in/d", str(tmp_path))
    with pytest.raises(FileError, match="there already, or of another kind: d;"):
        import_archive(vfs, io.BytesIO(entry("d/x", b"2") + END), "/in")
    import_archive(vfs, io.BytesIO(entry("d", b"2") + END), "/in", replace=True)
    assert vfs.read("/in/d") == b"2"
    vfs.symlink("/link", str(tmp_path))
    with pytest.raises((FileError, AccessDenied)):
        import_archive(vfs, io.BytesIO(entry("x", b"2") + END), "/link")
    assert sorted(os.listdir(tmp_path)) == ["root"]


OUTSIDE = ["/etc", "..", "../x", "a/../../x", "d/..", "./..", "a/b/..", "../../x", "", "x" * 4096]


@pytest.mark.parametrize("target", OUTSIDE, ids=lambda target: target[:9] or "empty")
def test_a_link_that_leads_outside_or_might(vfs: Rooted, target: str) -> None:
    data = entry("d", kind=tarfile.SYMTYPE, target=target)
    refused(vfs, data + END, "the link d")
    refused(
        vfs, entry("d", kind=tarfile.SYMTYPE, target="a") + END, "symbolic link, and links are refused", links="refuse"
    )
    if 0 < len(target) < 4096:
        info = zipfile.ZipInfo("d")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        refused(vfs, zipped((info, target.encode())), "the link d")


def test_a_link_that_stays_inside_is_made_as_it_is(vfs: Rooted) -> None:
    data = b"".join(
        entry(name, kind=tarfile.SYMTYPE, target=to) for name, to in (("a", "b"), ("d/e/l", "../../x/y"), ("c", "./x"))
    )
    import_archive(vfs, io.BytesIO(data + END), "/in")
    assert {e.stat.target for e in vfs.walk("/in") if e.stat.target} == {"b", "./x", "../../x/y"}


def test_a_hard_link_to_anything_but_an_earlier_file(vfs: Rooted, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    for target in ("/etc/passwd", "../secret", "later", "folder", "link", "hard"):
        data = entry("folder", kind=tarfile.DIRTYPE) + entry("link", kind=tarfile.SYMTYPE, target="x")
        data += entry("hard", kind=tarfile.LNKTYPE, target=target) + entry("later", b"1") + END
        refused(vfs, data, "hard link to|absolute")
    data = entry("f", b"123", mode=0o4755) + entry("hard", kind=tarfile.LNKTYPE, target="./f", mode=0o4755) + END
    refused(vfs, data, "more than 5 bytes", error=LimitExceeded, limits=ArchiveLimits(size=5))
    assert import_archive(vfs, io.BytesIO(data), "/in").size == 6
    assert (vfs.read("/in/hard"), vfs.stat("/in/hard").mode, vfs.stat("/in/f").links) == (b"123", 0o755, 1)


@pytest.mark.parametrize("kind", [b"3", b"4", b"6", b"S", b"M", b"D", b"V", b"A", b"\xff"])
def test_what_is_no_file_folder_or_link(vfs: Rooted, kind: bytes) -> None:
    refused(vfs, head({156: kind}, "dev\x1b") + END, "is a (device|pipe|sparse|file's rest)|not taken")


@pytest.mark.parametrize("mode", [0o020666, 0o060666, 0o010666, 0o140666, 0o040755, 0o170000])
def test_a_zip_with_what_is_no_file_folder_or_link(vfs: Rooted, mode: int) -> None:
    info = zipfile.ZipInfo("dev")
    info.create_system, info.external_attr = 3, mode << 16
    refused(vfs, zipped((info, b"")), "no file, folder or link")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (head({124: b"-0000000001\0"}), "no number"),
        (head({124: b"00000000009\0"}), "no number"),
        (head({124: b"1\x002\0\0\0\0\0\0\0\0\0"}), "no number"),
        (head({124: b"\xff" * 12}), "negative"),
        (head({124: b"\x80" + b"\xff" * 11}), "beyond all files"),
        (head({124: b"\x80\0\0\0\xff" + b"\0" * 7}), "beyond all files"),
        (head({100: b"rwxrwxrw"}), "no number"),
        (head({257: b"ustar\099"}), "format"),
        (head({}, data=b"1", kind=b"5"), "folder with content"),
        (head({}, data=b"1", kind=b"1"), "hard link with content"),
        (head({}, "a/", data=b"1"), "folder with content"),
        (head({}, data=bytes(65537), kind=b"x"), "header of 65537 bytes"),
        (head({}, data=bytes(65537), kind=b"L"), "header of 65537 bytes"),
        (head({}, data=b"n" * 5000, kind=b"L") + head({}), "more than 4096"),
        (pax((b"path", b"n" * 5000)) + head({}), "more than 4096"),
        (pax((b"path", b"a")), "where a member was announced"),
        (pax((b"path", b"a")) + pax((b"path", b"b")) + head({}), "tell the same"),
        (pax((b"path", b"a")) + head({}, data=b"b\0", kind=b"L") + head({}), "tell the same"),
        (head({}, data=b"b\0", kind=b"L") * 2 + head({}), "tell the same"),
        (head({}, data=b"b\0", kind=b"K") * 2 + head({}), "tell the same"),
        (pax((b"path", b"a"), (b"path", b"b")) + head({}), "twice"),
        (pax((b"size", b"-1")) + head({}), "has the size"),
        (pax((b"size", b"9" * 30)) + head({}), "has the size"),
        (pax((b"size", b"1e3")) + head({}), "has the size"),
        (pax((b"GNU.sparse.major", b"1")) + head({}), "sparse"),
        (pax((b"hdrcharset", b"EBCDIC")) + head({}), "encoding"),
        (pax((b"path", b"a"), kind=b"g") + head({}), "for all members"),
        (pax(b"999 path=a\n") + head({}), "malformed"),
        (pax(b"0 path=a\n") + head({}), "malformed"),
        (pax(b"-9 path=a\n") + head({}), "malformed"),
        (pax(b"9 path=a_") + head({}), "malformed"),
        (pax(b"8 patha\n") + head({}), "malformed"),
        (pax(b"9999999999999999999999 a=b\n") + head({}), "malformed"),
        (pax(b"6 =ab\n") + head({}), "malformed"),
    ],
    ids=range(34),
)
def test_a_tar_header_that_lies(vfs: Rooted, data: bytes, message: str) -> None:
    refused(vfs, entry("ok", b"1") + data + END, message)


def test_a_checksum_that_is_wrong(vfs: Rooted) -> None:
    data = bytearray(entry("a", b"1") + END)
    data[0] ^= 1
    refused(vfs, bytes(data), "checksum")


def test_sizes_that_promise_more_than_there_is(vfs: Rooted) -> None:
    for size in (1 << 20, 1 << 62):
        data = head({124: b"\x80\0\0\0" + struct.pack(">Q", size)}) + END
        error = ArchiveError if size < 1 << 31 else LimitExceeded
        refused(vfs, data, r"cut off|limits\.file", error=error)
        refused(vfs, pax((b"size", b"%d" % size)) + head({}) + END, r"cut off|limits\.file", error=error)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_an_archive_that_is_cut_off_anywhere_or_goes_on(vfs: Rooted, pack: Any) -> None:
    noise = random.Random(1).randbytes(3000)  # noqa: S311 - data, not a secret
    data = pack(entry("a", noise) + entry("b", b"1") + END)
    for length in range(0, len(data) - 8, 97):
        refused(vfs, data[:length], "cut off|no tar")
    for more in (b"x", b"\x1f\x8b", bytes(40) + b"x", data):
        refused(vfs, data + more, "follows|damaged|cut off")
    assert import_archive(vfs, io.BytesIO(data), "/in").files == 2


def test_a_compressed_stream_with_a_wrong_byte(vfs: Rooted) -> None:
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        data = bytearray(pack(entry("a", bytes(3000)) + END))
        data[len(data) // 2] ^= 0xFF
        refused(vfs, bytes(data), "damaged|checksum|cut off|no number|format")


def test_xz_data_that_wants_much_memory_is_refused(vfs: Rooted) -> None:
    data = bytearray(lzma.compress(entry("a", b"1") + END))
    assert data[14:16] == b"\x21\1"  # the filter LZMA2 and the size of its properties: one byte, the dictionary's size
    data[16] = 40  # 4 GiB, the most there is
    end = 12 + data[12] * 4
    data[end : end + 4] = struct.pack("<I", zlib.crc32(data[12:end]))
    refused(vfs, bytes(data), "damaged.*[Mm]emory")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_in_a_tar(vfs: Rooted, pack: Any) -> None:
    data = pack(entry("zeros", bytes(18 << 20)) + END)
    assert len(data) < 100_000
    refused(vfs, data, "ratio", error=LimitExceeded)
    refused(vfs, data, r"limits\.file", error=LimitExceeded, limits=ArchiveLimits(file="8M"))
    refused(vfs, data, r"limits\.size", error=LimitExceeded, limits=ArchiveLimits(size="8M"))


def test_a_bomb_where_no_content_is(vfs: Rooted) -> None:
    refused(vfs, gzip.compress(END + bytes(18 << 20)), "ratio", error=LimitExceeded)
    refused(vfs, gzip.compress(entry("ok", b"1") + head({}, data=bytes(1 << 20), kind=b"x")), "header of")
    refused(vfs, gzip.compress(entry("ok", b"1") + head({}, data=bytes(1 << 20), kind=b"L")), "header of")


def test_a_stream_of_nothing_that_never_ends(vfs: Rooted) -> None:
    class Endless(io.RawIOBase):
        unit, at = gzip.compress(b"", mtime=0), 0

        def read(self, size: int = -1) -> bytes:
            begin = self.at % len(self.unit)
            self.at += size
            return (self.unit * (size // len(self.unit) + 2))[begin : begin + size]

    class Zeros(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    limits = ArchiveLimits(size=1, entries=1)
    for source in (Endless(), Zeros()):
        with pytest.raises(LimitExceeded, match=r"longer|streams"):
            import_archive(vfs, source, "/in", limits=limits)  # type: ignore[arg-type]


def test_too_many_members_too_deep_ones_and_what_they_imply(vfs: Rooted) -> None:
    ten = ArchiveLimits(entries=10)
    data = b"".join(entry(f"{n}") for n in range(11)) + END
    refused(vfs, data, "more than 10 names", error=LimitExceeded, limits=ten)
    refused(vfs, entry("/".join("abcdefghijkl")) + END, "more than 10 names", error=LimitExceeded, limits=ten)
    refused(vfs, entry("/".join("a" * 65)) + END, r"deeper than limits\.depth", error=LimitExceeded)
    import_archive(vfs, io.BytesIO(entry("/".join("a" * 64)) + END), "/in")


# -- zip -------------------------------------------------------------------------------------------------------------


def zipped(
    *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b""
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as opened:
        for name, data in members:
            opened.writestr(name, data)
        opened.comment = comment
    return out.getvalue()


def patched(data: bytes, old: bytes, new: bytes, *, only: int | None = None) -> bytes:
    """Overwrite every place where ``old`` is, or only the first or last one."""
    assert len(old) == len(new)
    assert old in data
    if only is None:
        return data.replace(old, new)
    at = data.find(old) if only == 0 else data.rfind(old)
    return data[:at] + new + data[at + len(old) :]


def field(data: bytes, record: bytes, offset: int, value: bytes, *, last: bool = True) -> bytes:
    """Overwrite a field of the last, or first, record of a kind."""
    at = (data.rfind(record) if last else data.find(record)) + offset
    return data[:at] + value + data[at + len(value) :]


ZIP = zipped(("a", b"1" * 1000), ("b", b"2" * 1000))
CENTRAL, LOCAL, FINISH = b"PK\1\2", b"PK\3\4", b"PK\5\6"


def test_the_control_of_the_zips_below_is_read(vfs: Rooted) -> None:
    import_archive(vfs, io.BytesIO(ZIP), "/in")
    assert vfs.read("/in/b") == b"2" * 1000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (field(ZIP, CENTRAL, 8, b"\1\0"), "encrypted"),
        (field(ZIP, CENTRAL, 9, b"\x20"), "encrypted"),
        (field(ZIP, CENTRAL, 10, b"\x0e\0"), "method 14"),
        (field(ZIP, CENTRAL, 34, b"\1\0"), "another file"),
        (field(ZIP, LOCAL, 8, b"\0\0"), "another one in its own head"),
        (field(ZIP, LOCAL, 6, b"\1\0"), "another one in its own head"),
        (field(ZIP, LOCAL, 14, b"\0\0\0\0"), "another one in its own head"),
        (field(ZIP, LOCAL, 18, b"\1\0\0\0"), "another one in its own head"),
        (field(ZIP, LOCAL, 22, b"\1\0\0\0"), "another one in its own head"),
        (field(ZIP, LOCAL, 30, b"c"), "another one in its own head"),
        (field(ZIP, LOCAL, 0, b"PK\3\5"), "not where"),
        (field(ZIP, CENTRAL, 42, b"\0\0\0\0"), "overlap|not where"),
        (field(ZIP, CENTRAL, 42, b"\1\0\0\0"), "overlap|not where"),
        (field(ZIP, CENTRAL, 42, b"\xff\xff\xff\x7f"), "outside"),
        (field(ZIP, CENTRAL, 42, b"\xff\xff\xff\xff"), "no size"),
        (field(ZIP, CENTRAL, 20, b"\xff\xff\xff\x7f"), "not where|overlap"),
        (field(field(ZIP, CENTRAL, 16, b"\0\0\0\0"), LOCAL, 14, b"\0\0\0\0"), "damaged"),
        (field(field(ZIP, CENTRAL, 24, b"\1\0\0\0"), LOCAL, 22, b"\1\0\0\0"), "damaged"),
        (field(field(ZIP, CENTRAL, 24, b"\xff\xff\0\0"), LOCAL, 22, b"\xff\xff\0\0"), "damaged"),
        (field(ZIP, CENTRAL, 0, b"PK\1\3"), "malformed"),
        (field(ZIP, CENTRAL, 28, b"\xff\xff"), "malformed"),
        (field(ZIP, CENTRAL, 30, b"\xff\xff"), "malformed"),
        (field(ZIP, FINISH, 4, b"\1\0"), "several files"),
        (field(ZIP, FINISH, 8, b"\1\0"), "several files"),
        (field(ZIP, FINISH, 8, b"\1\0\1\0"), "more than its members"),
        (field(ZIP, FINISH, 8, b"\3\0\3\0"), "not where the end says|not as long|cut off"),
        (field(ZIP, FINISH, 8, b"\0\0\0\0"), "more than its members"),
        (field(ZIP, FINISH, 12, b"\0\0\0\0"), "not where the end says"),
        (field(ZIP, FINISH, 16, b"\1\0\0\0"), "not where the end says"),
        (field(ZIP, FINISH, 16, b"\xff\xff\xff\xff"), "ZIP64"),
        (field(ZIP, FINISH, 20, b"\1\0"), "ambiguous"),
        (ZIP + b"x", "ambiguous"),
        (ZIP[:-1], "ambiguous|no directory"),
        (ZIP[:-22], "no directory"),
        (ZIP[:40], "no directory"),
        (b"PK\3\4", "no directory"),
        (zipped(("a", b""), comment=ZIP[-22:]), "ambiguous"),
        (ZIP[: ZIP.find(CENTRAL)] + b"hidden" + ZIP[ZIP.find(CENTRAL) :], "not where the end says"),
        (zipped(("d/", b"x")), "folder with content"),
    ],
    ids=range(39),
)
def test_a_zip_that_lies(vfs: Rooted, data: bytes, message: str) -> None:
    refused(vfs, data, message)


def test_a_zip_that_hides_something_between_its_members(vfs: Rooted) -> None:
    begin, central = ZIP.rfind(LOCAL), ZIP.find(CENTRAL)
    for at, moved in ((begin, True), (central, False), (0, True)):
        data = ZIP[:at] + b"hidden" + ZIP[at:]
        data = field(data, FINISH, 16, struct.pack("<I", central + 6))
        if moved:
            data = field(data, CENTRAL, 42, struct.pack("<I", begin + 6))
        if at == 0:
            data = field(data, CENTRAL, 42, struct.pack("<I", 6), last=False)
            data = data[6:12] + data[6:]  # so that it still begins as a zip
        refused(vfs, data, "hid|overlap|not where|precedes|damaged|no tar|cut off")


def in_64_bits(data: bytes, *, entries: int = 2, record: int = 44, offset: int = 0, disks: int = 1) -> bytes:
    """Tell the end of ``ZIP`` in 64 bits."""
    begin, end = data.find(CENTRAL), data.rfind(FINISH)
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", record, 45, 45, 0, 0, entries, entries, end - begin, begin)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end + offset, disks)
    return data[:end] + wide + locator + field(data[end:], FINISH, 8, b"\xff" * 12)


def test_the_end_of_a_zip_in_64_bits(vfs: Rooted) -> None:
    refused(vfs, in_64_bits(ZIP, entries=1 << 60), "not where the end says")
    refused(vfs, in_64_bits(ZIP, record=45), "malformed")
    refused(vfs, in_64_bits(ZIP, offset=1), "not where it must be")
    refused(vfs, in_64_bits(ZIP, offset=1 << 63), "not where it must be")
    data = in_64_bits(ZIP)
    refused(vfs, field(data, b"PK\6\6", 48, b"\xff" * 8), "not where the end says")
    refused(vfs, field(data, b"PK\6\7", 0, b"PK\7\7"), "not where it must be")
    refused(vfs, data[-22:], "no tar|missing|cut off")
    import_archive(vfs, io.BytesIO(data), "/in")
    assert vfs.read("/in/b") == b"2" * 1000


def test_a_zip_whose_members_share_their_data(vfs: Rooted) -> None:
    """Fifield's bomb (2019): many names for one kernel of data, each member's head quoted by the one before."""
    kernel = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = kernel.compress(bytes(1 << 20)) + kernel.flush()
    crc = zlib.crc32(bytes(1 << 20))
    local = struct.pack("<4sHHHHHIIIHH", LOCAL, 20, 0, 8, 0, 0, crc, len(data), 1 << 20, 1, 0)
    body = local + b"a" + data
    names = [b"a", b"b", b"c"]
    central = b"".join(
        struct.pack("<4sHHHHHHIIIHHHHHII", CENTRAL, 20, 20, 0, 8, 0, 0, crc, len(data), 1 << 20, 1, 0, 0, 0, 0, 0, 0)
        + name
        for name in names
    )
    end = struct.pack("<4sHHHHIIH", FINISH, 0, 0, len(names), len(names), len(central), len(body), 0)
    refused(vfs, body + central + end, "overlap|not where")


def handmade(
    packed: bytes,
    size: int,
    crc: int,
    *,
    flags: int = 0,
    behind: bytes = b"",
    extra: bytes = b"",
    told: int | None = None,
    method: int = 8,
    before: bytes = b"",
    members: int = 1,
) -> bytes:
    """Give a zip of one member, byte by byte; ``told`` is its packed size where that is not so."""
    length = len(packed) if told is None else told
    same = (20, flags, method, 0, 0, crc, length, size, 1)
    local = struct.pack("<4sHHHHHIIIHH", LOCAL, *same, 0) + b"a" + packed + behind
    central = struct.pack("<4sHHHHHHIIIHHHHHII", CENTRAL, 20, *same, len(extra), 0, 0, 0, 0, len(before))
    body, directory = before + local, (central + b"a" + extra) * members
    return body + directory + struct.pack("<4sHHHHIIH", FINISH, 0, 0, members, members, len(directory), len(body), 0)


PACKED = zlib.compress(b"x" * 100, wbits=-15)
CRC = zlib.crc32(b"x" * 100)
WIDE = struct.pack("<HHQ", 1, 8, len(PACKED))
FOLLOWS = struct.pack("<4sIII", b"PK\7\b", CRC, len(PACKED), 100)


def test_the_controls_of_handmade_zips_are_read(vfs: Rooted) -> None:
    import_archive(vfs, io.BytesIO(handmade(PACKED, 100, CRC)), "/plain")
    import_archive(vfs, io.BytesIO(handmade(PACKED, 100, CRC, flags=8, behind=FOLLOWS)), "/follows")
    import_archive(vfs, io.BytesIO(handmade(PACKED, 100, CRC, flags=8, behind=FOLLOWS[4:])), "/bare")
    import_archive(vfs, io.BytesIO(handmade(PACKED, 100, CRC, extra=struct.pack("<HHI", 7, 4, 1))), "/extra")
    assert {vfs.read(f"/{name}/a") for name in ("plain", "follows", "bare", "extra")} == {b"x" * 100}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (handmade(b"\xff" * 8, 100, CRC), "damaged"),
        (handmade(PACKED[:-1], 100, CRC), "ends too soon"),
        (handmade(PACKED + b"hidden", 100, CRC), "hidden behind the data"),
        (handmade(PACKED, 99, CRC), "damaged"),
        (handmade(PACKED, 101, CRC), "damaged"),
        (handmade(PACKED, 100, CRC ^ 1), "damaged"),
        (handmade(b"x" * 100, 99, CRC, method=0), "damaged"),
        (handmade(PACKED, 100, CRC, behind=b"hidden"), "hidden behind"),
        (handmade(PACKED, 100, CRC, behind=FOLLOWS), "hidden behind"),
        (handmade(PACKED, 100, CRC, flags=8, behind=FOLLOWS[:-1] + b"\1"), "hidden behind"),
        (handmade(PACKED, 100, CRC, flags=8, behind=FOLLOWS + b"\0"), "hidden behind"),
        (handmade(PACKED, 100, CRC, told=1 << 31), "not where|overlaps"),
        (handmade(PACKED, 100, CRC, told=0xFFFFFFFF), "no size"),
        (handmade(PACKED, 100, CRC, told=0xFFFFFFFF, extra=WIDE[:6]), "malformed extra"),
        (handmade(PACKED, 100, CRC, told=0xFFFFFFFF, extra=struct.pack("<HHI", 1, 4, 5)), "no size"),
        (handmade(PACKED, 100, CRC, told=0xFFFFFFFF, extra=WIDE), "no size"),  # the head has no such field
        (handmade(PACKED, 100, CRC, told=0xFFFFFFFF, extra=struct.pack("<HHQ", 1, 8, 1 << 63)), "not where|no size"),
        (handmade(PACKED, 100, CRC, before=b"PK\3\4"), "hides something before it"),
        (handmade(PACKED, 100, CRC, members=0), "no member precedes"),
    ],
    ids=range(19),
)
def test_a_zip_that_lies_about_its_data(vfs: Rooted, data: bytes, message: str) -> None:
    refused(vfs, data, message)


def test_a_zip_that_is_a_bomb(vfs: Rooted) -> None:
    data = zipped(("zeros", bytes(18 << 20)))
    assert len(data) < 100_000
    refused(vfs, data, "ratio", error=LimitExceeded)
    refused(vfs, data, r"limits\.file", error=LimitExceeded, limits=ArchiveLimits(file="8M"))
    refused(vfs, data, r"limits\.size", error=LimitExceeded, limits=ArchiveLimits(size="8M"))
    refused(
        vfs,
        zipped(*((f"{n}", b"") for n in range(11))),
        "11 members",
        error=LimitExceeded,
        limits=ArchiveLimits(entries=10),
    )


def test_a_zip_stream_that_is_too_long_is_not_kept(vfs: Rooted) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(LimitExceeded, match="longer"):
        import_archive(vfs, Pipe(zipped(("a", os.urandom(5000)))), "/in", limits=ArchiveLimits(size=4000))


def test_a_zip_link_with_a_text_of_any_length(vfs: Rooted) -> None:
    info = zipfile.ZipInfo("l")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    refused(vfs, zipped((info, b"x" * 5000)), "text of 5000 bytes")


# -- any bytes -------------------------------------------------------------------------------------------------------

SEEDS = [
    entry("a/b", b"12345", mode=0o4755)
    + entry("l", kind=tarfile.SYMTYPE, target="a/b")
    + pax((b"path", b"p"))
    + head({})
    + END,
    gzip.compress(entry("a", bytes(600)) + END),
    bz2.compress(entry("a", bytes(600)) + END),
    lzma.compress(entry("a", bytes(600)) + END),
    ZIP,
    zipped(("d/", b""), ("d/x", b"1" * 100), method=zipfile.ZIP_STORED),
]
LIMITS = ArchiveLimits(size=4000, file=3000, entries=20)
EDIT = st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=8))


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """Give an archive with some bytes overwritten, in a tar with the checksums right again."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for at, new in draw(st.lists(EDIT, max_size=4)):
        data[at % len(data) : at % len(data) + len(new)] = new
    if draw(st.booleans()):
        for at in range(0, len(data) - 511, 512):
            if data[at + 257 : at + 262] == b"ustar":
                data[at + 148 : at + 156] = b" " * 8
                data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@given(st.binary(max_size=2000) | mutants() | mutants().map(lambda data: gzip.compress(data, 1)))
def test_any_bytes_end_in_a_typed_error_or_in_files_within_bounds(data: bytes) -> None:
    with TemporaryDirectory() as outside:
        os.mkdir(f"{outside}/root")
        vfs = Rooted(f"{outside}/root")
        try:
            told = import_archive(vfs, io.BytesIO(data), "/in", limits=LIMITS)
        except (ArchiveError, LimitExceeded):
            assert vfs.list("/") == [] or vfs.list("/in") == []
        else:
            made = [entry.stat for entry in vfs.walk("/in")]
            assert sum(stat.size for stat in made if stat.kind == "file") == told.size <= 4000
            assert len(made) == told.files + told.folders + told.links <= 20
            assert all(stat.mode <= 0o777 for stat in made)
        assert os.listdir(outside) == ["root"]
        assert set(os.listdir(f"{outside}/root")) <= {"in"}
