"""Limits and statistics in real boxes, of each runtime, with control groups and without any."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche_native import cgroup, image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20
pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(params=["groups", "no groups"])
def grouped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether there are control groups; without, hosts find none, as on a machine that has none."""
    if request.param == "groups":
        if cgroup.detect() is None:
            pytest.skip("no control groups may be made here")
        return True
    monkeypatch.setattr(cgroup, "detect", lambda: None)
    return False


@pytest.fixture
def no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have hosts find no control groups."""
    monkeypatch.setattr(cgroup, "detect", lambda: None)


@pytest.fixture(params=["namespaces", "bwrap", "process", "gvisor"])
def host(
    request: pytest.FixtureRequest,
    grouped: bool,  # noqa: FBT001 - a fixture
    host_of: Callable[[str], cloche.Host],
) -> cloche.Host:
    """Give a host that makes boxes of one runtime."""
    if request.param == "gvisor" and not grouped:
        pytest.skip("without a group nothing bounds a kernel's memory and processors: see the test of its report")
    return host_of(request.param)


@pytest.fixture
def box(host: cloche.Host) -> Iterator[cloche.Sandbox]:
    with host.create(isolation="standard", strict=False, limits={"disk": "16M", "memory": "256M"}) as box:
        yield box


# -- what a box uses -------------------------------------------------------------------------------------------------


def test_statistics_tell_what_a_box_uses(box: cloche.Sandbox, grouped: bool) -> None:  # noqa: FBT001 - a fixture
    before = box.stats()
    assert set(before) >= {"cpu", "memory", "pids"}
    job = box.spawn("python3", "-c", "x = bytearray(48 << 20); print(1, flush=True); import time; time.sleep(60)")
    assert next(job.lines()) == "1"
    during = box.stats()
    assert during["memory"] - before["memory"] > 40 * MIB
    assert during["pids"] > before["pids"]
    job.kill()
    assert box.exec("sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done").ok
    after = box.stats()
    assert after["cpu"] - before["cpu"] > 0.05
    assert after["memory"] < during["memory"] - 40 * MIB
    if grouped:
        assert after["memory_peak"] >= 40 * MIB
        assert after["throttled"] >= 0
        assert after["throttled_seconds"] >= 0
        assert after["oom_kills"] == 0
    else:
        assert not set(after) & {"throttled", "throttled_seconds", "oom_kills"}


def test_statistics_tell_how_full_the_work_folder_is(box: cloche.Sandbox) -> None:
    before = box.stats()
    if box.runtime == "process":
        assert "disk_used" not in before  # it lies on the host's disk, whose fullness says nothing of the box
        return
    assert before["disk_size"] == 16 * MIB
    assert box.exec("sh", "-c", "head -c 4194304 /dev/zero > big; touch a b c").ok
    after = box.stats()
    assert after["disk_used"] - before["disk_used"] == 4 * MIB
    assert after["files_used"] - before["files_used"] == 4
    assert after["files_size"] == before["files_size"]


def test_statistics_count_what_ended_programs_used(box: cloche.Sandbox) -> None:
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.2: pass"
    for _ in range(2):
        assert box.exec("python3", "-c", burn).ok
    assert box.stats()["cpu"] >= 0.4


def test_a_paused_box_tells_statistics_and_a_stopped_one_does_not(box: cloche.Sandbox) -> None:
    box.spawn("sh", "-c", "while :; do :; done")
    box.pause()
    time.sleep(0.05)
    first = box.stats()["cpu"]
    time.sleep(0.2)
    assert box.stats()["cpu"] - first < 0.1
    box.resume()
    box.kill()
    with pytest.raises(cloche.StateError):
        box.stats()


def test_statistics_count_bytes_moved_or_leave_them_out(box: cloche.Sandbox, tmp_path: Path) -> None:
    assert box.exec("sh", "-c", "head -c 1048576 /dev/zero > moved && sync moved").ok
    found = box.stats()
    if os.geteuid() != 0:
        assert ("io_read" in found) == ("io_write" in found)
    elif box.runtime == "process" and os.stat(tmp_path).st_dev >> 8:  # work folders lie in the same place
        assert found["io_write"] >= MIB
    else:
        assert found["io_write"] >= 0


# -- limits that are kept, and how an end for one is told -------------------------------------------------------------

HOG = 'x = bytearray(%d << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint("full")'


def test_every_limit_that_is_asked_for_is_in_the_report(host: cloche.Host) -> None:
    asked = {
        "memory": "256M", "cpu": 1, "pids": 64, "open_files": 128, "file_size": "8M", "disk": "16M", "files": 512,
        "output": "1M", "wall": 30,
    }  # fmt: skip
    with host.create(isolation="standard", strict=False, limits=asked, lifetime=60, idle_timeout=50) as box:
        assert set(asked) | {"lifetime", "idle_timeout"} <= set(box.enforcement)
        for name in {*asked, "lifetime", "idle_timeout"}:
            verdict = box.enforcement[name]
            if not (box.runtime == "process" and name in ("disk", "files")):
                assert not isinstance(verdict, cloche.Unenforced), (name, verdict)
            assert str(verdict)


@pytest.mark.usefixtures("no_groups")
def test_without_groups_it_is_reported_that_nothing_bounds_a_kernel_of_its_own(
    host_of: Callable[[str], cloche.Host],
) -> None:
    with host_of("gvisor").create(isolation="standard", strict=False, limits={"memory": "256M", "cpu": 1}) as box:
        for name in ("memory", "cpu"):
            verdict = box.enforcement[name]
            assert isinstance(verdict, cloche.Unenforced)
            assert "run as root" in verdict.fix
        assert box.exec("echo", "fine").text == "fine\n"
    with pytest.raises(cloche.Unenforceable, match="memory"):
        host_of("gvisor").create(isolation="standard")


def test_too_much_memory_ends_the_program_and_is_told(box: cloche.Sandbox) -> None:
    done = box.exec("python3", "-c", HOG % 600)
    assert (done.reason, done.signal or 9, done.stdout) == ("out_of_memory", 9, b"")
    if box.runtime == "gvisor":  # to the host all of it is one process, which ends as a whole
        assert box.wait() == "out_of_memory"
        return
    assert done.signal == 9
    assert "memory limit" in done.detail
    assert box.exec("python3", "-c", HOG % 100).text == "full\n"


def test_without_groups_the_memory_of_a_tree_is_bounded_and_machines_that_reserve_much_run(
    box: cloche.Sandbox,
    grouped: bool,  # noqa: FBT001 - a fixture
) -> None:
    if grouped:
        pytest.skip("the kernel does it")
    verdict = box.enforcement["memory"]
    assert isinstance(verdict, cloche.Partial)
    assert "every 2 to 100 ms" in verdict.caveat
    tree = f"for i in 1 2 3 4; do python3 -c '{HOG % 100}\nimport time; time.sleep(60)' & done; wait"
    assert box.exec("sh", "-c", tree).reason == "out_of_memory"
    reserve = "import mmap; m = mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | 0x4000, prot=0)"
    assert box.exec("python3", "-c", reserve + "; print('reserved')").text == "reserved\n"


def test_too_large_a_file_is_explained(host: cloche.Host) -> None:
    with host.create(isolation="standard", strict=False, limits={"file_size": "1M"}) as box:
        done = box.exec("head", "-c", "2000000", "/dev/zero", stdin=None)
        assert done.ok
        done = box.exec("sh", "-c", "exec head -c 2000000 /dev/zero > big")
        assert (done.reason, done.signal) == ("signalled", 25)
        assert "file_size" in done.detail
        assert "1048576" in done.detail


def test_an_end_at_the_hands_of_the_host_names_the_limit(host: cloche.Host) -> None:
    with host.create(isolation="standard", strict=False, limits={"wall": 0.5, "output": "1M"}) as box:
        assert box.exec("sleep", "60").reason == "limit:wall"
        done = box.exec("sh", "-c", "head -c 2000000 /dev/zero; sleep 60")
        assert (done.reason, len(done.stdout)) == ("limit:output", 1 << 20)


# -- limits that change ------------------------------------------------------------------------------------------------


def test_memory_changes_for_what_runs(box: cloche.Sandbox) -> None:
    job = box.spawn("python3", "-c", f"input()\n{HOG % 300}", stdin=cloche.OPEN)
    box.update(limits=cloche.Limits(memory="800M"))
    assert box.spec.limits.memory == 800 * MIB
    job.write("\n")
    assert job.wait(30).stdout == b"full\n"
    box.update(limits={"memory": "128M"})
    stays = f"{HOG % 300}\nimport time\ntime.sleep(20)"  # without a group what looks at it may come late
    assert box.exec("python3", "-c", stays).reason == "out_of_memory"
    assert box.spec.limits.disk == 16 * MIB


def test_less_memory_than_is_used_is_refused_or_ends_what_uses_it(
    box: cloche.Sandbox,
    grouped: bool,  # noqa: FBT001 - a fixture
) -> None:
    job = box.spawn("python3", "-c", f"{HOG % 150}\nimport sys, time; sys.stdout.flush(); time.sleep(60)")
    assert next(job.lines()) == "full"
    if grouped:
        with pytest.raises(cloche.LimitExceeded, match=r"limits\.memory: 67108864 bytes were asked for"):
            box.update(limits={"memory": "64M", "pids": 99})
        assert (box.spec.limits.memory, job.running) == (256 * MIB, True)
        assert box.spec.limits.pids != 99
        assert box.exec("python3", "-c", HOG % 50).ok  # the old bound still holds, not something in between
    else:
        box.update(limits={"memory": "64M"})
        assert job.wait(30).reason == "out_of_memory"


def test_processors_change_at_once_with_groups_and_are_refused_without(
    box: cloche.Sandbox,
    grouped: bool,  # noqa: FBT001 - a fixture
) -> None:
    if not grouped:
        with pytest.raises(cloche.ClocheError, match="cpu"):
            box.update(limits={"cpu": 0.2})
        with pytest.raises(cloche.Unsupported, match=r"limits\.cpu"):
            box.update(limits={"cpu": 1, "memory": "300M"})
        assert box.spec.limits.memory == 256 * MIB
        return
    job = box.spawn("sh", "-c", "while :; do :; done")
    box.update(limits={"cpu": 0.2})
    before, began = box.stats(), time.monotonic()
    time.sleep(1.5)
    after = box.stats()
    share = (after["cpu"] - before["cpu"]) / (time.monotonic() - began)
    assert share < 0.35
    assert after["throttled"] > before["throttled"]
    assert after["throttled_seconds"] > before["throttled_seconds"]
    job.kill()


def test_limits_of_each_process_hold_for_what_comes_and_say_what_keeps_the_old(box: cloche.Sandbox) -> None:
    show = "import resource as r; print(r.getrlimit(7)[0], r.getrlimit(1)[0])"
    box.update(limits={"open_files": 77, "file_size": "1M"})
    assert box.exec("python3", "-c", show).text == "77 1048576\n"
    job = box.spawn("python3", "-c", f"input(); {show}", stdin=cloche.OPEN)
    box.update(limits={"open_files": 99})
    verdict = box.enforcement["open_files"]
    assert isinstance(verdict, cloche.Partial)
    assert "keep the limit they were started with" in verdict.caveat
    job.write("\n")
    assert job.wait(30).stdout == b"77 1048576\n"
    assert box.exec("python3", "-c", show).text == "99 1048576\n"
    box.update(limits={"output": "1M"})
    assert box.enforcement["open_files"] == verdict
    assert box.exec("head", "-c", "2000000", "/dev/zero").reason == "limit:output"
    box.update(limits={"wall": 0.3})
    assert box.exec("sleep", "60").reason == "limit:wall"


def test_the_number_of_processes_changes(box: cloche.Sandbox) -> None:
    forks = "import os\nn = 0\ntry:\n while n < 60:\n  if not os.fork(): os.execvp('sleep', ['sleep', '5'])\n  n += 1\n"
    forks += "except OSError: pass\nprint(n)"
    others = 8 if box.runtime == "process" else 0  # it is counted with the caller's own, which come and go
    box.update(limits={"pids": 12})
    assert 4 <= int(box.exec("python3", "-c", forks).text) <= 13 + others
    box.update(limits={"pids": 40, "memory": "1G"})  # a kernel of its own takes megabytes for each
    assert 20 <= int(box.exec("python3", "-c", forks).text) <= 41 + others


def test_folders_in_memory_change_their_size_for_root(box: cloche.Sandbox) -> None:
    if os.geteuid() != 0:
        with pytest.raises(cloche.Unsupported, match="only root"):
            box.update(limits={"disk": "32M"})
        return
    if box.runtime == "process":
        box.update(limits={"disk": "32M"})
        assert isinstance(box.enforcement["disk"], cloche.Unenforced)  # as it was
        return
    assert box.exec("sh", "-c", "head -c 12000000 /dev/zero > f").ok
    with pytest.raises(cloche.LimitExceeded, match="are in /workspace of the box already"):
        box.update(limits={"disk": "8M"})
    assert (box.stats()["disk_size"], box.spec.limits.disk) == (16 * MIB, 16 * MIB)
    box.update(limits={"disk": "32M", "files": 100})
    assert box.stats()["disk_size"] == 32 * MIB
    assert box.exec("sh", "-c", "head -c 24000000 /dev/zero > f").ok
    if box.runtime == "gvisor":
        assert "keep the size" in str(box.enforcement["disk"])
    for folder in () if box.runtime == "gvisor" else ("/tmp", "/dev/shm"):
        assert box.exec("sh", "-c", f"head -c 24000000 /dev/zero > {folder}/f && rm {folder}/f").ok
        assert b"No space" in box.exec("sh", "-c", f"head -c 40000000 /dev/zero > {folder}/g; rm {folder}/g").stderr
    many = "for n in $(seq 120); do : > f$n || exit 9; done"
    assert box.exec("sh", "-c", many).exit_code != 0


def test_a_paused_box_takes_new_limits(box: cloche.Sandbox) -> None:
    box.pause()
    box.update(limits={"open_files": 55, "memory": "200M"})
    box.resume()
    assert box.exec("sh", "-c", "ulimit -n").text == "55\n"


def test_a_box_that_went_down_while_its_limits_change_is_an_error(box: cloche.Sandbox) -> None:
    box.kill()
    with pytest.raises(cloche.StateError, match="change limits of"):
        box.update(limits={"memory": "200M"})


@pytest.mark.parametrize("limits", [None, 5, {"memory": -1}, {"nonsense": 1}, [("memory", 5)]])
def test_limits_that_make_no_sense_change_nothing(box: cloche.Sandbox, limits: object) -> None:
    before = box.spec
    with pytest.raises(cloche.SpecError):
        box.update(limits=limits)  # type: ignore[arg-type]
    assert box.spec is before


# -- a work folder that is an image ------------------------------------------------------------------------------------


def loops() -> set[str]:
    """Give the loop devices that have a file."""
    return {path.parent.parent.name for path in Path("/sys/block").glob("loop*/loop/backing_file")}


def gone(before: set[str]) -> bool:
    deadline = time.monotonic() + 10
    while loops() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    return not loops() - before


@pytest.fixture
def imaged(host: cloche.Host) -> Iterator[cloche.Sandbox]:
    if os.geteuid() != 0 or image.problem():
        pytest.skip(f"no image can be made here: {image.problem()}")
    work = cloche.Workspace("image")
    before = loops()
    try:
        box = host.create(isolation="standard", workspace=work, limits={"disk": "32M", "files": 600}, require=["disk"])
    except cloche.Unenforceable as error:
        pytest.skip(f"this runtime makes no image: {error}")
    with box:
        yield box
    assert gone(before)


def test_an_image_is_written_by_the_box_bounded_and_gone_with_it(imaged: cloche.Sandbox) -> None:
    assert isinstance(imaged.enforcement["disk"], cloche.Enforced)
    assert imaged.exec("sh", "-c", "echo mine > file; mkdir d; ls -A; stat -c '%u %a' . file").text == (
        "d\nfile\n1000 755\n1000 644\n"
    )
    assert imaged.exec("sh", "-c", "head -c 20000000 /dev/zero > big").ok
    assert b"No space" in imaged.exec("sh", "-c", "head -c 40000000 /dev/zero > bigger; rm bigger").stderr
    assert imaged.exec("sh", "-c", "for n in $(seq 700); do : > f$n || exit 9; done").exit_code != 0
    found = imaged.stats()
    assert 20 * MIB < found["disk_size"] <= 32 * MIB
    assert found["disk_used"] >= 20_000_000
    with pytest.raises(cloche.Unsupported, match="/workspace of the box has a fixed size"):
        imaged.update(limits={"disk": "64M"})
    assert imaged.exec("sh", "-c", "head -c 40000000 /dev/zero > /tmp/f").exit_code != 0  # set back with it


def test_an_image_is_a_file_system_that_holds_no_way_to_the_host(imaged: cloche.Sandbox) -> None:
    if imaged.runtime != "gvisor":  # whose kernel lists its mounts without these
        assert "nosuid" in imaged.exec("sh", "-c", "grep ' /workspace ' /proc/self/mountinfo").text
        assert "nodev" in imaged.exec("sh", "-c", "grep ' /workspace ' /proc/self/mountinfo").text
    assert imaged.exec("sh", "-c", "ls /dev/loop* 2>/dev/null").text == ""


def test_nothing_is_left_of_an_image_when_its_host_is_killed(grouped: bool) -> None:  # noqa: FBT001 - a fixture
    if os.geteuid() != 0 or image.problem() or not grouped:
        pytest.skip("once, as root, where images can be made")
    before = loops()
    code = (
        "import cloche, os, signal\n"
        "box = cloche.Host().__enter__().create(isolation='standard', workspace=cloche.Workspace('image'),"
        " limits={'disk': '16M'})\n"
        "assert box.exec('sh', '-c', 'echo > f').ok\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9, done.stderr
    assert gone(before)
    if (groups := cgroup.detect()) is not None:  # the empty parent of its group stays until the next host ends
        groups.tidy()


@pytest.mark.parametrize("limits", [{"disk": "64K"}, {"disk": 1 << 49}])
def test_an_image_that_can_not_be_made_is_told(host: cloche.Host, limits: dict[str, object]) -> None:
    before = loops()
    with pytest.raises((cloche.StartError, cloche.Unenforceable), match="image"):
        host.create(isolation="standard", workspace=cloche.Workspace("image"), limits=limits)
    assert gone(before)
    with pytest.raises(cloche.SpecError, match="takes no source"):
        cloche.Workspace("image", "/srv/disk.img")
