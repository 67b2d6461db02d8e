"""docs/writing-a-plugin.md: its files make a distribution that works, its other examples run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from click.testing import CliRunner

import cloche
from cloche import Host

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
SECTION: Final = re.compile(r"^## ([^\n]*)\n((?:(?!^## ).)*)", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the files of the page."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "cloche_unshare.py", "test_unshare.py"):
        match = re.search(rf"`{re.escape(name)}`[^`]*?:\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        assert match is not None, name
        (folder / name).write_text(match[1])
    return folder


@pytest.fixture(scope="module")
def env(project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give an environment in which the distribution is installed."""
    site = tmp_path_factory.mktemp("site")
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index",
        "--no-build-isolation", "--target", str(site), str(project),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}


def run(env: dict[str, str], *args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *args]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def test_the_runtime_of_the_page_is_found_and_runs_programs(env: dict[str, str]) -> None:
    listed = run(env, "-m", "cloche", "runtimes")
    assert "unshare" in listed.stdout, listed.stdout + listed.stderr
    done = run(env, "-m", "cloche", "run", "--runtime", "unshare", "--", "id", "-u")
    assert done.stdout == "1000\n", done.stderr


def test_the_runtime_of_the_page_passes_its_own_tests(env: dict[str, str], project: Path) -> None:
    done = run(env, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_unshare.py", cwd=project)
    assert done.returncode == 0, done.stdout[-6000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 30


def load(title: str) -> ModuleType:
    (section,) = [text for heading, text in SECTION.findall(PAGE) if heading == title]
    (source,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    module = ModuleType(f"page_{title.split(maxsplit=1)[0].lower()}")
    exec(compile(source, str(ROOT / "docs" / "writing-a-plugin.md"), "exec"), module.__dict__)  # noqa: S102 - our own page
    return module


def test_the_level_of_the_page_can_be_asked_for() -> None:
    with Host(plugins=[load("Levels")]) as host:
        assert all(record.error is None for record in host.plugins.records)
        with host.create(isolation="classroom") as box:
            assert box.exec("echo", "hi").text == "hi\n"
            assert box.spec.limits.wall == 10


def test_the_command_of_the_page_works() -> None:
    with Host(plugins=[load("Commands")]) as host:
        command = host.plugins.commands["greet"]
    done = CliRunner().invoke(command, ["world"])
    assert (done.exit_code, done.output) == (0, "hello, world\n")


def test_a_mistake_is_shown_as_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    load("When something is wrong")
    assert capsys.readouterr().out == (
        "failed cloche_isolation_levels gave 'not a level', which is no cloche.IsolationLevel\n"
    )


def test_what_the_page_names_exists() -> None:
    for name in re.findall(r"`cloche\.(\w+)", PAGE):
        assert hasattr(cloche, name), name
    runtime = cloche.AgentRuntime
    for name in ("adjust", "cache_key", "checks", "configure", "has_own_view", "temp_folder", "drop_folder", "launch"):
        assert hasattr(runtime, name)
        assert f"`{name}" in PAGE
