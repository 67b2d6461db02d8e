"""What both runtimes of this plugin share: the box's view of files, and what it means for disk use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import anyio.to_thread

import cloche_native as native
from cloche import (
    AgentRuntime,
    Enforced,
    Guarantee,
    Instance,
    Kept,
    Partial,
    Seat,
    Spec,
    Staging,
    Unenforced,
    etc_folder,
)
from cloche_bwrap import plan, rules
from cloche_native import agent as wire


class ViewRuntime(AgentRuntime):
    """A runtime whose boxes see the host's system folders, a small /etc, and what the policy shows them."""

    takes_images = True

    def __init__(self) -> None:
        super().__init__()
        self._base: tuple[plan.Part, ...] = ()
        self._plain: dict[object, tuple[plan.Part, ...]] = {}
        self._kept: dict[str, tuple[plan.Part, ...]] = {}

    def look_at_system(self) -> None:
        """Build the guests' /etc, and look at the host's system folders."""
        self._base = (*plan.system(Path("/")), plan.Bind("/etc", str(etc_folder())))

    def adjust(self, spec: Spec, features: dict[str, Kept]) -> None:
        """Say what a directly written folder means for disk use, and when Landlock repeats the mounts."""
        files = features[Guarantee.FILESYSTEM]
        if isinstance(files, Enforced) and rules.setup(spec, (), wire.Setup()).paths:
            features[Guarantee.FILESYSTEM] = Enforced(f"{files.mechanism}; repeated by Landlock")
        if spec.monitor.depth == "strict" and rules.setup(spec, (), wire.Setup()).landlock:
            features["events"] = Unenforced(
                "in a guest's place the host would open what Landlock keeps from it",
                "use monitor='full', or neither level maximum nor mounts with single operations",
            )
        network = features[Guarantee.NETWORK]
        if isinstance(network, Enforced) and spec.network.mode != "host" and spec.shows_host():
            features[Guarantee.NETWORK] = (
                Enforced("own network namespace, and the filter refuses every socket")
                if spec.level.networks == {"none"}
                else Partial(network.mechanism, "Unix sockets in the folders that are shown can be connected to")
            )
        if spec.restricts_paths():
            features["paths"] = self._paths(spec)
        if written := spec.written():
            features[Guarantee.DISK] = Unenforced(
                f"{', '.join(written)} of the host is written directly and may grow",
                "use an overlay or tmpfs workspace, or a folder on a file system of its own",
            )

    def _paths(self, spec: Spec) -> Kept:
        base = self._shown(spec)
        problems = [*plan.survey(base, spec).problems(), *rules.problems(spec, base)]
        if problems and spec.strict:
            return Unenforced("; ".join(problems))
        caveats = [*problems, *plan.survey(base, spec).caveats(), *rules.caveats(spec)]
        mechanism = f"mounts, Landlock ABI {native.landlock_abi()}" if rules.judged(spec) else "mounts"
        return Partial(mechanism, "; ".join(caveats)) if caveats else Enforced(mechanism)

    def _shown(self, spec: Spec) -> tuple[plan.Part, ...]:
        return plan.system(Path(spec.rootfs)) if spec.rootfs is not None else self._base

    async def create(self, spec: Spec) -> Instance:
        """Look for what the patterns of ``spec`` cover, if it has any, then make the box."""
        if not spec.paths:
            return await super().create(spec)
        self._kept[spec.id] = await anyio.to_thread.run_sync(lambda: tuple(plan.keep(self._shown(spec), spec)))
        try:
            return await super().create(spec)
        finally:
            del self._kept[spec.id]

    def parts(self, spec: Spec, seat: Seat | None) -> tuple[Sequence[plan.Part], Staging]:
        """Give what the box's file system is made of, and what must be staged for it."""
        staging = Staging(seat, self.image(spec))
        if not (spec.mounts or spec.paths or spec.rootfs or spec.workspace.source or spec.workspace.kind == "image"):
            key = (spec.workspace, spec.network, spec.limits, spec.level.minimal_proc)
            if key not in self._plain:
                self._plain.clear()  # hosts make one kind of box after another
                self._plain[key] = tuple(plan.complete(self._base, spec, staging))
            return self._plain[key], staging
        kept = self._kept.get(spec.id)
        if kept is None:
            kept = tuple(plan.keep(self._shown(spec), spec)) if spec.paths else ()
        return plan.complete(self._shown(spec), spec, staging, kept), staging


def sized(parts: Sequence[plan.Part], spec: Spec) -> tuple[str, ...]:
    """Give the folders that ``Limits.disk`` bounds, whoever makes them."""
    own = [part.target for part in parts if isinstance(part, plan.Memory | plan.Overlay)]
    own += [spec.workspace.target] if spec.workspace.kind == "image" else []
    return (*own, *(f"{part.target}/shm" for part in parts if isinstance(part, plan.Devices)))


Inner = plan.Memory | plan.Overlay | plan.Mask | plan.Folder | plan.Again | plan.Only | plan.Show | plan.Seal


def tmpfs(room: plan.Room, mode: str = "") -> str:
    """Give the options of a memory-backed file system (tmpfs(5))."""
    return f"size={room.size},nr_inodes={room.inodes}" + (f",mode={mode}" if mode else "")


def proc(part: plan.Processes) -> str:
    """Give the options of a /proc (proc(5))."""
    return "subset=pid,hidepid=invisible" if part.minimal else ""


def inner(part: Inner) -> wire.Mount:
    """Give the mount that the agent makes for ``part``, whoever makes the others."""
    kind = wire.MountKind
    match part:
        case plan.Memory(target, room, mode):
            made = kind.TMPFS, "", tmpfs(room, mode)
        case plan.Overlay(target, room):
            made = kind.OVERLAY, target, tmpfs(room, "0755")
        case plan.Mask(target, need):
            made = kind.MASK, "", need
        case plan.Folder(target):
            made = kind.FOLDER, "", "0755"
        case plan.Again(target, read_only):
            made = kind.AGAIN, "", "ro" if read_only else "rw"
        case plan.Only(target, room):
            made = kind.ONLY, "", tmpfs(room, "0755")
        case plan.Show(target, source):
            made = kind.SHOW, source, ""
        case plan.Seal(target):
            made = kind.SEAL, "", ""
    return wire.Mount(made[0], target, made[1], made[2])
