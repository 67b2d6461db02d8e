"""Which act a system call is, stated a second time in plain Python, from what the calls do and not from the C table."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

Arguments = tuple[int, ...]

_CDEF = Path(__file__).parents[2] / "native/src/cdef.h"
ACTS = {
    name.lower(): int(number)
    for name, number in re.findall(r"\bCLO_ACT_(\w+) = (\d+)", _CDEF.read_text(encoding="utf-8"))
}

_ALWAYS = {
    "create": "creat",
    "mkdir": "mkdir mkdirat",
    "mknod": "mknod mknodat",
    "unlink": "unlink unlinkat rmdir",
    "rename": "rename renameat renameat2",
    "link": "link linkat",
    "symlink": "symlink symlinkat",
    "chmod": "chmod fchmod fchmodat fchmodat2",
    "chown": "chown fchown lchown fchownat",
    "utime": "utime utimes futimesat utimensat",
    "truncate": "truncate ftruncate",
    "xattr": "setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat",
    "stat": "stat lstat newfstatat statx",
    "access": "access faccessat faccessat2",
    "readlink": "readlink readlinkat",
    "chdir": "chdir fchdir",
    "exec": "execve execveat",
    "signal": "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal",
    "ptrace": "ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd",
    "setid": "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset",
    "limit": "sched_setaffinity sched_setscheduler sched_setparam sched_setattr setpriority ioprio_set",
    "memfd": "memfd_create memfd_secret",
    "mount": "mount umount2 open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick mount_setattr",
    "chroot": "chroot pivot_root",
    "namespace": "setns",
    "module": "init_module finit_module delete_module kexec_load kexec_file_load",
    "kernel": """bpf perf_event_open add_key request_key keyctl userfaultfd io_uring_setup io_uring_enter
        io_uring_register name_to_handle_at open_by_handle_at fanotify_init fanotify_mark iopl ioperm modify_ldt
        lsm_set_self_attr""",
    "system": """settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname reboot swapon swapoff
        quotactl quotactl_fd acct syslog vhangup""",
    "socket": "socket",
    "connect": "connect",
    "bind": "bind",
    "listen": "listen",
    "accept": "accept accept4",
}
_LOW = 0xFFFFFFFF
_NEW_NAMESPACES = 0x7E020000
_CLONE_NEWTIME = 0x80


def _opened(flags: int) -> str:
    if flags & 0o10000000:  # O_PATH
        return "open"
    if flags & (0o100 | 0x400000):  # O_CREAT, O_TMPFILE without O_DIRECTORY
        return "create"
    return "write_open" if flags & 3 or flags & 0o1000 else "open"  # O_ACCMODE, O_TRUNC


def _when(act: str, holds: Callable[[Arguments], bool]) -> Callable[[Arguments], set[str]]:
    return lambda args: {act} if holds(args) else set()


def _protects(args: Arguments) -> bool:
    return args[2] & 6 == 6  # PROT_WRITE, PROT_EXEC


BY_ARGUMENTS: dict[str, Callable[[Arguments], set[str]]] = {
    "open": lambda args: {_opened(args[1] & _LOW)},
    "openat": lambda args: {_opened(args[2] & _LOW)},
    "openat2": lambda _: {"open", "write_open", "create"},
    "prlimit64": _when("limit", lambda args: args[0] & _LOW != 0),
    "mmap": _when("protect", _protects),
    "mprotect": _when("protect", _protects),
    "pkey_mprotect": _when("protect", _protects),
    "clone": _when("namespace", lambda args: args[0] & _NEW_NAMESPACES != 0),
    "unshare": _when("namespace", lambda args: args[0] & (_NEW_NAMESPACES | _CLONE_NEWTIME) != 0),
    "personality": _when("kernel", lambda args: args[0] & _LOW not in (0, _LOW)),
    "seccomp": _when("kernel", lambda args: args[0] & _LOW in (0, 1)),
    "prctl": _when("kernel", lambda args: args[0] & _LOW == 22),
    "ioctl": _when("kernel", lambda args: args[1] & _LOW in (0x5412, 0x541C, 0x541D, 0x5423)),
    "sendto": _when("send", lambda args: args[4] != 0),
}
_PLAIN = {name: act for act, names in _ALWAYS.items() for name in names.split()}
WATCHED = frozenset(_PLAIN) | frozenset(BY_ARGUMENTS)
LOOKS = frozenset({"open", "stat", "access", "readlink", "chdir"})
"""Acts that change nothing; at depth "writes" they are left to the kernel."""


def acts_of(name: str | None, args: Arguments) -> set[str]:
    """Give the names of the acts that a call may be."""
    if name in _PLAIN:
        return {_PLAIN[name]}
    return BY_ARGUMENTS[name](args) if name in BY_ARGUMENTS else set()


def bits(names: set[str] | frozenset[str]) -> int:
    """Give acts as the C code counts them."""
    return sum(1 << ACTS[name] for name in names)


def seen(depth: str) -> set[str]:
    """Give the acts that can be told of at a depth."""
    if depth == "off":
        return set()
    all_of_them = {"open", "write_open", *_ALWAYS, "protect", "send"}
    return all_of_them - LOOKS if depth == "writes" else all_of_them
