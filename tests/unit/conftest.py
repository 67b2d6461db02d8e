"""Small whole values that many unit tests need."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from cloche import (
    Guarantee,
    Host,
    IsolationLevel,
    Limits,
    Network,
    Runtime,
    Sandbox,
    Spec,
    Workspace,
    hookimpl,
)
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LIMITS = Limits(
    memory=256 << 20, cpu=1, pids=32, open_files=64, file_size=1 << 20, disk=1 << 20, output=1 << 20, wall=5
)  # fmt: skip


@pytest.fixture
def make_level() -> Callable[[str], IsolationLevel]:
    def make(name: str) -> IsolationLevel:
        return IsolationLevel(
            name=name,
            summary="for tests",
            guarantees=frozenset({Guarantee.PROCESS}),
            limits=LIMITS,
            syscalls="standard",
        )

    return make


@pytest.fixture
def make_spec(make_level: Callable[[str], IsolationLevel]) -> Callable[..., Spec]:
    def make(
        *,
        guarantees: frozenset[Guarantee] = frozenset({Guarantee.PROCESS}),
        workspace: Workspace = Workspace(),  # noqa: B008 - frozen
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> Spec:
        return Spec(
            id="abc",
            name=None,
            level=make_level("test"),
            guarantees=guarantees,
            network=Network(),
            limits=LIMITS,
            workspace=workspace,
            metadata=metadata,
        )

    return make


class Fakes:
    """A plugin with these runtimes and the level ``enhanced``, which is what a host takes by default."""

    def __init__(self, *runtimes: Runtime, level: IsolationLevel) -> None:
        self._runtimes, self._level = runtimes, level

    @hookimpl
    def cloche_runtimes(self) -> list[Runtime]:
        return list(self._runtimes)

    @hookimpl
    def cloche_isolation_levels(self) -> list[IsolationLevel]:
        return [self._level]


@pytest.fixture
def fakes(make_level: Callable[[str], IsolationLevel]) -> Callable[..., Fakes]:
    return lambda *runtimes: Fakes(*runtimes, level=make_level("enhanced"))


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def host(fakes: Callable[..., Fakes], runtime: FakeRuntime) -> Iterator[Host]:
    with Host(plugins=[fakes(runtime)], entry_points=False) as host:
        yield host


@pytest.fixture
def box(host: Host) -> Iterator[Sandbox]:
    with host.create() as box:
        yield box
