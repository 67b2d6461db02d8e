"""What a box that is driven through its agent uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from cloche.errors import SandboxError
from cloche.launch import Launch
from cloche_native import agent as wire
from cloche_native import cgroup, usage


def figures(group: cgroup.Group | None, agent_pid: int) -> dict[str, float]:
    """Give what the kernel counted for the box: by its group where there is one, else for the agent and all below it.

    Raises ``SandboxError`` where that can't be read.
    """
    try:
        raw = group.stats() if group is not None else {}
        if "io_read" not in raw:
            raw = usage.of_tree(agent_pid) | raw
        kills = {"oom_kills": float(group.oom_kills())} if group is not None else {}
    except OSError as error:
        raise SandboxError(f"what the box uses can't be read: {error}; was its control group removed?") from error
    out = {name: value for name, value in raw.items() if not name.endswith("_us")}
    out["cpu"] = raw["cpu_us"] / 1e6
    if "throttled_us" in raw:
        out["throttled_seconds"] = raw["throttled_us"] / 1e6
    return out | kills


def fullness(launch: Launch, opened: Callable[[str], int]) -> dict[str, float]:
    """Give how full the work folder is, where it is a file system of the box's own; ``opened`` opens a folder of it."""
    if launch.workspace not in sized(launch):
        return {}
    try:
        folder = opened(launch.workspace)
    except OSError:  # the box is just going down
        return {}
    try:
        found = os.fstatvfs(folder)
    finally:
        os.close(folder)
    return {
        "disk_used": float((found.f_blocks - found.f_bfree) * found.f_frsize),
        "disk_size": float(found.f_blocks * found.f_frsize),
        "files_used": float(found.f_files - found.f_ffree),
        "files_size": float(found.f_files),
    }


def sized(launch: Launch) -> Iterable[str]:
    """Give the paths in the box of the file systems that are bounded in size."""
    if launch.sized is not None:
        return launch.sized
    own = (wire.MountKind.TMPFS, wire.MountKind.OVERLAY)
    out = [mount.target for mount in launch.setup.mounts if mount.kind in own]
    return out + [f"{m.target}/shm" for m in launch.setup.mounts if m.kind is wire.MountKind.DEV and m.data]
