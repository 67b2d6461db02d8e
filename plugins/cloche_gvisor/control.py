"""Straight to the sentry: its control socket, and the choice between that and runsc's command line.

The socket takes JSON, ``{"method": ..., "arg": ...}`` with descriptors beside it, and answers as ``replies`` says. It
is none of runsc's public interfaces, so ``connect`` tries it, and else takes the command line (``cloche_gvisor.cli``).

Where it is: until September 2023 the abstract name ``runsc-sandbox.<id>``, up to January 2023 with a NUL at its end as
part of the name; between the two also, and since then only, a socket file that the state file names.

Each call has a connection of its own: one that is open while a sandbox ends delays its end by 15 s.
"""

from __future__ import annotations

import array
import json
import math
import os
import select
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

import anyio

from cloche import Exit, NotFound, SandboxError, StartError
from cloche_gvisor import replies
from cloche_gvisor.cli import CliControl
from cloche_gvisor.contract import (
    PROCESSES_MOST,
    SECONDS,
    Control,
    GuestProgram,
    Target,
)
from cloche_gvisor.replies import BrokenSentry, GuestTask, MemoryUse, Reader, RefusedCall, TraceSession
from cloche_gvisor.standstill import Standstill

SHORT: Final = 256 << 10
STATE_MOST: Final = 8 << 20
FILES_MOST: Final = 128
"""Descriptors with one call: the sentry's own bound."""
PROMPT: Final = 1
"""Milliseconds that the event loop is held up at most where an answer is wanted at once."""
_PIECE: Final = 1 << 16
_NAME_MOST: Final = 107  # bytes of a path in sockaddr_un, without its end (unix(7))


async def connect(target: Target) -> Control:
    """Give the way to a running sandbox that works: the control socket where it answers, else the command line.

    Raises ``NotFound`` where runsc knows no such sandbox, and ``BrokenSentry`` where what answers is no sentry.
    """
    pid, path = _state(target)
    known = replace(target, pid=target.pid or pid)
    for address in _addresses(target, path):
        control = SocketControl(known, address)
        try:
            await control.processes()
        except BrokenSentry:
            raise
        except SandboxError:  # nobody there, or a sentry that says no to what all of them know
            continue
        return control
    return CliControl(known)


def _addresses(target: Target, path: str | None) -> Iterator[str]:
    """Give where the socket may be, the likeliest first."""
    if path:
        yield path
    else:
        yield f"\0runsc-sandbox.{target.id}\0"
        yield f"\0runsc-sandbox.{target.id}"
    yield f"{target.root}/runsc-{target.id}.sock"  # where runsc looks when its folder was moved


def _state(target: Target) -> tuple[int | None, str | None]:
    """Give the sentry's process id and the path of its socket, as far as runsc's state file names them.

    runsc writes that file, the guest can't. Raises ``NotFound`` where there is none.
    """
    name = f"{target.root}/{target.id}_sandbox:{target.id}.state"
    try:
        with open(name, "rb") as file:
            state = json.loads(file.read(STATE_MOST))
    except FileNotFoundError:
        raise NotFound(
            f"sandbox {target.id}: runsc has no state file for it below {target.root}; is it down?"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise SandboxError(f"sandbox {target.id}: {name} can't be read: {error}") from error
    sandbox = state.get("sandbox") if isinstance(state, dict) else None
    if not isinstance(sandbox, dict):
        return None, None
    pid = sandbox.get("pid")
    path = sandbox.get("controlSocketPath") or sandbox.get("control_address")
    return (pid if isinstance(pid, int) and pid > 0 else None), (path if isinstance(path, str) else None)


class SocketControl(Control):
    """Speaks to the sentry itself, at ``address``: the path of a socket, or an abstract name (first character NUL)."""

    way: ClassVar[str] = "control socket"

    def __init__(self, target: Target, address: str, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._target = target
        self._id = target.id
        self._pid = target.pid
        self._address = address
        names = ("Lifecycle", "containerManager")  # June 2024 gave both a second name
        self._managers: tuple[str, ...] = names if target.saved is None else names[1:]  # see standstill
        self._standstill: Standstill | None = None

    async def exec(self, program: GuestProgram, files: Sequence[int]) -> int:  # noqa: D102 - see Control
        none = dict.fromkeys(
            ("PermittedCaps", "InheritableCaps", "EffectiveCaps", "BoundingCaps", "AmbientCaps"), 0
        )  # fmt: skip
        arg = {
            "filename": "", "argv": program.argv, "envv": program.env, "wd": program.cwd, "KUID": program.uid,
            "KGID": program.gid, "ExtraKGIDs": [], "Capabilities": none, "NoNewPrivileges": True, "StdioIsPty": False,
            "ContainerID": self._id, "MountNamespace": None, "PIDNamespace": None, "Limits": None,
            "GuestFDs": list(range(len(files))),  # since March 2023; earlier ones take files as 0, 1, 2 unasked
        }  # fmt: skip
        try:
            pid = await self._call("containerManager.ExecuteAsync", arg, files=files)
        except RefusedCall as error:
            raise StartError(str(error)) from None
        return replies.process_id(pid)

    async def wait(self, pid: int) -> Exit:  # noqa: D102
        arg = {"PID": pid, "CID": self._id}
        return replies.wait_status(await self._call("containerManager.WaitPID", arg, forever=True))

    async def signal(self, number: int, pid: int | None = None) -> None:  # noqa: D102
        everyone = 1
        whose = self._id if pid is None else self._target.saved or self._id
        arg = {"CID": whose, "Signo": number, "PID": pid or 0, "Mode": everyone if pid is None else 0}
        await self._call("containerManager.Signal", arg)

    async def pause(self) -> None:  # noqa: D102
        if not await self._stop_or_go("Pause"):
            if self._standstill is None:
                self._standstill = Standstill(self.processes, self.signal)
            await self._standstill.stop()

    async def resume(self) -> None:  # noqa: D102
        if not await self._stop_or_go("Resume") and self._standstill is not None:
            await self._standstill.go_on()

    async def _stop_or_go(self, verb: str) -> bool:
        """Have the sentry do it; says whether it knows how to."""
        while self._managers:
            try:
                await self._call(f"{self._managers[0]}.{verb}", None, prompt=True)
            except RefusedCall as error:
                if "unknown method" not in str(error) or (len(self._managers) == 1 and self._target.saved is None):
                    raise
                self._managers = self._managers[1:]
            else:
                return True
        return False

    async def processes(self) -> list[GuestTask]:  # noqa: D102
        everybody = ""  # those that came with an image go by the id of the box that was saved
        found = await self._call("containerManager.Processes", everybody, most=replies.REPLY_MOST)
        return replies.tasks(found, PROCESSES_MOST)

    async def usage(self) -> MemoryUse:  # noqa: D102
        return replies.memory(await self._call("Usage.Collect", {"Full": True}))

    async def checkpoint(self, folder: str) -> None:  # noqa: D102
        await CliControl(self._target).checkpoint(folder)  # what belongs into it differs from version to version

    async def line(self) -> tuple[socket.socket, bytes] | None:
        """Give a connection of one's own, and what stops the guest when it is sent there; ``answered`` takes the reply.

        It must be closed before the sandbox is to end by itself. ``None``, once ``pause`` was called: one request does
        not stop this guest.
        """
        if not self._managers:
            return None
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.setblocking(False)  # noqa: FBT003 - socket's own way
            with anyio.fail_after(self._seconds):
                await self._connect(line)
        except (OSError, TimeoutError, SandboxError) as error:
            line.close()
            raise SandboxError(f"the sandbox {self._id} takes no connection: {error}; is it down?") from error
        return line, json.dumps({"method": f"{self._managers[0]}.Pause", "arg": None}).encode()

    async def trace_create(  # noqa: D102
        self, session: Mapping[str, Any], files: Sequence[int] = (), *, force: bool = False
    ) -> None:
        arg = {"Config": session, "Force": force}
        await self._call("containerManager.CreateTraceSession", arg, files=files)

    async def trace_list(self) -> list[TraceSession]:  # noqa: D102
        return replies.sessions(await self._call("containerManager.ListTraceSessions", None))

    async def trace_delete(self, name: str) -> None:  # noqa: D102
        await self._call("containerManager.DeleteTraceSession", name)

    def close(self) -> None:
        """Hold nothing: each call has closed its connection."""

    async def _call(
        self,
        method: str,
        arg: object,
        *,
        files: Sequence[int] = (),
        most: int = SHORT,
        forever: bool = False,
        prompt: bool = False,
    ) -> Any:  # noqa: ANN401 - any JSON
        if len(files) > FILES_MOST:
            raise SandboxError(f"{method}: {len(files)} descriptors; the sentry takes at most {FILES_MOST} at once")
        request = json.dumps({"method": method, "arg": arg}).encode()
        seconds = math.inf if forever else self._seconds
        with anyio.move_on_after(seconds), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.setblocking(False)  # noqa: FBT003 - socket's own way
            try:
                await self._connect(line)
                await _send(line, request, files)
                if prompt:  # the event loop would take longer to come back to it than the answer takes
                    ready = select.poll()
                    ready.register(line, select.POLLIN)
                    ready.poll(PROMPT)
                return await _receive(line, most)
            except OSError as error:
                raise SandboxError(f"{method}: the sandbox {self._id} does not answer: {error}; is it down?") from error
        raise BrokenSentry(f"{method}: the sandbox {self._id} gave no answer within {seconds} s; end it")

    async def _connect(self, line: socket.socket) -> None:
        while True:
            try:
                _connect_to(line, self._address)
                break
            except BlockingIOError:  # its queue is full: it is stopped, or many ask
                await anyio.sleep(0.001)
        if self._pid is not None:
            pid, _, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            if pid != self._pid:
                raise BrokenSentry(f"the control socket of {self._id} belongs to process {pid}, not to {self._pid}")


async def answered(line: socket.socket) -> None:
    """Take the reply to what was sent on a ``line``. Raises ``BrokenSentry``, and ``RefusedCall`` where it says no."""
    with anyio.move_on_after(SECONDS):
        try:
            await _receive(line, SHORT)
        except OSError as error:
            raise BrokenSentry(f"the sandbox does not answer: {error}; end it") from error
        return
    raise BrokenSentry(f"the sandbox gave no answer within {SECONDS} s; end it")


async def _send(line: socket.socket, request: bytes, files: Sequence[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
    left = memoryview(request)
    while left:
        try:
            sent = line.sendmsg([left], rights)
        except BlockingIOError:
            await anyio.wait_writable(line)
            continue
        left, rights = left[sent:], []


async def _receive(line: socket.socket, most: int) -> Any:  # noqa: ANN401 - any JSON
    """Give the result of the reply; descriptors that come with it are dropped by the kernel, as ``recv`` asks none."""
    reader = Reader(most=most)
    whole = False
    while not whole:
        try:
            piece = line.recv(_PIECE)
        except BlockingIOError:
            await anyio.wait_readable(line)
            continue
        if not piece:
            reader.cut()
        whole = reader.feed(piece)
    return reader.result()


def _connect_to(line: socket.socket, address: str) -> None:
    if len(address.encode()) <= _NAME_MOST or address.startswith("\0"):
        line.connect(address.encode())
        return
    folder = os.open(os.path.dirname(address), os.O_PATH | os.O_DIRECTORY)
    try:
        line.connect(f"/proc/self/fd/{folder}/{os.path.basename(address)}")
    finally:
        os.close(folder)
