"""The host's side of the wire to cloche-init: packets are made, sent, received and checked here.

The format is that of ``native/src/cdef.h`` (its numbers are in ``wire``): a head (type, flags, id), then records (tag,
zero, length, payload), host byte order, no padding. A body over ``WIRE_INLINE`` bytes travels in a sealed memfd
(memfd_create(2)).

cloche-inner, process 1 of a guest with a kernel of its own, speaks the same (``native/inner/inner.h``), but can pass no
descriptor to the host: its ``Ready`` has no root, and for a program with a terminal the host passes one end of a stream
socket pair along with EXEC and has the terminal at the other.

cloche-init reports *at least once*: when a guest kills the helper process that watched over an exec, ``Exited`` can
come a second time, or without a ``Started`` before it. The first ``Exited`` of an id counts; drop what follows.
"""

import array
import fcntl
import os
import socket
import struct
from collections.abc import Sequence

from cloche_native.packets import (
    Setup,
    encode_exec,
    encode_kill,
    encode_limits,
    encode_pause,
    encode_quiet,
    encode_quit,
    encode_resize,
    encode_resume,
    encode_signal,
    encode_watch,
)
from cloche_native.wire import (
    CONTROL_FD,
    HEAD,
    HEAD_MEMFD,
    WATCH_FD,
    WIRE_INLINE,
    WIRE_VERSION,
    Access,
    Cause,
    Done,
    ExecFlag,
    Exited,
    Failed,
    Landlock,
    Message,
    Mount,
    MountKind,
    Ready,
    Refused,
    Reply,
    Scope,
    SetupFlag,
    Stage,
    Started,
    WireError,
    access_of,
)

__all__ = [
    "CONTROL_FD", "WATCH_FD", "Access", "Cause", "Done", "ExecFlag", "Exited", "Failed", "Landlock", "Mount",
    "MountKind", "Ready", "Refused", "Reply", "Scope", "Setup", "SetupFlag", "Stage", "Started", "WireError",
    "access_of", "control_pair", "decode",
    "encode_exec", "encode_kill", "encode_limits", "encode_pause", "encode_quiet", "encode_quit", "encode_resize",
    "encode_resume", "encode_signal", "encode_watch", "receive", "send", "watch_pair",
]  # fmt: skip

_U32 = struct.Struct("=I")
_I32 = struct.Struct("=i")
_REFUSED = struct.Struct("=iI")
_EXITED = struct.Struct("=iIQQQII")
_UCRED = struct.Struct("=iii")


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Make a wire: the host's end (non-blocking, asks for credentials) and the end to hand to cloche-init."""
    host, box = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    host.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    host.setblocking(False)  # noqa: FBT003 - socket.socket takes it no other way
    return host, box


def watch_pair() -> tuple[socket.socket, socket.socket]:
    """Make a watch socket: the supervisor's end, and the end to hand to cloche-init as ``WATCH_FD``."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, packet: bytes, fds: Sequence[int] = ()) -> None:
    """Send a packet whole, with descriptors that stay the caller's.

    Raises OSError as sendmsg(2): BlockingIOError when the box is behind, BrokenPipeError when it is gone.
    """
    if len(packet) - HEAD.size <= WIRE_INLINE:
        socket.send_fds(sock, [packet], fds)
        return
    kind, flags, exec_id = HEAD.unpack_from(packet)
    body = os.memfd_create("cloche", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(body, "wb", closefd=False) as file:
            file.write(memoryview(packet)[HEAD.size :])
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(body, fcntl.F_ADD_SEALS, seals)
        socket.send_fds(sock, [HEAD.pack(kind, flags | HEAD_MEMFD, exec_id)], [body, *fds])
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
    if len(packet) < HEAD.size:
        raise WireError(f"a reply of {len(packet)} bytes has no head")
    kind, flags, identity = HEAD.unpack_from(packet)
    body = packet[HEAD.size :]
    size, least, most = _SHAPES.get(kind, (-1, 0, 0))
    fits = len(body) >= size if kind == Message.FAILED else len(body) == size
    if size < 0 or flags or not fits or not least <= len(fds) <= most:
        raise WireError(f"not a reply: type {kind}, flags {flags}, {len(body)} bytes, {len(fds)} descriptors")
    match kind:
        case Message.READY:
            if _U32.unpack(body)[0] != WIRE_VERSION:
                raise WireError(f"cloche-init speaks wire version {_U32.unpack(body)[0]}, not {WIRE_VERSION}")
            return Ready(fds[0] if fds else None)
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
            return _exited(identity, body)
        case _:
            return Done(identity, _I32.unpack(body)[0])


def _exited(identity: int, body: bytes) -> Exited:
    status, leftovers, user, system, peak, cause, zero = _EXITED.unpack(body)
    if zero or cause not in Cause.__members__.values():
        raise WireError(f"exited for unknown cause {cause}")
    return Exited(identity, status, leftovers, user, system, peak, Cause(cause))


_SHAPES = {
    Message.READY: (_U32.size, 0, 1),
    Message.FAILED: (_I32.size, 0, 0),
    Message.STARTED: (_U32.size, 0, 1),
    Message.REFUSED: (_REFUSED.size, 0, 0),
    Message.EXITED: (_EXITED.size, 0, 0),
    Message.DONE: (_I32.size, 0, 0),
}
"""For each reply: bytes of body (at least, for FAILED), fewest and most descriptors."""
