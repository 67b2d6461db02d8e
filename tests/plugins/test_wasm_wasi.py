"""The calls of WASI alone: a program's memory is a few bytes here, and no machine runs."""

from __future__ import annotations

import os
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche import FolderVfs, MemoryVfs
from cloche_wasm.wasi.calls import SIGNATURES, Wasi
from cloche_wasm.wasi.descriptors import Folder, Stream, Table
from cloche_wasm.wasi.errors import Errno, Exited
from cloche_wasm.wasi.waiting import Waiting
from cloche_wasm.wasi.world import Place, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READ, WRITE = 2, 64
CREATE, FOLDER, NEW, EMPTY = 1, 2, 4, 8


class Bytes:
    """A memory of 64 KiB and a bit."""

    def __init__(self) -> None:
        self.data = bytearray(70_000)

    def read(self, at: int, size: int) -> bytes:
        if at + size > len(self.data):
            raise IndexError
        return bytes(self.data[at : at + size])

    def write(self, at: int, data: bytes) -> None:
        if at + len(data) > len(self.data):
            raise IndexError
        self.data[at : at + len(data)] = data


class Program:
    """A guest by hand: 0 to 2 are its streams, 3 is ``/work``, 4 is ``/host``."""

    def __init__(self, host: Path) -> None:
        self.vfs = MemoryVfs(size=100_000, entries=12)
        self.vfs.mkdir("/work")
        fd = os.open(host, os.O_PATH | os.O_DIRECTORY)
        self.host = FolderVfs(fd, owned=True)
        world = World([Place("/", self.vfs), Place("/host", self.host, writable=False)])
        self.memory, self.table, self.waiting = Bytes(), Table(10), Waiting()
        self.ends = os.pipe()
        self.table.add(Stream(os.dup(self.ends[0]), writes=False))
        for _ in range(2):
            self.table.add(Stream(None, writes=True))
        for path in ("/work", "/host"):
            self.table.add(Folder(path, path.encode()))
        self.wasi = Wasi(
            args=["me", "ü"], env=["A=b"], world=world, table=self.table, waiting=self.waiting, file_size=50_000
        )
        self.wasi.memory = self.memory

    def close(self) -> None:
        self.table.close_all()
        self.waiting.close()
        self.host.close()
        for end in self.ends:
            os.close(end)

    def __call__(self, name: str, *args: int) -> int:
        return self.wasi.answer(name)(*args)

    def path(self, name: str, path: str, *rest: int, base: int = 3) -> int:
        """Do a call whose arguments begin with a folder and a path."""
        raw = os.fsencode(path)
        self.memory.write(1000, raw)
        return (
            self(name, base, *rest[:1], 1000, len(raw), *rest[1:])
            if name in FOLLOWING
            else self(name, base, 1000, len(raw), *rest)
        )

    def open(self, path: str, how: int = 0, rights: int = READ, flags: int = 0, base: int = 3) -> tuple[int, int]:
        status = self.path("path_open", path, 1, how, rights, 0, flags, 32, base=base)
        return status, self.number(32)

    def number(self, at: int, layout: str = "<I") -> int:
        return int(struct.unpack_from(layout, self.memory.data, at)[0])

    def write(self, fd: int, data: bytes) -> int:
        self.memory.write(10_000, data)
        self.memory.write(64, struct.pack("<II", 10_000, len(data)))
        return self("fd_write", fd, 64, 1, 32)

    def read(self, fd: int, size: int = 1000) -> tuple[int, bytes]:
        self.memory.write(64, struct.pack("<II", 10_000, size))
        status = self("fd_read", fd, 64, 1, 32)
        return status, self.memory.read(10_000, 0 if status else self.number(32))


FOLLOWING = {"path_open", "path_filestat_get", "path_filestat_set_times"}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    (tmp_path / "file").write_bytes(b"of the host")
    made = Program(tmp_path)
    yield made
    made.close()


def test_arguments_and_environment(program: Program) -> None:
    assert program("args_sizes_get", 0, 4) == 0
    assert (program.number(0), program.number(4)) == (2, 6)
    assert program("args_get", 0, 100) == 0
    assert (program.number(0), program.number(4), program.memory.read(100, 6)) == (100, 103, b"me\0\xc3\xbc\0")
    assert program("environ_get", 0, 100) == 0
    assert program.memory.read(100, 4) == b"A=b\0"


def test_files_are_made_read_appended_and_cut(program: Program) -> None:
    assert program.open("file")[0] == Errno.NOENT
    status, fd = program.open("file", CREATE, READ | WRITE)
    assert (status, fd, program.write(fd, b"0123456789")) == (0, 5, 0)
    assert (program("fd_seek", fd, 4, 0, 32), program.number(32, "<Q")) == (0, 4)
    assert program.read(fd, 3) == (0, b"456")
    assert (program("fd_seek", fd, -2 & (1 << 64) - 1, 2, 32), program.read(fd)) == (0, (0, b"89"))
    assert (program("fd_seek", fd, -99 & (1 << 64) - 1, 0, 32), program("fd_seek", fd, 0, 7, 32)) == (28, 28)
    status, more = program.open("file", 0, WRITE, flags=1)
    assert (status, program.write(more, b"ab"), program.read(more)[0]) == (0, 0, Errno.BADF)
    assert program.vfs.read("/work/file") == b"0123456789ab"
    assert (program("fd_filestat_set_size", fd, 3), program.vfs.read("/work/file")) == (0, b"012")
    assert (program.open("file", CREATE | NEW)[0], program.open("file", FOLDER)[0]) == (Errno.EXIST, Errno.NOTDIR)
    assert (program.open("file", EMPTY, WRITE)[0], program.vfs.read("/work/file")) == (0, b"")
    assert program("fd_close", fd) == 0
    assert program("fd_close", fd) == Errno.BADF


def test_reading_and_writing_at_a_place_leaves_the_place(program: Program) -> None:
    _, fd = program.open("file", CREATE, READ | WRITE)
    program.write(fd, b"0123456789")
    program.memory.write(64, struct.pack("<II", 10_000, 2))
    assert (program("fd_pread", fd, 64, 1, 3, 32), program.memory.read(10_000, 2)) == (0, b"34")
    assert program("fd_pwrite", fd, 64, 1, 8, 32) == 0
    assert (program.vfs.read("/work/file"), program("fd_tell", fd, 32), program.number(32)) == (b"0123456734", 0, 10)
    assert program("fd_pread", fd, 64, 1, 1 << 63, 32) == Errno.INVAL


def test_quota_size_and_descriptors_are_bounded(program: Program) -> None:
    _, fd = program.open("file", CREATE, READ | WRITE)
    assert program.write(fd, bytes(49_000)) == 0
    assert program.write(fd, bytes(2_000)) == Errno.FBIG
    assert program("fd_filestat_set_size", fd, 60_000) == Errno.FBIG
    assert program("fd_allocate", fd, 0, 40_000) == 0
    _, other = program.open("other", CREATE, WRITE)
    assert (program.write(other, bytes(49_000)), program.open("third", CREATE, WRITE)[0]) == (0, 0)
    assert program.write(7, bytes(5_000)) == Errno.NOSPC
    opened = [program.open("file")[0] for _ in range(4)]
    assert opened == [0, 0, Errno.MFILE, Errno.MFILE]
    assert [program.path("path_create_directory", f"d{n}") for n in range(10)][-1] == Errno.NOSPC


def test_nothing_outside_of_a_folder_is_reached(program: Program) -> None:
    program.vfs.write("/secret", b"")
    program.vfs.symlink("/work/absolute", "/secret")
    program.vfs.symlink("/work/up", "../secret")
    program.vfs.symlink("/work/loop", "loop")
    program.vfs.symlink("/work/round", "sub/../../secret")
    program.path("path_create_directory", "sub")
    for path in (
        "../secret",
        "/secret",
        "sub/../../secret",
        "absolute",
        "up",
        "round",
        "..",
        "sub/../../work/../secret",
    ):
        assert program.open(path)[0] == Errno.NOTCAPABLE, path
    assert (program.open("loop")[0], program.open("")[0], program.open("x" * 5000)[0]) == (32, 44, 37)
    raw = b"/etc/passwd"
    program.memory.write(2000, raw)
    program.memory.write(1000, b"new")
    assert program("path_symlink", 2000, len(raw), 3, 1000, 3) == Errno.NOTCAPABLE


def test_links_are_followed_where_they_stay_inside(program: Program) -> None:
    program.vfs.mkdir("/work/sub")
    program.vfs.write("/work/sub/file", b"found")
    program.memory.write(2000, b"sub/../sub")
    program.memory.write(1000, b"link")
    assert program("path_symlink", 2000, 10, 3, 1000, 4) == 0
    status, fd = program.open("link/file")
    assert (status, program.read(fd)) == (0, (0, b"found"))
    assert program.path("path_readlink", "link", 3000, 4, 32) == 0
    assert (program.number(32), program.memory.read(3000, 4)) == (4, b"sub/")
    assert program.path("path_filestat_get", "link", 0, 3000) == 0
    assert program.memory.data[3016] == 7
    assert program.path("path_filestat_get", "link", 1, 3000) == 0
    assert program.memory.data[3016] == 3


def test_what_is_mounted_to_read_stays_as_it_is(program: Program, tmp_path: Path) -> None:
    status, fd = program.open("file", base=4)
    assert (status, program.read(fd)) == (0, (0, b"of the host"))
    assert program.open("file", 0, WRITE, base=4)[0] == Errno.ROFS
    assert program.open("file", EMPTY, READ, base=4)[0] == Errno.ROFS
    assert program.open("new", CREATE, WRITE, base=4)[0] == Errno.ROFS
    for call in ("path_create_directory", "path_unlink_file", "path_remove_directory"):
        assert program.path(call, "new" if "create" in call else "file", base=4) == Errno.ROFS
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_names_are_moved_and_removed(program: Program) -> None:
    def move(old: bytes, new: bytes, *, to: int = 3) -> int:
        program.memory.write(1000, old)
        program.memory.write(2000, new)
        return program("path_rename", 3, 1000, len(old), to, 2000, len(new))

    program.vfs.mkdir("/work/full/inner", parents=True)
    program.vfs.mkdir("/work/empty")
    program.vfs.write("/work/file", b"1")
    assert [move(b"file", b"other"), move(b"gone", b"x"), move(b"full", b"full/inner/x")] == [0, 44, 28]
    assert [move(b"other", b"empty"), move(b"empty", b"other"), move(b"empty", b"full")] == [31, 54, 55]
    assert move(b"other", b"x", to=4) == Errno.ROFS
    assert [program.path("path_remove_directory", name) for name in ("full", "other", "empty")] == [55, 54, 0]
    assert [program.path("path_unlink_file", name) for name in ("full", "other", "other")] == [31, 0, 44]


def test_a_folder_is_listed_in_pieces(program: Program) -> None:
    for name in ("a", "bb", "ccc"):
        program.vfs.write(f"/work/{name}", b"")
    names, cookie = [], 0
    for _ in range(10):
        assert program("fd_readdir", 3, 3000, 60, cookie, 32) == 0
        used, at = program.number(32), 3000
        while at + 24 <= 3000 + used:
            following, _, size, kind = struct.unpack_from("<QQIB", program.memory.data, at)
            if at + 24 + size > 3000 + used:
                break
            names.append((program.memory.read(at + 24, size), kind))
            cookie, at = following, at + 24 + size
        if used < 60:
            break
    assert names == [(b".", 3), (b"..", 3), (b"a", 4), (b"bb", 4), (b"ccc", 4)]


def test_streams(program: Program) -> None:
    os.write(program.ends[1], b"line\n")
    assert program.read(0, 3) == (0, b"lin")
    assert program.read(0) == (0, b"e\n")
    assert (program.write(1, b"x"), program.write(0, b"x"), program.read(1)[0]) == (0, Errno.BADF, Errno.BADF)
    assert program("fd_seek", 0, 0, 0, 32) == Errno.SPIPE
    assert (program("fd_renumber", 0, 2), program.read(0)[0]) == (0, Errno.BADF)


def test_a_wait_ends_by_time_by_a_stream_and_by_the_bell(program: Program) -> None:
    clock = struct.pack("<QB7xIxxxxQQH6x", 7, 0, 1, 50_000_000, 0, 0)
    stream = struct.pack("<QB7xI28x", 8, 1, 0)
    program.memory.write(3000, clock + stream)
    began = time.monotonic()
    assert program("poll_oneoff", 3000, 4000, 2, 32) == 0
    assert (program.number(32), program.number(4000, "<Q"), time.monotonic() - began >= 0.05) == (1, 7, True)
    os.write(program.ends[1], b"x")
    assert program("poll_oneoff", 3000, 4000, 2, 32) == 0
    assert (program.number(32), program.number(4000, "<Q")) == (1, 8)
    assert program.read(0) == (0, b"x")
    threading.Timer(0.05, program.waiting.ring).start()
    assert program.read(0)[0] == Errno.INTR
    assert program("poll_oneoff", 3000, 4000, 0, 32) == Errno.INVAL


def test_clocks_and_chance(program: Program) -> None:
    assert program("clock_time_get", 0, 0, 32) == 0
    assert abs(program.number(32, "<Q") - time.time_ns()) < 10**9
    assert (program("clock_time_get", 9, 0, 32), program("clock_res_get", 9, 32)) == (28, 28)
    assert program("random_get", 0, 65_000) == 0
    assert len(set(program.memory.data[:65_000])) == 256
    assert program("random_get", 60_000, 60_000) == Errno.FAULT


def test_the_end_is_the_programs_own(program: Program) -> None:
    with pytest.raises(Exited) as caught:
        program("proc_exit", 7)
    assert caught.value.code == 7


@pytest.mark.parametrize("name", ["sock_accept", "sock_recv", "sock_send", "sock_shutdown", "proc_raise", "path_link"])
def test_what_there_is_not_says_so(program: Program, name: str) -> None:
    assert program(name, *[0] * len(SIGNATURES[name])) == Errno.NOSYS


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_numbers_give_an_error_number_and_raise_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(set(SIGNATURES) - {"proc_exit", "poll_oneoff", "fd_read"})))
    edges = st.sampled_from([0, 1, 3, 4, 5, 8, 1000, 69_996, 70_000, (1 << 31) - 1, (1 << 32) - 1, -1, (1 << 63)])
    numbers = [data.draw(edges) for _ in SIGNATURES[name]]
    program = Program(tmp_path_factory.mktemp("host"))
    try:
        program.memory.write(1000, b"name/../x")
        assert program(name, *numbers) in set(Errno)
    finally:
        program.close()
