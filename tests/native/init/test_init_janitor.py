from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.native.init.boxes import UID

if TYPE_CHECKING:
    from collections.abc import Iterator


class Janitor:
    def __init__(self, init: Path, *, hidden: tuple[int, ...] = ()) -> None:
        self.socket, theirs = socket.socketpair()
        argv = [str(init), "--janitor", str(theirs.fileno())]
        self.process = subprocess.Popen(argv, pass_fds=[theirs.fileno(), *hidden])
        theirs.close()

    def tell(self, *lines: str) -> None:
        self.socket.sendall("".join(f"{line}\n" for line in lines).encode())

    def end(self) -> int:
        self.socket.close()
        return self.process.wait(20)


@pytest.fixture
def janitor(init: Path) -> Iterator[Janitor]:
    helper = Janitor(init)
    yield helper
    helper.socket.close()
    try:
        helper.process.wait(20)
    finally:
        helper.process.kill()
        helper.process.wait()


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="janitor-under-test-"))
    yield path
    subprocess.run(["umount", "-q", path / "mounted"], check=False, timeout=10, stderr=subprocess.DEVNULL)
    shutil.rmtree(path, ignore_errors=True)


def test_what_is_remembered_is_removed_and_what_is_forgotten_stays(janitor: Janitor, folder: Path) -> None:
    for name in ("gone", "kept", "forgotten", "gone too"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("x")
    janitor.tell(f"+d {folder}/gone", f"+d {folder}/forgotten")
    janitor.tell(f"-{folder}/forgotten", f"+d {folder}/gone too", f"-{folder}/never heard of")
    time.sleep(0.1)
    assert (folder / "gone").exists()
    assert janitor.end() == 0
    assert sorted(path.name for path in folder.iterdir()) == ["forgotten", "kept"]


def test_a_host_that_is_killed_is_cleaned_up_after(init: Path, folder: Path) -> None:
    (folder / "left").mkdir()
    script = (
        "import os, socket, subprocess, sys, time\n"
        "ours, theirs = socket.socketpair()\n"
        "subprocess.Popen([sys.argv[1], '--janitor', str(theirs.fileno())], pass_fds=[theirs.fileno()])\n"
        "ours.sendall(f'+d {sys.argv[2]}\\n'.encode()); print('told', flush=True); time.sleep(60)\n"
    )
    host = subprocess.Popen(
        [sys.executable, "-c", script, init, folder / "left"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert host.stdout is not None
    assert host.stdout.readline() == b"told\n"
    time.sleep(0.2)
    os.killpg(host.pid, signal.SIGKILL)  # the janitor has a session of its own
    host.wait()
    host.stdout.close()
    deadline = time.monotonic() + 5
    while (folder / "left").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not (folder / "left").exists()


def test_it_is_deaf_to_the_terminal_and_holds_nothing_else(init: Path, folder: Path) -> None:
    secret = os.open("/etc/passwd", os.O_RDONLY)
    helper = Janitor(init, hidden=(secret,))
    os.close(secret)
    helper.tell(f"+d {folder}")
    time.sleep(0.1)
    pid = helper.process.pid
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP):
        os.kill(pid, number)
    time.sleep(0.05)
    assert helper.process.poll() is None
    assert os.getsid(pid) == pid
    links = {path.name: os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
    assert sorted(links) == ["0", "1", "2", "3"]
    assert {links[fd].split(":")[0] for fd in "012"} == {"pipe"}
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert helper.end() == 0


def test_nothing_outside_is_touched_by_way_of_links(janitor: Janitor, folder: Path) -> None:
    outside, inside = folder / "outside", folder / "inside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (inside / "sub").mkdir(parents=True)
    (inside / "folder").symlink_to(outside)
    (inside / "sub/file").symlink_to(outside / "file")
    (inside / "sub/up").symlink_to("../../outside")
    os.link(outside / "file", inside / "hard")
    os.mkfifo(inside / "fifo")
    janitor.tell(f"+d {inside}")
    assert janitor.end() == 0
    assert not inside.exists()
    assert (outside / "file").read_text() == "x"


def test_a_folder_that_has_become_a_link_is_left_alone(janitor: Janitor, folder: Path) -> None:
    (folder / "target").mkdir()
    (folder / "target/file").write_text("x")
    (folder / "swapped").symlink_to(folder / "target")
    janitor.tell(f"+d {folder}/swapped")
    assert janitor.end() == 0
    assert (folder / "target/file").exists()


@pytest.mark.usefixtures("root")
def test_another_mount_is_not_entered(janitor: Janitor, folder: Path) -> None:
    outside, inside = folder / "outside", folder / "inside"
    for path in (outside, inside / "sub", inside / "bound"):
        path.mkdir(parents=True)
    (outside / "file").write_text("x")
    (inside / "sub/file").write_text("x")
    subprocess.run(["mount", "--bind", outside, inside / "bound"], check=True, timeout=10)
    try:
        janitor.tell(f"+d {inside}")
        assert janitor.end() == 0
        assert (outside / "file").exists()
        assert [path.name for path in inside.iterdir()] == ["bound"]
    finally:
        subprocess.run(["umount", inside / "bound"], check=True, timeout=10)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be somebody whom closed folders stop; root would not notice them."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(UID)
    os.seteuid(UID)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_a_tree_may_be_deep_and_closed_to_its_owner(init: Path, folder: Path) -> None:
    deep = folder / "deep"
    folder.chmod(0o777)
    with unprivileged():
        deep.mkdir()
        for name in ("a" * 200, "b" * 200):
            here = os.open(deep, os.O_RDONLY)
            for _ in range(3000):
                os.mkdir(name, dir_fd=here)
                below = os.open(name, os.O_RDONLY, dir_fd=here)
                os.close(here)
                here = below
            os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
            os.close(here)
        (deep / "closed/sub/.cloche-0").mkdir(parents=True)
        (deep / ".cloche-1/full").mkdir(parents=True)
        (deep / "closed/sub").chmod(0)
        (deep / "closed").chmod(0)
    ours, theirs = socket.socketpair()
    who = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"] if os.geteuid() == 0 else []
    argv = ["prlimit", "--nofile=64", *who, str(init), "--janitor", str(theirs.fileno())]
    process = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
    theirs.close()
    ours.sendall(f"+d {deep}\n".encode())
    ours.close()
    assert process.wait(60) == 0
    assert not deep.exists()


def cgroup_parents() -> dict[str, Path]:
    """Where a group can be made, by kind: version 2, or a controller of version 1."""
    found = {}
    for name in ("pids", "freezer", "memory"):
        path = Path("/sys/fs/cgroup", name)
        if (path / "cgroup.procs").exists() and os.access(path, os.W_OK):
            found[name] = path
    for path in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (path / "cgroup.controllers").exists() and os.access(path, os.W_OK):
            found["v2"] = path
    return found


@pytest.fixture
def groups() -> Iterator[dict[str, Path]]:
    made = {kind: parent / f"janitor-under-test-{os.getpid()}-one" for kind, parent in cgroup_parents().items()}
    if not made:
        pytest.skip("no control group can be made here")
    for path in made.values():
        path.mkdir()
    yield made
    for path in made.values():
        if path.exists():
            path.rmdir()


def sleepers(groups: dict[str, Path], count: int) -> list[subprocess.Popen[bytes]]:
    """Start processes in all of the groups."""
    processes = [subprocess.Popen(["sleep", "60"]) for _ in range(count)]
    for process in processes:
        for path in groups.values():
            (path / "cgroup.procs").write_text(str(process.pid))
    return processes


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("named", ["each", "by prefix"])
def test_cgroups_are_emptied_and_removed_also_frozen_ones(
    janitor: Janitor, groups: dict[str, Path], named: str
) -> None:
    processes = sleepers(groups, 3)
    (other,) = sleepers({}, 1)
    if "freezer" in groups:
        (groups["freezer"] / "freezer.state").write_text("FROZEN")
    if "v2" in groups:
        (groups["v2"] / "cgroup.freeze").write_text("1")
    if named == "each":
        janitor.tell(*(f"+c {path}" for path in groups.values()))
    else:
        janitor.tell(*(f"+g {str(path).removesuffix('one')}" for path in groups.values()))
    assert all(process.poll() is None for process in processes)
    janitor.socket.close()
    assert [process.wait(10) for process in processes] == [-signal.SIGKILL] * 3
    assert janitor.process.wait(10) == 0
    assert not any(path.exists() for path in groups.values())
    assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.parametrize(("folder", "goes"), [("cloche", True), ("other", False), ("not-cloche", False)])
def test_the_folder_of_groups_goes_with_the_last(janitor: Janitor, tmp_path: Path, folder: str, *, goes: bool) -> None:
    shared = tmp_path / "shared" / "cloche"
    (shared / "2-another").mkdir(parents=True)
    (tmp_path / folder).mkdir()
    janitor.tell(f"+g {tmp_path}/{folder}/1-mine-", f"+g {shared}/1-mine-", f"+g {tmp_path}/none/cloche/1-mine-")
    janitor.socket.close()
    assert janitor.process.wait(10) == 0
    assert (tmp_path / folder).exists() == (not goes)
    assert (shared / "2-another").exists()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x",
        "+d",
        "+d relative",
        "+x /tmp",
        "-",
        "-relative",
        "+d /a/",
        "+g /sys/fs/cgroup/",
        "+d /a\0b",
        "+c /" + "x" * 5000,
    ],
)
def test_a_line_that_is_no_command_ends_it_with_nothing_touched(janitor: Janitor, folder: Path, line: str) -> None:
    janitor.tell(f"+d {folder}", line)
    assert janitor.process.wait(5) == 2
    assert folder.exists()


def test_half_a_line_is_no_command(janitor: Janitor, folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "ab").mkdir()
    janitor.tell(f"+d {folder}/ab")
    janitor.socket.sendall(f"+d {folder}/a".encode())
    assert janitor.end() == 0
    assert [path.name for path in folder.iterdir()] == ["a"]


def test_lines_may_come_in_any_pieces(janitor: Janitor, folder: Path) -> None:
    names = [f"{number}-" + "n" * 200 for number in range(60)]
    for name in names:
        (folder / name).mkdir()
    text = "".join(f"+d {folder}/{name}\n" for name in names).encode()
    for start in range(0, len(text), 777):
        janitor.socket.sendall(text[start : start + 777])
    assert janitor.end() == 0
    assert list(folder.iterdir()) == []


def test_a_missing_path_is_no_trouble(janitor: Janitor, folder: Path) -> None:
    (folder / "there").mkdir()
    janitor.tell(f"+d {folder}/no", f"+c {folder}/such", f"+g {folder}/thing/prefix", f"+d {folder}/there")
    assert janitor.end() == 0
    assert not (folder / "there").exists()


@pytest.mark.parametrize(
    "arguments", [["--janitor"], ["--janitor", "x"], ["--janitor", "-1"], ["3x"], ["1", "2"], ["--what"]]
)
def test_wrong_arguments_are_told(init: Path, arguments: list[str]) -> None:
    ran = subprocess.run([init, *arguments], capture_output=True, check=False, timeout=10)
    assert ran.returncode == 2
    assert ran.stderr.startswith(b"usage: cloche-init")


def test_a_descriptor_that_is_not_open_is_a_failure(init: Path) -> None:
    for arguments in ([], ["900"], ["--janitor", "900"]):
        ran = subprocess.run([init, *arguments], check=False, timeout=10, close_fds=True)
        assert ran.returncode == 1
