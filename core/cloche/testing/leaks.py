"""A pytest plugin: a test that uses one of its fixtures leaves nothing behind, or fails saying what.

In ``conftest.py``::

    pytest_plugins = ["cloche.testing.leaks"]

``no_own_leaks`` looks at what belongs to this process, before and after: its descendants (also zombies), open
descriptors and threads. ``no_leaks`` looks at the machine too: the mounts this process sees, control groups whose name
begins with ``cloche`` with what is below them (of version 1 below the group that this process is in, where it makes
them), and entries of the temporary folder whose name begins so. Groups of another living host, which are named after
its process, don't count; what it mounts or puts into the same temporary folder at the same time is taken for a leak if
it stays longer than ``SETTLE`` seconds.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from cloche_native import cgroup

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTLE: Final = 2.0
"""Seconds that what is on its way out may take: a process being reaped, a thread ending, a group being emptied."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What this process holds now. Each set names its members as a person would look for them."""

    processes: frozenset[str]
    descriptors: frozenset[str]
    threads: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    files: frozenset[str]

    @classmethod
    def take(cls, *, machine: bool = True) -> Snapshot:
        """Give what is there now; without ``machine`` only what belongs to this process."""
        mounts = _mounts() if machine else []
        processes = _descendants(os.getpid())
        own = {os.getpid(), *(int(text.split(" ")[0]) for text in processes)}
        return cls(
            processes=frozenset(processes),
            descriptors=frozenset(_descriptors()),
            threads=frozenset(f"{t.name} ({t.ident})" for t in threading.enumerate()),
            mounts=frozenset(f"{point} ({kind}, id {number})" for number, point, kind in mounts),
            cgroups=frozenset(_cgroups(_group_tops(mounts), own)),
            files=frozenset(str(p) for p in Path(tempfile.gettempdir()).glob("cloche*") if machine),
        )

    def since(self, before: Snapshot) -> dict[str, list[str]]:
        """Give what is here and was not in ``before``, by kind; empty if nothing leaked."""
        new = {f.name: sorted(getattr(self, f.name) - getattr(before, f.name)) for f in fields(self)}
        return {kind: names for kind, names in new.items() if names}


def leaked(before: Snapshot, *, settle: float = SETTLE, machine: bool = True) -> dict[str, list[str]]:
    """Give what is still there and was not in ``before``, after waiting up to ``settle`` seconds for it to go."""
    deadline = time.monotonic() + settle
    while (left := Snapshot.take(machine=machine).since(before)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test if it leaves processes, descriptors, threads, mounts, control groups or temporary files behind."""
    yield from _watch(machine=True)


@pytest.fixture
def no_own_leaks() -> Iterator[None]:
    """Fail the test if it leaves processes, descriptors or threads behind."""
    yield from _watch(machine=False)


def _watch(*, machine: bool) -> Iterator[None]:
    before = Snapshot.take(machine=machine)
    yield
    left = leaked(before, machine=machine)
    if left:
        lines = [f"  {kind}: {name}" for kind, names in left.items() for name in names]
        pytest.fail("\n".join(["the test left behind:", *lines]), pytrace=False)


def _descendants(root: int) -> list[str]:
    """Give every process below ``root`` as ``pid name state``. Fields as in proc_pid_stat(5)."""
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", "rb", buffering=0) as file:
                stat = file.read(4096).decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended while we looked
        name = stat[stat.index("(") + 1 : stat.rindex(")")]  # it may hold spaces and brackets
        state, parent = stat[stat.rindex(")") + 2 :].split(" ", 2)[:2]
        children.setdefault(int(parent), []).append((int(entry), f"{entry} {name} {state}"))
    found: list[str] = []
    todo = [root]
    while todo:
        for pid, text in children.get(todo.pop(), []):
            found.append(text)
            todo.append(pid)
    return found


def _descriptors() -> list[str]:
    """Give each open descriptor as ``number -> target``, without the one used to look."""
    found: list[str] = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(f"{number} -> {os.readlink(f'/proc/self/fd/{number}')}")
        except FileNotFoundError:
            continue  # that one
    return found


def _mounts() -> list[tuple[str, str, str]]:
    """Give id, mount point and type of each mount; proc_pid_mountinfo(5)."""
    found: list[tuple[str, str, str]] = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        own, _, rest = line.partition(" - ")
        parts = own.split(" ")
        found.append((parts[0], parts[4], rest.split(" ")[0]))
    return found


def _group_tops(mounts: list[tuple[str, str, str]]) -> list[str]:
    """Give the folders below which control groups of this process can be."""
    own = cgroup.parents_v1() or {}
    version_1 = [os.path.dirname(parent) for parent in own.values()] if mounts else []
    return [*dict.fromkeys(version_1), *(point for _, point, kind in mounts if kind == "cgroup2")]


def _cgroups(tops: list[str], own: set[int]) -> list[str]:
    found: list[str] = []
    for top in tops:
        for folder, names, _ in os.walk(top):
            names[:] = [name for name in names if not _is_anothers(name, own)]
            if any(part.startswith("cloche") for part in folder[len(top) :].split("/")) and _can_be_ours(folder, top):
                found.append(folder)
    return found


def _can_be_ours(folder: str, top: str) -> bool:
    """Say whether a folder ``cloche`` could hold groups of this process: it then lies above or in its own group."""
    above, name = os.path.split(folder[len(top) :])
    if name != "cloche" or above == "/":
        return True
    groups = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    return any((group.split(":", 2)[2] + "/").startswith(above + "/") for group in groups)


def _is_anothers(group: str, own: set[int]) -> bool:
    """Say whether a group is named ``<process>-...`` after a process that lives and is not one of ours."""
    pid = group.partition("-")[0]
    return pid.isdecimal() and int(pid) not in own and Path("/proc", pid).exists()
