"""Packed states of instances: made as Python makes them, brought to life again, refused when they are none."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche_native import wasm
from cloche_native.words import expand
from tests.native.wasm_guests import mold_of

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE, BLOCK = 4096, 64
IMAGE = bytes(range(256)) * 256


@cache
def mold() -> wasm.Mold:
    data = "".join(f"\\{byte:02x}" for byte in IMAGE)
    wat = f'(module (memory (export "memory") 1) (data (i32.const 0) "{data}"))'
    return mold_of(wat, image=IMAGE, stack_pointer=5, memory=3 << 16)


@cache
def poker() -> wasm.Mold:
    """Give a mold of those that write into their memory themselves."""
    data = "".join(f"\\{byte:02x}" for byte in IMAGE)
    poke = '(func (export "poke") (param i32 i32) (i32.store (local.get 0) (local.get 1)))'
    wat = f'(module (memory (export "memory") 1) (data (i32.const 0) "{data}") {poke})'
    return mold_of(wat, image=IMAGE, stack_pointer=5, memory=3 << 16)


def reference(memory: bytes) -> bytes:
    """Give the packed state as Python makes it."""
    padded = IMAGE + bytes(len(memory) - len(IMAGE))
    entries = []
    for at in range(0, len(memory), PAGE):
        blocks = [
            number
            for number in range(PAGE // BLOCK)
            if memory[at + number * BLOCK :][:BLOCK] != padded[at + number * BLOCK :][:BLOCK]
        ]
        if blocks:
            head = struct.pack("<IQ", at // PAGE, sum(1 << number for number in blocks))
            entries.append(head + b"".join(memory[at + number * BLOCK :][:BLOCK] for number in blocks))
    return struct.pack("<III", 5, len(memory) >> 16, len(entries)) + b"".join(entries)


@settings(max_examples=50)
@given(
    writes=st.lists(st.tuples(st.integers(0, (3 << 16) - 200), st.binary(min_size=1, max_size=200)), max_size=12),
    more=st.integers(0, 2),
)
def test_a_packed_state_is_as_python_makes_it_and_gives_the_same_instance(
    writes: list[tuple[int, bytes]], more: int
) -> None:
    with mold().open() as instance:
        instance.grow(more << 16)
        for at, data in writes:
            if at + len(data) <= instance.memory:
                instance.write(at, data)
        packed = instance.packed()
        assert packed == reference(instance.image())
        assert packed == instance.kept() == bytes(expand(instance.shrunk(), len(packed)))
        with mold().revive(packed) as other:
            assert other.image() == instance.image()


def elsewhere(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, (3 << 16) - 8), st.sampled_from(["here", "elsewhere", "grow", "rest", "called elsewhere"])
        ),
        max_size=12,
    )
)
def test_what_is_written_between_two_states_is_in_the_second_whoever_wrote_it(steps: list[tuple[int, str]]) -> None:
    with poker().open() as instance:
        for number, (where, who) in enumerate(steps):
            at = min(where, instance.memory - 8)
            if who == "grow" and instance.memory < 3 << 16:
                instance.grow(1 << 16)
            elif who == "rest":
                instance.write(at - at % PAGE, instance.read(at - at % PAGE, 1))  # a page of its own that is as it was
                before = instance.image()
                instance.rest()
                assert instance.image() == before
                assert instance.kept() == b""
            elif who == "elsewhere":
                elsewhere(partial(instance.write, at, bytes([number + 1]) * 8))
            elif who == "called elsewhere":
                elsewhere(partial(instance.call, "poke", at, number + 1))
            else:
                instance.call("poke", at, number + 1)
            assert instance.packed() == reference(instance.image())


def private() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Private_Dirty"))


def test_an_instance_that_rests_gives_back_what_is_as_in_the_image_and_what_was_kept() -> None:
    with ExitStack() as open_ones:
        instances = [open_ones.enter_context(mold().open()) for _ in range(40)]
        for instance in instances:
            for at in range(0, len(IMAGE), PAGE):
                instance.write(at, b"other")
                instance.keep()
                instance.write(at, IMAGE[at : at + 5])
            instance.write(3 * PAGE, b"mine")
        before = private()
        assert all(instance.rest() >= len(IMAGE) - PAGE for instance in instances)
        assert before - private() > 40 * (len(IMAGE) - PAGE) * 0.9
        for instance in instances:
            assert instance.image() == IMAGE[: 3 * PAGE] + b"mine" + IMAGE[3 * PAGE + 4 :]
            assert instance.rest() == 0
            assert instance.packed() == reference(instance.image())


def test_without_an_image_nothing_is_given_back() -> None:
    with mold_of('(module (memory (export "memory") 1))', memory=1 << 16).open() as instance:
        instance.write(0, b"mine")
        assert instance.rest() == 0
        assert instance.read(0, 4) == b"mine"


def test_a_forked_process_sees_what_it_wrote_itself() -> None:
    with mold().open() as instance:
        instance.write(100, b"mine")
        instance.packed()
        child = os.fork()
        if not child:
            for at in range(PAGE, len(IMAGE), PAGE):
                instance.write(at, b"its")
                if instance.packed() != reference(instance.image()):
                    os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert instance.packed() == reference(instance.image())


@cache
def good() -> bytes:
    with mold().open() as instance:
        instance.write(100, b"x" * 200)
        instance.write(5 * PAGE, b"yyy")
        instance.write(9 * PAGE + 4000, b"zzz")
        return instance.packed()


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda packed: packed[:-1],
    "cut within a head": lambda packed: packed[:20],
    "longer": lambda packed: packed + b"x",
    "more pages than there are": lambda packed: packed[:8] + struct.pack("<I", 4) + packed[12:],
    "fewer pages than there are": lambda packed: packed[:8] + struct.pack("<I", 2) + packed[12:],
    "too much memory": lambda packed: packed[:4] + struct.pack("<I", 4) + packed[8:],
    "memory beyond all numbers": lambda packed: packed[:4] + b"\xff\xff\xff\xff" + packed[8:],
    "another stack pointer": lambda packed: bytes(4) + packed[4:],
    "less memory than the image": lambda packed: packed[:4] + bytes(4) + packed[8:],
    "a page outside": lambda packed: packed[:12] + struct.pack("<I", 16) + packed[16:],
    "pages out of order": lambda packed: packed[:12] + struct.pack("<I", 6) + packed[16:],
    "a page twice": lambda packed: packed[:12] + struct.pack("<I", 5) + packed[16:],
    "all blocks and none there": lambda packed: packed[:16] + b"\xff" * 8 + packed[24:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_packed_state_is_refused(damage: str) -> None:
    mold().revive(good()).close()
    with pytest.raises(wasm.DeltaError, match="can't be restored"):
        mold().revive(DAMAGES[damage](good()))


@settings(max_examples=300)
@given(st.binary(max_size=400) | st.tuples(st.integers(0, 600), st.binary(max_size=12)))
def test_hostile_bytes_are_refused_or_stay_in_the_memory(given: bytes | tuple[int, bytes]) -> None:
    if isinstance(given, tuple):
        at, put = given
        given = good()[:at] + put + good()[at + len(put) :]
    with contextlib.suppress(wasm.DeltaError):
        mold().revive(given).close()


def test_a_state_is_kept_although_one_before_was_larger() -> None:
    with mold().open() as instance:
        instance.write(0, bytes(1 << 16))
        large = instance.packed()
        instance.write(0, IMAGE)
        assert instance.packed() == struct.pack("<III", 5, 1, 0)
        instance.write(0, bytes(1 << 16))
        assert instance.packed() == large
