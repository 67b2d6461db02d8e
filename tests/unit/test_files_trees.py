"""Snapshots and archives of a box's files, through its rules and the real folder beneath."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cloche import AccessDenied, ArchiveError, ArchiveLimits, LimitExceeded, TreeLimits
from cloche.files.access import Access, PathPermissions
from cloche.files.api import Files
from cloche.files.asynchronous import AsyncFiles
from cloche.files.reach import Reach
from cloche.runtime_parts import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloche import Spec


def tar(*names: str) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name in names:
            made.addfile(tarfile.TarInfo(name))
    out.seek(0)
    return out


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def files_of(tmp_path: Path, make_spec: Callable[..., Spec]) -> Iterator[Callable[..., Files]]:
    """Give the files of a box whose work folder is ``root``."""
    (tmp_path / "root").mkdir()
    fd = os.open(tmp_path / "root", os.O_PATH)
    made: list[Reach] = []

    def make(*, writable: bool = True, paths: PathPermissions | None = None) -> Files:
        access = None if paths is None else Access.of(replace(make_spec(), paths=paths))
        tree = Tree("/workspace", fd, writable=writable)
        made.append(Reach("abc", "/workspace", lambda: [tree], access))
        return Files(made[-1])

    yield make
    for reach in made:
        reach.close()
    os.close(fd)


def test_a_box_is_looked_at_packed_and_filled_by_paths_as_it_sees_them(files_of: Callable[..., Files]) -> None:
    files = files_of()
    assert files.import_archive(tar("src/b", "src/a", "c"), "new/er").files == 3
    before = files.snapshot()
    assert list(before.entries) == ["new", "new/er", "new/er/c", "new/er/src", "new/er/src/a", "new/er/src/b"]
    assert not files.diff(before)
    files.write("new/er/c", b"2")
    files.move("new/er/src", "src")
    assert str(files.diff(before)).splitlines() == ["M  new/er/c (content)", "R  new/er/src -> src/"]
    assert not files.diff(before, before)
    target = io.BytesIO()
    assert files.export_archive("/workspace", target, format="tar.gz", modified=0).files == 3
    target.seek(0)
    files.import_archive(target, "/workspace/copy")
    assert files.read("copy/new/er/c") == b"2"
    assert not files.diff(files.snapshot("new", content=True), files.snapshot("copy/new", content=True))


def test_equal_trees_give_equal_archives_whatever_order_their_names_are_in(files_of: Callable[..., Files]) -> None:
    files = files_of()
    names = [f"{number * 7919 % 1000}" for number in range(200)]
    files.import_archive(tar(*names), "one")
    files.import_archive(tar(*sorted(names)), "two")
    one, two = io.BytesIO(), io.BytesIO()
    files.export_archive("one", one, modified=0)
    files.export_archive("two", two, modified=0)
    assert one.getvalue() == two.getvalue()


def test_the_rules_of_the_box_hold_for_archives_and_snapshots(files_of: Callable[..., Files]) -> None:
    paths = PathPermissions(forbidden=("/workspace/**/secret",), read_only=("/workspace/kept",))
    files = files_of(paths=paths)
    for name in ("secret", "a/secret/b", "kept/x"):
        with pytest.raises(AccessDenied, match=name.split("/", maxsplit=1)[0]):
            files.import_archive(tar("ok", name))
        assert files.list() == []
    files.import_archive(tar("ok", "a/b"))
    with pytest.raises(AccessDenied):
        files.import_archive(tar("x"), "secret")
    plain = files_of()
    plain.write("secret", b"s")
    assert list(files.snapshot(content=True).entries) == ["a", "a/b", "ok"]
    files.export_archive(".", out := io.BytesIO())
    assert b"secret" not in out.getvalue()
    files.import_archive(tar("ok"), replace=True)
    with pytest.raises(AccessDenied):
        files.snapshot("secret")


def test_what_is_mounted_read_only_gets_no_archive(files_of: Callable[..., Files], tmp_path: Path) -> None:
    files = files_of(writable=False)
    with pytest.raises(AccessDenied, match="read-only"):
        files.import_archive(tar("a"))
    with pytest.raises(AccessDenied, match="read-only"):
        files.import_archive(tar("a"), "new")
    assert os.listdir(tmp_path / "root") == []
    assert len(files.snapshot()) == 0


def test_limits_are_taken_as_given(files_of: Callable[..., Files]) -> None:
    files = files_of()
    with pytest.raises(LimitExceeded):
        files.import_archive(tar("a", "b"), limits=ArchiveLimits(entries=1))
    files.import_archive(tar("a", "b"))
    with pytest.raises(LimitExceeded):
        files.export_archive(".", io.BytesIO(), limits=ArchiveLimits(entries=1))
    with pytest.raises(LimitExceeded):
        files.snapshot(limits=TreeLimits(entries=1))
    before = files.snapshot(limits=TreeLimits(entries=2))
    files.write("c", b"")
    with pytest.raises(LimitExceeded):
        files.diff(before)


def test_links_and_modes_in_the_real_folder(files_of: Callable[..., Files], tmp_path: Path) -> None:
    files = files_of()
    os.symlink(tmp_path, tmp_path / "root" / "out")
    link = tarfile.TarInfo("l")
    link.type, link.linkname = tarfile.SYMTYPE, "../x"
    with pytest.raises(ArchiveError, match="leads outside"):
        files.import_archive(io.BytesIO(link.tobuf() + bytes(1024)))
    with pytest.raises(Exception, match="out") as caught:
        files.import_archive(tar("out/x"))
    assert type(caught.value).__module__ == "cloche.errors"
    assert sorted(os.listdir(tmp_path)) == ["root"]
    closed = tarfile.TarInfo("closed")
    closed.type, closed.mode = tarfile.DIRTYPE, 0o500
    files.import_archive(io.BytesIO(closed.tobuf() + tarfile.TarInfo("closed/in").tobuf() + bytes(1024)))
    assert files.stat("closed").mode == 0o500
    assert files.stat("closed/in").size == 0


@pytest.mark.anyio
async def test_the_asynchronous_face_does_the_same(files_of: Callable[..., Files]) -> None:
    files = AsyncFiles(files_of())
    await files.import_archive(tar("a"), "in")
    before = await files.snapshot()
    await files.write("in/a", b"1")
    assert str(await files.diff(before)) == "M  in/a (content)"
    told = await files.export_archive("in", out := io.BytesIO(), format="zip")
    assert (told.files, out.getvalue()[:2]) == (1, b"PK")
