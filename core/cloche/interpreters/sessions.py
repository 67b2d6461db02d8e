"""The asynchronous face of sessions and streams: each part of a run in a worker thread; a cancelled caller ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
import anyio.to_thread

from cloche.interpreters.keyboard import NUDGE
from cloche.interpreters.live import Flow, Live, SessionInfo
from cloche.interpreters.opening import ended
from cloche.interpreters.prepared import OnConsole

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from cloche.interpreters.values import Ran

T = TypeVar("T")


async def call(executor: Executor, work: Callable[[], T], stop: Callable[[], object] = lambda: None) -> T:
    """Give what ``work`` gives in a worker thread. Where the caller is cancelled, ``stop`` is called until it ends."""
    future = asyncio.get_running_loop().run_in_executor(executor, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            while not future.done():
                stop()
                await asyncio.wait({future}, timeout=NUDGE)
        if not future.cancelled():
            future.exception()  # it was for a caller that is gone
        raise


async def apart(work: Callable[[], None]) -> None:
    """Do ``work`` in a thread that no run can hold; never interrupted."""
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(work)


class AsyncSession:
    """An interpreter that keeps its state. Leaving its ``async with`` block closes it."""

    def __init__(self, live: Live, executor: Executor) -> None:
        self.id = live.id
        self.live = live
        self._executor = executor
        self._turn = anyio.Lock(fast_acquire=True)  # who waits for a turn holds no thread

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether nothing can be run in it any more."""
        return self.live.closed

    async def run(
        self,
        code: str,
        variables: Mapping[str, object] | None = None,
        *,
        timeout: float | str | None = None,
        on_console: OnConsole | None = None,
    ) -> Ran:
        """Run code on top of what was run before, and give how it ended; as ``interpreter.run``.

        One run goes on at a time, others wait for their turn. Code that is stopped leaves
        the session as far as it came; code that had to be ended hard leaves it as before (``Ran.rolled_back``).
        """
        return await self._call(partial(self.live.run, code, variables, timeout, on_console))

    async def stream(
        self,
        code: str,
        variables: Mapping[str, object] | None = None,
        *,
        timeout: float | str | None = None,
        on_console: OnConsole | None = None,
    ) -> AsyncYields:
        """Start a program with ``yield`` at its top level, and give what it yields, one by one.

        It goes on only when asked for the next item, ``timeout`` is for all of its parts together, and another run in
        the session ends it. A program that fails raises ``GuestFailed`` at the end of the loop.
        """
        flow = await self._call(partial(self.live.stream, code, variables, timeout, on_console))
        return AsyncYields(flow, self._executor)

    async def snapshot(self) -> bytes:
        """Give its state as bytes, for ``interpreter.restore``. Raises ``Unsupported`` where the language has none."""
        return await self._call(self.live.snapshot)

    def info(self) -> SessionInfo:
        """Give what there is to know of it."""
        return self.live.info()

    async def close(self) -> None:
        """End what runs in it and give it back. Harmless when repeated."""
        await apart(self.live.close)

    async def _call(self, work: Callable[[], T]) -> T:
        async with self._turn:
            return await call(self._executor, work, self.live.interrupt)


class AsyncYields:
    """What a program yields. It stands still until it is asked; leaving its ``async with`` block ends it."""

    def __init__(self, flow: Flow, executor: Executor, owned: Live | None = None) -> None:
        self._flow = flow
        self._executor = executor
        self._owned = owned

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - whatever the guest yields
        return await self.send(None)

    async def send(self, value: object) -> Any:  # noqa: ANN401 - as above
        """Go on with ``value`` as that of the ``yield`` it stands at, and give the next item.

        Raises ``StopAsyncIteration`` at its end (blocking: ``StopIteration``), ``GuestFailed`` if that is no good one.
        """
        try:
            item = await call(self._executor, partial(self._flow.next, value), self._flow.interrupt)
        except BaseException:
            await self.close()
            raise
        if item is None:
            await self.close()
            raise StopAsyncIteration
        return item.value

    @property
    def result(self) -> Ran | None:
        """How the program ended, ``None`` while it has not."""
        return self._flow.result

    async def close(self) -> None:
        """End the program where it stands. Harmless when repeated."""
        await apart(partial(ended, self._flow, self._owned))
