"""The table of watched calls, against what the reference says of any call."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cloche_native as native
from cloche_native import acts
from tests.native import acts_reference as oracle
from tests.native import reference as ref

MACHINES = ("x86_64", "aarch64")
VALUES = (
    0, 1, 2, 3, 4, 5, 6, 7, 22, 0x40, 0x41, 0x80, 0x200, 0x241, 0x410000, 0x410002, 0x200000, 0x200041, 0x20000,
    0x10000000, 0x5412, 0x541C, 0x541D, 0x5423, 0xFFFFFFFF, 1 << 32, 1 << 63, 0xFFFFFFFF_00000000, 0x1_00000006,
)  # fmt: skip
NEVER = "read write close fork vfork wait4 waitid sendmsg sendmmsg exit exit_group clone3 fstat lseek futex".split()


@cache
def names_of(machine: str) -> dict[int, str]:
    return ref.names_by_number(machine)


@given(data=st.data())
def test_any_call_is_the_acts_that_the_reference_says(data: st.DataObject) -> None:
    machine = data.draw(st.sampled_from(MACHINES))
    number = data.draw(st.sampled_from(sorted(names_of(machine))) | st.integers(-(2**63), 2**63 - 1))
    args = data.draw(st.tuples(*[st.sampled_from(VALUES) | st.integers(0, 2**64 - 1)] * 6))
    expected = oracle.acts_of(names_of(machine).get(number), args)
    assert acts.acts_of(number, args, machine=machine) == oracle.bits(expected)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_is_the_acts_of_the_reference(machine: str) -> None:
    for number in range(520):
        name = names_of(machine).get(number)
        for args in ((0,) * 6, (2**64 - 1,) * 6):
            assert acts.acts_of(number, args, machine=machine) == oracle.bits(oracle.acts_of(name, args)), name


@pytest.mark.parametrize("name", sorted(oracle.BY_ARGUMENTS))
def test_every_register_counts_as_in_the_reference(name: str) -> None:
    number = native.syscall_number(name, machine="x86_64")
    assert number is not None
    for place in range(6):
        for value in VALUES:
            args = tuple(value if i == place else 0 for i in range(6))
            assert acts.acts_of(number, args, machine="x86_64") == oracle.bits(oracle.acts_of(name, args)), args


@pytest.mark.parametrize("name", NEVER)
def test_what_programs_do_all_the_time_is_never_an_act(name: str) -> None:
    number = native.syscall_number(name, machine="x86_64")
    assert number is not None
    assert acts.acts_of(number, (2**64 - 1,) * 6, machine="x86_64") == 0


@pytest.mark.parametrize("depth", acts.DEPTHS)
def test_a_depth_tells_of_what_the_reference_says(depth: acts.Depth) -> None:
    assert acts.acts_seen(depth) == oracle.bits(oracle.seen(depth))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (((1,), (), None), "six|6 arguments"),
        ((1, (0,) * 5, None), "6 arguments"),
        ((1, (0, 0, 0, 0, 0, 1 << 64), None), "64 bits"),
        ((1, (0, 0, 0, 0, 0, -1), None), "64 bits"),
        ((1 << 63, (0,) * 6, None), "64 bits"),
        ((1, (0,) * 6, "riscv64"), "no filter for the machine 'riscv64'"),
    ],
)
def test_a_call_that_can_not_be_is_refused(arguments: tuple[Any, Any, Any], said: str) -> None:
    number, registers, machine = arguments
    with pytest.raises(ValueError, match=said):
        acts.acts_of(number, registers, machine=machine)


def test_an_unknown_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="depth 'deep' is unknown"):
        acts.acts_seen("deep")  # type: ignore[arg-type]
