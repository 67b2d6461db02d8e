from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import anyio
import pytest

from cloche import (
    Config,
    Enforcement,
    Exit,
    Guarantee,
    GuestProcess,
    Host,
    Instance,
    ProcessSpec,
    Runtime,
    RuntimeUnavailable,
    SandboxError,
    Spec,
    StartError,
    StateError,
    Stdio,
    Unenforceable,
    Unsupported,
)
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.usefixtures("no_own_leaks")


class Weak(FakeRuntime):
    name: ClassVar[str] = "weak"
    strength: ClassVar[int] = 5
    guarantees: ClassVar[frozenset[Guarantee]] = frozenset(
        {Guarantee.PROCESS, Guarantee.MEMORY, Guarantee.PIDS, Guarantee.CPU, Guarantee.DISK}
    )


class Alien(Runtime):
    """Breaks its contract in the step named ``bad``; each step raises what no runtime may raise."""

    name: ClassVar[str] = "alien"
    summary: ClassVar[str] = "raises"
    strength: ClassVar[int] = 99
    guarantees: ClassVar[frozenset[Guarantee]] = frozenset({Guarantee.PROCESS})

    def __init__(self, bad: str) -> None:
        self.bad = bad
        self._inner = FakeRuntime()

    def step(self, name: str) -> None:
        if self.bad == name:
            raise KeyError(name)

    def configure(self, config: Config) -> None:
        assert config.uid_count
        self.step("configure")

    def unavailable(self) -> str | None:
        self.step("unavailable")
        if self.bad == "exit":
            raise SystemExit(3)
        return False if self.bad == "kind" else None  # type: ignore[return-value]

    def enforcement(self, spec: Spec) -> Enforcement:
        self.step("enforcement")
        return None if self.bad == "report" else self._inner.enforcement(spec)  # type: ignore[return-value]

    async def create(self, spec: Spec) -> Instance:
        self.step("create")
        return AlienInstance(self, await self._inner.create(spec))

    def close(self) -> None:
        self.step("close")


class AlienInstance(Instance):
    def __init__(self, runtime: Alien, inner: Instance) -> None:
        self._runtime, self._inner = runtime, inner

    async def start(self) -> None:
        self._runtime.step("start")
        await self._inner.start()

    async def exec(self, process: ProcessSpec, stdio: Stdio) -> GuestProcess:
        self._runtime.step("exec")
        inner = await self._inner.exec(process, stdio)
        return AlienProcess(self._runtime, inner)

    async def wait(self) -> str:
        self._runtime.step("wait")
        return await self._inner.wait()

    async def kill(self) -> None:
        self._runtime.step("kill")
        await self._inner.kill()

    async def delete(self) -> None:
        self._runtime.step("delete")
        await self._inner.delete()

    async def stats(self) -> Mapping[str, float]:
        self._runtime.step("stats")
        if self._runtime.bad == "figures":
            return {"pids": "many"}  # type: ignore[dict-item]
        return await super().stats()


class AlienProcess(GuestProcess):
    def __init__(self, runtime: Alien, inner: GuestProcess) -> None:
        self.pid, self._runtime, self._inner = inner.pid, runtime, inner

    async def wait(self) -> Exit:
        self._runtime.step("process")
        return await self._inner.wait()

    async def signal(self, number: int) -> None:
        await self._inner.signal(number)

    async def kill(self) -> None:
        await self._inner.kill()


@pytest.mark.parametrize("bad", ["unavailable", "exit", "kind"])
def test_a_check_that_breaks_makes_its_runtime_unavailable(fakes: Callable[..., object], bad: str) -> None:
    with Host(plugins=[fakes(Alien(bad), Weak())], entry_points=False) as host:
        with pytest.raises(RuntimeUnavailable, match="its own check"):
            host.create(runtime="alien")
        with host.create() as box:
            assert box.runtime == "weak"


def test_a_runtime_that_can_not_take_the_configuration_is_recorded_with_its_plugin(
    fakes: Callable[..., object],
) -> None:
    with Host(plugins=[fakes(Alien("configure"))], entry_points=False) as host:
        assert [record.status for record in host.plugins.records] == ["failed"]
        assert "KeyError" in (host.plugins.records[0].error or "")
        assert not host.runtimes


@pytest.mark.parametrize("bad", ["enforcement", "report"])
def test_a_report_that_breaks_refuses_that_runtime_only(fakes: Callable[..., object], bad: str) -> None:
    with Host(plugins=[fakes(Alien(bad), Weak())], entry_points=False) as host:
        with pytest.raises(Unenforceable, match="its report failed"):
            host.create(runtime="alien")
        with host.create() as box:
            assert box.runtime == "weak"


@pytest.mark.parametrize("bad", ["create", "start", "exec"])
def test_foreign_errors_become_start_errors_that_name_the_runtime(fakes: Callable[..., object], bad: str) -> None:
    alien = Alien(bad)
    with Host(plugins=[fakes(alien)], entry_points=False) as host:
        with pytest.raises(StartError, match="runtime 'alien' failed: KeyError"), host.create() as box:
            box.exec("true")
        assert not host.sandboxes()
        alien.bad = ""
        assert host.run("true").ok


def test_a_program_that_can_not_be_waited_for_is_ended_and_told(fakes: Callable[..., object]) -> None:
    with Host(plugins=[fakes(Alien("process"))], entry_points=False) as host, host.create() as box:
        with pytest.raises(KeyError):
            box.exec("sleep", "9")
        job = box.spawn("sleep", "9")
        done = job.wait(5)
        assert (done.ok, done.reason) == (False, "killed")


def test_a_box_that_can_not_be_watched_is_stopped(fakes: Callable[..., object]) -> None:
    with Host(plugins=[fakes(Alien("wait"))], entry_points=False) as host, host.create() as box:
        assert "KeyError" in box.wait()
        with pytest.raises(StateError, match="its runtime failed"):
            box.exec("true")


def test_a_box_that_can_not_be_deleted_stays_on_the_list_and_can_be_tried_again(fakes: Callable[..., object]) -> None:
    alien = Alien("delete")
    host = Host(plugins=[fakes(alien)], entry_points=False)
    host.__enter__()
    box, other = host.create(), host.create()
    for one in (box, other):
        with pytest.raises(KeyError):
            one.delete()
    assert {b.id for b in host.sandboxes()} == {box.id, other.id}
    alien.bad = ""
    other.delete()
    assert [b.id for b in host.sandboxes()] == [box.id]
    alien.bad = "delete"
    with pytest.raises(SandboxError, match="left something behind: KeyError"):
        host.__exit__(None, None, None)
    assert alien._inner.instances
    anyio.run(alien._inner.instances[0].delete)


def test_closing_goes_on_when_a_runtime_can_not_be_closed(fakes: Callable[..., object], runtime: FakeRuntime) -> None:
    with (
        pytest.raises(SandboxError, match="KeyError"),
        Host(plugins=[fakes(Alien("close"), runtime)], entry_points=False),
    ):
        pass
    assert runtime.closed


def test_what_a_runtime_can_not_do_is_unsupported(fakes: Callable[..., object]) -> None:
    with Host(plugins=[fakes(Alien(""))], entry_points=False) as host, host.create() as box:
        for call in (box.pause, box.stats):
            with pytest.raises(Unsupported):
                call()
        assert box.state == "running"


@pytest.mark.parametrize(("bad", "match"), [("stats", "KeyError"), ("figures", "no number")])
def test_statistics_that_break_are_an_error_of_the_sandbox(fakes: Callable[..., object], bad: str, match: str) -> None:
    with Host(plugins=[fakes(Alien(bad))], entry_points=False) as host, host.create() as box:
        with pytest.raises(SandboxError, match=match):
            box.stats()
        assert box.exec("true").ok
