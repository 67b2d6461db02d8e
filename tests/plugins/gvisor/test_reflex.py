"""A guest in gVisor that is stopped the moment a rule finds something, whatever its host does meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import Act, AsyncHost, AsyncSandbox, F, Host, Monitor, Rule, Rules, Severity, State
from cloche_gvisor.instance import GvisorInstance
from cloche_gvisor.reflex import Reflex

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_own_leaks")
RULE = Rule(
    id="named", summary="opens a file that is named", severity=Severity.HIGH, events=frozenset({Act.OPEN}),
    where=F.file == "/etc/hostname", response="suspend",
)  # fmt: skip
OPENS = "open('/etc/hostname')"
RUNS_ON = f"{OPENS}\nimport itertools\nfor n in itertools.count(): print(n, flush=True)"


def python(body: str) -> tuple[str, ...]:
    return ("/usr/bin/python3", "-I", "-S", "-c", body)


@pytest.fixture
def host(host_of: Callable[[str], Host]) -> Host:
    return host_of("gvisor")


def inside(box: AsyncSandbox) -> tuple[GvisorInstance, Reflex]:
    instance = box._instance
    assert isinstance(instance, GvisorInstance)
    assert instance._trace is not None
    assert instance._trace.reflex is not None
    return instance, instance._trace.reflex


def test_a_guest_that_is_suspended_again_and_again_stands_still_and_goes_on(host: Host) -> None:
    with host.create(rules=Rules(use=(RULE,)), limits={"output": "64M"}) as box:
        for _ in range(3):
            job = box.spawn(*python(RUNS_ON))
            until = time.monotonic() + 20
            while box.state is not State.PAUSED:
                assert time.monotonic() < until
                time.sleep(0.002)
            assert box.reason == "rule:named"
            held = job.held()
            assert job.held() == held
            box.resume()
            job.kill()
            assert job.wait().reason == "killed"
        assert box.exec("/bin/true").ok


def test_it_is_stopped_before_the_host_has_heard_of_it_and_goes_on_if_the_host_never_does(host: Host) -> None:
    async def body() -> None:
        async with (
            AsyncHost(config={"host": {"runtime": "gvisor"}}) as inner,
            await inner.create(rules=Rules(use=(RULE,))) as box,
        ):
            instance, reflex = inside(box)
            box._hub.flush = lambda: None  # type: ignore[method-assign]
            for fed in box._hub._fed:  # nobody listens any more
                if fed.serving is not None:
                    fed.serving[0].cancel()
            job = await box.spawn(*python(f"{OPENS}; import time; time.sleep(0.2); print('on', flush=True)"))
            with anyio.fail_after(20):
                while not reflex.acted:  # noqa: ASYNC110 - a native thread sets it
                    await anyio.sleep(0.001)
            assert box.state is State.RUNNING
            with anyio.fail_after(20):
                assert [line async for line in job.lines()] == ["on"]
            assert not reflex.acted
            assert not instance._paused

    assert host.unavailable("gvisor") is None
    anyio.run(body)


def test_a_monitor_that_is_changed_in_a_paused_box_leaves_it_paused_and_one_resume_lets_it_go(host: Host) -> None:
    with host.create(monitor=Monitor("writes", acts=frozenset({Act.MKDIR})), strict=False) as box:
        box.pause()
        box.update(monitor=Monitor("full", acts=frozenset({Act.OPEN})))
        box.resume()
        assert box.exec("/bin/true", timeout=20).ok


def test_a_rule_that_only_watches_or_asks_more_stops_nobody(host: Host) -> None:
    asks = Rule(
        id="asks", summary="opens a file that is named", severity=Severity.HIGH, events=frozenset({Act.OPEN}),
        where=F.file == "/etc/hostname", response="suspend", evaluate=lambda _: False,
    )  # fmt: skip

    async def body() -> None:
        for rules in (Rules(use=(RULE,), audit=True), Rules(use=(asks,))):
            async with (
                AsyncHost(config={"host": {"runtime": "gvisor"}}) as inner,
                await inner.create(rules=rules) as box,
            ):
                _, reflex = inside(box)
                assert (await box.exec(*python(f"{OPENS}; print('on')"))).text == "on\n"
                assert not reflex.acted
                assert box.state is State.RUNNING

    assert host.unavailable("gvisor") is None
    anyio.run(body)
