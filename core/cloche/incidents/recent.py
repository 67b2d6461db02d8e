"""What one source told lately, kept packed: only when something matched is it looked into."""

from __future__ import annotations

import struct
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cloche.events.acts import Act, EventFlag
from cloche.events.event import HEAD, Event, Origin
from cloche_native import processes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KEPT: Final = 1 << 20
"""Bytes of records that are kept; some 6000."""
PROCESSES: Final = 4096
"""Processes of which is known what programs they became."""
LOOKED: Final = 2000
"""How many records are looked at for those of one program."""
STEPS: Final = 4
"""How many of these of each."""
_SIZE_ACT: Final = struct.Struct("=IH")
_FAILED: Final = EventFlag.MISSING | EventFlag.DENIED | EventFlag.UNREADABLE


@dataclass(frozen=True, slots=True)
class Became:
    """What program a process became, or was when another made it, and when (nanoseconds of CLOCK_MONOTONIC)."""

    number: int
    """Of the record that told so."""
    time_ns: int
    exe: str | None
    args: tuple[str, ...]
    parent: int | None = None
    """Who made it, where that was told, or its parent then, where somebody asked for it at once."""
    begun: int = 0
    """Number of the record that told who made it; 0: none did."""
    exec: int = 0
    """The caller's program that it belongs to."""


@dataclass(slots=True)
class _Piece:
    """Records as they came; where each begins, its number and its program's, once somebody has looked."""

    raw: bytes
    places: list[tuple[int, int, int]] = field(default_factory=list)
    known: bool = False


class Recent:
    """The last records of one source, and what programs its processes became."""

    def __init__(self, origin: Origin, *, eager: bool = False, hidden: Iterable[Act] = ()) -> None:
        """With ``eager`` the parent of each process is asked for when it becomes a program: later it may be gone.

        ``hidden``: acts that only the host asked for. They are no evidence.
        """
        self._origin = origin
        self._hidden = frozenset(act.number for act in hidden)
        self._eager = eager
        self._pieces: deque[_Piece] = deque()
        self._new: deque[_Piece] = deque()  # those that nobody has looked into for what programs became
        self._size = 0
        self._became: OrderedDict[int, deque[Became]] = OrderedDict()

    def add(self, raw: bytes) -> None:
        """Take records, in their order."""
        self._pieces.append(piece := _Piece(raw))
        self._new.append(piece)
        self._size += len(raw)
        if self._eager:
            self._look()
        while self._size > KEPT and len(self._pieces) > 1:
            oldest = self._pieces.popleft()
            if self._new and self._new[0] is oldest:
                self._look()
            self._size -= len(oldest.raw)

    def pieces(self) -> list[bytes]:
        """Give what is kept, as it came."""
        return [piece.raw for piece in self._pieces]

    def before(self, number: int, exec_number: int, most: int) -> list[Event]:
        """Give the last events of one program before the one of that number, oldest first, of the last few thousand."""
        found: list[Event] = []
        left = LOOKED
        for piece in reversed(self._pieces):
            self._index(piece)
            for other, at, whose in reversed(piece.places):
                if other >= number:
                    continue
                left -= 1
                if whose == exec_number:
                    found.append(self._event(piece, at))
                if len(found) == most or not left:
                    return found[::-1]
        return found[::-1]

    def became(self, pid: int, number: int, there: int | None = None) -> tuple[Became | None, bool]:
        """Give what program a process was before the record of that number, and whether it became another since.

        ``there``: the process of that id that was there at that record, and not one which has it since.
        """
        self._look()
        told = self._became.get(pid, ())
        before = [one for one in told if one.number < number and (there is None or one.begun <= there)]
        return (before[-1] if before else None), len(before) < len(told)

    def _look(self) -> None:
        """Take what processes became of what nobody has looked into, in order: what came last must come last."""
        executes, forks = Act.EXEC.number, Act.FORK.number
        while self._new:
            raw, at = self._new.popleft().raw, 0
            while at < len(raw):
                size, number = _SIZE_ACT.unpack_from(raw, at)
                if number == executes:
                    self._note(event_at(raw, at, self._origin))
                elif number == forks:
                    self._note_birth(event_at(raw, at, self._origin))
                at += size

    def _index(self, piece: _Piece) -> None:
        if not piece.known:
            piece.known = True
            piece.places += [(head[3], at, head[10]) for at, head in heads(piece.raw) if head[1] not in self._hidden]

    def _note(self, event: Event) -> None:
        if event.flags & _FAILED:
            return
        args = tuple((event.target or "").removesuffix("\0").split("\0"))
        before = next(reversed(self._became.get(event.pid, ())), None)
        if before is not None and before.exec != event.exec:
            before = None  # another process had its id
        seen = processes.seen(event.pid) if self._eager else None
        if seen is not None and seen.started > processes.ticks(event.time_ns) + 1:
            seen = None  # another process has its id by now
        made_by = None if before is None else before.parent
        self._tell(event.pid, Became(
            event.number, event.time_ns, event.resolved or event.path, args, made_by if seen is None else seen.parent,
            0 if before is None else before.begun, event.exec,
        ))  # fmt: skip

    def _note_birth(self, event: Event) -> None:
        """Take who made a process: it is, for the time being, the program that that was."""
        if event.result is None or event.result <= 0:
            return
        maker = next(reversed(self._became.get(event.pid, ())), None)
        exe, args = (None, ()) if maker is None else (maker.exe, maker.args)
        self._tell(event.result, Became(
            event.number, event.time_ns, exe, args, event.pid, event.number, event.exec,
        ))  # fmt: skip

    def _tell(self, pid: int, became: Became) -> None:
        self._became.setdefault(pid, deque(maxlen=STEPS)).append(became)
        self._became.move_to_end(pid)
        if len(self._became) > PROCESSES:
            self._became.popitem(last=False)

    def _event(self, piece: _Piece, at: int) -> Event:
        return event_at(piece.raw, at, self._origin)


def heads(raw: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Give where each record begins, and its head."""
    at = 0
    while at < len(raw):
        head = HEAD.unpack_from(raw, at)
        yield at, head
        at += head[0]


def event_at(raw: bytes, at: int, origin: Origin) -> Event:
    """Give the event whose record begins there."""
    head = HEAD.unpack_from(raw, at)
    return Event(raw[at : at + head[0]], origin, head)
