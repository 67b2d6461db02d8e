"""The core works with no plugin installed, and costs a program that embeds it little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[str]]

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture
def bare(tmp_path: Path) -> Run:
    """Give a function that runs Python where the core and what it needs can be imported, and nothing of cloche else."""
    folder = tmp_path / "site"
    folder.mkdir()
    for entry in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "cloche" not in entry.name.lower() and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    (folder / "cloche").symlink_to(ROOT / "core" / "cloche")
    (folder / "cloche_native").symlink_to(ROOT / "native" / "cloche_native")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(folder)}

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        # -S: without the folder of installed packages, where cloche's own entry points are.
        command = [sys.executable, "-S", *args]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_without_plugins_a_host_opens_and_says_that_it_has_none(bare: Run) -> None:
    script = """
import cloche, json
with cloche.Host() as host:
    try:
        host.create()
    except cloche.SpecError as error:
        text = str(error)
    print(json.dumps([len(host.plugins.records), list(host.runtimes), list(host.levels), text]))
"""
    done = bare("-c", script)
    assert done.returncode == 0, done.stderr
    *nothing, text = json.loads(done.stdout)
    assert nothing == [0, [], []]
    assert "no plugin provides one" in text


def test_without_plugins_the_table_of_runtimes_is_empty(bare: Run) -> None:
    done = bare("-m", "cloche", "runtimes", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_a_host_does_not_load_what_only_a_command_line_needs(bare: Run) -> None:
    script = """
import sys
import cloche
with cloche.Host():
    print(sorted({"click", "rich", "pytest", "tomllib", "cloche.testing"} & set(sys.modules)))
"""
    done = bare("-c", script)
    assert (done.stdout, done.stderr) == ("[]\n", "")
