from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import cloche_native as native
from cloche_native import acts, calls
from tests.native import reference as ref

if TYPE_CHECKING:
    from collections.abc import Callable

ASKED = 500  # no call has this number yet: what the filter says of it is all that there is
RET_ERRNO, RET_ALLOW = 0x50000, 0x7FFF0000
LOADS = (0x20, 0x80, 0x00, 0x01, 0x81, 0x60, 0x61)
STORES = (0x02, 0x03)
SUMS = tuple(
    0x04 | operation | source for operation in range(0x00, 0xB0, 0x10) for source in (0, 8) if operation != 0x90
)
JUMPS = (0x05, 0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D)
MOVES = (0x07, 0x87)
NEG = 0x84
WORDS = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1), st.sampled_from([2**31, 2**32 - 1]))


def instruction(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, jump_true, jump_false, k)


@st.composite
def bodies(draw: st.DrawFn) -> list[bytes]:
    """Programs the kernel takes, whose every answer is an errno: all memory is written first."""
    size = draw(st.integers(1, 24))
    body = [instruction(0x02, word) for word in range(16)]
    for left in range(size, 0, -1):
        code = draw(st.sampled_from([*LOADS, *STORES, *SUMS, *JUMPS, *MOVES]))
        k = draw(WORDS)
        if code == 0x20:
            k = draw(st.integers(4, 15)) * 4
        elif code in {0x60, 0x61, *STORES}:
            k %= 16
        elif code in {0x64, 0x74}:
            k %= 32
        elif code == 0x34:
            k = k or 1
        elif code == 0x05:
            k %= left
        elif code in SUMS and code & 0xF0 == 0x80:
            code = NEG
        jumps = (draw(st.integers(0, left - 1)), draw(st.integers(0, left - 1))) if code in JUMPS else (0, 0)
        body.append(instruction(code, k, *jumps))
    return [*body, instruction(0x54, 0xFFF), instruction(0x44, RET_ERRNO), instruction(0x16, 0)]


def data_of(number: int, args: tuple[int, ...]) -> bytes:
    arch = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[os.uname().machine]
    return struct.pack("<iIQ6Q", number, arch, 0, *args)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies(), args=st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 6), min_size=1, max_size=5))
@example(body=[instruction(0x06, RET_ERRNO | 7)], args=[(0,) * 6])
def test_a_filter_answers_as_in_the_kernel(
    under: Callable[..., list[int]], raw: Callable[..., int], body: list[bytes], args: list[tuple[int, ...]]
) -> None:
    program = b"".join([instruction(0x20, 0), instruction(0x15, ASKED, 1, 0), instruction(0x06, RET_ALLOW), *body])
    ours = []
    for values in args:
        value, _ = calls.filter_answer(program, data_of(ASKED, values))
        if value & 0xFFFF0000 != RET_ERRNO:  # a division by 0, which kills
            return
        ours.append(-(value & 0xFFFF))

    def ask() -> list[int]:
        return [raw(ASKED, *values) for values in args]

    assert ours == under(program, ask)


@given(
    level=st.sampled_from(ref.LEVELS),
    number=st.integers(0, 520),
    args=st.tuples(*[st.integers(0, 2**64 - 1)] * 6),
)
def test_a_static_filter_answers_as_the_reference_machine_says(level: str, number: int, args: tuple[int, ...]) -> None:
    program = native.seccomp_program(level)
    trace = ref.run_filter(program, data_of(number, args))
    assert calls.filter_answer(program, data_of(number, args)) == (trace.answer, max(trace.loads) >= 8)


def test_a_call_whose_answer_hangs_on_no_argument_is_told_from_one_that_does() -> None:
    program = native.seccomp_program("standard")
    assert calls.filter_answer(program, data_of(native.syscall_number("mount") or 0, (0,) * 6)) == (
        RET_ERRNO | errno.EPERM,
        False,
    )
    assert calls.filter_answer(program, data_of(native.syscall_number("socket") or 0, (1,) + (0,) * 5))[1]


@pytest.mark.parametrize(
    "program",
    [
        b"",
        instruction(0x20, 0),
        instruction(0x20, 64) + instruction(0x06, 0),
        instruction(0x20, 2) + instruction(0x06, 0),
        instruction(0x05, 1) + instruction(0x06, 0),
        instruction(0x15, 0, 1, 0) + instruction(0x06, 0),
        instruction(0x15, 0, 0, 1) + instruction(0x06, 0),
        instruction(0x05, 2**32 - 1) + instruction(0x06, 0),
        instruction(0x34, 0) + instruction(0x06, 0),
        instruction(0x64, 32) + instruction(0x06, 0),
        instruction(0x60, 16) + instruction(0x06, 0),
        instruction(0x94, 3) + instruction(0x06, 0),
        instruction(0x0E, 0),
        instruction(0xFFFF, 0) + instruction(0x06, 0),
        instruction(0x06, 0) * 4097,
    ],
)
def test_what_the_kernel_takes_for_no_filter_is_refused(program: bytes) -> None:
    with pytest.raises(ValueError, match="that is no filter"):
        calls.filter_answer(program, bytes(64))


def test_bytes_that_are_no_whole_instructions_or_registers_are_refused() -> None:
    with pytest.raises(ValueError, match="8 bytes each"):
        calls.filter_answer(b"1234567", bytes(64))
    with pytest.raises(ValueError, match="64 bytes, not 63"):
        calls.filter_answer(instruction(0x06, 0), bytes(63))


def test_every_call_that_is_an_act_is_taken_apart_and_the_numbers_are_those_of_the_filter() -> None:
    told = {name: numbers for name, *numbers in calls.laid_out()}
    for name, numbers in told.items():
        assert numbers == [native.syscall_number(name, machine=machine) for machine in ("x86_64", "aarch64")]
    watched = {name for name in native.syscall_names() if any_act(name)}
    assert watched == set(told)


def any_act(name: str) -> bool:
    number = native.syscall_number(name, machine="x86_64")
    questions = [(0,) * 6, (2**32 - 2,) * 6, *((value,) * 6 for value in (1, 6, 7, 22, 0x5412))]
    return number is not None and any(acts.acts_of(number, registers, machine="x86_64") for registers in questions)
