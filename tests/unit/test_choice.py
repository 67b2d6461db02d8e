from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

import anyio
import pytest

from cloche import (
    AsyncHost,
    Guarantee,
    Host,
    Runtime,
    RuntimeUnavailable,
    SpecError,
    Unenforceable,
    hookimpl,
)
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.usefixtures("no_own_leaks")


class Weak(FakeRuntime):
    name: ClassVar[str] = "weak"
    strength: ClassVar[int] = 5
    guarantees: ClassVar[frozenset[Guarantee]] = frozenset(
        {Guarantee.PROCESS, Guarantee.MEMORY, Guarantee.PIDS, Guarantee.CPU, Guarantee.DISK}
    )


class Strong(FakeRuntime):
    name: ClassVar[str] = "strong"
    strength: ClassVar[int] = 40
    guarantees: ClassVar[frozenset[Guarantee]] = frozenset(Guarantee)


def test_without_any_runtime_nothing_can_be_created(fakes: Callable[..., object]) -> None:
    with Host(plugins=[fakes()], entry_points=False) as host:
        assert (dict(host.runtimes), list(host.levels)) == ({}, ["enhanced"])
        with pytest.raises(Unenforceable, match="no runtime is installed"):
            host.create()


def test_strict_refuses_with_each_runtimes_reasons_and_runs_nothing(fakes: Callable[..., object]) -> None:
    weak = Weak()
    broken = FakeRuntime(broken="its launcher is missing; install it")
    with Host(plugins=[fakes(weak, broken)], entry_points=False) as host:
        with pytest.raises(Unenforceable) as caught:
            host.create(require=["kernel"])
        assert caught.value.reasons["fake"] == "its launcher is missing; install it"
        assert "kernel" in caught.value.reasons["weak"]
        assert "strict=False" in str(caught.value)
        assert not weak.instances


def test_a_limit_that_can_not_be_kept_is_refused_too(fakes: Callable[..., object]) -> None:
    with Host(plugins=[fakes(FakeRuntime(unkept={"memory": "no control group"}))], entry_points=False) as host:
        with pytest.raises(Unenforceable, match="memory: no control group"):
            host.create()
        with host.create(strict=False) as box:
            assert box.enforcement.refusals(["memory"]) == {"memory": "no control group"}


def test_not_strict_prefers_what_keeps_everything_over_what_is_strong(fakes: Callable[..., object]) -> None:
    class StrongButLame(Strong):
        def __init__(self) -> None:
            super().__init__(unkept={"memory": "no"})

    with Host(plugins=[fakes(StrongButLame(), Weak())], entry_points=False) as host:
        with host.create(strict=False) as box:
            assert box.runtime == "weak"
        with host.create(strict=False, require=["kernel"]) as box:  # neither keeps all: the level's preference counts
            assert box.runtime == "weak"


def test_the_strongest_without_a_kernel_of_its_own_is_preferred_unless_the_level_wants_the_strongest(
    fakes: Callable[..., object],
) -> None:
    with Host(plugins=[fakes(Weak(), Strong(), FakeRuntime())], entry_points=False) as host:
        with host.create() as box:
            assert box.runtime == "fake"
        with host.create(require=[Guarantee.KERNEL]) as box:
            assert box.runtime == "strong"


def test_a_runtime_can_be_named_by_the_caller_or_the_configuration(fakes: Callable[..., object]) -> None:
    plugin = fakes(Weak(), FakeRuntime())
    with Host(plugins=[plugin], entry_points=False, config={"host": {"runtime": "weak"}}) as host:
        with host.create() as box:
            assert box.runtime == "weak"
        with host.create(runtime="fake") as box:
            assert box.runtime == "fake"


def test_a_runtime_that_runs_no_programs_of_the_machine_is_used_only_by_name(fakes: Callable[..., object]) -> None:
    class Machine(Strong):
        runs_programs: ClassVar[bool] = False

        def unavailable(self) -> str | None:
            asked.append(self.name)
            return None

    asked: list[str] = []
    with Host(plugins=[fakes(Machine(), Weak())], entry_points=False) as host:
        with host.create() as box:
            assert (box.runtime, asked) == ("weak", [])
        with host.create(runtime="strong") as box:
            assert box.runtime == "strong"


@pytest.mark.parametrize("name", ["nope", "", "FAKE", 7, [], b"fake"])
def test_an_unknown_runtime_is_an_error_that_lists_the_known_ones(host: Host, name: str) -> None:
    with pytest.raises(SpecError, match=r"^runtime: .*known runtimes: fake"):
        host.create(runtime=name)
    with pytest.raises(SpecError, match="known runtimes: fake"):
        host.unavailable(name)


def test_a_runtime_that_does_not_work_here_says_why(fakes: Callable[..., object]) -> None:
    with Host(plugins=[fakes(FakeRuntime(broken="no namespaces"), Weak())], entry_points=False) as host:
        with pytest.raises(RuntimeUnavailable, match="no namespaces") as caught:
            host.create(runtime="fake")
        assert (caught.value.runtime, caught.value.reason) == ("fake", "no namespaces")
        assert (host.unavailable("fake"), host.unavailable("weak")) == ("no namespaces", None)
        with host.create() as box:
            assert box.runtime == "weak"


def test_a_plugin_may_choose_among_what_keeps_everything(fakes: Callable[..., object]) -> None:
    offered: list[list[str]] = []

    class Chooser:
        @hookimpl
        def cloche_select_runtime(self, candidates: Sequence[Runtime]) -> Runtime | None:
            offered.append([r.name for r in candidates])
            return next((r for r in candidates if r.name == "weak"), None)

    with Host(plugins=[fakes(Weak(), FakeRuntime()), Chooser()], entry_points=False) as host:
        with host.create() as box:
            assert box.runtime == "weak"
        with host.create(require=["syscalls"]) as box:
            assert box.runtime == "fake"
        with host.create(runtime="fake") as box:
            assert box.runtime == "fake"
    assert offered == [["fake", "weak"]]


def test_a_runtime_is_asked_once_whether_it_works_however_many_ask(fakes: Callable[..., object]) -> None:
    class Slow(FakeRuntime):
        asked = 0

        def unavailable(self) -> str | None:
            assert threading.current_thread() is not threading.main_thread()
            Slow.asked += 1
            threading.Event().wait(0.02)
            return None

    async def main() -> None:
        async with AsyncHost(plugins=[fakes(Slow())], entry_points=False) as host, anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(host.create)

    anyio.run(main)
    assert Slow.asked == 1
