"""The command line as a process of its own, and distributions made for one test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CLOCHE = (sys.executable, "-m", "cloche")


class Cloche(Protocol):
    """Runs ``cloche`` to its end."""

    def __call__(
        self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]: ...


class Start(Protocol):
    """Starts ``cloche`` and gives the process; what still runs at the end of the test is killed."""

    def __call__(self, *args: str, stdin: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]: ...


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that every user can get to; those of ``tmp_path`` are closed to all but the one who tests."""
    folder = Path(tempfile.mkdtemp(prefix="test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cloche() -> Cloche:
    def run(
        *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*CLOCHE, *args], input=stdin, capture_output=True, timeout=60, check=False, cwd=cwd,
            env={**os.environ, **(env or {})},
        )  # fmt: skip

    return run


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[subprocess.Popen[bytes]] = []

    def run(*args: str, stdin: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        given = subprocess.DEVNULL if stdin is None else stdin
        process = subprocess.Popen(
            [*CLOCHE, *args], stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.wait(30)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


@pytest.fixture
def install_plugin(tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """Give a function that makes a distribution with one plugin; it gives the environment in which that is found."""

    def install(name: str, source: str) -> dict[str, str]:
        folder = tmp_path / "plugins"
        made = folder / f"{name}-1.0.dist-info"
        made.mkdir(parents=True)
        (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (made / "entry_points.txt").write_text(f"[cloche]\n{name} = plugin_{name}\n")
        (folder / f"plugin_{name}.py").write_text(source)
        return {"PYTHONPATH": str(folder)}

    return install
