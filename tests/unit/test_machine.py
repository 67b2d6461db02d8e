from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloche import StartError, machine
from cloche.machine import ProbeCache, reachable, remove
from cloche.uids import UidPool, missing_users

pytestmark = pytest.mark.usefixtures("no_own_leaks")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    monkeypatch.setattr(machine, "state_folder", lambda: folder)
    return folder


# -- what guests leave behind ----------------------------------------------------------------------------------------


def test_whatever_a_guest_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "file").write_text("x")
    (top / "a" / "link").symlink_to(outside)
    (top / "loop").symlink_to(".")
    os.mkfifo(top / "fifo")
    (top / "a" / "b" / "no\nnice \udcff name").write_text("x")
    (top / "closed" / "inner").mkdir(parents=True)
    (top / "closed" / "inner" / "file").write_text("x")
    (top / "closed").chmod(0)
    (top / "a" / "b").chmod(0o500)
    top.chmod(0)
    remove(top)
    assert not top.exists()
    assert (outside / "kept").read_text() == "kept"


def test_folders_of_any_depth_and_width_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    for n in range(50):
        (top / f"wide{n}").mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)
    remove(top)
    assert not top.exists()


# -- what a launcher's user can reach --------------------------------------------------------------------------------


def test_a_program_that_others_can_reach_is_taken_as_it_is() -> None:
    assert reachable(Path("/bin/true"), 12345) == Path("/bin/true")
    assert reachable(Path("/root/anything"), None) == Path("/root/anything")


def test_one_that_only_its_owner_can_reach_is_copied_with_its_bundled_libraries(tmp_path: Path, state: Path) -> None:
    site = tmp_path / "private" / "site"
    (site / "package" / "bin").mkdir(parents=True)
    (site / "python_package.libs").mkdir()
    (site / "other.libs").mkdir()
    (site / "package" / "bin" / "tool").write_text("#!/bin/sh\n")
    (site / "python_package.libs" / "libx.so").write_text("library")
    (site / "other.libs" / "liby.so").write_text("of another package")
    (tmp_path / "private").chmod(0o700)
    copy = reachable(site / "package" / "bin" / "tool", 12345)
    assert copy.is_relative_to(state)
    assert copy.read_text() == "#!/bin/sh\n"
    assert copy.stat().st_mode & 0o777 == 0o755
    assert (copy.parents[2] / "python_package.libs" / "libx.so").read_text() == "library"
    assert not (copy.parents[2] / "other.libs").exists()
    assert reachable(site / "package" / "bin" / "tool", 12345) == copy
    (site / "package" / "bin" / "tool").write_text("#!/bin/sh\n# newer\n")
    assert reachable(site / "package" / "bin" / "tool", 12345) != copy


# -- the probe's answers ---------------------------------------------------------------------------------------------


def test_an_answer_is_good_for_its_key_only(state: Path) -> None:
    cache = ProbeCache("x", ["kernel 6", "boot 1"])
    assert cache.read() is None
    cache.write({"fine": True})
    assert ProbeCache("x", ["kernel 6", "boot 1"]).read() == {"fine": True}
    assert ProbeCache("x", ["kernel 6", "boot 2"]).read() is None
    assert ProbeCache("y", ["kernel 6", "boot 1"]).read() is None
    for spoiled in ("", "{", "[]", '{"key": 5}', '{"key": ["kernel 6", "boot 1"], "facts": []}', "\xff"):
        (state / "probe-x.json").write_text(spoiled, encoding="latin-1")
        assert cache.read() is None
    assert [path.name for path in state.iterdir()] == ["probe-x.json"]


# -- users -----------------------------------------------------------------------------------------------------------


def test_each_sandbox_has_a_user_of_its_own_until_it_gives_it_back(tmp_path: Path) -> None:
    pool, other = UidPool(tmp_path / "uids", 300_000, 4), UidPool(tmp_path / "uids", 300_000, 4)
    seats = [pool.take(), other.take(), pool.take(), other.take()]
    assert {seat.uid for seat in seats} == {300_000, 300_001, 300_002, 300_003}
    with pytest.raises(StartError, match=r"all 4 host users from 300000 on are in use; raise host\.uid_count"):
        pool.take()
    seats[2].release()
    seats[2].release()
    kept = pool.take()
    assert kept.uid == seats[2].uid
    seats[0].release()
    with pytest.raises(StartError):
        other.take()
    pool.close()
    again = other.take()
    assert again.uid == seats[0].uid
    for seat in (*seats, kept, again):
        seat.release()
    pool.close()
    other.close()


def test_users_that_this_process_does_not_have_are_told() -> None:
    most = sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text().splitlines())
    assert "host.uid_base" in missing_users(most, 10)
    if most > 1 << 31:
        assert missing_users(200_000, 65_536) == ""
