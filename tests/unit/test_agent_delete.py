"""Giving back what a box held: what fails is tried again, and nothing else waits for it."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING

import pytest

from cloche import AgentInstance, Launch, SandboxError, Seat
from cloche_native.agent import Setup

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche_native import cgroup

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_own_leaks")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def launch(*cleanup: Callable[[], object]) -> Launch:
    return Launch(argv=("/never/run",), setup=Setup(), workspace="/", cleanup=cleanup)


class Step:
    """Fails so many times."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.done = 0

    def __call__(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EBUSY, "busy")
        self.done += 1


async def test_a_step_that_fails_is_taken_again_and_the_others_once() -> None:
    good, bad, last = Step(0), Step(1), Step(0)
    free: list[Seat] = []
    seat = Seat(4711, 99, free)
    box = AgentInstance(launch(good, bad, last), None, seat)
    with pytest.raises(SandboxError, match=r"not all of it was given back: OSError.*busy"):
        await box.delete()
    assert (good.done, bad.done, last.done) == (1, 0, 1)
    assert free == []  # nobody gets the uid while something of its last user is left
    await box.delete()
    await box.delete()
    assert (good.done, bad.done, last.done) == (1, 1, 1)
    assert [spare.uid for spare in free] == [4711]


class Group:
    """Stands in for a control group whose last process takes its time."""

    def __init__(self) -> None:
        self.tries: list[tuple[float | None, bool]] = []

    def give_back(self, group: cgroup.Group, *, patience: float | None = None) -> None:
        assert group is self  # type: ignore[comparison-overlap]
        self.tries.append((patience, threading.current_thread() is threading.main_thread()))
        if patience == 0:
            raise OSError(errno.EBUSY, "processes stay in it")


async def test_a_group_that_is_not_empty_yet_is_waited_for_beside_the_event_loop() -> None:
    group = Group()
    box = AgentInstance(launch(), group, give_back=group.give_back)  # type: ignore[arg-type]
    await box.delete()
    await box.delete()
    assert group.tries == [(0.0, True), (None, False)]


async def test_a_group_that_can_not_be_removed_does_not_keep_the_rest() -> None:
    step = Step(0)
    failures = [OSError(errno.EPERM, "not permitted")]

    def give_back(_: cgroup.Group, **__: object) -> None:
        if failures:
            raise failures.pop()

    box = AgentInstance(launch(step), Group(), give_back=give_back)  # type: ignore[arg-type]
    with pytest.raises(SandboxError, match="not permitted"):
        await box.delete()
    assert step.done == 1
    await box.delete()
    assert step.done == 1
