"""Control groups for real, of whichever version this machine has."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche_native as native
from cloche_native import cgroup, cgroup_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make = Callable[..., cgroup.Group]
    Start = Callable[..., tuple[int, int]]

MIB = 1 << 20

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def hierarchy() -> Iterator[cgroup.Hierarchy]:
    found = cgroup.detect()
    if found is None:
        pytest.skip("no control groups may be made here")
    yield found
    found.tidy()


@pytest.fixture
def make(hierarchy: cgroup.Hierarchy) -> Iterator[Callable[..., cgroup.Group]]:
    made: list[cgroup.Group] = []

    def create(**bounds: float) -> cgroup.Group:
        made.append(hierarchy.create(f"cloche-test-{os.getpid()}-{len(made)}", **bounds))  # type: ignore[arg-type]
        return made[-1]

    yield create
    for group in made:
        if all(Path(folder).exists() for folder in group.folders):
            group.kill()
        group.delete()


@pytest.fixture
def start(null: int) -> Iterator[Callable[..., tuple[int, int]]]:
    running: dict[int, int] = {}

    def spawn(group: cgroup.Group, *argv: str) -> tuple[int, int]:
        pid, pidfd = native.spawn(
            argv, env={"PATH": "/usr/bin:/bin"}, fds={0: null, 1: null, 2: null}, cgroups=group.attach_fds()
        )
        running[pid] = pidfd
        return pid, pidfd

    yield spawn
    for pid, pidfd in running.items():
        if os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        os.waitpid(pid, 0)


def end_of(process: tuple[int, int]) -> int:
    pid, pidfd = process
    assert select.select([pidfd], [], [], 20)[0], "did not end"
    info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert info is not None
    return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status


def test_a_group_is_made_joined_and_removed(make: Make, start: Start) -> None:
    group = make(memory=64 * MIB, pids=16, cpu=1)
    assert group.processes() == []
    process = start(group, "/bin/sleep", "60")
    assert group.processes() == [process[0]]
    group.kill()
    assert end_of(process) == -signal.SIGKILL
    assert group.processes() == []
    group.delete()
    assert not any(Path(folder).exists() for folder in group.folders)
    group.delete()


def test_every_folder_is_joined(make: Make, start: Start) -> None:
    group = make()
    pid, _ = start(group, "/bin/sleep", "60")
    name = Path(group.folders[0]).name
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    assert sum(line.endswith(f"/cloche/{name}") for line in lines) == len(group.folders)


def test_memory_is_bounded_and_the_kill_counted(make: Make, start: Start) -> None:
    group = make(memory=32 * MIB)
    assert group.oom_kills() == 0
    hog = start(group, "/usr/bin/python3", "-c", "x = bytearray(200 << 20)")
    assert end_of(hog) == -signal.SIGKILL
    assert group.oom_kills() == 1
    assert 16 * MIB < group.stats()["memory_peak"] <= 32 * MIB
    assert end_of(start(group, "/usr/bin/python3", "-c", "x = bytearray(4 << 20)")) == 0


def test_processes_are_bounded(make: Make, start: Start) -> None:
    group = make(pids=4)
    script = "import os\ntry:\n for _ in range(9): os.fork() or os._exit(__import__('time').sleep(9))\n"
    script += "except OSError as e: os._exit(e.errno)"
    assert end_of(start(group, "/usr/bin/python3", "-c", script)) == errno.EAGAIN


def test_cpu_time_is_bounded_and_counted(make: Make, start: Start) -> None:
    group = make(cpu=0.25)
    began = time.monotonic()
    start(group, "/bin/sh", "-c", "while :; do :; done")
    while (used := group.stats())["throttled_us"] <= 100_000:  # on a busy machine it gets less than it may have
        assert time.monotonic() < began + 30
        time.sleep(0.1)
    passed = (time.monotonic() - began) * 1e6
    assert used["throttled"] > 0
    assert 50_000 < used["cpu_us"] < 0.25 * passed + 200_000


def test_a_frozen_group_stands_still_and_goes_on(make: Make, start: Start) -> None:
    group = make()
    start(group, "/bin/sh", "-c", "while :; do :; done")
    group.freeze()
    before = group.stats()["cpu_us"]
    time.sleep(0.1)
    assert group.stats()["cpu_us"] == before
    group.thaw()
    time.sleep(0.1)
    assert group.stats()["cpu_us"] > before + 10_000


def test_a_frozen_group_is_killed(make: Make, start: Start) -> None:
    group = make()
    process = start(group, "/bin/sleep", "60")
    group.freeze()
    group.kill()
    assert end_of(process) == -signal.SIGKILL


def test_a_fork_storm_is_killed_whole(make: Make, start: Start) -> None:
    group = make(pids=40)
    start(group, "/bin/bash", "-c", "storm() { storm & storm; }; storm 2>/dev/null")
    until = time.monotonic() + 20
    while (count := len(group.processes())) <= 5 and time.monotonic() < until:
        time.sleep(0.01)
    assert count > 5
    group.kill()
    assert group.processes() == []


def test_bounds_are_changed_both_ways(make: Make, start: Start) -> None:
    group = make(memory=64 * MIB, swap=0, pids=2, cpu=1)
    group.update(memory=16 * MIB)
    group.update(memory=128 * MIB, swap=16 * MIB, pids=20, cpu=2)
    assert group.bounds == {"memory": 128 * MIB, "swap": 16 * MIB, "pids": 20, "cpu": 2}
    assert end_of(start(group, "/usr/bin/python3", "-c", "x = bytearray(64 << 20)")) == 0


def test_less_memory_than_is_used_is_refused(make: Make, start: Start) -> None:
    group = make(memory=128 * MIB)
    start(group, "/usr/bin/python3", "-c", "x = bytearray(64 << 20); import time; time.sleep(60)")
    until = time.monotonic() + 10
    while group.stats()["memory"] < 64 * MIB and time.monotonic() < until:
        time.sleep(0.01)
    if len(group.folders) == 1:
        pytest.skip("version 2 kills instead of refusing")
    with pytest.raises(OSError, match="busy") as caught:
        group.update(memory=8 * MIB)
    assert caught.value.errno == errno.EBUSY


def test_a_group_with_processes_is_not_removed(make: Make, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup_files, "SETTLE_SECONDS", 0.05)
    group = make()
    start(group, "/bin/sleep", "60")
    with pytest.raises(OSError, match="processes stay in it") as caught:
        group.delete()
    assert caught.value.errno == errno.EBUSY


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", ".a", "a\0", "a b", "x" * 202])
def test_a_name_is_one_plain_word(hierarchy: cgroup.Hierarchy, name: str) -> None:
    with pytest.raises(ValueError, match="no name for a control group"):
        hierarchy.create(name)


def test_a_taken_name_is_told_and_a_refused_bound_leaves_nothing(hierarchy: cgroup.Hierarchy, make: Make) -> None:
    group = make()
    name = Path(group.folders[0]).name
    with pytest.raises(FileExistsError):
        hierarchy.create(name)
    assert Path(group.folders[0]).exists()
    with pytest.raises(OSError, match="writing"):
        hierarchy.create(f"{name}-bad", pids=-5)
    assert not any(Path(f"{folder}-bad").exists() for folder in group.folders)


def test_a_parent_that_was_tidied_away_is_made_again(hierarchy: cgroup.Hierarchy, make: Make) -> None:
    hierarchy.tidy()
    group = make()
    hierarchy.tidy()  # keeps what is in use
    assert all(Path(folder).exists() for folder in group.folders)


def test_a_pool_gives_the_same_group_as_new(hierarchy: cgroup.Hierarchy, start: Start) -> None:
    pool = cgroup.Pool(hierarchy, f"cloche-test-pool-{os.getpid()}")
    try:
        first = pool.take(memory=32 * MIB, pids=8, cpu=1)
        assert end_of(start(first, "/usr/bin/python3", "-c", "x = bytearray(200 << 20)")) == -signal.SIGKILL
        pool.give(first)
        second = pool.take(memory=32 * MIB, pids=8, cpu=1)
        if hierarchy.version == 1:
            assert second.folders == first.folders
        used = second.stats()
        assert second.oom_kills() == 0
        assert used["memory_peak"] < 8 * MIB
        assert used["cpu_us"] < 1000
        assert used["throttled"] == used["throttled_us"] == 0
        other = pool.take(memory=64 * MIB, pids=8, cpu=1)
        assert other.folders != second.folders
        pool.give(second)
        pool.give(other)
    finally:
        pool.close()
    assert not any(Path(folder).exists() for folder in (*first.folders, *other.folders))


def test_a_pool_keeps_no_more_than_it_may_and_nothing_with_other_bounds(hierarchy: cgroup.Hierarchy) -> None:
    pool = cgroup.Pool(hierarchy, f"cloche-test-pool-{os.getpid()}", keep=1)
    groups = [pool.take(pids=8) for _ in range(3)]
    groups[0].update(pids=9)
    try:
        for group in groups:
            pool.give(group)
        kept = [group for group in groups if Path(group.folders[0]).exists()]
        assert kept == ([groups[2]] if hierarchy.version == 1 else [])
        assert pool.take(pids=9).folders not in [group.folders for group in groups]
    finally:
        for folder in Path(groups[0].folders[0]).parent.glob(f"cloche-test-pool-{os.getpid()}-*"):
            hierarchy_folders = {name: f"{parent}/{folder.name}" for name, parent in hierarchy.parents.items()}
            for path in dict.fromkeys(hierarchy_folders.values()):
                cgroup_files.remove(path)
        pool.close()


def test_groups_are_made_where_this_process_itself_is_bounded(hierarchy: cgroup.Hierarchy) -> None:
    if hierarchy.version != 1:
        pytest.skip("version 2 makes them beside this process")
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            assert hierarchy.parents["memory"].endswith(f"{path.rstrip('/')}/cloche")


ALONE = """
from pathlib import Path
from cloche_native import cgroup
found = cgroup.detect()
if found is not None:
    group = found.create("inner", memory=1 << 24, pids=4, cpu=1)
    assert (Path(group.folders[0]) / "memory.max").read_text() == f"{1 << 24}\\n"
    group.delete()
    found.tidy()
    assert cgroup.detect() == found
print(Path("/proc/self/cgroup").read_text().strip().rpartition("/")[2])
"""


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("company", ["alone", "beside another"])
def test_a_process_alone_in_a_group_handed_over_to_it_steps_aside(
    hierarchy: cgroup.Hierarchy, make: Make, start: Start, company: str
) -> None:
    if hierarchy.version == 1:
        pytest.skip("version 1 lets a group with processes have others below it")
    group = make(pids=40)
    folder = Path(group.folders[0])
    for path in (folder, folder / "cgroup.procs", folder / "cgroup.subtree_control"):
        os.chown(path, 231_002, 231_003)  # as a service manager does for User= with Delegate=
    if company != "alone":
        start(group, "/bin/sleep", "60")
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid, pidfd = native.spawn(
        (sys.executable, "-c", ALONE), env={}, fds={0: writer, 1: writer, 2: writer}, cgroups=group.attach_fds(),
        uid=231_002, gid=231_003,
    )  # fmt: skip
    os.close(writer)
    with open(reader, "rb") as output:
        said = output.read().decode()
    os.close(pidfd)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 127 or "Permission denied" in said:
        pytest.skip(f"another user can't run {sys.executable}: {said}")
    assert said == ("cloche-host\n" if company == "alone" else f"{folder.name}\n")
    if company == "alone":
        (folder / "cloche-host").rmdir()
    group.kill()


def test_what_a_killed_probe_left_is_removed_by_the_next(hierarchy: cgroup.Hierarchy) -> None:
    before = subprocess.Popen(["/bin/true"])
    before.wait()
    kind = f"probe-{os.stat('/proc/self/ns/pid').st_ino}-0"
    stale, living = (hierarchy.create(f"{pid}-{kind}") for pid in (before.pid, os.getpid()))
    try:
        assert cgroup.detect() == hierarchy
        assert [any(Path(f).exists() for f in group.folders) for group in (stale, living)] == [False, True]
    finally:
        stale.delete()
        living.delete()


def test_it_says_none_where_no_group_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "parents_v1", lambda: {"memory": "/proc/cloche", "pids": "/proc/cloche"})
    monkeypatch.setattr(cgroup, "parents_v2", lambda: iter(["/proc/cloche"]))
    monkeypatch.setattr(cgroup, "step_aside_v2", lambda: None)
    assert cgroup.detect() is None
    monkeypatch.setattr(cgroup, "parents_v1", lambda: None)
    assert cgroup.detect() is None


def test_a_group_in_use_is_not_waited_for_without_patience(make: Make, start: Start) -> None:
    group = make()
    process = start(group, "/bin/sleep", "60")
    began = time.monotonic()
    with pytest.raises(OSError, match="processes stay in it") as caught:
        group.delete(patience=0)
    assert caught.value.errno == errno.EBUSY
    assert time.monotonic() - began < 1
    group.kill()
    assert end_of(process) == -signal.SIGKILL


def test_a_spare_group_that_somebody_removed_is_not_given_again(hierarchy: cgroup.Hierarchy) -> None:
    pool = cgroup.Pool(hierarchy, f"cloche-test-{os.getpid()}-gone")
    first = pool.take(pids=8)
    pool.give(first)
    if not first.is_there():
        pool.close()
        pytest.skip("groups of this version are not kept")
    first.delete()
    second = pool.take(pids=8)
    assert second.is_there()
    second.delete()
    pool.give(second)
    pool.close()
