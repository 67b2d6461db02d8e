"""docs/writing-a-rule.md: its plugin, its tests and its file work, and say the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

import pytest

import cloche
from cloche import Plugins, parse_condition, parse_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "writing-a-rule.md").read_text(encoding="utf-8")


def part(name: str) -> str:
    match = re.search(
        rf"`{re.escape(name)}`[^`]*(?:`[^`\n]+`[^`]*)*?:\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
    )
    assert match is not None, name
    return match[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give a folder with the files of the page."""
    for name in ("cloche_git_rules.py", "pyproject.toml", "test_git_rules.py", "git-rules.yaml"):
        (tmp_path / name).write_text(part(name))
    return tmp_path


def test_the_plugin_of_the_page_brings_its_rules() -> None:
    module = ModuleType("cloche_git_rules")
    exec(compile(part("cloche_git_rules.py"), "docs/writing-a-rule.md", "exec"), vars(module))  # noqa: S102 - our own page
    plugins = Plugins.load(cloche.Config(), plugins=[module], entry_points=False, environ={})
    assert plugins.records[0].error is None
    assert list(plugins.rules) == ["git-hook-written", "git-many-clones"]
    assert tuple(plugins.rules.values()) == parse_rules(part("git-rules.yaml"))


def test_its_distribution_names_it() -> None:
    project = tomllib.loads(part("pyproject.toml"))
    assert project["project"]["entry-points"]["cloche"] == {"git_rules": "cloche_git_rules"}
    assert project["tool"]["setuptools"]["py-modules"] == ["cloche_git_rules"]


def test_its_test_of_three_lines_passes_and_can_fail(project: Path) -> None:
    assert len(part("test_git_rules.py").partition("@")[2].splitlines()) == 3
    # It changes within a second, by as many letters: what was compiled of it before would be taken.
    env = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_git_rules.py"]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    module = project / "cloche_git_rules.py"
    module.write_text(module.read_text().replace('".sample"', '".simple"'))
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert "rule git-hook-written: example 3: it must not match and does" in done.stdout


def test_its_file_is_good(cloche: Run, project: Path) -> None:
    done = cloche("rules", "check", "git-rules.yaml", cwd=project)
    assert f"$ cloche rules check git-rules.yaml\n{done.stdout.decode()}```" in PAGE


def test_the_conditions_of_its_table_mean_the_same_in_both_ways() -> None:
    rows = re.findall(r"^\| `(.+?)`(?:, `(.+?)`)? \| `(.+?)`(?:, `(.+?)`)? \| .+ \|$", PAGE, re.MULTILINE)
    assert len(rows) == 12
    for first, second, text, other in rows:
        for python, written in ((first, text), (second, other)):
            if python:
                condition = eval(python, {"F": cloche.F})  # noqa: S307 - our own page
                assert parse_condition(written) == condition, python


def test_the_index_names_the_page() -> None:
    assert "(writing-a-rule.md)" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
