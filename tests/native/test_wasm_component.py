"""The protocol of a component that was linked into one module: a text goes in, one comes out; and how it is stopped."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche_native import wasm
from tests.native.wasm_guests import mold_of

GUEST = """(module
    (memory (export "memory") 2 4)
    (global (export "__stack_pointer") (mut i32) (i32.const 0))
    (global $stopped (export "stopped") (mut i32) (i32.const 0))
    (global $pair (export "pair") (mut i32) (i32.const 16))
    (global $told (export "told") (mut i32) (i32.const 0))
    (func (export "room") (param i32) (result i32) (i32.const 1024))
    (func (export "answer") (param $at i32) (param $size i32) (result i32)
        (i32.store (i32.const 16) (local.get $at))
        (i32.store (i32.const 20) (local.get $size))
        (if (i32.eq (local.get $size) (i32.const 4)) (then (loop (br_if 0 (i32.eqz (global.get $stopped))))))
        (if (i32.eq (local.get $size) (i32.const 5)) (then (loop (br 0))))
        (if (i32.eq (local.get $size) (i32.const 6)) (then unreachable))
        (if (i32.eq (local.get $size) (i32.const 7)) (then (i32.store (i32.const 20) (i32.const 0x7fffffff))))
        (if (i32.eq (local.get $size) (i32.const 8)) (then (i32.store (i32.const 16) (i32.const -4))))
        (if (i32.eq (local.get $size) (i32.const 9)) (then (global.set $pair (i32.const -4))))
        (global.get $pair))
    (func (export "after#answer") (param i32) (global.set $told (i32.add (global.get $told) (i32.const 1))))
    (func (export "stop") (global.set $stopped (i32.add (global.get $stopped) (i32.const 1)))))
"""


@pytest.fixture(scope="module")
def mold() -> wasm.Mold:
    return mold_of(GUEST, memory=4 << 16, result=1 << 16, stops=True)


@given(st.binary(max_size=3) | st.binary(min_size=10, max_size=30_000))
def test_a_text_goes_in_and_comes_out(mold: wasm.Mold, text: bytes) -> None:
    with mold.open() as instance:
        for times in (1, 2):
            out = instance.tell(text, wall=10)
            assert (out.end, out.text, out.interrupted) == ("done", text, False)
            assert instance.get_global("told") == times


def test_it_is_asked_to_stop_at_its_time_and_goes_on(mold: wasm.Mold) -> None:
    with mold.open() as instance:
        out = instance.tell(b"1234", wall=0.05, grace=20)
        assert (out.end, out.text, out.interrupted) == ("done", b"1234", True)
        assert instance.get_global("stopped") == 1
        assert instance.tell(b"1", wall=1).text == b"1"


def test_it_is_stopped_from_another_thread(mold: wasm.Mold) -> None:
    with mold.open() as instance:
        threading.Timer(0.05, instance.stop, [20.0]).start()
        assert instance.tell(b"1234", wall=60).interrupted
        instance.stop(0.0)  # nothing runs
        assert instance.tell(b"1", wall=1).text == b"1"


def test_what_does_not_heed_it_is_ended(mold: wasm.Mold) -> None:
    with mold.open() as instance:
        begun = time.monotonic()
        out = instance.tell(b"12345", wall=0.05, grace=0.05)
        assert (out.end, out.interrupted) == ("stopped", True)
        assert time.monotonic() - begun < 10
        assert instance.get_global("stopped") == 1
        assert not instance.alive


@pytest.mark.parametrize(("size", "end"), [(6, "trap"), (7, "size"), (8, "guest"), (9, "guest"), (200_000, "guest")])
def test_what_breaks_the_rules_is_told(mold: wasm.Mold, size: int, end: str) -> None:
    with mold.open() as instance:
        assert instance.tell(b"x" * size, wall=10).end == end
        assert instance.alive is (end == "size")


def test_a_guest_without_what_it_must_export_is_refused() -> None:
    with mold_of('(module (memory (export "memory") 1))').open() as instance, pytest.raises(RuntimeError, match="room"):
        instance.tell(b"", wall=1)
