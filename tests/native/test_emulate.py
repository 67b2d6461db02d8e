"""Opens done for a guest, against the kernel's own answer to the same call: errno, file, flags, and what is left."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import shutil
import signal
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche_native import guest
from tests.native.guest_trees import (
    FOLDERS_OPEN,
    USER,
    Tree,
    enter,
    guest_in,
    here,
    in_child,
    listing,
    paths,
    trees,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPARED = os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK | os.O_PATH | os.O_DIRECTORY | os.O_NOATIME | os.O_SYNC

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: chroot and other users")


@dataclass(frozen=True)
class Ask:
    path: bytes
    flags: int
    mode: int = 0o666
    dirfd: int = guest.AT_FDCWD


@dataclass(frozen=True)
class Answer:
    error: int
    flags: int = 0
    inode: int = 0
    mode: int = 0
    size: int = 0
    judged: bytes | None = None


def look(fd: int, judged: bytes | None) -> Answer:
    seen = os.fstat(fd)
    answer = Answer(0, fcntl.fcntl(fd, fcntl.F_GETFL) & COMPARED, seen.st_ino, seen.st_mode, seen.st_size, judged)
    os.close(fd)
    return answer


def by_kernel(box: Path, cwd: str, asks: Sequence[Ask]) -> list[Answer]:
    def run() -> list[Answer]:
        enter(box, cwd)
        return [one(ask) for ask in asks]

    def one(ask: Ask) -> Answer:
        try:
            dirfd = None if ask.dirfd == guest.AT_FDCWD else ask.dirfd
            return look(os.open(ask.path, ask.flags, ask.mode, dir_fd=dirfd), None)
        except OSError as error:
            return Answer(error.errno or 0)

    return in_child(run)


def by_us(box: Path, cwd: str, asks: Sequence[Ask]) -> list[Answer]:
    def run() -> list[Answer]:
        fd = os.open(box, os.O_PATH)
        before = len(os.listdir("/proc/self/fd"))
        with guest_in(box, cwd) as pid, guest.GuestRoot(fd) as root:
            root.become(USER, USER)
            answers = []
            for ask in asks:
                found = root.open(pid, ask.path, ask.flags, ask.mode, ask.dirfd)
                answers.append(look(found.fd, found.path) if found.fd >= 0 else Answer(found.error))
        assert len(os.listdir("/proc/self/fd")) == before
        return answers

    return in_child(run)


flags = st.builds(
    lambda access, more: access | sum(set(more)),
    st.sampled_from([os.O_RDONLY, os.O_RDONLY, os.O_WRONLY, os.O_RDWR, 3]),
    st.lists(
        st.sampled_from([
            os.O_CREAT, os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_DIRECTORY, os.O_NOFOLLOW, os.O_PATH,
            os.O_TMPFILE & ~os.O_DIRECTORY, os.O_NOATIME, os.O_NOCTTY, os.O_CLOEXEC, os.O_SYNC, 0o100000,
        ]),
        max_size=4,
    ),
)  # fmt: skip
asks = st.builds(
    Ask, paths, flags, st.sampled_from([0o666, 0o600, 0o777, 0o7777, 0]),
    st.sampled_from([guest.AT_FDCWD] * 4 + [*FOLDERS_OPEN, 99, -1]),
)  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees, cwd=st.sampled_from(["/", "/a", "/a/b"]), asked=st.lists(asks, min_size=1, max_size=25))
def test_an_open_done_for_a_guest_equals_the_kernels(tree: Tree, cwd: str, asked: list[Ask], tmp_path: Path) -> None:
    asked = [Ask(a.path, a.flags | os.O_NONBLOCK, a.mode, a.dirfd) for a in asked]  # else the pipe waits
    seen: list[tuple[list[Answer], Any, Any]] = []
    for how in (by_kernel, by_us):
        box = tmp_path / "box"
        with suppress(FileNotFoundError):
            shutil.rmtree(box)
        tree.build(box)
        answers = how(box, cwd, asked)
        seen.append((answers, *listing(box)))
    (kernels, kernel_names, left), (ours, our_names, left_by_us) = seen
    for ask, theirs, our in zip(asked, kernels, ours, strict=True):
        assert (our.error, our.flags, our.mode, our.size) == (theirs.error, theirs.flags, theirs.mode, theirs.size), ask
        names = our_names.get(our.inode, set())
        assert names == kernel_names.get(theirs.inode, set()), ask
        if names:
            assert our.judged in names, ask
    assert left_by_us == left


def read(found: guest.Found) -> bytes:
    assert found.fd >= 0, found
    with os.fdopen(found.fd, "rb") as file:
        return file.read()


@pytest.mark.parametrize("path", [b"/proc/self/status", b"/proc/thread-self/status", b"/proc/./self/task/../status"])
def test_proc_self_is_the_guest_that_asks_not_who_opens_it(path: bytes) -> None:
    def look_at_status(root: guest.GuestRoot, pid: int) -> tuple[bytes, int]:
        return read(root.open(pid, path, os.O_RDONLY)), pid

    text, pid = here(look_at_status)
    assert f"Pid:\t{pid}\n".encode() in text


@pytest.mark.parametrize("path", [b"/dev/fd/60", b"/proc/self/fd/60", b"/proc/thread-self/fd/60"])
def test_a_link_of_proc_to_an_open_file_is_judged_by_where_that_lies(path: bytes) -> None:
    def follow(root: guest.GuestRoot, pid: int) -> tuple[bytes, bytes, bytes]:
        found = root.open(pid, path, os.O_RDONLY)
        return found.path, read(found), root.resolve(pid, path).path

    passwd = Path("/etc/passwd").read_bytes()
    assert here(follow) == (b"/etc/passwd", passwd, b"/etc/passwd")
    assert here(lambda root, pid: root.resolve(pid, b"/proc/self/cwd/env").path) == b"/usr/bin/env"
    assert here(lambda root, pid: root.open(pid, b"/proc/self/fd/61", os.O_RDONLY).error) == errno.ENOENT


def test_a_relative_path_of_a_process_that_closed_itself_is_found_and_its_memory_map_is_not() -> None:
    def look_inside(root: guest.GuestRoot, pid: int) -> tuple[bytes, int, int]:
        maps = root.open(pid, b"/proc/self/maps", os.O_RDONLY).error
        return root.resolve(pid, b"env").path, maps, root.open(pid, b"/proc/1/maps", os.O_RDONLY).error

    assert here(look_inside, open_to_others=False) == (b"/usr/bin/env", errno.EACCES, errno.EACCES)


@pytest.mark.parametrize(
    ("path", "error"),
    [(b"/dev/null", 0), (b"/dev/urandom", 0), (b"/dev/tty", errno.ENXIO), (b"/dev/kmsg", errno.EPERM)],
)
def test_only_devices_that_are_the_same_for_all_are_opened_for_a_guest(path: bytes, error: int) -> None:
    def one(root: guest.GuestRoot, pid: int) -> tuple[int, bytes]:
        found = root.open(pid, path, os.O_RDONLY)
        return found.error, found.path

    assert here(one) == (error, path)


def test_the_terminal_of_a_guest_is_its_own_not_that_of_who_opens_it() -> None:
    def run() -> tuple[int, int, int]:
        pid, ours = pty.fork()
        if pid == 0:
            try:
                os.setresgid(USER, USER, USER)
                os.fchown(0, USER, USER)
                os.setresuid(USER, USER, USER)
                os.write(1, b"1")
                signal.pause()
            finally:
                os._exit(1)
        assert os.read(ours, 1) == b"1"
        number = struct.unpack("I", fcntl.ioctl(ours, 0x80045430, bytes(4)))[0]
        wanted = os.stat(f"/dev/pts/{number}").st_rdev
        fd = os.open("/", os.O_PATH)
        with guest.GuestRoot(fd) as root:
            root.become(USER, USER)
            found = root.open(pid, b"/dev/tty", os.O_RDWR | os.O_NOCTTY)
            got = os.fstat(found.fd).st_rdev if found.fd >= 0 else 0
        os.close(ours)
        os.waitpid(pid, 0)
        return found.error, got, wanted

    error, got, wanted = in_child(run)
    assert (error, got) == (0, wanted)


def test_a_pipe_with_a_name_is_opened_when_the_other_end_is_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.chown(tmp_path / "pipe", USER, USER)
    tmp_path.chmod(0o755)
    pipe = b"/pipe"

    def both(root: guest.GuestRoot, pid: int) -> tuple[int, int, int, bytes]:
        reading = root.open(pid, pipe, os.O_RDONLY).error
        writing = root.open(pid, pipe, os.O_WRONLY).error
        end = root.open(pid, pipe, os.O_RDWR).fd
        found, other = root.open(pid, pipe, os.O_RDONLY), root.open(pid, pipe, os.O_WRONLY)
        os.close(end)
        assert fcntl.fcntl(other.fd, fcntl.F_GETFL) & os.O_NONBLOCK == 0
        os.write(other.fd, b"through")
        os.close(other.fd)
        return reading, writing, found.error, read(found)

    assert here(both, top=tmp_path) == (errno.EINPROGRESS, errno.EINPROGRESS, 0, b"through")


def test_nothing_is_opened_by_a_thread_that_is_not_the_guests_user() -> None:
    fd = os.open("/", os.O_PATH)
    with guest.GuestRoot(fd) as root:
        found = root.open(os.getpid(), b"/etc/passwd", os.O_RDONLY)
        assert (found.error, found.fd) == (errno.EPERM, -1)
        with pytest.raises(OSError, match="Invalid argument"):
            root.become(0, 0)
    os.close(fd)


def test_what_is_missing_is_told_as_where_it_would_be(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("link/new")
    top = os.fsencode(tmp_path)
    fd = os.open("/", os.O_PATH)
    with guest.GuestRoot(fd) as root:
        for path, real in ((b"real/new", b"real/new"), (b"link/new", b"real/new"), (b"dangling", b"real/new")):
            found = root.resolve(os.getpid(), top + b"/" + path)
            assert (found.path, found.error) == (top + b"/" + real, errno.ENOENT)
            assert found.flags & guest.FOUND_MISSING
        assert root.resolve(os.getpid(), top + b"/dangling", follow=False).path == top + b"/dangling"
        assert root.resolve(os.getpid(), b"").error == errno.ENOENT
        assert root.resolve(os.getpid(), b"/" * 5000).error == errno.ENAMETOOLONG
    os.close(fd)
