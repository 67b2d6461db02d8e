"""The life of sandboxes as a state machine: whatever is done to them, in any order, a small model says what follows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from cloche import (
    AsyncHost,
    AsyncJob,
    AsyncSandbox,
    Guarantee,
    IsolationLevel,
    Limits,
    Notice,
    State,
    StateError,
    hookimpl,
)
from cloche.testing import FakeRuntime
from tests.unit.faked import Fakes

if TYPE_CHECKING:
    from collections.abc import Callable

LEVEL = IsolationLevel(
    name="enhanced",
    summary="for tests",
    guarantees=frozenset({Guarantee.PROCESS}),
    limits=Limits(memory="64M", cpu=1, pids=16, open_files=64, file_size="1M", disk="1M", output="1M", wall=60),
    syscalls="enhanced",
)


class Observing(Fakes):
    def __init__(self, runtime: FakeRuntime) -> None:
        super().__init__(runtime, level=LEVEL)
        self.observed: list[tuple[str, str]] = []

    @hookimpl
    def cloche_sandbox_created(self, notice: Notice) -> None:
        self.observed.append(("created", notice.sandbox))

    @hookimpl
    def cloche_sandbox_deleted(self, notice: Notice) -> None:
        self.observed.append(("deleted", notice.sandbox))


class Lifecycle(RuleBasedStateMachine):
    boxes = Bundle("boxes")
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.runtime = FakeRuntime()
        self.plugin = Observing(self.runtime)
        self.model: dict[str, State] = {}  # of boxes that are not deleted
        self.events: list[tuple[str, str]] = []
        self.expected: list[tuple[str, str]] = []
        self.expected_observed: list[tuple[str, str]] = []
        self._portal = start_blocking_portal()
        self.portal = self._portal.__enter__()
        self.host = AsyncHost(config={}, plugins=[self.plugin], entry_points=False)
        self._open = self.portal.wrap_async_context_manager(self.host)
        self._open.__enter__()
        self.host.on(callback=lambda notice: self.events.append((notice.type.value, notice.sandbox)))

    def teardown(self) -> None:
        self._open.__exit__(None, None, None)
        self._portal.__exit__(None, None, None)
        assert self.runtime.instances == []
        assert self.runtime.closed

    def do(self, verb: Callable[..., Any], box: AsyncSandbox, *states: State) -> bool:
        """Call ``verb``; it works in ``states`` and raises StateError in others. Gives whether it worked."""
        state = self.model.get(box.id, State.STOPPED)
        if state in states:
            self.portal.call(verb)
            return True
        with pytest.raises(StateError, match=f"it is {state}"):
            self.portal.call(verb)
        return False

    def move(self, box: AsyncSandbox, state: State, event: str) -> None:
        self.model[box.id] = state
        self.expected.append((event, box.id))

    # -- what can be done -------------------------------------------------------------------------------------------

    @rule(target=boxes, start=st.booleans())
    def create(self, start: bool) -> AsyncSandbox:  # noqa: FBT001 - hypothesis names it
        box: AsyncSandbox = self.portal.call(partial(self.host.create, start=start))
        self.move(box, State.CREATED, "created")
        if start:
            self.move(box, State.RUNNING, "started")
            self.expected_observed.append(("created", box.id))
        return box

    @rule(box=boxes)
    def start(self, box: AsyncSandbox) -> None:
        if self.do(box.start, box, State.CREATED):
            self.move(box, State.RUNNING, "started")
            self.expected_observed.append(("created", box.id))

    @rule(box=boxes)
    def pause(self, box: AsyncSandbox) -> None:
        if self.do(box.pause, box, State.RUNNING):
            self.move(box, State.PAUSED, "paused")

    @rule(box=boxes)
    def resume(self, box: AsyncSandbox) -> None:
        if self.do(box.resume, box, State.PAUSED):
            self.move(box, State.RUNNING, "resumed")

    @rule(box=boxes, code=st.integers(0, 255))
    def run(self, box: AsyncSandbox, code: int) -> None:
        async def run() -> None:
            result = await box.exec("exit", str(code))
            assert (result.exit_code, result.reason) == (code, "exited")

        self.do(run, box, State.RUNNING)

    @rule(target=jobs, box=boxes, linger=st.booleans())
    def spawn(self, box: AsyncSandbox, linger: bool) -> tuple[AsyncSandbox, list[AsyncJob]]:  # noqa: FBT001
        started: list[AsyncJob] = []

        async def spawn() -> None:
            started.append(await box.spawn("sleep", "60", linger=linger))

        self.do(spawn, box, State.RUNNING)
        return box, started

    @rule(job=consumes(jobs))
    def kill_a_job(self, job: tuple[AsyncSandbox, list[AsyncJob]]) -> None:
        box, started = job
        for one in started:
            alive = self.model.get(box.id) in {State.RUNNING, State.PAUSED}
            self.portal.call(one.kill)
            result = self.portal.call(one.wait, 5)
            assert result.reason == "killed" if alive else result.reason in {"killed", "signalled"}
            assert not one.running

    @rule(box=boxes)
    def kill(self, box: AsyncSandbox) -> None:
        self.portal.call(box.kill)
        if self.model.get(box.id, State.STOPPED) is not State.STOPPED:
            self.move(box, State.STOPPED, "stopped")
            assert self.portal.call(box.wait) == "killed"

    @rule(box=boxes)
    def crash(self, box: AsyncSandbox) -> None:
        if self.model.get(box.id) not in {State.RUNNING, State.PAUSED}:
            return
        (instance,) = [i for i in self.runtime.instances if i.spec.id == box.id]
        self.portal.call(instance.crash, "its machinery broke")
        assert self.portal.call(box.wait) == "its machinery broke"
        self.move(box, State.STOPPED, "failed")

    @rule(box=boxes)
    def delete(self, box: AsyncSandbox) -> None:
        self.portal.call(box.delete)
        if box.id in self.model:
            del self.model[box.id]
            self.expected.append(("deleted", box.id))
            self.expected_observed.append(("deleted", box.id))

    # -- what is always so ------------------------------------------------------------------------------------------

    @rule(box=boxes)
    def every_box_is_in_the_state_of_the_model(self, box: AsyncSandbox) -> None:
        assert box.state is self.model.get(box.id, State.STOPPED)
        assert self.portal.call(box.wait) if box.state is State.STOPPED else not box.reason

    @invariant()
    def the_host_and_the_runtime_list_what_is_not_deleted(self) -> None:
        assert [box.id for box in self.host.sandboxes()] == list(self.model)
        assert [instance.spec.id for instance in self.runtime.instances] == list(self.model)

    @invariant()
    def the_states_are_those_of_the_model(self) -> None:
        assert {box.id: box.state for box in self.host.sandboxes()} == self.model

    @invariant()
    def everyone_was_told_what_happened_in_order(self) -> None:
        assert self.events == self.expected
        assert self.plugin.observed == self.expected_observed

    @invariant()
    def nothing_failed_unseen(self) -> None:
        assert self.host.callback_failures == ()
        assert [record.error for record in self.host.plugins.records] == [None]
        assert self.host.tasks is not None
        assert self.host.tasks.failures == []


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
