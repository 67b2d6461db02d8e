"""Memories that share one budget, in wasmtime's own engines."""

from __future__ import annotations

import gc
import threading

import pytest
import wasmtime
from wasmtime import _ffi

from cloche_native.wasm import Budget, Library

PAGE = 65536
WAT = """(module (memory (export "memory") 1) (data (i32.const 8) "\\2a")
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "look") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "put") (param i32 i32) (i32.store (local.get 0) (local.get 1))))"""


def engine(budget: Budget) -> wasmtime.Engine:
    config = wasmtime.Config()
    budget.lend(config)
    return wasmtime.Engine(config)


@pytest.fixture
def budget() -> Budget:
    return Budget(Library(str(_ffi.filename)), 10 * PAGE)


class Guest:
    def __init__(self, used: wasmtime.Engine) -> None:
        self.store = wasmtime.Store(used)
        self._exports = wasmtime.Instance(self.store, wasmtime.Module(used, WAT), []).exports(self.store)

    def __call__(self, name: str, *given: int) -> int:
        function = self._exports[name]
        assert isinstance(function, wasmtime.Func)
        return int(function(self.store, *given) or 0)


def test_memories_of_several_engines_grow_as_far_as_their_sum_may(budget: Budget) -> None:
    one, two = Guest(engine(budget)), Guest(engine(budget))
    assert one("grow", 5) == 1
    assert two("grow", 4) == -1
    assert two("grow", 3) == 1
    assert budget.look() == (10 * PAGE, 10 * PAGE, 1)
    with pytest.raises(wasmtime.WasmtimeError, match="all the memory that they may"):
        Guest(engine(budget))
    one.store.close()
    assert budget.look().used == 4 * PAGE
    assert two("grow", 6) == 4
    two.store.close()
    assert budget.look() == (0, 10 * PAGE, 2)


def test_a_memory_is_as_any_other(budget: Budget) -> None:
    guest = Guest(engine(budget))
    assert guest("look", 8) == 0x2A
    assert guest("grow", 2) == 1
    guest("put", 3 * PAGE - 4, 7)
    assert (guest("look", 3 * PAGE - 4), guest("look", 2 * PAGE)) == (7, 0)
    for beyond in (3 * PAGE - 3, 3 * PAGE, 0x7FFFFFFF, -4):
        with pytest.raises(wasmtime.Trap, match="out of bounds"):
            guest("look", beyond)
    guest.store.close()


def test_it_can_be_changed_and_outlives_its_owner(budget: Budget) -> None:
    used = engine(budget)
    guest = Guest(used)
    budget.resize(PAGE)
    assert guest("grow", 1) == -1
    budget.resize(3 * PAGE)
    assert guest("grow", 2) == 1
    del budget
    gc.collect()
    assert guest("grow", 1) == -1
    guest.store.close()


def test_threads_together_get_no_more(budget: Budget) -> None:
    guests = [Guest(engine(budget)) for _ in range(4)]
    got: list[int] = []

    def work(guest: Guest) -> None:
        got.extend(guest("grow", 1) for _ in range(50))

    threads = [threading.Thread(target=work, args=(guest,)) for guest in guests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one != -1 for one in got) == 6
    assert budget.look() == (10 * PAGE, 10 * PAGE, 194)
    for guest in guests:
        guest.store.close()
    assert budget.look().used == 0


@pytest.mark.parametrize("most", [0, -1])
def test_no_bytes_are_no_budget(budget: Budget, most: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        Budget(Library(str(_ffi.filename)), most)
    with pytest.raises(ValueError, match="positive"):
        budget.resize(most)
