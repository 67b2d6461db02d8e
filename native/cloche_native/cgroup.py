"""Control groups, version 1 as root and version 2 as root or delegated, behind one door.

A group bounds a whole box: memory with swap, processes, CPU time; it freezes and kills it, and says what it used.
Which version is used is found by making a group, never by reading a version number. All groups lie in a folder
``cloche``: in version 1 below the group this process is in, in version 2 below the nearest ancestor that may have
them; so whatever bounds this process bounds its boxes too. The folder is made when needed and goes with the pool.

Needs Linux 4.13 for version 1, 5.14 (cgroup.kill) for version 2.
"""

from __future__ import annotations

import errno
import glob
import itertools
import os
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloche_native.cgroup_files import (
    CONTROLLERS_V2,
    PARENT,
    mount_points,
    parents_v1,
    parents_v2,
    prepare_v2,
    remove,
    step_aside_v2,
    step_back_v2,
)
from cloche_native.cgroup_group import Group, GroupV1, GroupV2

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Group", "Hierarchy", "Pool", "detect", "is_parent", "parents_v1"]

_MAKE_TRIES = 4
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where this process may make groups: ``version`` 1 or 2, and each controller's folder ``cloche``."""

    version: int
    parents: Mapping[str, str] = field(repr=False)

    def create(
        self, name: str, *, memory: int | None = None, swap: int = 0, pids: int | None = None, cpu: float | None = None
    ) -> Group:
        """Make a group with these bounds (see ``Group.update``); None is no bound.

        Raises ValueError for a name that is not letters, digits and ``_.-``, FileExistsError when it is taken,
        another OSError when a bound is refused; then nothing is left of it.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a control group")
        folders = {controller: f"{parent}/{name}" for controller, parent in self.parents.items()}
        group = GroupV1(folders) if self.version == 1 else GroupV2(folders)
        made: list[str] = []
        try:
            for folder in group.folders:
                self._make(folder)
                made.append(folder)
            group.update(memory=memory, swap=swap, pids=pids, cpu=cpu)
        except OSError:
            for folder in made:
                remove(folder)
            raise
        return group

    def tidy(self) -> None:
        """Remove the folders ``cloche`` if they are empty; another process may have groups in them."""
        for parent in dict.fromkeys(self.parents.values()):
            try:
                os.rmdir(parent)
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOENT):
                    raise

    def _make(self, folder: str) -> None:
        for _ in range(_MAKE_TRIES):
            try:
                os.mkdir(folder)
            except FileNotFoundError:  # no parent yet, or another process has just tidied it away
                self._prepare()
            else:
                return
        raise FileNotFoundError(errno.ENOENT, "the control group's parent does not stay", folder)

    def _prepare(self) -> None:
        for parent in dict.fromkeys(self.parents.values()):
            if self.version == 1:
                os.makedirs(parent, exist_ok=True)
            else:
                prepare_v2(parent)


class Pool:
    """Groups kept for the next box with the same bounds, since making and removing one costs more than emptying it.

    Groups are named ``prefix`` and a number. ``keep`` spare ones at most; the others are deleted when given back.
    Safe to use from several threads.
    """

    def __init__(self, hierarchy: Hierarchy, prefix: str, *, keep: int = 4) -> None:
        self._hierarchy, self._prefix, self._keep = hierarchy, prefix, keep
        self._numbers = itertools.count()
        self._spare: list[Group] = []
        self._lock = threading.Lock()

    def take(
        self, *, memory: int | None = None, swap: int = 0, pids: int | None = None, cpu: float | None = None
    ) -> Group:
        """Give an empty group with these bounds, as ``Hierarchy.create`` does."""
        bounds = {"memory": memory, "swap": swap if memory is not None else None, "pids": pids, "cpu": cpu}
        wanted = {name: value for name, value in bounds.items() if value is not None}
        with self._lock:
            for index, group in enumerate(self._spare):
                if group.bounds == wanted and group.is_there():
                    return self._spare.pop(index)
            name = f"{self._prefix}-{next(self._numbers)}"
        return self._hierarchy.create(name, memory=memory, swap=swap, pids=pids, cpu=cpu)

    def give(self, group: Group, *, patience: float | None = None) -> None:
        """Take a group back, emptied: kept for another box if it can be, else deleted, see ``Group.delete``."""
        try:
            kept = group.recycle()
        except FileNotFoundError:  # somebody has removed it
            kept = False
        if not kept:
            group.delete(patience=patience)
            return
        with self._lock:
            self._spare.append(group)
            too_many = self._spare.pop(0) if len(self._spare) > self._keep else None
        if too_many is not None:
            too_many.delete(patience=patience)

    def close(self) -> None:
        """Delete the spare groups."""
        with self._lock:
            spare, self._spare = self._spare, []
        for group in spare:
            group.delete()
        self._hierarchy.tidy()


def is_parent(folder: str) -> bool:
    """Say whether ``folder`` is a folder ``cloche`` of a mounted control-group hierarchy: what is in it is cloche's."""
    return os.path.basename(folder) == PARENT and any(folder.startswith(f"{m}/") for m in mount_points())


def detect() -> Hierarchy | None:
    """Find where groups that bound memory, processes and CPU time can be made, by making one; None where they can't.

    In version 2, a process that is alone in a group handed over to it is moved into a group below, ``cloche-host``, if
    that is what it takes: a group with a process of its own can't bound others.
    """
    candidates = [Hierarchy(2, dict.fromkeys(CONTROLLERS_V2, parent)) for parent in parents_v2()]
    version_1 = parents_v1()
    if version_1 is not None:
        candidates.append(Hierarchy(1, version_1))
    found = next(filter(_works, candidates), None)
    if found is None and (parent := step_aside_v2()) is not None:
        found = Hierarchy(2, dict.fromkeys(CONTROLLERS_V2, parent))
        if not _works(found):
            step_back_v2()
            return None
    return found


def _works(candidate: Hierarchy) -> bool:
    """Make a group and remove it, and what a process that was killed at just that has left."""
    kind = f"probe-{os.stat('/proc/self/ns/pid').st_ino}"
    try:
        name = f"{os.getpid()}-{kind}-{time.monotonic_ns()}"
        candidate.create(name, memory=1 << 24, pids=8, cpu=1.0).delete()
        for parent in dict.fromkeys(candidate.parents.values()):
            for folder in glob.iglob(f"{glob.escape(parent)}/*-{kind}-*"):
                if not os.path.exists(f"/proc/{os.path.basename(folder).partition('-')[0]}"):
                    remove(folder)
        candidate.tidy()
    except OSError:
        return False
    return True
