"""The blocking face of interpreters: code runs in the thread of whoever asks, without a hop to an event loop."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from cloche import units
from cloche.interpreters.asynchronous import AsyncInterpreter, AsyncSessionPool
from cloche.interpreters.live import Flow, Live, SessionInfo
from cloche.interpreters.opening import checked_ttl, closed, ended, notices, opened, pooled, restored
from cloche.interpreters.prepared import OnConsole
from cloche.interpreters.sessions import AsyncSession, AsyncYields
from cloche.interpreters.stock import SessionPoolSettings, SessionPoolStats, Stock
from cloche.notices import Callback

if TYPE_CHECKING:
    from cloche.enforcement import Enforcement
    from cloche.interpreters.contract import Item
    from cloche.interpreters.figures import RunMetrics
    from cloche.interpreters.values import InterpreterSpec, Ran


class Interpreter:
    """Runs code of one language without a process (blocking face of ``AsyncInterpreter``)."""

    def __init__(self, inner: AsyncInterpreter) -> None:
        self._inner = inner
        self._prepared = inner._prepared  # noqa: SLF001 - one thing with two faces
        self._stock = inner._stock  # noqa: SLF001 - the same

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._inner)

    @property
    def id(self) -> str:
        """By which notices know it."""
        return self._inner.id

    @property
    def language(self) -> str:
        """The language it runs."""
        return self._inner.language

    @property
    def runtime(self) -> str:
        """Who runs it."""
        return self._inner.runtime

    @property
    def spec(self) -> InterpreterSpec:
        """What was asked for, complete."""
        return self._inner.spec

    @property
    def enforcement(self) -> Enforcement:
        """What is kept, and by which mechanism."""
        return self._inner.enforcement

    @property
    def closed(self) -> bool:
        """Whether nothing can be run by it any more."""
        return self._inner.closed

    @property
    def pool(self) -> SessionPool:
        """Its sessions that are opened before anybody asks for one."""
        return SessionPool(self._stock)

    @property
    def failures(self) -> Sequence[tuple[str, Exception]]:
        """What functions of the host, and readers of the console, raised lately: the name, and the error."""
        return self._inner.failures

    def metrics(self) -> RunMetrics:
        return self._prepared.metrics()

    def on(self, *types: str, callback: Callback) -> Callable[[], None]:
        return self._prepared.own.add(notices(types), callback)

    def run(
        self,
        code: str,
        variables: Mapping[str, object] | None = None,
        *,
        timeout: float | str | None = None,
        on_console: OnConsole | None = None,
    ) -> Ran:
        return self._prepared.once(code, variables, timeout, on_console)

    def stream(
        self,
        code: str,
        variables: Mapping[str, object] | None = None,
        *,
        timeout: float | str | None = None,
        on_console: OnConsole | None = None,
    ) -> Yields:
        live = opened(self._prepared, None)
        try:
            return Yields(live.stream(code, variables, timeout, on_console), live)
        except BaseException:
            live.close()
            raise

    def session(self, *, ttl: float | str | None = None) -> Session:
        return Session(opened(self._prepared, ttl))

    def restore(self, snapshot: bytes, *, ttl: float | str | None = None) -> Session:
        return Session(restored(self._prepared, snapshot, ttl))

    def acquire(self, *, timeout: float | str | None = None, ttl: float | str | None = None) -> Session:
        patience = None if timeout is None else units.duration(timeout, "timeout")
        seconds = checked_ttl(ttl)
        waiter = self._stock.ask()
        if waiter is not None:
            try:
                waiter.result(patience)
            except concurrent.futures.TimeoutError:
                raise self._stock.give_up(waiter, patience) from None
            except KeyboardInterrupt:
                self._stock.give_up(waiter)
                raise
        return Session(pooled(self._prepared, self._stock, self._stock.fresh(), seconds))

    def close(self) -> None:
        closed(self._prepared, self._stock)


class Session:
    """An interpreter that keeps its state (blocking face of ``AsyncSession``). Leaving its ``with`` block closes it."""

    def __init__(self, live: Live) -> None:
        self.id = live.id
        self._live = live

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether nothing can be run in it any more."""
        return self._live.closed

    def run(
        self,
        code: str,
        variables: Mapping[str, object] | None = None,
        *,
        timeout: float | str | None = None,
        on_console: OnConsole | None = None,
    ) -> Ran:
        return self._live.run(code, variables, timeout, on_console)

    def stream(
        self,
        code: str,
        variables: Mapping[str, object] | None = None,
        *,
        timeout: float | str | None = None,
        on_console: OnConsole | None = None,
    ) -> Yields:
        return Yields(self._live.stream(code, variables, timeout, on_console))

    def snapshot(self) -> bytes:
        return self._live.snapshot()

    def info(self) -> SessionInfo:
        return self._live.info()

    def close(self) -> None:
        self._live.close()


class Yields:
    """What a program yields (blocking face of ``AsyncYields``). It stands still until it is asked."""

    def __init__(self, flow: Flow, owned: Live | None = None) -> None:
        self._flow = flow
        self._owned = owned

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Generator[Any, None, None]:
        try:
            while (item := self._next(None)) is not None:
                yield item.value
        finally:
            self.close()

    def send(self, value: object) -> Any:  # noqa: ANN401 - whatever the guest yields
        if (item := self._next(value)) is None:
            raise StopIteration
        return item.value

    @property
    def result(self) -> Ran | None:
        """How the program ended, ``None`` while it has not."""
        return self._flow.result

    def close(self) -> None:
        ended(self._flow, self._owned)

    def _next(self, value: object) -> Item | None:
        try:
            item = self._flow.next(value)
        except BaseException:
            self.close()
            raise
        if item is None:
            self.close()
        return item


class SessionPool:
    """Interpreters that wait for ``acquire`` (blocking face of ``AsyncSessionPool``)."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock

    @property
    def settings(self) -> SessionPoolSettings:
        """What it was told to keep."""
        return self._stock.settings

    def stats(self) -> SessionPoolStats:
        return self._stock.stats()

    def warm(self, count: int | None = None) -> None:
        self._stock.fill(None if count is None else units.count(count, "count", least=0))


def _share_docstrings() -> None:
    for ours, theirs in (
        (Interpreter, AsyncInterpreter), (Session, AsyncSession), (Yields, AsyncYields),
        (SessionPool, AsyncSessionPool),
    ):  # fmt: skip
        for name, member in vars(ours).items():
            if callable(member) and not name.startswith("_"):
                member.__doc__ = getattr(theirs, name).__doc__


_share_docstrings()
