"""Modules for the tests of the bridge to wasmtime, and what is made of them."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import wasmtime
from wasmtime import _ffi

from cloche_native import wasm

STACK = 1 << 20

BOOT = b"""
globalThis.box = undefined;
globalThis.show = (value) => JSON.stringify(value === undefined ? {} : {value});
globalThis.encode = (value, ok) => {
    if (!ok) return JSON.stringify({error: String(value)});
    if (!(value instanceof Promise)) return show(value);
    box = undefined;
    value.then((v) => { box = show(v); }, (e) => { box = JSON.stringify({error: String(e)}); });
};
globalThis.poll = () => box;
globalThis.prepare = (text) => { globalThis.prepared = text; };
"""


class Kit(NamedTuple):
    """The library, and an engine as both sides have it."""

    library: wasm.Library
    plain: wasmtime.Engine
    engine: wasm.Engine


@functools.cache
def kit() -> Kit:
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.max_wasm_stack = STACK
    config.parallel_compilation = False
    plain = wasmtime.Engine(config)
    library = wasm.Library(str(_ffi.filename))
    return Kit(library, plain, wasm.Engine(library, plain, stack=STACK))


def mold_of(wat: str, functions: dict[tuple[str, str], Any] | None = None, **more: Any) -> wasm.Mold:  # noqa: ANN401 - as Mold takes them
    """Give a mold of a module in text."""
    tools = kit()
    module, linker = wasmtime.Module(tools.plain, bytes(wasmtime.wat2wasm(wat))), wasmtime.Linker(tools.plain)
    answers = wasm.answer(tools.library, linker, module.imports, functions)
    return wasm.Mold(tools.engine, linker.instantiate_pre(module), functions=answers, **more)


@functools.cache
def script_parts() -> tuple[wasmtime.InstancePre, tuple[wasm.Function, ...], bytes, bytes, wasm.Entries, int]:
    """Compile the JavaScript guest, boot it; its state then is a delta against the memory that it begins with."""
    tools, found = kit(), importlib.util.find_spec("quickjs_rs")
    assert found is not None
    assert found.origin is not None
    module = wasmtime.Module(tools.plain, Path(found.origin).with_name("_guest.wasm").read_bytes())
    linker = wasmtime.Linker(tools.plain)
    answers = wasm.answer(tools.library, linker, module.imports)
    pre = linker.instantiate_pre(module)
    with wasm.Mold(tools.engine, pre).open() as fresh:
        image, pointer = fresh.image(), fresh.get_global("__stack_pointer")
    with wasm.Mold(tools.engine, pre, image=image, stack_pointer=pointer).open() as booted:
        booted.function("ask")
        booted.mint(BOOT)
        names = (b"encode", b"poll", b"prepare", b"undefined", b"true", b"false")
        entries = wasm.Entries(*(booted.mint(name) for name in names))
        return pre, answers, image, booted.delta(), entries, pointer


def script_mold(**more: Any) -> wasm.Mold:  # noqa: ANN401 - as Mold takes them
    """Give a mold of the JavaScript guest; ``script`` makes its instances ready."""
    pre, answers, image, _, entries, pointer = script_parts()
    return wasm.Mold(kit().engine, pre, functions=answers, image=image, stack_pointer=pointer, entries=entries, **more)


def script(mold: wasm.Mold | None = None) -> wasm.Instance:
    """Give an instance of the JavaScript guest that is ready to run."""
    return (mold or script_mold()).restore(script_parts()[3])
