"""Tests of programs that run on, and of how they and their box end: a part of ``RuntimeConformance``."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

import cloche
from cloche.testing.speaking import GuestPrograms


class EndTests:
    """Part of ``RuntimeConformance``."""

    runtime: ClassVar[type[cloche.Runtime]]

    # -- jobs -------------------------------------------------------------------------------------------------------

    def test_a_jobs_output_is_live(self, box: cloche.Sandbox, does: GuestPrograms) -> None:
        job = box.spawn(*does.talks(), stdin=cloche.OPEN)
        lines = job.lines()
        assert next(lines) == "one"
        job.write("go\n")
        assert next(lines) == "two go"
        assert job.wait(10).ok

    def test_a_job_can_be_attached_again_with_replay(self, box: cloche.Sandbox, does: GuestPrograms) -> None:
        job = box.spawn(*does.talks(), stdin=cloche.OPEN)
        first = next(iter(job.output()))
        job.write("more\n")
        again = box.attach(job.id)
        assert b"".join(c.data for c in again.output()) == b"one\ntwo more\n"
        assert b"".join(c.data for c in again.output(since=first.end)) == b"one\ntwo more\n"[first.end :]

    def test_a_job_gets_signals(self, box: cloche.Sandbox, sh: str) -> None:
        job = box.spawn(sh, "-c", "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
        lines = job.lines()
        assert next(lines) == "ready"
        job.signal("TERM")
        assert (job.wait(10).exit_code, next(lines)) == (7, "got")

    def test_a_job_that_expects_no_signal_is_ended_by_it(self, box: cloche.Sandbox, does: GuestPrograms) -> None:
        job = box.spawn(*does.sleeps("60"))
        job.signal("INT")
        done = job.wait(10)
        assert (done.reason, done.signal) == ("signalled", 2)

    def test_a_terminal_has_a_size_that_can_change(self, box: cloche.Sandbox, sh: str) -> None:
        done = box.exec(sh, "-c", "test -t 0 && stty size", tty=cloche.Window(30, 100))
        assert done.text.split() == ["30", "100"]
        job = box.spawn(sh, "-c", "echo ready; read x; stty size", tty=True)
        job.resize(50, 120)
        job.write("go\n")
        job.wait(10)
        said = "\n".join(job.lines())
        assert "50 120" in said, said

    # -- ends -------------------------------------------------------------------------------------------------------

    def test_a_timeout_ends_a_program_that_computes_or_waits(self, box: cloche.Sandbox, does: GuestPrograms) -> None:
        for program in (does.spins(), does.sleeps("60")):
            began = time.monotonic()
            done = box.exec(*program, timeout=0.5)
            assert (done.reason, time.monotonic() - began < 10) == ("timeout", True)

    def test_a_timeout_ends_daemons_too(self, box: cloche.Sandbox, sh: str, marker: str) -> None:
        began = time.monotonic()
        done = box.exec(sh, "-c", f"(setsid sleep {marker} &) ; sleep {marker}", timeout=0.5)
        assert (done.reason, time.monotonic() - began < 10) == ("timeout", True)
        assert not alive(marker)

    def test_a_programs_end_takes_its_descendants_along(self, box: cloche.Sandbox, sh: str, marker: str) -> None:
        began = time.monotonic()
        done = box.exec(sh, "-c", f"setsid sleep {marker} & (setsid sleep {marker} &) ; echo done")
        assert (done.text, done.ok, time.monotonic() - began < 10) == ("done\n", True, True)
        assert not alive(marker)

    def test_lingering_descendants_live_until_the_box_ends(
        self, create: Callable[..., cloche.Sandbox], sh: str, marker: str
    ) -> None:
        with create() as box:
            done = box.exec(sh, "-c", f"sleep {marker} & echo done", linger=True, timeout=20)
            assert done.text == "done\n"
            seen = box.exec(sh, "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").text
            assert marker in seen or alive(marker)
        assert not alive(marker)

    def test_too_much_output_ends_the_program(self, box: cloche.Sandbox, does: GuestPrograms) -> None:
        done = box.exec(*does.floods(), timeout=30)
        assert (done.reason, len(done.stdout)) == ("limit:output", 8 << 20)

    def test_kill_ends_what_runs(self, create: Callable[..., cloche.Sandbox], does: GuestPrograms, marker: str) -> None:
        with create() as box:
            job = box.spawn(*does.sleeps(marker))
            box.kill()
            assert job.wait(10).reason == "killed"
            assert not alive(marker)
            with pytest.raises(cloche.StateError):
                box.exec("true")

    def test_lifetime_and_idleness_end_a_box(
        self, create: Callable[..., cloche.Sandbox], does: GuestPrograms, marker: str
    ) -> None:
        with create(lifetime=0.5) as box:
            done = box.exec(*does.sleeps(marker))
            assert (done.reason, box.wait()) == ("limit:lifetime", "limit:lifetime")
        with create(idle_timeout=0.4) as box:
            assert box.exec(*does.sleeps("0.8")).ok
            assert box.wait() == "limit:idle_timeout"

    def test_delete_leaves_nothing_and_may_be_repeated(
        self, create: Callable[..., cloche.Sandbox], does: GuestPrograms, marker: str
    ) -> None:
        before = descriptors()
        box = create()
        box.spawn(*does.sleeps(marker))
        box.delete()
        box.delete()
        assert not alive(marker)
        assert descriptors() == before

    def test_delete_takes_daemons_along(self, create: Callable[..., cloche.Sandbox], sh: str, marker: str) -> None:
        with create() as box:
            box.spawn(sh, "-c", f"(setsid sleep {marker} &) ; sleep {marker}")
        assert not alive(marker)

    def test_pause_stops_everything_and_resume_continues(self, box: cloche.Sandbox, sh: str) -> None:
        if cloche.Guarantee.PAUSE not in self.runtime.guarantees:
            pytest.skip("the runtime does not declare pause")
        job = box.spawn(sh, "-c", "while :; do echo tick; sleep 0.02; done")
        lines = job.lines()
        next(lines)
        box.pause()
        time.sleep(0.1)
        held = sum(len(c.data) for c in _now(job))
        time.sleep(0.3)
        assert sum(len(c.data) for c in _now(job)) == held
        box.resume()
        deadline = time.monotonic() + 10
        while (after := sum(len(c.data) for c in _now(job))) == held and time.monotonic() < deadline:
            time.sleep(0.02)
        assert after > held
        job.kill()


def _now(job: cloche.Job) -> list[cloche.Chunk]:
    return job.held()


def alive(marker: str) -> bool:
    """Say whether a process of this machine still has ``marker`` in its arguments, after a moment of grace."""
    for _ in range(50):
        if not any(marker.encode() in _cmdline(entry) for entry in os.listdir("/proc") if entry.isdigit()):
            return False
        time.sleep(0.02)
    return True


def _cmdline(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it ended while we looked
        return b""


def descriptors() -> dict[str, str]:
    """Give what this process has open: number -> what it is."""
    out = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            out[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the one that listed them
            continue
    return out
