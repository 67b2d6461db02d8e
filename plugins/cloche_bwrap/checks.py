"""What both runtimes need of this machine, each thing tried by itself, with the layer that blocks it and the fix."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import cloche_native as native
from cloche import Check, reachable
from cloche_bwrap import binary

NOBODY = 65534  # whom root tries it as: boxes of root run as unprivileged users too
TIMEOUT = 10.0
OVERLAY_SINCE = (0, 11, 0)  # --tmp-overlay, bubblewrap's release notes
SYSCTLS = (
    ("kernel.unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user.max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"),
    (
        "kernel.apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with userns for {bwrap}",
    ),
)
"""Settings of Debian, of the kernel and of Ubuntu, the value that forbids, and the way out."""
IN_CONTAINER = "in Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
MASKED_PROC = "in Docker: --security-opt systempaths=unconfined (its masked /proc forbids a fresh one)"


def entering() -> list[Check]:
    """Give the row of entering namespaces directly."""
    error = _enter()
    if error:
        return [_blocked("user namespaces", Path(native.init_path()), error)]
    return [Check("user namespaces", "an unprivileged user can make one", ok=True)]


def _enter() -> str:
    """Give ``""`` if the agent can be started in new namespaces, where it ends for want of a host, else the error."""
    user = NOBODY if os.geteuid() == 0 else None
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        program = str(reachable(Path(native.init_path()), user))
        pid, pidfd = native.spawn(
            (program,), env={}, fds=dict.fromkeys(range(3), null), uid=user, gid=user, namespaces=True
        )
    except OSError as error:
        return str(error)
    finally:
        os.close(null)
    os.close(pidfd)
    os.waitpid(pid, 0)
    return ""


def foundations() -> list[Check]:
    """Give bubblewrap's rows, from the program itself up; the first that fails explains the ones that would follow."""
    path, problem = binary.find()
    if path is None:
        return [Check("bubblewrap", problem, ok=False, fix="cloche install bwrap")]
    version = binary.version(path) or ()
    rows = [Check("bubblewrap", f"{path}, version {'.'.join(map(str, version))}", ok=True)]
    if error := _try(path):
        return [*rows, _blocked("user namespaces", path, error)]
    rows.append(Check("user namespaces", "an unprivileged user can make one", ok=True))
    error = _try(path, "--unshare-pid", "--proc", "/proc")
    rows.append(
        Check("own /proc", error or "a fresh one can be mounted", ok=not error, fix=MASKED_PROC if error else "")
    )
    error = _try(path, "--unshare-net")
    rows.append(_blocked("own network", path, error) if error else Check("own network", "one can be made", ok=True))
    if version >= OVERLAY_SINCE:
        error = _try(path, "--overlay-src", "/usr", "--tmp-overlay", "/usr")
        fix = "use a bind or tmpfs workspace, or Linux 5.11 or later with overlayfs" if error else ""
        rows.append(Check("overlay workspace", error or "one can be mounted", ok=not error, fix=fix))
    return rows


def _try(path: Path, *args: str) -> str:
    """Give ``""`` if bubblewrap can run something (itself) with ``args`` in a new user namespace, else its words."""
    as_nobody = os.geteuid() == 0
    user = NOBODY if as_nobody else None
    program = str(reachable(path, user))
    command = (program, "--unshare-user", "--ro-bind", "/", "/", *args, "--", program, "--version")
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=TIMEOUT,
            check=False, cwd="/", user=user, group=user, extra_groups=() if as_nobody else None,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"


def _blocked(name: str, path: Path, error: str) -> Check:
    for setting, forbids, fix in SYSCTLS:
        if _setting(setting) == forbids:
            return Check(name, f"{error} ({setting} is {forbids})", ok=False, fix=fix.format(bwrap=path))
    if "\nSeccomp:\t2\n" in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace"):
        error += " (the cause: this process is under a system-call filter already)"
    return Check(name, error, ok=False, fix=f"{IN_CONTAINER}; else use a kernel built with CONFIG_USER_NS")


def _setting(name: str) -> str | None:
    try:
        return Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").strip()
    except OSError:
        return None  # not a setting of this kernel
