"""The programs of one sandbox: started, kept for replay when they ended, told why they end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import anyio

from cloche.errors import ClocheError, NotFound, SandboxError, StartError
from cloche.incidents.explain_limits import COUNTED, of_result
from cloche.job import AsyncJob, OnOutput, Verdict
from cloche.output import Collector, Passed, Ring, Sink
from cloche.pipes import Stdin, checked_stdin
from cloche.runtime import GuestProcess, Instance
from cloche.runtime_parts import Stdio
from cloche.spec import ProcessSpec, Result, Spec, Violation
from cloche.streams import Streams

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.monitoring.life import LifeSource

LENT_GRACE = 2.0  # seconds that whoever holds a program's streams has to end it for its time
JOBS_KEPT = 64  # ended jobs whose output can still be replayed
ARGS_KEPT = 1024  # programs whose arguments are known: those of incidents


class Programs:
    """Starts programs in ``instance`` and knows those that run or may still be asked for."""

    def __init__(
        self,
        spec: Spec,
        instance: Instance,
        *,
        runtime: str,
        tasks: Background,
        life: LifeSource,
        prefix: str = "j",
        changed: Callable[[AsyncJob], None] = lambda _: None,
    ) -> None:
        self.spec = spec
        self._instance = instance
        self._runtime = runtime
        self._tasks = tasks
        self._life = life
        self._prefix = prefix
        self._changed = changed
        self._execs: set[AsyncJob] = set()
        self._lent: set[GuestProcess] = set()
        self._jobs: dict[str, AsyncJob] = {}
        self._next_id = 0
        self._args: dict[int, tuple[str, ...]] = {}
        self.verdict: Verdict | None = None
        """What gives the violations of a program that has ended, where rules judge."""
        self._over: tuple[str, str] | None = None
        self._used = time.monotonic()
        self._figures: Mapping[str, float] = dict.fromkeys(COUNTED, 0)
        """Of the box when a program last failed in it."""

    async def execute(
        self, process: ProcessSpec, stdin: Stdin, on_output: OnOutput | None, limit: tuple[float, str]
    ) -> Result:
        """Run a program to its end, which comes after ``limit`` at the latest: seconds, and the reason then given."""
        sink = Collector() if on_output is None else Passed()
        job = await self._launch(process, stdin, sink, on_output, self.spec.limits.output)
        self._execs.add(job)
        try:
            return await job.settle(*limit)
        finally:
            self._execs.discard(job)
            self._tell_end(job)
            self.touch()

    async def begin(self, process: ProcessSpec, stdin: Stdin, ring: Ring, limit: tuple[float, str]) -> AsyncJob:
        """Start a program that runs on in the background, its output going to ``ring``."""
        job = await self._launch(process, stdin, ring, None, self.spec.limits.output if ring.lossless else None)
        self._jobs[job.id] = job
        self._tasks.start_soon(self._watch, job, limit)
        self._changed(job)
        return job

    async def lend(self, process: ProcessSpec, stdio: Stdio) -> GuestProcess:
        """Start a program whose streams another process holds.

        That process bounds time and output, as for any runtime; should it be stopped, time is bounded here.
        """
        self.touch()
        at = time.monotonic_ns()
        with blame(self._runtime):
            guest = await self._instance.exec(process, stdio)
        self._begun(guest.number, process.args, at)
        self._lent.add(guest)
        self._tasks.start_soon(self._await_lent, guest, process.args)
        return guest

    async def _await_lent(self, guest: GuestProcess, args: tuple[str, ...]) -> None:
        wall = self.spec.limits.wall
        try:
            with anyio.move_on_after(None if wall is None else wall + LENT_GRACE) as bound:
                await guest.wait()
            if bound.cancelled_caught:
                await guest.kill()
            end = await guest.wait()
            self._life.ended(guest.number, args, -end.signal if end.signal is not None else end.code or 0)
        finally:
            self._lent.discard(guest)
            self.touch()

    def jobs(self) -> list[AsyncJob]:
        """Give the background jobs: the running ones and the last ended ones."""
        return list(self._jobs.values())

    def attach(self, job_id: str) -> AsyncJob:
        """Give the job of that id. Raises ``NotFound``."""
        job = self._jobs.get(job_id)
        if job is None:
            known = ", ".join(self._jobs) or "none"
            raise NotFound(f"sandbox {self.spec.id} has no job {job_id!r}; it has: {known}")
        return job

    def end(self, cause: str, detail: str) -> None:
        """Note why what runs, or is just being started, is about to be ended: its sandbox is."""
        self._over = cause, detail
        for job in (*self._execs, *self._jobs.values()):
            job.fail(cause, detail)

    async def ended(self) -> None:
        """Wait until all have been told that their box is gone, and have closed their streams."""
        for job in (*self._execs, *self._jobs.values()):
            await job.closed()

    def args_of(self, number: int) -> tuple[str, ...]:
        """Give the arguments of the program of that number; none for one that is not known any more."""
        return self._args.get(number, ())

    def _begun(self, number: int, args: tuple[str, ...], at: int) -> None:
        self._life.begun(number, args, at)
        self._args[number] = args
        if len(self._args) > ARGS_KEPT:
            del self._args[next(iter(self._args))]

    def running(self) -> int:
        """Give how many programs have not ended."""
        return len(self._execs) + len(self._lent) + sum(job.running for job in self._jobs.values())

    def touch(self) -> None:
        """Note that the sandbox is in use now."""
        self._used = time.monotonic()

    def idle(self) -> float:
        """Give for how many seconds nothing has run."""
        if self.running():
            self.touch()
        return time.monotonic() - self._used

    async def quiet(self, seconds: float) -> None:
        """Wait until nothing has run for so long."""
        while (left := seconds - self.idle()) > 0:  # noqa: ASYNC110 - time passing is what it waits for
            await anyio.sleep(left)

    async def _launch(
        self, process: ProcessSpec, stdin: Stdin, sink: Sink, on_output: OnOutput | None, output_limit: int | None
    ) -> AsyncJob:
        source = checked_stdin(stdin)
        self.touch()
        try:
            streams = Streams(terminal=process.window is not None, wants_input=source is not None)
        except OSError as error:
            raise StartError(f"no pipes could be made for the program: {error}") from error
        at = time.monotonic_ns()
        try:
            with blame(self._runtime):
                guest = await self._instance.exec(process, streams.stdio)
        except BaseException:
            streams.close()
            raise
        finally:
            streams.handed_over()
        self._begun(guest.number, process.args, at)
        if guest.terminal is not None:
            streams.adopt(guest.terminal)
        job_id, self._next_id = f"{self._prefix}{self._next_id}", self._next_id + 1
        job = AsyncJob(
            job_id, process, guest, sink=sink, streams=streams, tasks=self._tasks, output_limit=output_limit,
            file_limit=self.spec.limits.file_size, on_output=on_output, verdict=self.verdict,
            explain=self._met,
        )  # fmt: skip
        if self._over is not None:
            job.fail(*self._over)  # the sandbox was stopped while the program began
        if on_output is not None or isinstance(sink, Ring):
            job.pump()  # somebody watches
        rest = streams.write_at_once(source, keep_open=process.window is not None)
        if rest is not None:
            job.feed(rest)
        return job

    async def _met(self, result: Result) -> tuple[Violation, ...]:
        """Give the limits that a program met, as far as its result and the figures of the box show them."""
        if self._over is not None:
            return of_result(result, self.spec)
        try:
            with blame(self._runtime, SandboxError):
                figures = await self._instance.stats()
        except ClocheError:  # the box is gone, or its runtime can't tell: then only the result itself does
            return of_result(result, self.spec)
        before, self._figures = self._figures, figures
        return of_result(result, self.spec, figures, before)

    def _tell_end(self, job: AsyncJob) -> None:
        end = job.result
        if end is not None:
            self._life.ended(job.number, job.args, -end.signal if end.signal is not None else end.exit_code)

    async def _watch(self, job: AsyncJob, limit: tuple[float, str]) -> None:
        try:
            await job.settle(*limit)
        finally:
            self._tell_end(job)
            self.touch()
            self._changed(job)
            ended = [other for other in self._jobs.values() if not other.running]
            for old in ended[:-JOBS_KEPT]:
                del self._jobs[old.id]


@contextlib.contextmanager
def blame(runtime: str, kind: type[ClocheError] = StartError) -> Iterator[None]:
    """Turn what a runtime raises against its contract into ``kind``."""
    try:
        yield
    except ClocheError:
        raise
    except Exception as error:
        raise kind(f"runtime {runtime!r} failed: {type(error).__name__}: {error}") from error
