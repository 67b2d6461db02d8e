"""What both runtimes of this plugin share: the box's view of files, and what it means for disk use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cloche_native as native
from cloche import AgentRuntime, Enforced, Guarantee, Kept, Seat, Spec, Staging, Unenforced
from cloche_bwrap import etc, plan
from cloche_native import agent as wire


class ViewRuntime(AgentRuntime):
    """A runtime whose boxes see the host's system folders, a small /etc, and what the policy shows them."""

    def __init__(self) -> None:
        super().__init__()
        self._base: tuple[plan.Part, ...] = ()
        self._plain: dict[object, tuple[plan.Part, ...]] = {}

    def look_at_system(self) -> None:
        """Build the guests' /etc, and look at the host's system folders."""
        self._base = (*plan.system(Path("/")), plan.Bind("/etc", str(etc.folder())))

    def adjust(self, spec: Spec, features: dict[str, Kept]) -> None:
        """Say what a directly written folder means for disk use, and when Landlock repeats the mounts."""
        files = features[Guarantee.FILESYSTEM]
        if isinstance(files, Enforced) and path_rules(spec, wire.Setup()).paths:
            features[Guarantee.FILESYSTEM] = Enforced(f"{files.mechanism}; repeated by Landlock")
        written = [m.source for m in spec.mounts if not m.read_only]
        if spec.workspace.kind == "bind":
            written.append(spec.workspace.source or "")
        if written:
            features[Guarantee.DISK] = Unenforced(
                f"{', '.join(written)} of the host is written directly and may grow",
                "use an overlay or tmpfs workspace, or a folder on a file system of its own",
            )

    def parts(self, spec: Spec, seat: Seat | None) -> tuple[Sequence[plan.Part], Staging]:
        """Give what the box's file system is made of, and what must be staged for it."""
        staging = Staging(seat)
        if not (spec.mounts or spec.forbidden or spec.rootfs or spec.workspace.source):
            key = (spec.workspace, spec.network, spec.limits, spec.level.minimal_proc)
            if key not in self._plain:
                self._plain.clear()  # hosts make one kind of box after another
                self._plain[key] = tuple(plan.complete(self._base, spec, staging))
            return self._plain[key], staging
        base = plan.system(Path(spec.rootfs)) if spec.rootfs is not None else self._base
        return plan.complete(base, spec, staging), staging


def path_rules(spec: Spec, setup: wire.Setup) -> wire.Setup:
    """Give ``setup`` with the file-system policy repeated in Landlock, where the level asks for it and it is there.

    It holds even if a mount were wrong; it costs something on every open (a third of a microsecond where measured).
    """
    if not spec.level.path_rules or native.landlock_abi() == 0:
        return setup
    everything = wire.Access.READ | wire.Access.EXECUTE | wire.Access.WRITE
    written = ["/tmp", spec.workspace.target, *(m.target for m in spec.mounts if not m.read_only)]  # noqa: S108 - in the box
    paths = [(wire.Access.READ | wire.Access.EXECUTE, "/"), (wire.Access.READ | wire.Access.WRITE, "/dev")]
    return replace(setup, landlock=wire.Landlock.FS, paths=(*paths, *((everything, path) for path in written)))


def tmpfs(room: plan.Room, mode: str = "") -> str:
    """Give the options of a memory-backed file system (tmpfs(5))."""
    return f"size={room.size},nr_inodes={room.inodes}" + (f",mode={mode}" if mode else "")


def proc(part: plan.Processes) -> str:
    """Give the options of a /proc (proc(5))."""
    return "subset=pid,hidepid=invisible" if part.minimal else ""


def inner(part: plan.Memory | plan.Overlay | plan.Mask) -> wire.Mount:
    """Give the mount that the agent makes for ``part``, whoever makes the others."""
    match part:
        case plan.Memory(target, room, mode):
            return wire.Mount(wire.MountKind.TMPFS, target, data=tmpfs(room, mode))
        case plan.Overlay(target, room):
            return wire.Mount(wire.MountKind.OVERLAY, target, target, tmpfs(room, "0755"))
        case plan.Mask(target):
            return wire.Mount(wire.MountKind.MASK, target)
