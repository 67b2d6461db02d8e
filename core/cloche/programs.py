"""The programs of one sandbox: started, kept for replay when they ended, told why they end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloche.errors import ClocheError, NotFound, StartError
from cloche.job import AsyncJob, OnOutput
from cloche.output import Collector, Passed, Ring, Sink
from cloche.pipes import Stdin, checked_stdin
from cloche.runtime import Instance
from cloche.spec import ProcessSpec, Result, Spec
from cloche.streams import Streams

if TYPE_CHECKING:
    from cloche.background import Background

JOBS_KEPT = 64  # ended jobs whose output can still be replayed


class Programs:
    """Starts programs in ``instance`` and knows those that run or may still be asked for."""

    def __init__(self, spec: Spec, instance: Instance, *, runtime: str, tasks: Background) -> None:
        self._spec = spec
        self._instance = instance
        self._runtime = runtime
        self._tasks = tasks
        self._execs: set[AsyncJob] = set()
        self._jobs: dict[str, AsyncJob] = {}
        self._next_id = 0
        self._used = time.monotonic()

    async def execute(
        self, process: ProcessSpec, stdin: Stdin, on_output: OnOutput | None, limit: tuple[float, str]
    ) -> Result:
        """Run a program to its end, which comes after ``limit`` at the latest: seconds, and the reason then given."""
        sink = Collector() if on_output is None else Passed()
        job = await self._launch(process, stdin, sink, on_output, self._spec.limits.output)
        self._execs.add(job)
        try:
            return await job.settle(*limit)
        finally:
            self._execs.discard(job)
            self.touch()

    async def begin(self, process: ProcessSpec, stdin: Stdin, ring: Ring, limit: tuple[float, str]) -> AsyncJob:
        """Start a program that runs on in the background, its output going to ``ring``."""
        job = await self._launch(process, stdin, ring, None, self._spec.limits.output if ring.lossless else None)
        self._jobs[job.id] = job
        self._tasks.start_soon(self._watch, job, limit)
        return job

    def jobs(self) -> list[AsyncJob]:
        """Give the background jobs: the running ones and the last ended ones."""
        return list(self._jobs.values())

    def attach(self, job_id: str) -> AsyncJob:
        """Give the job of that id. Raises ``NotFound``."""
        job = self._jobs.get(job_id)
        if job is None:
            known = ", ".join(self._jobs) or "none"
            raise NotFound(f"sandbox {self._spec.id} has no job {job_id!r}; it has: {known}")
        return job

    def end(self, cause: str, detail: str) -> None:
        """Note why what runs is about to be ended."""
        for job in (*self._execs, *self._jobs.values()):
            job.fail(cause, detail)

    async def ended(self) -> None:
        """Wait until all have been told that their box is gone, and have closed their streams."""
        for job in (*self._execs, *self._jobs.values()):
            await job.closed()

    def touch(self) -> None:
        """Note that the sandbox is in use now."""
        self._used = time.monotonic()

    def idle(self) -> float:
        """Give for how many seconds nothing has run."""
        if self._execs or any(job.running for job in self._jobs.values()):
            self.touch()
        return time.monotonic() - self._used

    async def _launch(
        self, process: ProcessSpec, stdin: Stdin, sink: Sink, on_output: OnOutput | None, output_limit: int | None
    ) -> AsyncJob:
        source = checked_stdin(stdin)
        self.touch()
        try:
            streams = Streams(terminal=process.window is not None, wants_input=source is not None)
        except OSError as error:
            raise StartError(f"no pipes could be made for the program: {error}") from error
        try:
            with blame(self._runtime):
                guest = await self._instance.exec(process, streams.stdio)
        except BaseException:
            streams.close()
            raise
        finally:
            streams.handed_over()
        if guest.terminal is not None:
            streams.adopt(guest.terminal)
        job_id, self._next_id = f"j{self._next_id}", self._next_id + 1
        job = AsyncJob(
            job_id, process, guest, sink=sink, streams=streams, tasks=self._tasks, output_limit=output_limit,
            on_output=on_output,
        )  # fmt: skip
        if on_output is not None or isinstance(sink, Ring):
            job.pump()  # somebody watches
        rest = streams.write_at_once(source, keep_open=process.window is not None)
        if rest is not None:
            job.feed(rest)
        return job

    async def _watch(self, job: AsyncJob, limit: tuple[float, str]) -> None:
        try:
            await job.settle(*limit)
        finally:
            self.touch()
            ended = [other for other in self._jobs.values() if not other.running]
            for old in ended[:-JOBS_KEPT]:
                del self._jobs[old.id]


@contextlib.contextmanager
def blame(runtime: str) -> Iterator[None]:
    """Turn what a runtime raises against its contract into ``StartError``."""
    try:
        yield
    except ClocheError:
        raise
    except Exception as error:
        raise StartError(f"runtime {runtime!r} failed: {type(error).__name__}: {error}") from error
