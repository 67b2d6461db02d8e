"""What a box's file system is made of, in the order it is put together; however that is then done.

A plan is a list of small values. Later ones lie over earlier ones, and what is mounted below another comes after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cloche import Mount, Spec, SpecError, Staging

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
OWN = ("proc", "dev", "sys", "tmp", "run")  # top-level names of a rootfs that the box makes itself
MADE = ("/dev", "/proc")
INODES_PER_MIB = 256  # an average file of 4 KiB; tmpfs otherwise allows one inode per page of RAM


@dataclass(frozen=True, slots=True)
class Room:
    """How much a memory-backed folder holds: ``size`` in bytes, and that many files and folders."""

    size: int
    inodes: int


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder or file of the host."""

    target: str
    source: str
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link at ``target`` that says ``text``."""

    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Folder:
    """An empty folder that can't be written."""

    target: str


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory-backed folder of the guest's own; ``mode`` in octal."""

    target: str
    room: Room
    mode: str


@dataclass(frozen=True, slots=True)
class Overlay:
    """What was planned at ``target`` before, with all writing kept in memory."""

    target: str
    room: Room


@dataclass(frozen=True, slots=True)
class Devices:
    """A small /dev; ``room`` is that of its /dev/shm."""

    room: Room
    target: str = "/dev"


@dataclass(frozen=True, slots=True)
class Processes:
    """A /proc of the box's processes; ``minimal``: of nothing else, and each user's own only."""

    minimal: bool
    target: str = "/proc"


@dataclass(frozen=True, slots=True)
class Mask:
    """Something empty over what the box would show at ``target``, if it shows anything there."""

    target: str


Part = Bind | Link | Folder | Memory | Overlay | Devices | Processes | Mask


def system(root: Path) -> tuple[Part, ...]:
    """Give the top-level folders of ``root``, read-only, and its symbolic links. Of ``/`` only the system's own."""
    names = [Path(p).name for p in SYSTEM] if root == Path("/") else sorted(set(os.listdir(root)) - set(OWN))
    out: list[Part] = []
    for name in names:
        path = root / name
        if path.is_symlink():
            out.append(Link(f"/{name}", str(path.readlink())))
        elif path.is_dir():
            out.append(Bind(f"/{name}", str(path)))
    return tuple(out)


def complete(base: Iterable[Part], spec: Spec, staging: Staging) -> list[Part]:
    """Give the whole plan: ``base`` holds the system's folders, the rest is as ``spec`` says."""
    _refuse(spec)
    room = _room(spec)
    work = spec.workspace
    if spec.network.mode == "host" and spec.rootfs is None:
        base = [*base, Bind("/etc/resolv.conf", os.path.realpath("/etc/resolv.conf"))]
    own: list[Part] = [] if work.target == "/tmp" else [Memory("/tmp", room, "1777")]  # noqa: S108 - in the box
    if work.kind == "tmpfs":
        own.append(Memory(work.target, room, "0755"))
    elif work.source is not None:
        over = work.kind == "overlay"
        own.append(Bind(work.target, staging.source(Mount(work.source, work.target, read_only=over)), over))
        own += [Overlay(work.target, room)] if over else []
    own += [Bind(mount.target, staging.source(mount), mount.read_only) for mount in spec.mounts]
    own.sort(key=lambda part: part.target.count("/"))  # a folder before what is mounted below it
    masks = [Mask(path) for path in spec.forbidden]
    return [*base, Processes(spec.level.minimal_proc), Devices(room), Folder("/run"), *own, *masks]


def _refuse(spec: Spec) -> None:
    """Raise ``SpecError`` for what would look applied and not be."""
    for mount in spec.mounts:
        if any(below(mount.target, own) for own in MADE):
            raise SpecError(f"mount target {mount.target}: {', '.join(MADE)} are made by the box; mount it elsewhere")
    writable = {"/tmp": None, "/dev/shm": None, spec.workspace.target: spec.workspace.source}  # noqa: S108 - in the box
    writable |= {mount.target: mount.source for mount in spec.mounts if not mount.read_only}
    for path in spec.forbidden:
        folder = max((f for f in writable if below(path, f)), key=len, default=None)
        if folder is not None and not _shown(path, folder, writable[folder]):
            raise SpecError(
                f"forbidden: {path} is not there, and the guest could make it, since it may write in {folder}; "
                "forbid what exists, or the whole folder"
            )


def _shown(path: str, folder: str, source: str | None) -> bool:
    return path == folder or (source is not None and os.path.lexists(source + path[len(folder) :]))


def below(path: str, folder: str) -> bool:
    """Say whether ``path`` is ``folder`` or lies in it."""
    return path == folder or path.startswith(folder + "/")


def _room(spec: Spec) -> Room:
    size = spec.limits.disk or spec.limits.memory or 64 << 20
    return Room(size, max(64, (size >> 20) * INODES_PER_MIB))
