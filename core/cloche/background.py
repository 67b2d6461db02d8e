"""Tasks that live as long as their host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

FAILURES_KEPT = 100


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
