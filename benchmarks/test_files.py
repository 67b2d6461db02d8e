"""Files through ``box.files``: 100 MB in and out beside a plain copy, a walk of 10,000 files beside ``os.walk``.

All are in memory-backed folders, the box's own and ``/dev/shm``, and in this process. Answers are compared first.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import cloche
from benchmarks.conftest import described

BLOCKS = 5
ROUNDS = 3
SIZE = 100_000_000
FOLDERS = FILES = 100
LIMITS = {"memory": "1G", "disk": "512M", "file_size": "512M", "open_files": 1024}
CONTENDERS = {
    "cloche": "upload, download and walk of a sandbox at level enhanced",
    "cloche bytes": "the same by write and read",
    "shutil.copyfile": "a plain copy between folders of the host",
    "os.walk + lstat": "what a walk tells, asked name by name",
    "os.walk": "names and kinds only",
}


class Scene(NamedTuple):
    box: cloche.Sandbox
    local: Path
    content: bytes


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Give a box and a folder of the host, each with the same file and the same tree."""
    described.update(CONTENDERS)
    content = os.urandom(1 << 20) * (SIZE >> 20) + bytes(SIZE % (1 << 20))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, cloche.Host() as host:
        local = Path(folder)
        (local / "big").write_bytes(content)
        for i in range(FOLDERS):
            (local / "tree" / f"{i:03}").mkdir(parents=True)
            for j in range(FILES):
                (local / "tree" / f"{i:03}" / f"file-{j:04}").touch()
        with host.create(limits=LIMITS) as box:
            box.files.upload(local / "tree", "tree")
            box.files.upload(local / "big", "big")
            yield Scene(box, local, content)


def timed(benchmark: BenchmarkFixture, function: Callable[[], object]) -> None:
    pedantic: Any = benchmark.pedantic
    pedantic(function, rounds=ROUNDS, warmup_rounds=1)


@pytest.mark.parametrize("contender", ["cloche", "cloche bytes", "shutil.copyfile"])
@pytest.mark.benchmark(group="files_in")
def test_files_in(benchmark: BenchmarkFixture, scene: Scene, contender: str, block: int) -> None:
    del block
    files, big = scene.box.files, scene.local / "big"
    ways: dict[str, Callable[[], object]] = {
        "cloche": lambda: files.upload(big, "in"),
        "cloche bytes": lambda: files.write("in", scene.content),
        "shutil.copyfile": lambda: shutil.copyfile(big, scene.local / "in"),
    }
    timed(benchmark, ways[contender])
    got = (scene.local / "in").read_bytes() if contender == "shutil.copyfile" else files.read("in")
    assert got == scene.content
    benchmark.extra_info["bytes"] = SIZE


@pytest.mark.parametrize("contender", ["cloche", "cloche bytes", "shutil.copyfile"])
@pytest.mark.benchmark(group="files_out")
def test_files_out(benchmark: BenchmarkFixture, scene: Scene, contender: str, block: int) -> None:
    del block
    files, out = scene.box.files, scene.local / "out"
    ways: dict[str, Callable[[], object]] = {
        "cloche": lambda: files.download("big", out),
        "cloche bytes": lambda: out.write_bytes(files.read("big")),
        "shutil.copyfile": lambda: shutil.copyfile(scene.local / "big", out),
    }
    timed(benchmark, ways[contender])
    assert out.read_bytes() == scene.content
    benchmark.extra_info["bytes"] = SIZE


def walked(top: Path, *, ask: bool) -> int:
    count = 0
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            count += 1
            if ask:
                os.lstat(os.path.join(folder, name))
    return count


@pytest.mark.parametrize("contender", ["cloche", "os.walk + lstat", "os.walk"])
@pytest.mark.benchmark(group="walk")
def test_walk(benchmark: BenchmarkFixture, scene: Scene, contender: str, block: int) -> None:
    del block
    tree = scene.local / "tree"
    ways: dict[str, Callable[[], int]] = {
        "cloche": lambda: sum(1 for _ in scene.box.files.walk("tree")),
        "os.walk + lstat": lambda: walked(tree, ask=True),
        "os.walk": lambda: walked(tree, ask=False),
    }
    assert ways[contender]() == FOLDERS + FOLDERS * FILES
    timed(benchmark, ways[contender])
