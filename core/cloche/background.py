"""Tasks that live as long as their host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

FAILURES_KEPT = 100
Step = Callable[[], Awaitable[None] | None]


class Background:
    """Tasks beside everything else. One that fails is recorded in ``failures`` and harms no other."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self.failures: list[BaseException] = []

    def start_soon(self, body: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run ``body(*args)``."""
        self._group.start_soon(self._guarded, body, args)

    async def _guarded(self, body: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        try:
            await body(*args)
        except Exception as error:  # noqa: BLE001 - one sandbox's trouble must not end the others
            self.failures.append(error)
            del self.failures[:-FAILURES_KEPT]


class Watchers:
    """Tasks of one sandbox, ended together."""

    def __init__(self, tasks: Background) -> None:
        self._tasks = tasks
        self._scopes: list[anyio.CancelScope] = []

    def start(self, body: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run ``body(*args)`` until ``cancel``."""
        scope = anyio.CancelScope()
        self._scopes.append(scope)

        async def watch() -> None:
            with scope:
                await body(*args)

        self._tasks.start_soon(watch)

    def cancel(self) -> None:
        """End all that run."""
        for scope in self._scopes:
            scope.cancel()


async def given_back(steps: Iterable[Step]) -> list[Exception]:
    """Take each step, whatever comes of the others, and give what they raised."""
    troubles: list[Exception] = []
    for give_back in steps:
        try:
            if (work := give_back()) is not None:
                await work
        except Exception as trouble:  # noqa: BLE001 - given to the caller, when the others are taken too
            troubles.append(trouble)
    return troubles
