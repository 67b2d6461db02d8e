"""Hosts, a ground for attacks, and the attack programs, compiled."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import cloche
from cloche.testing.leaks import SETTLE, Snapshot
from tests.behaviour.compiled import compile_programs
from tests.behaviour.ground import RUNTIMES, Ground

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail the module if, with its host closed, a process, thread or descriptor of its own is left."""
    before = Snapshot.take(machine=False)
    yield
    until = time.monotonic() + SETTLE
    while left := _left(before):
        assert time.monotonic() < until, left
        time.sleep(0.02)


def _left(before: Snapshot) -> dict[str, list[str]]:
    found = Snapshot.take(machine=False).since(before)
    # Descriptors 0 to 2 pytest itself changes between a test and its module.
    found["descriptors"] = [text for text in found.get("descriptors", ()) if text[:2] not in ("0 ", "1 ", "2 ")]
    return {kind: names for kind, names in found.items() if names}


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """Give each runtime whose guests are watched."""
    return str(request.param)


@pytest.fixture(scope="module")
def host(nothing_is_left: None, runtime: str) -> Iterator[cloche.Host]:  # noqa: ARG001 - looks round after it
    with cloche.Host(config={"host": {"runtime": runtime}}) as host:
        if (reason := host.unavailable(runtime)) is not None:
            pytest.skip(f"runtime {runtime} is not available: {reason}")
        yield host


@pytest.fixture(scope="module")
def ground(host: cloche.Host, runtime: str) -> Iterator[Ground]:
    ground = Ground(host, runtime)
    yield ground
    ground.close()


@pytest.fixture(scope="session")
def programs() -> Iterator[Path]:
    """Give a folder with the attack programs, compiled; every user can get to it."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the attack programs with; install gcc")
    folder = Path(tempfile.mkdtemp(prefix="attacks-"))
    folder.chmod(0o755)
    compile_programs(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Give the corpus that the environment names."""
    if (path := os.environ.get("CLOCHE_ATOMICS")) is None:
        pytest.skip("CLOCHE_ATOMICS names no corpus: it is not part of this project")
    return Path(path)
