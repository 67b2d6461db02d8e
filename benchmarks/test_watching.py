"""What it costs a guest to be watched, by the guest's own clock: beside a bare bwrap, and beside who else watches."""

import statistics
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import compiled
from benchmarks.opening import PYTHON, opening
from benchmarks.timed import timed
from benchmarks.worker import CLOCK, Worker

REFUSED = "/usr/bin/refused"  # by the rule in ours_watched.py

BLOCKS = 4
FILES = 20_000
OURS = ["cloche", "cloche writes", "cloche full", "cloche resolved", "cloche judged", "cloche strict"]
THEIRS = ["bwrap-scratch", "sandlock-scratch", "strace"]
SOURCE = "\n".join(
    ["#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>"]
    + [f"int f{n}(int a, int b) {{ return a > {n} ? a * b + {n} : b - a / {n + 1}; }}" for n in range(60)]
)


class Work(NamedTuple):
    """What guests work on, at the same path for each contender."""

    opens: list[str]
    gcc: list[str]
    pip: list[str]


@pytest.fixture(scope="session")
def watched() -> Iterator[str]:
    """Compile the guest program."""
    with tempfile.TemporaryDirectory(prefix="cloche-watched-", dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield compiled("watched.c", Path(name))


@pytest.fixture(scope="session")
def work() -> Iterator[Work]:
    # Not in /tmp: contenders put a file system of their own there.
    with tempfile.TemporaryDirectory(prefix="cloche-watched-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        guest = compiled("watched.c", folder)
        (folder / "source.c").write_text(SOURCE)
        opens = [guest, "exec", *opening(folder, FILES)]
        gcc = [guest, "run", "3", "gcc", "-O1", "-c", f"{name}/source.c", "-o", "source.o"]
        pip = [guest, "run", "1", PYTHON, "-I", str(_pip(folder)), "install", "--no-index", "--no-deps", "--quiet"]
        pip += ["--no-cache-dir", "--disable-pip-version-check", "--target", "to", str(_wheel(folder))]
        yield Work(opens, gcc, pip)


def _pip(folder: Path) -> Path:
    """Unpack the pip that Python brings, which runs from any folder."""
    import ensurepip  # noqa: PLC0415  # Debian's Python comes without; then there is no such benchmark

    bundled = next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    with zipfile.ZipFile(bundled) as archive:
        archive.extractall(folder / "pip-folder")  # Python's own
    return folder / "pip-folder" / "pip"


def _wheel(folder: Path) -> Path:
    path = folder / "demo-1.0-py3-none-any.whl"
    record = []
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(120):
            name = f"demo/part{number // 30}/module{number}.py"
            archive.writestr(name, "".join(f"def f{n}(x):\n    return x + {n * number}\n" for n in range(20)))
            record.append(f"{name},,")
        info = "demo-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        names = [f"{info}/{name},," for name in ("METADATA", "WHEEL", "RECORD")]
        archive.writestr(f"{info}/RECORD", "\n".join(record + names) + "\n")
    return path


def measure(
    figure: str, worker: Worker, benchmark: BenchmarkFixture, program: list[str], *, key: str = "ns"
) -> dict[str, Any]:
    """Run a guest that measures itself; its nanoseconds are the figure."""
    found: dict[str, Any] = timed(benchmark, worker, "measured", program=program)
    values = found[key] if isinstance(found[key], list) else [found[key]]
    assert values
    assert all(ns > 0 for ns in values)
    benchmark.extra_info["inside"] = {figure: values}
    return found


@pytest.mark.parametrize("contender", [*OURS, *THEIRS])
@pytest.mark.benchmark(group="watch_opens", timer=CLOCK)
def test_opens(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int, work: Work) -> None:
    del block
    found = measure("watch_opens", worker, benchmark, work.opens)
    assert found["size"] == FILES
    if contender in ("cloche full", "cloche resolved", "cloche judged", "cloche strict"):
        assert found["counts"]["open"] >= FILES
        assert found["taken"] + found["lost"] >= FILES
    if contender == "cloche writes":
        assert found["counts"].get("open", 0) == 0


@pytest.mark.parametrize("contender", [*OURS, *THEIRS])
@pytest.mark.benchmark(group="watch_gcc", timer=CLOCK)
def test_gcc(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int, work: Work) -> None:
    del block
    found = measure("watch_gcc", worker, benchmark, work.gcc)
    if "counts" in found:  # it, cc1 and as, each time
        assert found["counts"]["exec"] >= 9, contender


@pytest.mark.parametrize("contender", [*OURS, *THEIRS])
@pytest.mark.benchmark(group="watch_pip", timer=CLOCK)
def test_pip(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int, work: Work) -> None:
    if block % 2:
        pytest.skip("every second time: it takes seconds")
    found = measure("watch_pip", worker, benchmark, work.pip)
    if "counts" in found:  # each module, and what it is compiled to
        assert found["counts"]["create"] + found["counts"].get("write-open", 0) >= 240, contender


@pytest.mark.parametrize("contender", [*OURS, "cloche busy", *THEIRS])
@pytest.mark.benchmark(group="watch_open", timer=CLOCK)
def test_open(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int, watched: str) -> None:
    del contender, block
    measure("watch_open", worker, benchmark, [watched, "opens", "/usr/bin/true"])


@pytest.mark.parametrize("contender", ["cloche rule", "cloche strict"])
@pytest.mark.benchmark(group="block", timer=CLOCK)
def test_block(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int, watched: str) -> None:
    del contender, block
    found = timed(benchmark, worker, "measured", program=[watched, "denied", REFUSED])
    assert found["counts"]["open"] >= 20_000
    benchmark.extra_info["inside"] = {"block_p50": [found["p50"]], "block_p99": [found["p99"]]}


@pytest.mark.parametrize("contender", ["cloche full"])
@pytest.mark.benchmark(group="visible", timer=CLOCK)
def test_visible(worker: Worker, benchmark: BenchmarkFixture, contender: str, block: int, watched: str) -> None:
    del contender, block
    delays = timed(benchmark, worker, "visible", guest=watched, count=200)
    assert len(delays) == 200
    assert min(delays) > 0
    benchmark.extra_info["inside"] = {"visible": [statistics.median(delays)]}
