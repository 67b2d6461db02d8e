"""What every runtime must do, as tests: subclass and name your runtime.

::

    from cloche.testing import RuntimeConformance

    class TestMicroVm(RuntimeConformance):
        runtime = MicroVmRuntime

A box of the runtime needs ``/bin/sh``, coreutils and a ``/proc``. Tests of a guarantee run only if the runtime declares
it, and each test of a refusal first shows that what is refused works where it is allowed.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest

import cloche
from cloche.testing.guarantees import GuaranteeTests


class Subject:
    """A plugin that provides one runtime and one level."""

    def __init__(self, runtime: cloche.Runtime, level: cloche.IsolationLevel) -> None:
        self._runtime, self._level = runtime, level

    @cloche.hookimpl
    def cloche_runtimes(self) -> list[cloche.Runtime]:
        return [self._runtime]

    @cloche.hookimpl
    def cloche_isolation_levels(self) -> list[cloche.IsolationLevel]:
        return [self._level]


class RuntimeConformance(GuaranteeTests):
    """Set ``runtime`` to your class; add to ``skips`` nothing you would not tell your users."""

    runtime: ClassVar[type[cloche.Runtime]]
    syscalls: ClassVar[str] = "enhanced"
    """The filter profile of the level the tests run at."""

    @pytest.fixture(scope="class")
    @classmethod
    def host(cls) -> Iterator[cloche.Host]:
        """Give a host whose only runtime is this one, at a level that needs all it declares."""
        runtime = cls.runtime()
        if (reason := runtime.unavailable()) is not None:
            pytest.skip(f"runtime {runtime.name} is not available here: {reason}")
        limits = cloche.Limits(memory="256M", cpu=1, pids=64, open_files=256, file_size="64M", output="8M", wall=60)
        level = cloche.IsolationLevel(
            name="conformance",
            summary="everything this runtime declares",
            guarantees=runtime.guarantees,
            limits=cloche.Limits(disk="16M").over(limits) if cloche.Guarantee.DISK in runtime.guarantees else limits,
            networks=frozenset({"none", "loopback", "host"}),
            syscalls=cls.syscalls,
        )
        with cloche.Host(entry_points=False, plugins=[Subject(runtime, level)]) as host:
            assert not [r for r in host.plugins.records if r.error], host.plugins.records
            yield host

    @pytest.fixture(scope="class")
    @classmethod
    def unkept(cls, host: cloche.Host) -> dict[str, str]:
        """Give what the runtime declares but can't keep on this machine, with the reason it reports."""
        with host.create(isolation="conformance", strict=False) as box:
            return box.enforcement.refusals(box.spec.needed())

    @pytest.fixture
    def box(self, host: cloche.Host, unkept: dict[str, str]) -> Iterator[cloche.Sandbox]:
        """Give a fresh sandbox, strict unless this machine lacks something."""
        with host.create(isolation="conformance", strict=not unkept) as box:
            yield box

    @pytest.fixture
    def marker(self) -> str:
        """Give a number no other process has in its arguments, to find a guest's processes by (as seconds to sleep)."""
        return f"{3000 + uuid.uuid4().int % 1000}.{uuid.uuid4().int % 10**9:09d}"

    # -- programs ---------------------------------------------------------------------------------------------------

    def test_a_program_gives_its_output_and_exit_code(self, box: cloche.Sandbox) -> None:
        done = box.exec("/bin/sh", "-c", "echo out; echo err >&2; exit 3")
        assert (done.stdout, done.stderr, done.exit_code, done.reason) == (b"out\n", b"err\n", 3, "exited")

    def test_arguments_reach_the_program_as_they_are(self, box: cloche.Sandbox) -> None:
        nasty = ["$HOME", "`id`", "; rm -rf /", "a b\tc", "ü\n", "*", ""]
        done = box.exec("printf", "%s|", *nasty)
        assert done.text == "".join(f"{a}|" for a in nasty)

    def test_the_environment_is_built_from_nothing(self, box: cloche.Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CLOCHE_TEST_SECRET", "leak")
        done = box.exec("env", env={"GIVEN": "yes"})
        assert "GIVEN=yes" in done.text.splitlines()
        assert "CLOCHE_TEST_SECRET" not in done.text

    def test_programs_start_in_the_work_folder_and_may_write_there(self, box: cloche.Sandbox) -> None:
        first = box.exec("/bin/sh", "-c", "echo kept > here && pwd")
        second = box.exec("cat", "here")
        assert second.text == "kept\n", (first, second)

    def test_cwd_is_honoured_and_a_missing_one_is_refused(self, box: cloche.Sandbox) -> None:
        assert box.exec("pwd", cwd="/usr").text == "/usr\n"
        gone = box.exec("pwd", cwd="/no/such/folder")
        assert (gone.exit_code, gone.reason) == (126, "refused")

    @pytest.mark.parametrize("size", [0, 5, 70_000, 3_000_000])
    def test_standard_input_arrives_whole(self, box: cloche.Sandbox, size: int) -> None:
        done = box.exec("wc", "-c", stdin=b"x" * size)
        assert int(done.text) == size

    def test_without_standard_input_it_reads_the_end(self, box: cloche.Sandbox) -> None:
        assert box.exec("wc", "-c", timeout=10).text.strip() == "0"

    def test_a_file_of_the_host_can_be_standard_input(self, box: cloche.Sandbox, tmp_path: Path) -> None:
        (tmp_path / "in").write_bytes(b"line\n" * 30_000)
        assert box.exec("wc", "-l", stdin=tmp_path / "in").text.strip() == "30000"
        with (tmp_path / "in").open("rb") as file:
            assert box.exec("wc", "-l", stdin=file).text.strip() == "30000"

    def test_a_missing_program_is_127_and_one_that_cannot_run_126(self, box: cloche.Sandbox) -> None:
        assert (box.exec("no-such-program").exit_code, box.exec("/no/such").reason) == (127, "refused")
        box.exec("/bin/sh", "-c", "echo hello > plain")
        assert box.exec("./plain").exit_code == 126

    def test_many_programs_run_at_once_in_one_box(self, box: cloche.Sandbox) -> None:
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda n: box.exec("/bin/sh", "-c", f"sleep 0.2; echo {n}"), range(8)))
        assert [int(d.text) for d in done] == list(range(8))

    def test_a_signalled_program_says_so(self, box: cloche.Sandbox) -> None:
        done = box.exec("/bin/sh", "-c", "kill -SEGV $$")
        assert (done.reason, done.signal, done.exit_code) == ("signalled", 11, 139)

    # -- jobs -------------------------------------------------------------------------------------------------------

    def test_a_jobs_output_is_live(self, box: cloche.Sandbox) -> None:
        job = box.spawn("/bin/sh", "-c", "echo one; read x; echo two $x", stdin=cloche.OPEN)
        lines = job.lines()
        assert next(lines) == "one"
        job.write("go\n")
        assert next(lines) == "two go"
        assert job.wait(10).ok

    def test_a_job_can_be_attached_again_with_replay(self, box: cloche.Sandbox) -> None:
        job = box.spawn("/bin/sh", "-c", "echo one; echo two; sleep 0.3; echo three")
        first = next(iter(job.output()))
        again = box.attach(job.id)
        assert b"".join(c.data for c in again.output()) == b"one\ntwo\nthree\n"
        assert b"".join(c.data for c in again.output(since=first.end)) == b"one\ntwo\nthree\n"[first.end :]

    def test_a_job_gets_signals(self, box: cloche.Sandbox) -> None:
        job = box.spawn("/bin/sh", "-c", "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
        lines = job.lines()
        assert next(lines) == "ready"
        job.signal("TERM")
        assert (job.wait(10).exit_code, next(lines)) == (7, "got")

    def test_a_terminal_has_a_size_that_can_change(self, box: cloche.Sandbox) -> None:
        done = box.exec("/bin/sh", "-c", "test -t 0 && stty size", tty=cloche.Window(30, 100))
        assert done.text.split() == ["30", "100"]
        job = box.spawn("/bin/sh", "-c", "echo ready; read x; stty size", tty=True)
        job.resize(50, 120)
        job.write("go\n")
        job.wait(10)
        assert "50 120" in "\n".join(job.lines())

    # -- ends -------------------------------------------------------------------------------------------------------

    def test_a_timeout_ends_daemons_too(self, box: cloche.Sandbox, marker: str) -> None:
        began = time.monotonic()
        done = box.exec("/bin/sh", "-c", f"(setsid sleep {marker} &) ; sleep {marker}", timeout=0.5)
        assert (done.reason, time.monotonic() - began < 10) == ("timeout", True)
        assert not alive(marker)

    def test_a_programs_end_takes_its_descendants_along(self, box: cloche.Sandbox, marker: str) -> None:
        began = time.monotonic()
        done = box.exec("/bin/sh", "-c", f"setsid sleep {marker} & (setsid sleep {marker} &) ; echo done")
        assert (done.text, done.ok, time.monotonic() - began < 10) == ("done\n", True, True)
        assert not alive(marker)

    def test_lingering_descendants_live_until_the_box_ends(self, host: cloche.Host, marker: str) -> None:
        with host.create(isolation="conformance", strict=False) as box:
            done = box.exec("/bin/sh", "-c", f"sleep {marker} & echo done", linger=True, timeout=20)
            assert done.text == "done\n"
            seen = box.exec("/bin/sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '").text
            assert marker in seen or alive(marker)
        assert not alive(marker)

    def test_too_much_output_ends_the_program(self, box: cloche.Sandbox) -> None:
        done = box.exec("/bin/sh", "-c", "yes", timeout=30)
        assert (done.reason, len(done.stdout)) == ("limit:output", 8 << 20)

    def test_kill_ends_what_runs(self, host: cloche.Host, marker: str) -> None:
        with host.create(isolation="conformance", strict=False) as box:
            job = box.spawn("sleep", marker)
            box.kill()
            assert job.wait(10).reason == "killed"
            assert not alive(marker)
            with pytest.raises(cloche.StateError):
                box.exec("true")

    def test_lifetime_and_idleness_end_a_box(self, host: cloche.Host, marker: str) -> None:
        with host.create(isolation="conformance", strict=False, lifetime=0.5) as box:
            done = box.exec("sleep", marker)
            assert (done.reason, box.wait()) == ("limit:lifetime", "limit:lifetime")
        with host.create(isolation="conformance", strict=False, idle_timeout=0.4) as box:
            assert box.exec("sleep", "0.8").ok
            assert box.wait() == "limit:idle_timeout"

    def test_delete_leaves_nothing_and_may_be_repeated(self, host: cloche.Host, marker: str) -> None:
        before = descriptors()
        box = host.create(isolation="conformance", strict=False)
        box.spawn("/bin/sh", "-c", f"(setsid sleep {marker} &) ; sleep {marker}")
        box.delete()
        box.delete()
        assert not alive(marker)
        assert descriptors() == before

    def test_pause_stops_everything_and_resume_continues(self, box: cloche.Sandbox) -> None:
        if cloche.Guarantee.PAUSE not in self.runtime.guarantees:
            pytest.skip("the runtime does not declare pause")
        job = box.spawn("/bin/sh", "-c", "while :; do echo tick; sleep 0.02; done")
        lines = job.lines()
        next(lines)
        box.pause()
        time.sleep(0.1)
        held = sum(len(c.data) for c in _now(job))
        time.sleep(0.3)
        assert sum(len(c.data) for c in _now(job)) == held
        box.resume()
        time.sleep(0.3)
        assert sum(len(c.data) for c in _now(job)) > held
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
