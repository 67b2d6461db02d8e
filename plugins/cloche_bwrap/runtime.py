"""The runtime: a bubblewrap command line for each box, and the mounts that only the agent can make."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import cloche_native as native
from cloche import (
    AgentRuntime,
    Check,
    Guarantee,
    Kept,
    Launch,
    Mount,
    Partial,
    Seat,
    Spec,
    SpecError,
    Unenforced,
    reachable,
)
from cloche_bwrap import binary, checks, etc
from cloche_bwrap.staging import Staging
from cloche_native import agent as wire

INIT = "/.cloche"
HOST_DEV = "/.dev"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
OWN = ("proc", "dev", "sys", "tmp", "run")  # top-level names of a rootfs that the box makes itself
INODES_PER_MIB = 256  # an average file of 4 KiB; tmpfs otherwise allows one inode per page of RAM


class BwrapRuntime(AgentRuntime):
    """Namespaces for users, processes, mounts, network, IPC and host name, entered by bubblewrap."""

    name: ClassVar[str] = "bwrap"
    summary: ClassVar[str] = "Linux namespaces through bubblewrap; shares the host's kernel"
    strength: ClassVar[int] = 20
    guarantees: ClassVar[frozenset[Guarantee]] = frozenset(Guarantee) - {Guarantee.KERNEL}

    def __init__(self) -> None:
        super().__init__()
        self._binary: Path | None = None
        self._etc: Path | None = None
        self._system: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """Find bubblewrap, build the guests' /etc, look at the host's system folders."""
        self._binary, problem = binary.find()
        if self._binary is None:
            return problem
        self._etc = etc.folder()
        self._system = tuple(system_args(Path("/")))
        return None

    def checks(self) -> Sequence[Check]:
        """Try by itself each thing bubblewrap needs, so that the one that is missing can be named."""
        return [*checks.foundations(), *super().checks()]

    def cache_key(self) -> list[str]:
        """Give the bubblewrap in use and its time of change."""
        return [f"{self._binary} {self._binary.stat().st_mtime_ns}"] if self._binary is not None else []

    def adjust(self, spec: Spec, features: dict[str, Kept]) -> None:
        """Say what a directly written folder means for disk use, and where inodes can't be capped."""
        written = [m.source for m in spec.mounts if not m.read_only]
        if spec.workspace.kind == "bind":
            written.append(spec.workspace.source or "")
        if written:
            features[Guarantee.DISK] = Unenforced(
                f"{', '.join(written)} of the host is written directly and may grow",
                "use an overlay or tmpfs workspace, or a folder on a file system of its own",
            )
        elif any(_holds_mount(folder, spec) for folder in _memory_folders(spec)):
            features[Guarantee.DISK] = Partial("tmpfs size", "a folder that holds another mount has no cap on inodes")

    def launch(self, spec: Spec, setup: wire.Setup, seat: Seat | None) -> Launch:
        """Give the command line and the inner mounts for ``spec``."""
        if self._binary is None:
            raise SpecError("the bwrap runtime was not probed; ask unavailable() first")
        uid = seat.uid if seat is not None else None
        staging = Staging(spec, seat)
        argv = [
            str(reachable(self._binary, uid)), "--unshare-all", "--as-pid-1", "--die-with-parent", "--new-session",
            "--uid", str(spec.user), "--gid", str(spec.user), "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP",
        ]  # fmt: skip
        argv += ["--share-net"] if spec.network.mode == "host" else []
        argv += self._root(spec)
        argv += ["--ro-bind", str(reachable(Path(native.init_path()), uid)), INIT]
        argv += ["--dev-bind", "/dev", HOST_DEV, "--dir", "/dev", "--proc", "/proc", "--dir", "/run"]
        inner = [wire.Mount(wire.MountKind.DEV, "/dev", HOST_DEV, _room(spec))]
        if spec.level.minimal_proc:
            inner.append(wire.Mount(wire.MountKind.PROC, "/proc", data="subset=pid,hidepid=invisible"))
        for folder, mode in _memory_folders(spec).items():
            if _holds_mount(folder, spec):
                argv += ["--perms", mode, "--size", str(_disk(spec)), "--tmpfs", folder]
            else:
                argv += ["--dir", folder]
                inner.append(wire.Mount(wire.MountKind.TMPFS, folder, data=f"{_room(spec)},mode={mode}"))
        work = spec.workspace
        if work.source is not None:
            argv += staging.bind(Mount(work.source, work.target, read_only=work.kind == "overlay"))
        if work.kind == "overlay":
            argv += ["--cap-add", "CAP_DAC_OVERRIDE"]  # overlayfs works in a folder of mode 000, as whoever mounts it
            inner.append(wire.Mount(wire.MountKind.OVERLAY, work.target, work.target, f"{_room(spec)},mode=0755"))
        for mount in spec.mounts:
            argv += staging.bind(mount)
        argv += hide(spec)
        return Launch(
            argv=(*argv, "--", INIT, str(wire.CONTROL_FD)),
            setup=replace(
                setup, flags=setup.flags | wire.SetupFlag.ROOT_RO | wire.SetupFlag.HIDE_INIT, mounts=tuple(inner)
            ),
            workspace=work.target,
            stages=staging.stages(),
            stage_folder=staging.folder,
        )

    def _root(self, spec: Spec) -> list[str]:
        if spec.rootfs is not None:
            return system_args(Path(spec.rootfs))
        args = [*self._system, "--ro-bind", str(self._etc), "/etc"]
        if spec.network.mode == "host":
            args += ["--ro-bind", os.path.realpath("/etc/resolv.conf"), "/etc/resolv.conf"]
        return args


def system_args(root: Path) -> list[str]:
    """Give the arguments that show the top-level folders of ``root`` read-only, keeping symbolic links."""
    names = [Path(p).name for p in SYSTEM] if root == Path("/") else sorted(set(os.listdir(root)) - set(OWN))
    out: list[str] = []
    for name in names:
        path = root / name
        if path.is_symlink():
            out += ["--symlink", str(path.readlink()), f"/{name}"]
        elif path.is_dir():
            out += ["--ro-bind", str(path), f"/{name}"]
    return out


def hide(spec: Spec) -> list[str]:
    """Give the arguments that cover each forbidden path which exists in the box."""
    out: list[str] = []
    for path in spec.forbidden:
        source = host_path(spec, path)
        if source is not None and source.is_dir():
            out += ["--perms", "0000", "--tmpfs", path, "--remount-ro", path]
        elif source is not None:
            out += ["--ro-bind", "/dev/null", path]
    return out


def host_path(spec: Spec, path: str) -> Path | None:
    """Give the host's file that the guest sees at ``path``, or ``None`` if it sees none of the host's there."""
    shown = {m.target: m.source for m in spec.mounts}
    if spec.workspace.source is not None:
        shown[spec.workspace.target] = spec.workspace.source
    for target in sorted(shown, key=len, reverse=True):
        if path == target or path.startswith(target + "/"):
            source = Path(shown[target] + path[len(target) :])
            return source if os.path.lexists(source) else None
    if any(path == f"/{own}" or path.startswith(f"/{own}/") for own in OWN):
        return None
    source = Path(spec.rootfs or "/") / path[1:]
    return source if os.path.lexists(source) else None


def _memory_folders(spec: Spec) -> dict[str, str]:
    folders = {"/tmp": "1777"}  # noqa: S108 - a path in the box
    if spec.workspace.kind == "tmpfs":
        folders[spec.workspace.target] = "0755"
    return folders


def _holds_mount(folder: str, spec: Spec) -> bool:
    targets = [m.target for m in spec.mounts] + [spec.workspace.target, *spec.forbidden]
    return any(target.startswith(folder + "/") for target in targets)


def _disk(spec: Spec) -> int:
    return spec.limits.disk or spec.limits.memory or 64 << 20


def _room(spec: Spec) -> str:
    return f"size={_disk(spec)},nr_inodes={max(64, (_disk(spec) >> 20) * INODES_PER_MIB)}"
