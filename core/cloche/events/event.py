"""One act of a guest: ``Event``, and the packed records it comes from, ``EventBatch``."""

from __future__ import annotations

import base64
import errno
import os
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final

from cloche import units
from cloche.errors import SpecError
from cloche.events.acts import ARGS, BY_NUMBER, SOURCES, TEXTS, Act, EventFlag, Source
from cloche.events.meaning import MEANINGS
from cloche_native import events as records

HEAD: Final = struct.Struct("=IHHQQIIiiiIq4Q4H")
"""size, act, source, number, time, sandbox, flags, pid, tid, call, exec, result, arguments, sizes of the texts."""
ARG_AT: Final = 12
TEXT_AT: Final = 16
_TOLD: Final = EventFlag(0x1FFFF) & ~EventFlag(0xFF) & ~EventFlag.RESULT
_NANO: Final = 1_000_000_000


def clock_offset() -> int:
    """Give what to add now to CLOCK_MONOTONIC for nanoseconds since the epoch (clock_gettime(2))."""
    return time.time_ns() - time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class Origin:
    """What records leave out, being the same for many of them.

    ``sandboxes``: ids of sandboxes by the number that stands for each. ``clock``: nanoseconds between their clock,
    CLOCK_MONOTONIC, and the epoch. ``machine``: whose numbers of system calls they hold, as uname(2) names it.
    """

    sandboxes: Mapping[int, str] = field(default_factory=dict)
    clock: int = field(default_factory=clock_offset)
    machine: str = field(default_factory=lambda: os.uname().machine)


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """One act: what was done, where it was seen, by whom, on what, and what came of it.

    A view of its record, ``raw``; everything is read out of it when asked for. Texts are what the guest gave, and as
    hostile: print ``str(event)``, which is escaped, never a text itself.
    """

    raw: bytes
    origin: Origin = field(compare=False)
    _head: tuple[int, ...] = field(compare=False)

    @property
    def act(self) -> Act:
        """What was done."""
        return BY_NUMBER[self._head[1]]

    @property
    def source(self) -> Source:
        """Who saw it."""
        return SOURCES[self._head[2]]

    @property
    def number(self) -> int:
        """Which event of its source in its sandbox it is, from 1; what is missing between two was lost."""
        return self._head[3]

    @property
    def time(self) -> float:
        """When, in seconds since the epoch."""
        return (self._head[4] + self.origin.clock) / _NANO

    @property
    def time_ns(self) -> int:
        """When, in nanoseconds of CLOCK_MONOTONIC, which is never set back."""
        return self._head[4]

    @property
    def sandbox(self) -> str:
        """The id of its sandbox; ``#`` and the number in the record where that is not known."""
        return self.origin.sandboxes.get(self._head[5]) or f"#{self._head[5]}"

    @property
    def flags(self) -> EventFlag:
        """What else is to be known of it."""
        return EventFlag(self._head[6])

    @property
    def pid(self) -> int:
        """The process as the host sees it; 0 if unknown."""
        return self._head[7]

    @property
    def tid(self) -> int:
        """The thread as the host sees it; 0 if unknown."""
        return self._head[8]

    @property
    def call(self) -> str | None:
        """The name of the system call; its number where it has no name here, ``None`` if there was none."""
        number = self._head[9]
        return None if number < 0 else syscalls(self.origin.machine).get(number, str(number))

    @property
    def exec(self) -> int:
        """Which program of the sandbox's it belongs to, counted as they were started; 0 if unknown."""
        return self._head[10]

    @property
    def result(self) -> int | None:
        """What the guest was told: 0 or more, or a negative errno; ``None`` if that is not known."""
        return self._head[11] if self._head[6] & EventFlag.RESULT else None

    @property
    def args(self) -> tuple[int, ...]:
        """Four numbers; ``cloche events acts`` says what they mean for each act."""
        return self._head[ARG_AT : ARG_AT + ARGS]

    @property
    def path(self) -> str | None:
        """The path that was asked for, made absolute by its text alone."""
        return self._text(0)

    @property
    def resolved(self) -> str | None:
        """Where that path led, as the guest sees it: absolute, no link left in it."""
        return self._text(1)

    @property
    def target(self) -> str | None:
        """The second text: new name, address, arguments; by the act."""
        return self._text(2)

    @property
    def target_resolved(self) -> str | None:
        """Where the second path led; of an ``exec`` what of the environment steers loaders and shells."""
        return self._text(3)

    @property
    def denied(self) -> bool:
        """Whether it was not done."""
        return bool(self._head[6] & EventFlag.DENIED)

    def claimed(self, what: str) -> bool:
        """Say whether ``what`` is only what the guest claims: it could change it while it was read.

        ``what`` is one of ``path resolved target target_resolved arg0 arg1 arg2 arg3``; for all else the host vouches.
        A rule that refuses an act by a claimed text can be got round; ``docs/events.md`` says how that is closed.
        """
        if what not in _VOUCHED:
            raise SpecError(f"claimed: {units.shown(what)} is unknown; there are {', '.join(_VOUCHED)}")
        there = what.startswith("arg") or self._head[TEXT_AT + TEXTS.index(what)] > 0
        return there and not self._head[6] & _VOUCHED[what]

    def as_json(self) -> dict[str, Any]:
        """Give all of it as plain data; bytes that are no UTF-8 as ``{"base64": ...}``, what is not known left out."""
        meaning = MEANINGS[self.act]
        out: dict[str, Any] = {
            "act": self.act.value, "source": self.source.value, "number": self.number, "time": self.time,
            "sandbox": self.sandbox,
        }  # fmt: skip
        numbers = {"pid": self.pid, "tid": self.tid, "exec": self.exec}
        out |= {name: number for name, number in numbers.items() if number}
        out |= {} if self.call is None else {"call": self.call}
        out |= {} if self.result is None else {"result": self.result}
        out |= {"args": dict(zip(meaning.args, self.args, strict=False))} if meaning.args else {}
        out |= {name: _plain(raw) for index, name in enumerate(TEXTS) if (raw := self._bytes(index))}
        out["flags"] = list(_flag_names(self._head[6]))
        out["claimed"] = [name for name in TEXTS if self.claimed(name)]
        return out

    def __str__(self) -> str:
        """Give it in one line that can be printed: whatever could steer a terminal is escaped."""
        words = [f"{self.sandbox} {self.act.value}"]
        second = self.target if self.act is Act.EXEC else self.target_resolved or self.target
        words += [printable(text) for text in (self.resolved or self.path, second) if text]
        words += [f"pid {self.pid}"] if self.pid else []
        words.append(outcome(self))
        return " ".join(word for word in words if word)

    def __repr__(self) -> str:
        return f"<event {self.number} of {self.source.value}: {self}>"

    def _bytes(self, index: int) -> bytes:
        begin = HEAD.size + sum(self._head[TEXT_AT : TEXT_AT + index])
        return self.raw[begin : begin + self._head[TEXT_AT + index]]

    def _text(self, index: int) -> str | None:
        return os.fsdecode(self._bytes(index)) if self._head[TEXT_AT + index] else None


class EventBatch:
    """Records as they came from a source, checked once; iterating gives an ``Event`` for each.

    Raises ``SpecError`` for bytes that are no whole, valid records.
    """

    __slots__ = ("_count", "origin", "raw")

    def __init__(self, raw: bytes, origin: Origin | None = None) -> None:
        if not isinstance(raw, bytes):
            raise SpecError(f"events: bytes are needed, not {units.shown(raw)}")
        self.raw = raw
        self.origin = Origin() if origin is None else origin
        try:
            self._count = records.check(raw)
        except records.BadRecord as error:
            raise SpecError(f"events: {error}") from None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Event]:
        raw, origin = self.raw, self.origin
        at = 0
        while at < len(raw):
            head = HEAD.unpack_from(raw, at)
            yield Event(raw[at : at + head[0]], origin, head)
            at += head[0]

    def __repr__(self) -> str:
        return f"<{len(self)} events, {len(self.raw)} bytes>"


def printable(text: str, most: int = 400) -> str:
    """Give ``text`` fit for one line of a terminal, at most about ``most`` characters; NULs are shown as spaces."""
    shown = units.one_line(text[:most].rstrip("\0").replace("\0", " "))
    return shown if len(text) <= most else f"{shown}..."


def outcome(event: Event) -> str:
    """Give what came of it, in a word or two; ``""`` where nothing is known."""
    result = event.result
    if result is None:
        return "denied" if event.denied else ""
    word = str(result)
    if event.act is Act.ENDED:  # of a program: its exit code, or the signal that ended it
        return word if result >= 0 else f"signal {-result}"
    if result < 0:
        word = f"-{errno.errorcode.get(-result, str(-result))}"
    return f"{word} denied" if event.denied else word


def _plain(raw: bytes) -> str | dict[str, str]:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


@lru_cache(maxsize=1024)
def _flag_names(flags: int) -> tuple[str, ...]:
    return tuple(str(flag.name).lower().replace("_", "-") for flag in EventFlag(flags) & _TOLD)


@cache
def syscalls(machine: str) -> Mapping[int, str]:
    """Give the names of system calls by their numbers on that kind of machine; none for one that is not known."""
    import cloche_native as native  # noqa: PLC0415 - whoever looks at no call's name need not load it

    try:
        numbers = {name: native.syscall_number(name, machine=machine) for name in native.syscall_names()}
    except ValueError:
        return {}
    return {number: name for name, number in numbers.items() if number is not None}


_VOUCHED: Final = {
    **{name: 1 << index for index, name in enumerate(TEXTS)},
    **{f"arg{index}": 0x10 << index for index in range(ARGS)},
}
