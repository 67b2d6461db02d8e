"""The asynchronous face of interpreters: code runs in worker threads, and a cancelled caller ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Self

import anyio

from cloche import units
from cloche.interpreters.live import Live
from cloche.interpreters.opening import boxed, checked_ttl, closed, notices, opened, pooled, restored
from cloche.interpreters.prepared import OnConsole, Prepared
from cloche.interpreters.sessions import AsyncSession, AsyncYields, apart, call
from cloche.interpreters.stock import SessionPoolSettings, SessionPoolStats, Stock
from cloche.notices import Callback

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from cloche.enforcement import Enforcement
    from cloche.interpreters.figures import RunMetrics
    from cloche.interpreters.values import InterpreterSpec, Ran


class AsyncInterpreter:
    """Runs code of one language without a process. Made by ``host.interpreter``, ends with its host or by ``close``."""

    def __init__(self, prepared: Prepared, settings: SessionPoolSettings, executor: Executor) -> None:
        self._prepared = prepared
        self._executor = executor
        self._stock = Stock(settings, prepared.open)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<interpreter {self._prepared.id} {self.language} {self.runtime}>"

    @property
    def id(self) -> str:
        """By which notices know it."""
        return self._prepared.id

    @property
    def language(self) -> str:
        """The language it runs."""
        return self._prepared.spec.language

    @property
    def runtime(self) -> str:
        """Who runs it."""
        return self._prepared.runtime

    @property
    def spec(self) -> InterpreterSpec:
        """What was asked for, complete."""
        return self._prepared.spec

    @property
    def enforcement(self) -> Enforcement:
        """What is kept, and by which mechanism."""
        return self._prepared.language.enforcement

    @property
    def closed(self) -> bool:
        """Whether nothing can be run by it any more."""
        return self._prepared.closed

    @property
    def pool(self) -> AsyncSessionPool:
        """Its sessions that are opened before anybody asks for one."""
        return AsyncSessionPool(self._stock, self._executor)

    @property
    def failures(self) -> Sequence[tuple[str, Exception]]:
        """What functions of the host, and readers of the console, raised lately: the name, and the error."""
        return tuple(self._prepared.functions.failures)

    def metrics(self) -> RunMetrics:
        """Give what became of its runs, those of its sessions included."""
        return self._prepared.metrics()

    def on(self, *types: str, callback: Callback) -> Callable[[], None]:
        """Call ``callback(notice)`` for its notices of these types (none: all); gives a function that stops it.

        Types are ``executed timeout security``. It runs on the host's event loop; what it raises stops nothing.
        """
        return self._prepared.own.add(notices(types), callback)

    async def run(
        self,
        code: str,
        variables: Mapping[str, object] | None = None,
        *,
        timeout: float | str | None = None,
        on_console: OnConsole | None = None,
    ) -> Ran:
        """Run code in a fresh interpreter, which is gone afterwards, and give how it ended.

        ``variables`` are copied in as globals. ``timeout`` in seconds, at most the limits' ``wall``, stops included.
        ``on_console`` sees each line as it is printed. Code that fails is data. Raises ``SpecError`` for what can't
        cross, and ``StateError`` once it is closed.
        """
        attempt = self._prepared.attempt(on_console)
        work = partial(self._prepared.once, code, variables, timeout, on_console, attempt)
        return await call(self._executor, work, attempt.stop)

    async def stream(
        self,
        code: str,
        variables: Mapping[str, object] | None = None,
        *,
        timeout: float | str | None = None,
        on_console: OnConsole | None = None,
    ) -> AsyncYields:
        """Start a program with ``yield`` at its top level, in a fresh interpreter; give what it yields, one by one.

        As ``session.stream``; the interpreter is gone at its end. Raises ``Unsupported`` where the language has none.
        """
        live = await self._open(None)
        try:
            begin = partial(live.stream, code, variables, timeout, on_console)
            return AsyncYields(await call(self._executor, begin), self._executor, live)
        except BaseException:
            live.close()
            raise

    async def session(self, *, ttl: float | str | None = None) -> AsyncSession:
        """Open a session: what code declares at its top level stays for the next run.

        It is closed when it was not used for ``ttl`` seconds, by ``close``, and with its interpreter.
        """
        return AsyncSession(await self._open(ttl), self._executor)

    async def session_in(
        self, gate: Callable[[], None], *, ttl: float | str | None, restore: bytes | None
    ) -> AsyncSession:  # fmt: skip
        """Open the one session that this is for; ``gate`` raises where nothing may run. Called by a sandbox."""
        live = await call(self._executor, partial(boxed, self._prepared, ttl, gate, restore))
        return AsyncSession(live, self._executor)

    async def restore(self, snapshot: bytes, *, ttl: float | str | None = None) -> AsyncSession:
        """Open a session in the state that ``session.snapshot`` gave, here or in another process.

        It must be of the same language with the same options. Raises ``SnapshotError`` for one that is damaged or does
        not fit, and ``Unsupported``.
        """
        live = await call(self._executor, partial(restored, self._prepared, snapshot, ttl))
        return AsyncSession(live, self._executor)

    async def acquire(self, *, timeout: float | str | None = None, ttl: float | str | None = None) -> AsyncSession:
        """Give a session of the pool that nobody has used; closing it gives its place to the next.

        Waits at most ``timeout`` seconds while as many are open as may be, then raises ``LimitExceeded``.
        """
        patience = None if timeout is None else units.duration(timeout, "timeout")
        seconds = checked_ttl(ttl)
        waiter = self._stock.ask()
        if waiter is not None:
            try:
                with anyio.fail_after(patience):
                    await asyncio.wrap_future(waiter)
            except TimeoutError:
                raise self._stock.give_up(waiter, patience) from None
            except asyncio.CancelledError:
                self._stock.give_up(waiter)
                raise
        live = await call(self._executor, self._stock.fresh)
        return AsyncSession(pooled(self._prepared, self._stock, live, seconds), self._executor)

    async def close(self) -> None:
        """End every run and session of it and give everything back. Harmless when repeated."""
        await apart(partial(closed, self._prepared, self._stock))

    async def _open(self, ttl: float | str | None) -> Live:
        return await call(self._executor, partial(opened, self._prepared, ttl))


class AsyncSessionPool:
    """Interpreters that wait for ``acquire``; each is given out once."""

    def __init__(self, stock: Stock, executor: Executor) -> None:
        self._stock = stock
        self._executor = executor

    @property
    def settings(self) -> SessionPoolSettings:
        """What it was told to keep."""
        return self._stock.settings

    def stats(self) -> SessionPoolStats:
        """Give how it does."""
        return self._stock.stats()

    async def warm(self, count: int | None = None) -> None:
        """Open interpreters until ``count`` wait, or as many as always do. Raises ``StartError``."""
        number = None if count is None else units.count(count, "count", least=0)
        await call(self._executor, partial(self._stock.fill, number))
