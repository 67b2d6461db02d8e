"""Limits of a living sandbox, changed: what the host does about it, whatever the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloche import (
    Enforced,
    Enforcement,
    Guarantee,
    Host,
    Limits,
    Partial,
    Sandbox,
    SandboxError,
    SpecError,
    StateError,
    Unenforceable,
    Unenforced,
    Unsupported,
)
from cloche.testing import FakeRuntime
from tests.unit.fixed import Fixed

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.usefixtures("no_own_leaks")


def test_given_limits_take_the_place_of_the_old_ones_and_the_others_stay(box: Sandbox) -> None:
    before = box.spec.limits
    box.update(limits=Limits(memory="64M", open_files=99))
    assert (box.spec.limits.memory, box.spec.limits.open_files) == (64 << 20, 99)
    assert box.spec.limits.differing(before) == {"memory", "open_files"}


def test_what_programs_that_run_keep_is_told_and_stays_told(box: Sandbox) -> None:
    box.update(limits={"open_files": 99})
    verdict = box.enforcement["open_files"]
    assert isinstance(verdict, Partial)
    assert verdict.caveat.endswith("; programs that run keep theirs")
    box.update(limits={"output": 5})
    box.update(limits={"output": 5})
    assert box.enforcement["open_files"] == verdict


def test_output_and_wall_are_the_hosts_own_and_hold_for_what_comes(box: Sandbox) -> None:
    box.update(limits={"output": 3, "wall": 0.05})
    assert box.exec("echo", "long text").reason == "limit:output"
    assert box.exec("sleep", "60").reason == "limit:wall"


@pytest.mark.parametrize("bad", [None, 7, "memory=5", {"memory": -1}, {"no such": 1}, [("memory", 1)]])
def test_limits_that_make_no_sense_are_refused(box: Sandbox, bad: object) -> None:
    before = (box.spec, box.enforcement)
    with pytest.raises(SpecError):
        box.update(limits=bad)  # type: ignore[arg-type]
    assert (box.spec, box.enforcement) == before


def test_only_a_living_sandbox_changes(box: Sandbox) -> None:
    box.pause()
    box.update(limits={"pids": 9})
    box.kill()
    with pytest.raises(StateError, match="change limits of"):
        box.update(limits={"pids": 10})
    assert box.spec.limits.pids == 9


def test_what_a_runtime_can_not_change_or_would_not_keep_changes_nothing(
    fakes: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Host(plugins=[fakes(Fixed())], entry_points=False) as host, host.create(runtime="fixed") as box:
        before = (box.spec, box.enforcement)
        with pytest.raises(Unsupported, match="can't change the limits of a living sandbox"):
            box.update(limits={"pids": 9})
        with pytest.raises(
            Unenforceable, match=r"nothing was changed.*pids: thirteen is unlucky; take twelve"
        ) as caught:
            box.update(limits={"pids": 13})
        assert "thirteen" in caught.value.reasons["fixed"]
        monkeypatch.setattr(Fixed, "fails", KeyError("x"))
        with pytest.raises(SandboxError, match="KeyError"):
            box.update(limits={"pids": 9})
        assert (box.spec, box.enforcement) == before
        box.update(limits={"wall": 9})  # needs nothing of the runtime
        assert box.spec.limits.wall == 9


def test_caveats_are_added_to_what_is_kept_only() -> None:
    report = Enforcement({"a": Enforced("m"), "b": Partial("m", "first"), "c": Unenforced("no"), "d": Enforced("m")})
    found = report.with_caveats({"a": "x", "b": "x", "c": "x", "e": "x"})
    assert dict(found) == {
        "a": Partial("m", "x"), "b": Partial("m", "first; x"), "c": Unenforced("no"), "d": Enforced("m"),
    }  # fmt: skip


def test_the_clocks_and_the_output_are_in_every_report(fakes: Callable[..., object]) -> None:
    with (
        Host(plugins=[fakes(FakeRuntime())], entry_points=False) as host,
        host.create(lifetime=60, idle_timeout=30) as box,
    ):
        for name in ("lifetime", "idle_timeout"):
            assert "monotonic clock" in str(box.enforcement[name])
        assert not box.enforcement.refusals(["output", "wall", Guarantee.PROCESS])
        with host.create() as other:
            assert not {"lifetime", "idle_timeout"} & set(other.enforcement)
