"""Finding and reading control groups, on files laid out as the kernel documents them; version 2 needs no such kernel.

That the kernel then does it is for test_cgroup.py, on a machine of that version.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from cloche_native import cgroup_files
from cloche_native.cgroup_group import GroupV2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def group(tmp_path: Path) -> GroupV2:
    for name in ("memory.max", "memory.swap.max", "pids.max", "cpu.max", "cgroup.freeze", "cgroup.kill"):
        (tmp_path / name).touch()
    (tmp_path / "cgroup.procs").write_text("12\n345\n")
    (tmp_path / "cgroup.events").write_text("populated 0\nfrozen 1\n")
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n")
    (tmp_path / "memory.current").write_text("4096\n")
    (tmp_path / "pids.current").write_text("2\n")
    (tmp_path / "cpu.stat").write_text(
        "usage_usec 70\nuser_usec 50\nsystem_usec 20\nnr_throttled 4\nthrottled_usec 9\n"
    )
    return GroupV2(dict.fromkeys(("memory", "pids", "cpu"), str(tmp_path)))


def test_bounds_of_version_2_are_written_as_documented(group: GroupV2, tmp_path: Path) -> None:
    group.update(memory=1 << 20, swap=4096, pids=9, cpu=1.5)
    found = {name: (tmp_path / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max", "cpu.max")}
    assert found == {
        "memory.max": "1048576", "memory.swap.max": "4096", "pids.max": "9", "cpu.max": "150000 100000",
    }  # fmt: skip
    (tmp_path / "memory.swap.max").unlink()
    group.update(memory=1 << 21)
    assert (tmp_path / "memory.max").read_text() == "2097152"


def test_version_2_is_never_bounded_below_what_is_used_since_the_kernel_would_kill_for_that(
    group: GroupV2, tmp_path: Path
) -> None:
    group.update(memory=4 << 20)
    (tmp_path / "memory.high").write_text("max")
    (tmp_path / "memory.current").write_text("2097153\n")
    with pytest.raises(OSError, match="2097153 bytes are in use, and 2097152 were asked for") as caught:
        group.update(memory=2 << 20)
    assert caught.value.errno == errno.EBUSY
    assert (tmp_path / "memory.max").read_text() == str(4 << 20)
    assert (tmp_path / "memory.high").read_text().startswith("max")
    assert group.bounds["memory"] == 4 << 20


def test_version_2_tells_what_it_uses(group: GroupV2, tmp_path: Path) -> None:
    used = {"memory": 4096, "cpu_us": 70, "pids": 2, "throttled": 4, "throttled_us": 9}
    assert group.stats() == used
    (tmp_path / "memory.peak").write_text("8192\n")
    assert group.stats() == used | {"memory_peak": 8192}
    (tmp_path / "memory.peak").unlink()
    (tmp_path / "io.stat").write_text(
        "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353\n8:0 rbytes=800 wbytes=4 rios=1 wios=1\n"
    )
    assert group.stats() == used | {"io_read": 1460000, "io_write": 314773508}
    assert group.oom_kills() == 1
    assert group.processes() == [12, 345]


def test_version_2_freezes_kills_and_has_one_folder(group: GroupV2, tmp_path: Path) -> None:
    group.freeze()
    assert (tmp_path / "cgroup.freeze").read_text() == "1"
    group.thaw()
    assert (tmp_path / "cgroup.freeze").read_text() == "0"
    group.kill()
    assert (tmp_path / "cgroup.kill").read_text() == "1"
    assert group.folders == (str(tmp_path),)
    assert not group.recycle()
    (fd,) = group.attach_fds()
    assert os.readlink(f"/proc/self/fd/{fd}") == str(tmp_path / "cgroup.procs")
    os.close(fd)


def test_what_does_not_settle_is_told(group: GroupV2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup_files, "SETTLE_SECONDS", 0.01)
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    with pytest.raises(TimeoutError, match="does not freeze"):
        group.freeze()
    with pytest.raises(TimeoutError, match="outlive SIGKILL"):
        group.kill()


def test_without_patience_it_is_asked_once_and_nobody_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False])
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it slept"))
    with pytest.raises(TimeoutError, match="no within 0 s"):
        cgroup_files.settle(lambda: next(answers), "no", patience=0)
    assert list(answers) == []


@pytest.fixture
def proc(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Stand in for what /proc says about this process."""

    def say(mountinfo: str, own: str) -> None:
        texts = {"/proc/self/mountinfo": mountinfo, "/proc/self/cgroup": own}
        monkeypatch.setattr(cgroup_files, "_read_long", texts.__getitem__)

    return say


def test_version_2_is_looked_for_here_and_then_further_up(proc: Callable[[str, str], None], tmp_path: Path) -> None:
    (tmp_path / "user.slice/app").mkdir(parents=True)
    proc(f"30 24 0:26 / {tmp_path} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n", "0::/user.slice/app\n")
    assert list(cgroup_files.parents_v2()) == [
        f"{tmp_path}/user.slice/app/cloche",
        f"{tmp_path}/user.slice/cloche",
        f"{tmp_path}/cloche",
    ]
    assert cgroup_files.parents_v1() is None


def test_version_1_is_found_where_controllers_share_a_mount(proc: Callable[[str, str], None], tmp_path: Path) -> None:
    for name in ("cpu,cpuacct", "memory", "pids", "freezer"):
        (tmp_path / name / "box").mkdir(parents=True)
    names = ("cpu,cpuacct", "memory", "pids", "freezer")
    mounts = "".join(f"3{i} 24 0:2{i} / {tmp_path}/{n} rw - cgroup cgroup rw,{n}\n" for i, n in enumerate(names))
    proc(mounts, "9:cpu,cpuacct:/box\n8:memory:/box\n7:pids:/\n6:freezer:/gone\n1:name=systemd:/box\n0::/\n")
    assert cgroup_files.parents_v1() == {
        "freezer": f"{tmp_path}/freezer/cloche",
        "memory": f"{tmp_path}/memory/box/cloche",
        "pids": f"{tmp_path}/pids/cloche",
        "cpu": f"{tmp_path}/cpu,cpuacct/box/cloche",
        "cpuacct": f"{tmp_path}/cpu,cpuacct/box/cloche",
    }
    assert list(cgroup_files.parents_v2()) == []


def test_a_container_that_sees_part_of_the_tree_finds_itself_in_it(
    proc: Callable[[str, str], None], tmp_path: Path
) -> None:
    (tmp_path / "inner").mkdir()
    proc(f"30 24 0:26 /docker/abc {tmp_path} rw - cgroup2 cgroup2 rw\n", "0::/docker/abc/inner\n")
    assert next(cgroup_files.parents_v2()) == f"{tmp_path}/inner/cloche"
    proc(f"30 24 0:26 /docker/abc {tmp_path} rw - cgroup2 cgroup2 rw\n", "0::/docker/abcdef\n")
    assert next(cgroup_files.parents_v2()) == f"{tmp_path}/cloche"
    proc(f"30 24 0:26 / {tmp_path} rw - cgroup2 cgroup2 rw\n", "0::/../../elsewhere\n")
    assert next(cgroup_files.parents_v2()) == f"{tmp_path}/cloche"


def test_what_only_counts_is_handed_down_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").touch()
    (tmp_path / "cloche").mkdir()
    for folder in (tmp_path, tmp_path / "cloche"):
        (folder / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.controllers").write_text("cpu io memory pids\n")
    (tmp_path / "cloche/cgroup.controllers").write_text("cpu memory pids\n")
    cgroup_files.prepare_v2(f"{tmp_path}/cloche")
    assert (tmp_path / "cgroup.subtree_control").read_text().startswith("+io")
    assert (tmp_path / "cloche/cgroup.subtree_control").read_text() == "cpu memory pids\n"


def test_controllers_are_handed_down_once(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").touch()
    above = tmp_path / "cgroup.subtree_control"
    above.write_text("cpu io memory\n")
    (tmp_path / "cloche").mkdir()
    below = tmp_path / "cloche/cgroup.subtree_control"
    below.write_text("cpu memory pids\n")
    cgroup_files.prepare_v2(f"{tmp_path}/cloche")
    assert above.read_text().startswith("+pids")
    assert below.read_text() == "cpu memory pids\n"


def test_a_place_that_no_process_may_leave_is_no_place(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="no process may be moved"):
        cgroup_files.prepare_v2(f"{tmp_path}/cloche")


def test_a_refused_write_names_the_file_and_the_text(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="writing '1'") as caught:
        cgroup_files.write("/dev/full", "1")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == "/dev/full"
    with pytest.raises(OSError, match="not empty"):
        cgroup_files.remove(str(tmp_path.parent))
