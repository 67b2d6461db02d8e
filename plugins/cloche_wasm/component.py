"""Components as bytes: the modules in one, and what each of them is given by which other.

The format is the component model's binary format
(https://github.com/WebAssembly/component-model/blob/main/design/mvp/Binary.md), read as far as it says how modules are
tied together. Types are not looked at, and a component in a component is gone past: what it says is the compiler's to
check before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cloche import SpecError
from cloche_wasm.binary import Reader

HEAD: Final = b"\0asm\x0d\0\x01\0"
_INSTANCE, _DROP, _AFTER = 5, 3, 5
_NAMES: Final = {0: "func", 1: "table", 2: "memory", 3: "global", 0x10: "type", 0x11: "module", 0x12: "instance"}


@dataclass(frozen=True, slots=True)
class Outside:
    """A function that the component does not have: of what it imports, or of the machine; called by modules."""

    name: str
    """``interface#function``, the interface without its version; ``resource.drop``."""


@dataclass(frozen=True, slots=True)
class Given:
    """What instance number ``instance`` exports as ``name``."""

    instance: int
    name: str


Thing = Outside | Given


@dataclass(frozen=True, slots=True)
class Instance:
    """A module made alive with what it is given, or, where ``module`` is None, some things under names."""

    module: int | None
    given: Mapping[str, int] = field(default_factory=dict)
    """By the name of a module that is imported from: the instance that stands for it."""
    things: Mapping[str, Thing] = field(default_factory=dict)


@dataclass(slots=True)
class Component:
    """What is in one."""

    modules: list[memoryview] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    exports: dict[str, Thing] = field(default_factory=dict)
    """Functions that it gives to the outside, by name: that of a module, which takes and gives numbers."""
    after: dict[str, Thing] = field(default_factory=dict)
    """By the same name: the function to be called with what the other gave, once that was read."""


def read(wasm: bytes) -> Component:
    """Give what is in a component. Raises ``SpecError`` for what is none, or has what is not known here."""
    reading = _Reading()
    reader = Reader(wasm)
    if bytes(reader.take(min(8, reader.left))) != HEAD:
        raise SpecError("this is no component")
    try:
        while reader.left:
            number = reader.byte()
            reading.section(number, Reader(reader.take(reader.unsigned())))
    except IndexError:
        raise SpecError(f"not a component: before {reader.at} something is named that is not there") from None
    return reading.out


class _Reading:
    def __init__(self) -> None:
        self.out = Component()
        self._core: dict[str, list[Thing]] = {name: [] for name in _NAMES.values()}
        self._functions: list[Thing | tuple[Thing, Thing | None]] = []
        self._imported: list[str] = []
        self._read: dict[int, Callable[[Reader], None]] = {
            2: self._core_instance, 5: self._instance, 6: self._alias, 8: self._canon,
            10: self._import, 11: self._export,
        }  # fmt: skip

    def section(self, number: int, body: Reader) -> None:
        if number == 1:
            self.out.modules.append(body.take(body.left))
        elif (read := self._read.get(number)) is not None:
            for _ in range(body.count()):
                read(body)
            if body.left:
                raise SpecError(f"not a component: {body.left} bytes are left of section {number}")

    def _core_instance(self, body: Reader) -> None:
        if body.byte() == 0:
            module, given = body.unsigned(), {}
            for _ in range(body.count()):
                name = body.name()
                _expect(body.byte(), 0x12, "what a module is given is an instance")
                given[name] = body.unsigned()
            self.out.instances.append(Instance(module, given=given))
            return
        things = {}
        for _ in range(body.count()):
            name = body.name()
            things[name] = self._core_thing(body.byte(), body.unsigned())
        self.out.instances.append(Instance(None, things=things))

    def _core_thing(self, sort: int, index: int) -> Thing:
        space = self._core[_named(sort)]
        if index >= len(space):
            raise SpecError(f"not a component: {_NAMES[sort]} {index} is not there")
        return space[index]

    def _instance(self, body: Reader) -> None:
        if body.byte() == 0:
            body.unsigned()
            for _ in range(body.count()):
                body.name()
                _sort(body)
                body.unsigned()
        else:
            for _ in range(body.count()):
                _extern_name(body)
                _sort(body)
                body.unsigned()
        self._imported.append("")

    def _alias(self, body: Reader) -> None:
        sort, core = _sort(body)
        kind = body.byte()
        if kind == 0:
            instance, name = body.unsigned(), body.name()
            if sort == 1 and not core:
                self._functions.append(Outside(f"{_plain(self._imported[instance])}#{name}"))
            elif sort == _INSTANCE:
                self._imported.append("")
        elif kind == 1:
            instance, name = body.unsigned(), body.name()
            self._core[_named(sort)].append(Given(instance, name))
        else:
            body.unsigned()
            body.unsigned()

    def _canon(self, body: Reader) -> None:
        kind = body.byte()
        if kind == 0:  # a function of a module, made into one of the component
            _expect(body.byte(), 0, "a function is lifted")
            lifted, after = self._core["func"][body.unsigned()], self._options(body)
            body.unsigned()
            self._functions.append((lifted, after))
        elif kind == 1:
            _expect(body.byte(), 0, "a function is lowered")
            function = self._functions[body.unsigned()]
            self._options(body)
            if not isinstance(function, Outside):
                raise SpecError("a component that calls itself is not understood")
            self._core["func"].append(function)
        elif kind == _DROP:
            body.unsigned()
            self._core["func"].append(Outside("resource.drop"))
        else:
            raise SpecError(f"a component with built-in function {kind:#x} is not understood")

    def _options(self, body: Reader) -> Thing | None:
        after = None
        for _ in range(body.count()):
            option = body.byte()
            if option in {3, 4, _AFTER}:  # memory, what allocates, what is called afterwards
                index = body.unsigned()
                after = self._core["func"][index] if option == _AFTER else after
            elif option != 0:  # texts are UTF-8
                raise SpecError(f"a component whose functions have option {option} is not understood")
        return after

    def _import(self, body: Reader) -> None:
        name = _extern_name(body)
        sort = body.byte()
        if sort != _INSTANCE:
            raise SpecError(f"a component that imports {name!r:.100}, which is no instance, is not understood")
        body.unsigned()
        self._imported.append(name)

    def _export(self, body: Reader) -> None:
        name = _extern_name(body)
        sort, core = _sort(body)
        index = body.unsigned()
        if body.byte():
            raise SpecError(f"a component that says of which type its export {name!r:.100} is, is not understood")
        if sort == _INSTANCE:
            self._imported.append("")
        elif sort == 1 and not core:
            function = self._functions[index]
            self._functions.append(function)
            if isinstance(function, tuple):
                self.out.exports[name] = function[0]
                if function[1] is not None:
                    self.out.after[name] = function[1]


def _expect(found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise SpecError(f"not a component: {what}, and this is something else ({found:#x})")


def _named(sort: int) -> str:
    if sort not in _NAMES:
        raise SpecError(f"not a component: there is no sort {sort:#x} of things in modules")
    return _NAMES[sort]


def _sort(body: Reader) -> tuple[int, bool]:
    """Give a sort, and whether it is one of things in modules."""
    first = body.byte()
    return (body.byte(), True) if first == 0 else (first, False)


def _extern_name(body: Reader) -> str:
    if body.byte() > 1:
        raise SpecError("not a component: a name of an unknown kind")
    return body.name()


def _plain(name: str) -> str:
    return name.partition("@")[0]
