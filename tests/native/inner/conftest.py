"""cloche-inner in gVisor guests; everything here is skipped where there is no runsc, or where it can't run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import cloche_native
from tests.native.inner.guests import PLAIN, Guest, write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NATIVE: Final = Path(__file__).parents[3] / "native"
SANITIZED: Final = "CLOCHE_SANITIZED" in os.environ
SANITIZE: Final = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


@pytest.fixture(scope="session")
def runsc() -> Iterator[list[str]]:
    """The command of runsc with a state folder of its own."""
    path = shutil.which("runsc")
    if path is None:
        pytest.skip("runsc is not installed (apt-get install runsc)")
    with tempfile.TemporaryDirectory(prefix="runsc-") as state:
        command = [path, f"--root={state}", "--platform=ptrace", "--network=none", "--ignore-cgroups"]
        yield command if os.geteuid() == 0 else [*command, "--rootless"]


def install(target: Path) -> None:
    """Put a cloche-inner there: CLOCHE_INNER, else the one installed.

    With CLOCHE_SANITIZED it is compiled with the sanitizers; what they find ends it, and so fails the test.
    """
    if SANITIZED and "CLOCHE_INNER" not in os.environ:
        shared = [NATIVE / "init" / f"{name}.c" for name in ("wire", "control", "execute", "bounds", "signals")]
        sources = [*sorted((NATIVE / "inner").glob("*.c")), *shared]
        command: list[str | Path] = ["gcc", "-std=c11", "-D_GNU_SOURCE", *SANITIZE, *sources, "-o", target]
        subprocess.run(command, check=True, timeout=120)
    else:
        shutil.copy(os.environ.get("CLOCHE_INNER") or cloche_native.inner_path(), target)
    target.chmod(0o755)


@pytest.fixture(scope="session")
def bundle() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="inner-") as folder:
        Path(folder).chmod(0o755)
        inner = Path(folder, "cloche-inner")
        install(inner)
        write_bundle(Path(folder), inner)
        yield Path(folder)


@pytest.fixture
def launch(runsc: list[str], bundle: Path) -> Iterator[Callable[[], Guest]]:
    """Start a guest without a setup; all are ended after the test."""
    guests: list[Guest] = []

    def start() -> Guest:
        guests.append(Guest(runsc, bundle))
        return guests[-1]

    yield start
    for guest in guests:
        guest.close()


@pytest.fixture
def guest(launch: Callable[[], Guest]) -> Guest:
    """A guest that is ready, for one test."""
    return launch().ready(PLAIN)


@pytest.fixture(scope="module")
def shared(runsc: list[str], bundle: Path) -> Iterator[Guest]:
    """A guest that is ready, for tests that leave nothing in it."""
    guest = Guest(runsc, bundle).ready(PLAIN)
    yield guest
    guest.close()
