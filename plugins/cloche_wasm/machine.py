"""One WASI program in the machine: made of a module, run in the caller's thread, ended from any other."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import wasmtime

from cloche import SpecError
from cloche_native.wasm import Budget
from cloche_wasm.cache import user_cache
from cloche_wasm.engine import Engine, engine
from cloche_wasm.text import one_line
from cloche_wasm.wasi.calls import MODULE, SIGNATURES, Wasi
from cloche_wasm.wasi.errors import Exited

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE_MAX: Final = 64 << 20  # bytes of a module
STACK: Final = 1 << 20  # bytes of the machine's own stack; what C calls its stack lies in a program's memory
TABLE_MAX: Final = 1 << 17  # elements of one of a program's tables, 8 bytes each
TABLES: Final = 4
_TYPES: Final = {"i": wasmtime.ValType.i32, "I": wasmtime.ValType.i64}
_COMPONENT: Final = b"\0asm\x0d\0\x01\0"
_SIGNALS: Final = {
    wasmtime.TrapCode.STACK_OVERFLOW: signal.SIGSEGV,
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: signal.SIGSEGV,
    wasmtime.TrapCode.TABLE_OUT_OF_BOUNDS: signal.SIGSEGV,
    wasmtime.TrapCode.INDIRECT_CALL_TO_NULL: signal.SIGSEGV,
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: signal.SIGFPE,
    wasmtime.TrapCode.INTEGER_OVERFLOW: signal.SIGFPE,
    wasmtime.TrapCode.UNREACHABLE: signal.SIGABRT,
}
"""What a Linux program would have been ended by; everything else is as an instruction that there is not."""


class Unrunnable(Exception):
    """The module can't be run here; the text says why."""


@dataclass(frozen=True, slots=True)
class End:
    """How a program ended: ``code``, or the ``signal`` that a Linux program would have got, and why."""

    code: int | None
    signal: int | None = None
    detail: str = ""
    memory: int = 0
    """Bytes of its memory in the end, which never shrinks."""


def _engine(budget: Budget | None) -> Engine:
    """Give an engine for one program, whose epoch may then be advanced to end it, with what programs may use."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.max_wasm_stack = STACK
    config.parallel_compilation = False  # a forked child must be able to compile
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.wasm_gc = False
    config.wasm_component_model = False
    config.memory_init_cow = False  # as with a budget, for what is compiled is kept for both
    if budget is not None:
        budget.lend(config)
    shared = engine()
    identity = f"{shared.identity}; one memory, no gc, no image"
    return replace(shared, wasm=wasmtime.Engine(config), stack=STACK, identity=identity)


class _Memory:
    """A program's memory, for its calls of WASI: used in its own thread alone."""

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._store, self._memory = store, memory
        self.size = memory.data_len(store)

    def read(self, at: int, size: int) -> bytes:
        self.size = self._memory.data_len(self._store)
        if size > self.size - at:
            raise IndexError(at)
        return bytes(self._memory.read(self._store, at, at + size))

    def write(self, at: int, data: bytes) -> None:
        self.size = self._memory.data_len(self._store)
        if len(data) > self.size - at:
            raise IndexError(at)
        self._memory.write(self._store, data, at)


class Machine:
    """Runs one program. ``stop`` may be called from any thread, before, while and after."""

    def __init__(self, *, budget: Budget | None = None) -> None:
        """Take what the memories of all programs of its box are taken from; without that they have no bound."""
        self._made = _engine(budget)
        self._engine = self._made.wasm
        self._code: int | None = None
        self._failed = ""
        self._memory: _Memory | None = None
        self.stopped = False

    def stop(self) -> None:
        """End the program where it is."""
        self.stopped = True
        self._engine.increment_epoch()

    @property
    def memory(self) -> int:
        """Bytes of the program's memory, as it was at its last call."""
        return self._memory.size if self._memory is not None else 0

    def run(self, source: bytes, wasi: Wasi) -> End:
        """Run the module to its end. Raises ``Unrunnable``."""
        module = self._module(source)
        linker = self._linked(module, wasi)
        store = wasmtime.Store(self._engine)
        try:
            store.set_limits(-1, TABLE_MAX, 1, TABLES, 1)
            store.set_epoch_deadline(1)
            if self.stopped:  # the epoch of that was before this one's deadline
                return End(None, signal.SIGKILL)
            return self._ran(store, linker, module, wasi)
        finally:
            wasi.memory = None
            store.close()
            linker.close()

    def _ran(
        self, store: wasmtime.Store, linker: wasmtime.Linker, module: wasmtime.Module, wasi: Wasi
    ) -> End:  # fmt: skip
        try:
            exports = linker.instantiate(store, module).exports(store)
            start, memory = exports.get("_start"), exports.get("memory")
            if not isinstance(start, wasmtime.Func) or start.type(store).params or start.type(store).results:
                raise Unrunnable("the module has no function _start to begin with: it is a library")
            if isinstance(memory, wasmtime.Memory):
                wasi.memory = self._memory = _Memory(store, memory)
            start(store)
        except wasmtime.Trap as trap:
            return self._trapped(trap.with_traceback(None))  # its frames hold the module until the collector comes
        except wasmtime.WasmtimeError as error:
            error.with_traceback(None)
            if self._over():
                return self._ended()
            raise Unrunnable(f"it could not be made: {_short(error)}") from None
        return self._ended()

    def _module(self, source: bytes) -> wasmtime.Module:
        """Give ``source`` compiled, now or on another day. Raises ``Unrunnable``."""
        if len(source) > SOURCE_MAX:
            raise Unrunnable(f"the module has {len(source)} bytes; at most {SOURCE_MAX}")
        if source.startswith(_COMPONENT):
            raise Unrunnable("it is a component; only modules of WASI preview 1 can be run")
        try:
            return user_cache().module(self._made, source, "the module")
        except SpecError as error:
            raise Unrunnable(str(error)) from None

    def _over(self) -> bool:
        return self._code is not None or bool(self._failed) or self.stopped

    def _trapped(self, trap: wasmtime.Trap) -> End:
        if self._over():
            return self._ended()
        number = _SIGNALS.get(trap.trap_code, signal.SIGILL) if trap.trap_code is not None else signal.SIGILL
        return End(None, number, _short(trap), self.memory)

    def _ended(self) -> End:
        if self._failed:
            raise RuntimeError(self._failed)
        if self._code is not None:
            return End(self._code, memory=self.memory)
        return End(None, signal.SIGKILL, memory=self.memory) if self.stopped else End(0, memory=self.memory)

    def _linked(self, module: wasmtime.Module, wasi: Wasi) -> wasmtime.Linker:
        """Give a linker with what the module asks for."""
        linker = wasmtime.Linker(self._engine)
        done: set[str] = set()
        for asked in module.imports:
            name = asked.name or ""
            if asked.module != MODULE or name not in SIGNATURES or not isinstance(asked.type, wasmtime.FuncType):
                raise Unrunnable(f"it asks for {one_line(f'{asked.module}.{name}')}, which nothing here gives")
            if name in done:
                continue
            done.add(name)
            results = [] if name == "proc_exit" else [wasmtime.ValType.i32()]
            kind = wasmtime.FuncType([_TYPES[letter]() for letter in SIGNATURES[name]], results)
            linker.define_func(MODULE, name, kind, self._guarded(wasi.answer(name), gives=bool(results)))
        return linker

    def _guarded(self, answer: Callable[..., int], *, gives: bool) -> Callable[..., int | None]:
        """Let nothing be raised into the machine, which would raise it in whichever thread looks first."""

        def guarded(*given: int) -> int | None:
            try:
                number = answer(*given)
            except Exited as exited:
                self._code = exited.code & 0xFF
                number = self._leave()
            except BaseException as error:  # noqa: BLE001 - told where the program's thread is out of it
                self._failed = f"{type(error).__name__}: {error}"  # the error itself holds all of this thread's frames
                number = self._leave()
            return number if gives else None

        return guarded

    def _leave(self) -> int:
        self._engine.increment_epoch()
        return 0


def _short(error: BaseException) -> str:
    cause = str(error).rpartition("Caused by:")[2]  # before it stand the guest's functions, by names of its own
    return one_line(" ".join(cause.split()))
