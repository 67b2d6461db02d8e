"""What a box's file system is made of, in the order it is put together; however that is then done.

A plan is a list of small values. Later ones lie over earlier ones, and what is mounted below another comes after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloche import Mount, PathAct, PathSurvey, ShownPath, Spec, SpecError, Staging

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
OWN = ("proc", "dev", "sys", "tmp", "run")  # top-level names of a rootfs that the box makes itself
MADE = ("/dev", "/proc")
SCRATCH = ("/tmp", "/dev/shm")  # noqa: S108 - in the box
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
    """Something empty over what the box would show at ``target``.

    ``need``: ``""`` covers what links there lead to, if there is anything; ``"there"`` and ``"make"`` follow no link,
    and make an error or an empty folder of what is missing.
    """

    target: str
    need: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """What is at ``target`` mounted over itself, so that it can't be renamed, or be changed either."""

    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Only:
    """An empty folder over ``target``, of which parts are then shown again."""

    target: str
    room: Room


@dataclass(frozen=True, slots=True)
class Show:
    """The part ``source`` of what the last ``Only`` covered, in its place."""

    target: str
    source: str


@dataclass(frozen=True, slots=True)
class Seal:
    """The end of an ``Only``: nothing can be made in its folder."""

    target: str


Part = Bind | Link | Folder | Memory | Overlay | Devices | Processes | Mask | Again | Only | Show | Seal


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


def complete(base: Iterable[Part], spec: Spec, staging: Staging, kept: Iterable[Part] = ()) -> list[Part]:
    """Give the whole plan: ``base`` holds the system's folders, ``kept`` keeps paths, the rest is as ``spec`` says."""
    _refuse(spec)
    room = _room(spec)
    work = spec.workspace
    if spec.network.mode == "host" and spec.rootfs is None:
        base = [*base, Bind("/etc/resolv.conf", os.path.realpath("/etc/resolv.conf"))]
    own: list[Part] = [] if work.target == "/tmp" else [Memory("/tmp", room, "1777")]  # noqa: S108 - in the box
    if work.kind == "tmpfs":
        own.append(Memory(work.target, room, "0755"))
    elif work.kind == "image":
        own.append(Bind(work.target, staging.image(), read_only=False))
    elif work.source is not None:
        over = work.kind == "overlay"
        own.append(Bind(work.target, staging.source(Mount(work.source, work.target, read_only=over)), over))
        own += [Overlay(work.target, room)] if over else []
    own += [Bind(mount.target, staging.source(mount), mount.read_only) for mount in spec.mounts]
    own.sort(key=lambda part: part.target.count("/"))  # a folder before what is mounted below it
    return [*base, Processes(spec.level.minimal_proc), Devices(room), Folder("/run"), *own, *kept]


def survey(base: Iterable[Part], spec: Spec) -> PathSurvey:
    """Give what is known about the paths of ``spec`` over the system's folders in ``base``."""
    parts = tuple(base)
    shown = [ShownPath(part.target, part.source, writable=False) for part in parts if isinstance(part, Bind)]
    shown += [ShownPath(path, None, writable=True, private=True) for path in SCRATCH if path != spec.workspace.target]
    shown += [ShownPath(m.target, m.source, writable=not m.read_only, judged=True) for m in spec.mounts]
    work = spec.workspace
    shown.append(ShownPath(work.target, work.source, writable=True, private=work.kind != "bind", judged=True))
    own = {place.target: place for place in shown}  # later ones lie over earlier ones
    return PathSurvey(spec.paths, list(own.values()), links=[p.target for p in parts if isinstance(p, Link)])


def keep(base: Iterable[Part], spec: Spec) -> Iterator[Part]:
    """Give what keeps the paths of ``spec``, to be done in order when everything else is in place.

    It looks into the folders that are shown, which may take a while. Raises ``SpecError`` for what can't be kept.
    """
    found = survey(base, spec)
    if spec.strict and (problems := found.problems()):
        raise SpecError("; ".join(problems))
    steps = found.steps()
    shows = [step.path for step in steps if step.act is PathAct.SHOW]
    for step in steps:
        match step.act:
            case PathAct.COVER | PathAct.MAKE:
                yield Mask(step.path, "there" if step.act is PathAct.COVER else "make")
            case PathAct.MASK:
                yield Mask(step.path)
            case PathAct.FREEZE | PathAct.PIN:
                yield Again(step.path, step.act is PathAct.FREEZE)
            case PathAct.ONLY:
                names = sum(path.count("/") for path in shows if below(path, step.path))
                yield Only(step.path, Room(4096 * (names + 16), names + 16))
            case PathAct.SHOW:
                yield Show(step.path, step.path[len(step.hidden) + 1 :])
            case PathAct.SEAL:
                yield Seal(step.path)
            case PathAct.FOLDER:
                yield Folder(step.path)


def _refuse(spec: Spec) -> None:
    """Raise ``SpecError`` for what would look applied and not be."""
    for mount in spec.mounts:
        if any(below(mount.target, own) for own in MADE):
            raise SpecError(f"mount target {mount.target}: {', '.join(MADE)} are made by the box; mount it elsewhere")


def below(path: str, folder: str) -> bool:
    """Say whether ``path`` is ``folder`` or lies in it."""
    return path == folder or path.startswith(folder + "/")


def _room(spec: Spec) -> Room:
    size = spec.limits.disk or spec.limits.memory or 64 << 20
    return Room(size, spec.limits.files or max(64, (size >> 20) * INODES_PER_MIB))
