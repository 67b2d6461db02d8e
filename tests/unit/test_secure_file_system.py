"""A file system without any process: every act passes rules, whatever they do about it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloche import (
    AccessDenied,
    Act,
    F,
    Host,
    Incident,
    PathPermissions,
    Rule,
    Rules,
    Severity,
    SpecError,
    StateError,
    Unsupported,
    create_secure_file_system,
)
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_own_leaks")


def rule(name: str = "secret", **given: Any) -> Rule:  # noqa: ANN401 - of many kinds
    usual: dict[str, Any] = {
        "summary": "touches a secret", "severity": Severity.HIGH, "mode": "inline", "hint": "leave it alone",
        "events": frozenset({Act.OPEN, Act.CREATE, Act.UNLINK, Act.RENAME}),
        "where": F.file.glob("/**/secret*") | F.to.glob("/**/secret*"),
    }  # fmt: skip
    return Rule(id=name, **{**usual, **given})


ALL = Rules(use=(rule(),), auto_block=Severity.HIGH)


def test_an_act_that_a_rule_refuses_is_not_done_and_told(host: Host, tmp_path: Path) -> None:
    told: list[Incident] = []
    (tmp_path / "secret").write_text("x")
    with host.create_secure_file_system("docs", rules=ALL, folder=tmp_path, on_incident=told.append) as box:
        box.files.write("/note", b"hello")
        assert box.files.read("note") == b"hello"
        acts: list[Callable[[], object]] = [
            lambda: box.files.read("/secret"), lambda: box.files.write("/secret", b""),
            lambda: box.files.remove("/secret"), lambda: box.files.move("/note", "/secret2"),
            lambda: box.files.open("/secret", "a"),
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(AccessDenied, match="leave it alone") as caught:
                act()
            assert caught.value.violation is not None
            assert caught.value.violation.rule == "secret"
        assert sum(v.count for v in box.violations) == 5
        assert all(v.blocked for v in box.violations)
        assert [(one.rule, one.count, one.blocked) for one in box.incidents()] == [("secret", 5, True)]
        end = time.monotonic() + 5
        while not told and time.monotonic() < end:
            time.sleep(0.005)
        assert [one.rule for one in told] == ["secret"]
    assert (tmp_path / "secret").read_text() == "x"
    assert (tmp_path / "note").read_text() == "hello"


def test_nothing_runs_in_it_and_its_report_says_so(host: Host) -> None:
    with host.create_secure_file_system(rules=ALL) as box:
        with pytest.raises(Unsupported, match="this is a file system"):
            box.exec("true")
        assert "before it is done" in str(box.enforcement["rules"])
        assert box.runtime == "files"


def test_a_folder_of_its_own_goes_with_it(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with host.create_secure_file_system(rules=ALL) as box:
        box.files.write("note", b"")
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_rule_that_suspends_has_it_wait_for_a_person(host: Host) -> None:
    watching = rule(mode="observe", response="suspend")
    with host.create_secure_file_system(rules=Rules(use=(watching,))) as box:
        box.files.write("secret", b"x")
        end = time.monotonic() + 5
        while str(box.state) != "paused" and time.monotonic() < end:
            time.sleep(0.005)
        with pytest.raises(StateError, match="suspended"):
            box.files.write("note", b"x")
        box.resume()
        box.files.write("note", b"x")


def test_a_rule_that_terminates_ends_it(host: Host) -> None:
    with host.create_secure_file_system(rules=replace(ALL, auto_terminate=Severity.HIGH)) as box:
        with pytest.raises(AccessDenied):
            box.files.write("secret", b"x")
        assert box.wait() == "rule:secret"
        with pytest.raises(StateError, match="ended"):
            box.files.write("note", b"x")
    assert [one.rule for one in host.incidents] == ["secret"]


def test_climbing_paths_are_refused_whatever_the_rules_and_found_by_them(host: Host) -> None:
    climbs = rule("climbs", where=F.flag("climbs"), mode="observe")
    with host.create_secure_file_system(rules=Rules(use=(climbs,))) as box:
        for path in ("../../etc/passwd", "/a/../../b", "..\x1b[2J/.."):
            with pytest.raises(SpecError):
                box.files.read(path)
        assert [(one.rule, one.count) for one in box.incidents()] == [("climbs", 3)]
        assert all(str(one).isprintable() for one in (*box.incidents(), *box.violations))


def test_rules_are_changed_while_it_lives(host: Host) -> None:
    with host.create_secure_file_system(rules=ALL) as box:
        with pytest.raises(AccessDenied):
            box.files.write("secret", b"x")
        box.update(rules="off")
        box.files.write("secret", b"x")
        box.update(rules=ALL)
        with pytest.raises(AccessDenied):
            box.files.read("secret")


def test_patterns_of_paths_hold_besides(host: Host) -> None:
    paths = PathPermissions(read_only=("/fixed/**",))
    with host.create_secure_file_system(rules=ALL, paths=paths, forbidden=("/hidden",)) as box:
        for path in ("/fixed", "/hidden"):
            with pytest.raises(AccessDenied) as caught:
                box.files.mkdir(path)
            assert caught.value.violation is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"folder": "/no/such/folder"}, "is no folder"), ({"rules": "sometimes"}, "off, on, audit"),
        ({"isolation": "no-such"}, "no-such"), ({"on_incident": 3}, "a function is needed"),
        ({"rules": Rules(use=("no-such-rule",))}, "names no rule"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(host: Host, bad: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        host.create_secure_file_system(**bad)


def test_it_needs_no_host_of_ones_own(fakes: Callable[..., object]) -> None:
    with create_secure_file_system("docs", rules=ALL, plugins=[fakes(FakeRuntime())], config={}) as secure:
        secure.files.write("note", b"x")
        with pytest.raises(AccessDenied):
            secure.files.write("secret", b"x")
        assert [v.rule for v in secure.violations] == ["secret"]
    assert [one.rule for one in secure.incidents] == ["secret"]
