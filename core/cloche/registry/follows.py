"""Who follows what over one connection: the next piece goes when the last one was taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import anyio

from cloche.errors import SpecError, StateError
from cloche.registry.plain import count_from

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

FOLLOWS_MAX: Final = 64


class Follow:
    """Someone who follows from afar."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self._taken = anyio.Event()

    def take(self) -> None:
        """Note that a piece was taken."""
        self._taken.set()

    async def taken(self) -> None:
        """Wait until the last piece was taken."""
        await self._taken.wait()
        self._taken = anyio.Event()


class Follows:
    """All that is followed over one connection, by the numbers that the other side chose."""

    def __init__(self) -> None:
        self.group: TaskGroup | None = None
        self._table: dict[int, Follow] = {}

    def more(self, body: Mapping[str, Any]) -> bool:
        """Obey a message that is no request: a follower took a piece, or wants no more. Says whether it was one."""
        follow = self._table.get(body.get("follow", 0)) if "id" not in body else None
        match body.get("do"):
            case "more":
                if follow is not None:
                    follow.take()
                return True
            case "unfollow":
                if follow is not None:
                    follow.scope.cancel()
                return True
            case _:
                return False

    def begin(self, body: Mapping[str, Any], tell: Callable[[int, Follow], Awaitable[None]]) -> None:
        """Run ``tell`` until it ends or nobody follows any more. Raises ``SpecError``, ``StateError``."""
        if len(self._table) >= FOLLOWS_MAX or self.group is None:
            raise StateError(f"a connection follows {FOLLOWS_MAX} things at most")
        number = count_from(body, "follow")
        if number in self._table:
            raise SpecError(f"follow: {number} is in use")
        follow = self._table[number] = Follow()
        self.group.start_soon(self._run, number, follow, tell)

    async def _run(self, number: int, follow: Follow, tell: Callable[[int, Follow], Awaitable[None]]) -> None:
        try:
            with follow.scope:
                await tell(number, follow)
        finally:
            del self._table[number]
