"""Modules as bytes: what they export and import, and one made anew with its memory baked in.

The format is WebAssembly's binary format, version 1 (https://webassembly.github.io/spec/core/binary). What is read
here may be anybody's: each count and size is held against the bytes that are there, and whatever does not fit is a
``SpecError``. What is valid beyond that, the compiler says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cloche import SpecError

MAGIC: Final = b"\0asm\1\0\0\0"
NAME_MOST: Final = 100_000
"""Bytes of a name. Compilers allow as much."""


class Section(IntEnum):
    """Sections that are looked into; the others go through as they are."""

    CUSTOM = 0
    IMPORT = 2
    MEMORY = 5
    GLOBAL = 6
    EXPORT = 7
    START = 8
    DATA = 11
    DATA_COUNT = 12


class Kind(IntEnum):
    """What is imported or exported."""

    FUNCTION = 0
    TABLE = 1
    MEMORY = 2
    GLOBAL = 3
    TAG = 4


@dataclass(frozen=True, slots=True)
class Export:
    """What a module gives by a name: the ``index``-th of its kind, those that it imports counted first."""

    kind: Kind
    index: int


@dataclass(frozen=True, slots=True)
class Import:
    """What a module wants under ``module`` and ``name``."""

    module: str
    name: str
    kind: Kind


class Reader:
    """Bytes, read from front to back; never beyond their end."""

    __slots__ = ("_data", "at")

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self.at = 0

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self.at

    def take(self, size: int) -> memoryview:
        """Give the next ``size`` bytes."""
        if size > self.left:
            raise SpecError(f"not a module: {size} bytes wanted at {self.at}, {self.left} are there")
        taken = self._data[self.at : self.at + size]
        self.at += size
        return taken

    def since(self, start: int) -> memoryview:
        """Give the bytes from ``start`` to here."""
        return self._data[start : self.at]

    def byte(self) -> int:
        """Give the next byte."""
        return self.take(1)[0]

    def unsigned(self, bits: int = 32) -> int:
        """Give a number in LEB128."""
        value = 0
        for shift in range(0, bits, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                if value >> bits:
                    break
                return value
        raise SpecError(f"not a module: a number of more than {bits} bits before {self.at}")

    def signed(self, bits: int = 32) -> int:
        """Give a number in signed LEB128."""
        value = 0
        for shift in range(0, bits, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                value -= (byte & 0x40) << (shift + 1)
                if not -(1 << bits - 1) <= value < 1 << bits - 1:
                    break
                return value
        raise SpecError(f"not a module: a number of more than {bits} bits before {self.at}")

    def count(self) -> int:
        """Give how many things follow: each takes a byte at least."""
        count = self.unsigned()
        if count > self.left:
            raise SpecError(f"not a module: {count} things in {self.left} bytes at {self.at}")
        return count

    def name(self) -> str:
        """Give a name."""
        size = self.unsigned()
        if size > NAME_MOST:
            raise SpecError(f"not a module: a name of {size} bytes at {self.at}")
        try:
            return bytes(self.take(size)).decode()
        except UnicodeDecodeError:
            raise SpecError(f"not a module: a name that is no UTF-8 before {self.at}") from None

    def kind(self) -> Kind:
        """Give the kind of an import or export."""
        number = self.byte()
        try:
            return Kind(number)
        except ValueError:
            raise SpecError(f"not a module: kind {number} before {self.at} is unknown") from None

    def limits(self) -> tuple[int, int, int | None]:
        """Give flags, least and most of a memory or table."""
        flags = self.byte()
        bits = 64 if flags & 4 else 32
        least = self.unsigned(bits)
        return flags, least, self.unsigned(bits) if flags & 1 else None

    def value_type(self) -> None:
        """Go past the type of a value."""
        if self.byte() in {0x63, 0x64}:  # a reference to a type
            self.signed(33)


def sections(wasm: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """Give each section's number and body. Raises ``SpecError`` for what is no module, a component included."""
    reader = Reader(wasm)
    head = bytes(reader.take(min(8, reader.left)))
    if head[:4] == MAGIC[:4] and head != MAGIC and len(head) == len(MAGIC):
        raise SpecError("not a module: it is of another version of the format, or a component")
    if head != MAGIC:
        raise SpecError(f"not a module: it begins with {head[:4]!r}, not with {MAGIC[:4]!r}")
    seen: set[int] = set()
    while reader.left:
        number = reader.byte()
        if number in seen:
            raise SpecError(f"not a module: section {number} is there twice")
        if number != Section.CUSTOM:
            seen.add(number)
        yield number, reader.take(reader.unsigned())


def exports(wasm: bytes | memoryview) -> dict[str, Export]:
    """Give what a module exports, by name. Raises ``SpecError``."""
    found: dict[str, Export] = {}
    for number, body in sections(wasm):
        if number != Section.EXPORT:
            continue
        reader = Reader(body)
        for _ in range(reader.count()):
            name = reader.name()
            if name in found:
                raise SpecError(f"not a module: it exports {name!r} twice")
            found[name] = Export(reader.kind(), reader.unsigned())
    return found


def imports(wasm: bytes | memoryview) -> list[Import]:
    """Give what a module imports. Raises ``SpecError``."""
    found: list[Import] = []
    for number, body in sections(wasm):
        if number != Section.IMPORT:
            continue
        reader = Reader(body)
        for _ in range(reader.count()):
            wanted = Import(reader.name(), reader.name(), reader.kind())
            found.append(wanted)
            _skip_import(reader, wanted.kind)
    return found


def _skip_import(reader: Reader, kind: Kind) -> None:
    match kind:
        case Kind.FUNCTION:
            reader.unsigned()
        case Kind.TABLE:
            reader.value_type()
            reader.limits()
        case Kind.MEMORY:
            reader.limits()
        case Kind.GLOBAL:
            reader.value_type()
            reader.byte()
        case Kind.TAG:
            reader.byte()
            reader.unsigned()


def unsigned(value: int) -> bytes:
    """Give ``value`` in LEB128."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    """Give ``value`` in signed LEB128."""
    out = bytearray()
    while not -0x40 <= value < 0x40:  # noqa: PLR2004 - seven bits a byte, one of them the sign
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def section(number: int, body: bytes | bytearray | memoryview) -> bytes:
    """Give a section as it stands in a module."""
    return b"".join((bytes((number,)), unsigned(len(body)), body))
