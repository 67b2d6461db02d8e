"""Timers of JavaScript without a process: the host wakes the code that waits."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest

from cloche import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche import Interpreter

WAIT = "const wait = (ms) => new Promise((go) => setTimeout(go, ms));\n"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with Host() as host:
        if (reason := host.unavailable("wasm")) is not None:
            pytest.skip(reason)
        yield host


@pytest.fixture(scope="module")
def js(host: Host) -> Interpreter:
    return host.interpreter("javascript", runtime="wasm")


def test_code_goes_on_when_its_time_has_come(js: Interpreter) -> None:
    began = time.monotonic()
    ran = js.run(
        f"{WAIT} const said = []; await Promise.all([30, 10, 20].map((ms) => wait(ms).then(() => said.push(ms)))); said"
    )
    assert ran.value == [10, 20, 30]
    assert time.monotonic() - began >= 0.03
    assert js.run("await new Promise((go) => setTimeout(go, 1, 'a', 'b'))").value == "a"
    assert js.run("await new Promise((go) => setTimeout(go))").ok


def test_intervals_come_again_until_they_are_stopped(js: Interpreter) -> None:
    code = """let count = 0;
    await new Promise((go) => {
        const id = setInterval(() => { if (++count === 5) { clearInterval(id); go(); } }, 1);
    });
    await new Promise((go) => setTimeout(go, 20));
    count"""
    assert js.run(code).value == 5


def test_one_that_was_taken_back_never_comes(js: Interpreter) -> None:
    code = f"""{WAIT} let came = 0;
    clearTimeout(setTimeout(() => came++, 1)); clearTimeout(99); clearInterval(undefined);
    await wait(20); came"""
    assert js.run(code).value == 0


def test_what_nobody_waits_for_is_forgotten(js: Interpreter) -> None:
    began = time.monotonic()
    with js.session() as session:
        assert session.run("var came = 0; setTimeout(() => { came = 1 }, 50000); 7").value == 7
        assert session.run("await new Promise((go) => setTimeout(go, 5)); came").value == 0
        saved = session.snapshot()
    with js.restore(saved) as again:
        ran = again.run("await new Promise((go) => setTimeout(go, 5)); came")
        assert (ran.value, ran.console) == (0, ())
    assert time.monotonic() - began < 30


def test_what_a_timer_raises_is_printed(js: Interpreter) -> None:
    ran = js.run(f"{WAIT} setTimeout(() => {{ throw new Error('late') }}, 1); await wait(20); 3")
    assert ran.value == 3
    assert [line.level for line in ran.console] == ["error"]
    assert "late" in ran.console[0].text


@pytest.mark.parametrize("given", ["", "3", "'alert(1)'", "null, 1"])
def test_a_timer_needs_a_function(js: Interpreter, given: str) -> None:
    ran = js.run(f"setTimeout({given})")
    assert ran.error is not None
    assert ran.error.name == "TypeError"


def test_waiting_is_bounded_by_the_time_of_the_run(js: Interpreter) -> None:
    with js.session() as session:
        began = time.monotonic()
        assert session.run(f"var kept = 1; {WAIT} await wait(60000)", timeout=0.2).reason == "timeout"
        assert time.monotonic() - began < 5
        assert session.run("kept").value == 1


def test_waiting_is_ended_from_another_thread(js: Interpreter) -> None:
    with js.session() as session:
        threading.Timer(0.1, session.close).start()
        began = time.monotonic()
        assert session.run(f"{WAIT} await wait(60000)").reason == "killed"
        assert time.monotonic() - began < 10


def test_timers_are_counted_as_calls_of_the_host(host: Host) -> None:
    with host.interpreter("javascript", runtime="wasm", bounds={"host_calls": 10}) as few:
        assert few.run("for (let i = 0; i < 20; i++) setTimeout(() => {}, 1); 1").reason == "limit:host_calls"


def test_timers_and_functions_of_the_host_are_waited_for_together(host: Host) -> None:
    async def slow(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "host"

    with host.interpreter("javascript", runtime="wasm", functions={"slow": slow}) as both:
        race = f"{WAIT} await Promise.race([slow(%s), wait(%s).then(() => 'timer')])"
        assert both.run(race % (30, 10)).value == "timer"
        assert both.run(race % (0.01, 30000)).value == "host"
        assert both.run(f"{WAIT} [await slow(0.01), await wait(5), await slow(0.01)].length").value == 3


def test_a_stream_may_wait(js: Interpreter) -> None:
    code = f"{WAIT} for (let i = 0; i < 3; i++) {{ await wait(2); yield i }}"
    assert list(js.stream(code)) == [0, 1, 2]
