"""The blocking faces of a sandbox and of a job; ``cloche.blocking`` has the host's."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Self, TypeVar

from cloche.bridge import Bridge
from cloche.enforcement import Enforcement
from cloche.errors import StateError
from cloche.job import AsyncJob, OnOutput
from cloche.output import Chunk, Lines, Stream
from cloche.pipes import Stdin
from cloche.sandbox import RING_SIZE, AsyncSandbox
from cloche.spec import Result, Spec, State, Window

if TYPE_CHECKING:
    from types import TracebackType

T = TypeVar("T")


class Job:
    """A program started with ``spawn`` (blocking face of ``AsyncJob``)."""

    def __init__(self, inner: AsyncJob, bridge: Bridge) -> None:
        self._inner = inner
        self._bridge = bridge
        self.id = inner.id
        self.args = inner.args
        self.pid = inner.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._inner.running

    @property
    def result(self) -> Result | None:
        """How it ended, or ``None`` while it runs."""
        return self._inner.result

    def wait(self, timeout: float | None = None) -> Result:
        return self._inner.result or self._bridge.call(self._inner.wait, timeout)

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


class Sandbox:
    """A living box (blocking face of ``AsyncSandbox``). Leaving its ``with`` block deletes it."""

    def __init__(self, inner: AsyncSandbox, bridge: Bridge) -> None:
        self._inner = inner
        self._bridge = bridge
        self.id: str = inner.id
        self.name: str | None = inner.name
        self.spec: Spec = inner.spec
        self.runtime: str = inner.runtime
        self.enforcement: Enforcement = inner.enforcement

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.delete()

    def __repr__(self) -> str:
        return repr(self._inner)

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
        on_output: OnOutput | None = None,
    ) -> Result:
        return self._bridge.call(
            partial(
                self._inner.exec, *args, stdin=stdin, env=env, cwd=cwd, timeout=timeout, tty=tty, linger=linger,
                on_output=on_output,
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
        ring: int | str = RING_SIZE,
        lossless: bool = False,
    ) -> Job:
        call = partial(
            self._inner.spawn, *args, stdin=stdin, env=env, cwd=cwd, timeout=timeout, tty=tty, linger=linger,
            ring=ring, lossless=lossless,
        )  # fmt: skip
        return Job(self._bridge.call(call), self._bridge)

    def jobs(self) -> list[Job]:
        return [Job(job, self._bridge) for job in self._bridge.call(self._inner.jobs)]

    def attach(self, job_id: str) -> Job:
        return Job(self._bridge.call(self._inner.attach, job_id), self._bridge)

    def pause(self) -> None:
        self._bridge.call(self._inner.pause)

    def resume(self) -> None:
        self._bridge.call(self._inner.resume)

    def kill(self) -> None:
        self._bridge.call(self._inner.kill)

    def delete(self) -> None:
        if not self._inner.deleted:
            self._bridge.call(self._inner.delete)

    def wait(self) -> str:
        return self._bridge.call(self._inner.wait)

    def stats(self) -> Mapping[str, float]:
        return self._bridge.call(self._inner.stats)

    def info(self) -> Mapping[str, str]:
        return self._bridge.call(self._inner.info)


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
