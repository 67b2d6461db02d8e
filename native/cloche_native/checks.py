"""What of this machine matters to sandboxes, looked at for a person: ``(name, ok, found, fix)`` a row.

``ok`` is ``None`` where nothing depends on it, or where it is neither good nor bad.
"""

from __future__ import annotations

import os
import re

import cloche_native as native
from cloche_native import cgroup
from cloche_native.bounds import NEED_GROUP

Row = tuple[str, bool | None, str, str]

OLDEST_KERNEL = (5, 9)  # what spawn() needs: close_range(2)
MACHINES = ("x86_64", "aarch64")
LANDLOCK_TCP = 4  # ABI with rules for TCP ports, Linux 6.7 (landlock(7))
LANDLOCK_SCOPES = 6  # ABI with scopes of signals and abstract sockets, Linux 6.12
SECCOMP_FILTERED = "2"  # the mode of a process under a filter, proc_pid_status(5)
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")  # made by Docker and by Podman


def machine() -> list[Row]:
    """Give the rows that concern every way to isolate; tries things for real, in some milliseconds."""
    rows = [_kernel(), _init(), _user(), _filter(), _landlock(), _groups()]
    return rows + _container()


def _kernel() -> Row:
    system = os.uname()
    found = f"{system.sysname} {system.release} on {system.machine}"
    version = re.match(r"(\d+)\.(\d+)", system.release)
    if system.machine not in MACHINES:
        return ("kernel", False, found, f"cloche has system-call filters for {' and '.join(MACHINES)} only")
    if version is None or (int(version[1]), int(version[2])) < OLDEST_KERNEL:
        return ("kernel", False, found, f"use Linux {'.'.join(map(str, OLDEST_KERNEL))} or later")
    return ("kernel", True, found, "")


def _init() -> Row:
    try:
        return ("cloche-init", True, native.init_path(), "")
    except OSError as error:
        return ("cloche-init", False, str(error), "install cloche again: pip install --force-reinstall cloche")


def _user() -> Row:
    uid = os.geteuid()
    if uid == 0:
        return ("user", True, "root: every sandbox gets an unprivileged host user of its own", "")
    found = f"uid {uid}: to the host, the processes of a sandbox belong to you"
    return ("user", None, found, "run as root to give every sandbox a host user of its own")


def _filter() -> Row:
    mode = _own_status().get("Seccomp")
    if mode is None:
        return ("system-call filter", False, "the kernel has no seccomp", "use one built with CONFIG_SECCOMP_FILTER")
    more = "; this process is under a filter already (a container's?)" if mode == SECCOMP_FILTERED else ""
    return ("system-call filter", True, f"seccomp{more}", "")


def _own_status() -> dict[str, str]:
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        pairs = (line.partition(":") for line in file)
        return {name: value.strip() for name, _, value in pairs}


def _landlock() -> Row:
    abi = native.landlock_abi()
    if abi == 0:
        return (
            "Landlock",
            False,
            native.landlock_reason(),
            "Linux 5.13 or later, booted with landlock in its lsm= list",
        )
    can = ["paths", *(["TCP ports"] if abi >= LANDLOCK_TCP else []), *(["signals"] if abi >= LANDLOCK_SCOPES else [])]
    fix = "" if abi >= LANDLOCK_SCOPES else "Linux 6.7 adds TCP ports, 6.12 signals"
    return ("Landlock", True, f"ABI {abi}: rules for {', '.join(can)}", fix)


def _groups() -> Row:
    try:
        found = cgroup.detect()
    except OSError as error:
        return ("control groups", False, f"looking for them failed: {error}", NEED_GROUP)
    if found is None:
        why = "none can be made here, so memory is bounded per process, not per sandbox"
        return ("control groups", False, why, NEED_GROUP)
    return ("control groups", True, f"version {found.version}: memory, processes and CPU time of a whole sandbox", "")


def _container() -> list[Row]:
    marks = [path for path in CONTAINER_MARKS if os.path.exists(path)]
    if not marks:
        return []
    found = f"{marks[0]} exists: this is a container, whose own limits hold for sandboxes too"
    return [("container", None, found, "")]
