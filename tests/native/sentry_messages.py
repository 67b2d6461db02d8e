"""Messages of gVisor's sentry, made by hand: a protobuf, and drawing of any that could come."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from hypothesis import strategies as st

from tests.native.reference_seccheck_calls import NAMES
from tests.native.reference_seccheck_wire import MESSAGES

CALLS = {
    "read": 0, "open": 2, "creat": 85, "openat": 257, "connect": 42, "bind": 49, "accept": 43, "accept4": 288,
    "execve": 59,
    "execveat": 322, "socket": 41, "chdir": 80, "fchdir": 81, "setuid": 105, "setgid": 106, "setsid": 112,
    "setresuid": 117,
    "setresgid": 119, "prlimit64": 302, "chroot": 161, "clone": 56, "listen": 50, "ptrace": 101, "mmap": 9,
    "unlink": 87,
    "rmdir": 84, "mkdir": 83, "rename": 82, "mount": 165, "kill": 62, "fork": 57, "fchmod": 91, "openat2": 437,
    "nfsservctl": 180,
}  # fmt: skip
"""Numbers on x86_64, which is the only machine whose sentry was seen."""


def varint(value: int) -> bytes:
    """Give a number, negative ones as 64 bits."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    """Give one field; zeros are not left out here."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(values: Mapping[int, int | bytes | list[bytes]]) -> bytes:
    """Give fields one after another, a list as one field each."""
    return b"".join(
        b"".join(field(number, each) for each in value) if isinstance(value, list) else field(number, value)
        for number, value in values.items()
    )


def packet(kind: int, payload: bytes, *, dropped: int = 0, head: int = 8) -> bytes:
    """Give a packet as the sentry sends it."""
    return struct.pack("<HHI", head, kind, dropped) + bytes(head - 8) + payload


def context(tid: int = 7, pid: int = 7, cwd: bytes = b"", name: bytes = b"") -> bytes:
    return fields(
        {1: 1_700_000_000_000_000_000, 2: tid, 4: pid} | ({8: cwd} if cwd else {}) | ({9: name} if name else {})
    )


def ended(result: int = 0, error: int = 0) -> bytes:
    return fields({1: result, 2: error})


def call(
    kind: int,
    name: str,
    values: dict[int, int | bytes | list[bytes]] | None = None,
    *,
    who: bytes = b"",
    end: bytes | None = None,
) -> bytes:
    """Give a packet about a system call; ``values`` by their numbers."""
    number = 4 if kind == 6 else 3
    body = {1: who or context(), **({} if end is None else {2: end}), number: CALLS[name], **(values or {})}
    return packet(kind, fields(body))


# ---- anything that could come ----

tids = st.sampled_from([0, 1, 2, 3, 3, 4, 259, 260, 1026, 1027])
words = st.sampled_from(
    [0, 1, 3, 6, 64, 577, 0x1000, 0x10000, 0x200000, 0x20000, 1 << 31, (1 << 64) - 100, (1 << 64) - 1]
)
words |= st.integers(0, (1 << 64) - 1)
pieces = st.sampled_from([b"/", b"..", b".", b"a", b"etc", b"\xff", b"[err: no]", b"x" * 300, b"y" * 4090])
texts = st.lists(pieces, max_size=6).map(b"".join)
names = st.sampled_from([b"", b"exec-7", b"exec-4294967295", b"exec-4294967296", b"exec-", b"exec-1x", b"python3"])
entries = st.sampled_from(
    [
        b"PATH=/bin",
        b"LD_PRELOAD=" + b"x" * 600,
        b"HOME=/",
        b"=x",
        b"",
        b"PATH",
        b"GIT_SSH_COMMAND=a",
        b"a" * 1030,
        b"-c",
    ]
)
addresses = st.sampled_from([
    b"", b"\x02", b"\x01\0", b"\x01\0/run/x.sock\0junk", b"\x01\0rel/x", b"\x01\0\0abstract\0x", b"\x01\0" + b"p" * 200,
    struct.pack("=H", 2) + b"\0\x50\x7f\0\0\1", struct.pack("=H", 2) + b"\1", struct.pack("=H", 16) + b"abc",
    struct.pack("=H", 10) + b"\x01\xbb\0\0\0\0" + b"\0" * 15 + b"\1",
    struct.pack("=H", 10) + b"\0\x16\0\0\0\0" + b"\0" * 10 + b"\xff\xff\x0a\0\0\1",
]) | st.binary(max_size=140)  # fmt: skip


@st.composite
def contexts(draw: st.DrawFn) -> bytes:
    tid = draw(tids)
    pid = tid if draw(st.booleans()) else draw(tids)
    return context(tid, pid, draw(st.just(b"") | texts), draw(names))


def _values(type_: str) -> st.SearchStrategy[int | bytes | list[bytes]]:
    if type_ == "r":
        return st.lists(entries, max_size=12)
    if type_ in {"t", "b"}:
        return texts if type_ == "t" else addresses
    return tids if type_ == "n" else words


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Draw a packet that is well made, of any kind, about few threads, so that one has to do with another."""
    kind = draw(st.sampled_from([*MESSAGES, *MESSAGES, 8, 17, 29, 0, 39, 500]))
    body: dict[int, int | bytes | list[bytes]] = {}
    for number, what in MESSAGES.get(kind, {1: {}, 2: {}, 3: "sysno:n"}).items():
        if isinstance(what, dict):
            if number == 1 and draw(st.integers(0, 9)):
                body[1] = draw(contexts())
            elif number == 2 and draw(st.booleans()):
                body[2] = ended(draw(st.sampled_from([0, 3, 5000, -1])), draw(st.sampled_from([0, 0, 2, 13, 4095])))
            continue
        name, _, type_ = what.partition(":")
        if name == "sysno":
            fitting = [CALLS[each] for each in NAMES.get(kind, CALLS)]
            body[number] = draw(st.sampled_from([*fitting, *fitting, *fitting, 0, 59, 600]))
        elif draw(st.integers(0, 5)):
            body[number] = draw(_values(type_))
    if draw(st.integers(0, 9)) == 0:
        body[draw(st.integers(12, 40))] = draw(st.integers(0, 300) | st.binary(max_size=10))
    return packet(kind, fields(body), dropped=draw(st.integers(0, 3)), head=draw(st.sampled_from([8, 8, 8, 12])))


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """Draw a packet some bytes of which are others, are cut off, or are too many."""
    raw = bytearray(draw(packets() | st.binary(max_size=60)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 2))] = draw(
            st.binary(max_size=3) | st.sampled_from([b"\xff" * 9 + b"\x01", b"\x80" * 10])
        )
    return bytes(raw[: draw(st.integers(0, len(raw)))]) if draw(st.booleans()) else bytes(raw)
