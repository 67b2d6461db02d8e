"""The blocking faces of a sandbox and of a job; ``cloche.blocking`` has the host's."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Generator, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from cloche.blocking_events import Judged, Shown
from cloche.blocking_interpreters import Boxed
from cloche.bridge import Bridge
from cloche.enforcement import Enforcement
from cloche.errors import StateError
from cloche.files.api import Files
from cloche.job import AsyncJob, OnOutput
from cloche.monitor import Depth, Monitor
from cloche.output import Chunk, Lines, Stream
from cloche.pipes import Stdin
from cloche.policy import Limits
from cloche.rules.ruleset import RulesLike
from cloche.sandbox import RING_SIZE, AsyncSandbox
from cloche.spec import Result, Spec, State, Window

if TYPE_CHECKING:
    from types import TracebackType

    from cloche.snapshots.snapshot import BoxSnapshot

T = TypeVar("T")


class Job:
    """A program started with ``spawn`` (blocking face of ``AsyncJob``)."""

    def __init__(self, inner: AsyncJob, bridge: Bridge) -> None:
        self._inner = inner
        self._bridge = bridge
        self.id = inner.id
        self.args = inner.args
        self.pid = inner.pid
        self.started = inner.started

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._inner.running

    @property
    def result(self) -> Result | None:
        """How it ended, or ``None`` while it runs."""
        return self._inner.result

    def wait(self, timeout: float | None = None) -> Result:
        done = self._inner.result if self._inner.whole else None
        return done or self._bridge.call(self._inner.wait, timeout)

    def output(self, since: int = 0) -> Generator[Chunk, None, None]:
        for batch in self.batches(since):
            yield from batch

    def batches(self, since: int = 0) -> Generator[list[Chunk], None, None]:
        return _drive(self._bridge, self._inner.batches(since))

    def held(self) -> list[Chunk]:
        return self._bridge.call(self._inner.held)

    def lines(self, stream: Stream | None = None) -> Generator[str, None, None]:
        lines = Lines(stream)
        for batch in self.batches():
            yield from lines.feed(batch)
        yield from lines.last()

    def write(self, data: bytes | str) -> None:
        self._bridge.call(self._inner.write, data)

    def close_stdin(self) -> None:
        self._bridge.call(self._inner.close_stdin)

    def signal(self, number: int | str) -> None:
        self._bridge.call(self._inner.signal, number)

    def kill(self) -> None:
        self._bridge.call(self._inner.kill)

    def resize(self, rows: int, columns: int) -> None:
        self._bridge.call(self._inner.resize, rows, columns)


class Sandbox(Boxed, Judged, Shown):
    """A living box (blocking face of ``AsyncSandbox``). Leaving its ``with`` block deletes it."""

    def __init__(self, inner: AsyncSandbox, bridge: Bridge) -> None:
        self._inner = inner
        self._bridge = bridge
        self.id: str = inner.id
        self.name: str | None = inner.name
        self.runtime: str = inner.runtime

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._inner.deleted:
            self._inner.check_outside("end its sandbox")
            self._bridge.call(self._inner.__aexit__, kind, error, trace)

    def __repr__(self) -> str:
        return repr(self._inner)

    @property
    def spec(self) -> Spec:
        """What was asked for, with the limits, the monitor and the rules that hold now."""
        return self._inner.spec

    @property
    def workspace(self) -> str:
        """Where its programs start unless told otherwise: its work folder."""
        return self._inner.workspace

    @property
    def enforcement(self) -> Enforcement:
        """What is kept, and by which mechanism."""
        return self._inner.enforcement

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._inner.state

    @property
    def deleted(self) -> bool:
        """Whether everything it held was given back."""
        return self._inner.deleted

    @property
    def reason(self) -> str:
        """Why it is stopped, or ``""``."""
        return self._inner.reason

    @property
    def files(self) -> Files:
        """Its files, worked on from the host."""
        return self._inner.files.blocking

    def start(self) -> None:
        self._bridge.call(self._inner.start)

    def exec(
        self,
        *args: str,
        stdin: Stdin = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | str | None = None,
        tty: bool | Window = False,
        linger: bool = False,
        worker: bool = False,
        on_output: OnOutput | None = None,
    ) -> Result:
        return self._bridge.call(
            partial(
                self._inner.exec, *args, stdin=stdin, env=env, cwd=cwd, timeout=timeout, tty=tty, linger=linger,
                worker=worker, on_output=on_output,
            )
        )  # fmt: skip

    def spawn(
        self,
        *args: str,
        stdin: Stdin = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | str | None = None,
        tty: bool | Window = False,
        linger: bool = False,
        worker: bool = False,
        ring: int | str = RING_SIZE,
        lossless: bool = False,
        detach: bool = False,
    ) -> Job:
        call = partial(
            self._inner.spawn, *args, stdin=stdin, env=env, cwd=cwd, timeout=timeout, tty=tty, linger=linger,
            worker=worker, ring=ring, lossless=lossless, detach=detach,
        )  # fmt: skip
        return Job(self._bridge.call(call), self._bridge)

    def jobs(self) -> list[Job]:
        return [Job(job, self._bridge) for job in self._bridge.call(self._inner.jobs)]

    def attach(self, job_id: str) -> Job:
        return Job(self._bridge.call(self._inner.attach, job_id), self._bridge)

    def start_worker(self, *, imports: Iterable[str] = (), script: str = "", python: str = "python3") -> None:
        self._bridge.call(partial(self._inner.start_worker, imports=imports, script=script, python=python))

    def pause(self) -> None:
        self._bridge.call(self._inner.pause)

    def resume(self) -> None:
        self._bridge.call(self._inner.resume)

    def listen(self, port: int) -> socket.socket:
        return self._bridge.call(self._inner.listen, port)

    def checkpoint(self, *, label: str = "") -> BoxSnapshot:
        self._inner.check_outside("end its sandbox")
        return self._bridge.call(partial(self._inner.checkpoint, label=label))

    def kill(self) -> None:
        self._inner.check_outside("end its sandbox")
        self._bridge.call(self._inner.kill)

    def delete(self) -> None:
        if not self._inner.deleted:
            self._inner.check_outside("end its sandbox")
            self._bridge.call(self._inner.delete)

    def detach(self) -> None:
        self._bridge.call(self._inner.detach)

    def wait(self) -> str:
        return self._bridge.call(self._inner.wait)

    def update(
        self,
        *,
        limits: Limits | Mapping[str, object] | None = None,
        monitor: Monitor | Depth | None = None,
        rules: RulesLike | None = None,
    ) -> None:
        self._bridge.call(partial(self._inner.update, limits=limits, monitor=monitor, rules=rules))


def _drive(bridge: Bridge, source: AsyncIterator[T]) -> Generator[T, None, None]:
    """Give the items of an asynchronous generator, each fetched on the loop; closing this one closes that one."""
    try:
        while True:
            try:
                item = bridge.call(source.__anext__)
            except StopAsyncIteration:
                return
            yield item
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            # The host is closed, the loop's own thread collects this, or a call that was interrupted is not yet over.
            with contextlib.suppress(StateError, RuntimeError):
                bridge.call(close)
