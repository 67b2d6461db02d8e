"""Records while they are made, and what is known of processes."""

# ruff: noqa: E501 - one long reading, beside the rule it follows
from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass, field
from typing import Any, Final

from cloche_native import calls, events
from cloche_native.filters import machine_number
from tests.native.reference_seccheck_wire import signed

PROCESSES: Final = 1024
PROBES: Final = 4
CWD_MAX: Final = 255
_AT_FDCWD: Final = -100
THREAD: Final = 0x10000
NAMESPACES: Final = 0x7E020000
TEXT: Final[int] = events.TEXT_MAX
_STEERING: Final = frozenset(
    b"BASH_ENV EDITOR ENV GCONV_PATH GIT_SSH_COMMAND HISTCONTROL HISTFILE HISTFILESIZE HISTIGNORE HISTSIZE LD_AUDIT "
    b"LD_DEBUG LD_LIBRARY_PATH LD_PRELOAD NODE_OPTIONS PAGER PATH PERL5LIB PERL5OPT PROMPT_COMMAND PYTHONHOME PYTHONPATH "
    b"PYTHONSTARTUP RUBYOPT VISUAL".split()
)


@dataclass
class Process:
    pid: int
    exec: int = 0
    young: bool = False
    """A child of the box's init that is no program yet."""
    executed: bool = False
    cwd: bytes = b""


@dataclass
class Record:
    """An event while it is made."""

    act: str
    call: int = -1
    tid: int = 0
    pid: int = 0
    flags: int = 0
    result: int = 0
    args: tuple[int, ...] = ()
    texts: list[bytes] = field(default_factory=lambda: [b"", b"", b"", b""])
    exec: int = 0
    at: int = 0

    def flag(self, name: str, shift: int = 0) -> None:
        self.flags |= events.FLAGS[name] << shift


class PlainRecords:
    """What makes records of one sentry's messages."""

    def __init__(self, *, init: bool) -> None:
        self._init = init
        arch = machine_number(None)
        self._call = {row[1 + arch]: row[0] for row in reversed(list(calls.laid_out())) if row[1 + arch] is not None}
        self._processes: list[Process | None] = [None] * PROCESSES

    def _record(self, act: str, got: dict[str, Any]) -> Record:
        record = Record(act, got.get("sysno", -1), got["tid"], got["pid"])
        process = self._process(got["pid"])
        record.exec = process.exec if process else 0
        if got.get("cut"):
            record.flag("cut")
        if "exit" in got:
            record.flag("result")
            record.result = result_of(got)
        return record

    def _arguments(self, record: Record, *args: int) -> None:
        record.args = args
        for n in range(len(args)):
            record.flag("arg-kernel", n)

    def _about_path(self, act: str, got: dict[str, Any]) -> Record:
        record = self._record(act, got)
        name, path = self._call[got["sysno"]], got.get("path", b"")
        fd = signed(got.get("fd", 0), 32)
        beside = got.get("fd_path", b"") if name in {"openat", "execveat"} and fd != _AT_FDCWD else None
        if name == "fchdir" or (name == "execveat" and not path and got.get("flags", 0) & 0x1000):
            base = got.get("fd_path", b"")
            if base.startswith(b"/"):
                put(record, 1, base, vouched=True)
            else:
                record.flag("unreadable")
        elif not path:
            record.flag("unreadable")
        else:
            self._join(record, 0, path, self._cwd(got) if beside is None else beside)
        return record

    def _join(self, record: Record, which: int, path: bytes, base: bytes) -> None:
        known = path.startswith(b"/") or base.startswith(b"/")
        found = normal(base, path) if known else None
        if found is None:
            record.flag("unreadable")
            put(record, which, path, vouched=False)
            return
        text, climbs = found
        if climbs:
            record.flag("climbs")
        put(record, which, text, vouched=False)

    def _address(self, record: Record, got: dict[str, Any]) -> None:
        raw = got.get("address", b"")[:128]
        if len(raw) < 2:
            return
        (family,) = struct.unpack_from("=H", raw)
        whole = raw.ljust(128, b"\0")
        port = 0
        if family in {socket.AF_INET, socket.AF_INET6}:
            (port,) = struct.unpack_from(">H", whole, 2)
            text = whole[4:8] if family == socket.AF_INET else whole[8:24]
            if text.startswith(b"\0" * 10 + b"\xff\xff") and family == socket.AF_INET6:
                text = text[12:]
            kind = socket.AF_INET if len(text) == 4 else socket.AF_INET6
            put(record, 2, socket.inet_ntop(kind, text).encode(), vouched=False)
        elif family == socket.AF_UNIX and len(raw) > 2:
            path = raw[2:]
            if path[0]:
                self._join(record, 2, path.partition(b"\0")[0], self._cwd(got))
            else:
                put(record, 2, b"@" + path[1:], vouched=False)
        record.args = (family, port)

    def _slots(self, pid: int) -> list[int]:
        return [(pid + n) % PROCESSES for n in range(PROBES)]

    def _process(self, pid: int) -> Process | None:
        for slot in self._slots(pid):
            found = self._processes[slot]
            if pid and found and found.pid == pid:
                return found
        return None

    def _add(self, process: Process) -> None:
        self._forget(process.pid)
        slots = self._slots(process.pid)
        free = next((slot for slot in slots if self._processes[slot] is None), slots[0])
        self._processes[free] = process

    def _forget(self, pid: int) -> None:
        for slot in self._slots(pid):
            found = self._processes[slot]
            if pid and found and found.pid == pid:
                self._processes[slot] = None

    def _own(self, pid: int) -> bool:
        process = self._process(pid)
        return self._init and (pid == 1 or bool(process and process.young))

    def _keep_cwd(self, pid: int, cwd: bytes) -> None:
        process = self._process(pid)
        if not process and pid and cwd:
            process = Process(pid)
            self._add(process)
        if process:
            process.cwd = cwd if len(cwd) <= CWD_MAX else b""

    def _cwd(self, got: dict[str, Any]) -> bytes:
        cwd: bytes = got.get("cwd", b"")
        process = self._process(got["pid"])
        return cwd if cwd.startswith(b"/") else process.cwd if process else b""


def result_of(got: dict[str, Any]) -> int:
    error, result = got["exit"].get("errno", 0), got["exit"].get("result", 0)
    return -error if error else int(result)


def exec_number(name: bytes) -> int:
    digits = name.removeprefix(b"exec-")
    good = name.startswith(b"exec-") and digits.isdigit() and len(digits) <= 10
    number = int(digits) if good else 0
    return number if number < 1 << 32 else 0


def normal(base: bytes, path: bytes) -> tuple[bytes, bool] | None:
    """Give an absolute path without "." and "..", and whether it climbs above the root; None: too long on the way."""
    found: list[bytes] = []
    climbs = False
    for part in (b"" if path.startswith(b"/") else base).split(b"/") + path.split(b"/"):
        if part == b"..":
            climbs = climbs or not found
            del found[-1:]
        elif part not in {b"", b"."}:
            found.append(part)
            if sum(len(name) + 1 for name in found) > TEXT:
                return None
    return b"/" + b"/".join(found), climbs


def open_act(flags: int) -> str:
    if flags & os.O_PATH:
        return "open"
    if flags & (os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY):
        return "create"
    return "write-open" if flags & (os.O_TRUNC | os.O_ACCMODE) else "open"


def put(record: Record, which: int, text: bytes, *, vouched: bool) -> None:
    if len(text) > TEXT:
        record.flag("cut")
    record.texts[which] = text[:TEXT]
    if vouched:
        record.flag("text-kernel", which)


def put_program(record: Record, got: dict[str, Any], *, vouched: bool) -> None:
    argv = b"".join(argument + b"\0" for argument in got.get("argv", ()))
    if len(argv) > 1024:
        record.flag("cut")
        argv = argv[:1023] + b"\0"
    put(record, 2, argv, vouched=vouched and bool(argv))
    kept = b""
    for number, entry in enumerate(got.get("env", ())):
        if number == 8192:
            record.flag("cut")
            break
        if not _steers(entry):
            continue
        room = min(TEXT - len(kept), 512)
        if len(entry) + 1 > room:
            record.flag("cut")
        if len(kept) == TEXT:
            break
        if _steers(entry[: room - 1]):
            kept += entry[: room - 1] + b"\0"
    put(record, 3, kept, vouched=vouched and bool(kept))


def _steers(entry: bytes) -> bool:
    name, equals, _ = entry.partition(b"=")
    return bool(equals) and name in _STEERING
