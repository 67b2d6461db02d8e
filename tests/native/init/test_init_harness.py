"""Ways of finding processes that a usual kernel gives no occasion to use, driven through a small program."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INIT = HERE.parents[2] / "native/init"


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("harness") / "tree"
    sources = [HERE / "tree_harness.c", INIT / "tree.c"]
    flags = ["-std=c11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", f"-I{INIT}"]
    subprocess.run(["gcc", *flags, *sources, "-o", target], check=True, timeout=120)
    return target


@pytest.mark.parametrize(("way", "met"), [("children", 11), ("scan", 11), ("numbers", 0)])
def test_a_tree_is_killed_whole_in_every_way(harness: Path, way: str, met: int) -> None:
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    ran = subprocess.run([harness, way], capture_output=True, text=True, check=True, timeout=30, env=environment)
    assert int(ran.stdout) == met
