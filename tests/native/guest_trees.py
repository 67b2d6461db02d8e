"""Random trees of a box, guests in them, and what is left: for the tests of what is done in a guest's place."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import socket
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

from cloche_native import guest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
USER = 65530
UMASK = 0o027
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
FOLDERS_OPEN = (50, 51, 52)  # of "/a", "/a/b", and of the file "/f"


def in_child(action: Callable[[], T]) -> T:
    """Call in a process of its own, and give what it gave."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(action(), pipe)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return pickle.loads(data)  # type: ignore[no-any-return]  # noqa: S301 - from our own child


@contextmanager
def held(prepare: Callable[[], object] = lambda: None) -> Iterator[int]:
    """Hold a child still after ``prepare``; its memory is a copy of ours, so addresses here mean the same there."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            os.write(writing, b"1")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    try:
        assert os.read(reading, 1) == b"1"
        yield pid
    finally:
        os.close(reading)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def become(user: int) -> None:
    """Be an ordinary user for good."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def enter(box: Path, cwd: str) -> None:
    os.chroot(box)
    os.chdir(cwd)
    for number, name in zip(FOLDERS_OPEN, ("/a", "/a/b", "/f"), strict=True):
        fd = os.open(name, os.O_PATH)
        os.dup2(fd, number)
        os.close(fd)
    become(USER)
    os.umask(UMASK)


def be_a_guest(*, open_to_others: bool) -> None:
    """Let others look into this process, or not, and end it with its parent: the change of user took that away."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) == 0
    assert libc.prctl(PR_SET_DUMPABLE, int(open_to_others)) == 0


@contextmanager
def guest_in(box: Path, cwd: str, *, open_to_others: bool = True) -> Iterator[int]:
    def prepare() -> None:
        enter(box, cwd)
        be_a_guest(open_to_others=open_to_others)

    with held(prepare) as pid:
        yield pid


NAMES = [b"a", b"b", b"c", b"f", b"g", b"l", b"m", b"n", b"p", b"s", b"x"]
paths = st.builds(
    lambda root, parts, end: root + b"/".join(parts) + end,
    st.sampled_from([b"", b"/"]),
    st.lists(st.sampled_from([*NAMES, *NAMES, b".", b"..", b""]), max_size=5),
    st.sampled_from([b"", b"", b"", b"/", b"/."]),
)
links = st.builds(
    lambda root, parts: root + b"/".join(parts) or b"x",
    st.sampled_from([b"", b"/"]),
    st.lists(st.sampled_from([*NAMES, b"..", b"."]), max_size=3),
)


@dataclass(frozen=True)
class Tree:
    """Of /a/b, /c with a file g each, the file /f, links l, m, n, and the modes of them all."""

    modes: tuple[int, ...]
    owned: tuple[bool, ...]
    links: tuple[tuple[bytes, bytes, bytes], ...]

    def build(self, box: Path) -> None:
        box.mkdir(mode=0o755)
        folders = [box, box / "a", box / "a/b", box / "c"]
        files = [folder / "g" for folder in folders] + [box / "f"]
        for folder in folders[1:]:
            folder.mkdir()
        for file in files:
            file.write_bytes(b"content")
        os.mkfifo(box / "a/p")
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.fspath(box / "c/s"))
        for folder, targets in zip(folders, self.links, strict=True):
            for name, target in zip((b"l", b"m", b"n"), targets, strict=True):
                os.symlink(target, os.fsencode(folder) + b"/" + name)
        for path, mode, owned in zip([*folders, *files], self.modes, self.owned, strict=True):
            path.chmod(mode if path not in folders else mode | 0o500)
            if owned:
                os.chown(path, USER, USER)


trees = st.builds(
    Tree,
    st.tuples(
        *[st.sampled_from([0o777, 0o755, 0o711])] * 3,  # ways to folders that are begun in: decision 0036
        st.sampled_from([0o777, 0o755, 0o711, 0o700, 0o744]),
        *[st.sampled_from([0o644, 0o666, 0o600])] * 5,
    ),
    st.tuples(*[st.booleans()] * 9),
    st.tuples(*[st.tuples(links, links, links)] * 4),
)


def listing(box: Path) -> tuple[dict[int, set[bytes]], list[tuple[object, ...]]]:
    """Which names each inode has, and all there is with what can be seen of it."""
    names: dict[int, set[bytes]] = {}
    rows: list[tuple[object, ...]] = []
    top = os.fsencode(box)
    for folder, folders, files in os.walk(top):
        for path in [folder, *(os.path.join(folder, name) for name in [*folders, *files])]:
            seen = os.lstat(path)
            inside = path[len(top) :] or b"/"
            names.setdefault(seen.st_ino, set()).add(inside)
            size = seen.st_size if stat.S_ISREG(seen.st_mode) else 0
            rows.append((inside, seen.st_mode, seen.st_uid, seen.st_gid, size))
    return names, sorted(set(rows))


def here(work: Callable[[guest.GuestRoot, int], T], *, open_to_others: bool = True, top: str | Path = "/") -> T:
    """Call with the machine's own root, or ``top``, and a guest, as that guest's user."""

    def run() -> T:
        fd = os.open(top, os.O_PATH)
        with sleeper(open_to_others=open_to_others) as pid, guest.GuestRoot(fd) as root:
            root.become(USER, USER)
            return work(root, pid)

    return in_child(run)


@contextmanager
def sleeper(*, open_to_others: bool) -> Iterator[int]:
    def prepare() -> None:
        become(USER)
        be_a_guest(open_to_others=open_to_others)
        os.chdir("/usr/bin")
        os.dup2(os.open("/etc/passwd", os.O_RDONLY), 60)

    with held(prepare) as pid:
        yield pid
