"""One control group, version 1 or 2: its bounds, freezing and killing, and what it used.

Files and their meaning: Documentation/admin-guide/cgroup-v1/ and cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from cloche_native.cgroup_files import read, read_pairs, remove, settle, write

if TYPE_CHECKING:
    from collections.abc import Mapping

PERIOD_US = 100_000  # of a CPU quota, the kernel's own default
QUOTA_MIN_US = 1_000  # less is refused by the kernel
CLEAN_BYTES = 4 << 20  # what a group may still be charged for and be used again; page cache, mostly


class Group(ABC):
    """One group and what is in it. Made by ``Hierarchy.create``; not for use by several threads at once.

    Errors are OSError; TimeoutError among them.
    """

    attach_file: str

    def __init__(self, folders: Mapping[str, str]) -> None:
        self.bounds: dict[str, float] = {}  # what update() has set
        self._of = folders
        self._fds: list[int] = []

    @property
    def folders(self) -> tuple[str, ...]:
        """The group's absolute paths, each once: one in version 2, one a mounted hierarchy in version 1."""
        return tuple(dict.fromkeys(self._of.values()))

    def attach_fds(self) -> list[int]:
        """Give descriptors into which a process writes ``0`` to join (``spawn(cgroups=...)``); the group keeps them."""
        if not self._fds:
            self._fds = [os.open(f"{path}/{self.attach_file}", os.O_WRONLY | os.O_CLOEXEC) for path in self.folders]
        return list(self._fds)

    def update(
        self, *, memory: int | None = None, swap: int = 0, pids: int | None = None, cpu: float | None = None
    ) -> None:
        """Set the bounds that are not None: bytes, processes and threads, CPUs' worth of time.

        ``swap`` is in bytes beside ``memory`` and counts only together with it. EBUSY: more memory is in use.
        """
        if memory is not None:
            self._set_memory(memory, swap)
            self.bounds |= {"memory": memory, "swap": swap}
        if pids is not None:
            write(f"{self._of['pids']}/pids.max", str(pids))
            self.bounds["pids"] = pids
        if cpu is not None:
            self._set_quota(max(QUOTA_MIN_US, round(cpu * PERIOD_US)))
            self.bounds["cpu"] = cpu

    def is_there(self) -> bool:
        """Say whether it has not been removed by somebody else."""
        return all(map(os.path.isdir, self.folders))

    def recycle(self) -> bool:
        """Make an empty group as new, bounds kept, for another box; False when it must be deleted instead.

        It must when processes stay in it, when more than CLEAN_BYTES are still charged to it, or in version 2, whose
        counters can't be set back.
        """
        return False

    def processes(self) -> list[int]:
        """Give the ids of the processes in the group, as this process sees them."""
        return [int(line) for line in read(f"{self.folders[0]}/cgroup.procs").split()]

    def delete(self, *, patience: float | None = None) -> None:
        """Remove the group; no error when it is gone. OSError EBUSY when processes stay in it: kill first.

        ``patience`` is how many seconds it may sleep until they have left, 0 for not at all. May be repeated.
        """
        while self._fds:
            os.close(self._fds.pop())
        for folder in self.folders:
            remove(folder, patience=patience)

    @abstractmethod
    def freeze(self) -> None:
        """Stop every process, unseen by them, and wait until all are stopped."""

    @abstractmethod
    def thaw(self) -> None:
        """Let them go on."""

    @abstractmethod
    def kill(self) -> None:
        """Kill every process, also a frozen one, and wait until none is left."""

    @abstractmethod
    def stats(self) -> dict[str, float]:
        """Give what the group uses.

        ``memory`` and ``memory_peak`` (bytes, page cache included; no peak in version 2 before Linux 5.19),
        ``cpu_us``, ``pids``, ``throttled`` (times held back by the CPU quota), ``throttled_us``; where the kernel
        counts these ``pids_refused`` (forks that the bound on them refused) and ``pids_peak``; in version 2 also
        ``io_read`` and ``io_write`` (bytes) where its controller is handed down. Version 1 counts bytes only for
        groups that have a bound on them.
        """

    @abstractmethod
    def oom_kills(self) -> int:
        """Count the processes that the kernel killed because the group was out of memory."""

    @abstractmethod
    def _set_memory(self, memory: int, swap: int) -> None: ...

    @abstractmethod
    def _set_quota(self, quota_us: int) -> None: ...


class GroupV1(Group):
    """Version 1: a folder in the hierarchy of each controller. The methods are described in Group."""

    attach_file = "tasks"  # "0" in tasks moves one thread and spares the kernel's lock over all of them

    def __init__(self, folders: Mapping[str, str]) -> None:
        super().__init__(folders)
        self._earlier: dict[str, int] = {}  # counts that can't be set back, as they stood at recycle()

    def _count(self, name: str, controller: str, file: str) -> int:
        return read_pairs(f"{self._of[controller]}/{file}")[name] - self._earlier.get(name, 0)

    def recycle(self) -> bool:
        if self.processes() or int(read(f"{self._of['memory']}/memory.usage_in_bytes")) > CLEAN_BYTES:
            return False
        write(f"{self._of['memory']}/memory.max_usage_in_bytes", "0")
        write(f"{self._of['cpuacct']}/cpuacct.usage", "0")
        self._earlier = read_pairs(f"{self._of['memory']}/memory.oom_control")
        if "cpu" in self.bounds:
            self._earlier |= read_pairs(f"{self._of['cpu']}/cpu.stat")
        return True

    def _set_memory(self, memory: int, swap: int) -> None:
        alone, both = (f"{self._of['memory']}/memory.{name}limit_in_bytes" for name in ("", "memsw."))
        wanted = [(alone, memory)]
        try:
            now = int(read(both))
        except FileNotFoundError:  # the kernel does not count swap: then keep the group from swapping
            write(f"{self._of['memory']}/memory.swappiness", "0")
        else:
            # Memory alone may at no moment be above memory and swap together.
            wanted.insert(0 if memory + swap >= now else 1, (both, memory + swap))
        before = [(path, read(path)) for path, _ in wanted]
        try:
            for path, value in wanted:
                write(path, str(value))
        except OSError:
            for path, text in reversed(before):
                write(path, text)
            raise

    def _set_quota(self, quota_us: int) -> None:
        write(f"{self._of['cpu']}/cpu.cfs_quota_us", str(quota_us))  # of PERIOD_US, which no one changes

    def _set_frozen(self, state: str) -> None:
        write(f"{self._of['freezer']}/freezer.state", state)

    def freeze(self) -> None:
        self._set_frozen("FROZEN")
        settle(lambda: read(f"{self._of['freezer']}/freezer.state") == "FROZEN", "the group does not freeze")

    def thaw(self) -> None:
        self._set_frozen("THAWED")

    def kill(self) -> None:
        settle(self._kill_once, "processes outlive SIGKILL")

    def _kill_once(self) -> bool:
        if not self.processes():
            self.thaw()
            return True
        self._set_frozen("FROZEN")  # none forks away while they are killed
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.thaw()  # a frozen process dies only when it goes on
        return False

    def stats(self) -> dict[str, float]:
        memory = self._of["memory"]
        return {
            "memory": int(read(f"{memory}/memory.usage_in_bytes")),
            "memory_peak": int(read(f"{memory}/memory.max_usage_in_bytes")),
            "cpu_us": int(read(f"{self._of['cpuacct']}/cpuacct.usage")) / 1000,
            "pids": int(read(f"{self._of['pids']}/pids.current")),
            **_forks(self._of["pids"]),
            "throttled": self._count("nr_throttled", "cpu", "cpu.stat"),
            "throttled_us": self._count("throttled_time", "cpu", "cpu.stat") / 1000,
        }

    def oom_kills(self) -> int:
        return self._count("oom_kill", "memory", "memory.oom_control")


class GroupV2(Group):
    """Version 2: one folder. The methods are described in Group."""

    attach_file = "cgroup.procs"

    @property
    def _folder(self) -> str:
        return self._of["memory"]

    def _set_memory(self, memory: int, swap: int) -> None:
        if int(read(f"{self._folder}/memory.current")) > memory:
            self._reclaim(memory)
        write(f"{self._folder}/memory.max", str(memory))
        with contextlib.suppress(FileNotFoundError):  # a kernel that does not swap
            write(f"{self._folder}/memory.swap.max", str(swap))

    def _reclaim(self, memory: int) -> None:
        """Have the kernel take back what is over; it would kill for ``memory.max``, but not for ``memory.high``."""
        write(f"{self._folder}/memory.high", str(memory))
        try:
            used = int(read(f"{self._folder}/memory.current"))
        finally:
            write(f"{self._folder}/memory.high", "max")
        if used > memory:
            raise OSError(errno.EBUSY, f"{used} bytes are in use, and {memory} were asked for", self._folder)

    def _set_quota(self, quota_us: int) -> None:
        write(f"{self._folder}/cpu.max", f"{quota_us} {PERIOD_US}")

    def _event(self, name: str) -> int:
        return read_pairs(f"{self._folder}/cgroup.events")[name]

    def freeze(self) -> None:
        write(f"{self._folder}/cgroup.freeze", "1")
        settle(lambda: self._event("frozen") == 1, "the group does not freeze")

    def thaw(self) -> None:
        write(f"{self._folder}/cgroup.freeze", "0")

    def kill(self) -> None:
        write(f"{self._folder}/cgroup.kill", "1")  # reaches frozen ones too
        settle(lambda: self._event("populated") == 0, "processes outlive SIGKILL")

    def stats(self) -> dict[str, float]:
        cpu = read_pairs(f"{self._folder}/cpu.stat")
        used: dict[str, float] = {
            "memory": int(read(f"{self._folder}/memory.current")),
            "cpu_us": cpu["usage_usec"],
            "pids": int(read(f"{self._folder}/pids.current")),
            **_forks(self._folder),
            "throttled": cpu["nr_throttled"],
            "throttled_us": cpu["throttled_usec"],
        }
        with contextlib.suppress(FileNotFoundError):
            used["memory_peak"] = int(read(f"{self._folder}/memory.peak"))
        with contextlib.suppress(FileNotFoundError):
            pairs = [pair.partition("=") for pair in read(f"{self._folder}/io.stat").split()]  # "8:0 rbytes=1 ..."
            for name, key in (("io_read", "rbytes"), ("io_write", "wbytes")):
                used[name] = sum(int(value) for found, _, value in pairs if found == key)
        return used

    def oom_kills(self) -> int:
        return read_pairs(f"{self._folder}/memory.events")["oom_kill"]


def _forks(folder: str) -> dict[str, float]:
    """Give the most processes there were, and how many the bound refused (Linux 6.1 and 4.7)."""
    found: dict[str, float] = {}
    with contextlib.suppress(FileNotFoundError):
        found["pids_refused"] = read_pairs(f"{folder}/pids.events")["max"]
        found["pids_peak"] = int(read(f"{folder}/pids.peak"))
    return found
