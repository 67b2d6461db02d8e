"""Which fields of messages of gVisor's sentry are read, and the reading of a protobuf."""

# ruff: noqa: C901, E501, PLR0912 - one long reading, beside the rule it follows
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

CONTEXT: Final = {2: "tid:n", 4: "pid:n", 8: "cwd:t", 9: "name:t"}
EXIT: Final = {1: "result:i", 2: "errno:e"}


def _call(**fields: str) -> dict[int, Any]:
    return {1: CONTEXT, 2: EXIT, 3: "sysno:n"} | {int(name[1:]): kind for name, kind in fields.items()}


_FILE: Final = {"_4": "fd:i", "_5": "fd_path:t"}
MESSAGES: Final[Mapping[int, dict[int, Any]]] = {
    1: {1: CONTEXT}, 2: {1: CONTEXT, 3: "created:n", 4: "group:n", 6: "flags:u"},
    3: {1: CONTEXT, 2: "binary:t", 3: "argv:r", 4: "env:r"},
    4: {1: CONTEXT, 2: "status:i"}, 5: {1: CONTEXT},
    6: {1: CONTEXT, 2: EXIT, 4: "sysno:n"} | {5 + n: f"arg{n}:u" for n in range(6)},
    7: _call(**_FILE, _6="path:t", _7="flags:u", _8="mode:u"), 9: _call(**_FILE, _6="count:u"), 34: _call(**_FILE, _6="count:u"),
    10: _call(_6="address:b"), 24: _call(_6="address:b"), 25: _call(_6="address:b"),
    11: _call(**_FILE, _6="path:t", _7="argv:r", _8="env:r", _9="flags:u"),
    12: _call(_4="domain:u", _5="type:u", _6="protocol:u"), 13: _call(**_FILE, _6="path:t"), 14: _call(_4="id:u"),
    15: _call(_4="rid:u", _5="eid:u", _6="sid:u"), 16: _call(_4="of:u", _5="resource:u"), 21: _call(_4="path:t"),
    23: _call(_4="flags:u"), 36: _call(_6="addr:u", _7="length:u", _8="prot:u"), 37: _call(), 38: _call(_4="request:u", _5="of:u"),
}  # fmt: skip
PLAIN: Final = _call()
LAST: Final = 38


class BadError(Exception):
    pass


class _EndError(Exception):
    """The packet was cut here."""


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(10):
        if at + n >= len(raw):
            raise _EndError
        value |= (raw[at + n] & 0x7F) << 7 * n
        if raw[at + n] < 0x80:
            if value >= 1 << 64:
                break
            return value, at + n + 1
    raise BadError


def signed(value: int, bits: int = 64) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _value(kind: str, value: int) -> int:
    if kind == "i":
        return signed(value)
    if (kind == "n" and value >= 1 << 31) or (kind == "e" and value > 4095):
        raise BadError
    return value


def parse(raw: bytes, schema: dict[int, Any], out: dict[str, Any], *, cut: bool) -> bool:
    """Read the fields of a schema; false if the packet was cut within."""
    at = 0
    try:
        while at < len(raw):
            key, at = _varint(raw, at)
            wire, what = key & 7, schema.get(key >> 3)
            if not 1 <= key >> 3 < 1 << 29 or wire not in {0, 1, 2, 5}:
                raise BadError
            kind = what.partition(":")[2] if isinstance(what, str) else ""
            if what is not None and wire != (0 if kind in {"i", "u", "n", "e"} else 2):
                raise BadError
            if wire == 0:
                value, at = _varint(raw, at)
                if what is not None:
                    out[what.partition(":")[0]] = _value(kind, value)
                continue
            size = {1: 8, 5: 4}.get(wire, 0)
            if wire == 2:
                size, at = _varint(raw, at)
            text = raw[at : at + size]
            short = len(text) < size
            if short and not cut:
                raise BadError
            at += len(text)
            if isinstance(what, dict):
                inner = out.setdefault("exit", {}) if what is EXIT else out
                short = not parse(text, what, inner, cut=short) or short
            elif what is not None:
                if kind in {"t", "r"} and b"\0" in text:
                    raise BadError
                name = what.partition(":")[0]
                if kind == "r":
                    out.setdefault(name, []).append(text)
                else:
                    out[name] = text
            if short:
                return False
    except _EndError:
        if cut:
            return False
        raise BadError from None
    return not cut
