"""One sandbox as its user holds it (asynchronous face; ``cloche.Sandbox`` is the blocking one)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Self

import anyio

from cloche import units
from cloche.enforcement import Enforcement
from cloche.errors import NotFound, SpecError, StateError
from cloche.events import EventType
from cloche.job import AsyncJob, OnOutput
from cloche.output import Collector, Ring, Sink
from cloche.pipes import Open, Stdin, checked_stdin
from cloche.runtime import Instance
from cloche.spec import ProcessSpec, Result, Spec, State, Window, check_env
from cloche.streams import Streams

if TYPE_CHECKING:
    from types import TracebackType

    from cloche.host import AsyncHost, Background

RING_SIZE = 1 << 20
JOBS_KEPT = 64  # ended jobs whose output can still be replayed


class AsyncSandbox:
    """A living box. Made by ``host.create``; leaving its ``with`` block deletes it."""

    def __init__(
        self,
        host: AsyncHost,
        spec: Spec,
        instance: Instance,
        *,
        runtime: str,
        enforcement: Enforcement,
        tasks: Background,
    ) -> None:
        self.id = spec.id
        self.name = spec.name
        self.spec = spec
        self.runtime = runtime
        self.enforcement = enforcement
        self.state = State.CREATED
        self.reason = ""
        self._host = host
        self._instance = instance
        self._tasks = tasks
        self._jobs: dict[str, AsyncJob] = {}
        self._next_job = 0
        self._used = time.monotonic()
        self._watchers: list[anyio.CancelScope] = []
        self._gone = anyio.Event()
        self._stopped = anyio.Event()
        self._deleting = anyio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.delete()

    def __repr__(self) -> str:
        return f"<sandbox {self.id} {self.runtime} {self.state}>"

    async def start(self) -> None:
        """Bring a created sandbox up. Raises ``StartError``; the sandbox is then deleted."""
        self._need("start", State.CREATED)
        try:
            await self._instance.start()
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                self._host.emit(EventType.FAILED, self, error=str(error) or type(error).__name__)
                await self.delete()
            raise
        self.state = State.RUNNING
        self._watcher(self._watch)
        for what, bound in (("lifetime", self.spec.lifetime), ("idle_timeout", self.spec.idle_timeout)):
            if bound is not None:
                self._watcher(self._expire, what, bound)
        self._host.emit(EventType.STARTED, self)

    async def exec(
        self,
        *args: str,
        stdin: Stdin = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | str | None = None,
        tty: bool | Window = False,
        linger: bool = False,
        on_output: OnOutput | None = None,
    ) -> Result:
        """Run a program to its end and give how it ended; a guest that fails is data, not an error.

        ``args`` go to the program as they are, never through a shell; a name without ``/`` is looked up in the box's
        PATH. ``env`` adds to the sandbox's. ``timeout`` in seconds ends the program with all its descendants; so does
        its end, unless ``linger``. With ``tty`` it gets a terminal, whose output is all ``stdout``. ``on_output``
        sees each chunk live, on the event loop. Raises ``SpecError``, ``StateError``, ``StartError``.
        """
        deadline = self._deadline(timeout)
        if isinstance(stdin, Open):
            raise SpecError("exec: stdin=OPEN needs a job to write to; use spawn")
        spec = self._process_spec(args, env, cwd, tty=tty, linger=linger)
        job = await self._launch(spec, stdin, Collector(), on_output)
        try:
            return await job.settle(*deadline)
        finally:
            self._jobs.pop(job.id, None)
            self._used = time.monotonic()

    async def spawn(
        self,
        *args: str,
        stdin: Stdin = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | str | None = None,
        tty: bool | Window = False,
        linger: bool = False,
        ring: int | str = RING_SIZE,
        lossless: bool = False,
    ) -> AsyncJob:
        """Start a program in the background and give its job.

        The last ``ring`` bytes of its output are kept for replay, the older ones are lost. With ``lossless`` nothing
        is: the program waits until ``job.output()`` is read, and ``Limits.output`` bounds what it prints, as in
        ``exec``. With ``stdin=cloche.OPEN`` write to it by ``job.write``. The rest is as in ``exec``.
        """
        deadline = self._deadline(timeout)
        spec = self._process_spec(args, env, cwd, tty=tty, linger=linger)
        job = await self._launch(spec, stdin, Ring(units.size(ring, "ring"), lossless=lossless), None)
        self._tasks.start_soon(self._background, job, *deadline)
        return job

    def jobs(self) -> list[AsyncJob]:
        """Give the jobs started with ``spawn``: the running ones and the last ended ones."""
        return [job for job in self._jobs.values() if not job.id.startswith("x")]

    def attach(self, job_id: str) -> AsyncJob:
        """Give the job of that id, e.g. to follow ``job.output(since=...)`` again. Raises ``NotFound``."""
        job = self._jobs.get(job_id)
        if job is None:
            known = ", ".join(job.id for job in self.jobs()) or "none"
            raise NotFound(f"sandbox {self.id} has no job {job_id!r}; it has: {known}")
        return job

    async def pause(self) -> None:
        """Stop every process of the guest until ``resume``. Clocks of timeouts go on."""
        self._need("pause", State.RUNNING)
        await self._instance.pause()
        self.state = State.PAUSED
        self._host.emit(EventType.PAUSED, self)

    async def resume(self) -> None:
        """Continue a paused sandbox."""
        self._need("resume", State.PAUSED)
        await self._instance.resume()
        self.state = State.RUNNING
        self._used = time.monotonic()
        self._host.emit(EventType.RESUMED, self)

    async def kill(self) -> None:
        """End every process of the sandbox; it can then only be deleted. Harmless when repeated."""
        await self._stop("killed")

    async def delete(self) -> None:
        """Kill it and give back everything it holds. Harmless when repeated; never interrupted half-way."""
        with anyio.CancelScope(shield=True):
            async with self._deleting:
                if self._gone.is_set():
                    return
                for watcher in self._watchers:
                    watcher.cancel()
                for job in self._jobs.values():
                    job.fail("killed", "its sandbox was deleted")
                try:
                    await self._instance.delete()
                finally:
                    self.state = State.STOPPED
                    self._gone.set()
                    self._stopped.set()
                    self._host.forget(self)

    async def wait(self) -> str:
        """Wait until the sandbox is stopped, however that comes, and give why."""
        await self._stopped.wait()
        return self.reason

    async def stats(self) -> Mapping[str, float]:
        """Give what the whole box uses: ``memory`` and ``memory_peak`` bytes, ``cpu`` seconds, ``pids``."""
        self._need("read statistics of", State.RUNNING, State.PAUSED)
        return await self._instance.stats()

    def info(self) -> Mapping[str, str]:
        """Give facts for people: id, name, runtime, isolation level, state, and what the runtime adds."""
        own = {"id": self.id, "name": self.name or "", "runtime": self.runtime, "isolation": self.spec.level.name}
        return {**own, "state": self.state.value, **self._instance.info()}

    # -- inside -----------------------------------------------------------------------------------------------------

    def _need(self, verb: str, *states: State) -> None:
        if self.state not in states:
            why = f" ({self.reason})" if self.reason else ""
            wanted = " or ".join(states)
            raise StateError(f"can't {verb} sandbox {self.id}: it is {self.state}{why}, and must be {wanted}")

    def _process_spec(
        self, args: tuple[str, ...], env: Mapping[str, str] | None, cwd: str | None, *, tty: bool | Window, linger: bool
    ) -> ProcessSpec:
        self._need("run a program in", State.RUNNING)
        window = (Window() if tty else None) if isinstance(tty, bool) else tty
        if window is not None and not isinstance(window, Window):
            raise SpecError(f"tty: give True or a cloche.Window, not {tty!r}")
        if env is not None:
            for name, value in env.items():
                check_env(name, value)
        merged = {**self.spec.env, **(env or {})}
        return ProcessSpec(args=args, env=merged, cwd=cwd or self._instance.workspace, window=window, linger=linger)

    def _deadline(self, timeout: float | str | None) -> tuple[float | None, str]:
        """Give how many seconds a call may take, and the reason for its end after them."""
        bound = None if timeout is None else units.duration(timeout, "timeout")
        wall = self.spec.limits.wall
        return (bound, "timeout") if bound is not None and (wall is None or bound <= wall) else (wall, "limit:wall")

    async def _launch(self, spec: ProcessSpec, stdin: Stdin, sink: Sink, on_output: OnOutput | None) -> AsyncJob:
        source = checked_stdin(stdin)
        streams = Streams(terminal=spec.window is not None, wants_input=source is not None)
        try:
            process = await self._instance.exec(spec, streams.stdio)
        except BaseException:
            streams.close()
            raise
        finally:
            streams.handed_over()
        if process.terminal is not None:
            streams.adopt(process.terminal)
        kind = "x" if isinstance(sink, Collector) else "j"
        job_id, self._next_job = f"{kind}{self._next_job}", self._next_job + 1
        limit = None if isinstance(sink, Ring) and not sink.lossless else self.spec.limits.output
        job = AsyncJob(job_id, spec, process, sink=sink, streams=streams, output_limit=limit, on_output=on_output)
        self._jobs[job_id] = job
        job.pump(self._tasks)
        rest = streams.write_at_once(source, keep_open=spec.window is not None)
        if rest is not None:
            job.feed(self._tasks, rest)
        return job

    async def _background(self, job: AsyncJob, deadline: float | None, cause: str) -> None:
        await job.settle(deadline, cause)
        self._used = time.monotonic()
        ended = [j for j in self._jobs.values() if not j.running]
        for old in ended[:-JOBS_KEPT]:
            del self._jobs[old.id]

    def _watcher(self, body: Callable[..., Awaitable[None]], *args: object) -> None:
        scope = anyio.CancelScope()
        self._watchers.append(scope)

        async def watch() -> None:
            with scope:
                await body(*args)

        self._tasks.start_soon(watch)

    async def _watch(self) -> None:
        reason = await self._instance.wait()
        if self.state is not State.STOPPED:
            self.state, self.reason = State.STOPPED, reason
            self._host.emit(EventType.FAILED, self, error=reason)
        self._stopped.set()

    async def _expire(self, what: str, bound: float) -> None:
        if what == "lifetime":
            await anyio.sleep(bound)
        else:
            while (left := self._idle_left(bound)) > 0:  # noqa: ASYNC110 - time passing is what it waits for
                await anyio.sleep(left)
        await self._stop(f"limit:{what}")

    def _idle_left(self, bound: float) -> float:
        if any(job.running for job in self._jobs.values()):
            self._used = time.monotonic()
        return self._used + bound - time.monotonic()

    async def _stop(self, reason: str) -> None:
        if self.state is State.STOPPED:
            return
        self.state, self.reason = State.STOPPED, reason
        for job in self._jobs.values():
            job.fail(reason, f"its sandbox was stopped: {reason}")
        with anyio.CancelScope(shield=True):
            await self._instance.kill()
        self._host.emit(EventType.STOPPED, self, reason=reason)
