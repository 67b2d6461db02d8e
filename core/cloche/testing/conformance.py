"""What every runtime must do, as tests: subclass and name your runtime.

::

    from cloche.testing import RuntimeConformance

    class TestMicroVm(RuntimeConformance):
        runtime = MicroVmRuntime

A box of the runtime needs ``/bin/sh``, coreutils and a ``/proc``; where its guests are something else, set
``programs`` to a ``cloche.testing.GuestPrograms`` of your own, and what is a script is skipped. Tests of a guarantee
run only if the runtime declares
it, and each test of a refusal first shows that what is refused works where it is allowed.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

import cloche
from cloche.testing.ends import EndTests
from cloche.testing.guarantees import GuaranteeTests
from cloche.testing.speaking import GuestPrograms


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


def everything(runtime: type[cloche.Runtime], syscalls: str = "enhanced") -> cloche.IsolationLevel:
    """Give a level that needs all that a runtime declares."""
    limits = cloche.Limits(memory="256M", cpu=1, pids=64, open_files=256, file_size="64M", output="8M", wall=60)
    return cloche.IsolationLevel(
        name="conformance",
        summary="everything this runtime declares",
        guarantees=runtime.guarantees,
        limits=cloche.Limits(disk="16M").over(limits) if cloche.Guarantee.DISK in runtime.guarantees else limits,
        networks=frozenset({"none", "loopback", "isolated", "host"}),
        syscalls=syscalls,
    )


class RuntimeConformance(EndTests, GuaranteeTests):
    """Set ``runtime`` to your class; add to ``skips`` nothing you would not tell your users."""

    runtime: ClassVar[type[cloche.Runtime]]
    syscalls: ClassVar[str] = "enhanced"
    """The filter profile of the level the tests run at."""
    programs: ClassVar[type[GuestPrograms]] = GuestPrograms
    """What its guests do."""

    @pytest.fixture(scope="class")
    @classmethod
    def host(cls) -> Iterator[cloche.Host]:
        """Give a host whose only runtime is this one, at a level that needs all it declares."""
        runtime = cls.runtime()
        if (reason := runtime.unavailable()) is not None:
            pytest.skip(f"runtime {runtime.name} is not available here: {reason}")
        level = everything(cls.runtime, cls.syscalls)
        with cloche.Host(entry_points=False, plugins=[Subject(runtime, level)]) as host:
            assert not [r for r in host.plugins.records if r.error], host.plugins.records
            yield host

    @pytest.fixture(scope="class")
    @classmethod
    def does(cls) -> Iterator[GuestPrograms]:
        """Give the programs of its guests."""
        with closing(cls.programs()) as does:
            yield does

    @pytest.fixture(scope="class")
    @classmethod
    def sh(cls) -> str:
        """Give the shell of the box, or skip what is a script."""
        if not cls.programs.scripts:
            pytest.skip(f"guests of {cls.runtime.name} have no shell")
        return "/bin/sh"

    @pytest.fixture(scope="class")
    @classmethod
    def create(cls, host: cloche.Host, does: GuestPrograms) -> Callable[..., cloche.Sandbox]:
        """Make a sandbox with the programs in it."""
        return partial(
            host.create, isolation="conformance", runtime=cls.runtime.name, **{"strict": False, **does.options()}
        )

    @pytest.fixture(scope="class")
    @classmethod
    def unkept(cls, create: Callable[..., cloche.Sandbox]) -> dict[str, str]:
        """Give what the runtime declares but can't keep on this machine, with the reason it reports."""
        with create() as box:
            return box.enforcement.refusals(box.spec.needed())

    @pytest.fixture
    def box(self, create: Callable[..., cloche.Sandbox], unkept: dict[str, str]) -> Iterator[cloche.Sandbox]:
        """Give a fresh sandbox, strict unless this machine lacks something."""
        with create(strict=not unkept) as box:
            yield box

    @pytest.fixture
    def marker(self) -> str:
        """Give a number no other process has in its arguments, to find a guest's processes by (as seconds to sleep)."""
        return f"{3000 + uuid.uuid4().int % 1000}.{uuid.uuid4().int % 10**9:09d}"

    # -- programs ---------------------------------------------------------------------------------------------------

    def test_a_program_gives_its_output_and_exit_code(self, box: cloche.Sandbox, does: GuestPrograms) -> None:
        done = box.exec(*does.says("out", "err", 3))
        assert (done.stdout, done.stderr, done.exit_code, done.reason) == (b"out\n", b"err\n", 3, "exited")

    def test_arguments_reach_the_program_as_they_are(self, box: cloche.Sandbox, does: GuestPrograms) -> None:
        nasty = ["$HOME", "`id`", "; rm -rf /", "a b\tc", "ü\n", "*", ""]
        done = box.exec(*does.arguments(*nasty))
        assert done.text == "".join(f"{a}|" for a in nasty)

    def test_the_environment_is_built_from_nothing(
        self, box: cloche.Sandbox, does: GuestPrograms, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CLOCHE_TEST_SECRET", "leak")
        done = box.exec(*does.environment(), env={"GIVEN": "yes"})
        assert "GIVEN=yes" in done.text.splitlines()
        assert "CLOCHE_TEST_SECRET" not in done.text

    def test_programs_start_in_the_work_folder_and_may_write_there(
        self, box: cloche.Sandbox, does: GuestPrograms
    ) -> None:
        first = box.exec(*does.keeps("here", "kept"))
        second = box.exec(*does.shows("here"))
        assert second.text == "kept\n", (first, second)

    def test_cwd_is_honoured_and_a_missing_one_is_refused(self, box: cloche.Sandbox, does: GuestPrograms) -> None:
        place = does.elsewhere()
        assert box.exec(*does.where(), cwd=place).text == f"{place}\n"
        gone = box.exec(*does.where(), cwd="/no/such/folder")
        assert (gone.exit_code, gone.reason) == (126, "refused")

    @pytest.mark.parametrize("size", [0, 5, 70_000, 3_000_000])
    def test_standard_input_arrives_whole(self, box: cloche.Sandbox, does: GuestPrograms, size: int) -> None:
        done = box.exec(*does.counts(), stdin=b"x" * size)
        assert int(done.text) == size

    def test_without_standard_input_it_reads_the_end(self, box: cloche.Sandbox, does: GuestPrograms) -> None:
        assert box.exec(*does.counts(), timeout=10).text.strip() == "0"

    def test_a_file_of_the_host_can_be_standard_input(
        self, box: cloche.Sandbox, does: GuestPrograms, tmp_path: Path
    ) -> None:
        (tmp_path / "in").write_bytes(b"line\n" * 30_000)
        assert box.exec(*does.counts(), stdin=tmp_path / "in").text.strip() == "150000"
        with (tmp_path / "in").open("rb") as file:
            assert box.exec(*does.counts(), stdin=file).text.strip() == "150000"

    def test_a_missing_program_is_127_and_one_that_cannot_run_126(
        self, box: cloche.Sandbox, does: GuestPrograms
    ) -> None:
        assert (box.exec("no-such-program").exit_code, box.exec("/no/such").reason) == (127, "refused")
        assert box.exec(does.not_executable(box)).exit_code == 126

    def test_many_programs_run_at_once_in_one_box(self, box: cloche.Sandbox, does: GuestPrograms) -> None:
        began = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda _: box.exec(*does.sleeps("1.5")), range(8)))
        assert all(d.ok for d in done)
        assert time.monotonic() - began < 8 * 1.5

    def test_a_signalled_program_says_so(self, box: cloche.Sandbox, does: GuestPrograms) -> None:
        done = box.exec(*does.breaks())
        assert (done.reason, done.signal, done.exit_code) == ("signalled", 11, 139)
