"""A ready-made ``Instance`` for any runtime whose launcher can start one static program inside its box.

That program, the agent (``cloche_native.init_path()``), applies the inner half of the policy, starts programs, reaps,
signals, pauses and reports over one socket that no guest can reach. A runtime then only says how to launch it
(``Launch``), or gives an ``Agent`` that brings it up; exec, jobs, terminals, timeouts and clean-up are here.
"""

from __future__ import annotations

import os
import signal as signals
import socket
from collections.abc import Callable, Mapping, Sequence

import anyio
import anyio.to_thread

from cloche.agent_back import Belongings
from cloche.agent_door import Agent
from cloche.agent_events import Watching
from cloche.agent_launch import LaunchedAgent
from cloche.agent_limits import LivingLimits
from cloche.agent_process import DEATH_TIMEOUT, AgentProcess, exec_packet
from cloche.agent_stats import figures, fullness
from cloche.agent_trees import AgentTrees
from cloche.errors import SandboxError, StartError, Unsupported
from cloche.events.source import EventSource
from cloche.launch import Launch
from cloche.monitor import Monitor
from cloche.policy import Limits
from cloche.runtime import Instance
from cloche.runtime_parts import Exit, Stdio, Tree
from cloche.spec import ProcessSpec, Usage
from cloche.uids import Seat
from cloche_native import agent as wire
from cloche_native import cgroup
from cloche_native.bounds import Bounds


class AgentInstance(Instance):
    """A box driven through its agent."""

    def __init__(
        self,
        launch: Launch,
        group: cgroup.Group | None = None,
        seat: Seat | None = None,
        *,
        agent: Agent | None = None,
        give_back: Callable[..., None] | None = None,
        trees: AgentTrees | None = None,
        limits: Limits | None = None,
        tasks: Callable[[Bounds], int | None] = lambda asked: asked.pids,
        room: Callable[[int], int] | None = None,
        watching: Watching | None = None,
    ) -> None:
        self.workspace = launch.workspace
        self._launch = launch
        self._group = group
        self._belongings = Belongings(group, give_back, launch.cleanup, seat)
        self._limits = limits
        self._tasks, self._room = tasks, room
        self._agent = agent or LaunchedAgent(launch, group, seat, watched=watching is not None)
        self._watching = watching
        self._programs: dict[int, AgentProcess] = {}
        self._answers: dict[int, tuple[anyio.Event, list[int]]] = {}
        self._next_id = 0
        self._down, self._wanted, self._why = False, False, ""
        self._trees = trees

    async def start(self) -> None:
        """Launch the agent and wait until it has applied everything and says so."""
        await self._agent.start()
        if self._watching is not None and self._agent.watch is not None and self._agent.root_fd is not None:
            self._watching.start(self._agent.watch.detach(), self._agent.root_fd)
        if self._trees is not None:
            try:
                self._trees.open(self._agent)
            except OSError as error:
                raise StartError(f"the box's folders could not be opened for the files API: {error}") from error

    def trees(self) -> Sequence[Tree]:
        """Give the box's root folder while it is up, and its work folder, /tmp and mounts until it is deleted."""
        return super().trees() if self._trees is None else self._trees.given(down=self._down)

    def sources(self) -> Sequence[EventSource]:
        """Give what tells of the programs, if they are watched."""
        source = self._watching.source if self._watching is not None else None
        return () if source is None else (source,)

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
        packet, fds = exec_packet(exec_id, process, stdio)
        if process.window is None or not self._agent.relays_terminals:
            return await self._begin(exec_id, packet, fds)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            program = await self._begin(exec_id, packet, [theirs.fileno()])
            program.terminal = ours.detach()
        return program

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
        await self._signal_all(wire.encode_pause)

    async def resume(self) -> None:
        """Have the agent continue every guest process."""
        await self._signal_all(wire.encode_resume)

    async def update(self, limits: Limits) -> Mapping[str, str]:
        """Change the control group, the folders in memory, and what the agent puts on programs."""
        if self._limits is None:
            raise Unsupported("the limits of this box can't be changed: it was made without saying what they are")
        later = await self._living().change(self._limits, limits)
        self._limits = limits
        return later

    async def watch(self, monitor: Monitor) -> Mapping[str, str]:
        """Change the rules and what is told, and what programs are stopped for that start from now on."""
        if self._watching is None:
            return await super().watch(monitor)
        return await self._watching.change(monitor, self._ask, busy=bool(self._programs))

    async def stats(self) -> Mapping[str, float]:
        """Give the control group's figures, or those of the box's processes; see ``cloche.Stats``."""
        return figures(self._group, self._agent.agent_pid) | fullness(self._launch, self._agent.folder)

    async def ready(self) -> None:
        """Ask the agent, which answers only if it lives: to continue programs where there are none changes nothing."""
        await self._ask(wire.encode_resume)

    def processes(self) -> Sequence[int]:
        """Give what the agent says: itself and its launcher."""
        return self._agent.processes()

    def info(self) -> Mapping[str, str]:
        """Give the process ids on the host."""
        return self._agent.info()

    async def kill(self) -> None:
        """Kill every process of the box and wait until the kernel says that they are gone."""
        self._wanted = True
        await self._agent.kill()
        self._fall("")

    async def delete(self) -> None:
        """Kill, then close and give back everything. What fails is raised, and tried again when asked again."""
        await self.kill()
        if self._trees is not None:
            self._trees.close()
        if self._watching is not None:
            self._watching.close()
        self._agent.close()
        await self._belongings.give_back()
        self._group = None

    async def end(self, program: AgentProcess) -> None:
        """Have the agent kill all that a program came to; it tells of the end by itself."""
        await self.tell(wire.encode_kill(program.number))

    # -- inside -----------------------------------------------------------------------------------------------------

    def _living(self) -> LivingLimits:
        return LivingLimits(
            launch=self._launch, group=self._group, tasks=self._tasks, ask=self._ask_limits, open=self._agent.folder,
            room=self._room,
        )  # fmt: skip

    async def _ask_limits(self, encode: Callable[[int], bytes]) -> int:
        return await self._ask(encode)

    async def _begin(self, exec_id: int, packet: bytes, fds: Sequence[int]) -> AgentProcess:
        if self._down:
            raise StartError(f"the box is down: {self._why or 'it was killed'}")
        program = self._programs[exec_id] = AgentProcess(self, exec_id)
        if self._group is not None and exec_id > 1:  # before the first nothing can have been killed
            program.oom_before = self._oom_kills()
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

    async def _signal_all(self, encode: Callable[[int], bytes]) -> None:
        error = await self._ask(encode)
        if error:
            raise SandboxError(f"the box's processes could not be stopped or continued: {os.strerror(error)}")

    async def _ask(self, encode: Callable[[int], bytes]) -> int:
        """Send the packet made for a new token and give the errno that the agent answers."""
        if self._down:
            raise SandboxError(f"the box is down: {self._why or 'it was killed'}")
        self._next_id += 1
        token, answered = self._next_id, anyio.Event()
        result: list[int] = []
        self._answers[token] = (answered, result)
        await self.tell(encode(token))
        with anyio.move_on_after(DEATH_TIMEOUT):
            await answered.wait()
        if not result:
            raise SandboxError(f"the box did not answer: {self._why or 'it is down, or stuck'}")
        return result[0]

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
        starved = number == signals.SIGKILL and (reply.cause is wire.Cause.MEMORY or self._oom_kills() > oom_before)
        return Exit(signal=number, out_of_memory=starved, usage=usage)

    def _oom_kills(self) -> int:
        try:
            return self._group.oom_kills() if self._group is not None else 0
        except OSError:  # somebody has removed it; the box goes on without
            return 0

    def _death(self) -> str:
        return "out_of_memory" if self._oom_kills() > 0 else "the box went down by itself"

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
