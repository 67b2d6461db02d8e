"""Guests under a watch filter without a sandbox around them, for the tests of the supervisor."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import cloche_native as native
from cloche_native.events import Record, check, iterate
from cloche_native.supervisor import Supervisor


class Watched:
    """A supervisor with a watch socket of its own, and programs that are watched by it."""

    def __init__(self, programs: Path, **how: Any) -> None:  # noqa: ANN401 - a supervisor's own
        self._programs = programs
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = os.open("/", os.O_PATH)
        try:
            self.supervisor = Supervisor(ours.fileno(), root, **how)
        except BaseException:
            ours.close()
            self.theirs.close()
            raise
        finally:
            os.close(root)
        ours.detach()
        self.running: list[subprocess.Popen[str]] = []
        self.taken = b""

    def start(
        self,
        *acts: object,
        calls: Sequence[str] = ("openat",),
        exec_: int = 1,
        out: int | TextIO = subprocess.PIPE,
        program: str = "guest",
        user: int | None = None,
    ) -> subprocess.Popen[str]:
        """Start a guest program under a filter that notifies these calls."""
        numbers = [number for name in calls if (number := native.syscall_number(name)) is not None]
        code = b"".join([
            struct.pack("<HBBI", 0x20, 0, 0, 0),
            *(struct.pack("<HBBI", 0x15, len(numbers) - at, 0, number) for at, number in enumerate(numbers)),
            struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000),
            struct.pack("<HBBI", 0x06, 0, 0, 0x7FC00000),
        ])  # fmt: skip
        argv = [str(self._programs / "watched"), str(self.theirs.fileno()), str(exec_), code.hex()]
        process = subprocess.Popen(
            [*argv, str(self._programs / program), *map(str, acts)],
            stdout=out, stderr=subprocess.PIPE, text=True, pass_fds=[self.theirs.fileno()],
            user=user, group=user, extra_groups=None if user is None else (),
        )  # fmt: skip
        self.running.append(process)
        return process

    def run(
        self,
        *acts: object,
        calls: Sequence[str] = ("openat",),
        exec_: int = 1,
        program: str = "guest",
        user: int | None = None,
    ) -> list[str]:
        """Run a guest program to its end: the lines it printed."""
        process = self.start(*acts, calls=calls, exec_=exec_, program=program, user=user)
        out, err = process.communicate(timeout=100)
        assert (process.returncode, err) == (0, "")
        return out.splitlines()

    def records(self) -> list[Record]:
        """Give the records that came since the last time."""
        raw = self.supervisor.drain()
        check(raw)
        return list(iterate(raw))

    def close(self) -> None:
        """End all of it."""
        self.supervisor.close()
        self.theirs.close()
        for process in self.running:
            process.kill()
            process.communicate()
