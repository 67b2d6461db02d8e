"""What a box in gVisor keeps, feature by feature, given what was found in one that really ran."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, Final

from cloche import Enforced, Enforcement, Guarantee, Kept, Partial, Spec, Unenforced
from cloche_gvisor import bundle

Facts = Mapping[str, Any]
NEED_GROUP: Final = "run as root, or in a delegated cgroup v2 (systemd: Delegate=yes)"
NEED_ROOT: Final = "run the host as root"
PROBE: Final = (
    "/bin/sh", "-c", "cat /proc/sys/kernel/osrelease /proc/self/status /proc/net/dev; unshare -U true && echo unshared"
)  # fmt: skip
"""What is looked at in the first box: which kernel it is, what a program in it holds, and its network's interfaces."""
_CAPABILITIES: Final = ("CapInh", "CapPrm", "CapEff", "CapBnd")


def facts(platform: str, text: str) -> dict[str, Any]:
    """Give what ``PROBE`` printed as plain data."""
    release, _, status = text.partition("\n")
    found = dict(re.findall(r"^(\w+):\s*(\w+)", status, re.MULTILINE))
    interfaces = sorted(re.findall(r"^ +(\w+):", status, re.MULTILINE))
    unshared = status.endswith("unshared\n")
    return {"platform": platform, "release": release, "status": found, "interfaces": interfaces, "unshared": unshared}


def report(spec: Spec, found: Facts, *, version: str, grouped: str | None) -> Enforcement:
    """Give the report for ``spec``; ``grouped`` names the control groups in use, if any."""
    features: dict[str, Kept] = {
        Guarantee.PROCESS: Enforced("processes of a kernel of its own, which end with it"),
        Guarantee.FILESYSTEM: Enforced(
            "a root folder of its own behind gVisor's file proxy; the system's is read-only"
        ),
        Guarantee.NETWORK: _network(spec, found),
        Guarantee.SYSCALLS: _calls(spec, found),
        Guarantee.CAPABILITIES: _capabilities(found),
        Guarantee.IDENTITY: _identity(),
        Guarantee.KERNEL: Enforced(f"gVisor {version} on {found['platform']}"),
        Guarantee.PAUSE: Enforced("gVisor's kernel stops all tasks, unseen by them"),
    }
    features |= _limits(spec, grouped) | _disk(spec) | _watching(spec)
    if lacking := bundle.problems(spec):
        features[Guarantee.FILESYSTEM] = Unenforced("; ".join(lacking), "use a runtime with namespaces")
    if spec.restricts_paths():
        features["paths"] = Unenforced(
            "this runtime shows folders whole, to be read or written", "use a runtime with namespaces, or mount less"
        )
    return Enforcement(features)


def _watching(spec: Spec) -> dict[str, Kept]:
    if not spec.monitor:
        return {}
    if spec.monitor.depth == "strict":
        unkept = Unenforced("gVisor lets nobody act in its guest's place", "use depth 'full', or another runtime")
        return {"events": unkept, **({"rules": unkept} if spec.monitor.rules else {})}
    events = Partial(
        "gVisor's kernel tells each act, and waits where it is not heard",
        "as it is done, not before; where links led is not told, and names that are no UTF-8 only as unreadable",
    )
    rules = Partial(
        "a native thread judges each act that gVisor's kernel tells",
        "as it is done, so that nothing is refused; a guest with two threads can change a text while it is read",
    )
    return {"events": events, **({"rules": rules} if spec.monitor.rules else {})}


def _network(spec: Spec, found: Facts) -> Kept:
    if spec.network.mode == "host":
        return (
            Enforced("the host's network, as asked")
            if os.geteuid() == 0
            else Unenforced("without root gVisor has no way to the host's network", NEED_ROOT)
        )
    if spec.network.mode == "isolated" and (problem := found.get("isolated", "it was not tried")):
        return Unenforced(problem, NEED_ROOT if os.geteuid() != 0 else "use network='loopback'")
    if spec.network.mode == "isolated":
        return Enforced("a network of gVisor's own, and a cable to a network namespace in which nothing else is")
    if spec.network.mode == "loopback":
        return Enforced("a network of gVisor's own, with a loopback alone")
    if _filtered(found):
        return Enforced("a network of gVisor's own, and the filter refuses all but Unix sockets")
    return Partial("a network of gVisor's own", "internet sockets can be made; they reach the box itself alone")


def _calls(spec: Spec, found: Facts) -> Kept:
    own = "gVisor's kernel answers every call, and makes few and filtered ones of the host"
    if _filtered(found):
        return Enforced(f"{own}; filter {spec.level.syscalls} in the guest")
    return Partial(own, f"the filter {spec.level.syscalls} is not put on programs in the guest's own kernel")


def _filtered(found: Facts) -> bool:
    return found["status"].get("Seccomp") == "2" and not found["unshared"]


def _capabilities(found: Facts) -> Kept:
    held = [name for name in _CAPABILITIES if int(found["status"].get(name, "1"), 16)]
    if held == ["CapBnd"]:
        return Partial("every capability dropped", "the bounding set is not empty; it is of the guest's own kernel")
    if held:
        return Unenforced(f"capability sets not empty: {', '.join(held)}", "report this")
    return Enforced("every capability dropped")


def _identity() -> Kept:
    if os.geteuid() != 0:
        return Partial("a user namespace of its own", "to the host it is still the calling user")
    return Partial(
        "gVisor's kernel is user nobody in a user namespace of its own",
        "every box is that one; its file proxy is root under a filter, and sees nothing but what the box is shown",
    )


def _limits(spec: Spec, grouped: str | None) -> dict[str, Kept]:
    limits = spec.limits
    out: dict[str, Kept] = {}
    if limits.memory is not None:
        out["memory"] = (
            Enforced(f"{grouped} memory controller, gVisor's own memory included; what goes over ends the box")
            if grouped
            else Unenforced("without a control group nothing bounds the memory of a guest's kernel", NEED_GROUP)
        )
    if limits.cpu is not None:
        out["cpu"] = (
            Enforced(f"{grouped} cpu quota")
            if grouped
            else Unenforced("a share of processors needs a cpu control group", NEED_GROUP)
        )
    if limits.pids is not None:
        out["pids"] = Enforced("RLIMIT_NPROC and control groups of the guest's own kernel")
    if limits.open_files is not None:
        out["open_files"] = Enforced("RLIMIT_NOFILE of each process, in the guest's own kernel")
    if limits.file_size is not None:
        out["file_size"] = Enforced("RLIMIT_FSIZE in the guest's own kernel")
    return out


def _disk(spec: Spec) -> dict[str, Kept]:
    if written := spec.written():
        why = f"{', '.join(written)} of the host is written directly and may grow"
        fix = "use an overlay or tmpfs workspace, or a folder on a file system of its own"
        return {Guarantee.DISK: Unenforced(why, fix), "files": Unenforced(why, fix)}
    if os.geteuid() != 0:
        return {
            Guarantee.DISK: Enforced("every writable folder is a sized one in the guest's memory"),
            "files": Unenforced("how many files are in the guest's memory is not counted", NEED_ROOT),
        }
    caveat = "how many files are in /tmp and /dev/shm is bounded by memory alone"
    work = "a file system of its own for the work folder" if spec.workspace.kind == "image" else "a sized work folder"
    return {
        Guarantee.DISK: Enforced(f"{work}, sized folders in the guest's memory for all else"),
        "files": Partial("a cap on inodes of the work folder", caveat),
    }
