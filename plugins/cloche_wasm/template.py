"""Templates: an interpreter booted once, as a module whose instances begin where it stood.

Booting is the same every time: the clock stands, random bytes follow from nothing, there is neither file nor network.
So equal recipes give equal modules, byte for byte, in every process and on every machine, and a saved state, which is
what differs from the template, is told to belong to it by its digest.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import wasmtime

from cloche_wasm import guests
from cloche_wasm.bake import bake
from cloche_wasm.boot import Recipe, boot
from cloche_wasm.cache import Cache, Entry, load, user_cache
from cloche_wasm.engine import Engine, own_engine

_FORMAT: Final = 1
"""Changed with whatever changes what a recipe gives: this module, boot.py, bake.py."""

Link = Callable[[wasmtime.Linker, Sequence[wasmtime.ImportType]], object]
"""Defines in a linker each of the imports that a module wants."""


@dataclass(frozen=True, slots=True)
class Template:
    """What instances of an interpreter are made of. Used by many threads at once, as long as anybody holds it."""

    engine: Engine
    module: wasmtime.Module
    pre: wasmtime.InstancePre
    """The module with its imports linked."""
    image: mmap.mmap
    """The memory that an instance begins with: whole pages of 64 KiB, mapped, to be read only."""
    stack_pointer: int
    handles: Mapping[str, int]
    """By the name of the recipe: where a value is, in each instance."""
    digest: str
    """Of the module's bytes: 64 hex digits."""
    linker: wasmtime.Linker
    source: Callable[[], bytes] = field(repr=False)
    """Gives the module's bytes, for those who run it elsewhere."""


def prepare(recipe: Recipe, engine: Engine, link: Link, *, cache: Cache | None = None) -> Template:
    """Give the template of ``recipe``, whose instances run in ``engine`` with the imports that ``link`` defines.

    It is made once and kept in ``cache`` (the user's own); that takes a second or three.
    Raises ``StartError`` when one of its scripts fails, ``RuntimeUnavailable`` when the interpreter is not there.
    """
    cache = cache or user_cache()
    key = {
        "kind": "template", "format": _FORMAT, "guest": guests.QUICKJS.sha256, "engine": engine.identity,
        "recipe": recipe.digest(),
    }  # fmt: skip
    make = partial(_make, recipe, cache)
    source = partial(cache.use, key, make, lambda entry: entry.read("wasm"))
    return cache.use(key, make, partial(_open, engine, link, source))


def _make(recipe: Recipe, cache: Cache) -> dict[str, bytes | bytearray]:
    engine = own_engine()
    guest = guests.read(guests.QUICKJS)
    booted = boot(recipe, engine, cache.module(engine, guest, guests.QUICKJS.name))
    baked = bake(guest, booted.memory, {"__stack_pointer": booted.stack_pointer})
    state = {
        "stack_pointer": booted.stack_pointer,
        "handles": dict(booted.handles),
        "digest": hashlib.sha256(baked).hexdigest(),
    }
    return {
        "module": engine.compile(baked, "the template").serialize(),
        "image": booted.memory,
        "wasm": baked,
        "state": json.dumps(state).encode(),
    }


def _open(engine: Engine, link: Link, source: Callable[[], bytes], entry: Entry) -> Template:
    module = load(engine, entry, "module")
    linker = wasmtime.Linker(engine.wasm)
    link(linker, module.imports)
    state = json.loads(entry.read("state"))
    return Template(
        engine, module, linker.instantiate_pre(module), entry.map("image"), state["stack_pointer"], state["handles"],
        state["digest"], linker, source,
    )  # fmt: skip
