"""What of this machine an image of a box depends on: programs in it have files of the host mapped, page by page."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

import cloche_native as native
from cloche import Spec

LIBRARIES: Final = ("/etc/ld.so.cache", "/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/lib/apk/db/installed")
"""Files that change whenever programs or libraries of the system do."""


def of_machine(spec: Spec) -> dict[str, str]:
    """Give it by name, short."""
    found = {
        "processor": f"{os.uname().machine} {_short([_flags()])}",
        "agent": _short([Path(native.inner_path()).read_bytes()]),
    }
    if spec.rootfs is None:
        found["system"] = _short(_stamp(path) for path in LIBRARIES)
    return found


@lru_cache(1)
def _flags() -> bytes:
    """Give what the processor can do: a sentry refuses an image made where it could more."""
    for line in Path("/proc/cpuinfo").read_bytes().splitlines():
        if line.startswith((b"flags", b"Features")):
            return b" ".join(sorted(line.split()))
    return b""


def _stamp(path: str) -> bytes:
    try:
        info = os.stat(path)
    except OSError:
        return b"-"
    return f"{info.st_size} {info.st_mtime_ns}".encode()


def _short(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]
