"""One box in gVisor: an agent's instance whose sentry stops and continues the guest."""

from __future__ import annotations

import contextlib
import errno
import signal as signals
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import anyio

from cloche import (
    AgentInstance,
    AgentProcess,
    AgentTrees,
    EventSource,
    Exit,
    Launch,
    LimitExceeded,
    Limits,
    Monitor,
    NotFound,
    ProcessSpec,
    SandboxError,
    Seat,
    SnapshotError,
    StartError,
    Stdio,
)
from cloche_gvisor import control, images
from cloche_gvisor.agent import SandboxAgent
from cloche_gvisor.contract import WORKER, Control, Target
from cloche_gvisor.replies import GuestTask, RefusedCall
from cloche_gvisor.watching import Watching
from cloche_native import agent as wire
from cloche_native import cgroup

START_TIMEOUT: Final = 20.0
"""Seconds; a start takes a thousandth. This kernel waits in execve(2) for who writes to a pipe that a guest names as
interpreter, or puts in its program's place at the last moment."""
OF_PROGRAMS: Final = frozenset({"pids", "open_files", "file_size"})
TRUE: Final = ProcessSpec(args=("/bin/true",), env={}, cwd="/")
WHEN_RESUMED: Final = "it is put on programs when the sandbox is resumed; one that may have less by then keeps that"
GIVEN_BACK: Final = 1.0
"""Seconds; 0.1 were seen."""


class GvisorInstance(AgentInstance):
    """A box driven through cloche-inner, and steered by its sentry's control socket."""

    takes_workers = True

    def __init__(
        self,
        launch: Launch,
        group: cgroup.Group | None,
        seat: Seat | None,
        *,
        agent: SandboxAgent,
        target: Target,
        give_back: Callable[..., None] | None,
        limits: Limits,
        trees: AgentTrees,
        room: Callable[[int], int],
        watching: Watching | None = None,
    ) -> None:
        super().__init__(launch, group, seat, agent=agent, give_back=give_back, limits=limits, trees=trees, room=room)
        self._sandbox = agent
        self._target = target
        self._steering: Control | None = None
        self._kept = limits
        self._trace = watching
        self._paused = False
        self._owed: frozenset[str] = frozenset()
        """Limits that programs get when they are awake again."""
        self._ending: set[int] = set()
        """Numbers of programs that are to be killed, and some that have been."""

    async def start(self) -> None:
        """Bring the box up, and have its sentry tell what it is to tell, before any program runs."""
        await super().start()
        if self._trace is not None:
            await self._trace.start(await self.control())

    async def wait(self) -> str:
        """Serve cloche-inner until the box is down, and see to it that its sentry goes on telling."""
        if self._trace is None:
            return await super().wait()
        why = ""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._trace.beat, await self.control())
            why = await super().wait()
            tasks.cancel_scope.cancel()
        return why

    def sources(self) -> Sequence[EventSource]:
        """Give what tells of the programs, if they are watched."""
        source = self._trace.source if self._trace is not None else None
        return () if source is None else (source,)

    async def watch(self, monitor: Monitor) -> Mapping[str, str]:
        """Have the sentry tell what ``monitor`` is about in place of before."""
        if self._trace is None:
            return await super().watch(monitor)
        return await self._trace.change(monitor, await self.control())

    async def control(self) -> Control:
        """Give the way to steer the sandbox, the same each time. Raises ``SandboxError`` where nobody answers."""
        if self._steering is None:
            self._steering = await control.connect(replace(self._target, pid=self._sandbox.agent_pid))
        return self._steering

    async def pause(self) -> None:
        """Have the sentry stop every task of the guest, cloche-inner too, if a match has not done so by now."""
        reflex = None if self._trace is None else self._trace.reflex
        if reflex is None or not await reflex.taken():
            await (await self.control()).pause()
        self._paused = True
        for program in [one for number, one in self._programs.items() if number in self._ending]:
            await self._put_to_death(program)

    async def resume(self) -> None:
        """Have the sentry let the guest's tasks run again, and cloche-inner give programs the limits of now."""
        await (await self.control()).resume()
        self._paused = False
        if self._trace is not None and self._trace.reflex is not None:
            self._trace.reflex.arm()
        owed, self._owed = self._owed, frozenset()
        if owed:
            await self._living().change_programs(owed, self._kept)

    async def end(self, program: AgentProcess) -> None:
        """Kill all that a program came to, in a paused box too."""
        self._ending = {program.number} | (self._ending & self._programs.keys())
        await super().end(program)
        if self._paused:
            with contextlib.suppress(SandboxError):  # who waits for the end kills the box if none comes
                await self._put_to_death(program)

    async def listen(self, port: int) -> socket.socket:
        """Listen in the namespace at the other end of the box's cable."""
        if self._sandbox.network is None:
            return await super().listen(port)
        return await self._sandbox.network.listen(port)

    async def update(self, limits: Limits) -> Mapping[str, str]:
        """Change the control group, the work folder, and what cloche-inner puts on programs, once it is awake."""
        changed = limits.differing(self._kept)
        later = dict(await self._bounded(limits, patient="memory" in changed))
        if self._paused:
            self._owed |= changed & OF_PROGRAMS
            later |= dict.fromkeys(changed & OF_PROGRAMS, WHEN_RESUMED)
        if changed & {"disk", "files"}:
            later["disk"] = "folders in the guest's own memory, as /tmp, keep the size they were made with"
        self._kept = limits
        return later

    async def _bounded(self, limits: Limits, *, patient: bool) -> Mapping[str, str]:
        """Change what the host bounds; ``patient``: what ended programs held a sentry gives back a moment later."""
        until = anyio.current_time() + GIVEN_BACK
        while True:
            try:
                return await super().update(limits)
            except LimitExceeded:
                if not patient or anyio.current_time() > until:
                    raise
            await anyio.sleep(GIVEN_BACK / 20)

    async def stats(self) -> Mapping[str, float]:
        """Give the control group's figures, of which memory and processor time are the sentry's too, and the guest's.

        ``pids`` are those of the guest's own kernel, ``guest_memory`` bytes it holds (not of a restored box, whose
        sentry can't tell), ``host_tasks`` the threads that all this takes on the host. Raises ``SandboxError`` where
        the sentry does not answer.
        """
        used = dict(await super().stats())
        steering = await self.control()
        tasks = await steering.processes()
        used["host_tasks"] = used["pids"]
        used["pids"] = float(sum(max(1, len(task.threads)) for task in tasks))
        for of_the_host in ("pids_peak", "pids_refused"):
            used.pop(of_the_host, None)
        if self._target.saved is None:  # a sentry that has restored tells of the kernel that it had before
            used["guest_memory"] = float((await steering.usage()).total)
        return used

    async def counted(self) -> Mapping[str, float]:
        """Give the control group's figures, without a question to the sentry."""
        return await super().stats()

    async def warm_up(self) -> None:
        """Run a program: the loader and the C library are open then. Where programs are watched it would be told of."""
        if self._trace is None:
            program = await self.exec(TRUE, Stdio())
            await program.wait()

    async def start_worker(self, process: ProcessSpec) -> None:
        """Have cloche-inner start it and keep its socket."""
        packet = wire.encode_exec(
            WORKER, process.args, env=process.env, cwd=process.cwd, flags=wire.ExecFlag.WORKER
        )  # fmt: skip
        await self._begin(WORKER, packet, [])
        self._programs.pop(WORKER, None)  # its end is told to nobody: a program that is asked of it is then refused

    async def checkpoint(self, folder: str) -> None:
        """Have runsc write the image, which ends the sandbox, if nothing of the host's is open in the guest."""
        control = await self.control()
        if await self._ask(wire.encode_quiet) == errno.EBUSY:
            alive = [task for task in await control.processes() if task.uid != 0]
            told = ", ".join(f"{task.pid} {task.name[:80]!a}" for task in alive[:8])
            raise SnapshotError(
                f"the sandbox can't be saved: what programs left behind is alive in it, among these processes: {told}; "
                "what it may have open of the host can't be saved. End it, or let it end with its program"
            )
        self._wanted = True
        if self._trace is not None and self._trace.reflex is not None:
            self._trace.reflex.close()  # or the sandbox would wait for it before it ends
        await control.checkpoint(folder)
        images.write_id(folder, self._target.saved or self._target.id)

    async def delete(self) -> None:
        """Kill, then close and give back everything."""
        await self.kill()
        if self._trace is not None:
            self._trace.close()
        if self._steering is not None:
            self._steering.close()
            self._steering = None
        await super().delete()

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _begin(self, exec_id: int, packet: bytes, fds: Sequence[int]) -> AgentProcess:
        with anyio.move_on_after(START_TIMEOUT):
            return await super()._begin(exec_id, packet, fds)
        raise StartError(f"the program did not start within {START_TIMEOUT:g} s: what is it, or its interpreter?")

    async def _ask_limits(self, encode: Callable[[int], bytes]) -> int:
        return 0 if self._paused else await super()._ask_limits(encode)  # else they are owed until it is resumed

    async def _put_to_death(self, program: AgentProcess) -> None:
        """See to it that a program of a paused box never runs again, with all that are below it.

        cloche-inner buries them when it is awake, and what they left to it: that much is still alive until then.
        """
        control = await self.control()
        for pid in family(program.pid, await control.processes()):
            with contextlib.suppress(NotFound, RefusedCall):  # it has ended already
                await control.signal(signals.SIGKILL, pid)
        self._programs.pop(program.number, None)
        program.finish(Exit(signal=signals.SIGKILL))


def family(pid: int, tasks: Sequence[GuestTask]) -> list[int]:
    """Give the process, if there is one, and those below it."""
    found = [pid] if pid > 1 else []
    for one in found:
        found += [task.pid for task in tasks if task.parent == one and task.pid not in found]
    return found
