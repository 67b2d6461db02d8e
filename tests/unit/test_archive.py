"""Archives that are what they say: out, in, and the same again."""
# ruff: noqa: ANN401 - options and trees are of many types

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche import ArchiveError, FileError, LimitExceeded, NotFound, SpecError
from cloche.files.archive import import_archive
from cloche.files.archive_export import export_archive
from cloche.files.archive_stream import ArchiveLimits
from cloche.files.archive_write import Format
from cloche.files.tree import diff, snapshot
from tests.unit.rooted import Rooted

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

FORMATS = get_args(Format)


@pytest.fixture
def vfs(tmp_path: Path) -> Rooted:
    root = tmp_path / "root"
    (root / "w" / "src" / "empty").mkdir(parents=True)
    (root / "w" / "src" / "main.py").write_bytes(b"print(42)\n" * 40_000)
    (root / "w" / "run").write_bytes(b"#!/bin/sh\n")
    (root / "w" / "run").chmod(0o4755)
    (root / "w" / "ü\n" / ("n" * 90)).mkdir(parents=True)
    (root / "w" / "ü\n" / ("n" * 90) / "f").write_bytes(b"")
    (root / "w" / "src" / "link").symlink_to("../run")
    return Rooted(str(root))


def packed(vfs: Rooted, path: str = "/w", **options: Any) -> io.BytesIO:
    target = io.BytesIO()
    export_archive(vfs, path, target, **options)
    target.seek(0)
    return target


def differs(vfs: Rooted, one: str, two: str) -> str:
    return str(diff(snapshot(vfs, one, content=True), snapshot(vfs, two, content=True)))


class Pipe:
    """A stream that can't be sought in and gives little at a time."""

    def __init__(self, data: bytes) -> None:
        self._inner = io.BytesIO(data)

    def read(self, size: int) -> bytes:
        return self._inner.read(min(size, 1000))

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("how", FORMATS)
def test_what_goes_out_and_in_again_is_the_same(vfs: Rooted, how: Format) -> None:
    archive = packed(vfs, format=how)
    told = import_archive(vfs, archive, "/copy")
    assert (told.files, told.folders, told.links, told.size) == (3, 4, 1, 400_010)
    assert differs(vfs, "/w", "/copy") == "M  run (mode 4755 -> 755)"
    assert [entry.name for entry in vfs.list("/")] == ["copy", "w"]
    assert import_archive(vfs, Pipe(archive.getvalue()), "/piped") == told  # type: ignore[arg-type]
    assert differs(vfs, "/copy", "/piped") == ""


@pytest.mark.parametrize("how", FORMATS)
def test_others_read_what_goes_out(vfs: Rooted, how: Format) -> None:
    archive = packed(vfs, format=how)
    if how == "zip":
        with zipfile.ZipFile(archive) as opened:
            assert opened.testzip() is None
            names = [name.rstrip("/") for name in opened.namelist()]
            assert opened.read("src/link") == b"../run"
    else:
        with tarfile.open(fileobj=archive) as tar:
            names = tar.getnames()
            assert tar.getmember("src/link").linkname == "../run"
            assert tar.getmember("run").mode == 0o755
    assert names == list(snapshot(vfs, "/w").entries)


@pytest.mark.parametrize("how", FORMATS)
def test_equal_trees_give_equal_archives_where_times_are_fixed(vfs: Rooted, how: Format) -> None:
    import_archive(vfs, packed(vfs), "/copy")
    one, two = (packed(vfs, path, format=how, modified=0).getvalue() for path in ("/w", "/copy"))
    assert one == two
    os.utime(os.path.join(vfs.root, "w", "run"), (1_000_000_000, 1_000_000_000))
    assert packed(vfs, "/w", format=how).getvalue() != packed(vfs, "/copy", format=how).getvalue()


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress, gzip.compress, bytes])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_tars_of_others_are_read(vfs: Rooted, pack: Any, form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        tar.add(os.path.join(vfs.root, "w"), ".")
        tar.add(os.path.join(vfs.root, "w", "run"), "again/" + "d" * 60 + "/" + "e" * 60)
    import_archive(vfs, io.BytesIO(pack(out.getvalue())), "/copy")
    assert differs(vfs, "/w", "/copy").splitlines() == [
        "A  again/",
        f"A  again/{'d' * 60}/",
        f"A  again/{'d' * 60}/{'e' * 60}",
        "M  run (mode 4755 -> 755)",
    ]


def test_compressed_streams_one_after_the_other_are_one(vfs: Rooted) -> None:
    data = packed(vfs).getvalue()
    halves = gzip.compress(data[:5000]) + gzip.compress(data[5000:])
    import_archive(vfs, io.BytesIO(halves), "/copy")
    assert differs(vfs, "/w", "/copy") == "M  run (mode 4755 -> 755)"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zips_of_others_are_read(vfs: Rooted, method: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as opened:
        opened.writestr("a/b.txt", b"hello " * 1000)
        opened.mkdir("c")
        opened.comment = b"a comment"
    out.seek(0)
    told = import_archive(vfs, out, "/copy")
    assert (told.files, told.folders, told.size) == (1, 2, 6000)
    assert vfs.read("/copy/a/b.txt") == b"hello " * 1000
    assert vfs.stat("/copy/a/b.txt").mode == 0o600


def test_a_zip_that_tells_its_sizes_in_64_bits_is_read(vfs: Rooted) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened, opened.open("a", "w", force_zip64=True) as file:
        file.write(b"abc")
    out.seek(0)
    import_archive(vfs, out, "/copy")
    assert vfs.read("/copy/a") == b"abc"


def test_an_archive_that_stands_behind_other_data_is_read_from_where_the_source_is(vfs: Rooted) -> None:
    for how in FORMATS:
        source = io.BytesIO(b"before" + packed(vfs, format=how).getvalue())
        source.seek(6)
        assert import_archive(vfs, source, f"/{how}").files == 3


def test_a_host_path_is_read_and_is_written_whole_or_not_at_all(vfs: Rooted, tmp_path: Path) -> None:
    target = tmp_path / "out.tar"
    target.write_bytes(b"old")
    with pytest.raises(LimitExceeded):
        export_archive(vfs, "/w", target, limits=ArchiveLimits(entries=3))
    assert target.read_bytes() == b"old"
    told = export_archive(vfs, "/w", str(target))
    assert import_archive(vfs, target, "/copy") == told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tar", "root"]


def test_what_is_there_is_merged_with_and_never_replaced_unless_asked(vfs: Rooted) -> None:
    archive = packed(vfs)
    vfs.mkdir("/into/src", parents=True)
    vfs.write("/into/src/mine", b"mine")
    import_archive(vfs, archive, "/into")
    assert differs(vfs, "/w", "/into") == "M  run (mode 4755 -> 755)\nA  src/mine"
    before = snapshot(vfs, "/into", content=True)
    archive.seek(0)
    with pytest.raises(FileError, match=r"there already.*run, src/link.*nothing was changed"):
        import_archive(vfs, archive, "/into")
    assert not diff(before, snapshot(vfs, "/into", content=True))
    vfs.write("/into/run", b"other")
    archive.seek(0)
    import_archive(vfs, archive, "/into", replace=True)
    assert not diff(before, snapshot(vfs, "/into", content=True))
    vfs.remove("/into/run")
    vfs.mkdir("/into/run")
    archive.seek(0)
    with pytest.raises(FileError, match="of another kind: run;"):
        import_archive(vfs, archive, "/into", replace=True)


def test_an_import_that_fails_half_way_into_place_is_undone(vfs: Rooted) -> None:
    class Full(Rooted):
        moves = 0

        def move(self, source: str, target: str, *, replace: bool = True) -> None:
            if target.endswith("src"):
                raise FileError("no space left")
            self.moves += 1
            super().move(source, target, replace=replace)

    vfs.mkdir("/into")
    vfs.write("/into/run", b"old")
    before = snapshot(vfs, "/into", content=True)
    full = Full(vfs.root)
    with pytest.raises(FileError, match="no space left") as caught:
        import_archive(full, packed(vfs), "/into", replace=True)
    assert full.moves > 2
    assert not hasattr(caught.value, "__notes__")
    assert not diff(before, snapshot(vfs, "/into", content=True))


def test_what_can_not_be_undone_is_told(vfs: Rooted) -> None:
    class Stuck(Rooted):
        def remove(self, path: str, *, recursive: bool = False) -> None:
            raise FileError(f"{path}: busy ({recursive})")

    with pytest.raises(ArchiveError) as caught:
        import_archive(Stuck(vfs.root), io.BytesIO(packed(vfs).getvalue()[:-1]), "/into")
    (note,) = caught.value.__notes__
    assert note.startswith("not undone: /into/.cloche-import-")


def test_pipes_and_sockets_are_left_out_and_named(vfs: Rooted) -> None:
    os.mkfifo(os.path.join(vfs.root, "w", "src", "pipe"))
    told = export_archive(vfs, "/w", io.BytesIO())
    assert told.skipped == ("src/pipe",)
    assert told.files == 3


def test_a_tree_that_changes_while_it_is_packed(vfs: Rooted) -> None:
    class Moving(Rooted):
        def open(self, path: str, mode: Any = "r", *, permissions: int = 0o644) -> Any:
            real = self.real(path)
            if path == "/w/run":
                os.unlink(real)
            elif path == "/w/src/main.py" and not os.path.islink(real):
                os.unlink(real)
                os.symlink("/etc/passwd", real)
            return super().open(path, mode, permissions=permissions)

    told = export_archive(Moving(vfs.root), "/w", out := io.BytesIO())
    assert told.files == 1
    assert b"root:" not in out.getvalue()

    class Resized:
        """A file that was longer, or shorter, when it was asked."""

        def __init__(self, inner: Any, by: int) -> None:
            self.read, self.by, self.inner = inner.read, by, inner

        def seek(self, offset: int, whence: int = 0) -> int:
            return int(self.inner.seek(offset, whence)) + (self.by if whence else 0)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self.inner.close()

    class Resizing(Rooted):
        by = 1

        def open(self, path: str, mode: Any = "r", *, permissions: int = 0o644) -> Any:
            file = super().open(path, mode, permissions=permissions)
            return Resized(file, self.by)

    vfs.remove("/w", recursive=True)
    vfs.mkdir("/w")
    vfs.write("/w/log", b"0123456789")
    with pytest.raises(FileError, match="shrank"):
        export_archive(Resizing(vfs.root), "/w", io.BytesIO())
    growing = Resizing(vfs.root)
    growing.by = -4
    export_archive(growing, "/w", out := io.BytesIO())
    out.seek(0)
    import_archive(vfs, out, "/copy")
    assert vfs.read("/copy/log") == b"012345"


def test_a_broken_export_never_looks_whole(vfs: Rooted) -> None:
    vfs.write("/w/" + os.fsdecode(b"z\xff"), b"")
    out = io.BytesIO()
    with pytest.raises(FileError, match=r'"z\\xff" can\'t be named in a zip'):
        export_archive(vfs, "/w", out, format="zip")
    assert not zipfile.is_zipfile(out)
    for how in FORMATS:
        out = io.BytesIO()
        with pytest.raises(LimitExceeded):
            export_archive(vfs, "/w", out, format=how, limits=ArchiveLimits(file=1000))
        out.seek(0)
        with pytest.raises(ArchiveError):
            import_archive(vfs, out, "/copy")
        assert vfs.list("/copy") == []


def test_names_that_are_no_utf8_go_out_and_come_in_when_asked(vfs: Rooted) -> None:
    name = os.fsdecode(b"z\xff\\")
    vfs.write(f"/w/{name}", b"1")
    vfs.symlink("/w/abs", "/etc/passwd")
    archive = packed(vfs)
    with pytest.raises(ArchiveError, match="absolute"):
        import_archive(vfs, archive, "/copy")
    archive.seek(0)
    with pytest.raises(ArchiveError, match="not UTF-8"):
        import_archive(vfs, archive, "/copy", links="any")
    archive.seek(0)
    import_archive(vfs, archive, "/copy", links="any", names="any")
    assert differs(vfs, "/w", "/copy") == "M  run (mode 4755 -> 755)"
    assert vfs.stat("/copy/abs").target == "/etc/passwd"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "w"}, "absolute"),
        ({"links": "all"}, "'inside', 'any', 'refuse'"),
        ({"names": 3}, "'plain', 'any'"),
    ],
)
def test_an_import_that_makes_no_sense_is_refused(vfs: Rooted, options: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        import_archive(vfs, packed(vfs), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"format": "rar"}, "tar, tar.gz, zip"), ({"modified": -1}, "seconds"), ({"modified": 1.5}, "s")],
)
def test_an_export_that_makes_no_sense_is_refused(vfs: Rooted, options: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        export_archive(vfs, "/w", io.BytesIO(), **options)
    with pytest.raises(NotFound):
        export_archive(vfs, "/missing", io.BytesIO())


@pytest.mark.parametrize("bad", [{"size": 0}, {"file": "x"}, {"entries": 0}, {"ratio": 0}, {"depth": 1001}])
def test_absurd_limits_are_refused(bad: Any) -> None:
    with pytest.raises(SpecError, match=next(iter(bad))):
        ArchiveLimits(**bad)


def test_a_source_or_target_that_keeps_no_word_is_refused(vfs: Rooted) -> None:
    class Liar:
        def read(self, size: int) -> Any:
            return "x" * size

        def write(self, _data: bytes) -> Any:
            return None

    with pytest.raises(SpecError, match="not str"):
        import_archive(vfs, Liar(), "/copy")  # type: ignore[arg-type]
    with pytest.raises(FileError, match="None taken"):
        export_archive(vfs, "/w", Liar())


PART = st.text("abcü \n\x1b", min_size=1, max_size=3).filter(lambda name: name not in {".", ".."})
TREES = st.recursive(
    st.binary(max_size=2000) | st.tuples(st.just("link"), PART),
    lambda below: st.dictionaries(PART, below, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict))


def grow(vfs: Rooted, path: str, tree: Any) -> None:
    if isinstance(tree, bytes):
        vfs.write(path, tree, permissions=0o600 | len(tree) & 0o77)
    elif isinstance(tree, tuple):
        vfs.symlink(path, tree[1])
    else:
        vfs.mkdir(path)
        for name, below in tree.items():
            grow(vfs, f"{path}/{name}", below)


@settings(max_examples=25)
@given(TREES, st.sampled_from(FORMATS))
def test_any_tree_comes_back_as_it_went_out(tree: Any, how: Format) -> None:
    with TemporaryDirectory() as root:
        vfs = Rooted(root)
        grow(vfs, "/w", tree)
        import_archive(vfs, packed(vfs, format=how), "/copy")
        assert differs(vfs, "/w", "/copy") == ""
