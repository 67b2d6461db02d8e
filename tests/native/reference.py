"""What the C code must equal, stated a second time in plain Python.

``judge`` is the policy of the static filters, written as sets of names and argument rules, from the design and not
from the C tables. ``run_filter`` is a classic BPF machine as seccomp uses it (Documentation/networking/filter.rst,
linux/filter.h, linux/seccomp.h).
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass, field

import cloche_native as native

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
LEVELS = ("standard", "enhanced", "maximum")
KILL, ALLOW, ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
NR_OFFSET, ARCH_OFFSET, ARGS_OFFSET = 0, 4, 16


def fail(number: int) -> int:
    """Give the filter's answer that makes a call fail with this errno."""
    return ERRNO | number


ABSENT = fail(errno.ENOSYS)
REFUSED = fail(errno.EPERM)
NO_FAMILY = fail(errno.EAFNOSUPPORT)

UNHEARD = frozenset(
    """clone3 io_uring_setup io_uring_enter io_uring_register listns lookup_dcookie _sysctl afs_syscall create_module
    epoll_ctl_old epoll_wait_old get_kernel_syms getpmsg nfsservctl putpmsg query_module security sysfs tuxcall
    uselib ustat vserver""".split()
)
DENIED = frozenset(
    """userfaultfd bpf perf_event_open add_key keyctl request_key kexec_load kexec_file_load init_module finit_module
    delete_module ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp name_to_handle_at
    open_by_handle_at fanotify_init fanotify_mark mount umount2 pivot_root open_tree open_tree_attr move_mount
    fsopen fsconfig fsmount fspick mount_setattr chroot setns swapon swapoff reboot acct quotactl quotactl_fd
    iopl ioperm uprobe lsm_set_self_attr settimeofday clock_settime clock_adjtime adjtimex sethostname
    setdomainname syslog vhangup""".split()
)
ONLY_STANDARD = frozenset(
    """mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages memfd_secret vmsplice process_mrelease
    modify_ldt""".split()
)
NOT_MAXIMUM = ONLY_STANDARD | frozenset(
    """file_setattr sync syncfs sync_file_range splice tee inotify_init inotify_init1 inotify_add_watch
    inotify_rm_watch cachestat statmount listmount io_setup io_destroy io_submit io_cancel io_getevents
    io_pgetevents mlock mlock2 munlock mlockall munlockall remap_file_pages shmget shmat shmctl shmdt
    get_mempolicy sched_setscheduler sched_setparam sched_setattr ioprio_get ioprio_set get_robust_list unshare
    seccomp set_thread_area get_thread_area capset lsm_get_self_attr lsm_list_modules setuid setgid setreuid
    setregid setresuid setresgid setfsuid setfsgid setgroups semget semop semctl semtimedop msgget msgsnd msgrcv
    msgctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr""".split()
)

NEW_NAMESPACES = 0x7E020000
CLONE_NEWTIME = 0x80
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_SEQPACKET = 1, 5


@dataclass(frozen=True, slots=True)
class Request:
    """What a filter is asked for."""

    profile: str
    sockets: str = "all"
    deny: frozenset[str] = frozenset()
    protect_pid: int | None = None
    no_set_id: bool = False
    machine: str = "x86_64"

    def program(self) -> bytes:
        """Give the filter as the C code assembles it."""
        return native.seccomp_program(
            self.profile,
            sockets=self.sockets,  # type: ignore[arg-type]  # the tests also ask for unknown ones
            deny=self.deny,
            protect_pid=self.protect_pid,
            no_set_id=self.no_set_id,
            machine=self.machine,
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One system call as a filter sees it."""

    arch: int
    number: int
    args: tuple[int, ...] = (0, 0, 0, 0, 0, 0)

    def data(self) -> bytes:
        """Give struct seccomp_data."""
        return struct.pack("<IIQ6Q", self.number & 0xFFFFFFFF, self.arch, 0, *self.args)


def names_by_number(machine: str) -> dict[int, str]:
    """Give every number this machine has, with its name."""
    found: dict[int, str] = {}
    for name in native.syscall_names():
        number = native.syscall_number(name, machine=machine)
        if number is not None:
            found[number] = name
    return found


def judge(request: Request, call: Call, names: dict[int, str]) -> int:  # noqa: PLR0911 - one answer a rule
    """Give what the filter must answer."""
    if call.arch != AUDIT_ARCH[request.machine]:
        return KILL
    number = call.number & 0xFFFFFFFF
    if request.machine == "x86_64" and number >= 0x40000000:
        return ABSENT if number == 0xFFFFFFFF else KILL
    name = names.get(number)
    if name is None or name in UNHEARD:
        return ABSENT
    if name in DENIED or name in request.deny:
        return REFUSED
    if request.profile != "standard" and name in ONLY_STANDARD:
        return REFUSED
    if request.profile == "maximum" and name in NOT_MAXIMUM:
        return REFUSED
    args = tuple(arg & 0xFFFFFFFF for arg in call.args)
    return _by_arguments(request, name, args)


def _by_arguments(request: Request, name: str, args: tuple[int, ...]) -> int:  # noqa: PLR0911, C901, PLR0912 - the same
    strict = request.profile in ("enhanced", "maximum")
    if request.protect_pid is not None and (answer := _shielded(request.protect_pid, name, args)) is not None:
        return answer
    if request.no_set_id and (answer := _without_set_id(name, args)) is not None:
        return answer
    match name:
        case "clone" if args[0] & NEW_NAMESPACES:
            return REFUSED
        case "unshare" if args[0] & (NEW_NAMESPACES | CLONE_NEWTIME):
            return REFUSED
        case "ioctl" if args[1] in (0x5412, 0x541C):  # TIOCSTI, TIOCLINUX
            return REFUSED
        case "ioctl" if strict and args[1] in (0x5423, 0x541D):  # TIOCSETD, TIOCCONS
            return REFUSED
        case "personality" if args[0] not in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF):
            return REFUSED
        case "socket":
            return _socket(request.sockets, args)
        case "socketpair" if args[0] != AF_UNIX:
            return NO_FAMILY
        case "socketpair" if request.sockets in ("none", "inet") and args[1] & 15 not in (SOCK_STREAM, SOCK_SEQPACKET):
            return REFUSED
        case "connect" | "bind" | "listen" | "accept" | "accept4" if request.sockets == "none":
            return REFUSED
        case "memfd_create" if strict and not args[1] & 8:  # MFD_NOEXEC_SEAL
            return ABSENT
        case "execveat" if strict and args[4] & 0x1000:  # AT_EMPTY_PATH
            return REFUSED
        case "seccomp" if strict and args[0] == 1 and args[1] & 8:  # SET_MODE_FILTER, NEW_LISTENER
            return REFUSED
        case "prctl" if request.profile == "maximum" and args[0] == 22:
            return REFUSED
    return ALLOW


def _socket(sockets: str, args: tuple[int, ...]) -> int:
    if sockets == "none":
        return REFUSED
    if sockets == "unix":
        return ALLOW if args[0] == AF_UNIX else REFUSED
    if sockets == "inet" and args[0] == AF_UNIX:
        return REFUSED
    if args[0] in (AF_UNIX, AF_INET, AF_INET6):
        return ALLOW
    return ALLOW if args[0] == AF_NETLINK and args[2] == 0 else NO_FAMILY


def _without_set_id(name: str, args: tuple[int, ...]) -> int | None:
    match name:
        case "openat2":
            return ABSENT
        case "chmod" | "fchmod" | "mknod" | "creat":
            mode = args[1]
        case "fchmodat" | "fchmodat2" | "mknodat":
            mode = args[2]
        case "open" if args[1] & (0x40 | 0x400000):  # O_CREAT, O_TMPFILE without O_DIRECTORY
            mode = args[2]
        case "openat" if args[2] & (0x40 | 0x400000):
            mode = args[3]
        case _:
            return None
    return REFUSED if mode & 0o6000 else None


def _shielded(pid: int, name: str, args: tuple[int, ...]) -> int | None:  # noqa: C901, PLR0911 - one answer a rule
    minus_pid = -pid & 0xFFFFFFFF
    match name:
        case "kill" if args[0] in (pid, minus_pid, 0xFFFFFFFF):
            return REFUSED
        case "tkill" | "rt_sigqueueinfo" | "pidfd_open" if args[0] == pid:
            return REFUSED
        case "prlimit64" if args[0] != 0:
            return REFUSED
        case "sched_setaffinity" | "sched_setscheduler" | "sched_setparam" | "sched_setattr" if args[0] == pid:
            return REFUSED
        case "tgkill" | "rt_tgsigqueueinfo" if pid in args[:2]:
            return REFUSED
        case "pidfd_send_signal":
            return ABSENT
        case "fcntl" if args[1] == 15 or (args[1] == 8 and args[2] in (pid, minus_pid)):
            return REFUSED
        case "ioctl" if args[1] in (0x8901, 0x8902):  # FIOSETOWN, SIOCSPGRP
            return REFUSED
        case "setpriority" if args[0] == 2 or args[1] == pid:
            return REFUSED
        case "ioprio_set" if args[0] == 3 or args[1] == pid:
            return REFUSED
    return None


@dataclass(slots=True)
class Trace:
    """How a filter came to its answer."""

    answer: int
    steps: int
    loads: set[int] = field(default_factory=set)


def run_filter(program: bytes, data: bytes) -> Trace:
    """Run a classic BPF program on struct seccomp_data as the kernel would; AssertionError where it would refuse it."""
    code = list(struct.iter_unpack("<HBBI", program))
    trace = Trace(answer=-1, steps=0)
    accumulator = at = 0
    while True:
        assert at < len(code), "runs off the end"
        operation, jump_true, jump_false, k = code[at]
        trace.steps += 1
        at += 1
        match operation:
            case 0x20:  # BPF_LD | BPF_W | BPF_ABS
                assert k % 4 == 0
                assert k <= len(data) - 4
                trace.loads.add(k)
                (accumulator,) = struct.unpack_from("<I", data, k)
            case 0x54:  # BPF_ALU | BPF_AND | BPF_K
                accumulator &= k
            case 0x05:  # BPF_JMP | BPF_JA
                at += k
            case 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
                at += jump_true if accumulator == k else jump_false
            case 0x35:  # BPF_JMP | BPF_JGE | BPF_K
                at += jump_true if accumulator >= k else jump_false
            case 0x45:  # BPF_JMP | BPF_JSET | BPF_K
                at += jump_true if accumulator & k else jump_false
            case 0x06:  # BPF_RET | BPF_K
                trace.answer = k
                return trace
            case _:
                raise AssertionError(f"unknown operation {operation:#x}")


def assert_allowed_by_number(program: bytes, name: str, machine: str) -> None:
    """Check that a call is allowed and only its number looked at: then the kernel keeps the answer in a bitmap."""
    number = native.syscall_number(name, machine=machine)
    if number is None:
        return
    trace = run_filter(program, Call(AUDIT_ARCH[machine], number).data())
    assert trace.answer == ALLOW, name
    assert trace.loads == {NR_OFFSET, ARCH_OFFSET}, f"{name} can't be kept in the kernel's bitmap"
