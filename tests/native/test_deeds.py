"""Names made, moved and taken away in a guest's place, against the kernel's own answer to the same call."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cloche_native as native
from cloche_native import guest
from tests.native.guest_trees import USER, Tree, enter, guest_in, here, in_child, links, listing, sleeper, trees
from tests.native.guest_trees import paths as any_paths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_SYMLINK_FOLLOW = 0x100, 0x200, 0x400
FOLDERS = [guest.AT_FDCWD] * 4 + [50, 51, 52, 99, -1]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: chroot and other users")


@dataclass(frozen=True)
class Deed:
    act: str
    path: bytes
    target: bytes = b""
    flags: int = 0
    args: tuple[int, int] = (0, 0)
    dirfd: int = guest.AT_FDCWD
    target_dirfd: int = guest.AT_FDCWD

    @property
    def follow(self) -> bool:
        if self.act == "link":
            return bool(self.flags & AT_SYMLINK_FOLLOW)
        return self.act == "truncate" or not self.flags & AT_SYMLINK_NOFOLLOW


def number(name: str) -> int:
    found = native.syscall_number(name)
    assert found is not None
    return found


def by_call(deed: Deed) -> int:
    """Ask the kernel: 0 or an errno."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    both = (deed.dirfd, deed.path, deed.target_dirfd, deed.target, deed.flags)
    arguments: dict[str, tuple[str, tuple[int | bytes, ...]]] = {
        "mkdir": ("mkdirat", (deed.dirfd, deed.path, deed.args[0])),
        "mknod": ("mknodat", (deed.dirfd, deed.path, *deed.args)),
        "unlink": ("unlinkat", (deed.dirfd, deed.path, deed.flags)),
        "rename": ("renameat2", both),
        "link": ("linkat", both),
        "symlink": ("symlinkat", (deed.target, deed.dirfd, deed.path)),
        "chmod": ("fchmodat2", (deed.dirfd, deed.path, deed.args[0], deed.flags)),
        "chown": ("fchownat", (deed.dirfd, deed.path, *deed.args, deed.flags)),
        "truncate": ("truncate", (deed.path, deed.args[0])),
    }
    name, given_ = arguments[deed.act]
    ctypes.set_errno(0)
    words = [ctypes.c_char_p(one) if isinstance(one, bytes) else ctypes.c_long(one) for one in given_]
    return ctypes.get_errno() if call(ctypes.c_long(number(name)), *words) < 0 else 0


def by_kernel(box: Path, cwd: str, deeds: Sequence[Deed]) -> list[tuple[int, list[bytes]]]:
    def run() -> list[tuple[int, list[bytes]]]:
        enter(box, cwd)
        return [(by_call(deed), []) for deed in deeds]

    return in_child(run)


def by_us(box: Path, cwd: str, deeds: Sequence[Deed]) -> list[tuple[int, list[bytes]]]:
    def run() -> list[tuple[int, list[bytes]]]:
        fd = os.open(box, os.O_PATH)
        before = len(os.listdir("/proc/self/fd"))
        with guest_in(box, cwd) as pid, guest.GuestRoot(fd) as root:
            root.become(USER, USER)
            answers = [done(root, pid, deed) for deed in deeds]
        assert len(os.listdir("/proc/self/fd")) == before
        return answers

    return in_child(run)


def done(root: guest.GuestRoot, pid: int, deed: Deed) -> tuple[int, list[bytes]]:
    found, target = root.act(
        pid, deed.act, deed.path, deed.target, flags=deed.flags, args=deed.args, dirfd=deed.dirfd,
        target_dirfd=deed.target_dirfd, follow=deed.follow,
    )  # fmt: skip
    return found.error, [one.path for one in (found, target) if one is not None]


NEAR = [
    b"f", b"/f", b"g", b"a/g", b"/a/b/g", b"/c/g", b"/c/s", b"a/p", b"/a/p", b"l", b"/a/l", b"/l/g", b"m/x", b"x",
    b"/x", b"/a/x", b"/c/x/", b"/a/b", b"/c", b"b", b"/a", b"../c", b"y", b"/y", b"/y/x", b"/c/", b"x/",
]  # fmt: skip
paths = st.one_of(st.sampled_from(NEAR), st.sampled_from(NEAR), any_paths)
modes = st.sampled_from([0o777, 0o755, 0o640, 0o7777, 0])
folders = st.one_of(st.just(guest.AT_FDCWD), st.sampled_from(FOLDERS))
kinds = st.sampled_from([0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFDIR, 0o170000])
ids = st.sampled_from([-1, USER, USER, 0, USER + 1])
renames = st.sampled_from([0, 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT, 3, 6, 8])
deeds = st.one_of(
    st.builds(Deed, st.just("mkdir"), paths, args=st.tuples(modes, st.just(0)), dirfd=folders),
    st.builds(
        Deed, st.just("mknod"), paths, dirfd=folders,
        args=st.tuples(st.builds(lambda kind, mode: kind | mode, kinds, modes), st.sampled_from([0, 0x103])),
    ),
    st.builds(Deed, st.just("unlink"), paths, flags=st.sampled_from([0, 0, AT_REMOVEDIR, 1]), dirfd=folders),
    st.builds(Deed, st.just("rename"), paths, paths, renames, dirfd=folders, target_dirfd=folders),
    st.builds(Deed, st.just("rename"), paths, paths),
    st.builds(
        Deed, st.just("link"), paths, paths, st.sampled_from([0, 0, AT_SYMLINK_FOLLOW, 1]), dirfd=folders,
        target_dirfd=folders,
    ),
    st.builds(
        Deed, st.just("link"), st.sampled_from([b"g", b"/g", b"/a/g", b"/c/g", b"l"]),
        st.sampled_from([b"x", b"/y", b"/c/x"]),
    ),
    st.builds(Deed, st.just("symlink"), paths, st.one_of(links, st.just(b"")), dirfd=folders),
    st.builds(
        Deed, st.just("chmod"), paths, flags=st.sampled_from([0, 0, AT_SYMLINK_NOFOLLOW, 1]), dirfd=folders,
        args=st.tuples(st.sampled_from([0o777, 0o755, 0o6755]), st.just(0)),
    ),
    st.builds(
        Deed, st.just("chown"), paths, flags=st.sampled_from([0, 0, AT_SYMLINK_NOFOLLOW, 1]), dirfd=folders,
        args=st.tuples(ids, ids),
    ),
    st.builds(Deed, st.just("truncate"), paths, args=st.tuples(st.sampled_from([0, 3, 100, -1]), st.just(0))),
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tree=trees,
    cwd=st.sampled_from(["/", "/a", "/a/b"]),
    asked=st.lists(deeds, min_size=1, max_size=25),
    owned=st.booleans(),
)
def test_an_act_done_for_a_guest_equals_the_kernels(
    tree: Tree, cwd: str, asked: list[Deed], tmp_path: Path, *, owned: bool
) -> None:
    seen = []
    for how in (by_kernel, by_us):
        box = tmp_path / "box"
        with suppress(FileNotFoundError):
            shutil.rmtree(box)
        tree.build(box)
        for folder in (box, box / "a", box / "a/b", box / "c") if owned else ():
            folder.chmod(0o755)
            for path in (folder, folder / "g"):
                os.chown(path, USER, USER)
        errors = [error for error, _ in how(box, cwd, asked)]
        names, rows = listing(box)
        seen.append((list(zip(asked, errors, strict=True)), sorted(map(sorted, names.values())), rows))
    kernels, ours = seen
    assert ours == kernels


def alone(tmp_path: Path, *deeds: Deed) -> list[tuple[int, list[bytes]]]:
    """Do these in a folder of the guest's with a file, a link to it, and a folder."""
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path, tmp_path / "file", tmp_path / "link", tmp_path / "folder"):
        os.chown(path, USER, USER, follow_symlinks=False)
    tmp_path.chmod(0o755)
    return here(lambda root, pid: [done(root, pid, deed) for deed in deeds], top=tmp_path)


def test_what_is_linked_is_what_was_judged_and_a_link_itself_unless_told_to_follow(tmp_path: Path) -> None:
    answers = alone(
        tmp_path,
        Deed("link", b"/link", b"/same"),
        Deed("link", b"/link", b"/followed", AT_SYMLINK_FOLLOW),
        Deed("link", b"/folder", b"/other"),
    )
    assert answers == [(0, [b"/link", b"/same"]), (0, [b"/file", b"/followed"]), (errno.EPERM, [b"/folder", b"/other"])]
    assert (tmp_path / "same").readlink() == (tmp_path / "link").readlink()
    assert (tmp_path / "followed").stat().st_ino == (tmp_path / "file").stat().st_ino


def test_the_folder_of_a_name_is_judged_by_where_it_really_is(tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to("folder")
    answers = alone(
        tmp_path,
        Deed("mkdir", b"/way/new", args=(0o777, 0)),
        Deed("rename", b"/way/../link", b"/way/new/moved"),
        Deed("unlink", b"/way/new/moved"),
        Deed("unlink", b"/way/new/", flags=AT_REMOVEDIR),
        Deed("unlink", b"/", flags=AT_REMOVEDIR),
        Deed("mkdir", b"/none/new"),
        Deed("mkdir", b"/" + b"n" * 256),
    )
    assert answers == [
        (0, [b"/folder/new"]), (0, [b"/link", b"/folder/new/moved"]), (0, [b"/folder/new/moved"]),
        (0, [b"/folder/new"]),
        (errno.EBUSY, [b"/"]), (errno.ENOENT, [b"/none/new"]), (errno.ENAMETOOLONG, [b"/" + b"n" * 256]),
    ]  # fmt: skip


def test_nothing_is_done_by_a_thread_that_is_not_the_guests_user(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_PATH)
    with guest.GuestRoot(fd) as root:
        assert done(root, os.getpid(), Deed("mkdir", b"/made"))[0] == errno.EPERM
        with pytest.raises(KeyError):
            root.act(os.getpid(), "fly", b"/made")
        assert root.act(os.getpid(), "exec", b"/made")[0].error == errno.EPERM
    os.close(fd)
    assert not (tmp_path / "made").exists()


def test_a_file_grows_no_further_than_the_guests_limit(tmp_path: Path) -> None:
    def run() -> list[int]:
        fd = os.open(tmp_path, os.O_PATH)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        with sleeper(open_to_others=True) as pid, guest.GuestRoot(fd) as root:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            root.become(USER, USER)
            return [done(root, pid, Deed("truncate", b"/file", args=(length, 0)))[0] for length in (100, 101, 5)]

    (tmp_path / "file").write_text("content")
    os.chown(tmp_path / "file", USER, USER)
    tmp_path.chmod(0o755)
    assert in_child(run) == [0, errno.EFBIG, 0]
    assert (tmp_path / "file").read_text() == "conte"
