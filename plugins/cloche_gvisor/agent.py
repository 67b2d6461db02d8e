"""A sandbox of runsc, from launch to the last wait: its sentry, its file proxy, and cloche-inner's socket.

``runsc run --detach`` starts both processes and ends; they are then nobody's children here, so their ends are watched
by pidfd. cloche-inner waits in the guest for its first word before anything of the caller's runs. Its socket is the
box's lifeline: when this process is gone, cloche-inner ends, with it the sentry, with that the proxy.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal as signals
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

import cloche_native as native
from cloche import Agent, Launch, SandboxError, StartError
from cloche_gvisor import own_network
from cloche_gvisor.own_network import OwnNetwork
from cloche_native import agent as wire
from cloche_native import cgroup

READY_TIMEOUT: Final = 20.0  # seconds; a launch takes a tenth of one
DEATH_TIMEOUT: Final = 20.0
LOG_MOST: Final = 4096
_STATE_MOST: Final = 1 << 20


class SandboxAgent(Agent):
    """The processes of one sandbox.

    ``places`` are folders of the box by their path there: where the launcher sees them.
    ``state`` is the folder of runsc's state files, of this sandbox alone; ``passed`` are descriptors that the launcher
    gets besides, by their numbers there.
    """

    relays_terminals = True

    def __init__(
        self,
        launch: Launch,
        group: cgroup.Group | None,
        *,
        state: Path,
        places: Mapping[str, str],
        passed: Mapping[int, int] | None = None,
        network: OwnNetwork | None = None,
    ) -> None:
        super().__init__()
        self._passed = dict(passed or {})
        self.network = network
        self._launch = launch
        self._group = group
        self._state = state
        self._places = places
        self._folders: dict[str, int] = {}
        self._launcher = 0
        self._launcher_fd = self._log_fd = -1
        self._family: dict[int, int] = {}  # pid: pidfd
        self._killing = anyio.Lock()

    async def start(self) -> None:
        """Run runsc until it has started the sandbox, and cloche-inner is ready."""
        self.socket, theirs = wire.control_pair()
        self._log_fd, log = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        fds = {0: theirs.fileno(), 1: log, 2: log}  # never a file: runsc would give it to the sandbox's user
        try:
            if self.network is not None:
                fds[own_network.FD] = await self.network.lay()
            wire.send(self.socket, self._launch.setup.encode())
            self._launcher, self._launcher_fd = native.spawn(
                self._launch.argv,
                env=dict(self._launch.env),
                fds={**fds, **self._passed},
                stages=self._launch.stages,
                stage_folder=self._launch.stage_folder if self._launch.stages else None,
                cover=own_network.COVER if self.network is not None else None,
                cgroups=self._group.attach_fds() if self._group is not None else (),
            )
            self._open_places()
        except OSError as error:
            raise StartError(f"{self._launch.argv[0]} could not be started: {error} {self._log()}") from error
        finally:
            theirs.close()
            os.close(log)
            if self.network is not None:
                self.network.handed_over()
        with anyio.move_on_after(READY_TIMEOUT) as scope:
            await self._ready()
            await self._launched()
        if scope.cancelled_caught:
            raise StartError(f"the sandbox was not ready within {READY_TIMEOUT:g} s: {self._log()}")

    async def kill(self) -> None:
        """Kill the sentry, which ends every process of the guest, then its proxy, then whatever there is besides."""
        async with self._killing:
            if self._launcher_fd >= 0:
                await self._stop_launcher()
            for pidfd in self._family.values():
                with contextlib.suppress(ProcessLookupError):
                    signals.pidfd_send_signal(pidfd, signals.SIGKILL)
            for pid, pidfd in list(self._family.items()):
                if not await _ended(pidfd):
                    raise SandboxError(f"process {pid} of the sandbox can't be killed; see /proc/{pid}/stack")
                os.close(pidfd)
                del self._family[pid]
            if self._group is not None:  # the processes in which the guest's code ran end with their tracer, or here
                with contextlib.suppress(FileNotFoundError):  # somebody has removed the group
                    await anyio.to_thread.run_sync(self._group.kill)

    def close(self) -> None:
        """Close everything. The processes must be gone."""
        if self.socket is not None:
            anyio.notify_closing(self.socket)
            self.socket.close()
            self.socket = None
        if self.network is not None:
            self.network.close()
        for fd in (self._log_fd, *self._folders.values()):
            if fd >= 0:
                os.close(fd)
        self._log_fd = -1
        self._folders = {}

    def processes(self) -> Sequence[int]:
        """Give the sentry and its proxy."""
        return list(self._family)

    def info(self) -> Mapping[str, str]:
        """Give the process ids of the sentry, in which the agent runs, and of its file proxy where that is known."""
        proxies = [pid for pid in self._family if pid != self.agent_pid]
        return {"agent_pid": str(self.agent_pid), **({"proxy_pid": str(proxies[0])} if proxies else {})}

    def folder(self, path: str) -> int:
        """Give a new descriptor of one of the places."""
        if path not in self._folders:
            raise FileNotFoundError(errno.ENOENT, "the host can't reach it", path)
        return os.dup(self._folders[path])

    # -- inside -----------------------------------------------------------------------------------------------------

    def _open_places(self) -> None:
        """Open the folders in the launcher's mount namespace, where they are what the box will show."""
        for path, place in self._places.items():
            inside = f"/proc/{self._launcher}/root{place}" if self._launch.stages else place
            try:
                self._folders[path] = os.open(inside, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except NotADirectoryError:
                continue  # a file, which is reached by the folder it is in or not at all
            except (FileNotFoundError, ProcessLookupError):
                return  # a launcher that has ended already: it will be told why

    async def _ready(self) -> None:
        control = self.socket
        assert control is not None  # noqa: S101 - set by start
        while True:
            try:
                reply, pid = wire.receive(control)
                break
            except BlockingIOError:
                await anyio.wait_readable(control)
            except (EOFError, OSError, wire.WireError) as error:
                await anyio.wait_readable(self._launcher_fd)
                raise StartError(f"runsc made no sandbox: {self._log() or error}") from None
        self.agent_pid = pid
        match reply:
            case wire.Ready():
                self._family[pid] = os.pidfd_open(pid)
            case wire.Failed(number, text):
                raise StartError(f"the sandbox could not be set up: {text} ({os.strerror(number)}) {self._log()}")
            case _:
                raise StartError(f"the sandbox said {reply!r} instead of being ready")

    async def _launched(self) -> None:
        """Wait for the launcher, which is about to end, and find the proxy's process in what it has written down."""
        await anyio.wait_readable(self._launcher_fd)
        code = self._reap()
        self._adopt(self._written())
        if code != 0:
            raise StartError(f"runsc ended with {code}: {self._log()}")

    def _written(self) -> Iterable[int]:
        """Give the process ids in runsc's state file, which its newer versions name otherwise: no more than a help."""
        for path in self._state.glob("*.state"):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                with path.open("rb") as file:
                    told = json.loads(file.read(_STATE_MOST))
                found = (told.get("goferPid"), told.get("sandbox", {}).get("pid"))
                yield from (pid for pid in found if isinstance(pid, int) and pid > 1)

    async def _stop_launcher(self) -> None:
        """Kill a launcher that is not done, and what it has started so far."""
        children = _below(self._launcher)
        with contextlib.suppress(ProcessLookupError):
            signals.pidfd_send_signal(self._launcher_fd, signals.SIGKILL)
        if not await _ended(self._launcher_fd):
            raise SandboxError(f"process {self._launcher}, runsc, can't be killed; see /proc/{self._launcher}/stack")
        self._reap()
        self._adopt((*children, *self._written()))

    def _adopt(self, pids: Iterable[int]) -> None:
        for pid in pids:
            if pid not in self._family:
                with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                    self._family[pid] = os.pidfd_open(pid)

    def _reap(self) -> int:
        """Take the ended launcher's status; a program that reaps every child may have had it before us."""
        os.close(self._launcher_fd)
        self._launcher_fd = -1
        with contextlib.suppress(ChildProcessError):
            return os.waitstatus_to_exitcode(os.waitpid(self._launcher, 0)[1])
        return 0

    def _log(self) -> str:
        """Give what runsc and cloche-inner printed, for error messages."""
        with contextlib.suppress(OSError):
            text = os.read(self._log_fd, LOG_MOST).decode("utf-8", "replace")
            return "".join(sign if sign.isprintable() else " " for sign in text).strip()
        return ""


async def _ended(pidfd: int) -> bool:
    with anyio.move_on_after(DEATH_TIMEOUT):
        await anyio.wait_readable(pidfd)
        return True
    return False


def _below(pid: int) -> list[int]:
    """Give the children of a process."""
    with contextlib.suppress(OSError):
        return [
            int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()
        ]
    return []
