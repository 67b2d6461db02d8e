"""Which runsc to run, and what it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OLDEST: Final = 20220101
"""Of before, nothing was tried. Releases are named for their day: "release-20231218.0", Debian's "0.0~20221219.0"."""
SECONDS: Final = 10.0
HOW: Final = "`cloche install gvisor` tells how to get one"
SECONDS_TO_TELL: Final = 2.0
_NAME: Final = re.compile(r"[a-z0-9]{1,20}")
_DAY: Final = re.compile(r"\b(20[0-9]{6})\b")


@dataclass(frozen=True, slots=True)
class Runsc:
    """A runsc that runs: where it is, what it calls itself, and the day it was released as a number, 20221219."""

    path: Path
    version: str
    day: int

    def key(self) -> str:
        """Give what changes when it is replaced."""
        status = self.path.stat()
        return f"{self.path} {self.version} {status.st_size} {status.st_mtime_ns}"


def platforms(path: Path) -> frozenset[str]:
    """Give the platforms that a runsc says it has; none where it does not say."""
    try:
        done = subprocess.run(
            [path, "help", "platforms"], stdin=subprocess.PIPE, capture_output=True, text=True, errors="replace",
            timeout=SECONDS_TO_TELL, check=False,
        )  # fmt: skip
    except (subprocess.TimeoutExpired, OSError):
        return frozenset()
    words = done.stdout.split()
    return frozenset(words) if done.returncode == 0 and all(map(_NAME.fullmatch, words)) else frozenset()


def find() -> tuple[Runsc | None, str]:
    """Give the runsc to use, or ``None`` and why there is none that will do."""
    chosen = os.environ.get("CLOCHE_RUNSC") or shutil.which("runsc")
    if chosen is None:
        return None, f"no runsc was found; {HOW}"
    found = version(Path(chosen).absolute())
    if isinstance(found, str):
        return None, f"{chosen} {found}; {HOW}"
    if found.day < OLDEST:
        return None, f"{chosen} is of {found.day}, older than {OLDEST}; {HOW}"
    return found, ""


def version(path: Path) -> Runsc | str:
    """Give what the program at ``path`` is, or what is wrong with it."""
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.PIPE, capture_output=True, text=True, errors="replace",
            timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"does not say its version within {SECONDS:g} s"
    except OSError as error:
        return f"does not run: {error.strerror}"
    words = done.stdout.split()
    day = _DAY.search(done.stdout)
    if done.returncode != 0 or words[:2] != ["runsc", "version"] or day is None:
        return "does not run, or is something else"
    return Runsc(path, words[2], int(day[1]))
