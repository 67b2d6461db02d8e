"""The bridge to wasmtime: any module, called and looked into from Python."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche_native import wasm
from tests.native.wasm_guests import kit, mold_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NUMBERS = """(module
    (memory (export "memory") 1)
    (global (export "narrow") (mut i32) (i32.const -7))
    (global (export "wide") (mut i64) (i64.const 1))
    (global (export "fixed") i32 (i32.const 3))
    (global (export "real") f64 (f64.const 1))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "add64") (param i64 i64) (result i64) (i64.add (local.get 0) (local.get 1)))
    (func (export "nothing"))
    (func (export "real_one") (param f64))
    (func (export "spin") (loop br 0))
    (func (export "deep") (call 6))
    (func $deeper (call $deeper))
    (func (export "crash") unreachable)
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
)"""


@pytest.fixture(scope="module")
def numbers() -> wasm.Mold:
    return mold_of(NUMBERS, memory=4 << 16)


def narrow(value: int) -> int:
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


@given(st.integers(-(1 << 31), (1 << 32) - 1), st.integers(-(1 << 31), (1 << 32) - 1))
def test_numbers_go_in_and_out(numbers: wasm.Mold, one: int, other: int) -> None:
    with numbers.open() as instance:
        assert instance.call("add", one, other) == narrow(one + other)


@given(st.integers(-(1 << 63), (1 << 64) - 1), st.integers(0, 9))
def test_wide_numbers_go_in_and_out(numbers: wasm.Mold, one: int, other: int) -> None:
    with numbers.open() as instance:
        got = instance.call("add64", one, other)
    assert got is not None
    assert (got - one - other) % (1 << 64) == 0


def test_a_function_that_gives_nothing_gives_none(numbers: wasm.Mold) -> None:
    with numbers.open() as instance:
        assert instance.call("nothing") is None


@pytest.mark.parametrize("name", ["missing", "memory", "real_one", "wide"])
def test_what_is_no_function_of_integers_is_a_key_error(numbers: wasm.Mold, name: str) -> None:
    with numbers.open() as instance, pytest.raises(KeyError, match=name):
        instance.call(name)


def test_other_arguments_than_it_takes_are_refused(numbers: wasm.Mold) -> None:
    with numbers.open() as instance, pytest.raises(ValueError, match="takes 2 numbers, not 1"):
        instance.call("add", 1)


@pytest.mark.parametrize(("name", "end"), [("crash", "trap"), ("deep", "stack"), ("load", "trap")])
def test_a_trap_is_told_and_the_instance_is_dead(numbers: wasm.Mold, name: str, end: str) -> None:
    with numbers.open() as instance:
        with pytest.raises(wasm.Trap) as caught:
            instance.call(name, *([-1] if name == "load" else []))
        assert caught.value.end == end
        assert "wasm trap" in caught.value.detail
        assert not instance.alive
        with pytest.raises(wasm.Trap, match="dead"):
            instance.call("nothing")


def test_memory_is_read_and_written_within_its_bounds(numbers: wasm.Mold) -> None:
    with numbers.open() as instance:
        instance.write(8, b"abcd")
        assert instance.read(6, 8) == b"\0\0abcd\0\0"
        assert instance.call("load", 8) == int.from_bytes(b"abcd", "little")
        assert instance.memory == len(instance.image()) == 1 << 16
        for at, size in ((65536, 1), (65535, 2), (-1, 1), (0, -1), (1 << 40, 1)):
            with pytest.raises(IndexError):
                instance.read(at, size)
        for at in (65533, -1, 1 << 40):
            with pytest.raises(IndexError):
                instance.write(at, b"abcd")


def test_memory_grows_up_to_its_limit(numbers: wasm.Mold) -> None:
    with numbers.open() as instance:
        instance.grow(2 << 16)
        assert instance.memory == 3 << 16
        assert instance.call("grow", 1) == 3
        assert instance.call("grow", 1) == -1
        for size in (1 << 16, 5, -(1 << 16)):
            with pytest.raises(MemoryError):
                instance.grow(size)


def test_globals_are_got_and_set(numbers: wasm.Mold) -> None:
    with numbers.open() as instance:
        assert (instance.get_global("narrow"), instance.get_global("wide")) == (-7, 1)
        instance.set_global("narrow", 5)
        instance.set_global("wide", -(1 << 63))
        assert (instance.get_global("narrow"), instance.get_global("wide")) == (5, -(1 << 63))
        for name in ("missing", "real", "add"):
            with pytest.raises(KeyError):
                instance.get_global(name)
        for name in ("missing", "fixed", "real"):
            with pytest.raises(KeyError):
                instance.set_global(name, 1)


def test_a_call_is_ended_at_its_time(numbers: wasm.Mold) -> None:
    with numbers.open() as instance:
        begun = time.monotonic()
        with pytest.raises(wasm.Trap, match="stopped"):
            instance.call("spin", wall=0.05, grace=0)
        assert 0.045 < time.monotonic() - begun < 2


def test_each_of_many_is_ended_at_its_own_time(numbers: wasm.Mold) -> None:
    late: list[float] = []

    def spin(wall: float) -> None:
        with numbers.open() as instance:
            begun = time.monotonic()
            with pytest.raises(wasm.Trap, match="stopped"):
                instance.call("spin", wall=wall, grace=0)
            late.append(time.monotonic() - begun - wall)

    threads = [threading.Thread(target=spin, args=(0.03 * at,)) for at in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(late) == 8
    assert all(-0.001 <= one < 2 for one in late)


def test_a_call_without_end_is_stopped_from_another_thread(numbers: wasm.Mold) -> None:
    with numbers.open() as instance:
        timer = threading.Timer(0.05, instance.stop, args=(0,))
        timer.start()
        with pytest.raises(wasm.Trap, match="stopped"):
            instance.call("spin")
        timer.join()


def test_stopping_what_does_not_run_does_nothing(numbers: wasm.Mold) -> None:
    with numbers.open() as instance:
        instance.stop(0)
        assert instance.call("add", 1, 2) == 3
    instance.stop()


def test_a_second_thread_is_refused(numbers: wasm.Mold) -> None:
    with numbers.open() as instance:
        refused: list[str] = []

        def intrude() -> None:
            acts: tuple[Callable[[], object], ...] = (lambda: instance.call("add", 1, 2), instance.close)
            for act in acts:
                with pytest.raises(RuntimeError) as caught:
                    act()
                refused.append(str(caught.value))
            instance.stop(0)

        timer = threading.Timer(0.05, intrude)
        timer.start()
        with pytest.raises(wasm.Trap):
            instance.call("spin", wall=5)
        timer.join()
        assert len(refused) == 2
        assert all("runs already" in text for text in refused)


def test_a_closed_instance_says_so(numbers: wasm.Mold) -> None:
    instance = numbers.open()
    instance.close()
    instance.close()
    assert not instance.alive
    with pytest.raises(RuntimeError, match="closed"):
        instance.call("nothing")


def test_a_thread_with_too_little_stack_is_refused(numbers: wasm.Mold) -> None:
    said: list[str] = []

    def deep() -> None:
        with numbers.open() as instance, pytest.raises(RuntimeError) as caught:
            instance.call("deep")
        said.append(str(caught.value))

    before = threading.stack_size(256 << 10)
    try:
        thread = threading.Thread(target=deep)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert "less stack than the guest may use" in said[0]


def test_instances_work_and_end_in_a_forked_child(numbers: wasm.Mold) -> None:
    with numbers.open() as instance, pytest.raises(wasm.Trap):
        instance.call("spin", wall=0.02, grace=0)  # so that the thread is there
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with numbers.open() as instance:
                instance.call("spin", wall=0.02, grace=0)
        except wasm.Trap as trap:
            status = 0 if trap.end == "stopped" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# ---- Imports. ----

ASKS = """(module
    (import "host" "ask" (func $ask (param i32 i64) (result i64)))
    (import "host" "tell" (func $tell (param i32)))
    (memory (export "memory") 1)
    (func (export "go") (param i32 i64) (result i64) (call $ask (local.get 0) (local.get 1)))
    (func (export "say") (param i32) (call $tell (local.get 0)))
)"""


def asks(ask: Callable[..., int | None], tell: Callable[..., None] = lambda _instance, _at: None) -> wasm.Mold:
    return mold_of(ASKS, {("host", "ask"): ask, ("host", "tell"): tell})


def test_python_answers_what_a_guest_imports() -> None:
    seen: list[Any] = []

    def tell(instance: wasm.Instance, at: int) -> None:
        seen.append(instance.read(at, 2))
        instance.write(at, b"by")

    with asks(lambda _instance, one, other: one + other, tell).open() as instance:
        assert instance.call("go", -1, -1) == (1 << 32) - 2
        instance.write(4, b"hi")
        assert instance.call("say", 4) is None
        assert instance.read(4, 2) == b"by"
    assert seen == [b"hi"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_what_python_raises_ends_the_call_and_comes_out(error: BaseException) -> None:
    def ask(*_: object) -> int:
        raise error

    mold = asks(ask)
    with mold.open() as instance:
        with pytest.raises(type(error)) as caught:
            instance.call("go", 1, 1)
        assert caught.value is error
        assert not instance.alive
    with mold.open() as instance:
        assert instance.call("say", 1) is None


def test_an_error_of_one_thread_does_not_reach_another() -> None:
    def ask(_instance: wasm.Instance, who: int, _times: int) -> int:
        if who % 2:
            raise LookupError(str(who))
        return who

    mold, wrong = asks(ask), []

    def work(who: int) -> None:
        for _ in range(200):
            with mold.open() as instance:
                try:
                    got: Any = instance.call("go", who, 0)
                except LookupError as error:
                    got = str(error)
                if got != (str(who) if who % 2 else who):
                    wrong.append((who, got))

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("imported", "said"),
    [
        ('"host" "other" (func)', "imports host.other, which nobody answers"),
        ('"env" "host_interrupt" (func (param i32))', "as a function i:, which it is not"),
        ('"host" "real" (func (param f32))', "host.real: an import is a function of integers"),
        ('"host" "memory" (memory 1)', "host.memory: an import is a function of integers"),
    ],
)  # fmt: skip
def test_an_import_that_nobody_answers_is_refused(imported: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        mold_of(f"(module (import {imported}))")


def test_a_module_that_can_not_start_says_why() -> None:
    mold = mold_of('(module (memory (export "memory") 2) (func $go unreachable) (start $go))')
    with pytest.raises(wasm.StartError, match="unreachable"):
        mold.open()
    small = mold_of('(module (memory (export "memory") 2))', memory=1 << 16)
    with pytest.raises(wasm.StartError, match="memory"):
        small.open()


def test_an_image_of_odd_size_is_refused() -> None:
    for image in (b"x", b"\0" * (1 << 17)):
        with pytest.raises(ValueError, match="multiple of 64 KiB"):
            mold_of("(module)", image=image, memory=1 << 16)
    with pytest.raises(ValueError, match="positive bytes"):
        mold_of("(module)", memory=0)


def test_a_library_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot open shared object"):
        wasm.Library(str(tmp_path / "missing.so"))
    with pytest.raises(OSError, match="there is no wasmtime_store_new"):
        wasm.Library("libc.so.6")


# ---- WASI, as C answers it. ----

WASI = """(module
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "clock") (param i32 i64 i32) (result i32) (call $clock (local.get 0) (local.get 1) (local.get 2)))
    (func (export "random") (param i32 i32) (result i32) (call $random (local.get 0) (local.get 1)))
    (func (export "write") (param i32 i32 i32 i32) (result i32)
        (call $write (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
    (func (export "sizes") (param i32 i32) (result i32) (call $sizes (local.get 0) (local.get 1)))
    (func (export "close") (param i32) (result i32) (call $close (local.get 0)))
    (func (export "exit") (param i32) (call $exit (local.get 0)))
    (func (export "crash") unreachable)
)"""
FAULT, INVAL, BADF = 21, 28, 8


def test_clocks_are_the_hosts_or_frozen() -> None:
    with mold_of(WASI).open() as instance:
        for which, now in ((0, time.time_ns), (1, time.monotonic_ns)):
            before = now()
            assert instance.call("clock", which, 1, 8) == 0
            assert before <= int.from_bytes(instance.read(8, 8), "little") <= now()
        assert instance.call("clock", 2, 1, 8) == INVAL
        assert instance.call("clock", 0, 1, 65529) == FAULT
    with mold_of(WASI, clock="frozen", frozen_ns=77).open() as instance:
        for which in (0, 1):
            assert instance.call("clock", which, 1, 8) == 0
            assert int.from_bytes(instance.read(8, 8), "little") == 77


def test_randomness_stays_in_the_memory() -> None:
    with mold_of(WASI).open() as instance:
        assert instance.call("random", 0, 65536) == 0
        assert len(set(instance.image())) == 256
        assert instance.call("random", 1, 65536) == FAULT
        assert instance.call("random", -1, 1) == FAULT


def test_nothing_is_open_and_the_environment_is_empty() -> None:
    with mold_of(WASI).open() as instance:
        instance.write(0, b"\xff" * 8)
        assert instance.call("sizes", 0, 4) == 0
        assert instance.read(0, 8) == bytes(8)
        assert instance.call("sizes", 0, 65533) == FAULT
        assert instance.call("close", 1) == BADF
        assert instance.call("write", 3, 0, 1, 8) == BADF


def test_what_a_guest_writes_before_it_dies_is_its_message() -> None:
    with mold_of(WASI).open() as instance:
        instance.write(0, b"".join(n.to_bytes(4, "little") for n in (64, 5, 69, 600)))
        instance.write(64, b"panic" + b"x" * 600)
        assert instance.call("write", 2, 0, 2, 32) == 0
        assert int.from_bytes(instance.read(32, 4), "little") == 605
        for arguments in ((2, 65535, 1, 32), (2, 0, 2, 65535), (2, 0, 1 << 31, 32)):
            assert instance.call("write", *arguments) in {FAULT, INVAL}
        with pytest.raises(wasm.Trap) as caught:
            instance.call("crash")
        assert caught.value.detail.startswith("panicxxx")
        assert len(caught.value.detail) < 512


def test_a_guest_that_exits_says_with_what() -> None:
    with mold_of(WASI).open() as instance, pytest.raises(wasm.Trap) as caught:
        instance.call("exit", 7)
    assert (caught.value.end, caught.value.code) == ("exited", 7)


def test_ten_thousand_instances_leave_nothing(numbers: wasm.Mold) -> None:
    def held() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0])

    for _ in range(100):
        numbers.open().close()
    before, descriptors = held(), len(os.listdir("/proc/self/fd"))
    for _ in range(10_000):
        numbers.open().close()
    assert held() - before < 16384  # pages
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert kit().engine.handle
