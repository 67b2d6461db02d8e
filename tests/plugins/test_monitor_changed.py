"""What is watched of a living box is changed: what holds at once, and what for programs that come."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche import Act, Monitor
from cloche_native.rules import Paths, RuleSpec, Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.monitor import Depth

pytestmark = pytest.mark.usefixtures("no_leaks")
SECRET = RuleSpec(name="secret", acts=frozenset({"open"}), paths=(Paths(("/usr/bin/env",)),), answer=errno.EPERM)
SERVER = """
import os, sys
print("up", flush=True)
for line in sys.stdin:
    act, name = line.split()
    try:
        os.close(os.open(name, os.O_RDONLY)) if act == "open" else os.mkdir(name)
        print("done", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""
OPEN, MKDIR = "open /usr/bin/env", "mkdir"


@pytest.fixture(params=["namespaces", "bwrap", "process"])
def host(request: pytest.FixtureRequest, host_of: Callable[[str], cloche.Host]) -> cloche.Host:
    return host_of(request.param)


class Program:
    """A program of a box that does what it is told."""

    def __init__(self, box: cloche.Sandbox) -> None:
        self.box = box
        self.job = box.spawn("python3", "-c", SERVER, stdin=cloche.OPEN)
        self.lines = self.job.lines()
        self.made = 0
        assert next(self.lines) == "up"

    def does(self, act: str) -> tuple[str, list[str]]:
        """Have it done; give what came of it and what was told."""
        if act == MKDIR:
            self.made += 1
            act = f"{MKDIR} {self.job.id}-{self.made}"
        with self.box.events() as events:
            self.job.write(act + "\n")
            came = next(self.lines)
            return came, [event.act.value for event in events.drain() if event.source == "guest"]


def caveats(box: cloche.Sandbox, name: str) -> str:
    verdict = box.enforcement[name]
    assert isinstance(verdict, cloche.Partial)
    return verdict.caveat


def test_what_runs_keeps_its_filter_and_what_comes_has_the_wider_one(host: cloche.Host) -> None:
    with host.create(isolation="standard", monitor="writes") as box:
        old = Program(box)
        assert (old.does(OPEN), old.does(MKDIR)) == (("done", []), ("done", ["mkdir"]))
        box.update(monitor="full")
        assert "programs that ran" in caveats(box, "events")
        assert (old.does(OPEN), old.does(MKDIR)) == (("done", []), ("done", ["mkdir"]))
        new = Program(box)
        assert (new.does(OPEN), new.does(MKDIR)) == (("done", ["open"]), ("done", ["mkdir"]))
        box.update(monitor=Monitor("full", rules=(SECRET,)))  # the old program is still there
        assert "programs that ran" in caveats(box, "events")
        assert "programs that ran" in caveats(box, "rules")
        assert (old.does(OPEN), new.does(OPEN)) == (("done", []), (str(errno.EPERM), ["open"]))


def test_fewer_acts_hold_at_once_and_off_is_none(host: cloche.Host) -> None:
    with host.create(isolation="standard", monitor="full") as box:
        old = Program(box)
        box.update(monitor=Monitor("full", acts=frozenset({Act.OPEN})))
        assert (old.does(OPEN), old.does(MKDIR)) == (("done", ["open"]), ("done", []))
        assert "programs that ran" not in caveats(box, "events")
        box.update(monitor="off")
        assert (old.does(OPEN), old.does(MKDIR)) == (("done", []), ("done", []))
        seen = sum(box.event_counts().get(act, 0) for act in (Act.OPEN, Act.MKDIR))
        new = Program(box)
        assert (new.does(OPEN), new.does(MKDIR)) == (("done", []), ("done", []))
        assert sum(box.event_counts().get(act, 0) for act in (Act.OPEN, Act.MKDIR)) == seen  # it was not looked at
        box.update(monitor="writes")
        assert (old.does(MKDIR), new.does(MKDIR)) == (("done", ["mkdir"]), ("done", []))
        assert Program(box).does(MKDIR) == ("done", ["mkdir"])


def test_what_a_program_left_running_keeps_its_filter_too_and_a_box_may_be_paused_meanwhile(host: cloche.Host) -> None:
    with host.create(isolation="standard", monitor="writes") as box:
        box.update(monitor="full")
        assert "programs that ran" not in caveats(box, "events")  # there were none
        box.update(monitor="writes")
        box.exec("sh", "-c", "sleep 60 >/dev/null 2>&1 &", linger=True)
        box.pause()
        box.update(monitor="full")
        box.resume()
        assert "programs that ran" in caveats(box, "events")


def test_rules_that_stay_remember_what_they_saw(host: cloche.Host) -> None:
    few = RuleSpec(name="few", acts=frozenset({"mkdir"}), window=Window(2, 3600), answer=errno.EDQUOT)
    with host.create(isolation="standard", monitor=Monitor("writes", rules=(few,))) as box:
        program = Program(box)
        assert [program.does(MKDIR)[0] for _ in range(2)] == ["done", "done"]
        box.update(monitor=Monitor("full", rules=(few,)))
        assert program.does(MKDIR)[0] == str(errno.EDQUOT)
        box.update(monitor=Monitor("full", rules=(few, SECRET)))  # others: they begin anew
        assert program.does(MKDIR)[0] == "done"


@pytest.mark.parametrize("depth", ["full", "strict"])
def test_a_rule_is_put_in_and_taken_out_while_a_program_runs(host: cloche.Host, depth: Depth) -> None:
    if depth == "strict" and host.config.runtime == "process":
        with host.create(isolation="standard", monitor="full") as box, pytest.raises(cloche.Unenforceable):
            box.update(monitor="strict")
        return
    with host.create(isolation="standard", monitor=depth) as box:
        program = Program(box)
        assert program.does(OPEN) == ("done", ["open"])
        box.update(monitor=Monitor(depth, acts=frozenset(), rules=(SECRET,)))
        assert program.does(OPEN) == (str(errno.EPERM), ["open"])
        assert program.does(MKDIR) == ("done", [])
        assert "programs that ran" not in caveats(box, "rules")
        with pytest.raises(cloche.SpecError, match="pattern"):
            box.update(monitor=Monitor(depth, rules=(RuleSpec(name="x", acts=SECRET.acts, paths=(Paths(("[",)),)),)))
        assert program.does(OPEN)[0] == str(errno.EPERM)
        box.update(monitor=depth)
        assert program.does(OPEN) == ("done", ["open"])
        assert "rules" not in box.enforcement


def test_a_box_that_was_to_be_seen_later_is_and_before_nothing_of_it_was(host: cloche.Host) -> None:
    with host.create(isolation="standard", monitor=Monitor("writes", acts=frozenset())) as box:
        with box.events(sources=("guest",)) as events:
            assert box.exec("mkdir", "first").exit_code == 0
            box.update(monitor="full")
            assert box.exec("mkdir", "second").exit_code == 0
            done = [event for event in events.drain() if event.act is Act.MKDIR]
        assert [os.path.basename(event.path or "") for event in done] == ["second"]
        # What the policy refuses is refused as ever, and seen only if it was watched from the start.
        with box.events("chroot") as events:
            assert box.exec("chroot", "/tmp", "true").exit_code == 125
            assert events.drain() == []


def test_refusals_that_were_watched_from_the_start_are_seen_again(host: cloche.Host) -> None:
    with host.create(isolation="standard", monitor="full") as box, box.events("chroot") as events:
        for monitor, count in (("off", 0), ("writes", 1)):
            box.update(monitor=monitor)  # type: ignore[arg-type]
            assert box.exec("chroot", "/tmp", "true").exit_code == 125
            assert [event.denied for event in events.drain()] == [True] * count


def test_strict_is_had_from_the_start_or_not_at_all(host: cloche.Host) -> None:
    if host.config.runtime == "process":
        pytest.skip("it has no view of its own, and never is")
    with host.create(isolation="standard", monitor="full") as box:
        with pytest.raises(cloche.Unsupported, match="must be there from the start"):
            box.update(monitor="strict")
        assert Program(box).does(OPEN) == ("done", ["open"])
    with host.create(isolation="standard", monitor="strict") as box:
        box.update(monitor="writes")
        box.update(monitor="strict")
        assert Program(box).does(OPEN) == ("done", ["open"])


def test_no_filter_that_comes_later_allows_more(host: cloche.Host) -> None:
    script = (
        "import ctypes; c = ctypes.CDLL(None, use_errno=True); "
        "print([(c.syscall(n, -1, -1, -1, -1, -1, -1), ctypes.get_errno()) for n in "
        "[*range(424, 470), 101, 155, 161, 165, 166, 167, 169, 175, 246, 250, 272, 298, 308, 310, 317, 321, 323]])"
    )
    with host.create(isolation="standard") as plain:
        expected = plain.exec("python3", "-c", script).stdout
    for first, second in (("full", "off"), ("writes", "full"), ("full", "writes")):
        with host.create(isolation="standard", monitor=first) as box:  # type: ignore[arg-type]
            box.update(monitor=second)  # type: ignore[arg-type]
            assert box.exec("python3", "-c", script).stdout == expected
