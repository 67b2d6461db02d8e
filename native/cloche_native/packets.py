"""What the host asks of cloche-init, as packets: one setup, then execs and commands about them."""

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cloche_native.wire import (
    ARGUMENT_MAX,
    HEAD,
    WIRE_BODY_MAX,
    Access,
    ExecFlag,
    Landlock,
    Message,
    Mount,
    MountKind,
    Scope,
    SetupFlag,
    Tag,
)

_RECORD = struct.Struct("=HHI")
_SIGNAL = struct.Struct("=II")
_WINDOW = struct.Struct("=HH")
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")
_RLIMIT = struct.Struct("=IIQQ")
_IDS = struct.Struct("=IIII")

CPU_MAX = 65535
SIGNAL_MAX = 64

Text = str | bytes | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything cloche-init applies before its first exec; ``encode`` gives the packet.

    hostname "" leaves it; landlock 0 applies none; paths are (access, absolute path); seccomp is an array of struct
    sock_filter, b"" for none; rlimits are (resource, soft, hard) with -1 for unlimited; affinity is CPU numbers, empty
    for all; pids is how many processes an exec may have, None for no limit; memory is how many bytes all execs may have
    together, which cloche-init sees to by killing the one that has most, None for no limit; ids are (uid here, uid
    outside, gid here, gid outside) to map in a user namespace that has no maps yet. watch is a filter that is put on
    every program besides, b"" for none; its listener comes by the watch socket, descriptor ``WATCH_FD``.
    """

    hostname: str = ""
    flags: SetupFlag = SetupFlag.NONE
    mounts: Sequence[Mount] = ()
    landlock: Landlock = Landlock.NONE
    paths: Sequence[tuple[Access, str]] = ()
    seccomp: bytes = b""
    watch: bytes = b""
    rlimits: Sequence[tuple[int, int, int]] = ()
    affinity: frozenset[int] = frozenset()
    pids: int | None = None
    memory: int | None = None
    ids: tuple[int, int, int, int] | None = None

    def encode(self) -> bytes:
        """Give the SETUP packet. Raises ValueError for what cloche-init would not accept."""
        records = [_record(Tag.FLAGS, _U32.pack(self.flags))]
        if self.hostname:
            records.append(_record(Tag.HOSTNAME, _text("host name", self.hostname, limit=64)))
        records += [_record(Tag.MOUNT, _mount(mount)) for mount in self.mounts]
        if self.landlock:
            records.append(_record(Tag.LANDLOCK, _U32.pack(self.landlock)))
        for access, path in self.paths:
            if not access & ~Access.NO_LINKS:
                raise ValueError(f"Landlock path {path}: no access is what every other path has")
            records.append(_record(Tag.PATH, _U32.pack(access) + _absolute("Landlock path", path)))
        if self.seccomp:
            records.append(_record(Tag.SECCOMP, _filter("seccomp filter", self.seccomp)))
        if self.watch:
            records.append(_record(Tag.WATCH, _filter("watch filter", self.watch)))
        records += _limits(self.rlimits, self.pids, self.memory)
        if self.affinity:
            records.append(_record(Tag.AFFINITY, _cpu_mask(self.affinity)))
        if self.ids is not None:
            records.append(_record(Tag.IDS, _pack(_IDS, "ids", *self.ids)))
        return _packet(Message.SETUP, 0, records)


def encode_exec(
    exec_id: int,
    argv: Sequence[Text],
    *,
    env: Mapping[str, str],
    cwd: Text = "/",
    flags: ExecFlag = ExecFlag.NONE,
    window: tuple[int, int] | None = None,
) -> bytes:
    """Give the EXEC packet of one program; window is (rows, columns) of its terminal.

    Raises ValueError when argv is empty, a string holds a NUL or is over 128 KiB, a name in env is empty or has "=",
    cwd is not absolute, or all together is over ``WIRE_BODY_MAX`` bytes.
    """
    if exec_id < 1:
        raise ValueError(f"an exec id is a positive number, not {exec_id}")
    if not argv and not flags & ExecFlag.PROBE:
        raise ValueError("argv is empty: name a program")
    if flags & ExecFlag.PTY and flags & (ExecFlag.STDIN | ExecFlag.STDOUT | ExecFlag.STDERR):
        raise ValueError("a program gets a terminal or descriptors, not both")
    if window is not None and not flags & ExecFlag.PTY:
        raise ValueError("a window size needs a terminal")
    for name in env:
        if not name or "=" in name:
            raise ValueError(f"not the name of an environment variable: {name!r}")
    records = [
        _record(Tag.EXEC_FLAGS, _U32.pack(flags)),
        _record(Tag.ARGV, b"".join(_text("argument", item) + b"\0" for item in argv)),
        _record(Tag.ENV, b"".join(_text("variable", f"{name}={value}") + b"\0" for name, value in env.items())),
        _record(Tag.CWD, _absolute("working folder", cwd)),
    ]
    if window is not None:
        records.append(_record(Tag.WINDOW, _pack(_WINDOW, "window", *window)))
    return _packet(Message.EXEC, exec_id, records)


def encode_signal(exec_id: int, signal: int, scope: Scope = Scope.MAIN) -> bytes:
    """Give the packet that signals an exec; an id that has ended is ignored by the box."""
    if not 1 <= signal <= SIGNAL_MAX:
        raise ValueError(f"signal: 1 to {SIGNAL_MAX}, not {signal}")
    return _pack(HEAD, "id", Message.SIGNAL, 0, exec_id) + _pack(_SIGNAL, "signal", signal, scope)


def encode_kill(exec_id: int = 0) -> bytes:
    """Give the packet that kills the whole tree of an exec, or every exec for id 0."""
    return _pack(HEAD, "id", Message.KILL, 0, exec_id)


def encode_resize(exec_id: int, rows: int, columns: int) -> bytes:
    """Give the packet that sets the window size of an exec's terminal."""
    return _pack(HEAD, "id", Message.RESIZE, 0, exec_id) + _pack(_WINDOW, "window", rows, columns)


def encode_pause(token: int) -> bytes:
    """Give the packet that stops every guest process; answered by Done(token)."""
    return _pack(HEAD, "id", Message.PAUSE, 0, token)


def encode_resume(token: int) -> bytes:
    """Give the packet that continues every guest process; answered by Done(token)."""
    return _pack(HEAD, "id", Message.RESUME, 0, token)


def encode_limits(
    token: int, *, rlimits: Sequence[tuple[int, int, int]] = (), pids: int | None = None, memory: int | None = None
) -> bytes:
    """Give the packet that replaces these limits of the setup, for later execs and for what runs.

    Answered by Done(token), whose error is EPERM when not everything that runs could be changed: it then keeps its old
    limits, as far as they are put on each process.
    """
    return _packet(Message.LIMITS, token, _limits(rlimits, pids, memory))


def encode_watch(token: int, watch: bytes) -> bytes:
    """Give the packet that replaces the watch filter for later execs; answered by Done(token), EINVAL without one."""
    return _packet(Message.WATCH, token, [_record(Tag.WATCH, _filter("watch filter", watch))])


def encode_quiet(token: int) -> bytes:
    """Give the packet that asks cloche-inner whether its guest may be checkpointed.

    Answered by Done(token): EBUSY while an exec or its terminal is there, which may hold descriptors of the host.
    """
    return _pack(HEAD, "id", Message.QUIET, 0, token)


def encode_quit() -> bytes:
    """Give the packet that kills every guest process and ends cloche-init."""
    return _pack(HEAD, "id", Message.QUIT, 0, 0)


def _text(what: str, value: Text, *, limit: int = ARGUMENT_MAX - 1) -> bytes:
    data = os.fsencode(value)
    if b"\0" in data or len(data) > limit:
        raise ValueError(f"{what}: no NUL and at most {limit} bytes, not {len(data)} bytes {data[:40]!r}")
    return data


def _absolute(what: str, value: Text) -> bytes:
    data = _text(what, value, limit=4095)
    if not data.startswith(b"/"):
        raise ValueError(f"{what}: an absolute path is needed, not {data[:40]!r}")
    return data


def _record(tag: Tag, payload: bytes) -> bytes:
    return _RECORD.pack(tag, 0, len(payload)) + payload


def _filter(what: str, program: bytes) -> bytes:
    if not program or len(program) % 8 or len(program) > 4096 * 8:
        raise ValueError(f"{what}: 1 to 4096 instructions of 8 bytes, not {len(program)} bytes")
    return program


def _limits(rlimits: Sequence[tuple[int, int, int]], pids: int | None, memory: int | None) -> list[bytes]:
    records = [_record(Tag.RLIMIT, _rlimit(*limit)) for limit in rlimits]
    if pids is not None:
        records.append(_record(Tag.PIDS, _pack(_U32, "pids", pids)))
    if memory is not None:
        records.append(_record(Tag.MEMORY, _pack(_U64, "memory", memory)))
    return records


def _packet(kind: Message, identity: int, records: Sequence[bytes]) -> bytes:
    body = b"".join(records)
    if len(body) > WIRE_BODY_MAX:
        raise ValueError(f"{kind.name.lower()}: {len(body)} bytes, at most {WIRE_BODY_MAX} in all")
    return _pack(HEAD, "id", kind, 0, identity) + body


@lru_cache(256)  # most boxes of a host have the same
def _mount(mount: Mount) -> bytes:
    target = _absolute("mount target", mount.target)
    needs_source = mount.kind in (MountKind.DEV, MountKind.OVERLAY)
    source = (_absolute if needs_source else _text)("mount source", mount.source)
    data = _text("mount data", mount.data, limit=2047)
    return _U32.pack(mount.kind) + b"".join(part + b"\0" for part in (source, target, data))


def _rlimit(resource: int, soft: int, hard: int) -> bytes:
    low, high = (2**64 - 1 if value == -1 else value for value in (soft, hard))  # -1 is resource.RLIM_INFINITY
    if low > high:
        raise ValueError(f"rlimit {resource}: {soft} is over the hard limit {hard}")
    return _pack(_RLIMIT, "rlimit", resource, 0, low, high)


def _cpu_mask(cpus: frozenset[int]) -> bytes:
    if min(cpus) < 0 or max(cpus) > CPU_MAX:
        raise ValueError(f"affinity: CPUs are numbered 0 to {CPU_MAX}, not {min(cpus)} to {max(cpus)}")
    mask = sum(1 << cpu for cpu in cpus)
    return mask.to_bytes(8 * (max(cpus) // 64 + 1), "little")


def _pack(form: struct.Struct, what: str, *values: int) -> bytes:
    try:
        return form.pack(*values)
    except struct.error as error:
        raise ValueError(f"{what}: {values} is out of range: {error}") from error
