"""Limits on a box as Linux keeps them: a control group where there is one, resource limits and CPU masks elsewhere.

``Verdict`` is plain data, so that this package needs nothing of the core: ``("enforced", mechanism)``,
``("partial", mechanism, caveat)`` or ``("unenforced", reason, fix)``.
"""

from __future__ import annotations

import math
import os
import resource
import threading
from dataclasses import dataclass

Verdict = tuple[str, ...]
ATTRIBUTE_CALLS = (
    "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr",
    "removexattrat", "file_setattr",
)  # fmt: skip
"""Calls that change attributes of files by name, which Landlock doesn't judge (landlock(7), CAVEATS)."""

OUTLIVING_CALLS = (
    "shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl",
    "mq_open", "mq_unlink",
)  # fmt: skip
"""System V and POSIX objects that no path names and that outlive a program: refused where there is no IPC namespace."""
OWN_TASKS_WITHOUT_USER = 8
"""Room in a group that alone bounds the guest's processes. Helpers beyond it, one an exec, count as the guest's."""
DATA_LEAST, DATA_TIMES = 1 << 30, 4
"""RLIMIT_DATA beside the agent's watch over memory: stacks of threads are 8 MiB each, of which little is ever used."""
NEED_GROUP = "run as root, or in a delegated cgroup v2 (systemd: Delegate=yes)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What is asked of one box: bytes, processors, counts; ``None`` is no bound."""

    memory: int | None = None
    cpu: float | None = None
    pids: int | None = None
    open_files: int | None = None
    file_size: int | None = None

    def rlimits(self, *, grouped: bool) -> list[tuple[int, int, int]]:
        """Give (resource, soft, hard) for every program. Never above what this process may give (setrlimit(2))."""
        return [(resource.RLIMIT_CORE, 0, 0), *self.rlimits_of("memory", "open_files", "file_size", grouped=grouped)]

    def rlimits_of(self, *names: str, grouped: bool) -> list[tuple[int, int, int]]:
        """Give those that keep the bounds of these names.

        ``grouped``: a control group bounds memory. Else what a process maps as its own is bounded too (RLIMIT_DATA),
        generously: address space that is only reserved, as by machines that compile while they run, doesn't count.
        """
        wanted = []
        if "open_files" in names and self.open_files is not None:
            wanted.append((resource.RLIMIT_NOFILE, self.open_files))
        if "file_size" in names and self.file_size is not None:
            wanted.append((resource.RLIMIT_FSIZE, self.file_size))
        if "memory" in names and self.memory is not None and not grouped:
            wanted.append((resource.RLIMIT_DATA, max(DATA_LEAST, DATA_TIMES * self.memory)))
        out = []
        for number, value in wanted:
            hard = resource.getrlimit(number)[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            out.append((number, bound, bound))
        return out

    def affinity(self, *, grouped: bool) -> frozenset[int]:
        """Give the CPUs a box may use when no control group shares out their time; empty means all."""
        if grouped or self.cpu is None:
            return frozenset()
        return _turns.next(math.ceil(self.cpu))

    def verdicts(self, *, grouped: str | None, own_user: bool) -> dict[str, Verdict]:
        """Give how each bound that is asked for is kept.

        ``grouped`` names the control-group version in use, if any; ``own_user``: the box is the only user of its uid
        (an own host uid, or its own user namespace), so that RLIMIT_NPROC counts nothing else.
        """
        out: dict[str, Verdict] = {}
        if self.memory is not None:
            out["memory"] = (
                ("enforced", f"{grouped} memory controller, swap included")
                if grouped
                else (
                    "partial",
                    "the agent looks at all processes and kills the program that has most; RLIMIT_DATA",
                    "it looks every 2 to 100 ms: what is filled faster is over the bound for a moment",
                )
            )
        if self.cpu is not None:
            out["cpu"] = _cpu(self.cpu, grouped)
        if self.pids is not None:
            out["pids"] = _pids(grouped, own_user=own_user)
        if self.open_files is not None:
            out["open_files"] = ("enforced", "RLIMIT_NOFILE of each process")
        if self.file_size is not None:
            out["file_size"] = ("enforced", "RLIMIT_FSIZE, SIGXFSZ")
        return out


def _cpu(share: float, grouped: str | None) -> Verdict:
    if grouped:
        return ("enforced", f"{grouped} cpu quota")
    if share < 1:
        return ("unenforced", "less than one processor needs a cpu control group", NEED_GROUP)
    return ("partial", "CPU affinity, locked by the system-call filter", "whole processors, shared with other boxes")


def _pids(grouped: str | None, *, own_user: bool) -> Verdict:
    if own_user:
        return (
            "enforced",
            "RLIMIT_NPROC of a user of its own" + (f" and {grouped} pids controller" if grouped else ""),
        )
    if grouped:
        return (
            "partial",
            f"{grouped} pids controller",
            f"up to {OWN_TASKS_WITHOUT_USER} more: the room for cloche's own processes in the group",
        )
    return (
        "partial",
        "RLIMIT_NPROC above what the caller runs already",
        "shifts as the caller's other processes come and go",
    )


def tasks_of_caller() -> int:
    """Count the processes and threads of the calling user, as RLIMIT_NPROC does (getrlimit(2))."""
    uid, count = os.getuid(), 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if entry.stat().st_uid == uid:
                    count += len(os.listdir(f"/proc/{entry.name}/task"))
            except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
                continue
    return count


class _Turns:
    """Hands out CPUs in turn, so that boxes of one processor do not all land on the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0

    def next(self, count: int) -> frozenset[int]:
        usable = sorted(os.sched_getaffinity(0))
        if count >= len(usable):
            return frozenset()
        with self._lock:
            start, self._next = self._next, self._next + count
        return frozenset(usable[(start + i) % len(usable)] for i in range(count))


_turns = _Turns()
