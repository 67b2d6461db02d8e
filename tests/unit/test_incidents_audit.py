"""A host with an audit log writes its incidents there, and tells what could not be written."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloche import Act, AuditError, AuditLog, F, Host, Notice, Rule, Rules, Severity, SpecError
from cloche.testing import FakeRuntime, Guest

pytestmark = pytest.mark.usefixtures("no_own_leaks")
RULES = Rules(
    use=(
        Rule(id="a", summary="a", severity=Severity.HIGH, events=frozenset({Act.OPEN}), where=F.file.glob("/a*")),
        Rule(id="i", summary="i", severity=Severity.INFO, events=frozenset({Act.OPEN}), where=F.file.glob("/i*")),
    )
)


async def opens(guest: Guest) -> None:
    """Open each path that it is given."""
    for path in guest.args[1:]:
        guest.does(Act.OPEN, path)
    await guest.sleep(0)


@pytest.fixture
def made(fakes: Callable[..., object]) -> Callable[..., Host]:
    def make(**asked: Any) -> Host:  # noqa: ANN401 - keywords of a host
        return Host(plugins=[fakes(FakeRuntime(programs={"opens": opens}))], entry_points=False, **asked)

    return make


def kept(folder: Path) -> list[tuple[str, str]]:
    with AuditLog(folder, make=False) as log:
        assert log.verify().ok
        return [(entry.body["rule"], entry.body["message"]) for entry in log.entries() if entry.kind == "incident"]


@pytest.mark.parametrize("how", ["argument", "configuration", "both"])
def test_incidents_are_in_the_log_when_the_host_is_closed(made: Callable[..., Host], tmp_path: Path, how: str) -> None:
    folder, other = tmp_path / "log", tmp_path / "other"
    ways: dict[str, dict[str, Any]] = {
        "argument": {"audit": folder}, "configuration": {"config": {"audit": {"folder": str(folder)}}},
        "both": {"audit": {"folder": str(folder)}, "config": {"audit": {"folder": str(other)}}},
    }  # fmt: skip
    with made(**ways[how]) as host, host.create(rules=RULES) as box:
        box.exec("opens", "/a\x1b[31m", "/i", "/x")
    assert [rule for rule, _ in kept(folder)] == ["a"]  # what is only worth knowing is not noted
    assert b"\x1b" not in (folder / "audit-000001.jsonl").read_bytes()
    assert not other.exists()


def test_a_host_that_judges_nothing_opens_no_log(made: Callable[..., Host], tmp_path: Path) -> None:
    with made(audit=tmp_path / "log") as host, host.create() as box:
        box.exec("opens", "/a")
    assert not (tmp_path / "log").exists()


def test_a_log_that_can_not_be_used_refuses_the_sandbox(made: Callable[..., Host], tmp_path: Path) -> None:
    (tmp_path / "log").mkdir(mode=0o755)
    with made(audit=tmp_path / "log") as host:
        with pytest.raises(AuditError, match="closed to all others"):
            host.create(rules=RULES)
        assert host.sandboxes() == []
        with host.create() as box:
            assert box.exec("opens", "/a").ok
    with pytest.raises(SpecError, match="unknown key"):
        made(audit={"folders": "/x"})


def test_what_could_not_be_written_is_an_incident_and_a_notice(made: Callable[..., Host], tmp_path: Path) -> None:
    folder = tmp_path / "log"
    told: list[Notice] = []
    with made(audit=folder) as host, host.create(rules=RULES) as box:
        host.on("failed", callback=told.append)
        box.exec("opens", "/a1")
        until = time.monotonic() + 5
        while not (folder / "audit-000001.jsonl").exists() or len(kept(folder)) < 1:
            assert time.monotonic() < until
            time.sleep(0.01)
        (folder / "audit-000001.jsonl").chmod(0o644)
        box.exec("opens", "/a2")
        while not told:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert "alone" in told[0].details["error"]
        assert (told[0].sandbox, told[0].details["what"]) == ("", "audit")
        assert "audit-failed" in [incident.rule for incident in host.incidents]
        assert [incident.rule for incident in box.incidents()] == ["a", "a"]
