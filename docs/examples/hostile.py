"""What hostile code tries first, and what became of it: run it sealed.

::

    cloche run --isolation maximum -- python3 - < docs/examples/hostile.py
"""  # noqa: INP001 - a script for people

from __future__ import annotations

import ctypes
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PTRACE_TRACEME = 0
libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *numbers: int) -> str:
    """Make a call of the C library; raises ``OSError``."""
    if getattr(libc, name)(*numbers) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "done"


def storm() -> str:
    """Fork until it fails."""
    for count in range(1000):
        try:
            child = os.fork()
        except OSError as error:
            return f"{count} processes, then: {error.strerror}"
        if child == 0:
            signal.pause()
    return "1000 processes"


TRIALS: dict[str, Callable[[], object]] = {
    "read /etc/shadow": lambda: Path("/etc/shadow").read_text(encoding="utf-8"),
    "connect": lambda: socket.create_connection(("192.0.2.1", 80), timeout=5),
    "new namespace": lambda: call("unshare", CLONE_NEWUSER),
    "ptrace": lambda: call("ptrace", PTRACE_TRACEME, 0, 0, 0),
    "fork storm": storm,
}

for what, trial in TRIALS.items():
    try:
        print(f"{what}: {trial()}", flush=True)  # noqa: T201 - it is what the script is for
    except OSError as error:
        print(f"{what}: {error.strerror}", flush=True)  # noqa: T201 - the same
