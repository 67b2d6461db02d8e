"""Processes named so that none is mistaken for another: by id, start time and boot."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import NamedTuple

__all__ = ["Seen", "boot", "end", "end_family", "seen", "started", "ticks"]


def boot() -> str:
    """Give the id of this boot (random(4), boot_id); start times are counted from it."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


class Seen(NamedTuple):
    """A process as /proc shows it: parent and program where they can be read; ``depth`` of its pid namespace."""

    started: int
    parent: int
    exe: str | None
    depth: int


def seen(pid: int) -> Seen | None:
    """Give what can be read of a process without waiting for it: nothing of its memory. ``None``: there is none.

    Its start is read last: a process that had begun before something else, and is there then, was there all along.
    """
    exe: str | None = None
    try:
        depth = _read(f"/proc/{pid}/status").partition(b"NSpid:")[2].partition(b"\n")[0]
        with contextlib.suppress(OSError):  # another user's, or a thread of the kernel
            exe = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = _alive(pid)
    return None if fields is None else Seen(int(fields[19]), int(fields[1]), exe, max(1, len(depth.split())))


def _alive(pid: int) -> list[bytes] | None:
    """Give the fields of proc_pid_stat(5) from the third on; ``None``: it is not there, or only waits to be reaped."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(b")")[2].split()  # the name before may hold spaces and brackets
    return None if fields[0] in (b"Z", b"X") else fields


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 1 << 14)
    finally:
        os.close(fd)


def ticks(monotonic_ns: int) -> int:
    """Give a time of CLOCK_MONOTONIC as start times are counted: in clock ticks since boot, sleep included."""
    asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return (monotonic_ns + asleep) * os.sysconf("SC_CLK_TCK") // 1_000_000_000


def started(pid: int) -> int | None:
    """Give when a process started, in clock ticks since boot (proc_pid_stat(5), field 22); ``None``: there is none.

    Together with id and boot that names one process for ever. One that has ended and is not waited for counts as gone.
    """
    fields = _alive(pid)
    return None if fields is None else int(fields[19])


def end(pid: int, start: int, *, patience: float = 5.0) -> bool:
    """Kill the process of that id if it is the one that started at ``start``; says whether it was there.

    The descriptor is opened before the time is compared, so that what is killed is what was compared. Waits up to
    ``patience`` seconds for its end, then raises TimeoutError. OSError EPERM: it belongs to another user.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if started(pid) != start:
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        if not waiting.poll(patience * 1000):
            raise TimeoutError(f"process {pid} outlives SIGKILL; see /proc/{pid}/stack")
    finally:
        os.close(handle)
    return True


def end_family(pid: int, handle: int, *, patience: float = 1.0) -> None:
    """Kill a child of this process, of which ``handle`` is a pidfd, and its children; no error for what has ended.

    It is stopped first, so that none is born while they are looked for: fork(2) is not carried out with a signal
    pending. One that does not stop within ``patience`` seconds is killed with the children that it has then.
    """
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGSTOP)
    until = time.monotonic() + patience
    while (fields := _alive(pid)) is not None and fields[0] not in (b"T", b"t") and time.monotonic() < until:
        time.sleep(0.0005)
    for child in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        # None of them is waited for before its parent has gone, so that its number stays its own.
        if (fields := _alive(child)) is not None and int(fields[1]) == pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
