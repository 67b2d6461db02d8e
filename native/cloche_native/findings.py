"""What the self-test of cloche-init found, judged: which feature is kept, by which mechanism, with which caveat.

``facts`` is the JSON that ``cloche-init`` prints when it runs its self-test as a sealed program in a real box (see
``native/init/probe*.c``): ``calls``, ``files``, ``sockets`` and ``signals`` map an act to ``"ok"``, an errno name,
``"killed"`` or ``"absent"``; the rest are plain facts. Anything missing counts as not kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

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
_SHOWN = "texts are what the guest showed: another of its threads may change them meanwhile"
_UNSEEN = "messages sent by sendmsg are not told"
_UNWATCHABLE = {
    "None": ("the self-test did not try it", "report this"),
    "EBUSY": (
        "this process is itself watched by another, and the kernel takes one watcher for a program",
        "run cloche outside of that sandbox, or leave out monitor=",
    ),
    "ENOSYS": ("the kernel has no seccomp notification", "Linux 5.0 with CONFIG_SECCOMP_FILTER has it"),
    "EINVAL": ("the kernel has no seccomp notification", "Linux 5.0 has it"),
    "EPERM": ("whoever started this process forbids it to watch others", "run cloche outside of that container"),
}
_LACKING = {
    "continue": ("the kernel can't let a call that was notified go on", "Linux 5.5 can"),
    "end": ("the kernel does not tell when the last process of a program is gone", "Linux 5.9 does"),
    "open": (
        "the kernel can't give a file that was opened in a guest's place as the answer to its call",
        "Linux 5.14 can; or use monitor='full'",
    ),
}
_CAP_SYS_PTRACE = 19
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


class Looker(NamedTuple):
    """Who is to read the memory of guests, where texts are: what decides whether they may."""

    yama: str  # this machine's kernel.yama.ptrace_scope, "" without Yama
    root: bool
    traces: bool  # has CAP_SYS_PTRACE

    @classmethod
    def here(cls) -> Looker:
        """Give this process."""
        effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", _read("/proc/self/status"), re.MULTILINE)
        traces = effective is not None and bool(int(effective[1], 16) >> _CAP_SYS_PTRACE & 1)
        return cls(_read("/proc/sys/kernel/yama/ptrace_scope"), os.geteuid() == 0, traces)


def events(facts: Facts, *, depth: str, own_view: bool, looker: Looker | None = None) -> Verdict:
    """Say whether what programs do can be told of at ``depth``; ``own_view``: the box has files of its own.

    ``looker`` is this process unless given.
    """
    if lacking := _lacking(facts, depth):
        return ("unenforced", *lacking)
    looker = looker or Looker.here()
    may_trace = looker.traces or (own_view and not looker.root)  # its user namespace is ours
    if hidden := _hidden(looker, may_trace=may_trace):
        return ("unenforced", *hidden)
    if depth == "strict" and not own_view:
        return (
            "unenforced",
            "in a guest's place the host would open what Landlock alone keeps from one that sees the host's folders",
            "use monitor='full', or a runtime with a view of its own",
        )
    if depth == "strict":
        return (
            "partial",
            "seccomp notifications; where a rule judges a path, the file is opened in the guest's place",
            f"of other calls {_SHOWN}; {_UNSEEN}",
        )
    unread = "" if may_trace else "; of each program's first execution no path is told, only that it began"
    return ("partial", "seccomp notifications, answered by a native thread", f"{_SHOWN}; {_UNSEEN}{unread}")


def _lacking(facts: Facts, depth: str) -> tuple[str, str] | None:
    """Give what the kernel can't do of watching at ``depth``, and what to do."""
    found = facts.get("listener")
    if found != "ok":
        return _UNWATCHABLE.get(str(found), (f"the kernel gave no listener ({found})", "report this"))
    able = facts.get("listener can", ())
    for power, lacking in _LACKING.items():
        if power not in able and (power != "open" or depth == "strict"):
            return lacking
    return None


def _hidden(looker: Looker, *, may_trace: bool) -> tuple[str, str] | None:
    """Give why the memory of a guest can't be read, and what to do; the levels are of the kernel's page on Yama."""
    if looker.root and not may_trace:
        return (
            "root without CAP_SYS_PTRACE may not read the memory of another user's processes, and guests are such",
            "give this container that capability: docker run --cap-add SYS_PTRACE",
        )
    if looker.yama == "3":
        return ("kernel.yama.ptrace_scope is 3: nobody may read the memory of another process", "boot with a lower one")
    if looker.yama == "2" and not may_trace:
        return (
            "kernel.yama.ptrace_scope is 2: only root may read the memory of another process",
            "run the host as root, or use a runtime with user namespaces",
        )
    return None


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
    caveat = "names, sizes and owners of the host's files can still be seen; "
    if os.geteuid() != 0:
        caveat += "mode and times of the caller's own files can be changed, though not what is in them"
    else:
        caveat += "the times of files that everybody may write can be set to now"
    return ("partial", "Landlock", caveat)


def _network(facts: Facts, mode: str) -> Verdict:
    if mode == "host":
        return ("enforced", "the host's network, as asked")
    if mode == "isolated":
        fix = "use network='loopback', or a runtime that makes such networks"
        return ("unenforced", "it has no network with the host at its other end", fix)
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
