"""Being told what changes in a folder: the real thing, on folders of the test's own."""

from __future__ import annotations

import os
import shutil
import struct
import threading
from typing import TYPE_CHECKING

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import (
    AccessDenied,
    Change,
    FileError,
    FolderVfs,
    LimitExceeded,
    NotFound,
    SpecError,
    StateError,
    Unsupported,
    Vfs,
)
from cloche.files.watch import AsyncWatching, ChangeKind, Watching
from cloche.files.watched import LostError, Watched
from cloche_native import watch as kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloche import Watch

WAIT = 5.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "src").mkdir(parents=True)
    return tmp_path / "root"


@pytest.fixture
def vfs(root: Path) -> Iterator[FolderVfs]:
    with FolderVfs(os.open(root, os.O_PATH), shown_as="/box", owned=True) as vfs:
        yield vfs


@pytest.fixture
def watch(vfs: FolderVfs) -> Iterator[Watch]:
    with vfs.watch() as watch:
        yield watch


def told(watch: Watch) -> list[str]:
    """Give what there is to read, a line each."""
    lines: list[str] = []
    while changes := watch.read():
        lines += [f"{c.kind} {f'{c.source} -> ' if c.source else ''}{c.path}".replace("/box/", "") for c in changes]
    return lines


def test_what_happens_to_files_is_told_in_order(watch: Watch, root: Path) -> None:
    assert told(watch) == []
    (root / "a").write_bytes(b"1")
    (root / "a").chmod(0o600)
    (root / "a").rename(root / "src" / "b")
    (root / "src" / "l").symlink_to("b")
    (root / "src" / "b").unlink()
    assert told(watch) == [
        "created a", "modified a", "moved a -> src/b", "created src/l", "deleted src/b",
    ]  # fmt: skip
    assert not watch.ended


def test_a_new_folder_is_watched_with_what_was_made_in_it_before(watch: Watch, root: Path) -> None:
    (root / "x" / "y").mkdir(parents=True)
    (root / "x" / "y" / "f").write_bytes(b"1")
    assert sorted(told(watch)) == ["created x", "created x/y", "created x/y/f"]
    (root / "x" / "y" / "g").write_bytes(b"")
    (root / "x" / "y" / "f").unlink()
    (root / "x" / "y" / "f").write_bytes(b"")
    assert told(watch) == ["created x/y/g", "deleted x/y/f", "created x/y/f"]


def test_a_name_that_was_found_and_is_told_by_the_kernel_too_is_told_once(watch: Watch, root: Path) -> None:
    (root / "x").mkdir()
    assert told(watch) == ["created x"]
    (root / "x" / "y").mkdir()
    (root / "x" / "y" / "one").touch()
    (root / "x" / "y" / "two").touch()
    assert sorted(told(watch)) == ["created x/y", "created x/y/one", "created x/y/two"]
    (root / "x" / "y" / "one").unlink()
    (root / "x" / "y" / "one").touch()
    assert told(watch)[:2] == ["deleted x/y/one", "created x/y/one"]


def test_a_moved_folder_keeps_being_watched_by_its_new_name(watch: Watch, root: Path) -> None:
    (root / "src" / "deep").mkdir()
    told(watch)
    (root / "src").rename(root / "lib")
    (root / "lib" / "deep" / "f").touch()
    assert told(watch)[:2] == ["moved src -> lib", "created lib/deep/f"]


def test_what_is_moved_out_is_gone_and_what_is_moved_in_is_new(watch: Watch, root: Path, tmp_path: Path) -> None:
    (root / "src" / "f").touch()
    told(watch)
    (root / "src").rename(tmp_path / "out")
    assert told(watch) == ["deleted src"]
    (tmp_path / "out" / "g").touch()
    assert told(watch) == []
    (tmp_path / "out").rename(root / "in")
    assert sorted(told(watch)) == ["created in", "created in/f", "created in/g"]
    (root / "in" / "h").touch()
    assert told(watch)[:1] == ["created in/h"]


def test_a_folder_that_takes_the_place_of_another_is_the_one_that_is_watched(watch: Watch, root: Path) -> None:
    (root / "new").mkdir()
    (root / "new" / "f").touch()
    told(watch)
    os.rename(root / "new", root / "src")
    (root / "src" / "g").touch()
    assert told(watch)[:2] == ["moved new -> src", "created src/g"]
    shutil.rmtree(root / "src")
    (root / "src").mkdir()
    (root / "src" / "h").touch()
    lines = told(watch)
    assert sorted(lines[:3]) == ["deleted src", "deleted src/f", "deleted src/g"]
    assert lines[3:5] == ["created src", "created src/h"]


def test_only_the_folder_itself_without_recursive(vfs: FolderVfs, root: Path) -> None:
    with vfs.watch("/", recursive=False) as watch:
        (root / "src" / "f").touch()
        (root / "new").mkdir()
        (root / "new" / "f").touch()
        assert told(watch) == ["created new"]


def test_a_watch_ends_with_its_folder(vfs: FolderVfs, root: Path, tmp_path: Path) -> None:
    for moved in (False, True):
        (root / "sub").mkdir()
        with vfs.watch("/sub") as watch:
            if moved:
                (root / "sub").rename(tmp_path / "elsewhere")
            else:
                (root / "sub").rmdir()
            changes = watch.read()
            assert [c for c in changes if c.kind is ChangeKind.DELETED] == [Change(ChangeKind.DELETED, "/box/sub")]
            assert watch.ended
            assert watch.read() == []
            assert list(Watching(watch)) == []


def test_a_closed_watch_or_file_system_gives_no_more(vfs: FolderVfs, root: Path) -> None:
    watch, other = vfs.watch(), vfs.watch()
    (root / "a").mkdir()
    watch.close()
    watch.close()
    assert watch.ended
    with pytest.raises(StateError):
        watch.read()
    vfs.close()
    assert other.ended
    assert list(Watching(other)) == []
    other.close()
    with pytest.raises(StateError):
        vfs.watch()


def test_no_descriptor_is_left(vfs: FolderVfs, root: Path) -> None:
    before = os.listdir("/proc/self/fd")
    vfs.watch().close()
    forgotten = vfs.watch()
    del forgotten
    with pytest.raises(NotFound):
        vfs.watch("/missing")
    (root / "many" / "deep").mkdir(parents=True)
    with pytest.raises(LimitExceeded, match="more than 2 folders"):
        vfs.watch(most=2)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_what_can_not_be_watched_is_refused(vfs: FolderVfs, root: Path) -> None:
    (root / "file").touch()
    (root / "link").symlink_to("src")
    for path in ("/file", "/link"):
        with pytest.raises((FileError, NotFound)):
            vfs.watch(path)
    for path in ("src", "/../x", "/a//b"):
        with pytest.raises(SpecError):
            vfs.watch(path)
    with pytest.raises(SpecError):
        vfs.watch(most=0)
    with pytest.raises(Unsupported, match="can't be watched"):
        Vfs.watch(vfs, "/src")  # what a file system does that has no such thing


def test_too_many_folders_later_are_told_after_what_came_before(vfs: FolderVfs, root: Path) -> None:
    with vfs.watch(most=3) as watch:
        (root / "a").touch()
        for name in ("b", "c"):
            (root / name).mkdir()
        changes = watch.read()
        assert [c.path for c in changes[:2]] == ["/box/a", "/box/b"]
        assert not watch.ended
        with pytest.raises(LimitExceeded, match="more than 3 folders"):
            watch.read()
        assert watch.ended
        assert watch.read() == []


def test_a_link_swapped_for_a_folder_is_never_entered(watch: Watch, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (root / "d").mkdir()
    (root / "d").rmdir()
    (root / "d").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "secret").touch()
    assert told(watch) == ["created d", "deleted d", "created d"]


def test_lost_changes_are_told_and_the_tree_is_looked_at_anew(
    watch: Watch, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "x").mkdir()
    real = kernel.read

    def overflowing(_fd: int) -> list[kernel.Told]:
        monkeypatch.setattr(kernel, "read", real)
        return [kernel.Told(-1, kernel.OVERFLOW, 0, b"")]

    monkeypatch.setattr(kernel, "read", overflowing)
    assert told(watch) == ["overflow /box"]
    (root / "x" / "f").touch()
    assert told(watch)[:1] == ["created x/f"]


def test_a_storm_of_folders_is_survived_and_nothing_is_lost_silently(watch: Watch, root: Path) -> None:
    def storm() -> None:
        for turn in range(150):
            os.makedirs(root / f"s{turn % 5}" / "a" / "b", exist_ok=True)
            (root / f"s{turn % 5}" / "a" / "b" / "f").touch()
            if turn % 3:
                os.rename(root / f"s{turn % 5}", root / f"t{turn}")
                shutil.rmtree(root / f"t{turn}")

    thread = threading.Thread(target=storm)
    thread.start()
    changes: list[Change] = []
    while thread.is_alive():
        changes += watch.read()
    thread.join()
    changes += watch.read()
    (root / "last").touch()
    assert any(c.path == "/box/last" for c in watch.read())
    for folder in root.glob("s*/a/b"):
        (folder / "after").touch()
        assert any(c.path == f"/box/{folder.relative_to(root)}/after" for c in watch.read()), folder
    assert {c.path for c in changes} > {"/box/s0", "/box/s1"}


def test_names_of_any_bytes_are_told_as_they_are(watch: Watch, root: Path) -> None:
    name = os.fsdecode(b"\xff\x1b\n" + b"n" * 252)
    (root / name).touch()
    assert watch.read()[0].path == f"/box/{name}"


def test_a_folder_that_is_too_deep_is_told_as_a_loss(vfs: FolderVfs, watch: Watch, root: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(root)
        for _ in range(20):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
    finally:
        os.chdir(here)
    changes = watch.read()
    assert changes[-1].kind is ChangeKind.OVERFLOW
    assert len(changes) == 17
    vfs.remove("/" + "d" * 250, recursive=True)


def test_what_the_rules_hide_is_not_told(vfs: FolderVfs, root: Path) -> None:
    def allows(operation: str, path: str) -> bool:
        return "hidden" not in path and not (operation == "list" and path == "/box/shut")

    with vfs.watch(allows=allows) as watch:
        (root / "hidden").mkdir()
        (root / "hidden" / "a").touch()
        (root / "shut").mkdir()
        (root / "shut" / "b").touch()
        (root / "c").touch()
        (root / "c").rename(root / "hidden2")
        (root / "hidden2").rename(root / "d")
        lines = told(watch)
    assert [line for line in lines if "modified" not in line] == ["created shut", "created c", "deleted c", "created d"]


@pytest.mark.parametrize("name", [b"", b"a", b"n" * 255])
def test_packed_events_are_read(name: bytes) -> None:
    padded = name + bytes(-len(name) % 16 or (16 if name else 0))
    data = struct.pack("=iIII", 7, kernel.CREATE, 0, len(padded)) + padded
    assert list(kernel.parse(data * 2)) == [kernel.Told(7, kernel.CREATE, 0, name)] * 2


@given(st.binary(max_size=100))
def test_bytes_that_are_no_events_are_refused_or_give_plain_names(data: bytes) -> None:
    try:
        events = list(kernel.parse(data))
    except ValueError:
        return
    assert all(b"/" not in event.name and event.name not in {b".", b".."} for event in events)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(15), "cut off"),
        (struct.pack("=iIII", 1, 2, 0, 1), "does not fit"),
        (struct.pack("=iIII", 1, 2, 0, 1 << 31) + bytes(300), "does not fit"),
        (struct.pack("=iIII", 1, 2, 0, 300) + bytes(300), "does not fit"),
        (struct.pack("=iIII", 1, 2, 0, 16) + b"../x".ljust(16, b"\0"), "no name"),
        (struct.pack("=iIII", 1, 2, 0, 16) + b"..".ljust(16, b"\0"), "no name"),
    ],
)
def test_events_that_the_kernel_would_not_write_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(kernel.parse(data))


def test_a_folder_below_itself_has_the_path_it_had_first() -> None:
    tree = Watched("/w")
    assert tree.place(1, None, "")
    assert tree.place(2, 1, "a")
    assert tree.place(3, 2, "b")
    assert not tree.place(2, 3, "loop")
    assert not tree.place(1, 3, "root")
    assert [tree.path(number) for number in (1, 2, 3)] == ["/w", "/w/a", "/w/a/b"]
    tree.drop(2)
    with pytest.raises(LostError):
        tree.path(3)
    assert sorted(tree.forget_all()) == [1, 3]
    with pytest.raises(LostError):
        tree.path(1)


# -- waiting -----------------------------------------------------------------------------------------------------------


def test_changes_are_waited_for(watch: Watch, root: Path) -> None:
    watching = Watching(watch)
    assert watching.take(0) == []
    thread = threading.Thread(target=(root / "a").touch)
    thread.start()
    assert watching.take(WAIT)[0] == Change(ChangeKind.CREATED, "/box/a")
    thread.join()
    (root / "b").mkdir()
    assert next(change for change in watching if change.kind is ChangeKind.CREATED).path == "/box/b"


def test_a_wait_ends_when_another_thread_closes(vfs: FolderVfs) -> None:
    close: Callable[[Watching], None]
    for close in (lambda watching: watching.close(), lambda _: vfs.close()):
        with Watching(vfs.watch()) as watching:
            got: list[Change] = []
            thread = threading.Thread(target=got.extend, args=(watching,))
            thread.start()
            close(watching)
            thread.join(WAIT)
            assert not thread.is_alive()
            assert got == []
            assert watching.take(WAIT) == []


@pytest.mark.anyio
async def test_the_asynchronous_face_waits_the_same(vfs: FolderVfs, root: Path) -> None:
    async with AsyncWatching(vfs.watch()) as watching:
        assert await watching.take(0.01) == []
        (root / "a").touch()
        assert (await watching.take(WAIT))[0] == Change(ChangeKind.CREATED, "/box/a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.Path(root / "b").mkdir)
            async for change in watching:
                if change.path == "/box/b":
                    break
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watching.close)
            with anyio.fail_after(WAIT):
                assert [change async for change in watching if change.kind is not ChangeKind.MODIFIED] == []
    vfs.close()


@pytest.mark.anyio
async def test_a_wait_that_is_cancelled_loses_nothing(vfs: FolderVfs, root: Path) -> None:
    async with AsyncWatching(vfs.watch()) as watching:
        seen: list[Change] = []
        for number in range(20):
            (root / f"{number}").mkdir()
            with anyio.move_on_after(0.0005 * (number % 4)):
                seen += await watching.take()
        seen += await watching.take(0)
        assert [c.path for c in seen if c.kind is ChangeKind.CREATED] == [f"/box/{number}" for number in range(20)]


def test_a_closed_folder_is_told_as_a_loss_until_it_opens(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to act as another user")
    os.chown(root, 65534, 65534)
    os.chmod(root.parent.parent, 0o755)  # noqa: S103 - pytest's own folder
    (root / "shut").mkdir(0o700)
    with FolderVfs(os.open(root, os.O_PATH), uid=65534, gid=65534, owned=True) as vfs, vfs.watch() as watch:
        assert [(c.kind, c.path) for c in watch.read()] == [(ChangeKind.OVERFLOW, "/shut")]
        (root / "shut" / "f").touch()
        assert watch.read() == []
        (root / "shut").chmod(0o755)
        assert [(c.kind, c.path) for c in watch.read()] == [
            (ChangeKind.MODIFIED, "/shut"), (ChangeKind.CREATED, "/shut/f"),
        ]  # fmt: skip
        (root / "shut" / "g").touch()
        assert watch.read()[0].path == "/shut/g"
        (root / "other").mkdir(0o700)
        with pytest.raises(AccessDenied):
            vfs.watch("/other")
