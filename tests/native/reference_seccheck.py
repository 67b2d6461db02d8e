"""A plain reading of what messages of gVisor's sentry say, against which the decoder in C is held."""

# ruff: noqa: C901, PLR0912 - one long reading, beside the rule it follows
from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from cloche_native import events
from cloche_native.acts import acts_of
from tests.native.reference_seccheck_calls import NAMES, TEXTLESS, laid_out_arguments
from tests.native.reference_seccheck_records import (
    NAMESPACES,
    THREAD,
    PlainRecords,
    Process,
    Record,
    exec_number,
    open_act,
    put,
    put_program,
    result_of,
)
from tests.native.reference_seccheck_wire import LAST, MESSAGES, PLAIN, BadError, parse

HELD_NS: Final = 1_000_000_000
SHADOWS: Final = 256
EXECS: Final = 8
BELONGS: Final = 180
"""nfsservctl(2), by which process 1 says which exec's a process is."""


class PlainDecoder(PlainRecords):
    """Packets of one sentry, one after another."""

    def __init__(self, *, sandbox: int = 0, shadows: frozenset[int] = frozenset(), init: bool = False) -> None:
        self.packets = self.bad = self.unknown = self.dropped = 0
        self._sandbox, self._shadowed = sandbox, shadows
        super().__init__(init=init)
        self._shadows: dict[int, tuple[int, dict[str, Any]]] = {}
        self._execs: dict[int, Record] = {}

    def feed(self, packet: bytes, now: int, *, cut: bool = False) -> list[bytes]:
        """Give the records of a packet, and of what was held for too long."""
        told = list(self._due(now - HELD_NS))
        self.packets += 1
        try:
            told += self._message(packet, now, cut=cut)
        except BadError:
            self.bad += 1
        return [self._pack(record, now) for record in told]

    def flush(self, now: int) -> list[bytes]:
        """Give what is held."""
        return [self._pack(record, now) for record in self._due(1 << 64)]

    def _pack(self, record: Record, now: int) -> bytes:
        path, resolved, target, beside = record.texts
        return events.pack(
            act=record.act, time_ns=now, sandbox=self._sandbox, flags=record.flags, pid=record.pid, tid=record.tid,
            call=record.call, exec=record.exec, result=record.result, args=record.args, path=path, resolved=resolved,
            target=target, target_resolved=beside,
        )  # fmt: skip

    def _due(self, before: int) -> Iterator[Record]:
        for slot in sorted(self._shadows):
            if self._shadows[slot][0] <= before:
                yield from self._alone(self._shadows.pop(slot)[1])
        for tid in [tid for tid, record in self._execs.items() if record.at <= before]:
            yield from self._release(tid)

    def _message(self, packet: bytes, now: int, *, cut: bool) -> Iterator[Record]:
        if len(packet) < 8:
            raise BadError
        size, kind, dropped = struct.unpack_from("<HHI", packet)
        if size < 8 or size > len(packet):
            raise BadError
        self.dropped = max(self.dropped, dropped)
        if not 1 <= kind <= LAST:
            self.unknown += 1
            return
        got: dict[str, Any] = {"tid": 0, "pid": 0}
        got["cut"] = not parse(packet[size:], MESSAGES.get(kind, PLAIN), got, cut=cut)
        if kind >= 6:
            got.setdefault("sysno", 0)
        if kind in NAMES and self._call.get(got.get("sysno", 0)) not in NAMES[kind]:
            raise BadError
        yield from self._before(kind, got)
        yield from self._handle(kind, got, now)

    def _before(self, kind: int, got: dict[str, Any]) -> Iterator[Record]:
        """Give what this thread's message shows to stay alone, or be done."""
        tid, number = got["tid"], got.get("sysno", 0) if kind >= 6 else -1
        held = self._shadows.get(tid % SHADOWS)
        if tid and held and held[1]["tid"] == tid:
            del self._shadows[tid % SHADOWS]
            name = self._call.get(held[1]["sysno"], "")
            enters = kind == 6 and "exit" not in got
            if (number != held[1]["sysno"] or enters) and not (kind == 3 and name in NAMES[11]):
                yield from self._alone(held[1])
        if tid in self._execs and not (kind == 3 or (number == self._execs[tid].call and "exit" in got)):
            yield from self._release(tid)

    def _release(self, tid: int) -> Iterator[Record]:
        record = self._execs.pop(tid)
        if not self._own(record.pid):
            yield record

    def _alone(self, got: dict[str, Any]) -> Iterator[Record]:
        """Give a call of which only the registers are known."""
        if self._own(got["pid"]):
            return
        registers = [got.get(f"arg{n}", 0) for n in range(6)]
        name = self._call.get(got["sysno"], "")
        acts = acts_of(got["sysno"], registers)
        if not acts:
            return
        record = self._record(events.ACT_NAMES[(acts & -acts).bit_length() - 1], got)
        args, vouched = laid_out_arguments(name, registers)
        record.args = args
        for n in vouched:
            record.flag("arg-kernel", n)
        if name and name not in TEXTLESS:
            record.flag("unreadable")
        yield record

    def _handle(self, kind: int, got: dict[str, Any], now: int) -> Iterator[Record]:
        if got.get("cwd", b"").startswith(b"/"):
            self._keep_cwd(got["pid"], got["cwd"])
        own = self._own(got["pid"])
        if kind == 2:
            yield from self._clone(got, own=own)
        elif kind == 3:
            yield from self._executed(got)
        elif kind == 4:
            if not own:
                record = self._record("exit", got)
                status = got.get("status", 0) & 0xFFFF
                signal = status & 0x7F
                record.result, record.args = (-signal, (128 + signal,)) if signal else (status >> 8, (status >> 8,))
                record.flag("result")
                record.flag("arg-kernel")
                yield record
            self._forget(got["pid"])
        elif kind == 6 and got.get("sysno") == BELONGS and self._init and got["pid"] == 1:
            self._belongs(got.get("arg0", 0), got.get("arg1", 0))
        elif kind == 6 and "exit" not in got and got["tid"] and got.get("sysno", 0) in self._shadowed:
            other = self._shadows.pop(got["tid"] % SHADOWS, None)
            self._shadows[got["tid"] % SHADOWS] = now, got
            if other:
                yield from self._alone(other[1])
        elif kind == 6:
            held = self._execs.pop(got["tid"], None)
            if held:
                held.result = self._record("exec", got).result
                held.flag("result")
                if not own:
                    yield held
            elif not (self._call.get(got.get("sysno", 0)) in NAMES[11] and self._was_told(got)):
                yield from self._alone(got | {"sysno": got.get("sysno", 0)})
        elif kind == 11:
            yield from self._exec(got, now, own=own)
        elif kind == 13:
            record = self._about_path("chdir", got)
            if record.flags & events.FLAGS["result"] and record.result >= 0:
                where = record.texts[0] or record.texts[1]
                self._keep_cwd(got["pid"], b"" if record.flags & events.FLAGS["unreadable"] else where)
            if not own:
                yield record
        elif not own:
            yield from self._plain(kind, got)

    def _was_told(self, got: dict[str, Any]) -> bool:
        if "exit" not in got:
            return False
        process = self._process(got["pid"])
        done = process is not None and process.executed and result_of(got) >= 0
        if process:
            process.executed = False
        return done

    def _plain(self, kind: int, got: dict[str, Any]) -> Iterator[Record]:
        def number(name: str) -> int:
            return int(got.get(name, 0)) & 0xFFFFFFFF

        record: Record | None = None
        if kind in {7, 21}:
            record = self._about_path("chroot" if kind == 21 else "open", got)
            if kind == 7:
                flags = number("flags")
                if self._call[got["sysno"]] == "creat":
                    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
                record.act = open_act(flags)
                self._arguments(record, flags, number("mode"))
        elif kind in {9, 34}:
            record = self._record("read" if kind == 9 else "write", got)
            done = record.flags & events.FLAGS["result"]
            self._arguments(record, max(0, record.result) if done else got.get("count", 0))
            if got.get("fd_path", b"").startswith(b"/"):
                put(record, 1, got["fd_path"], vouched=True)
        elif kind in {10, 24, 25}:
            record = self._record({10: "connect", 24: "bind", 25: "accept"}[kind], got)
            self._address(record, got)
        elif kind == 12:
            record = self._record("socket", got)
            self._arguments(record, number("domain"), number("type"), number("protocol"))
        elif kind == 14 and self._call.get(got.get("sysno", 0)) in {"setuid", "setgid"}:
            record = self._record("setid", got)
            self._arguments(record, number("id"))
        elif kind == 15:
            record = self._record("setid", got)
            self._arguments(record, number("rid"), number("eid"), number("sid"))
        elif kind == 16 and number("of"):
            record = self._record("limit", got)
            self._arguments(record, number("of"), number("resource"))
        elif kind == 23 and got.get("flags", 0) & NAMESPACES:
            record = self._record("namespace", got)
            self._arguments(record, number("flags"))
        elif kind == 36 and got.get("prot", 0) & 6 == 6:
            record = self._record("protect", got)
            self._arguments(record, got.get("addr", 0), got.get("length", 0), number("prot"))
        elif kind == 37:
            record = self._record("listen", got)
        elif kind == 38:
            record = self._record("ptrace", got)
            self._arguments(record, number("request"), number("of"))
        if record:
            yield record

    def _belongs(self, pid: int, number: int) -> None:
        if 0 < pid < 1 << 31 and number < 1 << 32:
            known = self._process(pid) or Process(pid)
            self._add(replace(known, exec=number, young=False))

    def _clone(self, got: dict[str, Any], *, own: bool) -> Iterator[Record]:
        child, flags = got.get("group", 0), got.get("flags", 0)
        if flags & THREAD or child == got["pid"]:
            return
        record, parent = self._record("fork", got), self._process(got["pid"])
        if child:
            made = replace(parent, pid=child, executed=False) if parent else Process(child)
            made.young = self._init and (got["pid"] == 1 or made.young)
            self._add(made)
        if not own:
            record.result = child
            record.flag("result")
            self._arguments(record, flags & 0xFFFFFFFF)
            yield record

    def _exec(self, got: dict[str, Any], now: int, *, own: bool) -> Iterator[Record]:
        record = self._about_path("exec", got)
        if self._call[got["sysno"]] == "execveat":
            self._arguments(record, got.get("flags", 0) & 0xFFFFFFFF)
        put_program(record, got, vouched=False)
        record.at = now
        tid = got["tid"]
        if "exit" in got:
            held = self._execs.pop(tid, None)
            if held:
                held.result = record.result
                held.flag("result")
            elif self._was_told(got):
                return
            if not own:
                yield held or record
        elif not tid:
            if not own:
                yield record
        else:
            if len(self._execs) == EXECS:
                yield from self._release(next(iter(self._execs)))
            self._execs[tid] = record

    def _executed(self, got: dict[str, Any]) -> Iterator[Record]:
        held = self._execs.pop(got["tid"], None)
        if self._init and got["pid"] == 1:
            return
        record = self._record("exec", got)
        process = self._process(got["pid"])
        if process:
            if process.young:
                process.exec = record.exec = exec_number(got.get("name", b""))
            process.young, process.executed = False, True
        if held:
            record.call, record.args, record.texts[0] = held.call, held.args, held.texts[0]
            kept = events.FLAGS["arg-kernel"] | events.FLAGS["climbs"] | events.FLAGS["cut"]
            record.flags |= held.flags & kept
            if not held.texts[0].startswith(b"/"):
                record.flags |= held.flags & events.FLAGS["unreadable"]
        binary = got.get("binary", b"")
        if binary.startswith(b"/"):
            put(record, 1, binary, vouched=True)
        put_program(record, got, vouched=True)
        yield record
