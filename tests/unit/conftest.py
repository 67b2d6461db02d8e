"""Small whole values that many unit tests need."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from cloche import Guarantee, IsolationLevel, Limits, Network, Spec, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
