"""A stranger's runtime, installed as a user would, passes what ours pass."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cloche.testing import RuntimeConformance


class TestNsjail(RuntimeConformance):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def from_its_distribution(cls, installed: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(installed)
            cls.runtime = importlib.import_module("cloche_nsjail").NsjailRuntime


def test_it_is_found_by_its_entry_point_and_runs_programs(installed: Path) -> None:
    code = (
        "import cloche, json\n"
        "with cloche.Host() as host:\n"
        "    found = [r.distribution for r in host.plugins.records if r.runtimes == ('nsjail',)]\n"
        "    done = host.run('/bin/echo', 'hi', runtime='nsjail', isolation='maximum')\n"
        "print(json.dumps([found, done.text, done.explain()]))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[:2] == [["cloche-test-nsjail"], "hi\n"], done.stdout


def test_it_takes_a_stranger_no_more_than_a_hundred_lines() -> None:
    (module,) = (Path(__file__).parent / "cloche_nsjail").glob("*.py")
    assert len(module.read_text().splitlines()) <= 100
