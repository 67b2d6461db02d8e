"""One box of the gvisor runtime for a module, with the tests' own packages shown to it."""

from __future__ import annotations

import shutil
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shown() -> Iterator[Path]:
    """Give a folder with what the tests' own environment brings for guests: numpy, pandas, deno."""
    with tempfile.TemporaryDirectory(prefix="shown-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if (deno := shutil.which("deno", path=sysconfig.get_path("scripts"))) is not None:
            shutil.copy2(deno, folder / "deno")
        yield folder


@pytest.fixture(scope="module")
def box(shown: Path) -> Iterator[cloche.Sandbox]:
    with cloche.Host() as host:
        if (reason := host.unavailable("gvisor")) is not None:
            pytest.skip(f"runtime gvisor is not available here: {reason}")
        packages = sysconfig.get_path("platlib")
        with host.create(
            runtime="gvisor",
            isolation="standard",
            network="loopback",
            mounts=(cloche.Mount(str(shown), "/shown"), cloche.Mount(packages, "/packages")),
            env={"PYTHONPATH": "/packages", "PYTHONDONTWRITEBYTECODE": "1"},
        ) as made:
            yield made
