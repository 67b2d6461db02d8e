from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import (
    AsyncHost,
    ClocheError,
    Host,
    Instance,
    Spec,
    StartError,
    StateError,
)
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_own_leaks")


def test_a_host_must_be_open(fakes: Callable[..., object], runtime: FakeRuntime) -> None:
    host = Host(plugins=[fakes(runtime)], entry_points=False)
    with pytest.raises(StateError, match="not open"):
        host.create()
    with host:
        box = host.create()
        with pytest.raises(StateError, match="entered already"), host:
            pass
        assert box.exec("true").ok
    for call in (host.create, host.sandboxes, lambda: host.run("true"), lambda: box.exec("true"), box.kill):
        with pytest.raises(StateError):
            call()
    with pytest.raises(StateError, match="entered already"), host:
        pass
    box.delete()  # harmless


def test_closing_deletes_all_and_ends_what_runs(fakes: Callable[..., object], runtime: FakeRuntime) -> None:
    with Host(plugins=[fakes(runtime)], entry_points=False) as host:
        jobs = [host.create().spawn("sleep", "9") for _ in range(3)]
        host.create(start=False)
        assert len(runtime.instances) == 4
    assert not runtime.instances
    assert [job.result.reason for job in jobs if job.result] == ["killed"] * 3
    assert runtime.closed


def test_closing_ends_calls_that_other_threads_wait_for(fakes: Callable[..., object], runtime: FakeRuntime) -> None:
    results: list[object] = []
    with Host(plugins=[fakes(runtime)], entry_points=False) as host:
        box = host.create()
        began = threading.Event()
        host_thread = threading.Thread(
            target=lambda: results.append(box.exec("cat", stdin=b"x" * 10, timeout=9, on_output=lambda _: began.set()))
        )
        waiter = threading.Thread(target=lambda: results.append(box.wait()))
        waiter.start()
        host_thread.start()
        began.wait(5)
    host_thread.join(5)
    waiter.join(5)
    assert len(results) == 2


def test_the_bodys_own_error_comes_out_as_it_is(fakes: Callable[..., object], runtime: FakeRuntime) -> None:
    def body() -> None:
        with Host(plugins=[fakes(runtime)], entry_points=False) as host:
            host.create()
            raise ZeroDivisionError

    async def main() -> None:
        async with AsyncHost(plugins=[fakes(runtime)], entry_points=False) as host:
            await host.create()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    with pytest.raises(ZeroDivisionError):
        anyio.run(main)
    assert not runtime.instances


def test_a_cancelled_host_deletes_all(fakes: Callable[..., object], runtime: FakeRuntime) -> None:
    async def main() -> None:
        with anyio.move_on_after(0.03) as scope:
            async with AsyncHost(plugins=[fakes(runtime)], entry_points=False) as host:
                await (await host.create()).exec("sleep", "9")
        assert scope.cancelled_caught

    anyio.run(main)
    assert not runtime.instances


def test_a_sandbox_that_is_being_created_while_its_host_closes_does_not_survive(fakes: Callable[..., object]) -> None:
    class Slow(FakeRuntime):
        async def create(self, spec: Spec) -> Instance:
            instance = await super().create(spec)
            begun.set()
            await anyio.sleep(0.02)
            return instance

    slow = Slow()
    begun = anyio.Event()
    errors: list[ClocheError] = []

    async def create(host: AsyncHost) -> None:
        try:
            await host.create()
        except ClocheError as error:
            errors.append(error)

    async def main() -> None:
        async with anyio.create_task_group() as tasks, AsyncHost(plugins=[fakes(slow)], entry_points=False) as host:
            await host.unavailable("fake")
            tasks.start_soon(create, host)
            await begun.wait()

    anyio.run(main)
    assert [type(e) for e in errors] == [StateError]
    assert not slow.instances


def test_a_failing_start_leaves_nothing(fakes: Callable[..., object]) -> None:
    for runtime in (FakeRuntime(fails_to_create="full"), FakeRuntime(fails_to_start="full")):
        with Host(plugins=[fakes(runtime)], entry_points=False) as host:
            with pytest.raises(StartError, match="full"):
                host.create(name="one")
            assert (host.sandboxes(), runtime.instances) == ([], [])
            runtime.fails_to_create = runtime.fails_to_start = None
            assert host.create(name="one").exec("true").ok
