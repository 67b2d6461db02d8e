"""A plugin that brings what hosts of unit tests need."""

from __future__ import annotations

from cloche import IsolationLevel, Runtime, hookimpl


class Fakes:
    """These runtimes and this level; a host takes the one called ``enhanced`` by default."""

    def __init__(self, *runtimes: Runtime, level: IsolationLevel) -> None:
        self._runtimes, self._level = runtimes, level

    @hookimpl
    def cloche_runtimes(self) -> list[Runtime]:
        return list(self._runtimes)

    @hookimpl
    def cloche_isolation_levels(self) -> list[IsolationLevel]:
        return [self._level]
