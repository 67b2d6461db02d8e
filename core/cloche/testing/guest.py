"""One process of a ``FakeRuntime`` and what its program sees of the world."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal as signals
import termios
import traceback
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from cloche.runtime_parts import Exit
from cloche.spec import Window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.events.acts import Act
    from cloche.testing.fake_source import FakeSource

_IGNORED = frozenset({0, signals.SIGCHLD, signals.SIGCONT, signals.SIGURG, signals.SIGWINCH})  # by default, signal(7)
_UNMASKABLE = frozenset({signals.SIGKILL, signals.SIGSTOP})


class Gate:
    """Holds back whoever passes while it is closed."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._opened.set()

    def close(self) -> None:
        """Hold back."""
        self._opened.clear()

    def open(self) -> None:
        """Let pass."""
        self._opened.set()

    async def passed(self) -> None:
        """Wait until it is open."""
        await self._opened.wait()


class Guest:
    """What a program of a ``FakeRuntime`` is handed.

    ``args``, ``env`` and ``cwd`` are as in ``exec``; ``pid`` is its process id. A program ends with the exit code
    that it returns (``None`` is 0). One that raises ends as Python would: a traceback and exit code 1, for
    ``MemoryError`` as killed by the kernel for memory, for ``SystemExit`` with its code.
    """

    def __init__(
        self,
        body: Body,
        args: tuple[str, ...],
        env: Mapping[str, str],
        cwd: str,
        spawn: Callable[[Program], int],
        *,
        source: FakeSource | None,
        number: int,
    ) -> None:
        self.args = args
        self.env = env
        self.cwd = cwd
        self.pid = body.pid
        self._body = body
        self._spawn = spawn
        self._source = source
        self._number = number

    @property
    def window(self) -> Window | None:
        """The terminal's size, ``None`` without a terminal."""
        fd = self._body.fds[0]
        return Window(*termios.tcgetwinsize(fd)) if fd is not None and os.isatty(fd) else None

    async def read(self, most: int = 65536) -> bytes:
        """Give what is there on standard input, waiting for the first byte; ``b""`` at the end."""
        await self._body.turn()
        fd = self._body.fds[0]
        while fd is not None:
            await anyio.wait_readable(fd)
            await self._body.turn()
            with contextlib.suppress(BlockingIOError):  # a descendant sharing it was quicker
                return os.read(fd, most)
        return b""

    async def write(self, data: bytes | str, *, stream: int = 1) -> None:
        """Write all of ``data`` to standard output (1) or standard error (2), waiting while nobody reads."""
        rest = data.encode() if isinstance(data, str) else data
        await self._body.turn()
        fd = self._body.fds[stream]
        while rest and fd is not None:
            await anyio.wait_writable(fd)
            await self._body.turn()
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(fd, rest) :]

    async def sleep(self, seconds: float) -> None:
        """Do nothing for so long, and until a pause is over."""
        await self._body.turn()
        await anyio.sleep(seconds)
        await self._body.turn()

    def spawn(self, program: Program) -> int:
        """Start a descendant with the same arguments, environment and descriptors; gives its process id."""
        return self._spawn(program)

    def does(self, act: Act, *texts: str, result: int = 0) -> int:
        """Be seen doing something, if anybody watches: ``texts`` are the path, and what else belongs to the act.

        Gives what came of it: ``result``, or a negative errno where a rule refused it.
        """
        return result if self._source is None else self._source.does(act, self._number, *texts, result=result)

    def on_signal(self, number: int, handler: Callable[[int], object]) -> None:
        """Call ``handler(number)`` instead of ending; ``SIGKILL`` and ``SIGSTOP`` can't be handled (signal(7))."""
        if number in _UNMASKABLE:
            raise ValueError(f"signal {number} can't be handled")
        self._body.handlers[number] = handler


Program = Callable[[Guest], Coroutine[Any, Any, int | None]]


class Body:
    """One process: a task, its descriptors (0, 1, 2; ``None`` is an empty one) and how it ended."""

    guest: Guest

    def __init__(self, pid: int, fds: list[int | None], gates: tuple[Gate, Gate]) -> None:
        for fd in fds:
            if fd is not None:
                os.set_blocking(fd, False)
        self.pid = pid
        self.fds = fds
        self.handlers: dict[int, Callable[[int], object]] = {}
        self.end = Exit(signal=int(signals.SIGKILL))
        self.done = asyncio.Event()
        self._gates = gates
        self._scope = anyio.CancelScope()
        self._killer = int(signals.SIGKILL)

    async def run(self, program: Program) -> None:
        """Run ``program`` to its end, whatever that is."""
        try:
            with self._scope:
                self.end = await self._outcome(program)
            if self._scope.cancelled_caught:
                self.end = Exit(signal=self._killer)
        finally:
            for fd in self.fds:
                if fd is not None:
                    os.close(fd)
            self.fds = [None, None, None]
            self.done.set()

    async def turn(self) -> None:
        """Let others take a turn, and wait while paused or stopped."""
        await anyio.lowlevel.checkpoint()
        for gate in self._gates:
            await gate.passed()

    def signal(self, number: int) -> None:
        """Do what the signal does; nothing once it has ended."""
        if self.done.is_set():
            return
        if number == signals.SIGSTOP:
            self._gates[1].close()
        elif number == signals.SIGCONT:
            self._gates[1].open()
        if number in self.handlers:
            self.handlers[number](number)
        elif number not in _IGNORED and number != signals.SIGSTOP and not self._scope.cancel_called:
            self._killer = int(number)
            self._scope.cancel()

    async def _outcome(self, program: Program) -> Exit:
        try:
            return Exit(code=(await program(self.guest) or 0) & 0xFF)
        except MemoryError:
            return Exit(signal=int(signals.SIGKILL), out_of_memory=True)
        except BrokenPipeError:
            return Exit(signal=int(signals.SIGPIPE))
        except SystemExit as error:
            return Exit(code=error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None))
        except Exception:  # noqa: BLE001 - a program may raise anything, and that is how it ends
            text = traceback.format_exc()
        try:
            await self.guest.write(text, stream=2)
        except BrokenPipeError:
            return Exit(signal=int(signals.SIGPIPE))
        return Exit(code=1)
