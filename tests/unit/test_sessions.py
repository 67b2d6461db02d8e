"""Sessions, streams and the pool of an interpreter, by both faces."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import cloche
from cloche import (
    AsyncHost,
    GuestFailed,
    Host,
    Interpreter,
    LimitExceeded,
    Sandbox,
    SnapshotError,
    SpecError,
    StateError,
    Unsupported,
)
from cloche.interpreters import once
from cloche.interpreters.resting import Rests
from cloche.testing import FakeLanguageRuntime, FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.faked import Fakes

pytestmark = pytest.mark.usefixtures("no_own_leaks")


@pytest.fixture
def runtime() -> FakeLanguageRuntime:
    return FakeLanguageRuntime()


@pytest.fixture
def toy(host: Host, runtime: FakeLanguageRuntime) -> Iterator[Interpreter]:
    with host.interpreter("fake", pool={"max": 2}) as toy:
        yield toy
    assert not runtime.prepared[0].interpreters


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# -- sessions --------------------------------------------------------------------------------------------------------


def test_a_session_keeps_what_was_declared(toy: Interpreter) -> None:
    with toy.session() as first, toy.session() as second:
        first.run("x = 1")
        assert first.run("x + y", {"y": 2}).value == 3
        assert not second.run("x").ok
        info = first.info()
        assert (info.runs, info.busy, info.streaming, info.closed, info.language) == (2, False, False, "", "fake")
        assert info.memory > 0
        assert toy.metrics().sessions == 2
    assert first.closed
    assert first.info().closed == "its user closed it"
    with pytest.raises(StateError, match="its user closed it"):
        first.run("1")


def test_a_hard_end_rolls_back_and_a_soft_one_does_not(toy: Interpreter) -> None:
    with toy.session() as session:
        session.run("x = 1")
        soft = session.run("x = 2\nwhile 1: pass", timeout=0.02)
        assert (soft.reason, soft.rolled_back, session.run("x").value) == ("timeout", False, 2)
        hard = session.run("x = 3\nspin()", timeout=0.02)
        assert (hard.reason, hard.rolled_back, session.run("x").value) == ("timeout", True, 2)


def test_a_session_goes_on_elsewhere_from_its_snapshot(host: Host, toy: Interpreter) -> None:
    with toy.session() as session:
        session.run("x = 20")
        saved = session.snapshot()
    with toy.restore(saved) as again:
        assert again.run("x + 1").value == 21
    with host.interpreter("fake", harden=False) as other, pytest.raises(SnapshotError, match="another template"):
        other.restore(saved)
    with pytest.raises(SnapshotError, match="damaged"):
        toy.restore(saved[:-3])
    with pytest.raises(SpecError, match="bytes"):
        toy.restore("x")  # type: ignore[arg-type]


def test_a_session_that_is_not_used_is_closed_after_its_time(toy: Interpreter) -> None:
    with toy.session(ttl=0.5) as session, toy.session(ttl="1h") as other:
        for _ in range(4):
            time.sleep(0.2)
            assert session.run("1").ok  # each use begins its time anew
        until(lambda: session.closed)
        assert "not used for 0.5 s" in session.info().closed
        assert not other.closed
    for wrong in (0, -1, float("inf"), "soon"):
        with pytest.raises(SpecError, match="ttl"):
            toy.session(ttl=wrong)


def test_runs_of_one_session_take_turns(host: Host) -> None:
    at_once: list[int] = []
    inside = 0

    def work() -> None:
        nonlocal inside
        inside += 1
        at_once.append(inside)
        time.sleep(0.002)
        inside -= 1

    with host.interpreter("fake", functions={"work": work}) as toy, toy.session() as session:
        threads = [threading.Thread(target=session.run, args=("work()",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert at_once == [1] * 8
        slow = threading.Thread(target=session.run, args=("work()\nwhile 1: pass",), kwargs={"timeout": 1})
        slow.start()
        until(lambda: inside)
        with pytest.raises(StateError, match=r"busy with other runs for 0\.01 s"):
            session.run("1", timeout=0.01)
        assert session.info().busy
        session.close()
        slow.join()
        assert toy.metrics().reasons["killed"] == 1


def test_a_function_that_its_own_session_calls_can_not_use_it(host: Host) -> None:
    errors: list[Exception] = []

    def again() -> None:
        try:
            session.run("1")
        except StateError as error:
            errors.append(error)
        session.close()

    with host.interpreter("fake", functions={"again": again}) as toy:
        session = toy.session()
        assert session.run("again()\nwhile 1: pass").reason == "killed"
        assert "still going on" in str(errors[0])
        assert session.closed


def test_a_function_can_not_close_the_interpreter_that_calls_it(host: Host) -> None:
    errors: list[Exception] = []

    def leave() -> None:
        try:
            made[0].close()
        except StateError as error:
            errors.append(error)

    made: list[Interpreter] = []
    with host.interpreter("fake", functions={"leave": leave}) as toy, toy.session() as session:
        made.append(toy)
        assert toy.run("leave()\n1").value == 1
        assert session.run("leave()\n2").value == 2
        assert [str(error) for error in errors] == [
            "a function that an interpreter called can't close it: its run is still going on"
        ] * 2


def test_a_session_that_waits_is_told_to_rest_once(
    toy: Interpreter, runtime: FakeLanguageRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloche.interpreters.resting.AFTER", 0.05)
    with toy.session() as session, toy.session() as unused:
        used, other = runtime.prepared[0].interpreters
        session.run("x = 1")
        until(lambda: used.rested == 1)
        time.sleep(0.2)
        assert (used.rested, other.rested) == (1, 0)
        assert session.run("x").value == 1
        until(lambda: used.rested == 2)
        items = iter(session.stream("yield 1\nyield 2"))
        assert next(items) == 1
        time.sleep(0.2)
        assert used.rested == 2, "a program stands at its yield"
        assert list(items) == [2]
        until(lambda: used.rested == 3)
        assert not unused.closed


def test_who_is_used_while_it_is_looked_for_rests_brings_no_second_timer(
    toy: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[float] = []

    class Watched(Rests):
        def _look(self) -> None:
            looked.append(time.monotonic())
            super()._look()
            self._awake = False
            self.wake()  # as a run would that ended right then

    monkeypatch.setattr("cloche.interpreters.resting.AFTER", 0.05)
    toy._prepared.rests = Watched(toy._prepared)
    with toy.session() as session:
        session.run("1")
        until(lambda: len(looked) >= 6)
        assert looked[5] - looked[0] > 4 * 0.05


def test_a_session_that_fails_while_it_rests_is_closed_and_says_so(
    toy: Interpreter, runtime: FakeLanguageRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("tired")

    monkeypatch.setattr("cloche.interpreters.resting.AFTER", 0.05)
    with toy.session() as session:
        monkeypatch.setattr(runtime.prepared[0].interpreters[0], "rest", fail)
        session.run("1")
        until(lambda: session.closed)
        with pytest.raises(StateError, match=r"it failed while it waited: ZeroDivisionError\('tired'\)"):
            session.run("1")


# -- streams ---------------------------------------------------------------------------------------------------------


def test_a_stream_gives_what_the_program_yields_and_nothing_runs_ahead(toy: Interpreter) -> None:
    seen: list[object] = []
    with toy.session() as session:
        stream = session.stream(
            "x = 1\nyield x\nprint('ahead')\nx = yield 2\nx", on_console=lambda line: seen.append(line.text)
        )
        items = iter(stream)
        assert next(items) == 1
        assert session.info().streaming
        assert seen == []
        assert next(items) == 2
        assert seen == ["ahead"]
        assert list(items) == []
        assert stream.result is not None
        assert stream.result.ok
        assert not session.info().streaming
        assert session.run("x").value is None


def test_values_can_be_sent_into_a_stream(toy: Interpreter) -> None:
    with toy.stream("x = yield 1\ny = yield x + 1\ny") as stream:
        assert stream.send(None) == 1
        assert stream.send(41) == 42
        with pytest.raises(StopIteration):
            stream.send("end")
        assert stream.result is not None
        assert stream.result.value == "end"


def test_a_stream_that_fails_says_so_at_its_end(toy: Interpreter) -> None:
    seen: list[object] = []
    with pytest.raises(GuestFailed, match="Oops: no"):  # noqa: PT012 - what came before it is looked at too
        for item in toy.stream("yield 1\nraise Oops('no')"):
            seen.append(item)  # noqa: PERF402 - a list would be gone with the error
    assert seen == [1]
    with pytest.raises(GuestFailed) as caught:
        list(toy.stream("yield 1\nwhile 1: pass", timeout=0.02))
    assert isinstance(caught.value.result, cloche.Ran)
    assert caught.value.result.reason == "timeout"
    assert toy.metrics().sessions == 0


def test_a_stream_is_left_by_closing_it_or_by_another_run(toy: Interpreter, runtime: FakeLanguageRuntime) -> None:
    for item in toy.stream("yield 1\nyield 2"):
        assert item == 1
        break
    gc.collect()
    until(lambda: not runtime.prepared[0].interpreters)
    with toy.session() as session:
        stream = session.stream("yield 1\nyield 2")
        items = iter(stream)
        assert next(items) == 1
        assert session.run("3").value == 3
        with pytest.raises(StateError, match="another run was begun"):
            stream.send(None)
        stream.close()
        assert not session.run("yield 1").ok


# -- the pool --------------------------------------------------------------------------------------------------------


def test_an_acquired_session_was_used_by_nobody(host: Host, runtime: FakeLanguageRuntime) -> None:
    with host.interpreter("fake", pool={"min": 2, "max": 3}) as toy:
        assert toy.pool.stats().idle == 2
        for tenant in range(6):
            with toy.acquire() as session:
                assert not session.run("canary").ok
                session.run(f"canary = {tenant}")
            assert toy.pool.stats().idle == 2
        stats = toy.pool.stats()
        assert (stats.hits, stats.misses, stats.in_use) == (6, 0, 0)
        sessions = [toy.acquire() for _ in range(3)]
        stats = toy.pool.stats()
        assert (stats.hits, stats.misses, stats.in_use, stats.idle) == (8, 1, 3, 0)
        for session in sessions:
            session.close()
        toy.pool.warm(5)
        assert toy.pool.stats().idle == 5
        assert toy.pool.settings.max == 3
    assert not runtime.prepared[0].interpreters


def test_who_waits_in_vain_for_a_session_hears_why(toy: Interpreter) -> None:
    first, second = toy.acquire(), toy.acquire()
    with pytest.raises(LimitExceeded, match=r"0\.01 s: all 2 of the pool are in use, and 0 more callers wait"):
        toy.acquire(timeout=0.01)
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(toy.acquire(timeout=5)))
    thread.start()
    until(lambda: toy.pool.stats().waiting == 1)
    first.close()
    thread.join()
    assert got[0].run("1").value == 1
    assert toy.pool.stats().timeouts == 1
    got[0].close()
    second.close()
    assert toy.pool.stats().in_use == 0


def test_more_than_always_wait_are_closed_when_nobody_wants_them(host: Host) -> None:
    with host.interpreter("fake", pool={"min": 1, "idle_timeout": 0.02}) as toy:
        toy.pool.warm(3)
        until(lambda: toy.pool.stats().expired == 2)
        assert toy.pool.stats().idle == 1


def test_a_closed_pool_lets_nobody_wait(toy: Interpreter) -> None:
    held = [toy.acquire(), toy.acquire()]
    errors: list[Exception] = []

    def wait() -> None:
        try:
            toy.acquire(timeout=5)
        except StateError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: toy.pool.stats().waiting == 1)
    toy.close()
    thread.join()
    assert "closed while waiting" in str(errors[0])
    assert all(session.closed for session in held)


# -- the asynchronous face -------------------------------------------------------------------------------------------


@pytest.fixture
def awaited(fakes: Callable[..., Fakes], runtime: FakeLanguageRuntime) -> Callable[..., None]:
    """Give a function that runs a coroutine function with an interpreter of a host of its own."""

    def run(body: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - those of interpreter, checked there
        async def main() -> None:
            async with (
                AsyncHost(config={}, plugins=[fakes(runtime)], entry_points=False) as host,
                await host.interpreter("fake", **options) as toy,
            ):
                await body(toy)
            assert not runtime.prepared[0].interpreters

        anyio.run(main)

    return run


def test_the_asynchronous_face_does_the_same(awaited: Callable[..., None]) -> None:
    async def body(toy: cloche.AsyncInterpreter) -> None:
        assert (await toy.run("1 + n", {"n": 2})).value == 3
        async with await toy.session() as session:
            await session.run("x = 1")
            assert (await session.run("x")).value == 1
            saved = await session.snapshot()
            assert [item async for item in await session.stream("yield x\nyield 2")] == [1, 2]
        async with await toy.restore(saved) as again:
            assert (await again.run("x")).value == 1
        async with await toy.acquire() as one:
            assert (await one.run("1")).ok
            with pytest.raises(LimitExceeded):
                await toy.acquire(timeout=0.01)
        await toy.pool.warm(1)
        assert toy.pool.stats().idle == 1
        with pytest.raises(GuestFailed):
            [item async for item in await toy.stream("yield 1\nx")]

    awaited(body, pool={"max": 1})


def test_the_loop_goes_on_while_code_runs(awaited: Callable[..., None]) -> None:
    async def body(toy: cloche.AsyncInterpreter) -> None:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await anyio.sleep(0.005)

        async with anyio.create_task_group() as group:
            group.start_soon(turn)
            assert (await toy.run("while 1: pass", timeout=0.3)).reason == "timeout"
            group.cancel_scope.cancel()
        assert turns > 2

    awaited(body)


def test_a_cancelled_caller_ends_what_runs(awaited: Callable[..., None]) -> None:
    async def body(toy: cloche.AsyncInterpreter) -> None:
        async with await toy.session() as session:
            await session.run("x = 1")
            for run in (toy.run, session.run):
                with anyio.move_on_after(0.02) as scope:
                    await run("while 1: pass", timeout=60)
                assert scope.cancelled_caught
            stream = await session.stream("yield 1\nwhile 1: pass", timeout=60)
            assert await anext(aiter(stream)) == 1
            with anyio.move_on_after(0.02):
                await anext(aiter(stream))
            assert (await session.run("x")).value == 1
        assert toy.metrics().reasons["killed"] >= 2

    awaited(body)


def test_many_endless_runs_do_not_keep_a_host_from_closing(awaited: Callable[..., None]) -> None:
    async def body(toy: cloche.AsyncInterpreter) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(80):  # more than there are threads
                group.start_soon(lambda: toy.run("hold()", timeout=60))
            await enough.wait()
            group.start_soon(toy.close)
            group.cancel_scope.deadline = anyio.current_time() + 20
        assert not group.cancel_scope.cancelled_caught

    held: list[int] = []
    enough = anyio.Event()

    async def hold() -> None:
        held.append(1)
        if len(held) == 64:
            enough.set()
        await anyio.sleep(60)

    with pytest.raises(BaseExceptionGroup) as caught:
        awaited(body, functions={"hold": hold})
    assert caught.group_contains(StateError)


def test_a_cancelled_waiter_leaves_its_place_to_others(awaited: Callable[..., None]) -> None:
    async def body(toy: cloche.AsyncInterpreter) -> None:
        held = await toy.acquire()
        with anyio.move_on_after(0.01):
            await toy.acquire()
        assert toy.pool.stats().waiting == 0
        await held.close()
        async with await toy.acquire(timeout=1) as again:
            assert (await again.run("1")).ok
        assert toy.pool.stats().in_use == 0

    awaited(body, pool={"max": 1})


def test_an_asynchronous_function_runs_on_the_callers_loop(awaited: Callable[..., None]) -> None:
    loops: list[object] = []

    async def where() -> int:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        return 1

    async def body(toy: cloche.AsyncInterpreter) -> None:
        assert (await toy.run("where()")).value == 1
        assert loops == [asyncio.get_running_loop()]

    awaited(body, functions={"where": where})


# -- in a sandbox ----------------------------------------------------------------------------------------------------


def test_a_session_of_a_sandbox_ends_with_it(host: Host, runtime: FakeLanguageRuntime) -> None:
    with host.create() as box:
        session = box.session("fake", functions={"f": lambda: 5})
        other = box.session("fake")
        assert session.run("x = f()\nx").value == 5
        assert runtime.prepared[0].spec.limits == box.spec.limits
        box.pause()
        with pytest.raises(StateError, match="paused"):
            session.run("x")
        box.resume()
        assert session.run("x").value == 5
        other.close()
        assert runtime.prepared[1].closed
        box.kill()
        assert session.closed
        with pytest.raises(StateError):
            box.session("fake")
    assert all(language.closed and not language.interpreters for language in runtime.prepared)


def test_a_sandbox_whose_runtime_runs_no_such_language_says_so(box: Sandbox) -> None:
    with pytest.raises(Unsupported, match="run no code of 'javascript'"):
        box.session("js")


def test_a_runtime_without_languages_has_no_sessions(fakes: Callable[..., Fakes]) -> None:
    with (
        Host(config={}, plugins=[fakes(FakeRuntime())], entry_points=False) as host,
        host.create() as box,
        pytest.raises(Unsupported),
    ):
        box.session("fake")


def test_a_session_of_a_sandbox_goes_on_where_another_was_saved(host: Host) -> None:
    with host.create() as box, host.create() as other:
        session = box.session("fake")
        session.run("x = 7")
        saved = session.snapshot()
        with other.session("fake", restore=saved) as again:
            assert again.run("x").value == 7
        with pytest.raises(SnapshotError):
            other.session("fake", restore=saved[:-3])
        with pytest.raises(SpecError, match="bytes that snapshot"):
            other.session("fake", restore="x")  # type: ignore[arg-type]


def test_a_function_can_not_end_the_sandbox_or_the_host_that_waits_for_it(host: Host) -> None:
    said: list[str] = []

    def leave() -> None:
        for end in (box.kill, box.delete, box.checkpoint, lambda: host.__exit__(None, None, None)):
            with pytest.raises(StateError) as refused:
                end()
            said.append(str(refused.value))

    with host.create() as box:
        assert box.session("fake", functions={"leave": leave}).run("leave()\n1").value == 1
        assert [" ".join(text.split()[6:9]) for text in said] == ["end its sandbox:"] * 3 + ["close its host:"]
        assert box.session("fake").run("2").value == 2


# -- without a host of one's own -------------------------------------------------------------------------------------


class JavaScriptRuntime(FakeLanguageRuntime):
    languages = frozenset({"javascript", "typescript", "python"})


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, fakes: Callable[..., Fakes]) -> Iterator[JavaScriptRuntime]:
    """Give the runtime of the process's own host."""
    runtime = JavaScriptRuntime()
    make = Host

    def host(**_: object) -> Host:
        return make(config={}, plugins=[fakes(runtime)], entry_points=False, registry=False)

    monkeypatch.setattr("cloche.blocking.Host", host)
    monkeypatch.setattr(once, "_shared", once.Shared())
    yield runtime
    once.close()
    assert all(language.closed for language in runtime.prepared)


def test_code_runs_without_a_host_and_interpreters_are_kept(process: JavaScriptRuntime) -> None:
    assert cloche.run_js("1 + n", {"n": 2}).value == 3
    assert cloche.run_js("2", timeout=1).value == 2
    assert len(process.prepared) == 1
    assert cloche.run_js("grow(8000000)", memory="4M").reason == "limit:memory"
    assert cloche.run_js("f()", functions={"f": lambda: 7}).value == 7
    assert cloche.run_ts("1").value == 1
    assert cloche.run_python("print(1)").console[0].text == "1"
    assert [language.spec.language for language in process.prepared] == ["javascript"] * 3 + ["typescript", "python"]
    with pytest.raises(TypeError, match="tmeout"):
        cloche.run_js("1", tmeout=1)  # type: ignore[call-arg]


def test_only_so_many_are_kept(process: JavaScriptRuntime) -> None:
    for number in range(once.KEPT + 4):
        assert cloche.run_js("1", memory=(4 << 20) + number).ok
    assert sum(not language.closed for language in process.prepared) == once.KEPT


def _in_child(answer: Any) -> None:  # noqa: ANN401 - an end of a pipe
    answer.send(cloche.run_js("6 * 7").value)
    once.close()


def test_a_forked_process_has_a_host_of_its_own(process: JavaScriptRuntime) -> None:
    assert cloche.run_js("1").ok
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(theirs,))
    child.start()
    assert ours.poll(10)
    assert ours.recv() == 42
    child.join(10)
    assert child.exitcode == 0
    assert cloche.run_js("2").value == 2
    assert len(process.prepared) == 1
