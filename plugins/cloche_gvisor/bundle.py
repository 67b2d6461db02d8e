"""The folder from which runsc makes a box: its configuration (OCI runtime specification 1.0.2) and its root folder.

The root folder holds nothing but mount points and links, one for each box. runsc makes a mount point that is missing
wherever it would be, on the host too: so each is made here, or refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import cloche_native as native
from cloche import Spec, SpecError, Staging, etc_folder
from cloche_gvisor import own_network
from cloche_gvisor.preload import LIBRARY, etc_with_preload

INNER: Final = "/.cloche"
SYSTEM: Final = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
MADE: Final = ("/dev", "/proc", "/sys")
INODES_PER_MIB: Final = 256  # an average file of 4 KiB
CAPABILITIES: Final = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID",
    "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE",
)  # fmt: skip
"""Of cloche-inner in the guest's own kernel; it gives none of them to a program."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A folder or file of the host, where the launcher finds it.

    ``origin`` is where it is for everybody else, ``None`` for a folder that is the box's own alone. ``lasting``: what
    it shows is not expected to change while the box lives, so the sentry need not ask the host again and again.
    """

    target: str
    source: str
    origin: str | None
    read_only: bool = True
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a box shows: what is bound, its links, and its folders in the guest's memory with their options."""

    binds: tuple[Bind, ...]
    links: Mapping[str, str]
    memory: Mapping[str, str]

    def write(self, folder: Path, spec: Spec) -> None:
        """Put it into ``folder``, which is empty. Raises ``SpecError`` for a mount that has no place, and OSError."""
        root = folder / "root"
        root.mkdir(mode=0o755)
        for target in (*MADE, "/run", *self.memory):
            self._place(root, target, is_folder=True)
        for target, text in self.links.items():
            os.symlink(text, f"{root}{target}")
        for bind in self.binds:
            self._place(root, bind.target, is_folder=bind.origin is None or os.path.isdir(bind.origin))
        (folder / "config.json").write_text(json.dumps(self._config(spec)))

    def _place(self, root: Path, target: str, *, is_folder: bool) -> None:
        """Make a mount point, where it isn't for another mount to have it."""
        over = [bind for bind in self.binds if target.startswith(f"{bind.target}/")]
        if over:
            bind = max(over, key=lambda one: len(one.target))
            if bind.origin is not None and not os.path.exists(f"{bind.origin}{target[len(bind.target) :]}"):
                raise SpecError(
                    f"mount target {target}: it lies in {bind.target}, which has no such "
                    f"{'folder' if is_folder else 'file'}; make it there, or mount it elsewhere"
                )
            return
        path = root / PurePosixPath(target).relative_to("/")
        if is_folder:
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
        else:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            path.touch()

    def _config(self, spec: Spec) -> dict[str, Any]:
        mounts = [_mount("/proc", "proc"), _mount("/dev", "tmpfs")]
        mounts += [_mount(target, "tmpfs", options.split(",")) for target, options in self.memory.items()]
        mounts += [_bound(bind) for bind in self.binds]
        mounts.sort(key=lambda mount: str(mount["destination"]).count("/"))  # a folder before what is mounted below it
        kinds = ["pid", "ipc", "uts", "mount", *([] if spec.network.mode == "host" else ["network"])]
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0}, "args": [INNER], "env": [], "cwd": "/",
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
            },
            "root": {"path": "root", "readonly": True},
            "hostname": spec.hostname,
            "mounts": mounts,
            "annotations": hints(self.binds),
            "linux": {"namespaces": [_namespace(kind, spec) for kind in kinds]},
        }  # fmt: skip


def plan(spec: Spec, staging: Staging, work: str | None, *, preload: bool = False) -> Bundle:
    """Give what the box of ``spec`` shows; ``work`` is where the launcher finds its work folder, if it is not inside.

    With ``preload`` programs get what their gVisor lacks (``preload``), where the box has the system's own folders.
    Raises ``SpecError`` for what can't be shown.
    """
    if found := problems(spec):
        raise SpecError("; ".join(found))
    size = room(spec)[0]
    binds, links = _system(spec.rootfs)
    if spec.rootfs is None:
        etc = etc_folder()
        binds.append(_lasting("/etc", str(etc_with_preload(etc) if preload else etc)))
        if preload:
            binds.append(_lasting(LIBRARY, native.statx_path()))
        if spec.network.mode == "host":
            binds.append(_plain("/etc/resolv.conf", os.path.realpath("/etc/resolv.conf")))
    binds.append(_lasting(INNER, native.inner_path()))
    shown = spec.workspace.source if spec.workspace.kind == "bind" else None
    memory = {"/dev/shm": f"size={size},mode=1777", "/tmp": f"size={size},mode=1777"}  # noqa: S108 - in the box
    if work is not None:
        binds.append(Bind(spec.workspace.target, work, shown, read_only=False))
    else:
        memory[spec.workspace.target] = f"size={size},mode=0755,uid={spec.user},gid={spec.user}"
    binds += [Bind(mount.target, staging.source(mount), mount.source, mount.read_only) for mount in spec.mounts]
    taken = {bind.target: bind for bind in binds}  # of two with one place the caller's is meant; runsc mixes them
    return Bundle(
        binds=tuple(taken.values()),
        links=links,
        memory={target: options for target, options in memory.items() if target not in taken},
    )


def room(spec: Spec) -> tuple[int, int]:
    """Give how many bytes, and how many files and folders, a writable folder in memory may hold."""
    size = spec.limits.disk or spec.limits.memory or 64 << 20
    return size, spec.limits.files or max(64, (size >> 20) * INODES_PER_MIB)


def _system(rootfs: str | None) -> tuple[list[Bind], dict[str, str]]:
    """Give the top-level folders of a root folder of the host, read-only, and its links; of / the system's alone."""
    own = {"proc", "dev", "sys", "tmp", "run"}
    names: Iterable[str] = SYSTEM if rootfs is None else sorted(set(os.listdir(rootfs)) - own)
    binds, links = [], {}
    for name in names:
        path = f"{rootfs or ''}/{name}"
        if os.path.islink(path):
            links[f"/{name}"] = os.readlink(path)
        elif os.path.isdir(path):
            binds.append(Bind(f"/{name}", path, path, lasting=rootfs is None))
    return binds, links


def problems(spec: Spec) -> list[str]:
    """Give what of ``spec`` would look applied and not be, or can't be had."""
    found = [
        f"mount target {mount.target}: {', '.join(MADE)} are made by the box; mount it elsewhere"
        for mount in spec.mounts
        if any(mount.target == own or mount.target.startswith(f"{own}/") for own in MADE)
    ]
    if spec.user == 0:
        found.append("user: 0 is not given to programs by this runtime, whose own agent is root in the guest")
    if os.geteuid() != 0:
        if spec.workspace.kind != "tmpfs":
            found.append(f"workspace: without root, this runtime has a tmpfs alone, no {spec.workspace.kind}")
        if written := [mount.source for mount in spec.mounts if not mount.read_only]:
            found.append(f"mounts: without root, this runtime shows folders read-only; {', '.join(written)} is not")
    return found


def _namespace(kind: str, spec: Spec) -> dict[str, str]:
    given = kind == "network" and spec.network.mode == "isolated"
    return {"type": kind, "path": own_network.PLACE} if given else {"type": kind}


def _plain(target: str, source: str) -> Bind:
    return Bind(target, source, source)


def _lasting(target: str, source: str) -> Bind:
    return Bind(target, source, source, lasting=True)


def _mount(target: str, kind: str, options: Sequence[str] = ()) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def hints(binds: Sequence[Bind]) -> dict[str, str]:
    """Give gVisor's hints of what nobody changes: it then keeps what it knows of these files, and has open.

    Without, each look at a path is a message to its file proxy, which is half of what the start of a program takes. A
    hint is about all binds of one source: where one of them may change, there is none.
    """
    hint = {"type": "bind", "share": "container"}
    sources = {bind.source for bind in binds if bind.lasting} - {bind.source for bind in binds if not bind.lasting}
    return {
        f"dev.gvisor.spec.mount.m{number}.{name}": value
        for number, source in enumerate(sorted(sources))
        for name, value in (hint | {"source": source}).items()
    }


def _bound(bind: Bind) -> dict[str, Any]:
    options = ["rbind", "ro" if bind.read_only else "rw", "nosuid", "nodev"]
    return {"destination": bind.target, "type": "bind", "source": bind.source, "options": options}
