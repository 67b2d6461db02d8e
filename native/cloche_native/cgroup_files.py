"""Where control groups are mounted, and their files read and written."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTROLLERS_V1 = ("freezer", "memory", "pids", "cpu", "cpuacct")
CONTROLLERS_V2 = ("memory", "pids", "cpu")
COUNTING_V2 = "io"  # bounds nothing here; used where it is, for what it counts
PARENT = "cloche"
ASIDE = "cloche-host"
SETTLE_SECONDS = 5.0  # how long freezing, killing or removing a group may take
_FILE_MAX = 1 << 20


def read(path: str) -> str:
    """Give the text of a small kernel file, without the last newline."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _FILE_MAX).decode().rstrip("\n")
    finally:
        os.close(fd)


def write(path: str, text: str) -> None:
    """Write a kernel file in one call; OSError names it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, writing {text!r}", path) from None
    finally:
        os.close(fd)


def read_pairs(path: str) -> dict[str, int]:
    """Give a file of ``name number`` lines."""
    return {name: int(value) for name, value in (line.split() for line in read(path).splitlines())}


def settle(done: Callable[[], bool], complaint: str, *, patience: float | None = None) -> None:
    """Ask until ``done`` is true, more and more seldom; TimeoutError with ``complaint`` after ``patience`` seconds.

    Without ``patience`` after SETTLE_SECONDS; with 0 it asks once and never sleeps.
    """
    patience = SETTLE_SECONDS if patience is None else patience
    until = time.monotonic() + patience
    pause = 0.0001
    while not done():
        if not patience or time.monotonic() > until:
            raise TimeoutError(errno.ETIMEDOUT, f"{complaint} within {patience:g} s")
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def remove(folder: str, *, patience: float | None = None) -> None:
    """Remove a group's folder, gone or not; OSError EBUSY when processes stay in it for ``patience`` (``settle``)."""

    def removed() -> bool:
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    try:
        settle(removed, "processes stay in it", patience=patience)
    except TimeoutError as error:
        raise OSError(errno.EBUSY, error.strerror, folder) from None


def _read_long(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


@dataclass(frozen=True, slots=True)
class _Mount:
    kind: str  # cgroup or cgroup2
    options: frozenset[str]
    root: str  # which part of the hierarchy is mounted
    point: str

    def folder_of(self, own: str) -> str:
        """Give where the group ``own`` of /proc/self/cgroup is seen; the mount point where it isn't."""
        root = self.root.rstrip("/")
        inside = own.startswith(root + "/") and "/.." not in own
        folder = self.point + own[len(root) :].rstrip("/") if inside else self.point
        return folder if os.path.isdir(folder) else self.point


def _mounts() -> list[_Mount]:
    found = []
    for line in _read_long("/proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ")[:3]
        if kind in ("cgroup", "cgroup2"):
            root, point = (field.replace("\\040", " ") for field in before.split(" ")[3:5])
            found.append(_Mount(kind, frozenset(options.split(",")), root, point))
    return found


def mount_points() -> list[str]:
    """Give where control-group hierarchies are mounted."""
    return [mount.point for mount in _mounts()]


def _own_groups() -> dict[str, str]:
    """Give this process's group by controller; that of version 2 under the empty name (cgroups(7))."""
    own = {}
    for line in _read_long("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    return own


def parents_v1() -> dict[str, str] | None:
    """Give the folder ``cloche`` of each controller, not made yet; None where one is not mounted."""
    own, mounts = _own_groups(), _mounts()
    parents = {}
    for controller in CONTROLLERS_V1:
        mount = next((m for m in mounts if m.kind == "cgroup" and controller in m.options), None)
        if mount is None or controller not in own:
            return None
        parents[controller] = f"{mount.folder_of(own[controller])}/{PARENT}"
    return parents


def parents_v2() -> Iterator[str]:
    """Give the folders ``cloche`` that could be made, the nearest first: beside this process, then further up."""
    mount = next((m for m in _mounts() if m.kind == "cgroup2"), None)
    if mount is None:
        return
    folder = mount.folder_of(_own_groups().get("", "/"))
    while True:
        yield f"{folder}/{PARENT}"
        if folder == mount.point:
            return
        folder = os.path.dirname(folder)


def step_aside_v2() -> str | None:
    """Move this process from its group, if it is alone there, into one below; give the folder ``cloche`` beside that.

    None where it may not or others are there: whose they are and what they expect isn't ours to say.
    """
    mount = next((m for m in _mounts() if m.kind == "cgroup2"), None)
    if mount is None:
        return None
    folder = mount.folder_of(_own_groups().get("", "/"))
    try:
        alone = read(f"{folder}/cgroup.procs").split() == [str(os.getpid())]
        if not alone or not set(CONTROLLERS_V2).issubset(read(f"{folder}/cgroup.controllers").split()):
            return None
        os.mkdir(f"{folder}/{ASIDE}")
        try:
            write(f"{folder}/{ASIDE}/cgroup.procs", "0")
        except OSError:
            os.rmdir(f"{folder}/{ASIDE}")
            return None
    except OSError:
        return None
    return f"{folder}/{PARENT}"


def step_back_v2() -> None:
    """Undo ``step_aside_v2``."""
    mount = next(m for m in _mounts() if m.kind == "cgroup2")
    aside = mount.folder_of(_own_groups()[""])
    write(f"{os.path.dirname(aside)}/cgroup.procs", "0")
    os.rmdir(aside)


def prepare_v2(parent: str) -> None:
    """Make ``parent`` and have it hand out the controllers; OSError where this process may not.

    The group above must have no process of its own, unless it is the root (cgroup-v2.rst, "No Internal Process
    Constraint"), and to move a process from there into ``parent`` its cgroup.procs must be writable.
    """
    above = os.path.dirname(parent)
    if not os.access(f"{above}/cgroup.procs", os.W_OK):
        raise PermissionError(errno.EACCES, "no process may be moved out of this group", above)
    _hand_out(above)
    os.makedirs(parent, exist_ok=True)
    _hand_out(parent)


def _hand_out(folder: str) -> None:
    path = f"{folder}/cgroup.subtree_control"
    given = read(path).split()
    missing = set(CONTROLLERS_V2).difference(given)
    if missing:
        write(path, " ".join(f"+{name}" for name in sorted(missing)))
    with contextlib.suppress(OSError):  # where it can't be counted nothing is told of it
        if COUNTING_V2 not in given and COUNTING_V2 in read(f"{folder}/cgroup.controllers").split():
            write(path, f"+{COUNTING_V2}")
