"""What every file system must do, as tests: subclass and say which.

::

    from cloche.testing import VfsConformance

    class TestBucket(VfsConformance):
        backend = BucketBackend()

Tests of what is optional (links, permissions) are skipped where the file system says ``Unsupported``.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from cloche import Entry, FileError, FileKind, NotFound, StateError, Vfs, VfsBackend, VfsOptions
from cloche.testing.vfs_model import ACTS, Model, outcome
from cloche.testing.vfs_names import NameTests

NAMES = ["plain", "with space", "ü", "\udcff\udcfe", "a\nb", "\x1b[31mred", "-rf", "*", "...", "x" * 255]


class VfsConformance(NameTests):
    """Set ``backend``, and ``options`` if it needs any; or override the fixture ``vfs``."""

    backend: ClassVar[VfsBackend]
    options: ClassVar[VfsOptions] = VfsOptions()

    @pytest.fixture
    def vfs(self) -> Iterator[Vfs]:
        """Give an empty file system."""
        if (reason := self.backend.unavailable()) is not None:
            pytest.skip(f"the backend {self.backend.name} is not available here: {reason}")
        with self.backend.open(self.options) as vfs:
            yield vfs

    # -- files ------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("size", [0, 1, 5, 70_000, 3_000_000])
    def test_what_is_written_is_read(self, vfs: Vfs, size: int) -> None:
        data = os.urandom(size)
        vfs.write("/file", data)
        assert vfs.read("/file") == data
        found = vfs.stat("/file")
        assert (found.kind, found.size, found.mode, found.links, found.target) == ("file", size, 0o644, 1, None)

    @pytest.mark.parametrize("name", NAMES, ids=ascii)
    def test_any_name_comes_back_as_it_was_given(self, vfs: Vfs, name: str) -> None:
        vfs.mkdir(f"/{name}")
        vfs.write(f"/{name}/{name}", b"here")
        assert [entry.path for entry in vfs.walk()] == [f"/{name}", f"/{name}/{name}"]
        assert [(entry.name, entry.path) for entry in vfs.list(f"/{name}")] == [(name, f"/{name}/{name}")]
        assert vfs.read(f"/{name}/{name}") == b"here"

    def test_a_part_can_be_read(self, vfs: Vfs) -> None:
        vfs.write("/file", b"0123456789")
        assert vfs.read("/file", offset=3) == b"3456789"
        assert vfs.read("/file", offset=3, size=4) == b"3456"
        assert vfs.read("/file", size=0) == b""
        assert vfs.read("/file", offset=100) == b""

    def test_writing_replaces_the_whole_and_keeps_permissions(self, vfs: Vfs) -> None:
        vfs.write("/file", b"long content", permissions=0o751)
        vfs.write("/file", b"short")
        assert (vfs.read("/file"), vfs.stat("/file").mode) == (b"short", 0o751)
        vfs.write("/file", b"", permissions=0o600)
        assert (vfs.read("/file"), vfs.stat("/file").mode) == (b"", 0o600)

    def test_a_reader_of_the_old_content_goes_on_to_see_it(self, vfs: Vfs) -> None:
        vfs.write("/file", b"old")
        with vfs.open("/file") as file:
            vfs.write("/file", b"new!")
            assert file.read() == b"old"
        assert vfs.read("/file") == b"new!"

    def test_time_of_change_moves_with_every_change(self, vfs: Vfs) -> None:
        vfs.write("/file", b"1")
        before = vfs.stat("/file")
        assert before.modified_ns > 10**18
        vfs.append("/file", b"2")
        after = vfs.stat("/file")
        assert after.size == 2
        assert (after.modified_ns, after.changed_ns) >= (before.modified_ns, before.changed_ns)
        assert after.inode == before.inode

    def test_appending_makes_a_file_and_adds_to_it(self, vfs: Vfs) -> None:
        vfs.append("/file", b"one")
        vfs.append("/file", b", two")
        assert vfs.read("/file") == b"one, two"

    def test_opening_to_read_and_to_write(self, vfs: Vfs) -> None:
        with vfs.open("/file", "x", permissions=0o640) as file:
            assert file.write(b"0123456789") == 10
        with pytest.raises(FileError):
            vfs.open("/file", "x")
        with vfs.open("/file") as file:
            assert (file.seek(4), file.read(2), file.tell(), file.read()) == (4, b"45", 6, b"6789")
        with vfs.open("/file", "a") as file:
            file.write(b"ab")
        with vfs.open("/file", "w") as file:
            assert vfs.read("/file") == b""
            file.write(b"cd")
        with vfs.open("/file", "r+") as file:
            assert (file.read(1), file.write(b"ef"), file.seek(0), file.read()) == (b"c", 2, 0, b"cef")
        assert (vfs.read("/file"), vfs.stat("/file").mode) == (b"cef", 0o640)
        for mode in ("r", "r+"):
            with pytest.raises(NotFound):
                vfs.open("/gone", mode)

    def test_permissions_are_what_was_asked_whatever_the_umask(self, vfs: Vfs) -> None:
        before = os.umask(0o077)
        try:
            vfs.write("/written", b"", permissions=0o666)
            vfs.open("/opened", "w", permissions=0o666).close()
            vfs.mkdir("/folder", permissions=0o777)
        finally:
            os.umask(before)
        assert [vfs.stat(p).mode for p in ("/written", "/opened", "/folder")] == [0o666, 0o666, 0o777]

    def test_a_folder_is_no_file(self, vfs: Vfs) -> None:
        vfs.mkdir("/folder")
        for act in (
            vfs.read,
            vfs.open,
            lambda p: vfs.open(p, "w"),
            lambda p: vfs.write(p, b""),
            lambda p: vfs.append(p, b""),
        ):
            with pytest.raises(FileError):
                act("/folder")
        assert vfs.stat("/folder").kind is FileKind.FOLDER

    # -- folders ----------------------------------------------------------------------------------------------------

    def test_a_folder_lists_what_is_in_it_by_name(self, vfs: Vfs) -> None:
        for name in ("b", "a", "Z", "10", "9"):
            vfs.write(f"/{name}", name.encode())
        vfs.mkdir("/c")
        vfs.write("/c/inner", b"")
        assert [entry.path for entry in vfs.list()] == ["/10", "/9", "/Z", "/a", "/b", "/c"]
        assert [entry.path for entry in vfs.list("/c")] == ["/c/inner"]
        assert vfs.list("/")[0] == Entry("/10", vfs.stat("/10"))

    def test_many_names_are_all_listed_once(self, vfs: Vfs) -> None:
        vfs.mkdir("/many")
        names = {f"{i:05d}-{'x' * (i % 50)}" for i in range(1500)}
        for name in names:
            vfs.write(f"/many/{name}", b"")
        assert [entry.name for entry in vfs.list("/many")] == sorted(names)
        walked = [entry.name for entry in vfs.walk("/many")]
        assert (len(walked), set(walked)) == (1500, names)

    def test_a_walk_gives_each_folder_before_what_is_in_it(self, vfs: Vfs) -> None:
        for folder in ("/a", "/a/b", "/a/b/c", "/d"):
            vfs.mkdir(folder)
            vfs.write(f"{folder}/file", b"1")
        seen: list[str] = []
        for entry in vfs.walk():
            parent = entry.path.rpartition("/")[0]
            assert parent in {"", *seen}
            seen.append(entry.path)
        assert sorted(seen) == ["/a", "/a/b", "/a/b/c", "/a/b/c/file", "/a/b/file", "/a/file", "/d", "/d/file"]
        assert sorted(e.path for e in vfs.walk("/a/b")) == ["/a/b/c", "/a/b/c/file", "/a/b/file"]

    def test_a_tree_may_change_while_it_is_walked(self, vfs: Vfs) -> None:
        for i in range(40):
            vfs.mkdir(f"/{i}/inner", parents=True)
        for entry in vfs.walk():
            if entry.path.endswith("/inner"):
                continue
            vfs.remove(entry.path, recursive=True)
            vfs.write(entry.path, b"a file by now")
        assert all(vfs.stat(f"/{i}").kind is FileKind.FILE for i in range(40))

    def test_what_is_not_there_is_not_found(self, vfs: Vfs) -> None:
        vfs.write("/file", b"")
        acts: list[Callable[[str], object]] = [
            vfs.stat, vfs.list, vfs.read, vfs.open, vfs.remove, lambda p: list(vfs.walk(p)),
            lambda p: vfs.write(p + "/x", b""), lambda p: vfs.append(p + "/x", b""), lambda p: vfs.mkdir(p + "/x"),
            lambda p: vfs.move(p, "/new"), lambda p: vfs.move("/file", p + "/x"), lambda p: vfs.open(p + "/x", "w"),
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(NotFound, match="gone"):
                act("/gone")
        for act in (vfs.stat, vfs.read, vfs.remove, lambda p: vfs.write(p, b"")):
            with pytest.raises(NotFound):
                act("/file/below")
        for act in (vfs.list, lambda p: list(vfs.walk(p))):
            with pytest.raises(FileError):
                act("/file")

    def test_making_folders(self, vfs: Vfs) -> None:
        vfs.mkdir("/a", permissions=0o700)
        assert (vfs.stat("/a").kind, vfs.stat("/a").mode) == ("folder", 0o700)
        with pytest.raises(FileError):
            vfs.mkdir("/a")
        vfs.mkdir("/a", parents=True)
        vfs.mkdir("/a/b/c/d", parents=True, permissions=0o711)
        assert [vfs.stat(p).mode for p in ("/a", "/a/b", "/a/b/c", "/a/b/c/d")] == [0o700, 0o755, 0o755, 0o711]
        vfs.write("/a/file", b"")
        for path in ("/a/file", "/a/file/x"):
            with pytest.raises((FileError, NotFound)):
                vfs.mkdir(path, parents=True)

    # -- threads, ends, everything at once --------------------------------------------------------------------------

    def test_readers_see_one_write_or_the_other_whole(self, vfs: Vfs) -> None:
        contents = [bytes([i]) * 50_000 for i in range(4)]
        vfs.write("/file", contents[0])
        done = threading.Event()

        def write(content: bytes) -> None:
            for _ in range(40):
                vfs.write("/file", content)

        def read() -> bool:
            whole = True
            while not done.is_set():
                whole = whole and vfs.read("/file") in contents
            return whole

        with ThreadPoolExecutor(6) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            for writer in [pool.submit(write, content) for content in contents]:
                writer.result()
            done.set()
            assert all(reader.result() for reader in readers)
        assert [entry.path for entry in vfs.list()] == ["/file"]

    def test_a_closed_file_system_refuses_everything(self, vfs: Vfs) -> None:
        vfs.write("/file", b"still")
        file = vfs.open("/file")
        vfs.close()
        vfs.close()
        acts: list[Callable[[], object]] = [
            lambda: vfs.stat("/file"), vfs.list, lambda: list(vfs.walk()), lambda: vfs.read("/file"),
            lambda: vfs.open("/file"), lambda: vfs.write("/file", b""), lambda: vfs.append("/file", b""),
            lambda: vfs.mkdir("/x"), lambda: vfs.move("/file", "/x"), lambda: vfs.remove("/file"),
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(StateError):
                act()
        with file:
            assert file.read() == b"still"

    @pytest.mark.parametrize("seed", range(20))
    def test_any_sequence_of_acts_gives_what_a_plain_model_gives(self, vfs: Vfs, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - the same acts every time
        paths = ["/a", "/b", "/a/a", "/a/b", "/b/a", "/a/a/a"]
        model = Model()
        for step in range(60):
            path, other, act = chance.choice(paths), chance.choice(paths), chance.choice(ACTS)
            told = (seed, step, path, other)
            assert outcome(act, vfs, path, other) == outcome(act, model, path, other), told
        found = {e.path: None if e.stat.kind == "folder" else vfs.read(e.path) for e in vfs.walk()}
        assert found == model.names
