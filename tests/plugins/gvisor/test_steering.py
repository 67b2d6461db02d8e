"""What the sentry does for a box of the runtime: it stops and continues the guest, and counts what it holds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import AsyncHost, Host, SandboxError
from cloche_gvisor.cli import CliControl
from cloche_gvisor.control import SocketControl

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche_gvisor.contract import Control
    from cloche_gvisor.instance import GvisorInstance

COUNTING = "import time\nwhile True: print(time.monotonic_ns(), flush=True)"


@pytest.fixture
def host(no_leaks: None, host_of: Callable[[str], Host]) -> Host:  # noqa: ARG001 - it looks when all is over
    return host_of("gvisor")


def test_the_guest_stands_still_between_pause_and_resume(host: Host) -> None:
    with host.create() as box:
        job = box.spawn("python3", "-c", COUNTING, ring="1M")
        _until(lambda: job.held() != [])
        box.pause()
        time.sleep(0.05)  # what it had written is still on its way
        held = job.held()
        time.sleep(0.3)
        assert job.held() == held
        box.resume()
        _until(lambda: job.held() != held)
        job.kill()


def test_a_paused_box_can_be_killed(host: Host) -> None:
    with host.create() as box:
        box.spawn("sleep", "60")
        box.pause()
        began = time.monotonic()
        box.kill()
        assert time.monotonic() - began < 5


def test_from_the_call_to_a_guest_that_stands_still_it_is_less_than_a_millisecond(host: Host) -> None:
    if (why := host.unavailable("gvisor")) is not None:
        pytest.skip(why)

    async def body() -> float:
        async with AsyncHost(config={"host": {"runtime": "gvisor"}}) as inner, await inner.create() as box:
            job = await box.spawn("python3", "-c", COUNTING)
            steering = await _instance(box).control()
            took = []
            for _ in range(40):
                await anyio.sleep(0.005)
                began = time.perf_counter()
                await steering.pause()
                took.append(time.perf_counter() - began)
                await steering.resume()
            await job.kill()
            return min(took)

    assert anyio.run(body) < 0.001


def test_the_guests_processes_and_memory_are_counted_not_the_hosts(host: Host) -> None:
    with host.create() as box:
        before = box.stats()
        source = "import threading, time\ndata = b'x' * (40 << 20)\n"
        source += "for _ in range(5): threading.Thread(target=time.sleep, args=(60,)).start()\nprint('up', flush=True)"
        job = box.spawn("python3", "-c", source)
        _until(lambda: job.held() != [])
        after = box.stats()
        assert 6 <= after["pids"] - before["pids"] <= 8
        assert before["pids"] <= 4
        assert after["host_tasks"] > before["host_tasks"] > before["pids"]
        assert after["guest_memory"] - before["guest_memory"] > 39 << 20
        if "memory_peak" in after:
            assert after["memory"] > after["guest_memory"] / 2
        assert "pids_peak" not in after
        box.pause()
        assert box.stats()["pids"] == after["pids"]
        box.resume()


def test_a_sentry_that_is_gone_gives_no_figures(host: Host) -> None:
    async def body() -> None:
        async with AsyncHost(config={"host": {"runtime": "gvisor"}}) as inner, await inner.create() as box:
            instance = _instance(box)
            assert isinstance(await instance.control(), SocketControl)
            await instance.kill()
            with pytest.raises(SandboxError):
                await instance.stats()
            with pytest.raises(SandboxError):
                await instance.pause()

    assert host.unavailable("gvisor") is None
    anyio.run(body)


def test_the_command_line_steers_a_box_too(host: Host) -> None:
    assert host.unavailable("gvisor") is None

    async def body() -> None:
        async with AsyncHost(config={"host": {"runtime": "gvisor"}}) as inner, await inner.create() as box:
            instance = _instance(box)
            steering: Control = CliControl(instance._target)
            instance._steering = steering
            job = await box.spawn("python3", "-c", COUNTING)
            await anyio.sleep(0.3)
            await box.pause()
            await anyio.sleep(0.05)
            held = await job.held()
            await anyio.sleep(0.2)
            assert await job.held() == held
            assert (await box.stats())["pids"] >= 2
            await box.resume()
            await job.kill()

    anyio.run(body)


def _instance(box: object) -> GvisorInstance:
    return box._instance  # type: ignore[attr-defined, no-any-return]


def _until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)
