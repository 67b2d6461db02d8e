"""Which calls messages are of, and where a call's numbers lie."""

# ruff: noqa: E501, ISC004 - one long reading, beside the rule it follows
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

NAMES: Final[Mapping[int, tuple[str, ...]]] = {
    7: ("open", "openat", "creat"), 10: ("connect",), 11: ("execve", "execveat"), 12: ("socket",),
    13: ("chdir", "fchdir"), 15: ("setresuid", "setresgid"), 16: ("prlimit64",), 21: ("chroot",), 23: ("clone",),
    24: ("bind",), 25: ("accept", "accept4"), 36: ("mmap",), 37: ("listen",), 38: ("ptrace",),
}  # fmt: skip
TEXTLESS: Final = frozenset({
    "kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "ptrace", "process_vm_readv",
    "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp", "setuid", "setgid", "setreuid", "setregid", "setresuid",
    "setresgid", "setfsuid", "setfsgid", "setgroups", "capset", "prlimit64", "sched_setscheduler", "sched_setparam",
    "sched_setattr", "sched_setaffinity", "setpriority", "ioprio_set", "memfd_secret", "mmap", "mprotect", "pkey_mprotect",
    "fsconfig", "fsmount", "unshare", "setns", "clone", "init_module", "finit_module", "delete_module", "kexec_load",
    "kexec_file_load", "bpf", "perf_event_open", "add_key", "request_key", "keyctl", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "userfaultfd", "name_to_handle_at", "open_by_handle_at", "fanotify_init", "fanotify_mark", "iopl",
    "ioperm", "modify_ldt", "personality", "seccomp", "prctl", "ioctl", "lsm_set_self_attr", "settimeofday",
    "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "reboot", "swapon", "swapoff",
    "quotactl", "quotactl_fd", "acct", "syslog", "vhangup", "socket", "listen", "accept", "accept4",
    "fchmod", "fchown", "ftruncate", "fchdir",
})  # fmt: skip


LAYOUTS: Final[Mapping[str, tuple[str, str]]] = {
    name: (layout, wide)
    for layout, wide, names in (
        ("-0", "", "process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp"),
        ("0", "", "setuid setgid setfsuid setfsgid setgroups memfd_secret unshare clone personality"),
        (
            "01", "",
            "kill tkill rt_sigqueueinfo pidfd_send_signal ptrace setreuid setregid prlimit64 "
            "sched_setscheduler sched_setparam sched_setattr sched_setaffinity",
        ),
        (
            "012", "",
            "setresuid setresgid setpriority ioprio_set io_uring_enter userfaultfd fanotify_init iopl reboot "
            "quotactl_fd vhangup socket",
        ),
        ("012", "0", "perf_event_open adjtimex sethostname setdomainname swapon swapoff acct"),
        ("012", "01", "mmap mprotect pkey_mprotect ioperm settimeofday"),
        ("012", "012", "add_key request_key"),
        (
            "012", "1",
            "bpf io_uring_setup open_by_handle_at lsm_set_self_attr clock_settime clock_adjtime quotactl "
            "syslog",
        ),
        ("012", "12", "keyctl name_to_handle_at modify_ldt prctl"),
        ("012", "2", "io_uring_register fanotify_mark seccomp ioctl"),
        ("02", "", "tgkill rt_tgsigqueueinfo"),
        ("1", "", "mkdir chmod fchmod access memfd_create umount2 fsopen fsconfig fsmount setns"),
        ("1", "1", "truncate ftruncate"),
        ("12", "", "open mknod chown lchown fchown"),
        (
            "2", "",
            "mkdirat unlinkat fchmodat fchmodat2 statx faccessat open_tree open_tree_attr fspick "
            "mount_setattr",
        ),
        ("23", "", "openat mknodat fchownat faccessat2"),
        ("3", "", "newfstatat mount"),
        ("4", "", "renameat2 linkat setxattr lsetxattr fsetxattr execveat move_mount"),
    )
    for name in names.split()
}  # fmt: skip
"""Which registers, from 0, are an event's arguments, and which of them are long."""


def laid_out_arguments(name: str, registers: list[int]) -> tuple[tuple[int, ...], list[int]]:
    """Give what of the registers an event's arguments are, and which of those there are."""
    if name == "creat":
        return (os.O_CREAT | os.O_WRONLY | os.O_TRUNC, registers[1] & 0xFFFFFFFF), [0, 1]
    if name == "rmdir":
        return (0x200,), [0]
    layout, wide = LAYOUTS.get(name, ("", ""))
    args = tuple(
        registers[int(at)] if at in wide else registers[int(at)] & 0xFFFFFFFF if at != "-" else 0 for at in layout
    )
    return args, [n for n, at in enumerate(layout) if at != "-"]
