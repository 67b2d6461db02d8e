"""The filters of a watched box: any call, under any of them, is answered as the reference says."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cloche_native as native
from cloche_native import acts
from cloche_native.filters import StaticFilter
from tests.native import acts_reference as oracle
from tests.native import reference as ref

MACHINES = ("x86_64", "aarch64")
NOTIFY = 0x7FC00000
ALL = frozenset(oracle.seen("full"))
VALUES = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 16, 22, 0x40, 0x41, 0x80, 0x200, 0x241, 0x410000, 0x200000, 0x20000, 0x10000000,
    0x5412, 0x541C, 0x5423, 0o4755, 0xFFFFFFFF, 1 << 32, 1 << 63, 0xFFFFFFFF_00000000, 0x1_00000006,
)  # fmt: skip
SILENT = """read write close pread64 pwrite64 lseek getppid getpid getdents64 munmap brk futex epoll_wait epoll_pwait
poll ppoll recvfrom sendmsg recvmsg wait4 exit_group clock_gettime nanosleep rt_sigaction rt_sigprocmask getrandom pipe2
dup3 fstat vfork fork""".split()


@cache
def names_of(machine: str) -> dict[int, str]:
    return ref.names_by_number(machine)


@st.composite
def asked(draw: st.DrawFn) -> ref.Request:
    return ref.Request(
        profile=draw(st.sampled_from(ref.LEVELS)),
        sockets=draw(st.sampled_from(("all", "unix", "none", "inet"))),
        deny=draw(st.frozensets(st.sampled_from(sorted(oracle.WATCHED)), max_size=3)),
        protect_pid=draw(st.none() | st.just(4711)),
        no_set_id=draw(st.booleans()),
        machine=draw(st.sampled_from(MACHINES)),
    )


def sets() -> st.SearchStrategy[frozenset[str]]:
    return st.sampled_from([frozenset(), ALL, ALL - oracle.LOOKS]) | st.frozensets(st.sampled_from(sorted(ALL)))


@st.composite
def calls(draw: st.DrawFn, request: ref.Request) -> ref.Call:
    watched = [number for number, name in names_of(request.machine).items() if name in oracle.WATCHED]
    argument = st.sampled_from((*VALUES, 4711, -4711 & (2**64 - 1))) | st.integers(0, 2**64 - 1)
    return ref.Call(
        arch=draw(st.sampled_from([ref.AUDIT_ARCH[request.machine]] * 15 + [0x40000003])),
        number=draw(st.sampled_from(sorted(watched)) | st.integers(0, 600) | st.integers(0, 2**32 - 1)),
        args=draw(st.tuples(*[argument] * 6)),
    )


def static(request: ref.Request) -> StaticFilter:
    return StaticFilter(
        profile=request.profile, sockets=request.sockets, deny=tuple(sorted(request.deny)),  # type: ignore[arg-type]
        protect_pid=request.protect_pid, no_set_id=request.no_set_id, machine=request.machine,
    )  # fmt: skip


@cache
def programs(request: ref.Request, watched: frozenset[str], opened: frozenset[str]) -> tuple[bytes, bytes, bytes]:
    plain = static(request)
    return plain.program(), plain.agent(oracle.bits(opened)), plain.watch(oracle.bits(watched), oracle.bits(opened))


def lets_through(name: str | None, args: tuple[int, ...], opened: frozenset[str]) -> bool:
    """Say whether the agent's filter leaves a call to the watch filter: what is watched, and putting a filter on."""
    own = name == "seccomp" and args[0] & 0xFFFFFFFF == 1
    return own or bool(oracle.acts_of(name, args) & opened)


@settings(max_examples=150)
@given(data=st.data())
def test_a_call_is_notified_exactly_when_it_is_one_of_the_acts(data: st.DataObject) -> None:
    request, watched, opened = data.draw(asked()), data.draw(sets()), data.draw(sets())
    call = data.draw(calls(request))
    answer = ref.run_filter(programs(request, watched, opened)[2], call.data()).answer
    plain = ref.judge(request, call, names_of(request.machine))
    name = names_of(request.machine).get(call.number)
    if plain == ref.KILL or (
        call.number == 0xFFFFFFFF and request.machine == "x86_64"
    ):  # it has a rule of its own there
        assert answer == plain
    elif oracle.acts_of(name, call.args) & watched:
        assert answer == NOTIFY
    else:
        assert answer == (plain if lets_through(name, call.args, opened) else ref.ALLOW)


@settings(max_examples=150)
@given(data=st.data())
def test_the_agents_filter_lets_through_what_is_watched_and_nothing_else_that_the_plain_one_refuses(
    data: st.DataObject,
) -> None:
    request, opened = data.draw(asked()), data.draw(sets())
    call = data.draw(calls(request))
    answer = ref.run_filter(programs(request, ALL, opened)[1], call.data()).answer
    plain = ref.judge(request, call, names_of(request.machine))
    name = names_of(request.machine).get(call.number)
    if plain != ref.KILL and lets_through(name, call.args, opened):
        assert answer == ref.ALLOW
    else:
        assert answer == plain


@settings(max_examples=150)
@given(data=st.data())
def test_a_watched_program_is_never_allowed_more_than_the_plain_filter_allows(data: st.DataObject) -> None:
    request, watched, opened = data.draw(asked()), data.draw(sets()), data.draw(sets())
    call = data.draw(calls(request))
    plain, agent, watch = (ref.run_filter(code, call.data()).answer for code in programs(request, watched, opened))
    together = min(agent, watch, key=lambda answer: (answer ^ 0x80000000) & 0xFFFF0000)  # seccomp(2): the strictest
    assert (plain if together == NOTIFY else together) == plain


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("profile", ref.LEVELS)
@pytest.mark.parametrize("depth", ["writes", "full", "strict"])
def test_what_is_not_watched_stays_in_the_kernels_bitmap(depth: acts.Depth, profile: str, machine: str) -> None:
    plain = StaticFilter(profile=profile, machine=machine)
    seen = acts.acts_seen(depth)
    for program in (plain.watch(seen, seen), plain.watch(0, seen), plain.watch(0, 0)):
        for name in SILENT:
            ref.assert_allowed_by_number(program, name, machine)


def test_without_acts_that_look_an_open_is_notified_only_if_it_writes_and_all_of_openat2_is() -> None:
    program = StaticFilter(profile="standard", machine="x86_64").watch(acts.acts_seen("writes"), 0)

    def answer(name: str, *args: int) -> int:
        number = native.syscall_number(name, machine="x86_64")
        assert number is not None
        call = ref.Call(ref.AUDIT_ARCH["x86_64"], number, (*args, *[0] * (6 - len(args))))
        return ref.run_filter(program, call.data()).answer

    assert answer("openat", 0, 0, 0) == answer("openat", 0, 0, 0o2200000) == ref.ALLOW  # O_DIRECTORY, O_CLOEXEC
    assert answer("openat", 0, 0, 1) == answer("openat", 0, 0, 0o100) == answer("openat2") == NOTIFY
    assert answer("stat") == answer("access") == answer("readlink") == answer("chdir") == ref.ALLOW


def test_the_programs_are_small() -> None:
    plain = StaticFilter(profile="maximum", sockets="none", protect_pid=4711, no_set_id=True)
    everything = acts.acts_seen("full")
    assert len(plain.agent(everything)) <= 8 * 400
    assert len(plain.watch(everything, everything)) <= 8 * 240


@pytest.mark.parametrize("bits", [-1, 1 << 63, 1 << 57])
def test_what_is_no_set_of_acts_is_refused(bits: int) -> None:
    plain = StaticFilter(profile="standard")
    with pytest.raises(ValueError, match="not a set of acts"):
        plain.agent(bits)
    with pytest.raises(ValueError, match="not a set of acts"):
        plain.watch(bits, 0)
    with pytest.raises(ValueError, match="not a set of acts"):
        plain.watch(0, bits)
