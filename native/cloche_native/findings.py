"""What the self-test of cloche-init found, judged: which feature is kept, by which mechanism, with which caveat.

``facts`` is the JSON that ``cloche-init`` prints when it runs its self-test as a sealed program in a real box (see
``native/init/probe*.c``): ``calls``, ``files``, ``sockets`` and ``signals`` map an act to ``"ok"``, an errno name,
``"killed"`` or ``"absent"``; the rest are plain facts. Anything missing counts as not kept.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import cloche_native as native
from cloche_native.bounds import Verdict

Facts = Mapping[str, Any]

NAMESPACES = ("pid", "mnt", "net", "ipc", "uts", "user")
DENIED_CALLS = (
    "io_uring_setup", "userfaultfd", "bpf", "perf_event_open", "keyctl", "add_key", "kexec_load", "init_module",
    "ptrace", "process_vm_readv_parent", "process_vm_readv_init", "unshare_user", "clone_user", "clone3", "mount",
    "setns", "open_by_handle_at", "x32", "i386",
)  # fmt: skip
DENIED_FILES = (
    "write /proc/sys/kernel/core_pattern", "create /usr", "create /etc", "create /", "read /etc/shadow", "read /root",
    "read /home", "read /var/log", "read /proc/1/environ", "read /dev/kmsg",
)  # fmt: skip
NEEDED_FILES = ("read /usr", "write /dev/null")
_MACHINE = (
    "/proc/sys/kernel/random/boot_id", "/proc/sys/user/max_user_namespaces", "/proc/self/attr/current",
    "/proc/sys/kernel/unprivileged_userns_clone", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
)  # fmt: skip
_STATUS = ("Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp", "Seccomp_filters")
_NS = ("user", "pid", "mnt")
CAPABILITY_SETS = ("effective", "permitted", "inheritable", "ambient")


def host_key() -> list[str]:
    """Give what every answer of a self-test depends on.

    That is this boot and kernel, what forbids namespaces, what this very process was left with by whoever started it
    (a service manager, a container, another sandbox), and this package's own files.
    """
    package = os.path.dirname(native.__file__)
    parts = [f"{e.name} {e.stat().st_size} {e.stat().st_mtime_ns}" for e in os.scandir(package) if e.is_file()]
    status = dict(line.split(":\t", 1) for line in _read("/proc/self/status").splitlines() if ":\t" in line)
    root = os.stat("/")
    return [
        os.uname().release, os.uname().version, *map(_read, _MACHINE), f"{root.st_dev} {root.st_ino}",
        *(f"{name} {status.get(name)}" for name in _STATUS), *(os.readlink(f"/proc/self/ns/{kind}") for kind in _NS),
        *sorted(parts),
    ]  # fmt: skip


def own_user(facts: Facts) -> bool:
    """Say whether the box's processes are the only ones that count against its uid."""
    return _own(facts, "user") or os.geteuid() == 0


def judge(facts: Facts, *, network: str, level: str) -> dict[str, Verdict]:
    """Give a verdict for each guarantee that the self-test can tell about."""
    return {
        "process": _process(facts),
        "filesystem": _filesystem(facts),
        "network": _network(facts, network),
        "syscalls": _syscalls(facts, level),
        "capabilities": _capabilities(facts),
        "identity": _identity(facts),
        "kernel": ("unenforced", "it shares the host's kernel", "use a runtime with a kernel of its own"),
    }


def _process(facts: Facts) -> Verdict:
    if _own(facts, "pid"):
        return ("enforced", "own process-id namespace; the kernel ends all of it with its first process")
    if facts.get("signals", {}).get("parent") == "EPERM":
        return (
            "partial",
            "Landlock signal scope, no access to /proc, descendants kept below the agent",
            "process ids of the host can be guessed; the caller's other processes can be given a lower priority"
            if os.geteuid() != 0
            else "process ids of the host can be guessed, though not used",
        )
    return ("unenforced", "the self-test could signal a process outside", "Linux 6.12 has Landlock's signal scope")


def _filesystem(facts: Facts) -> Verdict:
    files = facts.get("files", {})
    opened = [act for act in DENIED_FILES if files.get(act) in ("ok", None)]
    closed = [act for act in NEEDED_FILES if files.get(act) != "ok"]
    if opened or closed:
        why = f"the self-test could {', '.join(opened)}" if opened else f"it could not {', '.join(closed)}"
        return ("unenforced", why, "this is a fault of the machine or of cloche; please report it")
    if _own(facts, "mnt"):
        return ("enforced", "own mount namespace: read-only system, nothing else of the host")
    caveat = "names, sizes and owners of the host's files can still be seen"
    if os.geteuid() != 0:
        caveat += "; mode, times and attributes of the caller's own files can be changed, though not what is in them"
    return ("partial", "Landlock", caveat)


def _network(facts: Facts, mode: str) -> Verdict:
    if mode == "host":
        return ("enforced", "the host's network, as asked")
    separate = _own(facts, "net") and set(facts.get("interfaces", ["?"])) <= {"lo"}
    refused = all(facts.get("sockets", {}).get(kind) not in ("ok", None) for kind in ("inet", "inet6", "packet"))
    if mode == "none" and separate and refused:
        return ("enforced", "own network namespace, and the filter refuses all but Unix sockets")
    if mode == "none" and refused and facts.get("sockets", {}).get("unix") not in ("ok", None):
        return ("enforced", "the filter refuses every socket")
    if mode == "loopback" and separate:
        return ("enforced", "own network namespace with a loopback alone")
    return ("unenforced", "the self-test could make an internet socket", "a network namespace is needed")


def _syscalls(facts: Facts, level: str) -> Verdict:
    calls = facts.get("calls", {})
    done = [name for name in DENIED_CALLS if calls.get(name) in ("ok", None) and not _other_machine(name, calls)]
    if facts.get("seccomp") != 2 or done:  # noqa: PLR2004 - SECCOMP_MODE_FILTER
        why = f"the self-test could {', '.join(done)}" if done else "no filter is active"
        return ("unenforced", why, "the kernel needs CONFIG_SECCOMP_FILTER")
    return ("enforced", f"seccomp filter, profile {level}, foreign ABIs killed")


def _other_machine(name: str, calls: Mapping[str, str]) -> bool:
    return name in ("x32", "i386") and calls.get(name, "absent") == "absent" and os.uname().machine != "x86_64"


def _capabilities(facts: Facts) -> Verdict:
    sets = facts.get("capabilities", {})
    held = [name for name in CAPABILITY_SETS if int(sets.get(name, "1"), 16)]
    if held or facts.get("no_new_privs") != 1:
        return ("unenforced", f"capability sets not empty: {', '.join(held) or 'no_new_privs is off'}", "report this")
    bounding = "" if int(sets.get("bounding", "1"), 16) else ", bounding set empty"
    return ("enforced", f"every capability dropped{bounding}, no_new_privs")


def _identity(facts: Facts) -> Verdict:
    if os.geteuid() == 0:
        return ("enforced", "a host user of its own, which owns nothing")
    if _own(facts, "user"):
        return ("partial", "own user namespace", "to the host it is still the calling user")
    return ("unenforced", "it runs as the calling user", "run the host as root, or use a runtime with user namespaces")


def _own(facts: Facts, kind: str) -> bool:
    inside = facts.get("namespaces", {}).get(kind)
    return bool(inside) and inside != os.readlink(f"/proc/self/ns/{kind}")


def _read(path: str) -> str:
    """Give what a file holds; what is no part of this kernel, or not ours to read, is the same each time: nothing."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
