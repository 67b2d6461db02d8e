"""cloche-init bare on this machine under an unprivileged uid, inside bubblewrap, and in namespaces of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.native.init.boxes import BARE, ENTERED, SEALED, Box, bwrap_argv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cloche_native.agent import Setup

SOURCES: Final = Path(__file__).parents[3] / "native/init"
SANITIZED: Final = "CLOCHE_SANITIZED" in os.environ
SANITIZE: Final = [
    "-g",
    "-O1",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
]


@pytest.fixture(scope="session")
def init() -> Iterator[Path]:
    """A cloche-init that every uid may run: CLOCHE_INIT, else the one installed, else one compiled here.

    With CLOCHE_SANITIZED it is compiled with the sanitizers; what they find ends it, and so fails the test.
    """
    folder = Path(tempfile.mkdtemp(prefix="init-under-test-"))
    folder.chmod(0o755)
    target = folder / "cloche-init"
    installed = Path(__file__).parents[3] / "native/cloche_native/cloche-init"
    sources = sorted(SOURCES.glob("*.c"))
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if given := os.environ.get("CLOCHE_INIT"):
        shutil.copy(given, target)
    elif SANITIZED:  # not static: the sanitizers are shared libraries
        subprocess.run(["gcc", "-std=c11", *SANITIZE, *sources, "-o", target], check=True, timeout=120)
    elif installed.exists() and installed.stat().st_mtime >= newest:
        shutil.copy(installed, target)
    else:
        subprocess.run(["gcc", "-std=c11", "-O2", "-static", *sources, "-o", target], check=True, timeout=120)
    target.chmod(0o755)
    yield target
    shutil.rmtree(folder)


@pytest.fixture
def launch(init: Path) -> Iterator[Callable[..., Box]]:
    """Start cloche-init, "bare", in "bwrap" or "entered" directly, without a setup; all are ended after the test."""
    boxes: list[Box] = []

    def start(kind: str, *, more: Sequence[str] = (), hidden: Sequence[int] = (), watch: int | None = None) -> Box:
        argv = [str(init), "{FD}"]
        if kind == "bwrap":
            argv = [*bwrap_argv(init), *more, "--", "/.cloche", "{FD}"]
        boxes.append(Box(argv, hidden=hidden, entered=kind == "entered", watch=watch))
        return boxes[-1]

    yield start
    for box in boxes:
        box.close()


@pytest.fixture
def roomy() -> None:
    if SANITIZED:
        pytest.skip("AddressSanitizer needs more address space than the limit that is tested")


@pytest.fixture(params=["bare", "bwrap", "entered"])
def kind(request: pytest.FixtureRequest) -> str:
    """Where cloche-init runs."""
    return str(request.param)


@pytest.fixture
def setup(kind: str) -> Setup:
    """What suits that place."""
    return {"bare": BARE, "bwrap": SEALED, "entered": ENTERED}[kind]


@pytest.fixture
def sealed() -> Setup:
    """The setup of a box in bubblewrap."""
    return SEALED


@pytest.fixture
def entered() -> Setup:
    """The setup of a box that is entered directly."""
    return ENTERED


@pytest.fixture
def bare() -> Setup:
    """The setup of a box with no namespaces."""
    return BARE


@pytest.fixture
def box(launch: Callable[..., Box], kind: str, setup: Setup) -> Box:
    """A box that is ready."""
    started: Box = launch(kind)
    return started.ready(setup)


@pytest.fixture
def limited(launch: Callable[..., Box], kind: str, setup: Setup) -> Box:
    """A box that is ready, with at most 40 processes for an exec."""
    started: Box = launch(kind)
    return started.ready(replace(setup, pids=40))


@pytest.fixture
def alive() -> Callable[[str], list[int]]:
    """Give the processes of this machine whose command line holds a text."""

    def find(text: str) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if text.encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # ended while we looked
        return found

    return find


@pytest.fixture
def gone(alive: Callable[[str], list[int]]) -> Callable[[str], bool]:
    """Whether no process is left whose command line holds a text, within a second."""

    def wait(text: str) -> bool:
        deadline = time.monotonic() + 1
        while alive(text) and time.monotonic() < deadline:
            time.sleep(0.01)
        return not alive(text)

    return wait


@pytest.fixture
def appears(alive: Callable[[str], list[int]]) -> Callable[[str, int], bool]:
    """Whether a number of processes whose command line holds a text are there, within some seconds."""

    def wait(text: str, count: int = 1) -> bool:
        deadline = time.monotonic() + 5
        while len(alive(text)) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(alive(text)) >= count

    return wait


@pytest.fixture
def marker(request: pytest.FixtureRequest, alive: Callable[[str], list[int]]) -> Iterator[str]:
    """A number to sleep for that no other process sleeps for; whatever still does is killed after the test."""
    text = f"7{os.getpid()}{abs(hash(request.node.nodeid)) % 1000000}"
    yield text
    for pid in alive(text):
        os.kill(pid, signal.SIGKILL)
