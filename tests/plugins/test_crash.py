"""A host that is killed leaves nothing: no process, no control group, no folder, no mount."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

import cloche
from cloche.testing.ends import alive

HOST = """
import sys, time
import cloche
runtime, marker = sys.argv[1:]
host = cloche.Host().__enter__()
if (reason := host.unavailable(runtime)) is not None:
    print("unavailable", reason, flush=True)
    sys.exit()
for _ in range(2):
    box = host.create(runtime=runtime, isolation="standard")
    box.exec("sh", "-c", "echo x > left-behind; mkdir -p deep/er; chmod 0 deep")
    job = box.spawn("sh", "-c", f"(setsid setsid sleep {marker} &); echo up; sleep {marker}")
    next(job.lines())
paused = host.create(runtime=runtime, isolation="standard")
next(paused.spawn("sh", "-c", f"echo up; sleep {marker}").lines())
paused.pause()
print("ready", flush=True)
time.sleep(60)
"""


def traces(pid: int) -> list[str]:
    """Give control groups, temporary folders and mounts that a host of this process id made and left."""
    left = [name for name, _, _ in os.walk("/sys/fs/cgroup") if os.path.basename(name).startswith(f"{pid}-")]
    left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "/cloche" in line]
    return left


@pytest.mark.parametrize("runtime", ["namespaces", "bwrap", "process", "gvisor"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_a_host_that_dies_leaves_nothing(open_folder: Path, runtime: str, number: signal.Signals) -> None:
    marker = f"{4000 + uuid.uuid4().int % 1000}.{uuid.uuid4().int % 10**9:09d}"
    env = {**os.environ, "TMPDIR": str(open_folder)}
    command = [sys.executable, "-c", HOST, runtime, marker]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout
        word = host.stdout.readline()
        if word.startswith("unavailable") and "its own check failed" not in word:
            pytest.skip(word)
        assert word == "ready\n"
        assert any(marker in cmdline(pid) for pid in os.listdir("/proc") if pid.isdigit())
        host.send_signal(number)
        host.wait(30)
    assert not alive(marker)
    settle(lambda: traces(host.pid) == [] and list(open_folder.glob("cloche-*")) == [])
    assert traces(host.pid) == []
    assert list(open_folder.glob("cloche-*")) == []


LINGER = """
import sys, time
import cloche
runtime, marker = sys.argv[1:]
host = cloche.Host().__enter__()
if (reason := host.unavailable(runtime)) is not None:
    print("unavailable", reason, flush=True)
    sys.exit()
box = host.create(runtime=runtime, isolation="standard")
box.exec("sh", "-c", f"setsid sleep {marker} & (setsid setsid sleep {marker} &); sleep 0.2", linger=True)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("runtime", ["namespaces", "bwrap", "process", "gvisor"])
def test_what_lingers_ends_with_the_host_without_anyones_help(
    open_folder: Path, orphans: Callable[[], list[str]], runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = f"{4000 + uuid.uuid4().int % 1000}.{uuid.uuid4().int % 10**9:09d}"
    (open_folder / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(open_folder / "run"))
    command = [sys.executable, "-c", LINGER, runtime, marker]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout
        word = host.stdout.readline()
        if word.startswith("unavailable") and "its own check failed" not in word:
            pytest.skip(word)
        assert word == "ready\n"
        assert any(marker in cmdline(pid) for pid in os.listdir("/proc") if pid.isdigit())
        helpers = [int(pid) for pid in children(host.pid) if "--janitor" in cmdline(pid)]
        for helper in helpers:
            os.kill(helper, signal.SIGKILL)
        host.kill()
    assert not alive(marker)
    settle(lambda: orphans() == [])
    assert orphans() == []
    with cloche.Host() as host_after, host_after.create(runtime=runtime, isolation="standard"):
        settle(lambda: traces(host.pid) == [])
        assert traces(host.pid) == []


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def cmdline(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:  # it ended while we looked
        return ""


def settle(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)
