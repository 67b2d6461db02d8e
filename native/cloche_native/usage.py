"""What a tree of processes uses, read from /proc (proc(5)), for boxes that no control group counts for."""

from __future__ import annotations

import contextlib
import os

from cloche_native.cgroup_files import read

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_USER, _SYSTEM, _WAITED_USER, _WAITED_SYSTEM, _THREADS, _RESIDENT = 11, 12, 13, 14, 17, 21  # of stat, after the name


def of_tree(top: int) -> dict[str, float]:
    """Give what process ``top`` and all below it use: ``memory``, ``cpu_us``, ``pids``, ``io_read``, ``io_write``.

    Memory, in bytes, is the sum over processes, so what several share counts several times. Processor time and bytes
    moved count descendants that have ended too, as whoever waited for them inherited their counts. Bytes are left out
    unless all can be read, which takes the right to trace each process. Raises ProcessLookupError when ``top`` is gone.
    """
    pids = _tree(top)
    used = {"memory": 0.0, "cpu_us": 0.0, "pids": 0.0}
    moved: dict[str, float] | None = {"io_read": 0.0, "io_write": 0.0}
    for pid in pids:
        try:
            fields = read(f"/proc/{pid}/stat").rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            if pid == top:
                raise ProcessLookupError(f"process {top} is gone") from None
            continue
        ticks = sum(int(fields[i]) for i in (_USER, _SYSTEM, _WAITED_USER, _WAITED_SYSTEM))
        used["cpu_us"] += ticks * 1e6 / _TICK
        used["memory"] += int(fields[_RESIDENT]) * _PAGE
        used["pids"] += int(fields[_THREADS])
        moved = _add_moved(pid, moved)
    return used | (moved or {})


def _add_moved(pid: int, so_far: dict[str, float] | None) -> dict[str, float] | None:
    if so_far is None:
        return None
    try:
        pairs = dict(line.split(": ") for line in read(f"/proc/{pid}/io").splitlines())
    except (FileNotFoundError, ProcessLookupError):  # it ended, or this kernel doesn't count
        return so_far if os.path.exists("/proc/self/io") else None
    except PermissionError:
        return None
    return {
        "io_read": so_far["io_read"] + int(pairs["read_bytes"]),
        "io_write": so_far["io_write"] + int(pairs["write_bytes"]),
    }


def _tree(top: int) -> list[int]:
    own = f"/proc/self/task/{os.getpid()}/children"  # CONFIG_PROC_CHILDREN, Linux 3.5
    known = None if os.path.exists(own) else _parents()
    found, seen = [top], {top}
    for pid in found:  # grows meanwhile
        for child in _children(pid) if known is None else known.get(pid, []):
            if child not in seen:
                seen.add(child)
                found.append(child)
    return found


def _children(pid: int) -> list[int]:
    out: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                out += map(int, read(f"/proc/{pid}/task/{thread}/children").split())
    return out


def _parents() -> dict[int, list[int]]:
    out: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = int(read(f"/proc/{name}/stat").rpartition(") ")[2].split()[1])
            out.setdefault(parent, []).append(int(name))
    return out
