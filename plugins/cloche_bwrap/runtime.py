"""Runtime ``bwrap``: a bubblewrap command line for each box, and the mounts that only the agent can make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import cloche_native as native
from cloche import (
    Check,
    Guarantee,
    Kept,
    Launch,
    Partial,
    Seat,
    Spec,
    SpecError,
    Staging,
    Unenforced,
    reachable,
)
from cloche_bwrap import binary, checks, plan, rules
from cloche_bwrap.view import ViewRuntime, inner, proc, sized, tmpfs
from cloche_native import agent as wire

INIT = "/.cloche"
HOST_DEV = "/.dev"
FLAGS = wire.SetupFlag.ROOT_RO | wire.SetupFlag.HIDE_INIT


class BwrapRuntime(ViewRuntime):
    """Namespaces for users, processes, mounts, network, IPC and host name, entered by bubblewrap."""

    name: ClassVar[str] = "bwrap"
    summary: ClassVar[str] = "Linux namespaces through bubblewrap; shares the host's kernel"
    strength: ClassVar[int] = 20
    guarantees: ClassVar[frozenset[Guarantee]] = frozenset(Guarantee) - {Guarantee.KERNEL}

    def __init__(self) -> None:
        super().__init__()
        self._binary: Path | None = None

    def missing(self) -> str | None:
        """Find bubblewrap, build the guests' /etc, look at the host's system folders."""
        self._binary, problem = binary.find()
        if self._binary is None:
            return problem
        self.look_at_system()
        return None

    def checks(self) -> Sequence[Check]:
        """Try by itself each thing bubblewrap needs, so that the one that is missing can be named."""
        return [*checks.foundations(), *super().checks()]

    def cache_key(self) -> list[str]:
        """Give the bubblewrap in use and its time of change."""
        return [f"{self._binary} {self._binary.stat().st_mtime_ns}"] if self._binary is not None else []

    def adjust(self, spec: Spec, features: dict[str, Kept]) -> None:
        """Say also where inodes can't be capped."""
        super().adjust(spec, features)
        if isinstance(features.get(Guarantee.DISK), Unenforced):
            return
        parts = plan.complete((), spec, Staging(None))
        if any(isinstance(p, plan.Memory) and _over(p, parts) for p in parts):
            features[Guarantee.DISK] = Partial("tmpfs size", "a folder that holds another mount has no cap on inodes")

    def launch(self, spec: Spec, setup: wire.Setup, seat: Seat | None) -> Launch:
        """Give the command line and the inner mounts for ``spec``."""
        if self._binary is None:
            raise SpecError("the bwrap runtime was not probed; ask unavailable() first")
        uid = seat.uid if seat is not None else None
        parts, staging = self.parts(spec, seat)
        argv = [
            str(reachable(self._binary, uid)), "--unshare-all", "--as-pid-1", "--die-with-parent", "--new-session",
            "--uid", str(spec.user), "--gid", str(spec.user), "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP",
        ]  # fmt: skip
        argv += ["--share-net"] if spec.network.mode == "host" else []
        outer, within = render(parts)
        argv += [*outer, "--ro-bind", str(reachable(Path(native.init_path()), uid)), INIT]
        return Launch(
            argv=(*argv, "--", INIT, str(wire.CONTROL_FD)),
            setup=replace(rules.setup(spec, parts, setup), flags=setup.flags | FLAGS, mounts=tuple(within)),
            workspace=spec.workspace.target,
            sized=sized(parts, spec),
            stages=staging.stages(),
            stage_folder=staging.folder,
        )


def render(parts: Sequence[plan.Part]) -> tuple[list[str], list[wire.Mount]]:
    """Give bubblewrap's arguments and, to be made inside after all of them, the agent's mounts."""
    argv: list[str] = []
    mounts: list[wire.Mount] = []
    for part in parts:
        if isinstance(part, plan.Memory | plan.Overlay) and (over := _over(part, parts)):
            # Made inside, it would cover what bubblewrap put there before.
            argv += _early(part, over[0])
        else:
            argv += _outer(part)
            mounts += _inner(part)
    return argv, mounts


def _outer(part: plan.Part) -> list[str]:
    match part:
        case plan.Bind(target, source, read_only):
            return ["--ro-bind" if read_only else "--bind", source, target]
        case plan.Link(target, text):
            return ["--symlink", text, target]
        case plan.Devices(_, target):
            return ["--dev-bind", "/dev", HOST_DEV, "--dir", target]
        case plan.Processes() | plan.Folder("/run") | plan.Memory():
            return ["--proc" if isinstance(part, plan.Processes) else "--dir", part.target]
        case plan.Overlay():
            return ["--cap-add", "CAP_DAC_OVERRIDE"]  # overlayfs works in a folder of mode 000, as who mounts it
    return []  # what keeps paths is made inside


def _inner(part: plan.Part) -> list[wire.Mount]:
    match part:
        case plan.Devices(room, target):
            return [wire.Mount(wire.MountKind.DEV, target, HOST_DEV, tmpfs(room))]
        case plan.Processes(minimal, target):
            return [wire.Mount(wire.MountKind.PROC, target, data=proc(part))] if minimal else []
        case plan.Bind() | plan.Link() | plan.Folder("/run"):
            return []
        case _:
            return [inner(part)]


def _early(part: plan.Memory | plan.Overlay, over: plan.Part) -> list[str]:
    if isinstance(part, plan.Overlay):
        raise SpecError(f"mount target {over.target} lies in the overlay workspace; mount it elsewhere")
    return ["--perms", part.mode, "--size", str(part.room.size), "--tmpfs", part.target]


def _over(part: plan.Memory | plan.Overlay, parts: Sequence[plan.Part]) -> list[plan.Part]:
    """Give what bubblewrap mounts below ``part``."""
    folder = part.target + "/"
    return [p for p in parts if p.target.startswith(folder) and _outer(p)]
