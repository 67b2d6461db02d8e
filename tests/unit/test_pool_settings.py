"""What is refused of a pool's settings, and of who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloche import (
    Host,
    PoolSettings,
    PoolTemplate,
    SpecError,
)
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.pool.figures import PoolStats


pytestmark = pytest.mark.usefixtures("no_own_leaks")


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"mode": "often"}, "pool.mode: 'often' is unknown; use one of prefer, require, off"),
        ({"min": -1}, "pool.min: -1 is out of range"),
        ({"max": 1.5}, "pool.max: a whole number"),
        ({"total": True}, "pool.total: a whole number"),
        ({"starts": 0}, "pool.starts: 0 is out of range"),
        ({"idle": 0}, "pool.idle: 0 is out of range"),
        ({"age": "soon"}, "pool.age: 'soon' is not a duration"),
        ({"wait": float("inf")}, "pool.wait: inf is out of range"),
        ({"min": 5}, "pool.min .5. is more than pool.max"),
        ({"min": 3, "total": 2}, "pool.min .3. is more than"),
        ({"size": 3}, "pool: unknown key 'size'; known are mode, min"),
        ({"templates": 7}, "pool.templates: a sequence is needed"),
        ({"templates": [7]}, "pool.templates: a table"),
        ({"templates": [{"memory": "1G"}]}, "pool.templates: unknown key 'memory'"),
        ({"templates": [{"min": 0}]}, "pool.templates: min: 0 is out of range"),
        ({"templates": [{"profile": 7}]}, "pool.templates: profile: text is needed"),
        ({"templates": [{"min": 4}] * 5}, "pool.templates ask for 20 boxes together"),
        ({"templates": [{"min": 5}]}, "pool.templates: min = 5 is more than pool.max"),
        ({"templates": [{}] * 65, "total": 99}, "65 are too many"),
    ],
)
def test_settings_that_make_no_sense_are_refused(table: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        Host(config={}, entry_points=False, pool=table)
    with pytest.raises(SpecError, match="config: pool.*" if "unknown key" in told else told):
        Host(config={"pool": table}, entry_points=False)


@pytest.mark.parametrize("given", [7, "prefer", [], 1.5])
def test_a_pool_is_a_table_settings_or_true_or_false(given: object) -> None:
    with pytest.raises(SpecError, match=r"a table, cloche.PoolSettings or True or False is needed"):
        Host(config={}, entry_points=False, pool=given)  # type: ignore[arg-type]


def test_settings_are_given_in_three_ways(fakes: Callable[..., Any], runtime: FakeRuntime) -> None:
    for given, mode, room in ((True, "prefer", True), (False, "off", False), (PoolSettings(max=2), "prefer", True)):
        host = Host(config={}, plugins=[fakes(runtime)], entry_points=False, pool=given)
        assert (host._inner.pool.settings.mode, host._inner.pool.settings.has_room) == (mode, room)
    config = {"pool": {"idle": "90s", "templates": [{"runtime": "fake", "min": 2}]}}
    settings = Host(config=config, entry_points=False)._inner.pool.settings
    assert (settings.idle, settings.mode) == (90.0, "prefer")
    assert settings.templates == (PoolTemplate(runtime="fake", min=2),)
    assert Host(config=config, entry_points=False, pool=False)._inner.pool.settings.mode == "off"


def test_bad_asking_is_refused_and_nothing_is_made(pooled: Callable[..., Host], runtime: FakeRuntime) -> None:
    host = pooled()
    for asked in ("often", 1, True, b"prefer"):
        with pytest.raises(SpecError, match=r"pool: .* is unknown; use one of prefer, require, off"):
            host.create(pool=asked)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="warm: name, env belong to one sandbox"):
        host.pool.warm(name="x", env={})
    with pytest.raises(SpecError, match="warm: -1 is out of range"):
        host.pool.warm(-1)
    with pytest.raises(SpecError, match=r"warm: 5 boxes were asked for; pool.max allows 4"):
        host.pool.warm(5)
    with pytest.raises(SpecError, match="runtime: 'no' is unknown"):
        host.pool.warm(runtime="no")
    assert runtime.instances == []


def test_declared_boxes_of_all_kinds_are_within_the_total(pooled: Callable[..., Host]) -> None:
    host = pooled(total=3, max=2)
    host.pool.warm(2)
    with pytest.raises(SpecError, match=r"beside 2 that are always kept; pool.total allows 3"):
        host.pool.warm(2, user=3)
    host.pool.warm(1, user=3)
    assert host.pool.stats().idle == 3


def test_a_template_of_the_settings_that_makes_no_sense_is_told_when_the_host_opens(
    fakes: Callable[..., Any], runtime: FakeRuntime, until: Callable[..., PoolStats]
) -> None:
    table = {"templates": [{"profile": "nowhere"}]}
    with (
        pytest.raises(SpecError, match="nowhere"),
        Host(config={}, plugins=[fakes(runtime)], entry_points=False, pool=table),
    ):
        pass
    table = {"templates": [{"runtime": "nowhere"}]}
    with Host(config={}, plugins=[fakes(runtime)], entry_points=False, pool=table) as host:
        until(host, lambda stats: "runtime: 'nowhere' is unknown" in stats.problem)
