"""The blocking face of a host's pool."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Unpack

from cloche.bridge import Bridge
from cloche.pool.figures import PoolStats
from cloche.pool.pool import AsyncPool
from cloche.request import Asked

if TYPE_CHECKING:
    from cloche.pool.settings import PoolSettings


class Pool:
    """Started boxes that wait (blocking face of ``AsyncPool``)."""

    def __init__(self, inner: AsyncPool, bridge: Bridge) -> None:
        self._inner = inner
        self._bridge = bridge

    @property
    def settings(self) -> PoolSettings:
        """What it was told to keep."""
        return self._inner.settings

    def stats(self) -> PoolStats:
        return self._bridge.call(self._inner.stats)

    def warm(self, count: int = 1, *, runtime: str | None = None, wait: bool = True, **asked: Unpack[Asked]) -> None:
        self._bridge.call(partial(self._inner.warm, count, runtime=runtime, wait=wait, **asked))
