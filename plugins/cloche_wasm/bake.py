"""A module made anew so that it begins as an instance of it was: memory and globals become its initial ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from cloche import SpecError
from cloche_wasm.binary import MAGIC, Kind, Reader, Section, exports, imports, section, sections, signed, unsigned

WASM_PAGE: Final = 1 << 16
PAGE: Final = 1 << 12
"""Bytes that are left out together where all are zero: a page of the machine, which is what an instance shares."""
_I32, _MUTABLE, _CONST_I32, _END = 0x7F, 1, 0x41, 0x0B
_OPERANDS: Final = {0x41: "s32", 0x42: "s64", 0x43: 4, 0x44: 8, 0x23: "u32", 0xD2: "u32", 0xD0: "s33"}
"""What follows an instruction of a constant expression: a number, or so many bytes."""
_PLAIN: Final = frozenset({0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E})
"""Additions, subtractions and multiplications of constants."""


def bake(wasm: bytes, memory: bytes | memoryview, values: Mapping[str, int]) -> bytes:
    """Give ``wasm`` with ``memory`` (whole pages of 64 KiB) as its memory's beginning, without start function.

    ``values`` has each of its globals that may change, by the name under which it exports it: 32-bit integers.
    Raises ``SpecError`` for what is no module, and for one whose state is more than that: with a memory that it
    imports, shares or addresses by 64 bits, passive data, or a global that changes and is not among ``values``.
    """
    size, odd = divmod(len(memory), WASM_PAGE)
    if odd:
        raise SpecError(f"a memory of {len(memory)} bytes is not whole pages of {WASM_PAGE}")
    imported = [wanted.kind for wanted in imports(wasm)]
    if Kind.MEMORY in imported:
        raise SpecError("a module that imports its memory can't be baked")
    given = _indices(wasm, values, imported.count(Kind.GLOBAL))
    out = [MAGIC]
    segments = list(_segments(memory))
    baked = False
    for number, body in sections(wasm):
        match number:
            case Section.CUSTOM | Section.START:
                continue
            case Section.MEMORY:
                out.append(section(number, _memory(Reader(body), size)))
                baked = True
            case Section.GLOBAL:
                out.append(section(number, _globals(Reader(body), given, imported.count(Kind.GLOBAL))))
            case Section.DATA_COUNT:
                out.append(section(number, unsigned(len(segments))))
            case Section.DATA:
                _check_data(Reader(body))
            case _:
                out.append(section(number, body))
    if not baked:
        raise SpecError("a module without a memory can't be baked")
    out.append(section(Section.DATA, unsigned(len(segments)) + b"".join(segments)))  # it is the last one in any module
    return b"".join(out)


def _indices(wasm: bytes, values: Mapping[str, int], imported: int) -> dict[int, int]:
    known = exports(wasm)
    given: dict[int, int] = {}
    for name, value in values.items():
        found = known.get(name)
        if found is None or found.kind is not Kind.GLOBAL or found.index < imported:
            raise SpecError(f"the module exports no global {name!r} of its own")
        if not -(1 << 31) <= value < 1 << 31:
            raise SpecError(f"{name}: {value} has more than 32 bits")
        given[found.index] = value
    return given


def _segments(memory: bytes | memoryview) -> Iterator[bytes]:
    view, zero = memoryview(memory), bytes(PAGE)
    start: int | None = None
    for at in range(0, len(view) + 1, PAGE):
        filled = at < len(view) and bytes(view[at : at + PAGE]) != zero
        if filled and start is None:
            start = at
        elif not filled and start is not None:
            offset = start - (1 << 32) if start >> 31 else start  # an i32.const is signed
            yield b"".join((b"\0\x41", signed(offset), b"\x0b", unsigned(at - start), view[start:at]))
            start = None


def _memory(reader: Reader, size: int) -> bytes:
    if (count := reader.count()) != 1:
        raise SpecError(f"a module with {count} memories can't be baked")
    flags, _, most = reader.limits()
    if flags & ~1:
        raise SpecError("a module whose memory is shared, of 64 bits or of odd pages can't be baked")
    if most is not None and size > most:
        raise SpecError(f"{size} pages of memory are more than the {most} that the module allows")
    return b"".join((b"\1", bytes((flags,)), unsigned(size), unsigned(most) if most is not None else b""))


def _globals(reader: Reader, given: Mapping[int, int], imported: int) -> bytes:
    count = reader.count()
    out = [unsigned(count)]
    for index in range(imported, imported + count):
        start = reader.at
        reader.value_type()
        mutable = reader.byte()
        head = bytes(reader.since(start))
        _skip_constant(reader)
        if index in given:
            if head[0] != _I32:
                raise SpecError(f"global {index} is no 32-bit integer")
            out.append(b"".join((head, b"\x41", signed(given[index]), b"\x0b")))
        elif mutable & _MUTABLE:
            raise SpecError(f"global {index} changes as the module runs, and its value is not known")
        else:
            out.append(bytes(reader.since(start)))
    return b"".join(out)


def _skip_constant(reader: Reader) -> None:
    while (code := reader.byte()) != _END:
        match _OPERANDS.get(code):
            case int(size):
                reader.take(size)
            case str(number):
                read = reader.signed if number[0] == "s" else reader.unsigned
                read(int(number[1:]))
            case _ if code not in _PLAIN:
                raise SpecError(f"instruction {code:#x} in a constant, before {reader.at}, is not understood")


def _check_data(reader: Reader) -> None:
    for _ in range(reader.count()):
        if flags := reader.unsigned():
            what = "passive data, which the program copies when it likes," if flags == 1 else f"data of kind {flags}"
            raise SpecError(f"a module with {what} can't be baked")
        _skip_constant(reader)
        reader.take(reader.unsigned())
