"""Reading a guest, against what it really has: a child that holds still while it is looked at."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche_native import guest
from tests.native.guest_trees import held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = mmap.PAGESIZE


@pytest.fixture
def root() -> Iterator[guest.GuestRoot]:
    fd = os.open("/", os.O_PATH)
    with guest.GuestRoot(fd) as made:
        os.close(fd)
        yield made


@pytest.fixture
def edge() -> Iterator[tuple[mmap.mmap, int]]:
    """Three pages of which the last can't be read, and their address."""
    memory = mmap.mmap(-1, 3 * PAGE)
    view = (ctypes.c_char * len(memory)).from_buffer(memory)
    address = ctypes.addressof(view)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address + 2 * PAGE), PAGE, 0) == 0
    yield memory, address
    del view
    memory.close()


def error_of(call: Callable[..., object], *arguments: object, **more: object) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is what the tests look at
        call(*arguments, **more)
    return caught.value.errno


def test_a_string_that_ends_with_the_last_readable_byte_is_read(edge: tuple[mmap.mmap, int]) -> None:
    memory, address = edge
    for size in (0, 1, 200, 300, PAGE - 1, PAGE, 4000):
        memory[2 * PAGE - size - 1 : 2 * PAGE] = b"x" * size + b"\0"
        with held() as pid:
            if size < guest.PATH_ROOM:
                assert guest.read_text(pid, address + 2 * PAGE - size - 1) == b"x" * size
            else:
                assert error_of(guest.read_text, pid, address + 2 * PAGE - size - 1) == errno.ENAMETOOLONG


def test_a_string_without_an_end_is_too_long_or_unreadable_as_the_kernel_would_say(edge: tuple[mmap.mmap, int]) -> None:
    memory, address = edge
    memory[: 2 * PAGE] = b"x" * 2 * PAGE
    with held() as pid:
        assert error_of(guest.read_text, pid, address) == errno.ENAMETOOLONG
        assert error_of(guest.read_text, pid, address + PAGE + 1) == errno.EFAULT
        assert error_of(guest.read_text, pid, address, room=1) == errno.ENAMETOOLONG
        assert error_of(guest.read_text, pid, address, room=0) == errno.ENAMETOOLONG


@pytest.mark.parametrize("address", [0, 1, 4096, 1 << 47, (1 << 64) - 1, (1 << 64) - 4096])
def test_an_address_where_nothing_is_gives_efault(address: int) -> None:
    with held() as pid:
        assert error_of(guest.read_text, pid, address) == errno.EFAULT
        assert error_of(guest.read, pid, address, 4097) == errno.EFAULT


def test_memory_is_read_whole_or_not(edge: tuple[mmap.mmap, int]) -> None:
    memory, address = edge
    memory[: 2 * PAGE] = os.urandom(2 * PAGE)
    with held() as pid:
        assert guest.read(pid, address + 5, 2 * PAGE - 5) == memory[5 : 2 * PAGE]
        assert guest.read(pid, address, 0) == b""
        assert error_of(guest.read, pid, address, 2 * PAGE + 1) == errno.EFAULT
    with pytest.raises(ValueError, match="size must be 0 to"):
        guest.read(pid, address, -1)


def test_a_process_that_is_gone_gives_esrch(root: guest.GuestRoot) -> None:
    with held() as pid:
        pass
    assert error_of(guest.read, pid, 4096, 1) == errno.ESRCH
    assert error_of(guest.read_text, pid, 4096) == errno.ESRCH
    assert error_of(root.base, pid) == errno.ESRCH
    assert error_of(root.base, 0) == error_of(root.base, -1) == errno.ESRCH


def test_a_process_that_may_not_be_looked_into_gives_eperm(root: guest.GuestRoot, under: Callable[..., int]) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: another user's process is looked for")
    allow_all = b"\x06\0\0\0\0\0\xff\x7f"
    with held() as pid:
        assert under(allow_all, lambda: error_of(guest.read_text, pid, 4096), uid=65533) == errno.EPERM
        assert under(allow_all, lambda: error_of(root.base, pid), uid=65533) == errno.EPERM
        assert under(allow_all, lambda: error_of(root.base, pid, 0), uid=65533) == errno.EPERM


def test_the_base_is_the_folder_the_guest_is_in_or_has_open(root: guest.GuestRoot, tmp_path: Path) -> None:
    for name in (b"plain", b"line\nbreak", b"\xff\xfe", b"ends (deleted)", b"x" * 255):
        folder = os.path.join(os.fsencode(tmp_path), name)
        os.mkdir(folder)
        fd = os.open(folder, os.O_PATH)
        with held(lambda at=folder: os.chdir(at)) as pid:  # type: ignore[misc]
            assert root.base(pid) == folder
            assert root.base(pid, fd) == folder
            assert root.base(pid, fd, room=len(folder) + 1) == folder
            assert error_of(root.base, pid, room=len(folder)) == errno.ENAMETOOLONG
        os.close(fd)


def test_what_is_no_folder_to_begin_in_is_told_apart(root: guest.GuestRoot, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    removed = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR)
    memory = os.memfd_create("/a")
    gone = tmp_path / "gone"
    gone.mkdir()
    fd = os.open(gone, os.O_PATH)
    with held(lambda: os.chdir(gone)) as pid:
        gone.rmdir()
        assert error_of(root.base, pid) == errno.ENOENT
        assert error_of(root.base, pid, fd) == errno.ENOENT
        for no_folder in (reading, removed, memory):
            assert error_of(root.base, pid, no_folder) == errno.ENOTDIR
        for nothing in (-1, -99, -(1 << 31), (1 << 31) - 1, 9999):
            assert error_of(root.base, pid, nothing) == errno.EBADF
    for one in (reading, writing, removed, memory, fd):
        os.close(one)


def test_in_a_box_the_base_begins_at_the_root_of_the_box(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: chroot")
    (tmp_path / "box/work").mkdir(parents=True)
    (tmp_path / "boxes").mkdir()
    outside = os.open(tmp_path / "boxes", os.O_PATH)
    fd = os.open(tmp_path / "box", os.O_PATH)
    with guest.GuestRoot(fd) as box:

        def enter() -> None:
            os.chroot(tmp_path / "box")
            os.chdir("/work")

        with held(enter) as pid:
            assert box.base(pid) == b"/work"
            assert box.base(pid, fd) == b"/"
            assert error_of(box.base, pid, outside) == errno.EXDEV
        os.close(fd)
    os.close(outside)
    with pytest.raises(ValueError, match="was closed"):
        box.base(1)


def test_a_root_must_be_a_descriptor_of_a_folder_or_nothing_is_held() -> None:
    before = len(os.listdir("/proc/self/fd"))
    reading, writing = os.pipe()
    assert error_of(guest.GuestRoot, reading) == errno.ENOTDIR
    os.close(reading)
    os.close(writing)
    assert error_of(guest.GuestRoot, reading) == errno.EBADF
    assert len(os.listdir("/proc/self/fd")) == before
