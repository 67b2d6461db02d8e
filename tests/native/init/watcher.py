"""The other end of the watch socket, in plain Python: what programs are notified of, each call answered.

See seccomp_unotify(2) for the structures and numbers.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import socket
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from cloche_native.agent import watch_pair
from tests.native import reference as ref

if TYPE_CHECKING:
    from collections.abc import Callable

RECEIVE: Final = 0xC0502100
SEND: Final = 0xC0182101
CONTINUE: Final = 1
_NOTICE: Final = struct.Struct("=QIIIIQ6Q")
_ANSWER: Final = struct.Struct("=QqiI")
_LISTENER: Final = struct.Struct("=II")


@dataclass(frozen=True, slots=True)
class Seen:
    """One notification."""

    exec_id: int
    pid: int
    call: ref.Call
    answer: int


class Watcher:
    """Takes every listener, and lets each call go on unless ``plain``, the static filter's program, refuses it."""

    def __init__(self, plain: bytes = b"", *, wait: Callable[[], None] | None = None) -> None:
        self.ours, self.theirs = watch_pair()
        self.plain = plain
        self.wait = wait
        self.listeners: list[tuple[int, int]] = []
        self.seen: list[Seen] = []
        self.ended: list[int] = []
        self._stop, self._stopping = os.pipe()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        os.close(self._stopping)
        self._thread.join()
        os.close(self._stop)
        self.ours.close()
        self.theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self, names: dict[int, str], exec_id: int) -> list[str]:
        """Give the names of the calls that an exec was seen to make."""
        return [names[seen.call.number] for seen in self.seen if seen.exec_id == exec_id]

    def _run(self) -> None:
        poll = select.poll()
        execs: dict[int, int] = {}
        poll.register(self._stop, select.POLLIN)
        poll.register(self.ours, select.POLLIN)
        try:
            while True:
                for fd, events in poll.poll():
                    if fd == self._stop:
                        return
                    if fd == self.ours.fileno():
                        self._take(poll, execs)
                    elif events & select.POLLIN:
                        self._answer(fd, execs[fd])
                    else:
                        poll.unregister(fd)
                        self.ended.append(execs.pop(fd))
                        os.close(fd)
        finally:
            for fd in execs:
                os.close(fd)

    def _take(self, poll: select.poll, execs: dict[int, int]) -> None:
        packet, extra, _, _ = self.ours.recvmsg(64, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        if not packet:
            poll.unregister(self.ours)
            return
        exec_id, pid = _LISTENER.unpack(packet)
        (listener,) = array.array("i", extra[0][2])
        execs[listener] = exec_id
        self.listeners.append((exec_id, pid))
        poll.register(listener, select.POLLIN)

    def _answer(self, listener: int, exec_id: int) -> None:
        buffer = bytearray(_NOTICE.size)
        with contextlib.suppress(OSError):  # ENOENT: whoever called has died meanwhile
            fcntl.ioctl(listener, RECEIVE, buffer)
            identity, pid, _, number, arch, _, *args = _NOTICE.unpack(buffer)
            call = ref.Call(arch, number, tuple(args))
            verdict = ref.run_filter(self.plain, call.data()).answer if self.plain else ref.ALLOW
            error = verdict & 0xFFFF if verdict != ref.ALLOW else 0
            self.seen.append(Seen(exec_id, pid, call, -error))
            if self.wait is not None:
                self.wait()
            fcntl.ioctl(listener, SEND, _ANSWER.pack(identity, 0, -error, 0 if error else CONTINUE))
