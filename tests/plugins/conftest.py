"""The command line as a process of its own, and distributions made for one test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import pytest

from cloche import Host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cloche_wasm.cache import Cache

CLOCHE = (sys.executable, "-m", "cloche")


class Cloche(Protocol):
    """Runs ``cloche`` to its end."""

    def __call__(
        self, *args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]: ...


class Start(Protocol):
    """Starts ``cloche`` and gives the process; what still runs at the end of the test is killed."""

    def __call__(self, *args: str, stdin: int | IO[bytes] | None = None) -> subprocess.Popen[bytes]: ...


@pytest.fixture(scope="module")
def guest_cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    """Give a cache that already has the JavaScript interpreter compiled: that takes seconds."""
    from cloche_wasm import guests  # noqa: PLC0415 - most tests need none of it
    from cloche_wasm.cache import Cache  # noqa: PLC0415
    from cloche_wasm.engine import engine  # noqa: PLC0415

    cache = Cache(tmp_path_factory.mktemp("cache") / "wasm")
    cache.module(engine(), guests.read(guests.QUICKJS), "the guest")
    return cache


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that every user can get to; those of ``tmp_path`` are closed to all but the one who tests."""
    folder = Path(tempfile.mkdtemp(prefix="test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no runtime with a kernel of its own, whatever is installed."""
    monkeypatch.setenv("CLOCHE_RUNSC", "/no/such/runsc")


@pytest.fixture
def host_of() -> Iterator[Callable[[str], Host]]:
    """Give a host that makes boxes of one runtime; the test is skipped where there is none."""
    with ExitStack() as hosts:

        def make(runtime: str) -> Host:
            host = hosts.enter_context(Host(config={"host": {"runtime": runtime}}))
            if (reason := host.unavailable(runtime)) is not None:
                pytest.skip(f"runtime {runtime} is not available here: {reason}")
            return host

        yield make


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


@pytest.fixture
def ended(
    no_leaks: None,  # noqa: ARG001 - what it looks for must be gone by then
    cloche: Cloche,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """Delete what a test has created, and wait for the end of the process that held it."""
    config = tmp_path_factory.mktemp("config") / "cloche.toml"
    config.write_text('[host]\nkeeper_idle = "200ms"\n')
    monkeypatch.setenv("CLOCHE_CONFIG", str(config))
    folder = Path(os.environ["XDG_RUNTIME_DIR"], "cloche")

    def left() -> list[Path]:
        return [path for kind in ("keepers/host-*", "hosts/*") for path in folder.glob(kind)]

    yield
    if left():
        cloche("rm", "-f", "--all")
    deadline, sweep = time.monotonic() + 20, time.monotonic() + 2
    while left():
        assert time.monotonic() < deadline, left()
        if time.monotonic() > sweep:  # who lists sandboxes sweeps after hosts that were killed
            cloche("ps")
            sweep = time.monotonic() + 0.5
        time.sleep(0.02)


@pytest.fixture
def made(cloche: Cloche, ended: None) -> Callable[..., str]:  # noqa: ARG001
    """Give a function that creates a sandbox and gives its id."""

    def create(*args: str) -> str:
        done = cloche("create", "--isolation", "standard", *args)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    return create
