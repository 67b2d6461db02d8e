"""Records of events as bytes: packed, checked, unpacked. ``struct clo_event`` in cdef.h says what each field means.

A batch is records one after another, 96 bytes of head and the texts each, a multiple of 8. What comes from elsewhere is
looked through by ``check`` before anything is unpacked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from cloche_native import _lib

__all__ = [
    "ACTS", "ACT_NAMES", "FLAGS", "HEAD", "RECORD_MAX", "SOURCES", "TEXT_MAX", "BadRecord", "Record", "check",
    "iterate", "named", "offsets", "pack", "unpack",
]  # fmt: skip

_ffi, _c = _lib.ffi, _lib.lib


def named(enum: str, prefix: str, *, but: tuple[str, ...] = ()) -> Mapping[str, int]:
    """Give the numbers of an enum of cdef.h by what follows the prefix, in lower case, with "-" for "_"."""
    found: dict[str, int] = {
        name.removeprefix(prefix).lower().replace("_", "-"): number
        for number, name in sorted(_ffi.typeof(f"enum {enum}").elements.items())
        if name not in but
    }
    return MappingProxyType(found)


ACTS: Final = named("clo_act", "CLO_ACT_", but=("CLO_ACTS",))
"""Numbers of the acts, by name: ``open``, ``write-open`` ..."""
ACT_NAMES: Final[Mapping[int, str]] = MappingProxyType({number: name for name, number in ACTS.items()})
SOURCES: Final = named("clo_source", "CLO_SOURCE_")
FLAGS: Final = named("clo_event_flag", "CLO_EVENT_")
"""Bits of the flags, by name. ``text-kernel`` is to be shifted by the text, ``arg-kernel`` by the argument."""
HEAD: Final[int] = _c.CLO_EVENT_HEAD
RECORD_MAX: Final[int] = _c.CLO_EVENT_MAX
TEXT_MAX: Final[int] = _c.CLO_TEXT_MAX

_HEAD: Final = struct.Struct("=IHHQQIIiiiIq4Q4H")
_SIZE: Final = struct.Struct("=I")
_TEXTS: Final = ("path", "resolved", "target", "target_resolved")
_PATH_TARGETS: Final = frozenset(ACTS[name] for name in ("rename", "link", "symlink", "mount"))
_FAULTS: Final = {
    _c.CLO_FAULT_SHORT: "it is cut off",
    _c.CLO_FAULT_SIZE: f"its size is none that a record has (a multiple of 8 from {HEAD} to {RECORD_MAX})",
    _c.CLO_FAULT_ACT: "its act is unknown",
    _c.CLO_FAULT_SOURCE: "its source is unknown",
    _c.CLO_FAULT_FLAGS: "it has flags that are unknown",
    _c.CLO_FAULT_NUMBER: "its process, thread or system call has a number that can't be",
    _c.CLO_FAULT_TEXT: f"its texts are over {TEXT_MAX} bytes or do not fill it",
    _c.CLO_FAULT_PADDING: "it does not end in zeros",
    _c.CLO_FAULT_NUL: "there is a NUL in one of its paths",
}


class BadRecord(ValueError):
    """Bytes that are no record: ``offset`` of the bad one, ``reason``."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"the record at byte {offset} is bad: {reason}")
        self.offset = offset
        self.reason = reason


class Record(NamedTuple):
    """One event. ``time_ns`` is of CLOCK_MONOTONIC; a text that the record has not is ``b""``; ``call`` -1: none."""

    act: int
    source: int
    number: int
    time_ns: int
    sandbox: int
    flags: int
    pid: int
    tid: int
    call: int
    exec: int
    result: int
    args: tuple[int, int, int, int]
    path: bytes
    resolved: bytes
    target: bytes
    target_resolved: bytes


def pack(
    *,
    act: int | str,
    source: int | str = 0,
    number: int = 0,
    time_ns: int = 0,
    sandbox: int = 0,
    flags: int = 0,
    pid: int = 0,
    tid: int = 0,
    call: int = -1,
    exec: int = 0,  # noqa: A002 - the field's name
    result: int = 0,
    args: tuple[int, ...] = (),
    path: bytes = b"",
    resolved: bytes = b"",
    target: bytes = b"",
    target_resolved: bytes = b"",
) -> bytes:
    """Give one record; ``act`` and ``source`` by number or name, up to four ``args``, each as 64 bits, signed or not.

    Raises ValueError for a value that the record can't hold or ``check`` would refuse.
    """
    act = _number("act", act, ACTS)
    texts = (path, resolved, target, target_resolved)
    for name, text in zip(_TEXTS, texts, strict=True):
        if len(text) > TEXT_MAX:
            raise ValueError(f"{name} has {len(text)} bytes, more than the {TEXT_MAX} of a record; cut it")
        lists = act not in _PATH_TARGETS if name == "target" else name == "target_resolved" and act == ACTS["exec"]
        if b"\0" in text and not lists:
            raise ValueError(f"there is a NUL in {name}")
    if len(args) > 4:  # noqa: PLR2004 - as many as the record has
        raise ValueError(f"a record has four arguments, not {len(args)}")
    if pid < 0 or tid < 0 or call < -1 or flags & ~_ALL_FLAGS:
        raise ValueError(f"a record can't have pid={pid}, tid={tid}, call={call}, flags={flags:#x}")
    four = [_unsigned(value) for value in args] + [0] * (4 - len(args))
    body = b"".join(texts)
    padding = -len(body) % 8
    try:
        head = _HEAD.pack(
            HEAD + len(body) + padding, act, _number("source", source, SOURCES), number, time_ns, sandbox, flags,
            pid, tid, call, exec, result, *four, *map(len, texts),
        )  # fmt: skip
    except struct.error as error:
        raise ValueError(f"a number does not fit into a record: {error}") from None
    return head + body + b"\0" * padding


def check(raw: bytes | bytearray | memoryview) -> int:
    """Look through a batch from anywhere: how many records it has. Raises BadRecord for the first that is none."""
    at, fault = _ffi.new("size_t *"), _ffi.new("uint32_t *")
    data = _ffi.from_buffer(raw)
    count = _c.clo_event_check(data, len(data), at, fault)
    if count < 0:
        raise BadRecord(at[0], _FAULTS[fault[0]])
    return count


def unpack(raw: bytes | bytearray | memoryview, offset: int = 0) -> Record:
    """Give the record at ``offset`` of a batch that was checked; raises BadRecord where none fits."""
    if not 0 <= offset <= len(raw) - HEAD:
        raise BadRecord(offset, _FAULTS[_c.CLO_FAULT_SHORT])
    size, act, source, number, time_ns, sandbox, flags, pid, tid, call, exec_, result, *rest = _HEAD.unpack_from(
        raw, offset
    )
    sizes = rest[4:]
    if size > len(raw) - offset or HEAD + sum(sizes) > size:
        raise BadRecord(offset, _FAULTS[_c.CLO_FAULT_TEXT])
    texts: list[bytes] = []
    at = offset + HEAD
    for length in sizes:
        texts.append(bytes(raw[at : at + length]))
        at += length
    args = (rest[0], rest[1], rest[2], rest[3])
    return Record(
        act, source, number, time_ns, sandbox, flags, pid, tid, call, exec_, result, args,
        texts[0], texts[1], texts[2], texts[3],
    )  # fmt: skip


def offsets(raw: bytes | bytearray | memoryview) -> Iterator[int]:
    """Give where each record of a batch that was checked begins; raises BadRecord where none can."""
    at = 0
    while at < len(raw):
        if len(raw) - at < HEAD:
            raise BadRecord(at, _FAULTS[_c.CLO_FAULT_SHORT])
        yield at
        size: int = _SIZE.unpack_from(raw, at)[0]
        if size < HEAD:
            raise BadRecord(at, _FAULTS[_c.CLO_FAULT_SIZE])
        at += size


def iterate(raw: bytes | bytearray | memoryview) -> Iterator[Record]:
    """Give each record of a batch that was checked."""
    for at in offsets(raw):
        yield unpack(raw, at)


_ALL_FLAGS: Final = (FLAGS["matched"] << 1) - 1


def _number(what: str, given: int | str, known: Mapping[str, int]) -> int:
    number = known.get(given) if isinstance(given, str) else given
    if number is None or number not in known.values():
        raise ValueError(f"{what} {given!r} is unknown; there are {', '.join(known)}")
    return number


def _unsigned(value: int) -> int:
    return value + (1 << 64) if value < 0 else value
