"""``cloche rules``, as a person types it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cloche import Severity

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

OWN = r"""
- id: own-rule
  summary: A file is put where cron runs it
  severity: critical
  mode: inline
  events: [create, rename]
  where: (file under (/etc/cron.d) or to under /etc/cron.d) and not name = "\x1b[2J"
  attack: [T1053.003]
  enabled: false
  answer: EACCES
  examples:
    - events: [{act: create, path: /etc/cron.d/x}]
    - events: [{act: create, path: "/workspace/\e[2J"}]
      match: false
- id: bare-rule
  summary: for tests
  severity: info
  events: [exec]
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Give an environment with rules of the user's own."""
    folder = tmp_path / "cloche" / "rules"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(OWN)
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def file(home: dict[str, str]) -> str:
    return f"{home['XDG_CONFIG_HOME']}/cloche/rules/own.yaml"


def test_rules_are_listed_the_gravest_first(cloche: Run, home: dict[str, str]) -> None:
    rows = json.loads(cloche("rules", "list", "-o", "json", env=home).stdout)
    found = {row["id"]: row for row in rows}
    own = found["own-rule"]
    assert (own["severity"], own["mode"], own["enabled"], own["from"]) == ("critical", "inline", False, file(home))
    assert (own["events"], own["attack"]) == (["create", "rename"], ["T1053.003"])
    graves = [Severity.of(row["severity"]) for row in rows]
    assert graves == sorted(graves, reverse=True)
    assert found["bare-rule"]["severity"] == "info"
    table = cloche("rules", "list", env=home).stdout.decode()
    assert "own-rule" in table
    assert max(len(line) for line in table.splitlines()) <= 80
    assert f"{len(rows)} rules." in table


def test_all_of_a_rule_is_shown_escaped(cloche: Run, home: dict[str, str]) -> None:
    shown = cloche("rules", "show", "own-rule", env=home)
    assert shown.returncode == 0
    assert b"\x1b" not in shown.stdout
    text = shown.stdout.decode()
    assert "EACCES" in text
    assert "off: it judges only where it is named" in text
    assert "act: create, path: /etc/cron.d/x" in text
    whole = json.loads(cloche("rules", "show", "own-rule", "-o", "json", env=home).stdout)
    assert whole["where"] == r'(file under /etc/cron.d or to under /etc/cron.d) and name != "\u001b[2J"'
    assert whole["examples"][1]["match"] is False
    missing = cloche("rules", "show", "\x1b[2J", env=home)
    assert missing.returncode == 125
    assert b"names no rule" in missing.stderr
    assert b"\x1b" not in missing.stderr


def test_what_conditions_can_ask_is_shown(cloche: Run, home: dict[str, str]) -> None:
    rows = {row["name"]: row for row in json.loads(cloche("rules", "fields", "-o", "json", env=home).stdout)}
    assert rows["file"]["kind"] == "path"
    text = cloche("rules", "fields", env=home).stdout.decode()
    assert "process.name" in text
    assert "of connect, bind, accept, send" in " ".join(text.split())


def test_the_examples_of_all_rules_hold(cloche: Run, home: dict[str, str]) -> None:
    done = cloche("rules", "test", env=home)
    assert done.returncode == 0, done.stdout
    assert b" 0 failed" in done.stdout
    assert b"no examples: bare-rule" in done.stdout
    answer = json.loads(cloche("rules", "test", "own-*", "-o", "json", env=home).stdout)
    assert answer == {"rules": 1, "examples": 2, "failures": [], "without_examples": []}


def test_an_example_that_does_not_hold_is_a_failure(cloche: Run, home: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "cloche" / "rules" / "own.yaml"
    path.write_text(OWN.replace("match: false", "match: true"))
    done = cloche("rules", "test", "own-rule", env=home)
    assert done.returncode == 1
    assert b"own-rule: example 2: it must match and does not: act='create'" in done.stdout
    assert b"\x1b" not in done.stdout
    checked = cloche("rules", "check", str(path), env=home)
    assert checked.returncode == 1
    assert b"example 2: it must match" in checked.stdout


def test_files_are_checked(cloche: Run, home: dict[str, str], tmp_path: Path) -> None:
    assert b"2 rules, all good" in cloche("rules", "check", file(home), env=home).stdout
    bad = tmp_path / "bad.yaml"
    bad.write_text("- id: x\n  where: '\\e'\n")
    done = cloche("rules", "check", str(bad), file(home), env=home)
    assert done.returncode == 1
    assert f"{bad}:2: rule 'x': where: line 1, column 1" in done.stdout.decode()
    again = tmp_path / "again.yaml"
    again.write_text(OWN)
    (row,) = json.loads(cloche("rules", "check", str(again), "-o", "json", env=home).stdout)
    assert [error.split(": ")[1] for error in row["errors"]] == [
        "the rule id 'own-rule' is taken by " + file(home) + "; rename one",
        "the rule id 'bare-rule' is taken by " + file(home) + "; rename one",
    ]


def test_a_bad_file_among_the_found_ones_is_an_error_that_names_it(
    cloche: Run, home: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "cloche" / "rules" / "own.yaml").write_text("- &a\n")
    for words in (["list"], ["show", "x"], ["test"]):
        done = cloche("rules", *words, env=home)
        assert done.returncode == 125
        assert f"{file(home)}:1: anchors and aliases" in done.stderr.decode()
    assert cloche("plugins", env=home).returncode == 0
    assert cloche("rules", "fields", env=home).returncode == 0


def test_a_command_of_a_plugin_may_stand_under_rules(cloche: Run) -> None:
    assert cloche("rules", "nothing").returncode == 2
    assert cloche("rules.import").returncode == 2
