"""The audit log where several processes write it, and where they are killed while they do."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from cloche import AuditLog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("audit-*.jsonl"))


def broken(folder: Path) -> list[str]:
    with AuditLog(folder) as log:
        return [str(finding) for finding in log.verify().broken]


def test_two_processes_append_at_once(folder: Path) -> None:
    with AuditLog(folder):
        pass
    program = (
        "import sys; from cloche import AuditLog\n"
        "log = AuditLog(sys.argv[1], size='64K', sync=False)\n"
        "for n in range(400): log.append('incident', {'who': sys.argv[2], 'n': n, 'pad': 'x' * 100})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(folder), who]) for who in "ab"]
    assert [process.wait(60) for process in running] == [0, 0]
    with AuditLog(folder) as log:
        result = log.verify()
        kept = [(entry.body["who"], entry.body["n"]) for entry in log.entries() if entry.kind == "incident"]
    assert (result.broken, result.notes) == ((), ())
    for who in "ab":
        assert [n for one, n in kept if one == who] == list(range(400))
    assert len(files(folder)) > 1


def test_writers_that_are_killed_at_any_moment_leave_a_log_that_holds(folder: Path) -> None:
    program = (
        "import sys; from cloche import AuditLog\n"
        "log = AuditLog(sys.argv[1], size='64K', sync=False)\n"
        "while True: log.append('incident', {'pad': 'x' * 3000})\n"
    )
    with AuditLog(folder):
        pass
    for turn in range(6):
        process = subprocess.Popen([sys.executable, "-c", program, str(folder)])
        size = sum(path.stat().st_size for path in files(folder))
        until = time.monotonic() + 20
        while sum(path.stat().st_size for path in files(folder)) == size:
            assert time.monotonic() < until
            time.sleep(0.001)
        time.sleep(0.003 * turn)
        process.kill()
        process.wait()
        assert broken(folder) == []
    with AuditLog(folder) as log:
        log.append("incident", {})
    assert broken(folder) == []
