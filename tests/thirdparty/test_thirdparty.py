"""Strangers can extend cloche, and can't hurt it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BUNDLED = set(PROJECT["entry-points"]["cloche"])


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("register") / "register.txt"


@pytest.fixture(scope="module")
def answer(installed: Path, register: Path) -> dict[str, Any]:
    """Give what a process that loaded all of them found."""
    command = [sys.executable, str(Path(__file__).parent / "load.py"), str(register)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}
    env.pop("CLOCHE_CONFIG", None)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def record(answer: dict[str, Any], name: str, distribution: str, *, when: str = "before") -> dict[str, Any]:
    (found,) = [r for r in answer[when] if (r["name"], r["distribution"]) == (name, distribution)]
    assert distribution == "cloche" or found["version"] == "1.2.3"
    return dict(found)


def test_the_host_works_with_all_of_them_installed(answer: dict[str, Any]) -> None:
    assert answer["output"] == ["hi\n", "ho\n"]


def test_the_bundled_plugins_are_whole(answer: dict[str, Any]) -> None:
    assert {r["name"]: r["error"] for r in answer["after"] if r["distribution"] == "cloche"} == dict.fromkeys(BUNDLED)
    assert {"standard", "enhanced", "maximum"} <= set(answer["levels"])


def test_a_good_plugin_extends_the_host(answer: dict[str, Any], register: Path) -> None:
    found = record(answer, "good", "cloche-test-good", when="after")
    assert (found["status"], found["error"]) == ("loaded", None)
    assert (found["levels"], found["commands"]) == (["classroom"], ["register"])
    assert len(found["hooks"]) == 9
    assert (found["rules"], found["responses"]) == (["borrowed-book"], ["call-teacher"])
    assert {"borrowed-book"} <= set(answer["rules"])
    assert {"call-teacher"} <= set(answer["responses"])
    assert (found["taps"], answer["rung"]) == (["bell"], ["ring"])
    assert answer["levels"]["classroom"] == "small programs of pupils"
    told = [f"{what} {name}" for name in ("first", "second", "third") for what in ("created", "deleted")]
    assert register.read_text().splitlines() == told


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad_import", "ModuleNotFoundError: No module named 'a_distribution_that_nobody_wrote'"),
        ("bad_exit", "SystemExit: this machine is not good enough for me"),
        ("bad_argument", "specification"),
        ("bad_unknown_hook", "unknown hook 'cloche_container_created'"),
        ("bad_raises", "ConnectionError: the level server does not answer"),
        ("bad_kind", "cloche_runtimes gave the class FakeRuntime; give an object of it"),
    ],
)
def test_a_bad_plugin_is_recorded_with_its_fault(answer: dict[str, Any], name: str, message: str) -> None:
    found = record(answer, name, f"cloche-test-{name.replace('_', '-')}")
    assert found["status"] == "failed"
    assert message in found["error"]
    assert found["hooks"] == found["runtimes"] == found["levels"] == found["commands"] == []


def test_an_error_at_import_names_the_file_and_line_of_the_plugin(answer: dict[str, Any]) -> None:
    assert "cloche_test_bad_exit.py:5)" in record(answer, "bad_exit", "cloche-test-bad-exit")["error"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bwrap", "the plugin name 'bwrap' is taken by plugin 'bwrap' of cloche"),
        ("shadow_runtime", "the runtime name 'bwrap' is taken by plugin 'bwrap' of cloche"),
        ("shadow_level", "the level name 'enhanced' is taken by plugin 'levels' of cloche"),
    ],
)
def test_a_name_of_ours_can_not_be_shadowed(answer: dict[str, Any], name: str, message: str) -> None:
    found = record(answer, name, "cloche-test-bad-shadow")
    assert (found["status"], found["error"]) == ("failed", message)
    assert answer["runtimes"]["bwrap"].startswith("cloche_bwrap")
    assert "name only" not in answer["levels"]["enhanced"]


def test_a_bad_observer_is_dropped_when_it_shows(answer: dict[str, Any]) -> None:
    assert record(answer, "bad_observer", "cloche-test-bad-observer")["status"] == "loaded"
    found = record(answer, "bad_observer", "cloche-test-bad-observer", when="after")
    assert found["status"] == "failed"
    assert "SystemExit: can't stand" in found["error"]
    assert found["hooks"] == []


def test_a_bad_tap_is_dropped_when_it_shows(answer: dict[str, Any]) -> None:
    assert record(answer, "bad_tap", "cloche-test-bad-tap")["taps"] == ["leaky"]
    found = record(answer, "bad_tap", "cloche-test-bad-tap", when="after")
    assert (found["status"], found["taps"], found["hooks"]) == ("failed", [], [])
    assert "ConnectionError: nobody listens to third" in found["error"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad_rules_raise", "ConnectionError: the rule server does not answer"),
        ("bad_rules_nonsense", "'severity': 'high'}, which is no cloche.Rule"),
        ("bad_rules_twice", "the rule name 'left-behind' is taken by plugin 'bad_rules_twice'"),
        ("bad_responses", "the response name 'block' is taken by cloche itself"),
    ],
)
def test_a_plugin_with_bad_rules_is_dropped_when_rules_are_wanted(
    answer: dict[str, Any], name: str, message: str
) -> None:
    assert record(answer, name, "cloche-test-bad-rules")["status"] == "loaded"
    found = record(answer, name, "cloche-test-bad-rules", when="after")
    assert (found["status"], found["rules"], found["responses"], found["hooks"]) == ("failed", [], [], [])
    assert message in found["error"]
    assert not {"left-behind"} & set(answer["rules"])
    assert "block" not in answer["responses"]


def test_nothing_of_a_bad_plugin_is_left(answer: dict[str, Any]) -> None:
    assert not {"left-behind", "half"} & {*answer["runtimes"], *answer["levels"]}
    assert set(answer["runtimes"]) >= {"bwrap", "process", "fake"}
