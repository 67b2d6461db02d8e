from __future__ import annotations

import os
import re
import subprocess
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cloche_native as native
from tests.native import reference as ref

MACHINES = ("x86_64", "aarch64")
SOCKETS = ("all", "unix", "none", "inet")
PLAIN_AND_HOT = """read write open openat close getppid getpid lseek pread64 pwrite64 stat fstat lstat newfstatat statx
access faccessat readlink getdents64 mmap munmap mprotect brk futex epoll_wait epoll_pwait poll
ppoll recvfrom sendto recvmsg sendmsg wait4 execve exit_group clock_gettime nanosleep rt_sigaction
rt_sigprocmask getrandom pipe2 dup3 unlink unlinkat mkdir rename vfork fork""".split()


@cache
def names_of(machine: str) -> dict[int, str]:
    return ref.names_by_number(machine)


@cache
def program_of(request: ref.Request) -> bytes:
    return request.program()


@st.composite
def requests(draw: st.DrawFn) -> ref.Request:
    return ref.Request(
        profile=draw(st.sampled_from(ref.LEVELS)),
        sockets=draw(st.sampled_from(SOCKETS)),
        deny=draw(st.frozensets(st.sampled_from(native.syscall_names()), max_size=6)),
        protect_pid=draw(st.none() | st.integers(1, 2**31 - 1)),
        no_set_id=draw(st.booleans()),
        machine=draw(st.sampled_from(MACHINES)),
    )


@st.composite
def calls(draw: st.DrawFn, request: ref.Request) -> ref.Call:
    interesting = [0, 1, 2, 5, 8, 10, 15, 16, 22, 0x1000, 0x5412, 0x541C, 0x5423, 0x8901, 0x20008, 0x40000, 0x10000000]
    interesting += [0x40, 0x41, 0x410000, 0o755, 0o4755, 0o2755, 0o102755]
    interesting += [0xFFFFFFFF, 0xFFFFFFFF_00000002, (1 << 32) | 0x5412]
    if request.protect_pid:
        interesting += [request.protect_pid, -request.protect_pid & (2**64 - 1), -request.protect_pid & 0xFFFFFFFF]
    arguments = st.sampled_from(interesting) | st.integers(0, 2**64 - 1)
    known = sorted(names_of(request.machine))
    return ref.Call(
        arch=draw(st.sampled_from([ref.AUDIT_ARCH[request.machine]] * 8 + [0x40000003, 0xC000003E, 0, 0xFFFFFFFF])),
        number=draw(st.sampled_from(known) | st.integers(0, 600) | st.integers(0, 2**32 - 1)),
        args=draw(st.tuples(*[arguments] * 6)),
    )


@given(data=st.data())
def test_any_call_under_any_filter_gets_the_answer_of_the_reference(data: st.DataObject) -> None:
    request = data.draw(requests())
    call = data.draw(calls(request))
    expected = ref.judge(request, call, names_of(request.machine))
    assert ref.run_filter(program_of(request), call.data()).answer == expected


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("sockets", SOCKETS)
@pytest.mark.parametrize("profile", ref.LEVELS)
@pytest.mark.parametrize(("protect_pid", "no_set_id"), [(None, False), (4711, False), (None, True)])
def test_every_number_is_judged_as_the_reference_does(
    profile: str, sockets: str, machine: str, protect_pid: int | None, *, no_set_id: bool
) -> None:
    request = ref.Request(profile, sockets, machine=machine, protect_pid=protect_pid, no_set_id=no_set_id)
    program, names = request.program(), names_of(machine)
    for number in range(520):
        call = ref.Call(ref.AUDIT_ARCH[machine], number)
        assert ref.run_filter(program, call.data()).answer == ref.judge(request, call, names), names.get(number, number)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("profile", ref.LEVELS)
def test_hot_plain_calls_are_allowed_by_their_number_alone(profile: str, machine: str) -> None:
    program = native.seccomp_program(profile, machine=machine)
    for name in PLAIN_AND_HOT:
        ref.assert_allowed_by_number(program, name, machine)


@pytest.mark.parametrize("profile", ref.LEVELS)
def test_no_call_takes_more_than_sixteen_steps_without_arguments(profile: str) -> None:
    program = native.seccomp_program(profile)
    for number in range(520):
        trace = ref.run_filter(program, ref.Call(ref.AUDIT_ARCH["x86_64"], number).data())
        assert trace.loads - {ref.NR_OFFSET, ref.ARCH_OFFSET} or trace.steps <= 16


def test_each_level_allows_only_what_the_wider_one_does() -> None:
    programs = [native.seccomp_program(profile, machine="x86_64") for profile in ref.LEVELS]
    for number in range(520):
        data = ref.Call(ref.AUDIT_ARCH["x86_64"], number).data()
        answers = [ref.run_filter(program, data).answer == ref.ALLOW for program in programs]
        assert answers == sorted(answers, reverse=True)


def header_numbers(path: str, *options: str) -> dict[str, int]:
    done = subprocess.run(
        ["gcc", "-E", "-dM", *options, "-"], input=f"#include <{path}>\n", capture_output=True, text=True, check=True
    )
    defined = dict(re.findall(r"^#define (\w+) (\w+)$", done.stdout, re.MULTILINE))
    found = {}
    for name, value in defined.items():
        if name.startswith("__NR_"):
            while value in defined:
                value = defined[value]  # noqa: PLW2901 - asm-generic has names that stand for names
            if value.isdecimal():
                found[name.removeprefix("__NR_")] = int(value)
    return found


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="other machines lack the header asm/unistd_64.h")
def test_numbers_are_those_of_the_kernel_headers() -> None:
    known = {name: native.syscall_number(name, machine="x86_64") for name in native.syscall_names()}
    header = header_numbers("asm/unistd_64.h")
    assert len(header) > 350
    assert {name: known.get(name) for name in header} == header


def test_numbers_of_arm64_are_those_of_the_generic_header() -> None:
    wanted = ("RENAMEAT", "NEW_STAT", "SET_GET_RLIMIT", "TIME32_SYSCALLS", "SYS_CLONE3", "MEMFD_SECRET")
    header = header_numbers("asm-generic/unistd.h", *(f"-D__ARCH_WANT_{name}" for name in wanted))
    for name in ("arch_specific_syscall", "syscalls"):
        header.pop(name, None)
    assert len(header) > 300
    assert {name: native.syscall_number(name, machine="aarch64") for name in header} == header


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"profile": "loose"}, "profile 'loose' is unknown"),
        ({"profile": "standard", "sockets": "some"}, "sockets='some' is unknown"),
        ({"profile": "standard", "deny": ["opne"]}, "system call 'opne' is unknown"),
        ({"profile": "standard", "deny": ["open\0x"]}, "NUL in"),
        ({"profile": "standard", "protect_pid": 0}, "protect_pid must be a process id"),
        ({"profile": "standard", "protect_pid": -1}, "protect_pid must be a process id"),
        ({"profile": "standard", "protect_pid": 1 << 31}, "protect_pid must be a process id"),
        ({"profile": "standard", "machine": "riscv64"}, "no filter for the machine 'riscv64'"),
    ],
)
def test_an_unknown_request_is_refused_by_name(asked: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        native.seccomp_program(**asked)  # type: ignore[arg-type]


def test_a_call_that_one_machine_never_had_has_no_number_there() -> None:
    assert native.syscall_number("open", machine="x86_64") == 2
    assert native.syscall_number("open", machine="aarch64") is None
    with pytest.raises(ValueError, match="'opne' is unknown"):
        native.syscall_number("opne")


def test_every_call_of_the_reference_is_known_and_each_number_has_one_name() -> None:
    names = native.syscall_names()
    assert len(names) == len(set(names))
    assert set(names) >= ref.UNHEARD | ref.DENIED | ref.ONLY_STANDARD | ref.NOT_MAXIMUM
    for machine in MACHINES:
        numbers = [n for name in names if (n := native.syscall_number(name, machine=machine)) is not None]
        assert len(numbers) == len(set(numbers))
