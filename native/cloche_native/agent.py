"""The host's side of the wire to cloche-init: packets are made, sent, received and checked here.

The format is that of ``native/src/cdef.h`` (its numbers are in ``wire``): a head (type, flags, id), then records (tag,
zero, length, payload), host byte order, no padding. A body over ``WIRE_INLINE`` bytes travels in a sealed memfd
(memfd_create(2)).

cloche-init reports *at least once*: when a guest kills the helper process that watched over an exec, ``Exited`` can
come a second time, or without a ``Started`` before it. The first ``Exited`` of an id counts; drop what follows.
"""

import array
import fcntl
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloche_native.wire import (
    ARGUMENT_MAX, HEAD_MEMFD, WIRE_BODY_MAX, WIRE_INLINE, WIRE_VERSION, Access, Done, ExecFlag, Exited, Failed, Landlock,
    Message, Mount, MountKind, Ready, Refused, Reply, Scope, SetupFlag, Stage, Started, Tag, WireError,
)  # fmt: skip

__all__ = [
    "Access", "Done", "ExecFlag", "Exited", "Failed", "Landlock", "Mount", "MountKind", "Ready", "Refused", "Reply",
    "Scope", "Setup", "SetupFlag", "Stage", "Started", "WireError", "control_pair", "decode", "encode_exec",
    "encode_kill", "encode_pause", "encode_quit", "encode_resize", "encode_resume", "encode_signal", "receive", "send",
]  # fmt: skip

_HEAD = struct.Struct("=HHI")
_RECORD = struct.Struct("=HHI")
_SIGNAL = struct.Struct("=II")
_PAIR = struct.Struct("=HH")
_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")
_REFUSED = struct.Struct("=iI")
_RLIMIT = struct.Struct("=IIQQ")
_EXITED = struct.Struct("=iIQQQ")
_UCRED = struct.Struct("=iii")

Text = str | bytes | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything cloche-init applies before its first exec; ``encode`` gives the packet.

    hostname "" leaves it; landlock 0 applies none; paths are (access, absolute path); seccomp is an array of struct
    sock_filter, b"" for none; rlimits are (resource, soft, hard) with -1 for unlimited; affinity is CPU numbers, empty
    for all; pids is how many processes an exec may have, None for no limit.
    """

    hostname: str = ""
    flags: SetupFlag = SetupFlag.NONE
    mounts: Sequence[Mount] = ()
    landlock: Landlock = Landlock.NONE
    paths: Sequence[tuple[Access, str]] = ()
    seccomp: bytes = b""
    rlimits: Sequence[tuple[int, int, int]] = ()
    affinity: frozenset[int] = frozenset()
    pids: int | None = None

    def encode(self) -> bytes:
        """Give the SETUP packet. Raises ValueError for what cloche-init would not accept."""
        records = [_record(Tag.FLAGS, _U32.pack(self.flags))]
        if self.hostname:
            records.append(_record(Tag.HOSTNAME, _text("host name", self.hostname, limit=64)))
        for mount in self.mounts:
            target = _absolute("mount target", mount.target)
            parts = (_text("mount source", mount.source), target, _text("mount data", mount.data))
            records.append(_record(Tag.MOUNT, _U32.pack(mount.kind) + b"".join(part + b"\0" for part in parts)))
        if self.landlock:
            records.append(_record(Tag.LANDLOCK, _U32.pack(self.landlock)))
        for access, path in self.paths:
            records.append(_record(Tag.PATH, _U32.pack(access) + _absolute("Landlock path", path)))
        if self.seccomp:
            if len(self.seccomp) % 8 or len(self.seccomp) > 4096 * 8:
                raise ValueError(f"seccomp filter: 1 to 4096 instructions of 8 bytes, not {len(self.seccomp)} bytes")
            records.append(_record(Tag.SECCOMP, self.seccomp))
        for resource, soft, hard in self.rlimits:
            records.append(_record(Tag.RLIMIT, _pack(_RLIMIT, "rlimit", resource, 0, *(2**64 - 1 if limit == -1 else limit for limit in (soft, hard)))))
        if self.affinity:
            mask = sum(1 << cpu for cpu in self.affinity)
            records.append(_record(Tag.AFFINITY, mask.to_bytes(8 * (max(self.affinity) // 64 + 1), "little")))
        if self.pids is not None:
            records.append(_record(Tag.PIDS, _pack(_U32, "pids", self.pids)))
        return _packet(Message.SETUP, 0, records)


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Make a wire: the host's end (non-blocking, asks for credentials) and the end to hand to cloche-init."""
    host, box = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    host.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    host.setblocking(False)  # noqa: FBT003 - socket.socket takes it no other way
    return host, box


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
        records.append(_record(Tag.WINDOW, _pack(_PAIR, "window", *window)))
    return _packet(Message.EXEC, exec_id, records)


def encode_signal(exec_id: int, signal: int, scope: Scope = Scope.MAIN) -> bytes:
    """Give the packet that signals an exec; an id that has ended is ignored by the box."""
    return _pack(_HEAD, "id", Message.SIGNAL, 0, exec_id) + _pack(_SIGNAL, "signal", signal, scope)


def encode_kill(exec_id: int = 0) -> bytes:
    """Give the packet that kills the whole tree of an exec, or every exec for id 0."""
    return _pack(_HEAD, "id", Message.KILL, 0, exec_id)


def encode_resize(exec_id: int, rows: int, columns: int) -> bytes:
    """Give the packet that sets the window size of an exec's terminal."""
    return _pack(_HEAD, "id", Message.RESIZE, 0, exec_id) + _pack(_PAIR, "window", rows, columns)


def encode_pause(token: int) -> bytes:
    """Give the packet that stops every guest process; answered by Done(token)."""
    return _pack(_HEAD, "id", Message.PAUSE, 0, token)


def encode_resume(token: int) -> bytes:
    """Give the packet that continues every guest process; answered by Done(token)."""
    return _pack(_HEAD, "id", Message.RESUME, 0, token)


def encode_quit() -> bytes:
    """Give the packet that kills every guest process and ends cloche-init."""
    return _pack(_HEAD, "id", Message.QUIT, 0, 0)


def send(sock: socket.socket, packet: bytes, fds: Sequence[int] = ()) -> None:
    """Send a packet whole, with descriptors that stay the caller's.

    Raises OSError as sendmsg(2): BlockingIOError when the box is behind, BrokenPipeError when it is gone.
    """
    if len(packet) - _HEAD.size <= WIRE_INLINE:
        socket.send_fds(sock, [packet], fds)
        return
    kind, flags, exec_id = _HEAD.unpack_from(packet)
    body = os.memfd_create("cloche", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(body, "wb", closefd=False) as file:
            file.write(memoryview(packet)[_HEAD.size :])
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(body, fcntl.F_ADD_SEALS, seals)
        socket.send_fds(sock, [_HEAD.pack(kind, flags | HEAD_MEMFD, exec_id)], [body, *fds])
    finally:
        os.close(body)


def receive(sock: socket.socket) -> tuple[Reply, int]:
    """Take the next reply and the process id, on this side, of the process that sent it, as the kernel vouches.

    That is cloche-init itself for Ready, Failed and Done; for the others it may be a helper of its own. Never blocks:
    raises BlockingIOError when there is nothing, EOFError when the box is gone, WireError for a bad packet.
    """
    space = socket.CMSG_SPACE(_UCRED.size) + socket.CMSG_SPACE(8 * 4)
    how = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
    try:
        packet, extra, flags, _ = sock.recvmsg(8192, space, how)
    except ConnectionResetError:
        # The box went with requests unread; what it had said before, such as Failed, is still to be read.
        packet, extra, flags, _ = sock.recvmsg(8192, space, how)
    pid, fds = 0, array.array("i")
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) == _UCRED.size:
            pid = _UCRED.unpack(data)[0]
    if not packet:
        raise EOFError("the box closed the wire")
    try:
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or pid <= 0:
            message = "a reply was cut: bytes, credentials, or descriptors over this process's limit"
            raise WireError(message)  # noqa: TRY301 - descriptors must be closed on every way out
        return decode(packet, fds), pid
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise


def decode(packet: bytes, fds: Sequence[int] = ()) -> Reply:
    """Read the reply in a packet from the box, with the descriptors that came along; raises WireError."""
    if len(packet) < _HEAD.size:
        raise WireError(f"a reply of {len(packet)} bytes has no head")
    kind, flags, identity = _HEAD.unpack_from(packet)
    body = packet[_HEAD.size :]
    size, least, most = _SHAPES.get(kind, (-1, 0, 0))
    fits = len(body) >= size if kind == Message.FAILED else len(body) == size
    if size < 0 or flags or not fits or not least <= len(fds) <= most:
        raise WireError(f"not a reply: type {kind}, flags {flags}, {len(body)} bytes, {len(fds)} descriptors")
    match kind:
        case Message.READY:
            if _U32.unpack(body)[0] != WIRE_VERSION:
                raise WireError(f"cloche-init speaks wire version {_U32.unpack(body)[0]}, not {WIRE_VERSION}")
            return Ready(fds[0])
        case Message.FAILED:
            return Failed(_I32.unpack_from(body)[0], body[_I32.size :].decode("utf-8", "replace"))
        case Message.STARTED:
            return Started(identity, _U32.unpack(body)[0], fds[0] if fds else None)
        case Message.REFUSED:
            error, stage = _REFUSED.unpack(body)
            if stage not in Stage.__members__.values():
                raise WireError(f"refused at unknown stage {stage}")
            return Refused(identity, error, Stage(stage))
        case Message.EXITED:
            return Exited(identity, *_EXITED.unpack(body))
        case _:
            return Done(identity, _I32.unpack(body)[0])


_SHAPES = {
    Message.READY: (_U32.size, 1, 1),
    Message.FAILED: (_I32.size, 0, 0),
    Message.STARTED: (_U32.size, 0, 1),
    Message.REFUSED: (_REFUSED.size, 0, 0),
    Message.EXITED: (_EXITED.size, 0, 0),
    Message.DONE: (_I32.size, 0, 0),
}
"""For each reply: bytes of body (at least, for FAILED), fewest and most descriptors."""


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


def _packet(kind: Message, identity: int, records: Sequence[bytes]) -> bytes:
    body = b"".join(records)
    if len(body) > WIRE_BODY_MAX:
        raise ValueError(f"{kind.name.lower()}: {len(body)} bytes, at most {WIRE_BODY_MAX} in all")
    return _pack(_HEAD, "id", kind, 0, identity) + body


def _pack(form: struct.Struct, what: str, *values: int) -> bytes:
    try:
        return form.pack(*values)
    except struct.error as error:
        raise ValueError(f"{what}: {values} is out of range: {error}") from error
