"""A module taken apart, to be put together anew with others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cloche import SpecError
from cloche_wasm.binary import Kind, Reader, sections

_END, _FUNCTION_TYPE = 0x0B, 0x60
_SKIPPED: Final = frozenset({0, 12})


@dataclass(frozen=True, slots=True)
class Import:
    """What a module takes; ``type`` is the number of a function's."""

    module: str
    name: str
    kind: Kind
    type: int = 0


@dataclass(frozen=True, slots=True)
class Global:
    """A global that a module has, of 32 bits: its value is ``value``, and that of the global ``of`` added."""

    type: int
    mutable: bool
    value: int
    of: int | None


@dataclass(slots=True)
class Parts:
    """A module, in parts. Things are numbered by kind, imported ones first."""

    given: Mapping[str, int]
    """By the name of a module that is imported from: the number of the instance that stands for it."""
    types: list[bytes] = field(default_factory=list)
    imports: dict[Kind, list[Import]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    functions: list[int] = field(default_factory=list)
    tables: list[bytes] = field(default_factory=list)
    memories: list[bytes] = field(default_factory=list)
    globals: list[Global] = field(default_factory=list)
    exports: dict[str, tuple[Kind, int]] = field(default_factory=dict)
    elements: list[tuple[Global, list[int]]] = field(default_factory=list)
    """What a table holds from a place on, which a global would have as its value."""
    bodies: list[bytes] = field(default_factory=list)
    data: list[tuple[Global, bytes]] = field(default_factory=list)

    def imported(self, kind: Kind, index: int) -> Import | None:
        """Give the import that has this number, or ``None`` for what the module has itself."""
        found = self.imports[kind]
        return found[index] if index < len(found) else None


def parts(wasm: bytes | memoryview, given: Mapping[str, int]) -> Parts:
    """Take a module apart. Raises ``SpecError`` for what can't be put together: a start function, passive data."""
    out = Parts(given)
    for number, body in sections(wasm):
        if number in _SKIPPED:
            continue
        if number not in _READ:
            raise SpecError(f"a module with section {number} can't be linked")
        reader = Reader(body)
        for _ in range(reader.count()):
            _READ[number](out, reader)
    return out


def _type(out: Parts, reader: Reader) -> None:
    start = reader.at
    if reader.byte() != _FUNCTION_TYPE:
        raise SpecError("a module with types that are no functions' can't be linked")
    for _ in range(2):
        reader.take(reader.count())
    out.types.append(bytes(reader.since(start)))


def _import(out: Parts, reader: Reader) -> None:
    module, name, kind = reader.name(), reader.name(), reader.kind()
    number = 0
    match kind:
        case Kind.FUNCTION:
            number = reader.unsigned()
        case Kind.GLOBAL:
            reader.take(2)
        case Kind.MEMORY:
            reader.limits()
        case Kind.TABLE:
            reader.value_type()
            reader.limits()
        case _:
            raise SpecError("a module that imports tags can't be linked")
    out.imports[kind].append(Import(module, name, kind, number))


def _table(out: Parts, reader: Reader) -> None:
    start = reader.at
    reader.value_type()
    reader.limits()
    out.tables.append(bytes(reader.since(start)))


def _memory(out: Parts, reader: Reader) -> None:
    start = reader.at
    if reader.limits()[0] & ~1:
        raise SpecError("a module whose memory is shared or of 64 bits can't be linked")
    out.memories.append(bytes(reader.since(start)))


def _constant(reader: Reader, kind: int = 0x7F, *, mutable: bool = False) -> Global:
    """Read a constant: a number, the value of a global, or their sum."""
    value, of = 0, None
    while (code := reader.byte()) != _END:
        match code:
            case 0x41:
                value += reader.signed()
            case 0x23 if of is None:
                of = reader.unsigned()
            case 0x6A:  # i32.add
                continue
            case _:
                raise SpecError(f"instruction {code:#x} in a constant is not understood")
    return Global(kind, mutable, value, of)


def _global(out: Parts, reader: Reader) -> None:
    kind, mutable = reader.byte(), reader.byte() == 1
    out.globals.append(_constant(reader, kind, mutable=mutable))


def _export(out: Parts, reader: Reader) -> None:
    name = reader.name()
    out.exports[name] = reader.kind(), reader.unsigned()


def _element(out: Parts, reader: Reader) -> None:
    flags = reader.unsigned()
    if flags not in {0, 2}:
        raise SpecError(f"a module with table elements of kind {flags} can't be linked")
    if flags and reader.unsigned():
        raise SpecError("a module with elements of a second table can't be linked")
    at = _constant(reader)
    if flags and reader.byte():
        raise SpecError("a module with elements that are no functions can't be linked")
    out.elements.append((at, [reader.unsigned() for _ in range(reader.count())]))


def _data(out: Parts, reader: Reader) -> None:
    if reader.unsigned():
        raise SpecError("a module with data that it copies when it likes can't be linked")
    out.data.append((_constant(reader), bytes(reader.take(reader.unsigned()))))


def _function(out: Parts, reader: Reader) -> None:
    out.functions.append(reader.unsigned())


def _body(out: Parts, reader: Reader) -> None:
    out.bodies.append(bytes(reader.take(reader.unsigned())))


_READ: Final = {
    1: _type, 2: _import, 3: _function, 4: _table, 5: _memory, 6: _global,
    7: _export, 9: _element, 10: _body, 11: _data,
}  # fmt: skip
