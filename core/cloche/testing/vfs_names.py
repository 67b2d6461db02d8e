"""What every file system must do with names, links and permissions: a part of ``VfsConformance``."""

from __future__ import annotations

import stat
from collections.abc import Callable

import pytest

import cloche
from cloche import FileError, SpecError, Vfs

BAD_PATHS = [
    "", "relative", "./a", "/..", "/a/../b", "/.", "//", "/a//b", "/a/", "/a\0b", "/\ud800", "/" + "x/" * 40_000 + "x",
    "/" + "x" * 300, 5, None, b"/a",
]  # fmt: skip


class NameTests:
    """Tests that take a fixture ``vfs``, an empty file system."""

    # -- names ------------------------------------------------------------------------------------------------------

    def test_moving(self, vfs: Vfs) -> None:
        vfs.mkdir("/a/b", parents=True)
        vfs.write("/a/b/file", b"1")
        vfs.move("/a/b", "/c")
        assert (vfs.read("/c/file"), vfs.list("/a")) == (b"1", [])
        vfs.write("/other", b"2")
        with pytest.raises(FileError, match="there already"):
            vfs.move("/other", "/c/file", replace=False)
        assert vfs.read("/c/file") == b"1"
        vfs.move("/other", "/c/file")
        assert vfs.read("/c/file") == b"2"
        vfs.move("/c/file", "/free", replace=False)
        vfs.move("/c", "/a")
        assert [entry.path for entry in vfs.walk()] in (["/a", "/free"], ["/free", "/a"])

    def test_what_can_not_be_moved_stays(self, vfs: Vfs) -> None:
        vfs.mkdir("/a/b", parents=True)
        vfs.mkdir("/full/inner", parents=True)
        vfs.write("/file", b"")
        for source, target in [
            ("/a", "/a/b/c"),
            ("/a", "/full"),
            ("/a", "/file"),
            ("/file", "/a"),
            ("/", "/a/x"),
            ("/a", "/"),
        ]:
            with pytest.raises(FileError):
                vfs.move(source, target)
        assert sorted(e.path for e in vfs.walk()) == ["/a", "/a/b", "/file", "/full", "/full/inner"]

    def test_removing(self, vfs: Vfs) -> None:
        vfs.mkdir("/a/b/c", parents=True)
        vfs.write("/a/b/file", b"")
        vfs.write("/file", b"")
        with pytest.raises(FileError, match="not empty"):
            vfs.remove("/a")
        vfs.remove("/a/b/c")
        vfs.remove("/a", recursive=True)
        vfs.remove("/file", recursive=True)
        assert vfs.list() == []
        with pytest.raises(FileError):
            vfs.remove("/", recursive=True)

    def test_a_deep_tree_is_walked_and_removed(self, vfs: Vfs) -> None:
        path = ""
        for _ in range(1200):
            path += "/d"
            vfs.mkdir(path)
        vfs.write(path + "/bottom", b"")
        assert sum(1 for _ in vfs.walk()) == 1201
        vfs.remove("/d", recursive=True)
        assert vfs.list() == []

    @pytest.mark.parametrize("path", BAD_PATHS, ids=lambda p: repr(p)[:20])
    def test_a_path_that_can_never_work_is_refused(self, vfs: Vfs, path: str) -> None:
        vfs.write("/a", b"kept")
        acts: list[Callable[[str], object]] = [
            vfs.stat, vfs.list, vfs.read, vfs.open, vfs.remove, vfs.mkdir, lambda p: list(vfs.walk(p)),
            lambda p: vfs.write(p, b""), lambda p: vfs.append(p, b""), lambda p: vfs.move(p, "/b"),
            lambda p: vfs.move("/a", p), lambda p: vfs.open(p, "w"), lambda p: vfs.chmod(p, 0o600),
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(SpecError):
                act(path)
        assert [entry.path for entry in vfs.list()] == ["/a"]

    @pytest.mark.parametrize("permissions", [-1, 0o4755, 0o2755, 1 << 40, True, "644"])
    def test_permissions_that_no_file_gets_are_refused(self, vfs: Vfs, permissions: int) -> None:
        for act in (
            lambda: vfs.write("/a", b"", permissions=permissions), lambda: vfs.mkdir("/a", permissions=permissions),
            lambda: vfs.open("/a", "w", permissions=permissions),
        ):  # fmt: skip
            with pytest.raises(SpecError):
                act()
        assert vfs.list() == []

    # -- links, permissions: optional ---------------------------------------------------------------------------------

    def test_links_are_told_about_and_never_followed(self, vfs: Vfs) -> None:
        vfs.mkdir("/folder")
        vfs.write("/folder/file", b"secret")
        for link, target in (("/to-file", "/folder/file"), ("/to-folder", "folder"), ("/nowhere", "/no/such")):
            self.link(vfs, link, target)
            found = vfs.stat(link)
            assert (found.kind, found.target, found.size) == ("link", target, len(target))
        assert {e.path: e.stat.target for e in vfs.list() if e.stat.kind == "link"} == {
            "/to-file": "/folder/file", "/to-folder": "folder", "/nowhere": "/no/such",
        }  # fmt: skip
        refused: list[Callable[[], object]] = [
            lambda: vfs.read("/to-file"), lambda: vfs.open("/to-file", "w"), lambda: vfs.open("/nowhere", "w"),
            lambda: vfs.append("/to-file", b"x"), lambda: vfs.append("/nowhere", b"x"),
            lambda: vfs.list("/to-folder"), lambda: list(vfs.walk("/to-folder")),
            lambda: vfs.read("/to-folder/file"), lambda: vfs.stat("/to-folder/file"),
            lambda: vfs.write("/to-folder/new", b""), lambda: vfs.mkdir("/to-folder/new"),
            lambda: vfs.mkdir("/to-folder"), lambda: vfs.mkdir("/nowhere", parents=True),
            lambda: vfs.remove("/to-folder/file"), lambda: vfs.move("/to-folder/file", "/stolen"),
            lambda: vfs.symlink("/to-file", "x"),
        ]  # fmt: skip
        for act in refused:
            with pytest.raises(FileError):
                act()
        assert vfs.read("/folder/file") == b"secret"
        assert [entry.path for entry in vfs.walk("/folder")] == ["/folder/file"]

    def test_a_link_is_replaced_moved_and_removed_itself(self, vfs: Vfs) -> None:
        vfs.write("/file", b"kept")
        for name in ("a", "b", "c"):
            self.link(vfs, f"/{name}", "/file")
        vfs.write("/a", b"new")
        vfs.move("/b", "/d")
        vfs.remove("/c", recursive=True)
        assert (vfs.read("/a"), vfs.stat("/d").target, vfs.read("/file")) == (b"new", "/file", b"kept")
        assert [entry.path for entry in vfs.list()] == ["/a", "/d", "/file"]

    def test_permissions_can_be_set(self, vfs: Vfs) -> None:
        vfs.write("/file", b"")
        vfs.mkdir("/folder")
        try:
            vfs.chmod("/file", 0o400)
        except cloche.Unsupported as error:
            pytest.skip(str(error))
        vfs.chmod("/folder", 0o1777)
        assert [vfs.stat(p).mode for p in ("/file", "/folder")] == [0o400, 0o1777]
        with pytest.raises(SpecError, match="permissions"):
            vfs.chmod("/file", 0o4755)
        self.link(vfs, "/link", "file")
        with pytest.raises(FileError):
            vfs.chmod("/link", 0o777)
        assert stat.filemode(vfs.stat("/file").mode)[1:] == "r--------"

    def link(self, vfs: Vfs, path: str, target: str) -> None:
        """Make a link, or skip the test where there are none."""
        try:
            vfs.symlink(path, target)
        except cloche.Unsupported as error:
            pytest.skip(str(error))
