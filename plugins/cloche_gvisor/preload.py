"""What an old gVisor lacks, put right without a change of the guest's environment or files of its own.

Before 2023-02-21 statx(2) refused a flag that ``ls`` and ``stat`` of coreutils always give. A small library that
leaves the flag out is named in the box's /etc/ld.so.preload, which the loader of the GNU C library reads for every
program. It does nothing for programs that have another loader or none, nor in a box with a root folder of its own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from cloche import Check
from cloche_gvisor.binary import Runsc

LIBRARY: Final = "/.cloche-statx.so"
MENDED: Final = 20230221


def is_needed(runsc: Runsc | None) -> bool:
    """Whether that runsc refuses the flag, by the day it was released."""
    return runsc is not None and runsc.day < MENDED


def what_is_mended(runsc: Runsc) -> list[Check]:
    """Give the line of ``cloche doctor`` about it, if there is one."""
    found = f"this runsc refuses what ls and stat ask; {LIBRARY}, by each box's /etc/ld.so.preload, mends it"
    return [Check("statx", found, ok=None)] if is_needed(runsc) else []


def etc_with_preload(etc: Path) -> Path:
    """Give a copy of that folder, made once, whose ``ld.so.preload`` names the library. Raises OSError."""
    target = etc.with_name(f"{etc.name}-preload")
    if target.is_dir():
        return target
    part = Path(tempfile.mkdtemp(prefix="etc-", dir=etc.parent))
    try:
        shutil.copytree(etc, part, symlinks=True, dirs_exist_ok=True)
        named = part / "ld.so.preload"
        named.write_text(LIBRARY)  # without an end of line, for which the loader would write into its copy of the page
        named.chmod(0o644)
        part.rename(target)
    except OSError:  # another host was first, and its copy is the same; or nothing half made stays
        shutil.rmtree(part)
        if not os.path.isdir(target):
            raise
    return target
