"""Functions of the host that guests may call: in the thread that runs the code, or on the host's event loop."""

from __future__ import annotations

import asyncio
import inspect
import queue
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from cloche import units
from cloche.errors import HostError, SpecError
from cloche.interpreters.contract import Completion

if TYPE_CHECKING:
    from cloche.interpreters.contract import Running
    from cloche.interpreters.values import ConsoleLine

FAILURES_KEPT: Final = 100
TEXT_MAX: Final = 1000
"""Characters of an error that a guest sees."""
_LONGEST: Final = 3600.0
"""Seconds of one wait; whoever waits for more waits again."""
Function = Callable[..., object]


class Functions:
    """What the code of one interpreter may call of its host, and what of that failed lately."""

    def __init__(self, functions: Mapping[str, Function], loop: asyncio.AbstractEventLoop) -> None:
        self.named = functions
        self.coroutines = frozenset(name for name, function in functions.items() if _is_coroutine(function))
        self.loop = loop
        self.failures: deque[tuple[str, Exception]] = deque(maxlen=FAILURES_KEPT)
        """The newest, each with the name of what raised it: of a function, or ``on_console``."""


def checked(functions: Mapping[str, Function] | None) -> dict[str, Function]:
    """Give functions by name. Raises ``SpecError`` for a name no code can call, and for what is no function."""
    if functions is None:
        return {}
    if not isinstance(functions, Mapping):
        raise SpecError(f"functions: a mapping of names to functions is needed, not {units.shown(functions)}")
    for name, function in functions.items():
        if not isinstance(name, str) or not name.isidentifier() or not name.isascii() or len(name) > 100:  # noqa: PLR2004
            raise SpecError(f"functions: {units.shown(name)} is not a name; use letters, digits and _, at most 100")
        if not callable(function):
            raise SpecError(f"functions: {name} is {units.shown(function)}, which is no function")
    return dict(functions)


class Attempt:
    """One run as the host's functions see it. It is the ``HostCalls`` of that run."""

    __slots__ = ("_ended", "_functions", "_left", "_tasks", "on_console", "running", "trouble")

    def __init__(self, functions: Functions, on_console: Callable[[ConsoleLine], object] | None = None) -> None:
        self._functions = functions
        self._ended: queue.SimpleQueue[Completion | None] | None = None
        self._tasks: set[asyncio.Task[None]] | None = None
        self._left = 0
        self.on_console = on_console
        self.trouble: BaseException | None = None
        """What is meant for the host, not for the guest: Ctrl-C, or the end of the program."""
        self.running: Running | None = None
        """The run itself, until ``cancel``: it holds this."""

    def call(self, name: str, args: Sequence[Any]) -> Completion:
        """Call a plain function in this thread; what it raises becomes a text."""
        function = self._functions.named.get(name)
        if function is None:
            return Completion(0, error=f"the host has no function {name[:100]!r}")
        if self.trouble is not None:
            return Completion(0, error=f"{name} was not called: the host is ending")
        try:
            value = function(*args)
            if isinstance(value, CoroutineType):
                value.close()
                raise TypeError("it gave a coroutine: register the coroutine function itself")  # noqa: TRY301
        except BaseException as error:  # noqa: BLE001 - anything may be raised, and none of it may cross the guest
            return self._failed(0, name, error)
        return Completion(0, value)

    def start(self, token: int, name: str, args: Sequence[Any]) -> None:
        """Start a coroutine function on the host's event loop."""
        if self._ended is None:
            self._ended = queue.SimpleQueue()
        self._left += 1
        function = self._functions.named.get(name)
        if function is None:
            self._ended.put(Completion(token, error=f"the host has no function {name[:100]!r}"))
            return
        try:
            perform = partial(self._perform, token, name, function, tuple(args), self._ended)
            self._functions.loop.call_soon_threadsafe(self._begin, perform)
        except RuntimeError:  # the loop is closed
            self._ended.put(Completion(token, error=f"{name} was not called: the host is closed"))

    def wait(self, timeout: float) -> Sequence[Completion]:
        """Wait for the end of some of those started; empty after ``timeout`` seconds, or if there are none."""
        if self._ended is None or not self._left or self.trouble is not None:
            return ()
        try:
            found = [self._ended.get(timeout=min(max(0.0, timeout), _LONGEST))]
            while not self._ended.empty():
                found.append(self._ended.get_nowait())
        except queue.Empty:
            return ()
        except BaseException as error:  # noqa: BLE001 - Ctrl-C in the main thread
            self._abort(error)
            return ()
        done = [one for one in found if one is not None]
        self._left -= len(done)
        return done

    def is_async(self, name: str) -> bool | None:
        """Say whether ``name`` is a coroutine function, ``None`` if there is no such function."""
        return name in self._functions.coroutines if name in self._functions.named else None

    def printed(self, line: ConsoleLine) -> None:
        """Hand on a line of the guest's console; what its reader raises is kept."""
        if self.on_console is None:
            return
        try:
            self.on_console(line)
        except BaseException as error:  # noqa: BLE001 - as in call
            self._failed(0, "on_console", error)

    def stop(self) -> None:
        """End the run, if it has begun; from any thread."""
        running = self.running
        if running is not None and running.interrupt is not None:
            running.interrupt("killed")
        self.wake()

    def wake(self) -> None:
        """Have ``wait`` come back; from any thread."""
        if self._ended is not None:
            self._ended.put(None)

    def cancel(self) -> None:
        """Cancel what is still going on; the run is over."""
        self.running = None
        if self._left and not self._functions.loop.is_closed():
            self._functions.loop.call_soon_threadsafe(self._cancel)

    def check(self) -> None:
        """Raise what was meant for the host."""
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble

    # -- inside -----------------------------------------------------------------------------------------------------

    def _failed(self, token: int, name: str, error: BaseException) -> Completion:
        if isinstance(error, HostError):
            return Completion(token, error=str(error)[:TEXT_MAX])
        if not isinstance(error, Exception):
            self._abort(error)
            return Completion(token, error=f"{name} did not end: the host is ending")
        # No traceback: it would keep the frames alive, and with them what the guest gave.
        self._functions.failures.append((name, error.with_traceback(None)))
        return Completion(token, error=f"{name} failed")

    def _abort(self, error: BaseException) -> None:
        self.trouble = error
        self.stop()

    def _begin(self, perform: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._functions.loop.create_task(perform())
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    async def _perform(
        self,
        token: int,
        name: str,
        function: Function,
        args: tuple[object, ...],
        ended: queue.SimpleQueue[Completion | None],
    ) -> None:
        try:
            value = function(*args)
            ended.put(Completion(token, await value if inspect.isawaitable(value) else value))
        except asyncio.CancelledError:
            ended.put(Completion(token, error=f"{name} was cancelled"))
            raise
        except Exception as error:  # noqa: BLE001 - as in call; what is no Exception is the loop's
            ended.put(self._failed(token, name, error))

    def _cancel(self) -> None:
        for task in self._tasks or ():
            task.cancel()


def _is_coroutine(function: Function) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
