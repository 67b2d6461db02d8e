"""Snapshots and archives are the same over every bundled file system."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from cloche import ArchiveLimits, FileError, LimitExceeded, Vfs, VfsOptions
from cloche.files.archive import import_archive
from cloche.files.archive_export import export_archive
from cloche.files.tree import diff, snapshot
from cloche_vfs import cloche_vfs_backends

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BACKENDS = {backend.name: backend for backend in cloche_vfs_backends()}


@pytest.fixture(params=BACKENDS)
def vfs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Vfs]:
    backend = BACKENDS[request.param]
    if (reason := backend.unavailable()) is not None:
        pytest.skip(reason)
    with backend.open(VfsOptions(path=str(tmp_path)) if backend.name == "directory" else VfsOptions()) as vfs:
        yield vfs


@pytest.fixture
def tree(vfs: Vfs) -> Vfs:
    vfs.mkdir("/w/src", parents=True)
    vfs.write("/w/src/a", b"one" * 1000, permissions=0o600)
    vfs.write("/w/ü\n", b"")
    vfs.symlink("/w/src/link", "../ü\n")
    return vfs


def test_a_tree_goes_out_and_comes_in_as_it_was(tree: Vfs) -> None:
    for how in ("tar", "tar.gz", "zip"):
        told = export_archive(tree, "/w", out := io.BytesIO(), format=how)
        out.seek(0)
        assert import_archive(tree, out, f"/{how}") == told
        assert not diff(snapshot(tree, "/w", content=True), snapshot(tree, f"/{how}", content=True))


def test_archives_over_different_file_systems_are_the_same(tree: Vfs) -> None:
    export_archive(tree, "/w", out := io.BytesIO(), modified=0)
    other = BACKENDS["memory"].open(VfsOptions())
    out.seek(0)
    import_archive(other, out, "/w")
    export_archive(other, "/w", again := io.BytesIO(), modified=0)
    assert again.getvalue() == out.getvalue()


def test_changes_are_seen(tree: Vfs) -> None:
    before = snapshot(tree, "/w")
    assert not diff(before, snapshot(tree, "/w"))
    tree.append("/w/src/a", b"two")
    tree.chmod("/w/ü\n", 0o640)
    tree.move("/w/src", "/w/lib")
    assert str(diff(before, snapshot(tree, "/w"))).splitlines() == [
        "R  src -> lib/", "A  lib/a", "D  src/a", 'M  "ü\\n" (touched, mode 644 -> 640)',
    ]  # fmt: skip


def test_what_fails_leaves_nothing(tree: Vfs) -> None:
    export_archive(tree, "/w", out := io.BytesIO())
    before = snapshot(tree, "/", content=True)
    for error, options in ((LimitExceeded, ArchiveLimits(size=10)), (FileError, ArchiveLimits())):
        out.seek(0)
        with pytest.raises(error):
            import_archive(tree, out, "/w", limits=options)
        assert not diff(before, snapshot(tree, "/", content=True))
