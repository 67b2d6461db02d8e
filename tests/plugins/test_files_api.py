"""``box.files``, in boxes of every runtime: the contract of a file system, and what is special to a sandbox."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, ClassVar

import pytest

import cloche
from cloche import AccessDenied, Entry, FileError, FileStat, NotFound, SpecError, StateError, Vfs
from cloche.testing import VfsConformance

if TYPE_CHECKING:
    from pathlib import Path

    from cloche.files.vfs import OpenMode

RUNTIMES = ("namespaces", "bwrap", "process", "gvisor")
pytestmark = pytest.mark.usefixtures("no_leaks")


class WorkFolder(Vfs):
    """The work folder of a box as a file system of its own."""

    name: ClassVar[str] = "work-folder"

    def __init__(self, box: cloche.Sandbox) -> None:
        self._box = box
        self._root = box.exec("pwd").text.strip()

    def stat(self, path: str) -> FileStat:
        return self._box.files.stat(self._at(path))

    def list(self, path: str = "/") -> list[Entry]:
        return [self._back(entry) for entry in self._box.files.list(self._at(path))]

    def open(self, path: str, mode: OpenMode = "r", *, permissions: int = 0o644) -> BinaryIO:
        return self._box.files.open(self._at(path), mode, permissions=permissions)

    def write(self, path: str, data: bytes, *, permissions: int | None = None) -> None:
        self._box.files.write(self._at(path), data, permissions=permissions)

    def append(self, path: str, data: bytes) -> None:
        self._box.files.append(self._at(path), data)

    def read(self, path: str, *, offset: int = 0, size: int | None = None) -> bytes:
        return self._box.files.read(self._at(path), offset=offset, size=size)

    def walk(self, path: str = "/") -> Iterator[Entry]:
        return map(self._back, self._box.files.walk(self._at(path)))

    def mkdir(self, path: str, *, parents: bool = False, permissions: int = 0o755) -> None:
        self._box.files.mkdir(self._at(path), parents=parents, permissions=permissions)

    def move(self, source: str, target: str, *, replace: bool = True) -> None:
        self._box.files.move(self._at(source), self._at(target), replace=replace)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        self._box.files.remove(self._at(path), recursive=recursive)

    def chmod(self, path: str, permissions: int) -> None:
        self._box.files.chmod(self._at(path), permissions)

    def symlink(self, path: str, target: str) -> None:
        self._box.files.symlink(self._at(path), target)

    def close(self) -> None:
        self._box.delete()

    def _at(self, path: str) -> str:
        cloche.check_path(path)
        return self._root if path == "/" else self._root + path

    def _back(self, entry: Entry) -> Entry:
        assert entry.path.startswith(self._root + "/")
        return Entry(entry.path[len(self._root) :], entry.stat)


@pytest.fixture(scope="module")
def host() -> Iterator[cloche.Host]:
    with cloche.Host() as host:
        for runtime in RUNTIMES:  # what a host keeps from its first box on is no leak of the first test
            if host.unavailable(runtime) is None:
                host.create(runtime=runtime, strict=False).delete()
        yield host


@pytest.fixture
def make_box(host: cloche.Host) -> Iterator[Callable[..., cloche.Sandbox]]:
    boxes: list[cloche.Sandbox] = []

    def make(runtime: str, **arguments: object) -> cloche.Sandbox:
        if (reason := host.unavailable(runtime)) is not None:
            pytest.skip(f"runtime {runtime} is not available here: {reason}")
        boxes.append(host.create(runtime=runtime, strict=False, **arguments))  # type: ignore[arg-type]
        return boxes[-1]

    yield make
    for box in boxes:
        box.delete()


@pytest.fixture(params=RUNTIMES)
def box(request: pytest.FixtureRequest, make_box: Callable[..., cloche.Sandbox]) -> cloche.Sandbox:
    return make_box(request.param)


class BoxConformance(VfsConformance):
    runtime: ClassVar[str]

    @pytest.fixture
    def vfs(self, make_box: Callable[..., cloche.Sandbox]) -> Vfs:
        return WorkFolder(make_box(self.runtime))


class TestNamespaces(BoxConformance):
    runtime = "namespaces"


class TestBwrap(BoxConformance):
    runtime = "bwrap"


class TestProcess(BoxConformance):
    runtime = "process"


class TestGvisor(BoxConformance):
    runtime = "gvisor"


del BoxConformance  # or pytest would run it too


# -- the host and the guest see the same -------------------------------------------------------------------------------


def test_what_the_host_writes_the_guest_owns_and_runs(box: cloche.Sandbox) -> None:
    box.files.write("main.sh", "echo $((6 * 7)); echo more >> data", permissions=0o755)
    box.files.mkdir("folder")
    box.files.symlink("link", "data")
    assert box.exec("/bin/sh", "./main.sh").text == "42\n"
    assert box.files.read_text("data") == "more\n"
    user = box.exec("id", "-u").text
    assert box.exec("stat", "-c", "%u", "main.sh", "folder", "link").text == user * 3
    assert box.exec("/bin/sh", "-c", "rm -r main.sh folder link && echo gone").text == "gone\n"


def test_files_can_be_used_while_paused_and_when_stopped_but_not_before_or_after(
    make_box: Callable[..., cloche.Sandbox],
) -> None:
    for runtime in RUNTIMES:
        box = make_box(runtime, start=False)
        with pytest.raises(StateError, match="created"):
            box.files.list()
        box.start()
        box.exec("/bin/sh", "-c", "echo result > out")
        box.pause()
        assert box.files.read("out") == b"result\n"
        box.kill()
        assert box.files.read("out") == b"result\n"
        assert [entry.name for entry in box.files.walk()] == ["out"]
        box.files.write("late", b"fine")
        with pytest.raises(AccessDenied, match="can reach only"):
            box.files.read("/usr/bin/env")
        files, walk = box.files, box.files.walk()
        next(walk)
        box.delete()
        with pytest.raises(StateError):
            files.list()
        with pytest.raises(StateError):
            files.write("x", b"")
        with pytest.raises(StateError):
            list(walk)


def test_read_only_and_outside_is_refused(box: cloche.Sandbox) -> None:
    box.files.write("mine", b"positive control")
    for path in ("/usr/bin/new", "/etc/new", "/new", "/etc/passwd"):
        for act in (box.files.write, box.files.append):
            with pytest.raises(AccessDenied):
                act(path, b"")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_mounts_of_the_host_are_reached_as_they_were_given(
    make_box: Callable[..., cloche.Sandbox], open_folder: Path, runtime: str
) -> None:
    for name in ("ro", "rw"):
        (open_folder / name).mkdir()
        (open_folder / name).chmod(0o777)
        (open_folder / name / "file").write_bytes(name.encode())
    mounts = [
        cloche.Mount(str(open_folder / "ro"), str(open_folder / "ro")),
        cloche.Mount(str(open_folder / "rw"), str(open_folder / "rw"), read_only=False),
    ]
    box = make_box(runtime, mounts=mounts)
    for name in ("ro", "rw"):
        assert box.files.read(f"{open_folder}/{name}/file") == name.encode()
    box.files.write(f"{open_folder}/rw/new", b"from the host")
    assert (open_folder / "rw" / "new").read_bytes() == b"from the host"
    acts: list[Callable[[], object]] = [
        lambda: box.files.write(f"{open_folder}/ro/new", b""), lambda: box.files.remove(f"{open_folder}/ro/file"),
        lambda: box.files.mkdir(f"{open_folder}/ro/x"), lambda: box.files.chmod(f"{open_folder}/ro/file", 0o777),
        lambda: box.files.move(f"{open_folder}/ro/file", f"{open_folder}/ro/x"),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(AccessDenied):
            act()
    with pytest.raises(FileError, match="different file systems"):
        box.files.move(f"{open_folder}/rw/new", "new")
    with pytest.raises(FileError, match="mount point"):
        box.files.remove(f"{open_folder}/rw", recursive=True)
    assert sorted(p.name for p in open_folder.rglob("*")) == ["file", "file", "new", "ro", "rw"]


@pytest.mark.parametrize("runtime", ["namespaces", "bwrap", "gvisor"])
def test_a_mount_inside_the_work_folder_is_not_taken_away_with_it(
    make_box: Callable[..., cloche.Sandbox], open_folder: Path, runtime: str
) -> None:
    (open_folder / "data").mkdir()
    (open_folder / "data" / "kept").write_bytes(b"1")
    (open_folder / "work" / "sub" / "in").mkdir(parents=True)
    box = make_box(
        runtime,
        workspace=cloche.Workspace(kind="bind", source=str(open_folder / "work")),
        mounts=[cloche.Mount(str(open_folder / "data"), "/workspace/sub/in", read_only=False)],
    )
    assert box.files.read("sub/in/kept") == b"1"
    acts: list[Callable[[], object]] = [
        lambda: box.files.remove("sub", recursive=True), lambda: box.files.remove("sub/in", recursive=True),
        lambda: box.files.move("sub/in", "out"),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(FileError, match=r"mount point|different file systems"):
            act()
    assert box.exec("cat", "sub/in/kept").text == "1"
    assert (open_folder / "data" / "kept").exists()


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_a_file_that_says_it_is_huge_is_not_read_whole(
    make_box: Callable[..., cloche.Sandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloche.files.api.READ_MAX", 1 << 20)
    box = make_box("namespaces", limits={"file_size": "1G"})
    box.exec("truncate", "-s", "1048576", "fits")
    assert len(box.files.read("fits")) == 1 << 20
    assert box.exec("truncate", "-s", "900M", "sparse").ok
    assert box.files.stat("sparse").size == 900 << 20
    for act in (box.files.read, box.files.read_text):
        with pytest.raises(cloche.LimitExceeded, match="use open or download"):
            act("sparse")
    assert box.files.read("sparse", offset=899 << 20, size="1K") == bytes(1024)


def test_a_file_that_grows_while_it_is_read_ends(box: cloche.Sandbox) -> None:
    job = box.spawn("/bin/sh", "-c", "while :; do echo more; done > grows")
    while not box.files.exists("grows"):
        job.held()
    assert len(box.files.read("grows", size=1000)) <= 1000
    with box.files.open("grows") as file:
        assert len(file.read(1 << 16)) <= 1 << 16
    job.kill()


def test_a_full_box_keeps_the_old_file_and_no_other(make_box: Callable[..., cloche.Sandbox]) -> None:
    box = make_box("namespaces", limits={"disk": "1M"})
    box.files.write("file", b"old")
    for act in (box.files.write, box.files.append):
        with pytest.raises(FileError, match="no space"):
            act("file", bytes(2 << 20))
    assert [entry.name for entry in box.files.list()] == ["file"]
    assert box.files.read("file").startswith(b"old")
    box.files.remove("file")  # appending stops where there is no more space
    box.files.write("file", b"new")
    assert box.files.read("file") == b"new"


def test_values_that_make_no_sense_are_refused(box: cloche.Sandbox) -> None:
    box.files.write("file", b"caf\xe9")
    acts: list[Callable[[], object]] = [
        lambda: box.files.read("file", offset=-1), lambda: box.files.read("file", size=-1),
        lambda: box.files.read("file", size="much"), lambda: box.files.write("file", 5),  # type: ignore[arg-type]
        lambda: box.files.append("file", None),  # type: ignore[arg-type]
        lambda: box.files.write("file", "\ud800"), lambda: box.files.read_text("file", encoding="klingon"),
        lambda: box.files.stat("../up"), lambda: box.files.stat("/workspace/../etc"), lambda: box.files.stat("a//b"),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(SpecError):
            act()
    with pytest.raises(FileError, match="not utf-8"):
        box.files.read_text("file")
    assert box.files.read_text("file", encoding="latin-1") == "café"
    assert box.files.exists("file")
    assert not box.files.exists("gone")
    with pytest.raises(NotFound):
        box.files.read("gone")


async def _use_everything(runtime: str) -> None:
    async with cloche.AsyncHost() as host, await host.create(runtime=runtime, strict=False) as box:
        await box.files.mkdir("a/b", parents=True)
        await box.files.write("a/file", "text")
        await box.files.append("a/file", b"!")
        await box.files.symlink("a/link", "file")
        await box.files.move("a/file", "a/b/file", replace=False)
        await box.files.chmod("a/b/file", 0o600)
        assert await box.files.read("a/b/file", size=4) == b"text"
        assert await box.files.read_text("a/b/file") == "text!"
        assert (await box.files.stat("a/b/file")).mode == 0o600
        assert await box.files.exists("a/link")
        assert [entry.name for entry in await box.files.list("a")] == ["b", "link"]
        assert {entry.name async for entry in box.files.walk()} == {"a", "b", "file", "link"}
        with await box.files.open("a/b/file") as file:
            assert file.read() == b"text!"
        await box.files.remove("a", recursive=True)
        assert await box.files.list() == []


def test_the_asynchronous_face_does_the_same() -> None:
    import anyio  # noqa: PLC0415 - the only test here with a loop of its own

    with cloche.Host() as host:
        runtime = next(name for name in RUNTIMES if host.unavailable(name) is None)
    anyio.run(_use_everything, runtime)


def test_deleting_a_box_ends_what_other_threads_do_with_its_files(make_box: Callable[..., cloche.Sandbox]) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - of this test only

    for runtime in RUNTIMES:
        box = make_box(runtime)
        files = box.files

        def work(number: int, files: cloche.Files = files) -> str:
            try:
                while True:
                    files.write(f"file-{number}", os.urandom(1000))
                    files.read(f"file-{number}")
                    list(files.walk())
            except StateError as error:
                return str(error)

        with ThreadPoolExecutor(6) as pool:
            running = [pool.submit(work, i) for i in range(6)]
            box.exec("sleep", "0.3")
            box.delete()
            told = [job.result(20) for job in running]
        assert all("deleted" in text or "closed" in text for text in told), told
