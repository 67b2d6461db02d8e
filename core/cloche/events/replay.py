"""Events read back from a file, as a source like any other: ``replay``."""

from __future__ import annotations

import os
import struct
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from cloche import units
from cloche.errors import SpecError
from cloche.events.acts import BY_NUMBER, Act
from cloche.events.event import EventBatch, Origin
from cloche.events.recorder import BLOCK, BLOCK_MAX, EVENTS, HEADER, MAGIC, METADATA_MAX, checksum, open_to_read
from cloche.events.source import EventSource
from cloche.registry.plain import from_json, from_plain

_BEGIN: Final = struct.Struct("=IHHQQI")
"""size, act, source, number, time, sandbox: the first fields of a record."""
_NUMBER_MOST: Final = (1 << 32) - 1
_CLOCK_MOST: Final = 1 << 62


class Replay(EventSource):
    """The events in a file. ``metadata`` is what its writer added; ``trouble`` says what of it can't be read.

    A file whose writer was killed may end in half a block, and one may be damaged: all up to there is told, nothing
    behind it. What is missing between the numbers of two events counts as ``lost``.
    """

    name = "replay"
    acts = frozenset(Act)

    def __init__(self, path: str | Path) -> None:
        """Open it. Raises ``FileError`` if it is no file of events."""
        self._ready = -1
        self._fd = open_to_read(path)
        self._blocks = _Blocks(self._fd)
        self._wanted = self.acts
        self._told: Counter[Act] = Counter()
        self._passed: Counter[Act] = Counter()
        self._whole: Counter[Act] | None = None
        self._lost = 0
        try:
            self._ready = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._origin = Origin({}, 0)
            self._pending = self._next()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def origin(self) -> Origin:
        """What the records that were drained last leave out."""
        return self._origin

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the writer added."""
        return self._blocks.metadata

    @property
    def trouble(self) -> str:
        """Why what follows can't be read; ``""`` as long as all is well."""
        return self._blocks.trouble

    def fileno(self) -> int:
        """Give a descriptor that is readable until the end is reached."""
        return self._ready

    def drain(self) -> bytes:
        """Give the wanted records of the next block that has any; ``b""`` at the end."""
        while self._pending is not None:
            origin, raw = self._pending
            found = self._chosen(raw)
            self._pending = self._next()
            if found:
                self._origin = origin
                return found
        return b""

    def want(self, acts: Collection[Act]) -> None:
        """Tell of these only."""
        self._wanted = self.wanted(acts)

    def counters(self) -> Mapping[Act, int]:
        """Give how many there are, told or still in the file. The first time reads the whole file."""
        whole = self._scan()
        rest = Counter({act: whole[act] - self._passed[act] for act in self._wanted})
        return self._told + rest

    def lost(self) -> int:
        """Give how many are missing in the file. The first time reads the whole file."""
        self._scan()
        return self._lost

    def close(self) -> None:
        """Close the file. What was told, and what was in it if that was asked for, can still be asked."""
        if self._whole is None:
            self._whole = self._passed
        self._pending = None
        for fd in (self._fd, self._ready):
            if fd >= 0:
                os.close(fd)
        self._fd = self._ready = -1

    def _next(self) -> tuple[Origin, bytes] | None:
        raw = self._blocks.next()
        if raw is None:
            os.eventfd_read(self._ready)
            return None
        return self._blocks.origin, raw

    def _chosen(self, raw: bytes) -> bytes:
        kept: list[bytes] = []
        for at, size, act in _acts(raw):
            self._passed[act] += 1
            if act in self._wanted:
                kept.append(raw[at : at + size])
                self._told[act] += 1
        return b"".join(kept)

    def _scan(self) -> Counter[Act]:
        """Give how many of each act the file holds, and count what it has lost; the file is read once for that."""
        if self._whole is None:
            whole: Counter[Act] = Counter()
            gaps = _Gaps()
            blocks = _Blocks(self._fd)
            while (raw := blocks.next()) is not None:
                whole.update(act for _, _, act in _acts(raw))
                gaps.look(raw, blocks.origin)
            self._whole, self._lost = whole, gaps.missing
        return self._whole


def replay(path: str | Path) -> Replay:
    """Give the events that an ``EventRecorder`` wrote to ``path``, as a source that the caller closes."""
    return Replay(path)


class _Blocks:
    """Reads the blocks of an open file one after another, and believes nothing that is in it."""

    def __init__(self, fd: int) -> None:
        self.origin = Origin({}, 0)
        self.metadata: Mapping[str, str] = {}
        self.trouble = ""
        self._fd = fd
        self._at = len(MAGIC)

    def next(self) -> bytes | None:
        """Give the records of the next block; ``None`` at the end, or where the file can't be read any further."""
        while not self.trouble:
            try:
                kind, content = self._block()
                if kind == EVENTS:
                    EventBatch(content, self.origin)
                    return content
                if not kind:
                    return None
                self._header(content)
            except ValueError as error:  # and SpecError, which is one
                self.trouble = f"at byte {self._at}: {error}; what follows was not read"
        return None

    def _block(self) -> tuple[bytes, bytes]:
        head = os.pread(self._fd, BLOCK.size, self._at)
        if not head:
            return b"", b""
        if len(head) < BLOCK.size:
            raise SpecError(f"the file ends in a block of which only {len(head)} bytes were written")
        kind, size, check = BLOCK.unpack(head)
        if kind not in (HEADER, EVENTS) or size > BLOCK_MAX:
            raise SpecError("there is no block")
        content = os.pread(self._fd, size, self._at + BLOCK.size)
        if len(content) < size:
            raise SpecError(f"the file ends in a block of which only {len(content)} of {size} bytes were written")
        if checksum(kind, content) != check:
            raise SpecError("a block is damaged: its checksum is another")
        self._at += BLOCK.size + size
        return kind, content

    def _header(self, content: bytes) -> None:
        body = from_json(content, "a head")
        if body.get("format") != 1:
            raise SpecError(f"its format is {units.shown(body.get('format'))}, and 1 is what this version reads")
        if body.get("byte_order") != sys.byteorder:
            raise SpecError("it was written on a machine with the other byte order")
        names: Mapping[str, str] = from_plain(Mapping[str, str], body.get("sandboxes"), "sandboxes")
        sandboxes = {_number(number): units.identifier(name, "sandbox") for number, name in names.items()}
        clock = units.count(body.get("clock", None), "clock", least=-_CLOCK_MOST, most=_CLOCK_MOST)  # type: ignore[arg-type]
        metadata: Mapping[str, str] = from_plain(Mapping[str, str], body.get("metadata"), "metadata")
        if len(metadata) > METADATA_MAX:
            raise SpecError(f"{len(metadata)} entries of metadata are too many")
        machine = units.identifier(body.get("machine", ""), "machine")
        self.origin, self.metadata = Origin(sandboxes, clock, machine), metadata


class _Gaps:
    """Counts the numbers that are missing between events of one source in one sandbox."""

    def __init__(self) -> None:
        self.missing = 0
        self._last: dict[tuple[str, int], int] = {}

    def look(self, raw: bytes, origin: Origin) -> None:
        at = 0
        while at < len(raw):
            size, _, source, number, _, sandbox = _BEGIN.unpack_from(raw, at)
            key = origin.sandboxes.get(sandbox, str(sandbox)), source
            last = self._last.get(key, number - 1)
            self.missing += max(0, number - last - 1)
            self._last[key] = max(last, number)
            at += size


def _acts(raw: bytes) -> Iterator[tuple[int, int, Act]]:
    at = 0
    while at < len(raw):
        size, act, *_ = _BEGIN.unpack_from(raw, at)
        yield at, size, BY_NUMBER[act]
        at += size


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 10 or int(text) > _NUMBER_MOST:  # noqa: PLR2004 - 2^32
        raise SpecError(f"{units.shown(text)} is no number of a sandbox")
    return int(text)
