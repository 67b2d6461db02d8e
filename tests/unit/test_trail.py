"""A host hands its incidents to the audit log without waiting for it, and hears of what could not be written."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloche import AuditLog, Incident, Severity
from cloche.incidents import trail
from cloche.incidents.trail import Trail

pytestmark = pytest.mark.usefixtures("no_own_leaks")
FOUND = Incident(
    id="1", sandbox="abc", sandbox_name=None, rule="x", rule_version=1, severity=Severity.HIGH, time=1.0, message="m"
)


def test_incidents_come_into_the_log_in_order(tmp_path: Path) -> None:
    troubles: list[str] = []
    kept = Trail(AuditLog(tmp_path / "log", sync=False), troubles.append)
    for number in range(100):
        kept.incident(replace(FOUND, id=str(number)))
    kept.close()
    kept.close()
    with AuditLog(tmp_path / "log") as log:
        found = [entry.body for entry in log.entries() if entry.kind == "incident"]
        assert log.verify().ok
    assert [body["id"] for body in found] == [str(number) for number in range(100)]
    assert found[0]["severity"] == "high"
    assert (troubles, kept.lost) == ([], 0)


def test_what_can_not_be_written_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    troubles: list[str] = []
    folder = tmp_path / "log"
    log = AuditLog(folder, sync=False)
    log.append("first", {})
    (folder / "audit-000001.jsonl").chmod(0o644)
    kept = Trail(log, troubles.append)
    kept.append("second", {})
    kept.append("torn", {})  # no kind for others
    kept.close()
    assert len(troubles) == 2
    assert "alone" in troubles[0]
    assert "about itself" in troubles[1]


def test_what_waits_too_long_is_lost_counted_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "WAITING_MAX", 4)
    gate, began = threading.Event(), threading.Event()

    class Slow(AuditLog):
        def append(self, kind: str, body: Mapping[str, Any]) -> None:
            began.set()
            assert gate.wait(30)
            super().append(kind, body)

    troubles: list[str] = []
    kept = Trail(Slow(tmp_path / "log", sync=False), troubles.append)
    kept.append("note", {"number": 0})
    assert began.wait(30)
    for number in range(1, 10):
        kept.append("note", {"number": number})
    assert kept.lost == 5
    gate.set()
    kept.close()
    assert len(troubles) == 1
    with AuditLog(tmp_path / "log") as log:
        told = [(entry.kind, entry.body) for entry in log.entries()][1:]
    assert [kind for kind, _ in told] == ["note", "lost", "note", "note", "note", "note"]
    assert told[1][1] == {"lines": 5}
