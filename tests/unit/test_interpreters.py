"""Interpreters of a host: what a run gives, how it is bounded, what is told of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from cloche import (
    Bounds,
    ConsoleLine,
    Guarantee,
    GuestFailed,
    Host,
    HostError,
    Interpreter,
    InterpreterSpec,
    Language,
    Limits,
    Modules,
    Notice,
    Ran,
    RuntimeUnavailable,
    SpecError,
    StateError,
    Unenforceable,
)
from cloche.interpreters.keyboard import Keyboard
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
    with host.interpreter("fake", limits={"memory": "8M", "output": 1000}) as toy:
        yield toy
    assert not runtime.prepared[0].interpreters


def test_a_run_gives_the_last_value_and_what_was_printed(toy: Interpreter) -> None:
    ran = toy.run("x = 1\nprint(x, 'a')\nwarn('b')\nx + n", {"n": 41})
    assert ran.ok
    assert ran.check().value == 42
    assert ran.console == (ConsoleLine("log", "1 a"), ConsoleLine("warn", "b"))
    assert ran.usage.wall > 0
    assert ran.usage.memory > 0


def test_each_run_is_fresh(toy: Interpreter) -> None:
    assert toy.run("x = 1").ok
    ran = toy.run("x")
    assert ran.reason == "error"
    assert ran.error is not None
    assert ran.error.name == "ReferenceError"
    with pytest.raises(GuestFailed, match="x is not defined"):
        ran.check()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("while 1: pass", "timeout"),
        ("spin()", "timeout"),
        ("grow(16000000)", "limit:memory"),
        ("recurse()", "limit:stack"),
        ("print('x' * 2000)", "limit:output"),
        ("'x' * 200", "limit:size"),
        ("1" * 60, "limit:size"),
        ("f()\n" * 4, "limit:host_calls"),
        ("crash()", "crashed"),
    ],
)
def test_each_end_has_a_reason(host: Host, code: str, reason: str) -> None:
    bounds = Bounds(host_calls=3, source=50, value=100)
    with host.interpreter("fake", limits={"memory": "8M", "output": 1000}, bounds=bounds, functions={"f": int}) as toy:
        assert toy.run(code, timeout=0.05).reason == reason


def test_a_timeout_is_at_most_the_wall_of_the_limits(host: Host) -> None:
    with host.interpreter("fake", limits=Limits(wall=0.05)) as toy:
        began = time.monotonic()
        assert toy.run("while 1: pass", timeout=60).reason == "timeout"
        assert time.monotonic() - began < 5


def test_lines_are_seen_as_they_are_printed(toy: Interpreter) -> None:
    seen: list[ConsoleLine] = []
    assert toy.run("print(1)", on_console=seen.append).console == ()
    assert seen == [ConsoleLine("log", "1")]


def test_a_reader_of_lines_that_raises_hurts_no_run(toy: Interpreter) -> None:
    def reader(_line: ConsoleLine) -> None:
        raise ZeroDivisionError("mine")

    assert toy.run("print(1)\n2", on_console=reader).value == 2
    ((name, error),) = toy.failures
    assert name == "on_console"
    assert isinstance(error, ZeroDivisionError)


def test_an_inherited_console_prints_what_can_hurt_no_terminal(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    with host.interpreter("fake", console="inherit") as toy:
        toy.run("print('\\x1b[2J' + 'a')\nwarn('b')")
    assert capsys.readouterr() == ("\\x1b[2Ja\n", "b\n")
    with host.interpreter("fake", console="off") as toy:
        assert toy.run("print(1)").console == ()


# -- functions of the host -------------------------------------------------------------------------------------------


def test_functions_of_the_host_get_copies_and_give_copies(host: Host) -> None:
    given: list[list[int]] = []

    def keep(values: list[int]) -> list[int]:
        given.append(values)
        return values

    async def slow(value: int) -> int:
        await asyncio.sleep(0.001)
        assert threading.current_thread().name == "cloche-host"
        return value + 1

    with host.interpreter("fake", functions={"keep": keep, "slow": slow}) as toy:
        ran = toy.run("a = [1]\nb = keep(a)\nslow(41)")
        assert ran.value == 42
        assert ran.usage.host_calls == 2
        assert given == [[1]]


def test_a_guest_sees_only_errors_meant_for_it(host: Host) -> None:
    def secret() -> None:
        raise RuntimeError("password=hunter2")

    async def later() -> None:
        raise KeyError("password=hunter2")

    def told() -> None:
        raise HostError("no such user")

    def opaque() -> object:
        return object()

    def forgot() -> object:
        return later()

    functions: dict[str, Callable[..., object]] = {
        "secret": secret, "later": later, "told": told, "opaque": opaque, "forgot": forgot,
    }  # fmt: skip
    with host.interpreter("fake", functions=functions) as toy:
        texts = {name: _error(toy.run(f"{name}()")) for name in (*functions, "nothing")}
        assert texts == {
            "secret": "secret failed",
            "later": "later failed",
            "told": "no such user",
            "opaque": "opaque gave what can't be handed over",
            "forgot": "forgot failed",
            "nothing": "nothing is not defined",
        }
        assert [(name, type(error)) for name, error in toy.failures] == [
            ("secret", RuntimeError), ("later", KeyError), ("forgot", TypeError),
        ]  # fmt: skip


def _error(ran: Ran) -> str:
    assert ran.error is not None
    return str(ran.error.message)


def test_what_is_meant_for_the_host_passes_the_guest_and_ends_it(host: Host) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with host.interpreter("fake", functions={"leave": leave}) as toy:
        with pytest.raises(SystemExit):
            toy.run("leave()\nwhile 1: pass", timeout=30)
        assert toy.run("1").value == 1
        assert toy.metrics().reasons == {"killed": 1, "completed": 1}


def test_an_asynchronous_function_that_hangs_is_cancelled_with_its_run(host: Host) -> None:
    ended = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    with host.interpreter("fake", functions={"hang": hang}) as toy:
        assert toy.run("hang()", timeout=0.05).reason == "timeout"
        assert ended.wait(5)


def test_a_callback_that_raises_in_one_thread_never_reaches_another(host: Host) -> None:
    def maybe(fail: bool) -> int:  # noqa: FBT001 - called by a guest
        if fail:
            raise ValueError("x")
        return 1

    with host.interpreter("fake", functions={"maybe": maybe}) as toy:
        wrong: list[object] = []

        def work(fail: bool) -> None:  # noqa: FBT001 - for a thread
            for _ in range(200):
                ran = toy.run(f"maybe({fail})")
                if ran.ok is fail:
                    wrong.append(ran)

        threads = [threading.Thread(target=work, args=(bool(number % 2),)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


# -- what is told ----------------------------------------------------------------------------------------------------


def test_figures_tell_how_runs_ended(toy: Interpreter) -> None:
    assert toy.metrics().runs == 0
    for code in ("1", "x", "grow(1000000)", "refused('fs')"):
        toy.run(code)
    with toy.session() as session:
        session.run("1")
        figures = toy.metrics()
    assert (figures.runs, figures.errors, figures.sessions, figures.violations) == (5, 2, 1, 1)
    assert figures.reasons == {"completed": 3, "error": 2}
    assert figures.peak_memory > 1_000_000
    assert 0 < figures.p50 <= figures.p95
    assert [record.reason for record in figures.recent] == ["completed", "error", "completed", "error", "completed"]
    assert json.loads(json.dumps(figures.as_json()))["runs"] == 5


def test_the_host_and_the_interpreter_tell_of_runs(host: Host, toy: Interpreter) -> None:
    everything: list[Notice] = []
    refusals: list[Notice] = []
    host.on("executed", "timeout", "security", callback=everything.append)
    stop = toy.on("security", callback=refusals.append)
    toy.run("1")
    toy.run("while 1: pass", timeout=0.02)
    toy.run("refused('fs')")
    host.sandboxes()  # the loop takes things in turn: by now it has told all
    assert [notice.type for notice in everything] == ["executed", "executed", "timeout", "executed", "security"]
    assert {notice.sandbox for notice in everything} == {toy.id}
    assert everything[1].details == {"reason": "timeout", "language": "fake"}
    assert refusals[0].details["target"] == "fs"
    stop()
    toy.run("refused('fs')")
    host.sandboxes()
    assert len(refusals) == 1
    with pytest.raises(SpecError, match="executed"):
        toy.on("created", callback=refusals.append)


# -- which runtime ---------------------------------------------------------------------------------------------------


class Strong(FakeLanguageRuntime):
    name = "strong"
    strength = 30


class Refusing(FakeLanguageRuntime):
    name = "refusing"
    strength = 40

    def language(self, spec: InterpreterSpec) -> Language:
        del spec
        raise ZeroDivisionError("mine")


def test_the_strongest_that_keeps_all_that_is_asked_runs_it(fakes: Callable[..., Fakes]) -> None:
    weak, strong, none = FakeLanguageRuntime(), Strong(unkept={"memory": "it can't count"}), FakeRuntimeNamed()
    with Host(config={}, plugins=[fakes(weak, strong, Refusing(), none)], entry_points=False) as host:
        assert host.interpreter("fake").runtime == "fake"
        assert strong.prepared[0].closed
        loose = host.interpreter("fake", runtime="strong", strict=False)
        assert str(loose.enforcement["memory"]) == "it can't count"
        with pytest.raises(Unenforceable, match="memory: it can't count") as caught:
            host.interpreter("fake", runtime="strong")
        assert set(caught.value.reasons) == {"strong"}
        with pytest.raises(Unenforceable, match="refusing' failed: ZeroDivisionError"):
            host.interpreter("fake", runtime="refusing")
        with pytest.raises(SpecError, match="does not run fake"):
            host.interpreter("fake", runtime="named")
        with pytest.raises(SpecError, match="they run: fake"):
            host.interpreter("cobol")
        with pytest.raises(SpecError, match="unknown"):
            host.interpreter("fake", runtime="other")
    assert all(language.closed for one in (weak, strong) for language in one.prepared)


class FakeRuntimeNamed(FakeRuntime):
    name = "named"


def test_a_runtime_that_does_not_work_here_says_why(fakes: Callable[..., Fakes]) -> None:
    with Host(config={}, plugins=[fakes(FakeLanguageRuntime(broken="no library"))], entry_points=False) as host:
        with pytest.raises(Unenforceable, match="fake: no library"):
            host.interpreter("fake")
        with pytest.raises(RuntimeUnavailable, match="no library"):
            host.interpreter("fake", runtime="fake")


def test_a_guarantee_asked_for_must_be_kept(fakes: Callable[..., Fakes]) -> None:
    runtime = FakeLanguageRuntime(unkept={"kernel": "none of its own"})
    with Host(config={}, plugins=[fakes(runtime)], entry_points=False) as host:
        assert host.interpreter("fake").spec.guarantees == {Guarantee.PROCESS}
        with pytest.raises(Unenforceable, match="kernel: none of its own"):
            host.interpreter("fake", require=["kernel"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"language": 3}, "language: a name"),
        ({"console": "loud"}, "console: 'loud' is unknown"),
        ({"clock": "slow"}, "clock: 'slow' is unknown"),
        ({"harden": 1}, "harden is True or False"),
        ({"bounds": {"stak": 1}}, "unknown key 'stak'"),
        ({"bounds": Bounds}, "a cloche.Bounds is needed"),
        ({"bounds": {"stack": 0}}, "stack is a positive number"),
        ({"functions": {"a-b": int}}, "'a-b' is not a name"),
        ({"functions": {"f": 1}}, "which is no function"),
        ({"functions": [int]}, "a mapping of names"),
        ({"limits": {"memry": 1}}, "'memry' is unknown"),
        ({"modules": {"allow": "lodash"}}, "a sequence is needed"),
        ({"modules": Modules(sources={"a": 1})}, "names and sources are text"),  # type: ignore[dict-item]
        ({"modules": Modules(preload=("a",))}, "a may not be imported"),
        ({"pool": {"min": 3, "max": 2}}, "more than max"),
        ({"pool": {"size": 3}}, "unknown key 'size'"),
    ],
)
def test_what_makes_no_sense_is_refused(host: Host, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        host.interpreter(**{"language": "fake", **asked})


def test_what_can_not_be_run_is_refused(toy: Interpreter) -> None:
    for call, said in (
        (lambda: toy.run(b"1"), "code: text is needed"),  # type: ignore[arg-type]
        (lambda: toy.run("1", timeout=0), "timeout"),
        (lambda: toy.run("1", on_console=3), "a function is needed"),  # type: ignore[arg-type]
        (lambda: toy.run("1", {"a": object()}), "can't be handed over"),
    ):
        with pytest.raises(SpecError, match=said):
            call()  # type: ignore[no-untyped-call]
    assert toy.metrics().runs == 0


def test_a_closed_one_runs_nothing_and_a_closed_host_closes_it(host: Host) -> None:
    toy = host.interpreter("fake")
    toy.close()
    toy.close()
    for call in (lambda: toy.run("1"), toy.session, toy.acquire, lambda: toy.restore(b"")):
        with pytest.raises(StateError, match="closed"):
            call()


@pytest.mark.parametrize("how", ["fresh", "session", "stream"])
def test_ctrl_c_ends_what_runs_in_the_main_thread(host: Host, how: str) -> None:
    def press() -> None:
        time.sleep(0.1)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with host.interpreter("fake") as toy, toy.session() as session:
        session.run("x = 1")
        keyboard = threading.Thread(target=press)
        keyboard.start()
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - one of three
            if how == "fresh":
                toy.run("while 1: pass", timeout=60)
            elif how == "session":
                session.run("while 1: pass", timeout=60)
            else:
                list(session.stream("yield 1\nwhile 1: pass", timeout=60))
        keyboard.join()
        assert session.run("x").value == 1
        assert signal.set_wakeup_fd(-1) == -1


def test_ctrl_c_reaches_code_that_python_can_not_look_into() -> None:
    came: list[float] = []

    def press() -> None:
        time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    keyboard = Keyboard()
    assert keyboard.begin(lambda: came.append(time.monotonic()))
    other = Keyboard()
    assert not other.begin(None)  # only one at a time takes signals
    other.close()
    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        hashlib.pbkdf2_hmac("sha256", b"", b"", 1_500_000)  # one call of C, which looks at no signal
    ended = time.monotonic()
    keyboard.end()
    keyboard.close()
    thread.join()
    assert came[0] < ended - 0.1


def test_closing_ends_runs_that_go_on_in_other_threads(fakes: Callable[..., Fakes]) -> None:
    runtime = FakeLanguageRuntime()
    reasons: list[str] = []
    began = threading.Barrier(3)
    with Host(config={}, plugins=[fakes(runtime)], entry_points=False) as host:
        toy = host.interpreter("fake", functions={"began": lambda: began.wait(5) and None})
        session = toy.session()

        def work(run: Callable[..., Any]) -> None:
            reasons.append(run("began()\nwhile 1: pass", timeout=60).reason)

        threads = [threading.Thread(target=work, args=(run,)) for run in (toy.run, session.run)]
        for thread in threads:
            thread.start()
        began.wait(5)
    for thread in threads:
        thread.join(5)
    assert reasons == ["killed", "killed"]
    assert runtime.prepared[0].closed
    assert not runtime.prepared[0].interpreters
