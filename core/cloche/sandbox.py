"""One sandbox as its user holds it (asynchronous face; ``cloche.Sandbox`` is the blocking one)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Self

import anyio

from cloche import units
from cloche.enforcement import Enforcement
from cloche.errors import SpecError, StateError
from cloche.events import EventType
from cloche.job import AsyncJob, OnOutput
from cloche.output import Ring
from cloche.pipes import Open, Stdin
from cloche.programs import Programs, blame
from cloche.request import deadline, make_process
from cloche.runtime import Instance
from cloche.spec import Result, Spec, State, Window

if TYPE_CHECKING:
    from types import TracebackType

    from cloche.background import Background
    from cloche.host import AsyncHost

RING_SIZE = 1 << 20


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
        self._programs = Programs(spec, instance, runtime=runtime, tasks=tasks)
        self._watchers: list[anyio.CancelScope] = []
        self.deleted = False
        self._stopped = anyio.Event()
        self._turn = anyio.Lock(fast_acquire=True)  # start, kill, delete: a runtime sees one at a time
        self._pausing = anyio.Lock(fast_acquire=True)

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
        async with self._turn:
            self._need("start", State.CREATED)
            try:
                with blame(self.runtime):
                    await self._instance.start()
            except BaseException as error:
                with anyio.CancelScope(shield=True):
                    self._host.emit(EventType.FAILED, self, error=str(error) or type(error).__name__)
                    await self._give_back()
                raise
            self.state = State.RUNNING
            self._programs.touch()
        self._watcher(self._watch)
        for what, bound in (("lifetime", self.spec.lifetime), ("idle_timeout", self.spec.idle_timeout)):
            if bound is not None:
                self._watcher(self._expire, what, bound)
        self._host.started(self)

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
        sees each chunk live, on the event loop, and the result then holds none of it. Raises ``SpecError``,
        ``StateError``, ``StartError``.
        """
        self._need("run a program in", State.RUNNING)
        limit = deadline(timeout, self.spec.limits.wall)
        if isinstance(stdin, Open):
            raise SpecError("exec: stdin=OPEN needs a job to write to; use spawn")
        if on_output is not None and not callable(on_output):
            raise SpecError(f"on_output: a function is needed, not {units.shown(on_output)}")
        process = make_process(self.spec, self._instance.workspace, args, env=env, cwd=cwd, tty=tty, linger=linger)
        return await self._programs.execute(process, stdin, on_output, limit)

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
        self._need("run a program in", State.RUNNING)
        limit = deadline(timeout, self.spec.limits.wall)
        process = make_process(self.spec, self._instance.workspace, args, env=env, cwd=cwd, tty=tty, linger=linger)
        sink = Ring(units.size(ring, "ring"), lossless=lossless)
        return await self._programs.begin(process, stdin, sink, limit)

    def jobs(self) -> list[AsyncJob]:
        """Give the jobs started with ``spawn``: the running ones and the last ended ones."""
        return self._programs.jobs()

    def attach(self, job_id: str) -> AsyncJob:
        """Give the job of that id, e.g. to follow ``job.output(since=...)`` again. Raises ``NotFound``."""
        return self._programs.attach(job_id)

    async def pause(self) -> None:
        """Stop every process of the guest until ``resume``. Clocks of timeouts go on."""
        async with self._pausing:
            self._need("pause", State.RUNNING)
            await self._instance.pause()
            self._need("pause", State.RUNNING)  # it may have been stopped meanwhile
            self.state = State.PAUSED
            self._host.emit(EventType.PAUSED, self)

    async def resume(self) -> None:
        """Continue a paused sandbox."""
        async with self._pausing:
            self._need("resume", State.PAUSED)
            await self._instance.resume()
            self._need("resume", State.PAUSED)
            self.state = State.RUNNING
            self._programs.touch()
            self._host.emit(EventType.RESUMED, self)

    async def kill(self) -> None:
        """End every process of the sandbox; it can then only be deleted. Harmless when repeated."""
        await self._stop("killed")

    async def delete(self) -> None:
        """Kill it and give back everything it holds. Harmless when repeated; never interrupted half-way.

        If the runtime can't, its error is raised and the sandbox stays on the host's list, so that one can try again.
        """
        with anyio.CancelScope(shield=True):
            async with self._turn:
                await self._give_back()

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

    def _watcher(self, body: Callable[..., Awaitable[None]], *args: object) -> None:
        scope = anyio.CancelScope()
        self._watchers.append(scope)

        async def watch() -> None:
            with scope:
                await body(*args)

        self._tasks.start_soon(watch)

    async def _watch(self) -> None:
        broken = ""
        try:
            reason = await self._instance.wait() or "it went down by itself"
        except Exception as error:  # noqa: BLE001 - a runtime that breaks its contract; its box can't be trusted any more
            reason = broken = f"its runtime failed: {type(error).__name__}: {error}"
        if self.state is not State.STOPPED:
            self.state, self.reason = State.STOPPED, reason
            self._host.emit(EventType.FAILED, self, error=reason)
        if broken:
            await self._kill()
        self._stopped.set()

    async def _give_back(self) -> None:
        if self.deleted:
            return
        for watcher in self._watchers:
            watcher.cancel()
        self._mark_stopped("deleted", cause="killed")
        try:
            await self._instance.delete()
            await self._programs.ended()
        finally:
            self._stopped.set()
        self.deleted = True
        self._host.forget(self)

    async def _expire(self, what: str, bound: float) -> None:
        if what == "lifetime":
            await anyio.sleep(bound)
        else:
            while (left := bound - self._programs.idle()) > 0:  # noqa: ASYNC110 - time passing is what it waits for
                await anyio.sleep(left)
        await self._stop(f"limit:{what}")

    async def _stop(self, reason: str) -> None:
        news = self._mark_stopped(reason, cause=reason)
        await self._kill()
        self._stopped.set()
        if news:
            self._host.emit(EventType.STOPPED, self, reason=reason)

    async def _kill(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._turn:
                if not self.deleted:
                    await self._instance.kill()

    def _mark_stopped(self, reason: str, *, cause: str) -> bool:
        """Let no more programs start and say why the running ones end; gives whether that is news."""
        self._programs.end(cause, f"its sandbox was stopped: {reason}")
        if self.state is State.STOPPED:
            return False
        self.state, self.reason = State.STOPPED, reason
        return True
