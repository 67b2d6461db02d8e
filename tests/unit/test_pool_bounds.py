"""Boxes that die or can't be had, and how many wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import (
    Host,
    SandboxError,
    Spec,
    SpecError,
    StartError,
)
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche import Instance
    from cloche.pool.figures import PoolStats
    from cloche.testing.fake import FakeInstance

pytestmark = pytest.mark.usefixtures("no_own_leaks")


def waiting(runtime: FakeRuntime) -> FakeInstance:
    return runtime.instances[-1]


def test_a_box_that_died_is_seen_counted_replaced_and_never_given_out(
    pooled: Callable[..., Host], runtime: FakeRuntime, until: Callable[..., PoolStats]
) -> None:
    host = pooled()
    host.pool.warm()
    dead = waiting(runtime)
    host._bridge.call(dead.crash, "bang\x1b[31m")
    until(host, lambda stats: stats.died == 1 and stats.idle == 1)
    assert host.pool.stats().templates[0].problem.endswith("bang\\x1b[31m")
    with host.create(pool="require") as box:
        assert box.id != dead.spec.id
    assert dead.deleted


def test_a_box_that_dies_just_before_the_checkout_is_not_given_out(
    pooled: Callable[..., Host], runtime: FakeRuntime
) -> None:
    host = pooled()
    host.pool.warm()
    dead = waiting(runtime)

    async def at_once() -> str:
        await dead.crash("bang")
        async with await host._inner.create() as box:
            return box.id

    assert host._bridge.call(at_once) != dead.spec.id
    assert host.pool.stats().died == 1


@pytest.mark.parametrize("broken", [ValueError("broken\n"), SandboxError("no answer"), None])
def test_a_box_that_does_not_answer_is_not_given_out(
    broken: Exception | None, pooled: Callable[..., Host], runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloche.pool.warm.PATIENCE", 0.05)
    host = pooled()
    host.pool.warm()

    async def ready() -> None:
        if broken is not None:
            raise broken
        await anyio.sleep(30)

    stuck = waiting(runtime)
    monkeypatch.setattr(stuck, "ready", ready)
    with host.create() as box:
        assert box.id != stuck.spec.id
    stats = host.pool.stats()
    assert (stats.died, stats.hits) == (1, 0)
    assert "does not answer" in stats.templates[0].problem


def test_a_template_that_cannot_start_is_tried_ever_more_seldom(
    pooled: Callable[..., Host], runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch, until: Callable[..., PoolStats]
) -> None:
    attempts: list[float] = []
    create = runtime.create

    async def counting(spec: Spec) -> Instance:
        attempts.append(time.monotonic())
        return await create(spec)

    monkeypatch.setattr(runtime, "create", counting)
    host = pooled()
    runtime.fails_to_start = "no power"
    for _ in range(3):
        with pytest.raises(StartError, match="no power"):
            host.create()
    with pytest.raises(StartError, match=r"pool: .*no power; it is tried again in"):
        host.create(pool="require")
    time.sleep(0.6)
    behind = len(attempts) - 3
    assert 1 <= behind <= 3  # at 0, 0.25 and 0.75 s
    stats = host.pool.stats()
    assert (stats.idle, stats.failed) == (0, behind)
    assert stats.templates[0].retry_in > 0
    with pytest.raises(StartError, match=r"warm: a box could not be started: .*no power"):
        host.pool.warm(2)
    assert host.pool.stats().templates[0].declared == 0
    runtime.fails_to_start = None
    until(host, lambda stats: stats.idle >= 1)
    assert host.create(pool="require").exec("true").ok


def test_require_waits_for_a_box_but_not_for_ever(pooled: Callable[..., Host], runtime: FakeRuntime) -> None:
    host = pooled(wait="100ms")
    with host.create(pool="require") as box:
        assert "pool" in box.info()

    async def slow(spec: Spec) -> Instance:
        await anyio.sleep(30)
        raise AssertionError(spec)

    runtime.create = slow  # type: ignore[method-assign]
    with pytest.raises(StartError, match=r"no box of this kind was ready within 0.1 s"):
        [host.create(pool="require") for _ in range(3)]


def test_a_pool_without_room_makes_all_anew(pooled: Callable[..., Host]) -> None:
    for table in ({"max": 0, "min": 0}, {"total": 0, "min": 0}):
        host = pooled(**table)
        with host.create() as box:
            assert "pool" not in box.info()
        with pytest.raises(SpecError, match="has no room"):
            host.create(pool="require")
        with pytest.raises(SpecError, match="warm: 1 box"):
            host.pool.warm()
        assert host.pool.stats().templates == ()


def test_who_finds_none_has_one_more_kept_up_to_the_most(
    pooled: Callable[..., Host], until: Callable[..., PoolStats]
) -> None:
    host = pooled(max=3)
    boxes = [host.create() for _ in range(12)]
    assert until(host, lambda stats: stats.idle == 3).templates[0].wanted == 3
    for box in boxes:
        box.delete()
    time.sleep(0.05)
    assert host.pool.stats().idle == 3


def test_boxes_nobody_needs_go_and_a_template_nobody_asks_for_is_forgotten(
    pooled: Callable[..., Host], until: Callable[..., PoolStats]
) -> None:
    host = pooled(max=3, idle="300ms")
    for box in [host.create() for _ in range(5)]:
        box.delete()
    until(host, lambda stats: stats.idle == 3)
    stats = until(host, lambda stats: stats.templates == ())
    assert (stats.evicted, stats.idle, stats.misses > 0) == (3, 0, True)


def test_what_was_declared_stays_and_is_replaced_when_it_is_old(
    pooled: Callable[..., Host], runtime: FakeRuntime, until: Callable[..., PoolStats]
) -> None:
    host = pooled(idle="50ms", age="200ms", max=2)
    host.pool.warm(2)
    first = {instance.spec.id for instance in runtime.instances}
    until(host, lambda stats: stats.evicted >= 2 and stats.idle == 2)
    assert not first & {instance.spec.id for instance in runtime.instances}
    host.pool.warm(0)
    until(host, lambda stats: stats.templates == ())


def test_templates_of_the_settings_are_ready_without_being_asked_for(
    pooled: Callable[..., Host], until: Callable[..., PoolStats]
) -> None:
    host = pooled(templates=[{"runtime": "fake", "min": 2}, {"network": "loopback", "min": 1}])
    until(host, lambda stats: stats.idle == 3)
    with host.create(network="loopback") as box:
        assert "pool" in box.info()


def test_the_template_asked_for_last_takes_the_room_of_older_ones(
    pooled: Callable[..., Host], until: Callable[..., PoolStats]
) -> None:
    host = pooled(total=2, max=2)
    host.pool.warm(1, user=1)
    for user in (2, 3, 4):
        host.create(user=user).delete()
        until(host, lambda stats, user=user: ready(stats) == {1, user})
        assert host.pool.stats().idle <= 2
    stats = until(host, lambda stats: stats.idle == 2)
    assert [row.idle for row in stats.templates] == [1, 0, 0, 1]
    assert stats.evicted == 2


def ready(stats: PoolStats) -> set[int]:
    return {index + 1 for index, row in enumerate(stats.templates) if row.idle}


def test_boxes_are_begun_when_nobody_waits_for_the_host(
    pooled: Callable[..., Host], runtime: FakeRuntime, until: Callable[..., PoolStats]
) -> None:
    host = pooled(max=4)
    order: list[str] = []
    create = runtime.create

    async def told(spec: Spec) -> Instance:
        order.append("pool" if spec.env == {} else "asked")
        await anyio.sleep(0.03)
        return await create(spec)

    runtime.create = told  # type: ignore[method-assign]

    async def all_at_once() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(host._inner.create)

    host._bridge.call(all_at_once)
    assert order[:6] == ["asked"] * 6
    until(host, lambda stats: stats.idle >= 1)
