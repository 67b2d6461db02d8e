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

from cloche.testing.conformance import alive

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
    left = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/{pid}-*") if path.is_dir()]
    left += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "/cloche" in line]
    return left


@pytest.mark.parametrize("runtime", ["namespaces", "bwrap", "process"])
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


def cmdline(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:  # it ended while we looked
        return ""


def settle(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)
