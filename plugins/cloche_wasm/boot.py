"""The interpreter's first minutes: it runs the scripts of a recipe, and its memory is taken as it then is."""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import wasmtime

from cloche import StartError
from cloche_wasm.engine import Engine
from cloche_wasm.text import one_line

SECONDS: Final = 60.0
"""How long the scripts may take in all."""
MEMORY: Final = 256 << 20
"""Bytes of memory that they may take."""
CLOCK: Final = 1_700_000_000_000_000_000
"""The time while booting, in nanoseconds since 1970: always the same."""
_ERRNO_BADF, _ERRNO_FAULT = 8, 21
_OK: Final = 0
_NOT_PREPARED: Final = "the interpreter could not be prepared"


@dataclass(frozen=True, slots=True)
class Script:
    """A piece of code that is run while booting: what it declares at its top level stays, and is global."""

    name: str
    """Of its file, for those who read what went wrong."""
    source: str
    keep: str = ""
    """The name under which the host finds the value of its last expression, in each instance; empty: it is dropped."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an interpreter is to be when it is booted."""

    scripts: tuple[Script, ...] = ()
    """Run in this order, each with the jobs that it leaves."""
    functions: tuple[str, ...] = ()
    """Globals that call the host by their name (``env.host_call``), there before the first script."""
    answers: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """What such a call gives while booting, by its first two arguments; ``undefined`` for others."""
    modules: Mapping[str, str] = field(default_factory=dict)
    """Sources of the modules that a script may import while booting, by name."""

    def digest(self) -> str:
        """Give a digest of all of it."""
        scripts = [(script.name, script.source, script.keep) for script in self.scripts]
        parts = [scripts, self.functions, sorted(self.answers.items()), sorted(self.modules.items())]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Booted:
    """What is left of it, and where things are."""

    memory: bytes
    """In whole pages of 64 KiB. The stack, which lies at its beginning and is empty now, is zero."""
    stack_pointer: int
    handles: Mapping[str, int]


def boot(recipe: Recipe, engine: Engine, module: wasmtime.Module) -> Booted:
    """Boot an interpreter in ``engine``, its alone. Raises ``StartError`` when a script fails or takes long."""
    overdue = threading.Timer(SECONDS, engine.wasm.increment_epoch)
    overdue.daemon = True
    overdue.start()
    try:
        with wasmtime.Store(engine.wasm) as store:
            store.set_epoch_deadline(1)
            store.set_limits(memory_size=MEMORY)
            return _Guest(store, engine, module, recipe).boot()
    except wasmtime.Trap as trap:
        late = trap.trap_code is wasmtime.TrapCode.INTERRUPT
        why = f"its scripts took more than {SECONDS:g} s" if late else trap.message.strip().rpartition("\n")[2].strip()
        raise StartError(f"{_NOT_PREPARED}: {one_line(why)}") from trap
    except wasmtime.WasmtimeError as error:
        raise StartError(f"{_NOT_PREPARED}: {one_line(str(error))}") from error
    finally:
        overdue.cancel()


class _Guest:
    """An interpreter as its exports give it: strings and values by numbers, answers through its memory."""

    def __init__(self, store: wasmtime.Store, engine: Engine, module: wasmtime.Module, recipe: Recipe) -> None:
        self._store = store
        self._recipe = recipe
        self._random = _stream()
        linker = wasmtime.Linker(engine.wasm)
        answers: dict[str, Callable[..., int | None]] = {
            "random_get": self._random_get, "clock_time_get": self._clock, "environ_sizes_get": self._environment,
            "fd_fdstat_get": _no_file, "fd_seek": _no_file, "fd_write": _no_file, "fd_close": _no_file,
            "environ_get": _nothing, "proc_exit": _exit, "host_interrupt": _nothing, "host_call": self._host,
            "host_module_normalize": self._normalize, "host_module_load": self._load,
        }  # fmt: skip
        for wanted in module.imports:
            answer = answers.get(wanted.name or "")
            if answer is None or not isinstance(wanted.type, wasmtime.FuncType):
                raise StartError(f"the interpreter wants {wanted.module}.{wanted.name}, which nobody gives it")
            linker.define_func(wanted.module, wanted.name or "", wanted.type, answer)
        exports = linker.instantiate(store, module).exports(store)
        self._memory = cast("wasmtime.Memory", exports["memory"])
        self._stack_pointer = cast("wasmtime.Global", exports["__stack_pointer"])
        self._exports = exports

    def boot(self) -> Booted:
        """Do what the recipe says."""
        for name in self._recipe.functions:
            self._define(name)
        handles = {}
        for script in self._recipe.scripts:
            value = self._run(script)
            if script.keep:
                handles[script.keep] = value
            else:
                self._call("free_value", value)
        self._call("run_gc")
        top = int(self._stack_pointer.value(self._store))
        held = self._memory.read(self._store, top, self._memory.data_len(self._store))
        return Booted(bytes(top) + held, top, handles)

    def _call(self, name: str, *arguments: int) -> int:
        """Call an export. What it gives is a number of 32 bits, taken as unsigned: most are addresses."""
        given: Any = cast("wasmtime.Func", self._exports[name])(self._store, *arguments)
        return int(given) & 0xFFFFFFFF if given is not None else 0

    def _define(self, name: str) -> None:
        text, size = self._put(name)
        function, world = self._call("new_function", text, size), self._call("global_object")
        if self._call("set_prop", world, text, size, function) != _OK:
            raise StartError(f"{_NOT_PREPARED}: the global {name} can't be set")
        for handle in (function, world):
            self._call("free_value", handle)
        self._call("qjs_free", text, size)

    def _run(self, script: Script) -> int:
        text, size = self._put(f"{script.source}\n//# sourceURL={script.name}")
        out = self._call("qjs_alloc", 4)
        status = self._call("eval_code", text, size, out)
        if status != _OK:
            self._call("last_exception", out)
            raise StartError(f"{_NOT_PREPARED}: {script.name}: {one_line(self._described(self._get(out)))}")
        value = self._get(out)
        self._call("qjs_free", out, 4)
        self._call("qjs_free", text, size)
        self._call("execute_pending_jobs")
        return value

    def _described(self, handle: int) -> str:
        out = self._call("qjs_alloc", 4)
        said = []
        for part in ("name", "message", "stack"):
            text, size = self._put(part)
            if self._call("get_prop", handle, text, size, out) == _OK:
                said.append(self._text(self._get(out)))
        return ": ".join(filter(None, said)) or self._text(handle) or "it threw something without a text"

    def _text(self, handle: int) -> str:
        if self._call("get_string", handle) != _OK:
            return ""
        at, size = self._call("qjs_last_ptr"), self._call("qjs_last_len")
        text = bytes(self._memory.read(self._store, at, at + size)).decode(errors="replace")
        self._call("qjs_result_free")
        return text

    def _put(self, text: str) -> tuple[int, int]:
        data = text.encode(errors="replace")
        at = self._call("qjs_alloc", len(data))
        self._memory.write(self._store, data, at)
        return at, len(data)

    def _get(self, at: int) -> int:
        return int.from_bytes(self._memory.read(self._store, at, at + 4), "little")

    # What it asks of the world. Nothing may be raised here: the library keeps one error for all of its threads.

    def _written(self, data: bytes, at: int) -> int:
        at &= 0xFFFFFFFF
        if at + len(data) > self._memory.data_len(self._store):
            return _ERRNO_FAULT
        self._memory.write(self._store, data, at)
        return 0

    def _random_get(self, at: int, size: int) -> int:
        size &= 0xFFFFFFFF
        if size > self._memory.data_len(self._store):
            return _ERRNO_FAULT
        return self._written(bytes(next(self._random) for _ in range(size)), at)

    def _clock(self, _clock: int, _precision: int, at: int) -> int:
        return self._written(struct.pack("<Q", CLOCK), at)

    def _environment(self, count: int, size: int) -> int:
        return self._written(bytes(4), count) or self._written(bytes(4), size)

    def _host(self, _name: int, _size: int, _this: int, count: int, at: int) -> int:
        handles = struct.unpack(f"<{count}I", self._memory.read(self._store, at, at + 4 * count))
        first, second, *_ = [*(self._text(handle) for handle in handles[:2]), "", ""]
        answer = self._recipe.answers.get((first, second))
        if answer is None:
            return self._call("new_undefined")
        text, size = self._put(answer)
        handle = self._call("new_string", text, size)
        self._call("qjs_free", text, size)
        return handle

    def _normalize(self, _base: int, _base_size: int, name: int, size: int, out: int) -> int:
        text = self._asked(name, size)
        return self._answered(text, out) if text in self._recipe.modules else 0

    def _load(self, name: int, size: int, out: int) -> int:
        source = self._recipe.modules.get(self._asked(name, size))
        return self._answered(source, out) if source is not None else 0

    def _asked(self, at: int, size: int) -> str:
        at, size = at & 0xFFFFFFFF, size & 0xFFFFFFFF
        return bytes(self._memory.read(self._store, at, at + size)).decode(errors="replace")

    def _answered(self, text: str, out: int) -> int:
        at, size = self._put(text)
        return at if self._written(struct.pack("<I", size), out) == 0 else 0


def _stream() -> Iterator[int]:
    """Give bytes that look random and are the same each time."""
    number = 0
    while True:
        yield from hashlib.sha256(b"cloche %d" % number).digest()
        number += 1


def _no_file(*_: int) -> int:
    return _ERRNO_BADF


def _nothing(*_: int) -> int:
    return 0


def _exit(*_: int) -> None:
    """Return from it: what the guest does next is trap."""
