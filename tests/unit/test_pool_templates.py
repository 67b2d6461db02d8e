"""Which box may stand for which: a pool never gives less than was asked for."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from cloche import (
    Host,
    Limits,
    Monitor,
    Mount,
    Network,
    PathPermissions,
    Rules,
    Spec,
    SpecError,
    Workspace,
)
from cloche.pool.template import template_of, why_not
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("no_own_leaks")

CHANGES: dict[str, Any] = {
    "level": None,  # below
    "guarantees": frozenset(),
    "network": Network("loopback"),
    "limits": Limits(memory="8M"),
    "workspace": Workspace("tmpfs", None, "/work"),
    "mounts": (Mount("/usr", "/mnt/usr"),),
    "paths": PathPermissions(read_only=("/workspace/x",)),
    "monitor": Monitor("full"),
    "rules": Rules.of("on"),
    "rootfs": "/srv",
    "hostname": "other",
    "user": 7,
    "strict": False,
}
PER_CHECKOUT: dict[str, Any] = {
    "id": "b", "name": "n", "env": {"A": "1"}, "lifetime": 9.0, "idle_timeout": 8.0, "metadata": {"a": "b"},
}  # fmt: skip


def test_every_part_of_a_request_is_either_of_the_template_or_of_one_checkout() -> None:
    assert {f.name for f in fields(Spec)} == set(CHANGES) | set(PER_CHECKOUT)


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_fixed_when_a_box_is_made_sets_templates_apart(
    name: str, make_spec: Callable[..., Spec], make_level: Callable[[str], Any]
) -> None:
    spec = make_spec()
    other = replace(spec, **{name: make_level("another") if name == "level" else CHANGES[name]})
    assert template_of(spec) != template_of(other)


OTHER: dict[str, Any] = dict.fromkeys((f.name for f in fields(Limits)), 8 << 20) | {
    "cpu": 3,
    "pids": 9,
    "open_files": 9,
}


@pytest.mark.parametrize("limit", OTHER)
def test_limits_set_templates_apart_but_for_those_that_the_host_keeps(
    limit: str, make_spec: Callable[..., Spec]
) -> None:
    spec = make_spec()
    other = replace(spec, limits=replace(spec.limits, **{limit: OTHER[limit]}))
    assert (template_of(spec) == template_of(other)) == (limit in ("output", "wall"))


def test_what_belongs_to_one_checkout_does_not(make_spec: Callable[..., Spec]) -> None:
    spec = make_spec()
    assert template_of(spec) == template_of(replace(spec, **PER_CHECKOUT))


@pytest.mark.parametrize(
    "asked",
    [
        {"limits": {"memory": "8M"}}, {"network": "loopback"}, {"user": 7}, {"hostname": "other"}, {"monitor": "full"},
        {"monitor": "strict"}, {"strict": False}, {"mounts": [Mount("/usr", "/mnt/usr")]}, {"rootfs": "/"},
        {"require": ["pause"]}, {"workspace": Workspace(target="/work")},
    ],
    ids=str,
)  # fmt: skip
def test_who_asks_for_something_else_gets_no_box_of_another_kind(
    asked: dict[str, Any], pooled: Callable[..., Host], runtime: FakeRuntime
) -> None:
    host = pooled()
    host.pool.warm()
    ids = {instance.spec.id for instance in runtime.instances}
    with host.create(**asked) as box:
        assert box.id not in ids
    assert host.pool.stats().hits == 0


def test_a_box_of_another_runtime_is_another(pooled: Callable[..., Host]) -> None:
    class Other(FakeRuntime):
        name = "other"

    other = Other()
    host = pooled(other)
    host.pool.warm(runtime="fake")
    with host.create(runtime="other", pool="prefer") as box:
        assert (box.runtime, len(other.instances) >= 1) == ("other", True)
    assert host.pool.stats().hits == 0


def test_folders_of_the_host_and_patterns_of_paths_are_never_waited_for(
    pooled: Callable[..., Host], tmp_path: Path
) -> None:
    host = pooled()
    kinds: tuple[dict[str, Any], ...] = (
        {"workspace": tmp_path}, {"workspace": Workspace("overlay", str(tmp_path))}, {"forbidden": ["/etc/x"]},
        {"paths": PathPermissions(read_only=("/workspace/a",))},
    )  # fmt: skip
    for asked in kinds:
        with host.create(**asked):
            pass
        with pytest.raises(SpecError, match="pool: 'require' was asked for, but it"):
            host.create(**asked, pool="require")
        with pytest.raises(SpecError, match="no box can wait for this"):
            host.pool.warm(**asked)
    assert host.pool.stats().templates == ()


def test_a_box_whose_mount_was_replaced_on_the_host_is_not_given_out(
    pooled: Callable[..., Host], tmp_path: Path
) -> None:
    host = pooled()
    data = tmp_path / "data"
    data.mkdir()
    mounts = [Mount(str(data), "/data")]
    host.pool.warm(mounts=mounts)
    data.rename(tmp_path / "old")
    data.mkdir()
    with host.create(mounts=mounts) as box:
        assert "pool" not in box.info()
    stats = host.pool.stats()
    assert (stats.hits, stats.died) == (0, 1)
    assert "replaced" in stats.templates[0].problem
    host.pool.warm(0, mounts=mounts)


def test_restricted_paths_and_a_written_folder_have_a_reason_each(make_spec: Callable[..., Spec]) -> None:
    assert why_not(make_spec()) == ""
    assert "folder of the host" in why_not(make_spec(workspace=Workspace("bind", "/srv")))
