from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import (
    AsyncHost,
    Guarantee,
    Host,
    Notice,
    NoticeType,
    Policy,
    SpecError,
    StartError,
    hookimpl,
)
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_own_leaks")


def test_who_asks_for_the_same_by_name_gets_the_living_one(host: Host) -> None:
    with host.create(name="one", limits={"pids": 7}) as box:
        assert (box.name, [b.id for b in host.sandboxes()]) == ("one", [box.id])
        again = host.create(name="one", limits={"pids": 7})
        assert again.id == box.id
        assert again._inner is box._inner
    with host.create(name="one", limits={"pids": 8}) as other:
        assert other.id != box.id


def test_who_asks_for_something_else_by_the_same_name_hears_what_differs(host: Host) -> None:
    with host.create(name="one", env={"TOKEN": "first"}, limits={"pids": 7}):
        with pytest.raises(SpecError, match=r"'one' exists already.*limits.pids: 8 was asked, 7 it is") as caught:
            host.create(name="one", env={"TOKEN": "second"}, limits={"pids": 8})
        assert "env.TOKEN: another value" in str(caught.value)
        assert "second" not in str(caught.value)
        with pytest.raises(SpecError, match="'one' exists already; delete it"):
            host.run("true", name="one", env={"TOKEN": "first"}, limits={"pids": 7})


def test_a_stopped_sandbox_gives_up_its_name(host: Host) -> None:
    first = host.create(name="one")
    first.kill()
    with host.create(name="one") as second:
        assert second.id != first.id
        assert first.deleted


@pytest.mark.parametrize("registry", [True, False])
def test_a_name_belongs_to_one_sandbox_even_among_those_that_are_being_created(
    fakes: Callable[..., object], runtime: FakeRuntime, *, registry: bool
) -> None:
    made: list[str] = []

    async def create(host: AsyncHost) -> None:
        made.append((await host.create(name="one")).id)

    async def main() -> None:
        async with AsyncHost(plugins=[fakes(runtime)], entry_points=False, registry=registry) as host:
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(create, host)
            assert len(host.sandboxes()) == 1

    anyio.run(main)
    assert len(made) == 3
    assert len(set(made)) == 1


def test_keywords_go_over_a_policy(host: Host) -> None:
    policy = Policy(isolation="enhanced", require=frozenset({Guarantee.SYSCALLS}))
    with host.create(policy=policy, network="loopback", limits={"pids": 7}) as box:
        assert (box.spec.network.mode, box.spec.limits.pids, box.spec.limits.open_files) == ("loopback", 7, 64)
        assert Guarantee.SYSCALLS in box.spec.guarantees


def test_run_is_create_exec_and_delete(host: Host, runtime: FakeRuntime) -> None:
    done = host.run("env", env={"A": "1"})
    assert "A=1" in done.text.splitlines()
    assert host.run("exit", "3").exit_code == 3
    assert (host.sandboxes(), runtime.instances) == ([], [])


def test_events_come_in_order_and_plugins_see_created_and_deleted(
    fakes: Callable[..., object], runtime: FakeRuntime
) -> None:
    seen: list[Notice] = []
    only: list[NoticeType] = []
    observed: list[tuple[str, str]] = []

    class Observer:
        @hookimpl
        def cloche_sandbox_created(self, notice: Notice) -> None:
            observed.append(("created", notice.sandbox))

        @hookimpl
        def cloche_sandbox_deleted(self, notice: Notice) -> None:
            observed.append(("deleted", notice.sandbox))

    with Host(plugins=[fakes(runtime), Observer()], entry_points=False) as host:
        remove = host.on(callback=seen.append)
        host.on("paused", "stopped", callback=lambda e: only.append(e.type))
        with host.create(name="one", start=False) as box:
            assert observed == []
            box.start()
            assert observed == [("created", box.id)]
            box.pause()
            box.resume()
            box.kill()
            box.kill()
        remove()
        host.run("true")
        assert [str(e.type) for e in seen] == ["created", "started", "paused", "resumed", "stopped", "deleted"]
        assert {(e.sandbox, e.name) for e in seen} == {(box.id, "one")}
        assert seen[4].details == {"reason": "killed"}
        assert [str(t) for t in only] == ["paused", "stopped"]
        assert observed[:2] == [("created", box.id), ("deleted", box.id)]


def test_failures_are_events(fakes: Callable[..., object]) -> None:
    runtime = FakeRuntime(fails_to_start="no room")
    seen: list[Notice] = []
    with Host(plugins=[fakes(runtime)], entry_points=False) as host:
        host.on("failed", callback=seen.append)
        with pytest.raises(StartError):
            host.create()
        runtime.fails_to_start = None
        with host.create() as box:
            host._bridge.call(runtime.instances[0].crash, "its machinery broke")
            assert box.wait() == "its machinery broke"
    assert [e.details["error"] for e in seen] == ["no room", "its machinery broke"]


def test_a_callback_that_raises_is_recorded_and_hurts_nobody(host: Host) -> None:
    seen: list[Notice] = []

    def bad(_: Notice) -> None:
        raise ZeroDivisionError

    host.on("started", callback=bad)
    host.on("started", callback=seen.append)
    assert host.run("true").ok
    assert len(seen) == 1
    assert [type(error) for _, error in host.callback_failures] == [ZeroDivisionError]
    with pytest.raises(SpecError, match="known notices"):
        host.on("exploded", callback=bad)


def test_a_callback_that_calls_the_blocking_face_is_told_not_to(host: Host) -> None:
    host.on("started", callback=lambda _: host.sandboxes())
    assert host.run("true").ok
    assert "callback runs on the host's event loop" in str(host.callback_failures[0][1])


def test_a_bad_configuration_is_refused_at_once(fakes: Callable[..., object]) -> None:
    with pytest.raises(SpecError, match="unknown table"):
        Host(config={"hosts": {}}, plugins=[fakes()])
    unknown = {"host": {"default_isolation": "none-such"}}
    with (
        Host(config=unknown, plugins=[fakes()], entry_points=False) as host,
        pytest.raises(SpecError, match="known levels: enhanced"),
    ):
        host.create()
