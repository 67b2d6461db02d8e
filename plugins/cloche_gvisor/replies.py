"""What the sentry answers, read with suspicion: it runs next to the guest, and who broke it writes these bytes.

A reply is one JSON object ``{"success": bool, "err": text, "result": ...}`` with no length before it. ``Reader`` finds
its end in one pass, whatever the pieces it comes in, and refuses what is too long or too deep before anything of it is
decoded. The functions turn a result into checked values; they raise ``BrokenSentry`` for any other shape.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from cloche import Exit, NotFound, SandboxError

REPLY_MOST: Final = 1 << 20
"""Bytes of a reply: a process is told of in some 130."""
DEPTH_MOST: Final = 32
ID_MOST: Final = (1 << 31) - 1
COUNT_MOST: Final = (1 << 64) - 1
_MARKS: Final = re.compile(rb'["\\{}\[\]]')


class BrokenSentry(SandboxError):
    """The sentry answered what no sentry answers, or nothing in time. Nothing it says counts: the box is to end."""


class RefusedCall(SandboxError):
    """The sentry is sound and said no; the message is its own, made safe to show."""


@dataclass(frozen=True, slots=True)
class GuestTask:
    """One process of the guest as the sentry tells of it; what a way of asking does not tell is ``None`` or empty.

    ``pid`` and ``parent`` are ids of the guest; ``parent`` is 0 for those started from outside. ``name`` is what the
    guest calls it: hostile text.
    """

    pid: int
    parent: int | None = None
    uid: int | None = None
    threads: tuple[int, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes of the guest's memory by what holds them; the sentry's own memory is not in it."""

    total: int
    anonymous: int
    page_cache: int
    mapped: int
    tmpfs: int
    system: int


@dataclass(frozen=True, slots=True)
class TraceSession:
    """A session of the sentry's monitoring: its name, and how many events each sink has lost, by the sink's name."""

    name: str
    dropped: Mapping[str, int]


class Reader:
    """Takes the bytes of one reply as they come and says when it is whole."""

    def __init__(self, *, most: int = REPLY_MOST, deepest: int = DEPTH_MOST) -> None:
        self._most = most
        self._deepest = deepest
        self._data = bytearray()
        self._depth = 0
        self._in_text = False
        self._skip = -1  # where the character after a backslash stands: it ends no text

    def feed(self, data: bytes) -> bool:
        """Take more bytes; give whether the reply is whole. Raises ``BrokenSentry``."""
        start = len(self._data)
        if start + len(data) > self._most:
            broken(f"a reply of more than {self._most} bytes")
        self._data += data
        if start == 0 and data[:1] != b"{":
            broken("a reply that is no JSON object")
        for mark in _MARKS.finditer(self._data, start):
            if self._mark(mark.start(), mark[0]) and self._depth == 0:
                if mark.end() != len(self._data):
                    broken("more than one reply to one call")
                return True
        return False

    def _mark(self, place: int, mark: bytes) -> bool:
        """Take note of a character that structures JSON; give whether it closed something."""
        if place == self._skip:
            return False
        if self._in_text:
            if mark == b"\\":
                self._skip = place + 1
            self._in_text = mark != b'"'
            return False
        if mark == b'"':
            self._in_text = True
        elif mark in b"{[":
            self._depth += 1
            if self._depth > self._deepest:
                broken(f"a reply nested more than {self._deepest} deep")
        elif mark in b"}]":
            self._depth -= 1
            return True
        return False

    def cut(self) -> NoReturn:
        """Raise for a connection that was closed before its reply was whole."""
        if not self._data:
            raise SandboxError("the sentry closed the connection and gave no answer; the sandbox is down")
        broken("half a reply")

    def result(self) -> Any:  # noqa: ANN401 - any JSON: each caller checks the shape it needs
        """Give the result of a whole reply. Raises ``BrokenSentry``, and ``RefusedCall`` where the sentry said no."""
        reply = decoded(bytes(self._data))
        if not isinstance(reply, dict) or not isinstance(reply.get("success"), bool):
            broken("a reply without 'success'")
        if not reply["success"]:
            said = reply.get("err")
            if not isinstance(said, str):
                broken("a refusal without text")
            refused(said)
        return reply.get("result")


def decoded(data: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Give what ``data`` says in JSON. Raises ``BrokenSentry``."""
    try:
        return json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError):
        broken("what is no JSON")


def refused(said: str) -> NoReturn:
    """Raise what the sentry's refusal means: ``NotFound`` for a process that is not there, else ``RefusedCall``."""
    text = ascii(said[:400])[1:-1]
    if "no such process" in said or "no such thread" in said:
        raise NotFound(f"no such process in the sandbox: {text}")
    raise RefusedCall(f"the sentry refused: {text}")


def broken(what: str) -> NoReturn:
    """Raise ``BrokenSentry``."""
    raise BrokenSentry(f"the sentry gave {what}; it is not to be relied on, end the sandbox")


def process_id(value: object) -> int:
    """Give the id of a process that was started."""
    return _whole(value, "a process id", least=1)


def wait_status(value: object) -> Exit:
    """Give how a process ended from its wait status (wait(2)) as the sentry sends it."""
    status = _whole(value, "a wait status", most=0xFFFF)
    if (number := os.WTERMSIG(status)) == 0:
        return Exit(code=os.WEXITSTATUS(status))
    if not os.WIFSIGNALED(status) or status >> 8:
        broken(f"the wait status {status:#x}, which no ended process has")
    return Exit(signal=number)


def exit_status(value: object) -> int:
    """Give the exit status in what ``runsc wait`` prints."""
    return _whole(_table(value, "the end of a process").get("exitStatus"), "an exit status", most=255)


def tasks(value: object, most: int) -> list[GuestTask]:
    """Give the processes of the guest, ``most`` at most."""
    out = [_task(_table(entry, "a process")) for entry in _entries(value, "the processes", most)]
    if len({task.pid for task in out}) != len(out):
        broken("one process twice")
    return out


def task_ids(value: object, most: int) -> list[GuestTask]:
    """Give the processes of the guest of which only ids are told, ``most`` at most."""
    return [GuestTask(process_id(entry)) for entry in _entries(value, "the process ids", most)]


def memory(value: object) -> MemoryUse:
    """Give the guest's memory."""
    table = _table(value, "what memory is used")
    names = ("Total", "Anonymous", "PageCache", "Mapped", "Tmpfs", "System")
    return MemoryUse(*(_whole(table.get(name, 0), f"memory {name!r}", most=COUNT_MOST) for name in names))


def sessions(value: object) -> list[TraceSession]:
    """Give the sessions that watch the guest."""
    return [_session(_table(entry, "a session")) for entry in _entries(value, "the sessions", 16)]


def _session(table: Mapping[str, Any]) -> TraceSession:
    dropped: dict[str, int] = {}
    for entry in _entries(table.get("sinks"), "the sinks", 16):
        sink = _table(entry, "a sink")
        status = _table(sink.get("status") or {}, "the status of a sink")
        name = _text(sink.get("name"), "the name of a sink")
        lost = _whole(status.get("DroppedCount", 0), "a count of lost events", most=COUNT_MOST)
        dropped[name] = dropped.get(name, 0) + lost
    return TraceSession(_text(table.get("name"), "the name of a session"), dropped)


def _task(table: Mapping[str, Any]) -> GuestTask:
    threads = _entries(table.get("threads"), "the threads of a process", ID_MOST)
    return GuestTask(
        process_id(table.get("pid")),
        parent=_whole(table.get("ppid"), "a parent's id"),
        uid=_whole(table.get("uid"), "a user id", most=0xFFFFFFFF),
        threads=tuple(process_id(thread) for thread in threads),
        name=_text(table.get("cmd"), "the name of a process"),
    )


def _whole(value: object, what: str, *, least: int = 0, most: int = ID_MOST) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        broken(f"what is no {what.removeprefix('a ')}")
    return value


def _text(value: object, what: str, *, most: int = 4096) -> str:
    if not isinstance(value, str) or len(value) > most:
        broken(f"no text for {what}")
    return value


def _table(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        broken(f"no object for {what}")
    return value


def _entries(value: object, what: str, most: int) -> Sequence[Any]:
    if value is None:  # how Go writes a list that was never made
        return ()
    if not isinstance(value, list) or len(value) > most:
        broken(f"no list of at most {most} for {what}")
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)
