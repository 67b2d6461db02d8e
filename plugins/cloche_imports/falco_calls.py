"""Which acts of cloche the system calls are that Falco's ``evt.type`` names, and what their arguments' words mean."""

from __future__ import annotations

from typing import Final

from cloche import Act

_OPENS: Final = (Act.OPEN, Act.WRITE_OPEN, Act.CREATE)
CALLS: Final[dict[str, tuple[Act, ...]]] = {
    "open": _OPENS, "openat": _OPENS, "openat2": _OPENS, "creat": (Act.CREATE,),
    "mkdir": (Act.MKDIR,), "mkdirat": (Act.MKDIR,), "mknod": (Act.MKNOD,), "mknodat": (Act.MKNOD,),
    "unlink": (Act.UNLINK,), "unlinkat": (Act.UNLINK,), "rmdir": (Act.UNLINK,),
    "rename": (Act.RENAME,), "renameat": (Act.RENAME,), "renameat2": (Act.RENAME,),
    "link": (Act.LINK,), "linkat": (Act.LINK,), "symlink": (Act.SYMLINK,), "symlinkat": (Act.SYMLINK,),
    "chmod": (Act.CHMOD,), "fchmod": (Act.CHMOD,), "fchmodat": (Act.CHMOD,),
    "chown": (Act.CHOWN,), "fchown": (Act.CHOWN,), "lchown": (Act.CHOWN,), "fchownat": (Act.CHOWN,),
    "execve": (Act.EXEC,), "execveat": (Act.EXEC,), "kill": (Act.SIGNAL,), "tkill": (Act.SIGNAL,),
    "tgkill": (Act.SIGNAL,), "ptrace": (Act.PTRACE,), "process_vm_readv": (Act.PTRACE,),
    "process_vm_writev": (Act.PTRACE,),
    "setuid": (Act.SETID,), "setgid": (Act.SETID,), "setresuid": (Act.SETID,), "setresgid": (Act.SETID,),
    "setreuid": (Act.SETID,), "setregid": (Act.SETID,), "capset": (Act.SETID,),
    "memfd_create": (Act.MEMFD,), "mount": (Act.MOUNT,), "umount2": (Act.MOUNT,), "move_mount": (Act.MOUNT,),
    "fsconfig": (Act.MOUNT,), "chroot": (Act.CHROOT,), "pivot_root": (Act.CHROOT,),
    "unshare": (Act.NAMESPACE,), "setns": (Act.NAMESPACE,), "init_module": (Act.MODULE,),
    "finit_module": (Act.MODULE,), "delete_module": (Act.MODULE,),
    "bpf": (Act.KERNEL,), "userfaultfd": (Act.KERNEL,), "io_uring_setup": (Act.KERNEL,),
    "open_by_handle_at": (Act.KERNEL,), "socket": (Act.SOCKET,), "connect": (Act.CONNECT,), "bind": (Act.BIND,),
    "listen": (Act.LISTEN,), "accept": (Act.ACCEPT,), "accept4": (Act.ACCEPT,), "sendto": (Act.SEND,),
}  # fmt: skip
"""``umount`` and the like go by the name of the call that is made today."""
OTHER_NAMES: Final = {"umount": "umount2"}
UNSEEN: Final = frozenset({
    "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg", "dup", "dup2", "dup3", "read", "write", "close", "fork",
    "vfork", "clone", "clone3", "procexit", "switch", "ioctl", "fcntl", "prctl", "setsid", "splice",
})  # fmt: skip
"""Calls that programs make all the time, and that cloche tells nothing of."""
SOCKETS: Final = frozenset({Act.CONNECT, Act.BIND, Act.ACCEPT, Act.SEND})
GRAVE: Final = frozenset({
    Act.PTRACE, Act.MODULE, Act.NAMESPACE, Act.KERNEL, Act.MOUNT, Act.CHROOT, Act.MEMFD, Act.SYSTEM,
})  # fmt: skip
"""Acts that tell by themselves: few programs do them."""

O_FLAGS: Final = {
    "O_WRONLY": 1, "O_RDWR": 2, "O_CREAT": 0o100, "O_EXCL": 0o200, "O_TRUNC": 0o1000, "O_APPEND": 0o2000,
    "O_DIRECTORY": 0o200000, "O_TMPFILE": 0o20000000,
}  # fmt: skip
CLONE_FLAGS: Final = {
    "CLONE_NEWNS": 0x20000, "CLONE_NEWCGROUP": 0x2000000, "CLONE_NEWUTS": 0x4000000, "CLONE_NEWIPC": 0x8000000,
    "CLONE_NEWUSER": 0x10000000, "CLONE_NEWPID": 0x20000000, "CLONE_NEWNET": 0x40000000,
}  # fmt: skip
MODES: Final = {
    "S_ISUID": 0o4000, "S_ISGID": 0o2000, "S_ISVTX": 0o1000, "S_IRUSR": 0o400, "S_IWUSR": 0o200, "S_IXUSR": 0o100,
    "S_IRGRP": 0o40, "S_IWGRP": 0o20, "S_IXGRP": 0o10, "S_IROTH": 4, "S_IWOTH": 2, "S_IXOTH": 1,
}  # fmt: skip
REQUESTS: Final = {
    "PTRACE_TRACEME": 0, "PTRACE_PEEKTEXT": 1, "PTRACE_PEEKDATA": 2, "PTRACE_POKETEXT": 4, "PTRACE_POKEDATA": 5,
    "PTRACE_SETREGS": 13, "PTRACE_ATTACH": 16, "PTRACE_SEIZE": 0x4206,
}  # fmt: skip
FAMILIES: Final = {
    "AF_UNIX": 1,
    "AF_INET": 2,
    "AF_INET6": 10,
    "AF_NETLINK": 16,
    "AF_PACKET": 17,
    "AF_ALG": 38,
    "AF_VSOCK": 40,
}
BPF_COMMANDS: Final = {"BPF_MAP_CREATE": 0, "BPF_PROG_LOAD": 5}
