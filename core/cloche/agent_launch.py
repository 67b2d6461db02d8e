"""The agent's process and its socket, from launch to the last wait."""

from __future__ import annotations

import contextlib
import os
import signal as signals
import socket
from collections.abc import Mapping, Sequence

import anyio
import anyio.to_thread

import cloche_native as native
from cloche.agent_door import Agent
from cloche.agent_process import DEATH_TIMEOUT
from cloche.errors import SandboxError, StartError
from cloche.launch import Launch
from cloche.uids import Seat
from cloche_native import agent as wire
from cloche_native import cgroup, processes

READY_TIMEOUT = 20.0  # seconds; a launch takes milliseconds, and a stuck launcher must not hang its host


class LaunchedAgent(Agent):
    """One launcher and the agent that it brings up. Made before it runs; ``close`` gives back what it holds."""

    def __init__(self, launch: Launch, group: cgroup.Group | None, seat: Seat | None, *, watched: bool = False) -> None:
        super().__init__()
        self.pid = 0
        self._launch = launch
        self._group = group
        self._seat = seat
        self._pidfd = self._agent_pidfd = self._log_fd = -1
        self._gone = False
        self._watched = watched
        self._killing = anyio.Lock()

    async def start(self) -> None:
        """Launch, and wait until the agent has applied everything and says so. Raises ``StartError``."""
        self.socket, theirs = wire.control_pair()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._log_fd, log = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        uid = self._seat.uid if self._seat is not None else None
        fds = {0: null, 1: log, 2: log, wire.CONTROL_FD: theirs.fileno()}
        watched: socket.socket | None = None
        if self._watched:
            self.watch, watched = wire.watch_pair()
            fds[wire.WATCH_FD] = watched.fileno()
        try:
            wire.send(self.socket, self._launch.setup.encode())
            self.pid, self._pidfd = native.spawn(
                self._launch.argv,
                env=dict(self._launch.env),
                fds=fds,
                uid=uid,
                gid=uid,
                stages=self._launch.stages,
                stage_folder=self._launch.stage_folder if self._launch.stages else None,
                cgroups=self._group.attach_fds() if self._group is not None else (),
                namespaces=self._launch.namespaces,
            )
        except OSError as error:
            raise StartError(f"{self._launch.argv[0]} could not be started: {error}") from error
        finally:
            theirs.close()
            if watched is not None:
                watched.close()
            os.close(null)
            os.close(log)
        with anyio.move_on_after(READY_TIMEOUT) as scope:
            await self._ready(self.socket)
        if scope.cancelled_caught:
            raise StartError(f"the box was not ready within {READY_TIMEOUT:g} s: {self._log()}")

    async def _ready(self, control: socket.socket) -> None:
        while True:
            try:
                reply, self.agent_pid = wire.receive(control)
                break
            except BlockingIOError:
                await anyio.wait_readable(control)
            except (EOFError, OSError, wire.WireError) as error:
                await anyio.wait_readable(self._pidfd)
                raise StartError(f"the launcher ended before the box was ready: {self._log() or error}") from None
        match reply:
            case wire.Ready(int(root)):
                self.root_fd = root
            case wire.Failed(number, text):
                raise StartError(f"the box could not apply its policy: {text} ({os.strerror(number)}) {self._log()}")
            case _:
                raise StartError(f"the box said {reply!r} instead of being ready")
        self._agent_pidfd = os.pidfd_open(self.agent_pid)

    async def kill(self) -> None:
        """Kill every process of the box and wait until the kernel says that they are gone. Harmless when repeated."""
        async with self._killing:
            if self._pidfd < 0 or self._gone:
                return
            if self._agent_pidfd < 0:
                # A launcher's child that waits for its parent is not told of the parent's death.
                await anyio.to_thread.run_sync(processes.end_family, self.pid, self._pidfd)
            else:
                self._ask_to_die()
            if not await _dead(self._pidfd) and self._group is not None:
                with contextlib.suppress(TimeoutError):  # told below, of the process that stays
                    await anyio.to_thread.run_sync(self._group.kill)
            _send_kill(self._pidfd)
            if not await _dead(self._pidfd):
                where = f"see /proc/{self.pid}/stack"
                raise SandboxError(f"process {self.pid} of the box can't be killed; the kernel holds it ({where})")
            # A program that ignores SIGCHLD, or waits for every child, may have reaped it before us.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)  # noqa: ASYNC222 - its pidfd has said that it ended
            self._gone = True

    def _ask_to_die(self) -> None:
        if self._launch.dies_with_agent:
            _send_kill(self._agent_pidfd)
        elif self.socket is not None:
            # The agent kills what it started before it ends. One that can't even take this message ends at the hang-up.
            with contextlib.suppress(OSError):
                wire.send(self.socket, wire.encode_quit())

    def close(self) -> None:
        """Close everything. The processes must be gone."""
        if self.socket is not None:
            anyio.notify_closing(self.socket)
            self.socket.close()
            self.socket = None
        if self.watch is not None:
            self.watch.close()
            self.watch = None
        for fd in (self._pidfd, self._agent_pidfd, self._log_fd, self.root_fd):
            if fd is not None and fd >= 0:
                os.close(fd)
        self._pidfd = self._agent_pidfd = self._log_fd = -1
        self.root_fd = None

    def processes(self) -> Sequence[int]:
        """Give the agent and its launcher."""
        return [pid for pid in dict.fromkeys((self.agent_pid, self.pid)) if pid > 0]

    def info(self) -> Mapping[str, str]:
        """Give the process ids on the host."""
        return {"agent_pid": str(self.agent_pid), "launcher_pid": str(self.pid)}

    def _log(self) -> str:
        """Give what the launcher printed, for error messages."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._log_fd, 4096).decode("utf-8", "replace").strip()
        return ""


def _send_kill(pidfd: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signals.pidfd_send_signal(pidfd, signals.SIGKILL)


async def _dead(pidfd: int) -> bool:
    with anyio.move_on_after(DEATH_TIMEOUT):
        await anyio.wait_readable(pidfd)
        return True
    return False
