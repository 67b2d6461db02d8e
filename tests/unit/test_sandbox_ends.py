from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import (
    AsyncHost,
    GuestProcess,
    Host,
    Instance,
    NotFound,
    ProcessSpec,
    Result,
    Sandbox,
    Spec,
    State,
    Stdio,
)
from cloche.testing import FakeRuntime
from cloche.testing.fake import FakeInstance

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_own_leaks")


# -- ends ------------------------------------------------------------------------------------------------------------


def test_a_timeout_ends_the_program_with_all_it_started(box: Sandbox, runtime: FakeRuntime) -> None:
    for program in ("sleep", "stubborn", "yes"):
        began = time.monotonic()
        done = box.exec(program, "9", timeout="20ms")
        assert (done.reason, done.signal, done.exit_code) == ("timeout", signal.SIGKILL, 137)
        assert time.monotonic() - began < 3
    assert "0.02 s" in done.detail
    assert box.stats()["pids"] == 0
    assert runtime.instances


def test_the_walls_limit_bounds_a_call_whatever_timeout_it_asks_for(host: Host) -> None:
    with host.create(limits={"wall": 0.02}) as box:
        assert box.exec("sleep", "9").reason == "limit:wall"
        assert box.exec("sleep", "9", timeout=5).reason == "limit:wall"
        assert box.exec("sleep", "9", timeout=0.01).reason == "timeout"
        assert box.spawn("sleep", "9").wait(5).reason == "limit:wall"
        assert box.exec("true").ok


def test_a_lifetime_ends_the_sandbox_and_what_runs(host: Host) -> None:
    with host.create(lifetime=0.03) as box:
        done = box.exec("sleep", "9")
        assert (done.reason, box.wait(), box.state) == ("limit:lifetime", "limit:lifetime", State.STOPPED)


def test_an_unused_sandbox_is_stopped_but_not_while_something_runs(host: Host) -> None:
    with host.create(idle_timeout=0.03) as box:
        assert box.exec("sleep", "0.06").ok
        assert box.spawn("sleep", "0.06").wait(5).ok
        assert box.wait() == "limit:idle_timeout"


def test_descendants_end_with_their_program_unless_they_linger(host: Host) -> None:
    with host.create() as box:
        assert box.exec("daemon", "9").ok
        assert box.stats()["pids"] == 0
        began = time.monotonic()
        assert box.exec("daemon", "9", linger=True).ok
        assert time.monotonic() - began < 3  # though its output is still held open
        assert box.stats()["pids"] == 1


def test_deleting_ends_what_other_threads_wait_for(host: Host) -> None:
    box = host.create()
    results: list[str] = []
    began = threading.Event()
    thread = threading.Thread(
        target=lambda: results.append(box.exec("stubborn", "9", on_output=lambda _: began.set()).reason)
    )
    thread.start()
    assert began.wait(5)
    box.delete()
    thread.join(5)
    assert results == ["killed"]


class _SlowToAnswer(FakeInstance):
    """Starts a program at once, and says so when the box is down."""

    async def exec(self, process: ProcessSpec, stdio: Stdio) -> GuestProcess:
        made = await super().exec(process, stdio)
        await self.wait()
        return made


class _SlowRuntime(FakeRuntime):
    async def create(self, spec: Spec) -> Instance:
        instance = _SlowToAnswer(self, spec)
        self.instances.append(instance)
        return instance


def test_a_program_that_begins_while_its_sandbox_is_killed_is_killed_with_it(fakes: Callable[..., object]) -> None:
    results: list[Result] = []

    async def main() -> None:
        async with AsyncHost(plugins=[fakes(_SlowRuntime())], entry_points=False) as host, await host.create() as box:

            async def execute() -> None:
                results.append(await box.exec("sleep", "9"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(execute)
                await anyio.wait_all_tasks_blocked()
                await box.kill()

    anyio.run(main)
    assert [(result.reason, result.detail) for result in results] == [("killed", "its sandbox was stopped: killed")]


def test_a_cancelled_exec_ends_its_program_and_leaks_nothing(fakes: Callable[..., object]) -> None:
    runtime = FakeRuntime()

    async def main() -> None:
        async with AsyncHost(plugins=[fakes(runtime)], entry_points=False) as host, await host.create() as box:
            for program in ("sleep", "yes", "cat"):
                for grace in (0, 0.001, 0.01):
                    with anyio.move_on_after(grace) as scope:
                        await box.exec(program, "9", stdin=b"x" * 300_000)
                    assert scope.cancelled_caught or program == "cat"
            assert (await box.stats())["pids"] == 0

    anyio.run(main)
    assert not runtime.instances


def test_a_cancelled_creation_leaves_nothing(fakes: Callable[..., object]) -> None:
    runtime = FakeRuntime()

    async def main() -> None:
        async with AsyncHost(plugins=[fakes(runtime)], entry_points=False) as host:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await host.create()
            assert not host.sandboxes()

    anyio.run(main)


# -- jobs of a sandbox -----------------------------------------------------------------------------------------------


def test_jobs_are_listed_and_can_be_attached_to_again(box: Sandbox) -> None:
    job = box.spawn("echo", "hi")
    job.wait(5)
    again = box.attach(job.id)
    assert b"".join(c.data for c in again.output()) == b"hi\n"
    assert [j.id for j in box.jobs()] == [job.id]
    with pytest.raises(NotFound, match=rf"no job 'zz'; it has: {job.id}"):
        box.attach("zz")


def test_only_the_last_ended_jobs_are_kept(box: Sandbox) -> None:
    living = box.spawn("sleep", "9")
    for _ in range(70):
        box.spawn("true").wait(5)
    last = box.jobs()[-1]
    assert not last.running
    ids = [job.id for job in box.jobs()]
    assert (len(ids), living.id in ids, last.id in ids, "j1" in ids) == (65, True, True, False)
