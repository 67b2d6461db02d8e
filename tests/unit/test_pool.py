"""Boxes that wait: who gets which, and that nobody gets a used one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from cloche import (
    Host,
    Limits,
    Spec,
    State,
)
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche import Instance
    from cloche.pool.figures import PoolStats

pytestmark = pytest.mark.usefixtures("no_own_leaks")


def test_a_box_that_waits_is_given_out_once_and_deleted_with_its_sandbox(
    pooled: Callable[..., Host], runtime: FakeRuntime, until: Callable[..., PoolStats]
) -> None:
    host = pooled(max=1)
    host.pool.warm()
    (waiting,) = runtime.instances
    with host.create() as box:
        assert box.id == waiting.spec.id
        assert box.state is State.RUNNING
        assert box.exec("echo", "hi").stdout == b"hi\n"
        assert "pool" in box.info()
        until(host, lambda stats: stats.idle == 1)
        with host.create() as other:
            assert other.id != box.id
    assert waiting.deleted
    assert host.pool.stats().hits == 2
    seen = {host.run("pwd").ok and (until(host, lambda stats: stats.idle == 1), runtime.instances[0].spec.id)[1]}
    assert box.id not in seen
    assert other.id not in seen


def test_the_first_of_a_kind_is_made_and_the_next_finds_one(
    pooled: Callable[..., Host], until: Callable[..., PoolStats]
) -> None:
    host = pooled()
    with host.create() as cold:
        assert "pool" not in cold.info()
    stats = until(host, lambda stats: stats.idle == 1)
    assert (stats.hits, stats.misses) == (0, 1)
    with host.create() as box:
        assert "pool" in box.info()
    assert host.pool.stats().hits == 1


def test_a_host_that_was_told_nothing_keeps_nothing_ready(
    host: Host, runtime: FakeRuntime, until: Callable[..., PoolStats]
) -> None:
    with host.create(), host.create():
        assert len(runtime.instances) == 2
    assert host.pool.stats().templates == ()
    with host.create(pool="prefer"):
        until(host, lambda stats: stats.idle == 1)


def test_off_takes_none_and_keeps_none(pooled: Callable[..., Host], runtime: FakeRuntime) -> None:
    host = pooled()
    host.pool.warm()
    ids = {instance.spec.id for instance in runtime.instances}
    with host.create(pool="off") as box:
        assert box.id not in ids
    assert host.run("true", pool="off").ok
    stats = host.pool.stats()
    assert (stats.hits, stats.misses, stats.idle) == (0, 0, 1)


def test_what_belongs_to_one_sandbox_is_its_own(pooled: Callable[..., Host], until: Callable[..., PoolStats]) -> None:
    host = pooled()
    host.pool.warm()
    notices: list[tuple[str, str, str | None]] = []
    host.on(callback=lambda notice: notices.append((notice.type.value, notice.sandbox, notice.name)))
    asked = {
        "name": "mine", "metadata": {"for": "me"}, "env": {"SECRET": "s3"}, "lifetime": 60, "idle_timeout": 50,
        "limits": Limits(output="2K", wall=7), "pool": "require",
    }  # fmt: skip
    with host.create(**asked) as box:  # type: ignore[arg-type]
        with box.events(sources=["life"]) as events:
            assert b"SECRET=s3\n" in box.exec("env").stdout
            assert {event.sandbox for event in events.drain()} == {box.id}
        assert (box.name, box.spec.name, box.spec.metadata) == ("mine", "mine", {"for": "me"})
        assert (box.spec.lifetime, box.spec.idle_timeout) == (60, 50)
        assert box.exec("yes").reason == "limit:output"
        assert (box.spec.limits.output, box.spec.limits.wall) == (2048, 7)
        assert host.create(**asked).id == box.id  # type: ignore[arg-type]  # a name is one sandbox's, pool or not
        assert {"output", "wall", "lifetime", "idle_timeout"} <= set(box.enforcement)
    assert notices == [(kind, box.id, "mine") for kind in ("created", "started", "stopped", "deleted")] or notices == [
        (kind, box.id, "mine") for kind in ("created", "started", "deleted")
    ]
    until(host, lambda stats: stats.idle == 1)
    with host.create() as other:
        assert b"SECRET" not in other.exec("env").stdout
        assert (other.name, other.spec.metadata, other.spec.lifetime) == (None, {}, None)


def test_lifetime_is_counted_from_the_checkout(pooled: Callable[..., Host]) -> None:
    host = pooled()
    host.pool.warm()
    time.sleep(0.2)
    with host.create(lifetime=0.3, pool="require") as box:
        began = time.monotonic()
        assert box.wait() == "limit:lifetime"
        assert time.monotonic() - began > 0.25


def test_a_box_can_be_taken_without_being_started_yet(pooled: Callable[..., Host]) -> None:
    host = pooled()
    host.pool.warm()
    with host.create(start=False, pool="require") as box:
        assert box.state is State.CREATED
        box.start()
        assert box.exec("true").ok


class Spending(FakeRuntime):
    """A runtime whose boxes have used a second of processor time whenever they are asked, and 7 bytes of memory."""

    def __init__(self) -> None:
        super().__init__()
        self.used = 0.0

    async def create(self, spec: Spec) -> Instance:
        instance = await super().create(spec)

        async def stats() -> dict[str, float]:
            self.used += 1
            return {"cpu": 40 + self.used, "memory": 7.0, "pids": 2}

        instance.stats = stats  # type: ignore[method-assign]
        return instance


def test_figures_that_grow_are_counted_from_the_checkout(fakes: Callable[..., Any]) -> None:
    spending = Spending()
    with Host(config={}, plugins=[fakes(spending)], entry_points=False, pool=True) as host:
        host.pool.warm()
        stats = host.pool.stats()
        assert (stats.memory, stats.templates[0].memory) == (7, 7)
        with host.create() as box:
            assert box.stats() == {"cpu": 1.0, "memory": 7.0, "pids": 2.0}
            assert box.stats()["cpu"] == 2.0
