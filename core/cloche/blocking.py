"""The blocking face: the same verbs as the asynchronous one, for programs without an event loop.

Each ``Host`` runs an event loop in a thread of its own; every call hands its work there and waits. Callbacks
(``on_output``, ``host.on``) run on that thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from cloche.config import Config
from cloche.enforcement import Enforcement, Guarantee
from cloche.errors import StateError
from cloche.events import Callback, Event
from cloche.host import AsyncHost
from cloche.job import AsyncJob, OnOutput
from cloche.output import Chunk, Stream
from cloche.pipes import Stdin
from cloche.plugins import Plugins
from cloche.policy import IsolationLevel, Limits, Mount, Network, NetworkMode, Policy, Workspace
from cloche.runtime import Runtime
from cloche.sandbox import RING_SIZE, AsyncSandbox
from cloche.spec import Result, Spec, State, Window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

T = TypeVar("T")


class Job:
    """A program started with ``spawn`` (blocking face of ``AsyncJob``)."""

    def __init__(self, inner: AsyncJob, portal: BlockingPortal) -> None:
        self._inner = inner
        self._portal = portal
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
        return self._portal.call(self._inner.wait, timeout)

    def output(self, since: int = 0) -> Iterator[Chunk]:
        for batch in _drive(self._portal, self._inner.batches(since)):
            yield from batch

    def held(self) -> list[Chunk]:
        return self._portal.call(self._inner.held)

    def lines(self, stream: Stream | None = None) -> Iterator[str]:
        return _drive(self._portal, self._inner.lines(stream))

    def write(self, data: bytes | str) -> None:
        self._portal.call(self._inner.write, data)

    def close_stdin(self) -> None:
        self._portal.call(self._inner.close_stdin)

    def signal(self, number: int | str) -> None:
        self._portal.call(self._inner.signal, number)

    def kill(self) -> None:
        self._portal.call(self._inner.kill)

    def resize(self, rows: int, columns: int) -> None:
        self._portal.call(self._inner.resize, rows, columns)


class Sandbox:
    """A living box (blocking face of ``AsyncSandbox``). Leaving its ``with`` block deletes it."""

    def __init__(self, inner: AsyncSandbox, portal: BlockingPortal) -> None:
        self._inner = inner
        self._portal = portal
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
    def reason(self) -> str:
        """Why it is stopped, or ``""``."""
        return self._inner.reason

    def start(self) -> None:
        self._portal.call(self._inner.start)

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
        return self._portal.call(
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
        return Job(self._portal.call(call), self._portal)

    def jobs(self) -> list[Job]:
        return [Job(job, self._portal) for job in self._portal.call(self._inner.jobs)]

    def attach(self, job_id: str) -> Job:
        return Job(self._portal.call(self._inner.attach, job_id), self._portal)

    def pause(self) -> None:
        self._portal.call(self._inner.pause)

    def resume(self) -> None:
        self._portal.call(self._inner.resume)

    def kill(self) -> None:
        self._portal.call(self._inner.kill)

    def delete(self) -> None:
        self._portal.call(self._inner.delete)

    def wait(self) -> str:
        return self._portal.call(self._inner.wait)

    def stats(self) -> Mapping[str, float]:
        return self._portal.call(self._inner.stats)

    def info(self) -> Mapping[str, str]:
        return self._portal.call(self._inner.info)


class Host:
    """Loads plugins and owns sandboxes (blocking face of ``AsyncHost``). Leaving its ``with`` block deletes all."""

    def __init__(
        self,
        *,
        config: Config | str | Path | Mapping[str, object] | None = None,
        plugins: Sequence[object] = (),
        entry_points: bool = True,
    ) -> None:
        self._inner = AsyncHost(config=config, plugins=plugins, entry_points=entry_points)
        self._stack = contextlib.ExitStack()
        self._portal: BlockingPortal | None = None

    def __enter__(self) -> Self:
        if self._portal is not None:
            raise StateError("this host was entered already; make another")
        with contextlib.ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            stack.enter_context(self._portal.wrap_async_context_manager(self._inner))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def config(self) -> Config:
        """The configuration it was made with."""
        return self._inner.config

    @property
    def plugins(self) -> Plugins:
        """What was loaded, and what failed."""
        return self._inner.plugins

    @property
    def runtimes(self) -> Mapping[str, Runtime]:
        """The runtimes of all loaded plugins by name, whether they work here or not."""
        return self._inner.runtimes

    @property
    def levels(self) -> Mapping[str, IsolationLevel]:
        """The isolation levels of all loaded plugins by name."""
        return self._inner.levels

    @property
    def callback_failures(self) -> Sequence[tuple[Event, Exception]]:
        """What callbacks given to ``on`` raised lately."""
        return self._inner.callback_failures

    def sandboxes(self) -> list[Sandbox]:
        portal = self._open()
        return [Sandbox(box, portal) for box in portal.call(self._inner.sandboxes)]

    def on(self, *types: str, callback: Callback) -> Callable[[], None]:
        return self._inner.on(*types, callback=callback)

    def create(
        self,
        *,
        name: str | None = None,
        isolation: str | None = None,
        runtime: str | None = None,
        require: Iterable[Guarantee | str] = (),
        network: Network | NetworkMode | None = None,
        limits: Limits | Mapping[str, object] | None = None,
        workspace: Workspace | str | Path | None = None,
        mounts: Iterable[Mount] = (),
        forbidden: Iterable[str] = (),
        rootfs: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        hostname: str = "cloche",
        user: int = 1000,
        lifetime: float | str | None = None,
        idle_timeout: float | str | None = None,
        metadata: Mapping[str, str] | None = None,
        strict: bool = True,
        policy: Policy | None = None,
        start: bool = True,
    ) -> Sandbox:
        call = partial(
            self._inner.create, name=name, isolation=isolation, runtime=runtime, require=require, network=network,
            limits=limits, workspace=workspace, mounts=mounts, forbidden=forbidden, rootfs=rootfs, env=env,
            hostname=hostname, user=user, lifetime=lifetime, idle_timeout=idle_timeout, metadata=metadata,
            strict=strict, policy=policy, start=start,
        )  # fmt: skip
        portal = self._open()
        return Sandbox(portal.call(call), portal)

    def run(
        self,
        *args: str,
        stdin: Stdin = None,
        cwd: str | None = None,
        timeout: float | str | None = None,
        tty: bool | Window = False,
        on_output: OnOutput | None = None,
        name: str | None = None,
        isolation: str | None = None,
        runtime: str | None = None,
        require: Iterable[Guarantee | str] = (),
        network: Network | NetworkMode | None = None,
        limits: Limits | Mapping[str, object] | None = None,
        workspace: Workspace | str | Path | None = None,
        mounts: Iterable[Mount] = (),
        forbidden: Iterable[str] = (),
        rootfs: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        user: int = 1000,
        strict: bool = True,
        policy: Policy | None = None,
    ) -> Result:
        call = partial(
            self._inner.run, *args, stdin=stdin, cwd=cwd, timeout=timeout, tty=tty, on_output=on_output, name=name,
            isolation=isolation, runtime=runtime, require=require, network=network, limits=limits,
            workspace=workspace, mounts=mounts, forbidden=forbidden, rootfs=rootfs, env=env, user=user, strict=strict,
            policy=policy,
        )  # fmt: skip
        return self._open().call(call)

    def unavailable(self, runtime: str) -> str | None:
        return self._open().call(self._inner.unavailable, runtime)

    def _open(self) -> BlockingPortal:
        if self._portal is None:
            raise StateError("the host is not open; use it as a context manager")
        return self._portal


def _drive(portal: BlockingPortal, source: AsyncIterator[T]) -> Iterator[T]:
    """Give the items of an asynchronous generator, each fetched on the loop; closing this one closes that one."""
    try:
        while True:
            try:
                item = portal.call(source.__anext__)
            except StopAsyncIteration:
                return
            yield item
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            with contextlib.suppress(RuntimeError):  # the host is closed, or this call was interrupted and still runs
                portal.call(close)


def _share_docstrings() -> None:
    for ours, theirs in ((Host, AsyncHost), (Sandbox, AsyncSandbox), (Job, AsyncJob)):
        for name, member in vars(ours).items():
            if callable(member) and not name.startswith("_"):
                member.__doc__ = getattr(theirs, name).__doc__
    Host.__init__.__doc__ = AsyncHost.__init__.__doc__


_share_docstrings()
