"""Small whole values that many unit tests need."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from cloche import (
    Guarantee,
    Host,
    IsolationLevel,
    Limits,
    Network,
    Sandbox,
    Spec,
    Workspace,
)
from cloche.testing import FakeRuntime
from tests.unit.faked import Fakes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cloche.pool.figures import PoolStats

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


@pytest.fixture
def until() -> Callable[..., PoolStats]:
    """Give a function that waits until the pool of a host is so, and gives how it is."""

    def wait(host: Host, is_so: Callable[[PoolStats], bool]) -> PoolStats:
        deadline = time.monotonic() + 10
        while not is_so(stats := host.pool.stats()):
            assert time.monotonic() < deadline, stats
            time.sleep(0.005)
        return stats

    return wait


@pytest.fixture
def pooled(fakes: Callable[..., Fakes], runtime: FakeRuntime) -> Iterator[Callable[..., Host]]:
    """Give a function that opens a host with such a pool; its boxes must all be gone in the end."""
    hosts: list[Host] = []

    def make(*others: FakeRuntime, **table: object) -> Host:
        plugins = [fakes(runtime, *others)]
        hosts.append(Host(config={}, plugins=plugins, entry_points=False, pool={"age": "1h", **table}))
        return hosts[-1].__enter__()

    yield make
    for host in hosts:
        host.__exit__(None, None, None)
    assert not runtime.instances
