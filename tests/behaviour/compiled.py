"""The attack programs of ``tests/escape`` and of this folder, compiled."""

from __future__ import annotations

import subprocess
from pathlib import Path

FOLDERS = (Path(__file__).parent / "programs", Path(__file__).parents[1] / "escape" / "programs")
OPTIONS = ("-static", "-pthread", "-O1", "-Wall", "-Wextra", "-D_GNU_SOURCE")


def compile_programs(folder: Path) -> None:
    """Put all of them into ``folder``. Raises ``CalledProcessError`` and ``OSError``."""
    sources = [source for place in FOLDERS for source in sorted(place.glob("*.c"))]
    running = [subprocess.Popen(["gcc", *OPTIONS, "-o", str(folder / s.stem), str(s)]) for s in sources]
    for one in running:
        if one.wait(120) != 0:
            raise subprocess.CalledProcessError(one.returncode, one.args)
