"""The wire between two hosts of one user: bounded messages on a stream socket, descriptors riding along.

A message is a head of 12 bytes (lengths of what follows, number of descriptors), a JSON object and raw bytes (output,
input). Lengths are checked before anything is kept, JSON is parsed with the depth and the numbers that Python bounds,
and whoever breaks a rule is hung up on. The peer is a process of the same user or root (SO_PEERCRED, unix(7)).
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from cloche.registry.plain import from_json

VERSION: Final = 1
JSON_MAX: Final = 8 << 20
"""A program's arguments and environment take 1 MiB at most (``spec.ARGS_MAX``), six times that in JSON's escapes."""
DATA_MAX: Final = 8 << 20
FDS_MAX: Final = 64
"""Of folders that the files API works in; a program has three at most. The kernel takes 253 at once (unix(7))."""
_HEAD: Final = struct.Struct("!IIHxx")
_READ: Final = 1 << 18
_ROOM: Final = socket.CMSG_SPACE(4 * FDS_MAX)
STALL: Final = 10.0  # seconds; between two processes of one machine a message takes microseconds


class ProtocolError(ValueError):
    """The bytes are no message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Who receives it owns ``fds``."""

    body: Mapping[str, Any]
    data: bytes = b""
    fds: tuple[int, ...] = ()

    def close(self) -> None:
        """Close its descriptors."""
        for fd in self.fds:
            os.close(fd)


def encode(body: Mapping[str, Any], data: bytes = b"", fds: int = 0) -> bytes:
    """Give the bytes of a message that travels with ``fds`` descriptors. Raises ``ProtocolError`` if it is too big."""
    text = json.dumps(body, separators=(",", ":")).encode()
    if len(text) > JSON_MAX or len(data) > DATA_MAX or fds > FDS_MAX:
        raise ProtocolError(f"{len(text)} and {len(data)} bytes with {fds} descriptors are too much for one message")
    return b"".join((_HEAD.pack(len(text), len(data), fds), text, data))


@dataclass(slots=True)
class Decoder:
    """Cuts what arrives into messages. ``admit(n)`` says whether ``n`` more bytes may be kept in memory."""

    admit: Callable[[int], bool] = bool
    _buffer: bytearray = field(default_factory=bytearray)
    _fds: deque[int] = field(default_factory=deque)
    _admitted: int = 0

    @property
    def partial(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._buffer) or bool(self._fds)

    def feed(self, raw: bytes, fds: Sequence[int] = ()) -> list[Message]:
        """Give the messages that ``raw`` completes. Takes over ``fds``. Raises ``ProtocolError``; then ``close``."""
        self._fds.extend(fds)
        if len(self._fds) > 4 * FDS_MAX:
            raise ProtocolError("descriptors came that no message speaks of")
        self._buffer += raw
        found: list[Message] = []
        try:
            while (message := self._next()) is not None:
                found.append(message)
        except BaseException:
            for message in found:
                message.close()
            raise
        return found

    def _next(self) -> Message | None:
        if len(self._buffer) < _HEAD.size:
            return None
        text_size, data_size, count = _HEAD.unpack_from(self._buffer)
        if text_size > JSON_MAX or data_size > DATA_MAX or count > FDS_MAX:
            raise ProtocolError(f"a message of {text_size} and {data_size} bytes with {count} descriptors")
        end = _HEAD.size + text_size + data_size
        if len(self._buffer) < end:
            if not self._admitted:
                if not self.admit(end):
                    raise ProtocolError("too much is under way at once")
                self._admitted = end
            return None
        if count > len(self._fds):
            raise ProtocolError(f"a message speaks of {count} descriptors, and {len(self._fds)} came")
        try:
            body = from_json(bytes(self._buffer[_HEAD.size : _HEAD.size + text_size]), "a message")
        except ValueError as error:
            raise ProtocolError(str(error)) from None
        data = bytes(self._buffer[_HEAD.size + text_size : end])
        del self._buffer[:end]
        self._release()
        return Message(body, data, tuple(self._fds.popleft() for _ in range(count)))

    def _release(self) -> None:
        if self._admitted:
            self.admit(-self._admitted)
            self._admitted = 0

    def close(self) -> None:
        """Forget what is half there, and close descriptors that nobody took."""
        self._release()
        self._buffer.clear()
        while self._fds:
            os.close(self._fds.popleft())


class Channel:
    """One end of a connection. Several tasks may send, one receives."""

    def __init__(self, connected: socket.socket, *, admit: Callable[[int], bool] = bool) -> None:
        connected.setblocking(False)  # noqa: FBT003 - it takes no keyword
        self._socket = connected
        self._over = False
        self._waiting = 0
        self._decoder = Decoder(admit)
        self._ready: deque[Message] = deque()
        self._sending = anyio.Lock(fast_acquire=True)

    async def send(self, body: Mapping[str, Any], data: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Send a message, whole. Raises ``ProtocolError`` if it is too big, ``EOFError`` once nobody can get it.

        A peer that takes nothing for ``STALL`` seconds is hung up on.
        """
        view = memoryview(encode(body, data, len(fds)))
        async with self._sending:
            while view and not self._over:
                try:
                    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
                    view = view[self._socket.sendmsg([view], rights, socket.MSG_NOSIGNAL) :]
                    fds = ()
                except BlockingIOError:
                    if not await self._wait(anyio.wait_writable, STALL):
                        self.hang_up()
                except OSError:
                    self.hang_up()
            if view:
                raise EOFError("the connection is closed")

    async def receive(self) -> Message:
        """Give the next message. Raises ``EOFError`` at the end, ``ProtocolError`` for what is none."""
        while not self._ready:
            if self._over:
                raise EOFError("the connection is closed")
            try:
                raw, rest, flags, _ = self._socket.recvmsg(_READ, _ROOM, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                if not await self._wait(anyio.wait_readable, STALL if self._decoder.partial else None):
                    raise ProtocolError(f"the rest of a message did not come within {STALL:g} s") from None
                continue
            except OSError:
                raise EOFError("the connection broke") from None
            fds = [fd for level, kind, part in rest if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                   for fd in array.array("i", part[: len(part) - len(part) % 4])]  # fmt: skip
            if flags & socket.MSG_CTRUNC:
                for fd in fds:
                    os.close(fd)
                raise ProtocolError("descriptors were lost on the way")
            self._ready.extend(self._decoder.feed(raw, fds))
            if not raw:
                raise EOFError("the connection was closed by the other side")
        return self._ready.popleft()

    async def _wait(self, ready: Callable[[socket.socket], Awaitable[None]], patience: float | None) -> bool:
        self._waiting += 1
        try:
            with anyio.move_on_after(patience) as scope:
                await ready(self._socket)
        finally:
            self._waiting -= 1
            if self._over and not self._waiting:
                self._socket.close()
        return not scope.cancelled_caught

    def hang_up(self) -> None:
        """End it, waking whoever waits. Harmless when repeated.

        Who waits closes the descriptor: its number, free too early, would be a new connection's, and that unwatched.
        """
        if self._over:
            return
        self._over = True
        with contextlib.suppress(OSError):  # the other side was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        self._decoder.close()
        while self._ready:
            self._ready.popleft().close()
        if not self._waiting:
            self._socket.close()


def peer(connected: socket.socket) -> tuple[int, int]:
    """Give the process id and the user id of the process at the other end, as the kernel noted them (unix(7))."""
    pid, uid, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def trusted(connected: socket.socket) -> bool:
    """Say whether the other end is this user, or root."""
    return peer(connected)[1] in (0, os.geteuid())
