"""The benchmarks' fixtures, and how contenders are interleaved.

A shared machine's speed drifts by a factor of two within a minute. pytest-benchmark runs one parameter to its end
before the next, which would compare a quiet moment with a busy one. So every test is also parametrised over ``block``,
outermost: a block is a few rounds of each contender in turn, and the figures of a contender are taken over all its
blocks (`benchmarks.report`). That needs no timing code of our own, and pytest-benchmark's JSON stays whole.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import dev_null_problem
from benchmarks.worker import Worker, WorkerError

SOURCES = Path(__file__).parent
# Both by contender, written into the JSON.
skipped: dict[str, str] = {}
described: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="five times the blocks, and 1 GiB of output instead of 256 MiB"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    blocks: int | None = getattr(metafunc.module, "BLOCKS", None)
    if blocks is not None:  # this hook runs before that of the marks, so block becomes the outermost parameter
        metafunc.parametrize("block", range(blocks * (5 if metafunc.config.getoption("full") else 1)))


class Workers:
    """The workers of one run, each started once, when first asked for."""

    def __init__(self) -> None:
        self._by_name: dict[str, Worker] = {}
        self._reasons: dict[str, str | None] = {}

    def __call__(self, name: str) -> Worker:
        """Give the worker of a contender that was seen to run.

        A peer that does not is skipped with the reason; one of ours only if what it needs is not on this machine.
        """
        if name not in self._by_name:
            worker = self._by_name[name] = Worker(name)
            self._reasons[name] = _why_not(worker)
            if self._reasons[name] is None:
                described[name] = worker.call("describe")
        reason = self._reasons[name]
        if reason is not None and name.startswith("cloche") and self._by_name[name].call("find") is None:
            pytest.fail(f"{name} does not run: {reason}", pytrace=False)
        if reason is not None:
            skipped[name] = reason
            pytest.skip(reason)
        return self._by_name[name]

    def close(self) -> None:
        for worker in self._by_name.values():
            worker.close()


def _why_not(worker: Worker) -> str | None:
    try:
        reason: str | None = worker.call("unavailable")
    except WorkerError as error:
        reason = str(error)
    problem = dev_null_problem()
    if problem is not None:
        pytest.exit(f"{worker.name} broke this machine: {problem}", returncode=3)
    return reason


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    found = Workers()
    try:
        yield found
    finally:
        found.close()
        problem = dev_null_problem()
        assert problem is None, problem


@pytest.fixture
def worker(workers: Workers, contender: str) -> Worker:
    return workers(contender)


@pytest.fixture(scope="session")
def guest() -> Iterator[str]:
    """Compile the guest program, in a folder that any uid may enter: pytest's own temporary ones are private."""
    with tempfile.TemporaryDirectory(prefix="cloche-guest-") as folder:
        Path(folder).chmod(0o755)
        yield compiled("inside.c", Path(folder))


def compiled(source: str, folder: Path) -> str:
    """Compile a guest program into ``folder``, and give its path."""
    program = folder / source.removesuffix(".c")
    flags = ["-std=c11", "-O2", "-static", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", str(program), str(SOURCES / source)], check=True, timeout=60)
    return str(program)


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: object, output_json: dict[str, Any]) -> None:
    del config, benchmarks
    output_json["skipped"] = skipped
    output_json["contenders"] = described
