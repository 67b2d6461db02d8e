"""Stopping the guest of a restored sandbox, process by process.

Until June 2024 a sentry that restores goes on pausing the kernel that it had before, in which nothing runs: it says yes
and the guest runs on. What it does for one process it does for the right one.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from cloche import NotFound, SandboxError
from cloche_gvisor.replies import GuestTask

ROUNDS: Final = 200
SETTLED: Final = 0.002
"""Seconds in which a process that was just being born has appeared; its parent is stopped by then."""


class Standstill:
    """Stops all processes of the guest but cloche-inner's own, and has them go on, as often as it was asked to stop."""

    def __init__(
        self,
        processes: Callable[[], Awaitable[list[GuestTask]]],
        send: Callable[[int, int | None], Awaitable[None]],
    ) -> None:
        """Take how processes are told and how a signal (its number, a process) is sent."""
        self._processes = processes
        self._send = send
        self._times = 0

    async def stop(self) -> None:
        """Stop until none is found that runs. Raises ``SandboxError`` when they are born faster than that."""
        stopped: set[int] = set()
        for _ in range(ROUNDS):
            found = {task.pid for task in await self._processes() if task.uid != 0} - stopped
            for pid in found:
                await self._signal(signal.SIGSTOP, pid)
            if not found:
                break
            stopped |= found
            await anyio.sleep(SETTLED)
        else:
            raise SandboxError("the guest can't be paused: its processes are born faster than they can be stopped")
        self._times += 1

    async def go_on(self) -> None:
        """Have them go on if this was asked for as often as to stop; also those that stopped by themselves."""
        self._times = max(0, self._times - 1)
        if self._times == 0:
            for task in await self._processes():
                if task.uid != 0:
                    await self._signal(signal.SIGCONT, task.pid)

    async def _signal(self, number: int, pid: int) -> None:
        try:
            await self._send(number, pid)
        except NotFound:
            return  # it has ended meanwhile
