from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloche.testing.leaks import Snapshot, _group_tops, _mounts, leaked


def test_a_process_is_named_also_once_it_is_dead() -> None:
    before = Snapshot.take(machine=False)
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        deadline = time.monotonic() + 20
        while (named := leaked(before, settle=0, machine=False)["processes"]) != [f"{sleeper.pid} sleep S"]:
            # It runs, or waits for a disk, before it sleeps; and has our name before it is one.
            assert len(named) == 1
            assert time.monotonic() < deadline, named
        sleeper.kill()
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        assert leaked(before, settle=0, machine=False)["processes"] == [f"{sleeper.pid} sleep Z"]
    assert leaked(before, machine=False) == {}


def test_a_grandchild_is_named() -> None:
    before = Snapshot.take(machine=False)
    script = "import subprocess, sys; subprocess.run(['sleep', '60'])"
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        deadline = time.monotonic() + 20
        while not (found := [n for n in leaked(before, settle=0, machine=False)["processes"] if " sleep " in n]):
            assert parent.poll() is None
            assert time.monotonic() < deadline
        os.kill(int(found[0].split()[0]), 9)
    assert leaked(before, machine=False) == {}


def test_a_control_group_of_ours_is_named() -> None:
    tops = [Path(top) for top in _group_tops(_mounts()) if os.access(top, os.W_OK)]
    if not tops:
        pytest.skip("no control group hierarchy is writable here")
    before = Snapshot.take()
    folder = tops[0] / f"cloche-leak-test-{os.getpid()}"
    folder.mkdir()
    try:
        assert str(folder) in leaked(before, settle=0)["cgroups"]
    finally:
        folder.rmdir()
    assert str(folder) not in leaked(before, settle=0).get("cgroups", [])


def test_the_fixture_fails_a_test_that_leaves_something_and_only_that(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["cloche.testing.leaks"]\n')
    (tmp_path / "test_two.py").write_text(
        "import os, pytest\n"
        "pytestmark = pytest.mark.usefixtures('no_own_leaks')\n"
        "def test_clean(): pass\n"
        "def test_dirty(): os.open('/proc', os.O_RDONLY)\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "2 passed, 1 error" in done.stdout, done.stdout
    assert "the test left behind:" in done.stdout
    assert "-> /proc" in done.stdout
