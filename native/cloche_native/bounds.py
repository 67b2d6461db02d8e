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
OUTLIVING_CALLS = (
    "shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl",
    "mq_open", "mq_unlink",
)  # fmt: skip
"""System V and POSIX objects that no path names and that outlive a program: refused where there is no IPC namespace."""
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
        """Give (resource, soft, hard) for every program. Never above what this process may give (setrlimit(2)).

        ``grouped``: a control group bounds memory, so address space is left alone (big mappings are cheap there).
        """
        wanted = [(resource.RLIMIT_CORE, 0)]
        if self.open_files is not None:
            wanted.append((resource.RLIMIT_NOFILE, self.open_files))
        if self.file_size is not None:
            wanted.append((resource.RLIMIT_FSIZE, self.file_size))
        if self.memory is not None and not grouped:
            wanted.append((resource.RLIMIT_AS, self.memory))
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
                else ("partial", "RLIMIT_AS", "bounds each process's address space, not the tree; JITs reserve much")
            )
        if self.cpu is not None:
            out["cpu"] = _cpu(self.cpu, grouped)
        if self.pids is not None:
            out["pids"] = _pids(grouped, own_user=own_user)
        if self.open_files is not None:
            out["open_files"] = ("enforced", "RLIMIT_NOFILE")
        if self.file_size is not None:
            out["file_size"] = ("enforced", "RLIMIT_FSIZE")
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
        return ("enforced", f"{grouped} pids controller")
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
