"""Runtime ``namespaces``: the agent itself is started in new namespaces and makes the box's root folder from inside."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import cloche_native as native
from cloche import Check, Guarantee, Launch, Seat, Spec, reachable
from cloche_bwrap import checks, plan, rules
from cloche_bwrap.view import ViewRuntime, inner, proc, sized, tmpfs
from cloche_native import agent as wire

ROOT = plan.Room(1 << 20, 1024)
"""Of the root folder itself, which holds nothing but mount points and links and ends up read-only."""

NETWORK = {
    "none": wire.SetupFlag.NETWORK,
    "loopback": wire.SetupFlag.NETWORK | wire.SetupFlag.LOOPBACK,
    "isolated": wire.SetupFlag.NETWORK | wire.SetupFlag.LOOPBACK,  # not enforced: rather less than more
    "host": wire.SetupFlag.NONE,
}


class NamespacesRuntime(ViewRuntime):
    """Namespaces for users, processes, mounts, network, IPC and host name, entered by one system call."""

    name: ClassVar[str] = "namespaces"
    summary: ClassVar[str] = "Linux namespaces entered directly; shares the host's kernel"
    strength: ClassVar[int] = 20
    guarantees: ClassVar[frozenset[Guarantee]] = frozenset(Guarantee) - {Guarantee.KERNEL}

    def missing(self) -> str | None:
        """Need nothing but the kernel, which the self-test will show."""
        self.look_at_system()
        return None

    def checks(self) -> Sequence[Check]:
        """Enter namespaces by itself, so that what refuses them can be named."""
        return [*checks.entering(), *super().checks()]

    def launch(self, spec: Spec, setup: wire.Setup, seat: Seat | None) -> Launch:
        """Give the agent as the command, and every mount of the box as its work."""
        uid = seat.uid if seat is not None else None
        outside = (uid, uid) if uid is not None else (os.geteuid(), os.getegid())
        parts, staging = self.parts(spec, seat)
        root = wire.Mount(wire.MountKind.ROOT, "/", data=tmpfs(ROOT, "0755"))
        return Launch(
            argv=(str(reachable(Path(native.init_path()), uid)), str(wire.CONTROL_FD)),
            setup=replace(
                rules.setup(spec, parts, setup),
                ids=(spec.user, outside[0], spec.user, outside[1]),
                flags=setup.flags | NETWORK[spec.network.mode],
                mounts=(root, *map(mount, parts)),
            ),
            workspace=spec.workspace.target,
            sized=sized(parts, spec),
            namespaces=True,
            stages=staging.stages(),
            stage_folder=staging.folder,
        )


def mount(part: plan.Part) -> wire.Mount:
    """Give the agent's way to make ``part``."""
    match part:
        case plan.Bind(target, source, read_only):
            return wire.Mount(wire.MountKind.BIND, target, source, "ro" if read_only else "rw")
        case plan.Link(target, text):
            return wire.Mount(wire.MountKind.SYMLINK, target, text)
        case plan.Devices(room, target):
            return wire.Mount(wire.MountKind.DEV, target, "/dev", tmpfs(room))
        case plan.Processes(_, target):
            return wire.Mount(wire.MountKind.PROC, target, data=proc(part))
        case _:
            return inner(part)
