"""A pool under every order of things: many ask at once, some go away in the middle, boxes die, the host ends.

The runtime here takes its time: each step of a box's life lets others have their turn some times first.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche import AsyncHost, AsyncSandbox, ClocheError, Guarantee, IsolationLevel, Limits, Spec, StartError
from cloche.pool.settings import PoolMode, PoolSettings, pool_mode
from cloche.pool.shelf import BACK_OFF_MOST, Shelf
from cloche.testing import FakeRuntime
from cloche.testing.fake import FakeInstance
from tests.unit.faked import Fakes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from cloche import Instance, Runtime

pytestmark = pytest.mark.usefixtures("no_own_leaks")
LEVEL = IsolationLevel(
    name="enhanced",
    summary="for tests",
    guarantees=frozenset({Guarantee.PROCESS}),
    limits=Limits(memory="64M", cpu=1, pids=16, open_files=64, file_size="1M", disk="1M", output="1M", wall=60),
    syscalls="enhanced",
)


class Turns(FakeRuntime):
    """Gives others so many turns before each step, and now and then can't start a box."""

    def __init__(self, turns: Iterator[int], fails: Iterator[bool]) -> None:
        super().__init__()
        self.turns, self.fails = turns, fails
        self.living = self.most = 0
        self.waited: set[str] = set()

    async def create(self, spec: Spec) -> Instance:
        await self.let_others()
        made = TurnsInstance(self, spec)
        self.instances.append(made)
        self.living += 1
        self.most = max(self.most, self.living)
        return made

    async def let_others(self) -> None:
        for _ in range(next(self.turns, 0)):
            await anyio.lowlevel.checkpoint()


class TurnsInstance(FakeInstance):
    """A box whose steps take some turns."""

    def __init__(self, runtime: Turns, spec: Spec) -> None:
        super().__init__(runtime, spec)
        self.turns = runtime

    async def start(self) -> None:
        await self.turns.let_others()
        if next(self.turns.fails, False):
            raise StartError("not this time")
        await super().start()

    async def delete(self) -> None:
        await self.turns.let_others()
        if not self.deleted:
            self.turns.living -= 1
        await super().delete()


def host_of(runtime: Runtime, **table: object) -> AsyncHost:
    return AsyncHost(config={}, plugins=[Fakes(runtime, level=LEVEL)], entry_points=False, registry=False, pool=table)


async def turns(count: int) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


class Schedule:
    """Some things to do, each begun after some turns, each perhaps given up after some more."""

    def __init__(self, host: AsyncHost, runtime: Turns) -> None:
        self.host, self.runtime = host, runtime
        self.given: list[AsyncSandbox] = []
        self.errors: list[str] = []

    async def ask(self, mode: PoolMode, user: int, *, keep: bool) -> None:
        try:
            box = await self.host.create(pool=mode, user=user)
        except ClocheError as error:
            self.errors.append(str(error))
            return
        assert box.id not in [other.id for other in self.given], "a box was given out twice"
        self.given.append(box)
        assert (await box.exec("true")).ok or box.reason == "crashed"
        if not keep:
            await box.delete()

    async def crash(self, which: int) -> None:
        waits = [shelf.idle for shelf in self.host.pool._filling.shelves if shelf.idle]
        if waits:
            box = waits[which % len(waits)][-1]
            assert isinstance(box.instance, FakeInstance)
            await box.instance.crash("crashed")

    async def one(self, act: str, mode: str, number: int, after: int, give_up: int | None) -> None:
        await turns(after)
        did: dict[str, Callable[[], Awaitable[None]]] = {
            "ask": lambda: self.ask(pool_mode(mode), number % 3, keep=False),
            "keep": lambda: self.ask(pool_mode(mode), number % 3, keep=True),
            "crash": lambda: self.crash(number),
            "stats": self.stats,
        }
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                if give_up is not None:
                    group.start_soon(self.later, give_up, scope)
                await did[act]()
                group.cancel_scope.cancel()

    @staticmethod
    async def later(count: int, scope: anyio.CancelScope) -> None:
        await turns(count)
        scope.cancel()

    async def stats(self) -> None:
        stats = await self.host.pool.stats()
        assert stats.idle + stats.starting <= stats.total


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "ask", "keep", "crash", "stats"]),
        st.sampled_from(["prefer", "prefer", "require", "off"]),
        st.integers(0, 5),
        st.integers(0, 60),
        st.none() | st.integers(0, 40),
    ),
    max_size=14,
)


@settings(max_examples=120)
@given(
    steps=STEPS, slow=st.lists(st.integers(0, 9), max_size=80), fails=st.lists(st.booleans(), max_size=12),
    total=st.integers(0, 4), starts=st.integers(1, 3), end_after=st.integers(0, 60) | st.none(),
)  # fmt: skip
def test_whatever_happens_each_box_is_given_once_and_none_is_left(
    steps: list[tuple[str, str, int, int, int | None]], slow: list[int], fails: list[bool], total: int, starts: int,
    end_after: int | None,
) -> None:  # fmt: skip
    runtime = Turns(iter(slow), iter(fails))

    async def main() -> None:
        table = {"total": total, "max": min(2, total), "min": 0, "starts": starts, "wait": 0.2}
        async with host_of(runtime, **table) as host:
            schedule = Schedule(host, runtime)
            async with anyio.create_task_group() as group:
                for step in steps:
                    group.start_soon(schedule.one, *step)
                if end_after is not None:
                    await turns(end_after)
                    group.cancel_scope.cancel()
            used = {box.id for box in schedule.given}
            waits = {box.id for shelf in host.pool._filling.shelves for box in shelf.idle}
            assert not used & waits, "a used box waits"
            assert len(waits) <= total
            for told in schedule.errors:
                assert "not this time" in told or told.startswith("pool: "), told

    anyio.run(main)
    assert runtime.instances == []


@pytest.mark.parametrize("mode", ["prefer", "require"])
@pytest.mark.parametrize("ready", [True, False])
def test_who_goes_away_at_any_moment_of_a_checkout_leaves_nothing(mode: PoolMode, *, ready: bool) -> None:
    """Give up after 0, 1, 2, ... turns, until it is done before that."""
    done = []

    async def once(count: int) -> None:
        runtime = Turns(iter([2] * 1000), iter([]))
        async with host_of(runtime, max=2) as host:
            if ready:
                await host.pool.warm()
            before = {instance.spec.id for instance in runtime.instances}
            async with anyio.create_task_group() as group:

                async def ask() -> None:
                    async with await host.create(pool=mode) as box:
                        done.append(count)
                        assert not ready or box.id in before

                group.start_soon(ask)
                await turns(count)
                group.cancel_scope.cancel()
            living = {instance.spec.id for instance in runtime.instances}
            with anyio.fail_after(5):
                while {box.id for shelf in host.pool._filling.shelves for box in shelf.idle} != living:
                    await anyio.sleep(0.001)
                    living = {instance.spec.id for instance in runtime.instances}
            assert host.sandboxes() == []
        assert runtime.instances == []

    for count in range(400):
        anyio.run(once, count)
        if len(done) > 3:
            return
    raise AssertionError(f"nobody ever got a box: {done}")


def test_a_host_that_ends_at_any_moment_of_a_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloche.pool.filling.QUIET", 0.0)

    async def once(count: int) -> int:
        runtime = Turns(iter([3] * 100), iter([]))
        async with host_of(runtime, starts=2) as host:
            assert await host.unavailable("fake") is None  # asked in a thread, once
            await host.pool.warm(2, wait=False)
            await turns(count)
            idle = (await host.pool.stats()).idle
        assert runtime.instances == []
        return idle

    reached = [anyio.run(once, count) for count in range(60)]
    assert (reached[0], reached[-1]) == (0, 2)


def test_a_hundred_at_once_get_a_hundred_boxes() -> None:
    async def main() -> None:
        runtime = Turns(iter([1] * 10_000), iter([]))
        async with host_of(runtime, max=8, total=8, starts=4, wait=30) as host:
            ids: list[str] = []

            async def ask() -> None:
                async with await host.create(pool="require") as box:
                    ids.append(box.id)
                    assert (await box.exec("true")).ok

            async with anyio.create_task_group() as group:
                for _ in range(100):
                    group.start_soon(ask)
            assert len(set(ids)) == len(ids) == 100
            stats = await host.pool.stats()
            assert (stats.hits + stats.misses, stats.idle + stats.starting <= 8) == (100, True)

    anyio.run(main)


def test_a_box_that_cannot_be_given_back_is_told_of_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloche.pool.filling.RETRY", 0.02)
    tries: list[int] = []

    class Stuck(TurnsInstance):
        async def delete(self) -> None:
            tries.append(1)
            if len(tries) < 3:
                raise OSError("busy\n")
            await super().delete()

    class Sticking(Turns):
        async def create(self, spec: Spec) -> Instance:
            self.instances.append(Stuck(self, spec))
            return self.instances[-1]

    async def main() -> None:
        runtime = Sticking(iter([]), iter([]))
        async with host_of(runtime, max=1) as host:
            await host.pool.warm()
            waiting = runtime.instances[0]
            await waiting.crash("gone")
            with anyio.fail_after(10):
                while waiting in runtime.instances:  # noqa: ASYNC110 - a runtime's own list
                    await anyio.sleep(0.005)
            assert "busy\\n" in (await host.pool.stats()).problem
        assert len(tries) >= 3

    anyio.run(main)


# -- clocks ------------------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_ahead_makes_boxes_old_and_nothing_else() -> None:
    async def main() -> None:
        runtime = Turns(iter([]), iter([]))
        async with host_of(runtime, max=2) as host:
            await host.pool.warm(2)
            first = {instance.spec.id for instance in runtime.instances}
            filling = host.pool._filling
            filling.clock = lambda: time.monotonic() + 1e9
            filling.ring()
            with anyio.fail_after(10):
                while len({instance.spec.id for instance in runtime.instances} - first) < 2:  # noqa: ASYNC110
                    await anyio.sleep(0.005)
            await anyio.sleep(0.1)
            stats = await host.pool.stats()
            assert (stats.evicted, stats.idle) == (2, 2)  # and no more go
            async with await host.create(pool="require") as box:
                assert box.id not in first

    anyio.run(main)


def test_back_off_doubles_up_to_a_minute_and_ends_with_a_box_that_works() -> None:
    shelf = Shelf(None, None, PoolSettings(), 0.0)  # type: ignore[arg-type]  # it only counts
    now, waits = 0.0, []
    for _ in range(12):
        shelf.fail(now, "no")
        assert shelf.missing(now) == 0
        waits.append(shelf.retry_at - now)
        now = shelf.asked_at = shelf.retry_at
        assert shelf.missing(now) == 1
    assert waits == [min(BACK_OFF_MOST, 0.25 * 2**n) for n in range(12)]
    shelf.idle.append(None)  # type: ignore[arg-type]
    shelf.took()
    shelf.fail(now, "no")
    assert shelf.retry_at - now == 0.25


def test_a_box_that_dies_at_once_again_and_again_is_put_off_longer_and_longer() -> None:
    async def main() -> None:
        runtime = Turns(iter([]), iter([]))
        async with host_of(runtime) as host:
            await host.pool.warm()
            began = time.monotonic()
            while time.monotonic() - began < 0.9:
                for instance in list(runtime.instances):
                    await instance.crash("at once")
                await anyio.sleep(0.002)
            stats = await host.pool.stats()
            assert 2 <= stats.died <= 4  # at 0, 0.25, 0.75 s
            assert stats.templates[0].retry_in > 0.2

    anyio.run(main)
