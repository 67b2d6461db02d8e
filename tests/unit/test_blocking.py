"""The blocking face says and does the same as the asynchronous one."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from cloche import (
    AsyncEvents,
    AsyncFiles,
    AsyncHost,
    AsyncInterpreter,
    AsyncJob,
    AsyncSandbox,
    AsyncSession,
    AsyncSessionPool,
    AsyncWatching,
    AsyncYields,
    Events,
    Files,
    Host,
    Interpreter,
    Job,
    Sandbox,
    Session,
    SessionPool,
    StateError,
    Watching,
    Yields,
)
from cloche.blocking_events import Judged, Shown
from cloche.blocking_interpreters import Boxed, Interpreters
from cloche.blocking_pool import Pool
from cloche.blocking_secure import Secured
from cloche.blocking_shared import Shared
from cloche.blocking_snapshots import Snapshots
from cloche.bridge import Bridge
from cloche.interpreters.boxed import AsyncBoxed
from cloche.interpreters.hosting import AsyncInterpreters
from cloche.monitoring.judged import AsyncJudged
from cloche.monitoring.shown import AsyncShown
from cloche.pool.pool import AsyncPool
from cloche.registry.shared import AsyncShared
from cloche.secured import AsyncSecured
from cloche.snapshots.saving import AsyncSnapshots

PAIRS = [
    (Host, AsyncHost),
    (Shared, AsyncShared),
    (Secured, AsyncSecured),
    (Snapshots, AsyncSnapshots),
    (Sandbox, AsyncSandbox),
    (Job, AsyncJob),
    (Files, AsyncFiles),
    (Watching, AsyncWatching),
    (Shown, AsyncShown),
    (Judged, AsyncJudged),
    (Events, AsyncEvents),
    (Pool, AsyncPool),
    (Interpreters, AsyncInterpreters),
    (Boxed, AsyncBoxed),
    (Interpreter, AsyncInterpreter),
    (Session, AsyncSession),
    (SessionPool, AsyncSessionPool),
    (Yields, AsyncYields),
]
# Called by other classes of cloche, not by users, in the asynchronous classes only.
INTERNAL = {
    AsyncHost: set[str](),
    AsyncPool: {"close", "holds", "in_front", "mode", "open", "take", "wanted"},
    AsyncShared: {"asked"},
    AsyncSecured: set[str](),
    AsyncSnapshots: set[str](),
    AsyncSandbox: set[str](),
    AsyncFiles: set[str](),
    AsyncWatching: set[str](),
    AsyncShown: {"join", "step"},
    AsyncJudged: {"verdict"},
    AsyncEvents: {"begun", "drained", "next_batch", "ready", "take"},
    AsyncInterpreters: {"check_outside", "close_interpreters", "interpret_in"},
    AsyncBoxed: {"check_outside", "id", "spec", "runtime", "state"},
    AsyncInterpreter: {"session_in"},
    AsyncSession: set[str](),
    AsyncSessionPool: set[str](),
    AsyncYields: set[str](),
    AsyncJob: {"closed", "fail", "feed", "pump", "settle"},
}
pytestmark = pytest.mark.usefixtures("no_own_leaks")


def public(cls: type) -> dict[str, Any]:
    return {name: member for name, member in vars(cls).items() if not name.startswith("_")}


@pytest.mark.parametrize(("blocking", "asynchronous"), PAIRS)
def test_each_public_method_and_property_has_a_twin(blocking: type, asynchronous: type) -> None:
    theirs = set(public(asynchronous)) - INTERNAL[asynchronous]
    ours = set(public(blocking))
    attributes = set(inspect.get_annotations(asynchronous))
    # A property of one may be an attribute of the other, which is set in __init__.
    assert {n for n in ours - theirs if callable(public(blocking)[n])} == set()
    assert theirs - ours - attributes == set()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (getattr(blocking, name), getattr(asynchronous, name))
        for blocking, asynchronous in PAIRS
        for name, member in public(blocking).items()
        if callable(member)
    ],
    ids=lambda f: f.__qualname__,
)
def test_twins_take_the_same_and_say_the_same(ours: Callable[..., Any], theirs: Callable[..., Any]) -> None:
    mine, other = inspect.signature(ours), inspect.signature(theirs)
    assert list(mine.parameters.values()) == list(other.parameters.values())
    assert inspect.getdoc(ours)
    assert inspect.getdoc(ours) == inspect.getdoc(theirs)
    expected = str(other.return_annotation).replace("Async", "").replace("Iterator", "Generator")
    assert str(mine.return_annotation).replace(", None, None]", "]") == expected


def test_both_hosts_are_made_alike() -> None:
    assert inspect.signature(Host.__init__) == inspect.signature(AsyncHost.__init__)
    assert inspect.getdoc(Host.__init__) == inspect.getdoc(AsyncHost.__init__)


def test_a_sandbox_and_a_job_show_the_same_attributes(box: Sandbox) -> None:
    for name in ("id", "name", "spec", "enforcement", "runtime", "state", "reason", "deleted"):
        assert getattr(box, name) == getattr(box._inner, name)
    job = box.spawn("true")
    job.wait(5)
    for name in ("id", "pid", "args", "running", "result"):
        assert getattr(job, name) == getattr(job._inner, name)


# -- the bridge between them -----------------------------------------------------------------------------------------


@asynccontextmanager
async def context(log: list[str], *, fail: str = "") -> AsyncIterator[None]:
    if fail == "enter":
        raise ZeroDivisionError(fail)
    log.append("entered")
    yield
    log.append("left")
    if fail == "exit":
        raise ZeroDivisionError(fail)


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    bridge = Bridge(context([]))
    bridge.open()
    yield bridge
    bridge.close()


def test_a_bridge_enters_and_leaves_its_context_once() -> None:
    log: list[str] = []
    bridge = Bridge(context(log))
    with pytest.raises(StateError, match="not open"):
        bridge.call(log.copy)
    bridge.open()
    assert bridge.call(log.copy) == ["entered"]
    with pytest.raises(StateError, match="entered already"):
        bridge.open()
    bridge.close()
    bridge.close()
    assert log == ["entered", "left"]
    with pytest.raises(StateError, match="not open"):
        bridge.call(log.copy)


@pytest.mark.parametrize("step", ["enter", "exit"])
def test_what_entering_and_leaving_raise_comes_out(step: str) -> None:
    bridge = Bridge(context([], fail=step))
    with pytest.raises(ZeroDivisionError, match=step):  # noqa: PT012 - one of the two
        bridge.open()
        bridge.close()
    bridge.close()


def test_calls_give_what_they_give_and_raise_what_they_raise(bridge: Bridge) -> None:
    async def double(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return 2 * number

    async def fail(error: BaseException) -> None:
        raise error

    assert bridge.call(double, 4) == 8
    assert bridge.call(len, "abc") == 3
    for error in (ValueError("x"), StopAsyncIteration(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()):
        with pytest.raises(type(error)):
            bridge.call(fail, error)
    assert bridge.call(double, 1) == 2


def test_a_call_from_the_loop_itself_is_refused_instead_of_hanging(bridge: Bridge) -> None:
    with pytest.raises(StateError, match="callback"):
        bridge.call(lambda: bridge.call(len, "x"))


def test_a_call_that_is_interrupted_is_cancelled(bridge: Bridge) -> None:
    began, cancelled = threading.Event(), threading.Event()

    async def wait() -> None:
        began.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    def interrupt(thread: int) -> None:
        began.wait(5)
        signal.pthread_kill(thread, signal.SIGINT)

    keyboard = threading.Thread(target=interrupt, args=(threading.get_ident(),))
    keyboard.start()
    with pytest.raises(KeyboardInterrupt):
        bridge.call(wait)
    keyboard.join()
    assert cancelled.wait(5)
    assert bridge.call(len, "still") == 5


def test_a_call_that_outlives_the_bridge_ends_with_an_error() -> None:
    bridge = Bridge(context([]))
    bridge.open()
    began = threading.Event()
    errors: list[StateError] = []

    async def wait() -> None:
        began.set()
        await anyio.sleep_forever()

    def caller() -> None:
        try:
            bridge.call(wait)
        except StateError as error:
            errors.append(error)

    thread = threading.Thread(target=caller)
    thread.start()
    assert began.wait(5)
    bridge.close()
    thread.join(5)
    assert "closed before" in str(errors[0])


def test_a_call_that_comes_while_the_loop_ends_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ending, begun = threading.Event(), threading.Event()
    errors: list[StateError] = []

    @asynccontextmanager
    async def slow_to_end() -> AsyncIterator[None]:
        yield
        ending.set()
        asyncio.get_running_loop().run_in_executor(None, begun.wait, 5)  # the loop waits for it after all else

    async def wait() -> None:
        begun.set()
        await anyio.sleep_forever()

    def late_ident() -> int:  # what a call asks for once it knows the loop
        ending.wait(5)
        time.sleep(0.1)
        return 0

    def caller() -> None:
        try:
            ends.call(wait)
        except StateError as error:
            errors.append(error)

    ends = Bridge(slow_to_end())
    ends.open()
    monkeypatch.setattr("cloche.bridge.threading", SimpleNamespace(get_ident=late_ident, Lock=threading.Lock))
    thread = threading.Thread(target=caller, daemon=True)
    thread.start()
    time.sleep(0.1)
    ends.close()
    thread.join(5)
    assert [str(error) for error in errors] == ["the host was closed before this call was done"]
