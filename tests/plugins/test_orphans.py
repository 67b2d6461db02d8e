"""What is left when a host and its helper are killed at once is found, told and removed by the next host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche.testing.ends import alive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("orphans")

HOLDING = """
import sys, time
import cloche
runtime, marker = sys.argv[1:]
host = cloche.Host().__enter__()
if (reason := host.unavailable(runtime)) is not None:
    print("unavailable", reason, flush=True)
    sys.exit()
box = host.create(runtime=runtime, isolation="standard", name="lost", metadata={"for": "a test"})
box.exec("sh", "-c", "echo x > left-behind; mkdir -p deep/er; chmod 0 deep")
next(box.spawn("sh", "-c", f"(setsid sleep {marker} &); echo up; sleep {marker}").lines())
print("ready", flush=True)
time.sleep(60)
"""

CHURNING = """
import sys
import cloche
runtime, _ = sys.argv[1:]
host = cloche.Host().__enter__()
if (reason := host.unavailable(runtime)) is not None:
    print("unavailable", reason, flush=True)
    sys.exit()
print("ready", flush=True)
while True:
    boxes = [host.create(runtime=runtime, isolation="standard") for _ in range(3)]
    for box in boxes:
        box.exec("sh", "-c", "echo x > left-behind; sleep 0.01")
        box.delete()
"""


@pytest.fixture
def host() -> Iterator[cloche.Host]:
    with cloche.Host() as host:
        yield host


@pytest.fixture
def doomed(open_folder: Path) -> Iterator[Callable[[str, str, str], subprocess.Popen[str]]]:
    """Start a host of its own process and give it once it is ready."""
    running: list[subprocess.Popen[str]] = []

    def start(script: str, runtime: str, marker: str) -> subprocess.Popen[str]:
        env = {**os.environ, "TMPDIR": str(open_folder)}
        command = [sys.executable, "-c", script, runtime, marker]
        running.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
        stdout = running[-1].stdout
        assert stdout
        word = stdout.readline()
        if word.startswith("unavailable"):
            pytest.skip(word)
        assert word == "ready\n"
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait(30)
        if process.stdout:
            process.stdout.close()


def below(pid: int) -> dict[int, str]:
    """Give the process ids below a process, each with its command line."""
    found: dict[int, str] = {}
    todo = [pid]
    while todo:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
                if parent == todo[0]:
                    found[int(folder.name)] = (folder / "cmdline").read_text(errors="replace").replace("\0", " ")
                    todo.append(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
        todo.pop(0)
    return found


def end_with_helpers(host: subprocess.Popen[str], *, stop: bool = False) -> None:
    """Kill a host and its helpers; ``stop``: what runs in its boxes is stopped first, so that nothing ends itself."""
    host.send_signal(signal.SIGSTOP)
    family = below(host.pid)
    for pid, command in family.items():
        if "--janitor" in command:
            os.kill(pid, signal.SIGKILL)
        elif stop:
            os.kill(pid, signal.SIGSTOP)
    host.kill()
    host.wait(30)


def traces(pid: int, folder: Path) -> list[str]:
    below = [f"{top}/{name}" for top, names, _ in os.walk("/sys/fs/cgroup") for name in names]
    groups = [path for path in below if f"/cloche/{pid}-" in path]
    return groups + [str(path) for path in folder.glob("cloche-*")]


def places() -> list[Path]:
    return list(Path(os.environ["XDG_RUNTIME_DIR"], "cloche", "hosts").glob("*"))


@pytest.mark.parametrize("stop", [False, True], ids=["killed", "stopped and killed"])
@pytest.mark.parametrize("runtime", ["namespaces", "bwrap", "process", "gvisor"])
def test_what_a_host_and_its_helper_left_is_told_and_removed(
    doomed: Callable[..., subprocess.Popen[str]], host: cloche.Host, open_folder: Path, runtime: str, *, stop: bool
) -> None:
    marker = f"{5000 + uuid.uuid4().int % 1000}.{uuid.uuid4().int % 10**9:09d}"
    dead = doomed(HOLDING, runtime, marker)
    (record,) = host.list()
    assert (record.name, record.pid, record.orphaned) == ("lost", dead.pid, False)
    assert host.sweep() == []  # it lives: nothing of it is touched
    assert alive(marker)
    end_with_helpers(dead, stop=stop)
    if runtime == "process" or os.geteuid() == 0:
        assert traces(dead.pid, open_folder) != []
    with pytest.raises(cloche.NotFound):
        host.attach("lost")
    (record,) = host.list()
    assert (record.id, record.orphaned) == (record.id, True)
    assert host.list() == []
    assert not alive(marker)
    assert (traces(dead.pid, open_folder), places()) == ([], [])
    assert host.sweep() == []


def test_the_name_of_an_orphan_is_free_again(doomed: Callable[..., subprocess.Popen[str]], host: cloche.Host) -> None:
    end_with_helpers(doomed(HOLDING, "namespaces", "5100.1"))
    with host.create(isolation="standard", name="lost") as box:
        assert box.exec("true").ok


@pytest.mark.parametrize("runtime", ["namespaces", "process", "gvisor"])
def test_hosts_killed_with_their_helpers_in_the_middle_of_anything_are_swept(
    doomed: Callable[..., subprocess.Popen[str]], host: cloche.Host, open_folder: Path, runtime: str
) -> None:
    for milliseconds in (0, 3, 7, 12, 19, 28, 40, 61):
        dead = doomed(CHURNING, runtime, "")
        time.sleep(milliseconds / 1000)
        end_with_helpers(dead)
        deadline = time.monotonic() + 10
        while places() and time.monotonic() < deadline:  # a child that was just being started holds the lock until exec
            host.sweep()
        assert (traces(dead.pid, open_folder), places()) == ([], [])


def test_two_hosts_that_sweep_at_once_do_not_disturb_each_other(
    doomed: Callable[..., subprocess.Popen[str]], host: cloche.Host, open_folder: Path
) -> None:
    dead = [doomed(HOLDING, "namespaces", f"5200.{n}") for n in (1,)]
    dead.append(doomed(CHURNING, "namespaces", ""))
    for one in dead:
        end_with_helpers(one)
    script = "import cloche\nwith cloche.Host() as host:\n    print(len(host.sweep()))\n"
    sweeping = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    host.sweep()
    for one in sweeping:
        one.communicate(timeout=60)
    assert [one.returncode for one in sweeping] == [0] * 4
    assert [traces(one.pid, open_folder) for one in dead] == [[], []]
    assert places() == []


def test_a_process_is_ended_only_if_it_is_the_recorded_one() -> None:
    from cloche_native import processes  # noqa: PLC0415 - the one test of it

    with subprocess.Popen(["sleep", "60"]) as one:
        start = processes.started(one.pid)
        assert start is not None
        assert not processes.end(one.pid, start + 1)
        assert one.poll() is None
        assert processes.end(one.pid, start)
        assert one.wait(5) == -signal.SIGKILL
    assert processes.started(one.pid) is None
    assert not processes.end(one.pid, start)
