"""The modules of a component made into one, with one memory of its own, that a template can be made of.

Modules that a component ties together call each other through it, share one memory and one table, and find what they
need by globals that one of them exports. Here each function, type and global gets a number in the new module, and every
instruction that names one by its old number is written anew; all else is copied. What the component takes from outside
comes from one more module, the ``glue``, as functions of numbers; what that does not have is not meant to be reached,
and traps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from cloche import SpecError
from cloche_wasm.binary import MAGIC, Kind, section, signed, unsigned
from cloche_wasm.component import Component, Given, Outside, Thing
from cloche_wasm.parts import Global, Import, Parts, parts

_LEB: Final = rb"[\x80-\xff]*+[\x00-\x7f]"
_PLAIN: Final = re.compile(
    rb"(?:[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4\xd1]|[\x0c\x0d\x20-\x22\x41\x42\x3f\x40\xd0]" + _LEB
    + rb"|[\x28-\x3e][\x00-\x3f]" + _LEB + rb"|[\x02-\x04][\x40-\x7f]|\x43.{4}|\x44.{8}|\xfc[\x00-\x07]"
    + rb"|\xfc\x0a\x00\x00|\xfc\x0b\x00)*+",
    re.DOTALL,
)  # fmt: skip
"""Instructions that name nothing of their module but its memory."""
_LOCALS: Final = re.compile(_LEB + rb"[\x6f\x70\x7b-\x7f]")
_TRAPS: Final = b"\0\0\x0b"  # no locals, and the instruction that is never to be reached
_FUNCTIONS: Final = "env"
"""Where the glue finds functions of the component's modules by their names."""
_SHIM: Final = "$imports"
"""A table of a module that only hands calls on: to what another one puts in there, from its imports of no name."""
_ADAPTER: Final = "reset_adapter_state"
"""Is exported by what answers the first preview of WASI by the second one."""

Number = tuple[Parts, int] | Import | bytes
"""A thing that a module has, one that the new module imports, or the type of a function that traps."""


def link(component: Component, glue: bytes, exports: Iterable[str]) -> bytes:
    """Give one module for ``component``, which exports its memory and its stack pointer as modules of C do.

    ``exports`` are more that it exports: functions of the glue, of the component (``after#name`` of what is to be
    called afterwards), of its modules. The glue exports functions by the names of ``Outside``, and those of the adapter
    that it replaces by theirs; it takes functions and the memory of the modules from ``env``, and all else it imports
    the new module does. Raises ``SpecError`` for what is not understood.
    """
    try:
        return _Linking(component, glue).written(exports)
    except (IndexError, KeyError, RecursionError) as error:
        raise SpecError(f"the modules of this component do not fit together: {error!r:.100}") from error


class _Linking:
    def __init__(self, component: Component, glue: bytes) -> None:
        self._component = component
        self._modules: dict[int, Parts] = {}
        self._handed_on: Mapping[str, Thing] = {}
        self._shims: set[int] = set()
        for number, instance in enumerate(component.instances):
            if instance.module is None:
                continue
            made = parts(component.modules[instance.module], instance.given)
            if _SHIM in made.exports:
                self._shims.add(number)
            elif any(wanted.name == _SHIM for wanted in made.imports[Kind.TABLE]):
                self._handed_on = component.instances[made.given[""]].things
            else:
                self._modules[number] = made
        self._glue = parts(glue, {})
        self._all = [made for made in self._modules.values() if _ADAPTER not in made.exports] + [self._glue]
        self._first: dict[tuple[int, Kind], int] = {}
        self._imports = [wanted for wanted in self._glue.imports[Kind.FUNCTION] if wanted.module != _FUNCTIONS]
        self._types: dict[bytes, int] = {}
        self._traps: dict[bytes, int] = {}
        self._changed: set[int] = set()
        self._count()

    def _count(self) -> None:
        for kind, taken in ((Kind.FUNCTION, len(self._imports)), (Kind.GLOBAL, 0)):
            for made in self._all:
                self._first[id(made), kind] = taken
                taken += len(made.functions if kind is Kind.FUNCTION else made.globals)  # noqa: PLW2901 - a sum
        self._end = self._first[id(self._glue), Kind.FUNCTION] + len(self._glue.functions)

    # -- which is which ---------------------------------------------------------------------------------------------

    def _thing(self, made: Parts, kind: Kind, index: int) -> Number:
        """Say what number ``index`` of a kind is in a module."""
        wanted = made.imported(kind, index)
        if wanted is None:
            return made, index - len(made.imports[kind])
        if made is self._glue:
            return self._named(wanted.name) if wanted.module == _FUNCTIONS else wanted
        found = self._given(Given(made.given[wanted.module], wanted.name), kind)
        return made.types[wanted.type] if found is None else found

    def _given(self, thing: Thing, kind: Kind) -> Number | None:
        if isinstance(thing, Outside):
            return self._glued(thing.name)
        instance = self._component.instances[thing.instance]
        if instance.module is None:
            return self._given(instance.things[thing.name], kind)
        if thing.instance in self._shims:
            return self._given(self._handed_on[thing.name], kind)
        made = self._modules[thing.instance]
        if _ADAPTER in made.exports:
            return self._glued(thing.name)
        return self._thing(made, *made.exports[thing.name])

    def _glued(self, name: str) -> Number | None:
        found = self._glue.exports.get(name)
        return None if found is None else self._thing(self._glue, *found)

    def _named(self, name: str) -> Number:
        """Find what any module exports, the last one first: those that come later stand on the others."""
        for made in reversed(self._all[:-1]):
            if name in made.exports:
                return self._thing(made, *made.exports[name])
        raise SpecError(f"no module of the component has {name!r}")

    def _number(self, made: Parts, kind: Kind, index: int) -> int:
        """Give the new number of a function or a global."""
        return self._new(self._thing(made, kind, index), kind)

    def _new(self, thing: Number, kind: Kind) -> int:
        if isinstance(thing, bytes):
            return self._traps.setdefault(thing, self._end + len(self._traps))
        if isinstance(thing, Import):
            return self._imports.index(thing)
        return self._first[id(thing[0]), kind] + thing[1]

    def _type(self, kind: bytes) -> int:
        return self._types.setdefault(kind, len(self._types))

    def _value(self, made: Parts, of: Global) -> int:
        """Give the value of a constant."""
        if of.of is None:
            return of.value
        found = self._thing(made, Kind.GLOBAL, of.of)
        if not isinstance(found, tuple):
            raise SpecError("a constant that comes from outside is not understood")
        return of.value + self._value(found[0], found[0].globals[found[1]])

    # -- writing ----------------------------------------------------------------------------------------------------

    def written(self, exports: Iterable[str]) -> bytes:
        bodies = [body for made in self._all for body in self._bodies(made)]
        table, memory = self._only("tables"), self._only("memories")
        elements = [self._element(made, at, held) for made in self._all for at, held in made.elements]
        data = [self._data(made, at, held) for made in self._all for at, held in made.data]
        exported = [*self._fixed(), *(self._export(name) for name in exports)]
        imports = [
            _name(one.module) + _name(one.name) + b"\0" + unsigned(self._type(self._glue.types[one.type]))
            for one in self._imports
        ]
        functions = [unsigned(self._type(made.types[kind])) for made in self._all for kind in made.functions]
        functions += [unsigned(self._type(kind)) for kind in self._traps]
        bodies += [_sized(_TRAPS) for _ in self._traps]
        globals_ = [self._global(made, one, number) for made, one, number in self._globals()]
        return MAGIC + b"".join(
            section(number, unsigned(len(held)) + b"".join(held))
            for number, held in (
                (1, list(self._types)), (2, imports), (3, functions), (4, table), (5, memory), (6, globals_),
                (7, exported), (9, elements), (10, bodies), (11, data),
            )
        )  # fmt: skip

    def _only(self, what: str) -> list[bytes]:
        found: list[bytes] = [one for made in self._all for one in getattr(made, what)]
        if len(found) != 1:
            raise SpecError(f"a component with {len(found)} {what} can't be linked")
        return found

    def _fixed(self) -> list[bytes]:
        pointer = self._new(self._named("__stack_pointer"), Kind.GLOBAL)
        return [_name("memory") + b"\2\0", _name("__stack_pointer") + b"\3" + unsigned(pointer)]

    def _export(self, name: str) -> bytes:
        kind, _, plain = name.rpartition("#")
        known = self._component.after if kind == "after" else self._component.exports
        found = self._glued(name)
        if found is None:
            found = self._given(known[plain], Kind.FUNCTION) if plain in known else self._named(name)
        if found is None:
            raise SpecError(f"the component has no function {name!r}")
        return _name(name) + b"\0" + unsigned(self._new(found, Kind.FUNCTION))

    def _globals(self) -> Iterable[tuple[Parts, Global, int]]:
        for made in self._all:
            for index, one in enumerate(made.globals):
                yield made, one, self._first[id(made), Kind.GLOBAL] + index

    def _global(self, made: Parts, one: Global, number: int) -> bytes:
        """Write a global. Most may change so that one module could set them for others, which is done."""
        return bytes((one.type, number in self._changed)) + _constant(self._value(made, one))

    def _element(self, made: Parts, at: Global, held: list[int]) -> bytes:
        numbers = b"".join(unsigned(self._number(made, Kind.FUNCTION, index)) for index in held)
        return b"\0" + _constant(self._value(made, at)) + unsigned(len(held)) + numbers

    def _data(self, made: Parts, at: Global, held: bytes) -> bytes:
        return b"\0" + _constant(self._value(made, at)) + _sized(held)

    def _bodies(self, made: Parts) -> Iterable[bytes]:
        if not made.exports:  # it was there to be started once, which it was
            return [_sized(_TRAPS) for _ in made.bodies]
        many = len(made.imports[Kind.FUNCTION]) + len(made.functions)
        functions = [unsigned(self._number(made, Kind.FUNCTION, index)) for index in range(many)]
        many = len(made.imports[Kind.GLOBAL]) + len(made.globals)
        globals_ = [self._number(made, Kind.GLOBAL, index) for index in range(many)]
        types = [self._type(kind) for kind in made.types]
        rewriting = _Rewriting(functions, globals_, types, self._changed)
        return [_sized(rewriting.body(body)) for body in made.bodies]


class _Rewriting:
    """Writes the functions of one module with new numbers; those of globals that are set go into ``changed``."""

    def __init__(self, functions: list[bytes], globals_: list[int], types: list[int], changed: set[int]) -> None:
        self._functions = functions
        self._globals = [unsigned(number) for number in globals_]
        self._numbers = globals_
        self._types = types
        self._changed = changed

    def body(self, body: bytes) -> bytes:
        count, at = _read(body, 0)
        for _ in range(count):
            if (local := _LOCALS.match(body, at)) is None:
                raise SpecError("a function with locals of an unknown type can't be linked")
            at = local.end()
        out, copied = [], 0
        while True:
            found = _PLAIN.match(body, at)
            at = found.end() if found is not None else at
            if at >= len(body):
                break
            out.append(body[copied : at + 1])
            new, at = self._instruction(body[at], body, at + 1)
            out.append(new)
            copied = at
        out.append(body[copied:])
        return b"".join(out)

    def _instruction(self, code: int, body: bytes, at: int) -> tuple[bytes, int]:
        """Give what follows ``code`` as it is to be, and where that ends in the old body."""
        match code:
            case 0x10 | 0x12 | 0xD2:  # call, return_call, ref.func
                index, at = _read(body, at)
                return self._functions[index], at
            case 0x23:
                index, at = _read(body, at)
                return self._globals[index], at
            case 0x24:
                index, at = _read(body, at)
                self._changed.add(self._numbers[index])
                return self._globals[index], at
            case 0x11 | 0x13:  # call_indirect, return_call_indirect
                index, at = _read(body, at)
                table, at = _read(body, at)
                if table:
                    raise SpecError("a module that calls through a second table can't be linked")
                return unsigned(self._types[index]) + b"\0", at
            case 0x02 | 0x03 | 0x04:  # a block with a type of its own
                index, at = _read(body, at)
                return signed(self._types[index]), at
            case 0x0E:  # br_table
                start = at
                count, at = _read(body, at)
                for _ in range(count + 1):
                    at = _read(body, at)[1]
                return body[start:at], at
        raise SpecError(f"a module with instruction {body[at - 1 : at + 1].hex()} can't be linked")


def _read(body: bytes, at: int) -> tuple[int, int]:
    """Give the number at a place, and where it ends."""
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, at
        shift += 7


def _constant(value: int) -> bytes:
    return b"\x41" + signed(value) + b"\x0b"


def _sized(held: bytes) -> bytes:
    return unsigned(len(held)) + held


def _name(text: str) -> bytes:
    return _sized(text.encode())
