"""A ready-made ``Instance`` for any runtime whose launcher can start one static program inside its box.

That program, the agent (``cloche_native.init_path()``), applies the inner half of the policy, starts programs, reaps,
signals, pauses and reports over one socket that no guest can reach. A runtime then only says how to launch it
(``Launch``); exec, jobs, terminals, timeouts and clean-up are here.
"""

from __future__ import annotations

import contextlib
import os
import signal as signals
from collections.abc import Callable, Mapping, Sequence

import anyio
import anyio.to_thread

from cloche.agent_launch import LaunchedAgent
from cloche.agent_process import DEATH_TIMEOUT, AgentProcess
from cloche.errors import SandboxError, StartError
from cloche.launch import Launch
from cloche.runtime import Exit, Instance, Stdio
from cloche.spec import ProcessSpec, Usage
from cloche.uids import Seat
from cloche_native import agent as wire
from cloche_native import cgroup


class AgentInstance(Instance):
    """A box driven through its agent."""

    def __init__(
        self,
        launch: Launch,
        group: cgroup.Group | None = None,
        seat: Seat | None = None,
        *,
        give_back: Callable[[cgroup.Group], None] | None = None,
    ) -> None:
        self.workspace = launch.workspace
        self._launch = launch
        self._group = group
        self._give_back = give_back
        self._seat = seat
        self._agent = LaunchedAgent(launch, group, seat)
        self._programs: dict[int, AgentProcess] = {}
        self._answers: dict[int, tuple[anyio.Event, list[int]]] = {}
        self._next_id = 0
        self._down = False
        self._why = ""
        self._wanted = False
        self._deleted = False

    async def start(self) -> None:
        """Launch the agent and wait until it has applied everything and says so."""
        await self._agent.start()

    async def wait(self) -> str:
        """Serve the agent's messages until the box is down."""
        control = self._agent.socket
        assert control is not None  # noqa: S101 - set by start
        while not self._down:
            try:
                reply, _ = wire.receive(control)
            except BlockingIOError:
                await anyio.wait_readable(control)
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
        while self._agent.socket is not None and not self._down:
            try:
                wire.send(self._agent.socket, packet, fds)
            except BlockingIOError:
                await anyio.wait_writable(self._agent.socket)
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
        return {"agent_pid": str(self._agent.agent_pid), "launcher_pid": str(self._agent.pid)}

    async def kill(self) -> None:
        """Kill every process of the box and wait until the kernel says that they are gone."""
        self._wanted = True
        await self._agent.kill()
        self._fall("")

    async def delete(self) -> None:
        """Kill, then close and give back everything."""
        if self._deleted:
            return
        await self.kill()
        self._deleted = True
        self._agent.close()
        with contextlib.ExitStack() as stack:
            if self._seat is not None:
                stack.callback(self._seat.release)
            if self._group is not None:
                stack.callback(self._give_back or cgroup.Group.delete, self._group)
            if self._launch.cleanup:
                await anyio.to_thread.run_sync(self._clean_up)

    def _clean_up(self) -> None:
        with contextlib.ExitStack() as stack:
            for step in self._launch.cleanup:
                stack.callback(step)

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _begin(self, exec_id: int, packet: bytes, fds: Sequence[int]) -> AgentProcess:
        if self._down:
            raise StartError(f"the box is down: {self._why or 'it was killed'}")
        program = self._programs[exec_id] = AgentProcess(self, exec_id)
        if self._group is not None and exec_id > 1:  # before the first nothing can have been killed
            program.oom_before = self._group.oom_kills()
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
                    program.finish(self._exit(reply, program.oom_before))
            case wire.Done(token, error):
                answered, result = self._answers.pop(token, (anyio.Event(), []))
                result.append(error)
                answered.set()
            case wire.Failed(_, text):
                self._why = f"its agent could not keep the policy: {text}"
            case _:
                self._why = f"its agent said {reply!r}"

    def _exit(self, reply: wire.Exited, oom_before: int) -> Exit:
        usage = Usage(reply.user_us / 1e6, reply.system_us / 1e6, reply.peak_kib << 10)
        if not os.WIFSIGNALED(reply.status):
            return Exit(code=os.WEXITSTATUS(reply.status), usage=usage)
        number = os.WTERMSIG(reply.status)
        starved = number == signals.SIGKILL and self._out_of_memory(oom_before)
        return Exit(signal=number, out_of_memory=starved, usage=usage)

    def _out_of_memory(self, before: int) -> bool:
        if self._group is None:
            return False
        return self._group.oom_kills() > before

    def _death(self) -> str:
        return "out_of_memory" if self._out_of_memory(0) else "the box went down by itself"

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
