"""A whole runtime in memory: its programs are Python callables. It isolates nothing and says so.

Everything that a host does to a runtime can be tried with it quickly and without privileges: output, terminals,
signals, descendants, pauses, every way to end and to fail. Programs run as tasks of the event loop, which must be
asyncio's; they take turns only where they await, so what happens is the same every time.
"""

from __future__ import annotations

import asyncio
import os
import signal as signals
import termios
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from cloche.enforcement import Enforcement, Guarantee, Kept, Partial, Unenforced
from cloche.errors import StartError
from cloche.runtime import GuestProcess, Instance, Runtime
from cloche.runtime_parts import Exit, Stdio
from cloche.testing.fake_source import FakeSource
from cloche.testing.guest import Body, Gate, Guest
from cloche.testing.programs import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from typing import Any

    from cloche.events.source import EventSource
    from cloche.monitor import Monitor
    from cloche.policy import Limits
    from cloche.spec import ProcessSpec, Spec, Window
    from cloche.testing.guest import Program


class FakeProcess(GuestProcess):
    """One program of a ``FakeRuntime`` and what it started."""

    def __init__(self, instance: FakeInstance, spec: ProcessSpec) -> None:
        self.pid = self.number = instance.next_pid()
        self.terminal = None
        self._instance = instance
        self._spec = spec
        self._bodies: list[Body] = []
        self._end: Exit | None = None
        self._ended = asyncio.Event()

    async def wait(self) -> Exit:
        """Wait for the end and give it."""
        await self._ended.wait()
        assert self._end is not None
        return self._end

    async def signal(self, number: int) -> None:
        """Send a signal to the program itself."""
        for body in self._bodies[:1]:
            body.signal(number)

    async def kill(self) -> None:
        """End the program and all its descendants."""
        for body in self._bodies:
            body.signal(signals.SIGKILL)
        for body in self._bodies:
            await body.done.wait()
        if self._bodies:
            await self._ended.wait()

    async def resize(self, window: Window) -> None:
        """Set the terminal's size; without a terminal ``Unsupported``."""
        fd = self._bodies[0].fds[0] if self._bodies and self._spec.window is not None else None
        if self._spec.window is None:
            await super().resize(window)
        elif fd is not None:
            termios.tcsetwinsize(fd, (window.rows, window.columns))

    def alive(self) -> int:
        """Give how many of its processes have not ended."""
        return sum(not body.done.is_set() for body in self._bodies)

    def refuse(self, code: int, detail: str) -> None:
        """Make it a program that could not be executed."""
        self._finish(Exit(code=code, refused=True, detail=detail))

    def begin(self, program: Program, stdio: Stdio) -> None:
        """Run ``program`` with copies of the descriptors in ``stdio``, or a terminal of its own."""
        fds: list[int | None]
        if self._spec.window is None:
            fds = [None if fd is None else os.dup(fd) for fd in (stdio.stdin, stdio.stdout, stdio.stderr)]
        else:
            self.terminal, theirs = os.openpty()
            termios.tcsetwinsize(theirs, (self._spec.window.rows, self._spec.window.columns))
            fds = [theirs, os.dup(theirs), os.dup(theirs)]
        self._start(program, self._spec.args, fds, self.pid)
        self._instance.run(self._settle())

    def spawn(self, program: Program, parent: Body) -> int:
        """Start a descendant that shares the descriptors of ``parent``; gives its process id."""
        pid = self._instance.next_pid()
        self._start(program, parent.guest.args, [None if fd is None else os.dup(fd) for fd in parent.fds], pid)
        return pid

    def _start(self, program: Program, args: tuple[str, ...], fds: list[int | None], pid: int) -> None:
        body = Body(pid, fds, (self._instance.gate, Gate()))
        body.guest = Guest(
            body, args, self._spec.env, self._spec.cwd, lambda p: self.spawn(p, body), source=self._instance.source,
            number=self.number,
        )  # fmt: skip
        self._bodies.append(body)
        self._instance.run(body.run(program))

    async def _settle(self) -> None:
        first = self._bodies[0]
        await first.done.wait()
        if not self._spec.linger:
            for body in self._bodies:
                body.signal(signals.SIGKILL)
                await body.done.wait()
        self._finish(first.end)

    def _finish(self, end: Exit) -> None:
        self._end = end
        self._ended.set()


class FakeInstance(Instance):
    """One box of a ``FakeRuntime``."""

    def __init__(self, runtime: FakeRuntime, spec: Spec) -> None:
        self.spec = spec
        self.workspace = spec.workspace.target
        self.gate = Gate()
        self.started = False
        self.deleted = False
        self.source = FakeSource(spec, runtime.vetoes) if spec.monitor else None
        self._runtime = runtime
        self._folders = {"/", "/tmp", self.workspace, *(m.target for m in spec.mounts)}  # noqa: S108 - in the box
        self._processes: list[FakeProcess] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._pid = 1
        self._why = ""
        self._down = asyncio.Event()

    async def start(self) -> None:
        """Bring it up; ``StartError`` if the runtime was made to fail here, or if it was up before."""
        if self.started or self._down.is_set():
            raise StartError("a box is started once")
        if self._runtime.fails_to_start is not None:
            raise StartError(self._runtime.fails_to_start)
        self.started = True

    async def exec(self, process: ProcessSpec, stdio: Stdio) -> GuestProcess:
        """Start the program of that name from the runtime's table."""
        if not self.started or self._down.is_set():
            raise StartError("the box is not up")
        made = FakeProcess(self, process)
        name = process.args[0]
        program = self._runtime.programs.get(name)
        if name not in self._runtime.programs:
            made.refuse(127, f"the program can't be used in the box: there is no {name!r}")
        elif program is None:
            made.refuse(126, f"the program can't be used in the box: {name!r} is not executable")
        elif process.cwd not in self._folders:
            made.refuse(126, f"the folder it was to start in can't be used in the box: there is no {process.cwd!r}")
        else:
            made.begin(program, stdio)
            self._processes.append(made)
        return made

    async def wait(self) -> str:
        """Wait until the box is down and give why."""
        await self._down.wait()
        return self._why

    async def kill(self) -> None:
        """End every program."""
        for process in self._processes:
            await process.kill()
        self._down.set()

    async def delete(self) -> None:
        """Kill it, and take it off the runtime's list."""
        await self.kill()
        while self._tasks:
            await asyncio.wait(self._tasks)
        if not self.deleted:
            self.deleted = True
            if self.source is not None:
                self.source.close()
            self._runtime.instances.remove(self)

    async def pause(self) -> None:
        """Let no program take another step."""
        self.gate.close()

    async def resume(self) -> None:
        """Let them go on."""
        self.gate.open()

    async def stats(self) -> Mapping[str, float]:
        """Give the number of living processes; a fake one uses nothing else."""
        alive = sum(process.alive() for process in self._processes)
        return {"memory": 0.0, "memory_peak": 0.0, "cpu": 0.0, "pids": float(alive)}

    async def update(self, limits: Limits) -> Mapping[str, str]:
        """Pretend these; programs that run keep their limit on open files."""
        self.spec = replace(self.spec, limits=limits)
        return {"open_files": "programs that run keep theirs"}

    async def watch(self, monitor: Monitor) -> Mapping[str, str]:
        """Tell of what this monitor tells; pretend that programs that run keep what they were watched for."""
        if self.source is None:
            return await super().watch(monitor)
        more = monitor.seen - self.spec.monitor.seen and any(process.alive() for process in self._processes)
        self.source.change(monitor)
        self.spec = replace(self.spec, monitor=monitor)
        return {name: f"programs that run keep their {name}" for name in ("events", "rules") if more}

    def sources(self) -> Sequence[EventSource]:
        """Give what its programs say that they do."""
        return () if self.source is None else (self.source,)

    def info(self) -> Mapping[str, str]:
        """Say what this is."""
        return {"isolation_kept": "none: a fake runtime"}

    async def crash(self, why: str) -> None:
        """Go down by itself, as a box whose machinery broke."""
        if not self._down.is_set():
            self._why = why
        await self.kill()

    def next_pid(self) -> int:
        """Give a process id that was not used before in this box."""
        self._pid += 1
        return self._pid

    def run(self, body: Coroutine[Any, Any, None]) -> None:
        """Run ``body`` beside everything else until it ends."""
        task = asyncio.get_running_loop().create_task(body)
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)


class FakeRuntime(Runtime):
    """A runtime that pretends. Subclass it to choose another ``name``, ``strength`` or ``guarantees``.

    ``programs`` are added to ``PROGRAMS``. ``broken`` is what ``unavailable`` gives. ``unkept`` maps features to why
    they are reported as not kept. ``fails_to_create`` and ``fails_to_start`` are messages of a ``StartError``.
    ``instances`` lists the boxes that are not deleted.
    """

    name: ClassVar[str] = "fake"
    summary: ClassVar[str] = "Python callables in this process, for tests: isolates nothing"
    strength: ClassVar[int] = 10
    guarantees: ClassVar[frozenset[Guarantee]] = frozenset(Guarantee) - {Guarantee.KERNEL}

    def __init__(
        self,
        *,
        programs: Mapping[str, Program | None] | None = None,
        broken: str | None = None,
        unkept: Mapping[str, str] | None = None,
        fails_to_create: str | None = None,
        fails_to_start: str | None = None,
    ) -> None:
        self.programs: dict[str, Program | None] = {**PROGRAMS, **(programs or {})}
        self.broken = broken
        self.unkept = dict(unkept or {})
        self.fails_to_create = fails_to_create
        self.fails_to_start = fails_to_start
        self.instances: list[FakeInstance] = []
        self.closed = False

    def unavailable(self) -> str | None:
        """Give ``broken``."""
        return self.broken

    def enforcement(self, spec: Spec) -> Enforcement:
        """Report each feature as pretended, or as not kept where it is in ``unkept`` or not in ``guarantees``."""
        report: dict[str, Kept] = {}
        for name in sorted({g.value for g in Guarantee} | spec.needed()):
            if name in self.unkept:
                report[name] = Unenforced(self.unkept[name])
            elif name in set(Guarantee) - self.guarantees:
                report[name] = Unenforced(f"the runtime {self.name} does not pretend it")
            else:
                report[name] = Partial("pretended", "a fake runtime isolates nothing; it is for tests")
        return Enforcement(report)

    async def create(self, spec: Spec) -> Instance:
        """Make a box."""
        if self.fails_to_create is not None:
            raise StartError(self.fails_to_create)
        self.instances.append(FakeInstance(self, spec))
        return self.instances[-1]

    def close(self) -> None:
        """Note that the host closed."""
        self.closed = True
