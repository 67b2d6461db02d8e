"""Engines: what compiles modules and what their instances run in, set up once for the whole process."""

from __future__ import annotations

import atexit
import platform
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import metadata
from typing import Final

import wasmtime
from wasmtime import _bindings, _managed

from cloche import SpecError
from cloche_wasm.binary import MAGIC, sections
from cloche_wasm.text import one_line

STACK: Final = 4 << 20
STACK_LEAST: Final = 64 << 10
STACK_MOST: Final = 64 << 20
"""Bytes of stack that may be asked for. A guest runs on the stack of the thread that runs it, which must have them."""
ADDRESSED: Final = 4 << 30
"""Bytes that a memory of WebAssembly can have."""
PLACES: Final = 32
_RESIDENT: Final = 2 << 20
"""Bytes of a place, at most, that stay its own while nobody uses it."""
_POOL: Final = {
    "total_memories": PLACES, "total_tables": PLACES, "total_core_instances": PLACES, "max_memory_size": ADDRESSED,
    "max_unused_warm_slots": PLACES, "linear_memory_keep_resident": _RESIDENT, "table_keep_resident": 64 << 10,
}  # fmt: skip
_SETTINGS: Final = "epochs, no threads"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine, and what a compiled module must fit to run in it.

    Its epoch is never advanced but to stop what is overdue: a store without a deadline (``set_epoch_deadline``) stops
    at once. Compiling starts no threads, so a child of a fork can compile too.
    """

    wasm: wasmtime.Engine
    stack: int
    identity: str

    def compile(self, wasm: bytes, what: str) -> wasmtime.Module:
        """Compile a module. Raises ``SpecError`` for what is none, beginning with ``what``."""
        try:
            if wasm[: len(MAGIC)] != MAGIC:
                next(sections(wasm), None)  # says what is wrong with it; text, which the compiler takes too, is refused
            return wasmtime.Module(self.wasm, wasm)
        except SpecError as error:
            raise SpecError(f"{what}: {error}") from None
        except wasmtime.WasmtimeError as error:
            raise SpecError(f"{what}: not a module that runs here: {one_line(str(error))}") from None


@lru_cache(8)
def pooled(stack: int = STACK) -> Engine | None:
    """Give an engine as ``engine`` does, for guests that come and go; ``None`` if there are not the addresses for it.

    It has `PLACES` for memories, which stay mapped: one that was used is made as it was by copying what differs, which
    takes a fraction of the time of page faults in a new mapping. Who finds no place must take the other engine.
    """
    config = _config(stack)
    pool = _bindings.wasmtime_pooling_allocation_config_new()
    for name, number in _POOL.items():
        getattr(_bindings, f"wasmtime_pooling_allocation_config_{name}_set")(pool, number)
    _bindings.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    _bindings.wasmtime_pooling_allocation_config_delete(pool)
    try:
        return Engine(wasmtime.Engine(config), stack, _identity())
    except wasmtime.WasmtimeError:
        return None


@lru_cache(8)
def engine(stack: int = STACK) -> Engine:
    """Give the engine whose guests have ``stack`` bytes of stack. Raises ``SpecError`` for too few or too many."""
    if not STACK_LEAST <= stack <= STACK_MOST:
        raise SpecError(f"a stack is {STACK_LEAST} to {STACK_MOST} bytes here, not {stack}")
    return Engine(wasmtime.Engine(_config(stack)), stack, _identity())


def own_engine() -> Engine:
    """Give a new engine for one thing alone, whose epoch may be advanced without a thought for others."""
    return Engine(wasmtime.Engine(_config(STACK)), STACK, _identity())


@atexit.register
def _leave() -> None:
    """Let the process's end free what is alive then: the functions that would are gone before the objects are."""
    _managed.Managed.__del__ = lambda _: None  # type: ignore[method-assign]


def building_engine() -> Engine:
    """Give an engine that compiles in many threads, for a process that does nothing else."""
    config = _config(STACK)
    config.parallel_compilation = True
    return Engine(wasmtime.Engine(config), STACK, _identity())


@cache
def _identity() -> str:
    return f"wasmtime {metadata.version('wasmtime')}, {platform.machine()}, {_SETTINGS}"


def _config(stack: int) -> wasmtime.Config:
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.parallel_compilation = False  # its threads are missing after a fork, and compiling would wait for them
    config.wasm_threads = False  # a memory that two instances share is counted to neither
    # The library ends the process if a stack is larger than those of its fibers, whether there are any or not.
    _bindings.wasmtime_config_async_stack_size_set(config.ptr(), stack + (1 << 20))
    config.max_wasm_stack = stack
    return config
