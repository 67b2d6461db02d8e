"""A ready-made ``Instance`` for any runtime whose launcher can start one static program inside its box.

That program, the agent (``cloche_native.init_path()``), applies the inner half of the policy, starts programs, reaps,
signals, pauses and reports over one socket that no guest can reach. A runtime then only says how to launch it
(``Launch``); exec, jobs, terminals, timeouts and clean-up are here.
"""

from __future__ import annotations

import contextlib
import os
import signal as signals
import socket
from collections.abc import Callable, Mapping, Sequence

import anyio

import cloche_native as native
from cloche.agent_process import DEATH_TIMEOUT, AgentProcess
from cloche.errors import SandboxError, StartError
from cloche.launch import Launch, ResourceGroup
from cloche.runtime import Exit, Instance, Stdio
from cloche.spec import ProcessSpec, Usage
from cloche.uids import Seat
from cloche_native import agent as wire

READY_TIMEOUT = 20.0  # seconds; a launch takes milliseconds, and a stuck launcher must not hang its host


class AgentInstance(Instance):
    """A box driven through its agent."""

    def __init__(self, launch: Launch, group: ResourceGroup | None = None, seat: Seat | None = None) -> None:
        self.workspace = launch.workspace
        self.root_fd: int | None = None
        self._launch = launch
        self._group = group
        self._seat = seat
        self._socket: socket.socket | None = None
        self._launcher = (0, -1)
        self._agent_pid = 0
        self._agent_pidfd = -1
        self._programs: dict[int, AgentProcess] = {}
        self._answers: dict[int, tuple[anyio.Event, list[int]]] = {}
        self._next_id = 0
        self._seen_oom = 0
        self._down = False
        self._why = ""
        self._wanted = False
        self._reaped = False
        self._deleted = False
        self._log_fd = -1
        self._killing = anyio.Lock()

    async def start(self) -> None:
        """Launch the agent and wait until it has applied everything and says so."""
        ours, theirs = wire.control_pair()
        self._socket = ours
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._log_fd, log = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            wire.send(ours, self._launch.setup.encode())
            self._launcher = native.spawn(
                self._launch.argv,
                env=dict(self._launch.env),
                fds={0: null, 1: log, 2: log, wire.CONTROL_FD: theirs.fileno()},
                uid=self._seat.uid if self._seat is not None else None,
                gid=self._seat.uid if self._seat is not None else None,
                stages=self._launch.stages,
                stage_folder=self._launch.stage_folder if self._launch.stages else None,
                cgroups=self._group.attach_fds() if self._group is not None else (),
            )
        except OSError as error:
            raise StartError(f"{self._launch.argv[0]} could not be started: {error}") from error
        finally:
            theirs.close()
            os.close(null)
            os.close(log)
        with anyio.move_on_after(READY_TIMEOUT) as scope:
            await self._ready()
        if scope.cancelled_caught:
            raise StartError(f"the box was not ready within {READY_TIMEOUT:g} s: {self._log()}")

    async def _ready(self) -> None:
        assert self._socket is not None  # noqa: S101 - set by start
        while True:
            try:
                reply, sender = wire.receive(self._socket)
                break
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
            except (EOFError, OSError, wire.WireError) as error:
                await anyio.wait_readable(self._launcher[1])
                raise StartError(f"the launcher ended before the box was ready: {self._log() or error}") from None
        match reply:
            case wire.Ready(root):
                self.root_fd = root
            case wire.Failed(number, text):
                raise StartError(f"the box could not apply its policy: {text} ({os.strerror(number)}) {self._log()}")
            case _:
                raise StartError(f"the box said {reply!r} instead of being ready")
        self._agent_pid = sender
        self._agent_pidfd = os.pidfd_open(sender)

    async def wait(self) -> str:
        """Serve the agent's messages until the box is down."""
        assert self._socket is not None  # noqa: S101 - set by start
        while not self._down:
            try:
                reply, _ = wire.receive(self._socket)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
            except EOFError:
                self._fall("" if self._wanted else self._death())
            except (OSError, wire.WireError) as error:
                self._fall(f"its agent broke the protocol: {error}")
                await self.kill()
            else:
                self._handle(reply)
        return self._why

    async def exec(self, process: ProcessSpec, stdio: Stdio) -> AgentProcess:
        """Have the agent start a program."""
        self._next_id += 1
        exec_id = self._next_id
        flags, fds = wire.ExecFlag(0), []
        given = ((wire.ExecFlag.STDIN, stdio.stdin), (wire.ExecFlag.STDOUT, stdio.stdout))
        for flag, fd in (*given, (wire.ExecFlag.STDERR, stdio.stderr)):
            if fd is not None:
                flags |= flag
                fds.append(fd)
        if process.window is not None:
            flags |= wire.ExecFlag.PTY
        if process.linger:
            flags |= wire.ExecFlag.LINGER
        window = (process.window.rows, process.window.columns) if process.window is not None else None
        packet = wire.encode_exec(exec_id, process.args, env=process.env, cwd=process.cwd, flags=flags, window=window)
        return await self._begin(exec_id, packet, fds)

    async def probe(self, stdout: int) -> Exit:
        """Run the agent's self-test as a sealed program that writes its findings, JSON, to ``stdout``."""
        self._next_id += 1
        flags = wire.ExecFlag.PROBE | wire.ExecFlag.STDOUT
        packet = wire.encode_exec(self._next_id, ("probe",), env={}, cwd="/", flags=flags)
        return await (await self._begin(self._next_id, packet, [stdout])).wait()

    async def tell(self, packet: bytes, fds: Sequence[int] = ()) -> None:
        """Send the agent a packet; one that is gone has nothing left to be told."""
        while self._socket is not None and not self._down:
            try:
                wire.send(self._socket, packet, fds)
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            except (BrokenPipeError, ConnectionError):
                return
            else:
                return

    async def pause(self) -> None:
        """Have the agent stop every guest process. The agent itself goes on, so that programs can still be killed."""
        await self._ask(wire.encode_pause)

    async def resume(self) -> None:
        """Have the agent continue every guest process."""
        await self._ask(wire.encode_resume)

    async def stats(self) -> Mapping[str, float]:
        """Give the control group's figures."""
        if self._group is None:
            return await super().stats()
        figures = self._group.stats()
        return {**figures, "cpu": figures["cpu_us"] / 1e6}

    def info(self) -> Mapping[str, str]:
        """Give the process ids on the host."""
        return {"agent_pid": str(self._agent_pid), "launcher_pid": str(self._launcher[0])}

    async def kill(self) -> None:
        """Kill every process of the box and wait until the kernel says that they are gone."""
        self._wanted = True
        async with self._killing:
            await self._kill()

    async def _kill(self) -> None:
        pid, pidfd = self._launcher
        if pidfd < 0 or self._reaped:
            self._fall("")
            return
        if self._launch.dies_with_agent and self._agent_pidfd >= 0:
            _send_kill(self._agent_pidfd)
        elif self._agent_pidfd >= 0:
            await self.tell(wire.encode_quit())
        else:
            _send_kill(pidfd)
        if not await _dead(pidfd) and self._group is not None:
            self._group.kill()
        _send_kill(pidfd)
        if not await _dead(pidfd):
            raise SandboxError(f"process {pid} of the box can't be killed; the kernel holds it (see /proc/{pid}/stack)")
        self._reap()
        self._fall("")

    async def delete(self) -> None:
        """Kill, then close and give back everything."""
        if self._deleted:
            return
        await self.kill()
        self._deleted = True
        if self._socket is not None:
            anyio.notify_closing(self._socket)
            self._socket.close()
            self._socket = None
        for fd in (self._launcher[1], self._agent_pidfd, self._log_fd, self.root_fd):
            if fd is not None and fd >= 0:
                os.close(fd)
        with contextlib.ExitStack() as stack:
            if self._seat is not None:
                stack.callback(self._seat.release)
            for step in self._launch.cleanup:
                stack.callback(step)
            if self._group is not None:
                stack.callback(self._group.delete)

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _begin(self, exec_id: int, packet: bytes, fds: Sequence[int]) -> AgentProcess:
        if self._down:
            raise StartError(f"the box is down: {self._why or 'it was killed'}")
        program = self._programs[exec_id] = AgentProcess(self, exec_id)
        try:
            await self.tell(packet, fds)
            await program.begun.wait()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await program.kill()
            raise
        if program.error:
            raise StartError(program.error)
        return program

    async def _ask(self, encode: Callable[[int], bytes]) -> None:
        self._next_id += 1
        token, answered = self._next_id, anyio.Event()
        result: list[int] = []
        self._answers[token] = (answered, result)
        await self.tell(encode(token))
        with anyio.move_on_after(DEATH_TIMEOUT):
            await answered.wait()
        if result != [0]:
            why = os.strerror(result[0]) if result else "its agent did not answer"
            raise SandboxError(f"the box's processes could not be stopped or continued: {why}")

    def _handle(self, reply: wire.Reply) -> None:
        match reply:
            case wire.Started(exec_id, pid, terminal):
                program = self._programs.get(exec_id)
                if program is not None:
                    program.pid, program.terminal = pid, terminal
                    program.begun.set()
                elif terminal is not None:
                    os.close(terminal)
            case wire.Refused(exec_id, error, stage):
                program = self._programs.pop(exec_id, None)
                if program is not None:
                    program.refuse(error, stage)
            case wire.Exited():
                program = self._programs.pop(reply.id, None)
                if program is not None:
                    program.finish(self._exit(reply))
            case wire.Done(token, error):
                answered, result = self._answers.pop(token, (anyio.Event(), []))
                result.append(error)
                answered.set()
            case _:
                self._why = f"its agent said {reply!r}"

    def _exit(self, reply: wire.Exited) -> Exit:
        usage = Usage(reply.user_us / 1e6, reply.system_us / 1e6, reply.peak_kib << 10)
        if not os.WIFSIGNALED(reply.status):
            return Exit(code=os.WEXITSTATUS(reply.status), usage=usage)
        number = os.WTERMSIG(reply.status)
        return Exit(signal=number, out_of_memory=number == signals.SIGKILL and self._out_of_memory(), usage=usage)

    def _out_of_memory(self) -> bool:
        if self._group is None:
            return False
        before, self._seen_oom = self._seen_oom, self._group.oom_kills()
        return self._seen_oom > before

    def _death(self) -> str:
        return "out_of_memory" if self._out_of_memory() else "the box went down by itself"

    def _fall(self, why: str) -> None:
        if self._down:
            return
        self._down, self._why = True, self._why or why
        end = Exit(signal=signals.SIGKILL, out_of_memory=why == "out_of_memory", detail=self._why)
        for program in self._programs.values():
            program.finish(end)
        self._programs.clear()
        for answered, _ in self._answers.values():
            answered.set()

    def _reap(self) -> None:
        # An embedding program that ignores SIGCHLD, or waits for every child, may have reaped it before us.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._launcher[0], 0)
        self._reaped = True

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
