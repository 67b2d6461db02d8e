"""The blocking face of what a host does together with the other hosts of its user."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Unpack

from cloche.blocking_sandbox import Sandbox
from cloche.bridge import Bridge
from cloche.host import AsyncHost
from cloche.pool.settings import PoolMode
from cloche.request import Asked

if TYPE_CHECKING:
    from cloche.pool.figures import PoolRecord
    from cloche.registry.record import SandboxRecord


class Shared:
    """The verbs of a host that reach beyond its own sandboxes (blocking face of ``AsyncShared``)."""

    _inner: AsyncHost
    _bridge: Bridge

    @property
    def registry_note(self) -> str:
        """Why this host takes no part in the registry, or what could not be written lately; ``""`` if all is well."""
        return self._inner.registry_note

    def list(self) -> Sequence[SandboxRecord]:
        return self._bridge.call(self._inner.list)

    def sweep(self) -> Sequence[str]:
        return self._bridge.call(self._inner.sweep)

    def attach(self, which: str) -> Sandbox:
        return Sandbox(self._bridge.call(self._inner.attach, which), self._bridge)

    def pools(self) -> Sequence[PoolRecord]:
        return self._bridge.call(self._inner.pools)

    def keep(
        self,
        *,
        runtime: str | None = None,
        start: bool = True,
        pool: PoolMode | None = None,
        tied: bool = False,
        **asked: Unpack[Asked],
    ) -> Sandbox:
        call = partial(self._inner.keep, runtime=runtime, start=start, pool=pool, tied=tied, **asked)
        return Sandbox(self._bridge.call(call), self._bridge)
