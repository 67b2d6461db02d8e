"""The filters put to work: what the kernel then refuses, each beside what it still allows."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import socket
import stat
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cloche_native as native
from tests.native import reference as ref

if TYPE_CHECKING:
    from collections.abc import Callable

UID = 231_010
AT_EMPTY_PATH = 0x1000
MAKERS = ("mknod", "mknodat", "creat", "open", "openat", "openat2")

pytestmark = pytest.mark.usefixtures("no_leaks")


def number(name: str) -> int:
    found = native.syscall_number(name)
    assert found is not None
    return found


@pytest.fixture(params=ref.LEVELS)
def program(request: pytest.FixtureRequest) -> bytes:
    return native.seccomp_program(request.param)


def test_every_refused_call_fails_as_the_reference_says(
    under: Callable[..., dict[str, int]], raw: Callable[..., int], program: bytes
) -> None:
    # From Linux 6.16 on no filter is asked about uprobe(2), which does nothing outside a probed instruction.
    names = sorted((ref.DENIED | ref.UNHEARD) - {"uprobe"})
    numbers = {name: n for name in names if (n := native.syscall_number(name)) is not None}
    answers = under(program, lambda: {name: raw(n, -1, -1, -1, -1, -1, -1) for name, n in numbers.items()})
    assert {name: answers[name] for name in numbers} == {
        name: -(errno.ENOSYS if name in ref.UNHEARD else errno.EPERM) for name in numbers
    }


def test_a_call_that_no_kernel_has_yet_is_absent(
    under: Callable[..., list[int]], raw: Callable[..., int], program: bytes
) -> None:
    assert under(program, lambda: [raw(n) for n in (490, 511, 600, 100_000)]) == [-errno.ENOSYS] * 4


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 exists on x86-64 only")
def test_the_x32_door_kills(under: Callable[..., int], raw: Callable[..., int], program: bytes) -> None:
    with pytest.raises(ChildProcessError, match=f"ended with -{signal.SIGSYS}"):
        under(program, lambda: raw(0x40000000 | number("getpid")))
    assert under(program, lambda: raw(-1)) == -errno.ENOSYS


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="int 0x80 exists on x86-64 only")
def test_the_32_bit_door_kills(under: Callable[..., int], program: bytes) -> None:
    # mov eax, 20 (getpid of i386); int 0x80; ret
    code = bytes.fromhex("b814000000cd80c3")
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    page = library.mmap(None, 4096, 7, 0x22, -1, 0)
    ctypes.memmove(page, code, len(code))
    door = ctypes.CFUNCTYPE(ctypes.c_int)(page)
    assert door() == os.getpid()  # without a filter it is open
    with pytest.raises(ChildProcessError, match=f"ended with -{signal.SIGSYS}"):
        under(program, door)
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.munmap(page, 4096)


@pytest.mark.parametrize("flag", [0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x04000000, 0x02000000, 0x08000000])
def test_no_new_namespace(under: Callable[..., list[int]], raw: Callable[..., int], program: bytes, flag: int) -> None:
    calls = [(number("clone"), flag | signal.SIGCHLD, 0, 0, 0, 0), (number("unshare"), flag)]
    assert under(program, lambda: [raw(*call) for call in calls]) == [-errno.EPERM] * 2


def test_plain_fork_and_threads_still_work(under: Callable[..., int], program: bytes) -> None:
    def work() -> int:
        child = os.fork()
        if child == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert under(program, work) == 7


def test_typing_into_the_terminal_is_refused_also_with_high_bits_set(
    under: Callable[..., Any], raw: Callable[..., int], program: bytes
) -> None:
    ours, theirs = os.openpty()
    letter = ctypes.create_string_buffer(b"x")
    try:
        commands = (0x5412, 0x5412 | 1 << 32, 0x541C)
        answers = under(program, lambda: [raw(number("ioctl"), theirs, c, ctypes.addressof(letter)) for c in commands])
        size = ctypes.create_string_buffer(8)
        allowed = under(program, lambda: raw(number("ioctl"), theirs, 0x5413, ctypes.addressof(size)))  # TIOCGWINSZ
    finally:
        os.close(ours)
        os.close(theirs)
    assert answers == [-errno.EPERM] * 3
    assert allowed == 0


def test_address_randomisation_can_not_be_turned_off(
    under: Callable[..., list[int]], raw: Callable[..., int], program: bytes
) -> None:
    answers = under(program, lambda: [raw(number("personality"), value) for value in (0x40000, 0xFFFFFFFF, 0)])
    assert answers[0] == -errno.EPERM
    assert min(answers[1:]) >= 0


def try_sockets() -> dict[str, int]:
    found = {}
    for name, family, kind, protocol in (
        ("unix", socket.AF_UNIX, socket.SOCK_STREAM, 0),
        ("inet", socket.AF_INET, socket.SOCK_STREAM, 0),
        ("inet6", socket.AF_INET6, socket.SOCK_DGRAM, 0),
        ("route", socket.AF_NETLINK, socket.SOCK_RAW, 0),
        ("audit", socket.AF_NETLINK, socket.SOCK_RAW, 9),
        ("packet", socket.AF_PACKET, socket.SOCK_RAW, 0),
        ("vsock", socket.AF_VSOCK, socket.SOCK_STREAM, 0),
        ("alg", socket.AF_ALG, socket.SOCK_SEQPACKET, 0),
    ):
        try:
            socket.socket(family, kind, protocol).close()
            found[name] = 0
        except OSError as error:
            found[name] = error.errno or -1
    for name, kind in (("pair", socket.SOCK_STREAM), ("datagram pair", socket.SOCK_DGRAM)):
        try:
            for end in socket.socketpair(socket.AF_UNIX, kind):
                end.close()
            found[name] = 0
        except OSError as error:
            found[name] = error.errno or -1
    return found


@pytest.mark.parametrize("profile", ref.LEVELS)
@pytest.mark.parametrize(
    ("sockets", "unix", "internet", "other", "datagram"),
    [
        ("all", 0, 0, errno.EAFNOSUPPORT, 0),
        ("unix", 0, errno.EPERM, errno.EPERM, 0),
        ("none", errno.EPERM, errno.EPERM, errno.EPERM, errno.EPERM),
        ("inet", errno.EPERM, 0, errno.EAFNOSUPPORT, errno.EPERM),
    ],
)
def test_socket_families(
    under: Callable[..., dict[str, int]],
    profile: str,
    sockets: native.Sockets,
    unix: int,
    internet: int,
    other: int,
    datagram: int,
) -> None:
    found = under(native.seccomp_program(profile, sockets=sockets), try_sockets)
    assert found == {
        "unix": unix, "inet": internet, "inet6": internet, "route": internet,
        "audit": other, "packet": other, "vsock": other, "alg": other, "pair": 0, "datagram pair": datagram,
    }  # fmt: skip


@pytest.mark.parametrize(("profile", "works"), [("standard", True), ("enhanced", False), ("maximum", False)])
def test_a_program_that_never_was_a_file(
    under: Callable[..., int], raw: Callable[..., int], profile: str, *, works: bool
) -> None:
    def run() -> int:
        fd = os.memfd_create("program")
        os.write(fd, Path("/bin/true").read_bytes())
        child = os.fork()
        if child == 0:
            empty = ctypes.create_string_buffer(b"")
            argv = (ctypes.c_char_p * 2)(b"true", None)
            raw(number("execveat"), fd, ctypes.addressof(empty), ctypes.addressof(argv), 0, AT_EMPTY_PATH)
            os._exit(9)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    if works:
        assert under(native.seccomp_program(profile), run) == 0
    else:
        with pytest.raises(OSError, match="not implemented"):
            under(native.seccomp_program(profile), run)


@pytest.mark.parametrize("profile", ["enhanced", "maximum"])
def test_no_descriptor_is_executed_by_itself_but_by_path_it_is(
    under: Callable[..., int], raw: Callable[..., int], profile: str
) -> None:
    def run(path: bytes, flags: int) -> int:
        fd = os.open("/bin/true", os.O_RDONLY)
        where = ctypes.create_string_buffer(path)
        child = os.fork()
        if child == 0:
            argv = (ctypes.c_char_p * 2)(b"true", None)
            result = raw(number("execveat"), fd, ctypes.addressof(where), ctypes.addressof(argv), 0, flags)
            os._exit(-result)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert under(native.seccomp_program(profile), lambda: run(b"", AT_EMPTY_PATH)) == errno.EPERM
    assert under(native.seccomp_program(profile), lambda: run(b"/bin/true", 0)) == 0


def test_a_name_denied_besides_is_refused(under: Callable[..., int], raw: Callable[..., int], program: bytes) -> None:
    assert under(program, lambda: raw(number("getcwd"), 0, 0)) == -errno.ERANGE
    profile = native.seccomp_program("standard", deny=["getcwd", "io_uring_setup"])
    assert under(profile, lambda: raw(number("getcwd"), 0, 0)) == -errno.EPERM
    assert under(profile, lambda: raw(number("io_uring_setup"), 0, 0)) == -errno.ENOSYS


def attacks(pid: int, raw: Callable[..., int]) -> dict[str, int]:
    """Give the errno of every road to a signal, a limit or another scheduling of ``pid``; 0: it went through."""
    limit = ctypes.create_string_buffer(16)
    owner = ctypes.c_int(pid)
    owner_ex = (ctypes.c_int * 2)(1, pid)  # F_OWNER_PID
    siginfo = ctypes.create_string_buffer(128)
    mask = ctypes.c_ulong(0xFF)
    ours, theirs = socket.socketpair()
    calls = {
        "kill": (pid, 0),
        "tkill": (pid, 0),
        "tgkill": (pid, pid, 0),
        "rt_sigqueueinfo": (pid, 0, ctypes.addressof(siginfo)),
        "rt_tgsigqueueinfo": (pid, pid, 0, ctypes.addressof(siginfo)),
        "pidfd_open": (pid, 0),
        "prlimit64": (pid, 7, 0, ctypes.addressof(limit)),
        "sched_setaffinity": (pid, 8, ctypes.addressof(mask)),
        "setpriority": (0, pid, 19),
        "ioprio_set": (1, pid, 3 << 13),
    }
    found = {name: -raw(number(name), *arguments) for name, arguments in calls.items()}
    found["kill group"] = -raw(number("kill"), -pid, 0)
    found["setpriority user"] = -raw(number("setpriority"), 2, 0, 19)
    found["pidfd_send_signal"] = -raw(number("pidfd_send_signal"), os.open(f"/proc/{pid}", os.O_RDONLY), 0, 0, 0)
    found["F_SETOWN"] = -raw(number("fcntl"), ours.fileno(), fcntl.F_SETOWN, pid)
    found["F_SETOWN_EX"] = -raw(number("fcntl"), ours.fileno(), 15, ctypes.addressof(owner_ex))
    found["FIOSETOWN"] = -raw(number("ioctl"), ours.fileno(), 0x8901, ctypes.addressof(owner))
    found["SIOCSPGRP"] = -raw(number("ioctl"), theirs.fileno(), 0x8902, ctypes.addressof(owner))
    return found


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("profile", ["standard", "enhanced"])
def test_the_protected_process_is_out_of_reach_and_others_are_not(
    under: Callable[..., dict[str, int]], raw: Callable[..., int], null: int, profile: str
) -> None:
    pid, pidfd = native.spawn(["/bin/sleep", "60"], env={}, fds={0: null, 1: null, 2: null}, uid=UID, gid=UID)
    try:
        open_door = under(native.seccomp_program(profile), lambda: attacks(pid, raw), uid=UID)
        shielded = native.seccomp_program(profile, protect_pid=pid)
        shut_door = under(shielded, lambda: attacks(pid, raw), uid=UID)
        own = under(shielded, lambda: attacks(os.getpid(), raw), uid=UID)
    finally:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        os.waitpid(pid, 0)
    queued = {"rt_sigqueueinfo", "rt_tgsigqueueinfo"}  # the kernel refuses a siginfo that claims to be from kill(2)
    assert {name for name, answer in open_door.items() if answer <= 0} | queued == set(open_door)
    assert {name: answer for name, answer in shut_door.items() if answer != errno.EPERM} == {
        "pidfd_send_signal": errno.ENOSYS
    }
    assert own["prlimit64"] == errno.EPERM  # a filter can't tell one's own number from another's: 0 is oneself
    assert {"kill", "sched_setaffinity", "F_SETOWN", "setpriority"} <= {n for n, a in own.items() if a <= 0}


@pytest.mark.usefixtures("root")
def test_killing_everybody_spares_the_protected_process(
    under: Callable[..., int], raw: Callable[..., int], null: int
) -> None:
    pid, pidfd = native.spawn(["/bin/sleep", "60"], env={}, fds={0: null, 1: null, 2: null}, uid=UID, gid=UID)
    try:
        program = native.seccomp_program("standard", protect_pid=pid)
        assert under(program, lambda: raw(number("kill"), -1, signal.SIGKILL), uid=UID) == -errno.EPERM
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    finally:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
        os.waitpid(pid, 0)


def test_no_file_gets_a_set_id_bit_where_that_is_asked_for(
    under: Callable[..., dict[str, int]], raw: Callable[..., int], tmp_path: Path
) -> None:
    def marks() -> dict[str, int]:
        """Give how each way of making a file with such a bit ended: its mode, or a negative errno."""
        (tmp_path / "file").unlink(missing_ok=True)
        (tmp_path / "file").touch(0o755)
        fd = os.open(tmp_path / "file", os.O_RDONLY)
        how = ctypes.create_string_buffer(struct.pack("QQQ", os.O_CREAT | os.O_WRONLY, 0o4755, 0))
        path = {name: ctypes.create_string_buffer(os.fsencode(tmp_path / name)) for name in ("file", *MAKERS)}
        at = {name: ctypes.addressof(buffer) for name, buffer in path.items()}
        calls = {
            "chmod": (at["file"], 0o4755),
            "fchmod": (fd, 0o2755),
            "fchmodat": (-100, at["file"], 0o6755),
            "mknod": (at["mknod"], stat.S_IFREG | 0o4755, 0),
            "mknodat": (-100, at["mknodat"], stat.S_IFREG | 0o4755, 0),
            "creat": (at["creat"], 0o4755),
            "open": (at["open"], os.O_CREAT | os.O_WRONLY, 0o4755),
            "openat": (-100, at["openat"], os.O_CREAT | os.O_WRONLY, 0o4755),
            "openat2": (-100, at["openat2"], ctypes.addressof(how), 24),
        }
        found = {}
        for name, arguments in calls.items():
            answer = raw(number(name), *arguments)
            there = tmp_path / (name if name in MAKERS else "file")
            found[name] = there.stat().st_mode & 0o6000 if answer >= 0 else answer
            (tmp_path / name).unlink(missing_ok=True)
            (tmp_path / "file").chmod(0o755)
        found["without"] = raw(number("chmod"), at["file"], 0o700)
        return found

    open_door = under(native.seccomp_program("maximum"), marks)
    assert {name for name, mode in open_door.items() if mode > 0} == {*open_door, "chmod"} - {"without"}
    shut_door = under(native.seccomp_program("maximum", no_set_id=True), marks)
    assert shut_door == {**dict.fromkeys(open_door, -errno.EPERM), "openat2": -errno.ENOSYS, "without": 0}


def test_a_guest_can_not_take_the_listener_at_enhanced(under: Callable[..., int], raw: Callable[..., int]) -> None:
    answer = under(native.seccomp_program("enhanced"), lambda: raw(number("seccomp"), 1, 8, 0))
    assert answer == -errno.EPERM
    assert under(native.seccomp_program("standard"), lambda: raw(number("seccomp"), 1, 8, 0)) == -errno.EFAULT


def test_landlock_may_still_narrow(under: Callable[..., int], raw: Callable[..., int], program: bytes) -> None:
    if native.landlock_abi() == 0:
        pytest.skip(f"no Landlock here: {native.landlock_reason()}")
    assert under(program, lambda: raw(number("landlock_create_ruleset"), 0, 0, 1)) == native.landlock_abi()


def test_a_hot_call_costs_no_more_under_a_filter(under: Callable[..., float], program: bytes) -> None:
    def measure() -> float:
        best = float("inf")
        for _ in range(20):
            started = time.perf_counter()
            for _ in range(2000):
                os.getppid()
            best = min(best, time.perf_counter() - started)
        return best

    free = measure()
    # Measured equal within 15 %; twice leaves room for a busy machine.
    assert under(program, measure) < 2 * free
