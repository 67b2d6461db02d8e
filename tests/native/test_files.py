"""Files beneath a folder: batches against os.scandir, identities, and whatever a tree can hold."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche_native import files
from cloche_native.files import Folder, Found

NAMES = st.binary(min_size=1, max_size=40).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"-"))
KINDS = st.sampled_from(["file", "folder", "link", "pipe"])
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="acting as another user takes root")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    (tmp_path / "top").mkdir()
    fd = os.open(tmp_path / "top", os.O_PATH | os.O_DIRECTORY)
    yield Folder(fd)
    os.close(fd)


def everything(folder: Folder, path: bytes = b"") -> dict[bytes, tuple[Found, str]]:
    """Give all that the batches say of a folder."""
    reader = folder.reader(path)
    out: dict[bytes, tuple[Found, str]] = {}
    try:
        while True:
            records, texts = reader.batch()
            if not texts:
                return out
            for record, (name, target) in zip(
                struct.iter_unpack(files.RECORD, records), files.names(texts), strict=True
            ):
                assert os.fsencode(name) not in out
                out[os.fsencode(name)] = (Found(*record), target)
    finally:
        reader.close()


def expected(path: str) -> dict[bytes, tuple[int, int, int, int, int, int, str]]:
    """Give the same of os.scandir, the oracle."""
    out = {}
    with os.scandir(os.fsencode(path)) as entries:
        for entry in entries:
            st_ = entry.stat(follow_symlinks=False)
            target = os.fsdecode(os.readlink(entry.path)) if entry.is_symlink() else ""
            out[entry.name] = (
                st_.st_ino,
                st_.st_size,
                st_.st_mtime_ns,
                st_.st_ctime_ns,
                st_.st_mode,
                st_.st_nlink,
                target,
            )
    return out


def seen(folder: Folder, path: bytes = b"") -> dict[bytes, tuple[int, int, int, int, int, int, str]]:
    return {name: (*found[1:7], target) for name, (found, target) in everything(folder, path).items()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(things=st.dictionaries(NAMES, KINDS, max_size=30))
def test_batches_say_what_scandir_says(folder: Folder, things: dict[bytes, str]) -> None:
    top = f"/proc/self/fd/{folder.fd}"
    for name in os.listdir(os.fsencode(top)):
        folder.remove(name, recursive=True)
    for name, kind in things.items():
        if name in (b".", b".."):
            continue
        where = os.fsencode(top) + b"/" + name
        match kind:
            case "file":
                Path(os.fsdecode(where)).write_bytes(name)
            case "folder":
                os.mkdir(where)
            case "link":
                os.symlink(name * 3, where)
            case _:
                os.mkfifo(where)
    assert seen(folder) == expected(top)
    for name in expected(top):
        found = folder.stat(name)
        assert (*found[1:7], os.fsdecode(found.target)) == expected(top)[name]


@pytest.mark.parametrize("count", [0, 1, 511, 512, 513, 5000])
def test_any_number_of_names_comes_once(folder: Folder, count: int) -> None:
    for i in range(count):
        folder.write(b"%d" % i + b"x" * (i % 200), b"")
    assert seen(folder) == expected(f"/proc/self/fd/{folder.fd}")


def test_long_targets_fill_the_room_and_nothing_is_lost(folder: Folder) -> None:
    for i in range(300):
        folder.symlink(b"%d" % i, b"t" * (4095 - i))
    assert seen(folder) == expected(f"/proc/self/fd/{folder.fd}")


def test_reading_goes_on_after_any_name(folder: Folder) -> None:
    for i in range(1000):
        folder.write(b"%d" % i, b"")
    whole = list(everything(folder))
    offsets = [found.offset for found, _ in everything(folder).values()]
    for at in (0, 1, 400, 998, 999):
        reader = folder.reader(b"")
        reader.seek(offsets[at])
        rest: list[str] = []
        while texts := reader.batch()[1]:
            rest += texts[::2]
        reader.close()
        assert [os.fsencode(name) for name in rest] == whole[at + 1 :]


def test_times_beyond_what_numbers_hold_stay_at_the_edge(folder: Folder) -> None:
    folder.write(b"file", b"")
    os.utime(f"/proc/self/fd/{folder.fd}/file", ns=(0, -5))
    assert folder.stat(b"file").modified_ns == -5


def test_a_folder_that_changes_meanwhile_gives_no_nonsense(folder: Folder) -> None:
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            for i in range(200):
                folder.write(b"%d" % i, b"12345")
            for i in range(0, 200, 2):
                folder.remove(b"%d" % i)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            for name, (found, _target) in everything(folder).items():
                assert stat.S_ISREG(found.mode)
                assert name.isdigit() or name.startswith(b".cloche-")
    finally:
        stop.set()
        thread.join()


# -- removing ----------------------------------------------------------------------------------------------------------


@given(
    paths=st.lists(st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=1, max_size=6), max_size=20),
    budget=st.integers(2, 50),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whole_trees_are_removed_in_any_steps(folder: Folder, paths: list[list[bytes]], budget: int) -> None:
    top = os.fsencode(f"/proc/self/fd/{folder.fd}")
    for path in paths:
        os.makedirs(top + b"/x/" + b"/".join(path), exist_ok=True)
    os.makedirs(top + b"/x", exist_ok=True)
    calls = 0
    while not folder.remove(b"x", recursive=True, budget=budget):
        calls += 1
        assert calls < 200
    assert os.listdir(top) == []


def test_depth_closed_folders_and_links_are_no_hindrance(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_bytes(b"")
    folder.mkdir(b"x")
    path = b"x"
    for _ in range(200):
        path += b"/" + b"d" * 60
        folder.mkdir(path)
        folder.symlink(path + b"/link", os.fsencode(tmp_path / "outside"))
    folder.chmod(path, 0)
    folder.chmod(b"x/" + b"d" * 60, 0)
    assert folder.remove(b"x", recursive=True)
    assert os.listdir(tmp_path / "outside") == ["kept"]
    assert os.listdir(f"/proc/self/fd/{folder.fd}") == []


# -- who acts ----------------------------------------------------------------------------------------------------------


@root_only
def test_files_are_made_and_refused_as_the_user_given(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "top").chmod(0o777)
    other = Folder(folder.fd, uid=12345, gid=12346)
    other.write(b"file", b"1")
    other.mkdir(b"sub")
    other.symlink(b"link", b"x")
    os.close(other.open(b"opened", "x"))
    for name in ("file", "sub", "link", "opened"):
        found = os.lstat(tmp_path / "top" / name)
        assert (found.st_uid, found.st_gid) == (12345, 12346)
    folder.write(b"roots", b"1", mode=0o640)
    (tmp_path / "top" / "closed").mkdir(mode=0o700)
    for act in (
        lambda: other.open(b"roots"), lambda: other.open(b"roots", "a"), lambda: other.reader(b"closed"),
        lambda: other.chmod(b"roots", 0o777), lambda: other.stat(b"closed/x"),
    ):  # fmt: skip
        with pytest.raises(PermissionError):
            act()


STATE = """
import os, sys, threading
from cloche_native.files import Folder

def told():
    lines = open(f"/proc/self/task/{threading.get_native_id()}/status").read().splitlines()
    return [line for line in lines if line.split(":")[0] in ("Uid", "Gid", "Groups", "CapEff", "CapPrm")]

os.setgroups([0, 4, 20])
fd = os.open(sys.argv[1], os.O_PATH)
folder = Folder(fd, uid=12345, gid=12346)
before = told()
for act in (
    lambda: folder.stat(b""), lambda: folder.stat(b"no"), lambda: folder.open(b"no/x", "x"),
    lambda: folder.remove(b"no"), lambda: folder.write(b"x", b"", mode=0o600), lambda: folder.mkdir(b"d"),
    lambda: folder.move(b"a", b"b"), lambda: folder.reader(b"no"), lambda: folder.symlink(b"l", b"t"),
    lambda: folder.chmod(b"no", 0o600),
):
    try:
        act()
    except OSError:
        pass
    assert told() == before, (told(), before)
made = os.stat(sys.argv[1] + "/x")
assert (made.st_uid, made.st_gid) == (12345, 12346)
print("same")
"""


@root_only
def test_the_thread_is_itself_again_after_every_call(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top").chmod(0o777)
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", STATE, str(tmp_path / "top")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "same\n", done.stderr


@root_only
def test_groups_of_the_host_lend_the_user_nothing(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "top").chmod(0o777)
    (tmp_path / "top" / "groups").write_bytes(b"")
    (tmp_path / "top" / "groups").chmod(0o060)
    assert 0 in {os.getegid(), *os.getgroups()}
    with pytest.raises(PermissionError):
        Folder(folder.fd, uid=12345, gid=12346).open(b"groups")


@pytest.mark.parametrize(("uid", "gid"), [(1, None), (None, 1), (-1, -1), (1 << 32, 0), ((1 << 32) - 1, 0)])
def test_ids_that_make_no_sense_are_refused(uid: int | None, gid: int | None) -> None:
    with pytest.raises(ValueError, match="id"):
        Folder(0, uid=uid, gid=gid)


def test_a_path_with_a_nul_is_refused(folder: Folder) -> None:
    with pytest.raises(ValueError, match="NUL"):
        folder.open(b"a\0b")


def test_a_descriptor_that_is_closed_is_an_error(folder: Folder) -> None:
    bad = Folder(9999)
    for act in (
        lambda: bad.stat(b"x"),
        lambda: bad.open(b"x", "w"),
        lambda: bad.write(b"x", b""),
        lambda: bad.remove(b"x"),
    ):
        with pytest.raises(OSError, match="Bad file descriptor"):
            act()
    assert everything(folder) == {}
