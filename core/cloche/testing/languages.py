"""What every language of a runtime must do, as tests: subclass and name your runtime.

::

    from cloche.testing import JAVASCRIPT, LanguageConformance

    class TestMine(LanguageConformance):
        runtime = MyRuntime
        language = "javascript"
        programs = JAVASCRIPT

Tests of what a language can't say are left out: see ``LanguagePrograms``.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

import cloche
from cloche.testing.conformance import Subject
from cloche.testing.language_ends import LanguageEnds


class LanguageConformance(LanguageEnds):
    """Set ``runtime``, ``language`` and ``programs``."""

    runtime: ClassVar[type[cloche.Runtime]]

    @pytest.fixture(scope="class")
    @classmethod
    def host(cls) -> Iterator[cloche.Host]:
        """Give a host whose only runtime is this one."""
        runtime = cls.runtime()
        if (reason := runtime.unavailable()) is not None:
            pytest.skip(f"runtime {runtime.name} is not available here: {reason}")
        if cls.language not in runtime.languages:
            pytest.skip(f"runtime {runtime.name} does not run {cls.language}")
        level = cloche.IsolationLevel(
            name="enhanced", summary="for tests", syscalls="enhanced", guarantees=frozenset({cloche.Guarantee.PROCESS}),
            limits=cloche.Limits(memory="64M", cpu=1, pids=64, open_files=256, file_size="64M", output="1M", wall=30),
        )  # fmt: skip
        with cloche.Host(config={}, plugins=[Subject(runtime, level)], entry_points=False, registry=False) as host:
            yield host

    @pytest.fixture(scope="class")
    @classmethod
    def plain(cls, host: cloche.Host) -> Iterator[cloche.Interpreter]:
        """Give an interpreter without functions of the host."""
        with host.interpreter(cls.language) as plain:
            yield plain

    # -- values and state -------------------------------------------------------------------------------------------

    def test_a_run_gives_its_last_value(self, plain: cloche.Interpreter) -> None:
        ran = plain.run(self.programs.variable, {"n": 41})
        assert ran.check().value == 42
        assert ran.usage.wall > 0
        assert ran.usage.memory > 0
        assert plain.run(self.programs.listed).value == [1, 2.5, "a"]

    def test_what_was_declared_stays_in_its_session_only(self, plain: cloche.Interpreter) -> None:
        with plain.session() as first, plain.session() as second:
            assert first.run(self.programs.keep).ok
            assert first.run(self.programs.kept).value == 2
            assert not second.run(self.programs.kept).ok
            assert first.info().memory > 0
        assert not plain.run(self.programs.kept).ok

    def test_variables_are_copies(self, plain: cloche.Interpreter) -> None:
        given: dict[str, Any] = {"x": {"a": [1, None, True, "é\u2028😀", 2**40, -0.5]}}
        ran = plain.run("x", given)
        assert ran.value == given["x"]
        assert ran.value is not given["x"]

    def test_variables_that_can_not_cross_are_refused(self, plain: cloche.Interpreter) -> None:
        loop: list[object] = []
        loop.append(loop)
        for wrong in ({"x": loop}, {"x": object()}, {"not a name": 1}, {3: 1}):
            with pytest.raises(cloche.SpecError):
                plain.run("1", wrong)  # type: ignore[arg-type]

    def test_an_error_is_told_with_its_name(self, plain: cloche.Interpreter) -> None:
        ran = plain.run(self.programs.fail)
        assert ran.reason == "error"
        assert ran.error is not None
        assert (ran.error.name, ran.error.message) == ("TypeError", "no")
        assert plain.run(self.programs.unknown).reason == "error"

    @pytest.mark.parametrize("source", ["(" * 5000, "\0", "'\ud800'", "\\", "\ufeff", "}", "🂠 = 1"])
    def test_no_source_breaks_it(self, plain: cloche.Interpreter, source: str) -> None:
        with plain.session() as session:
            try:
                ran = session.run(source, timeout=5)
            except cloche.SpecError:  # it can't even be handed over
                ran = None
            assert ran is None or ran.reason in ("completed", "error", "limit:stack", "limit:memory")
            assert session.run(self.programs.variable, {"n": 1}).value == 2

    # -- the console ------------------------------------------------------------------------------------------------

    def test_lines_are_collected_handed_on_or_dropped(self, host: cloche.Host, plain: cloche.Interpreter) -> None:
        assert [line.text for line in plain.run(self.programs.print).console] == ["a 1"]
        seen: list[cloche.ConsoleLine] = []
        assert plain.run(self.programs.print, on_console=seen.append).console == ()
        assert [line.text for line in seen] == ["a 1"]
        with host.interpreter(self.language, console="off") as off:
            assert off.run(self.programs.print).console == ()

    # -- functions of the host --------------------------------------------------------------------------------------

    def test_functions_of_the_host_are_called(self, host: cloche.Host) -> None:
        async def later(number: int) -> int:
            await asyncio.sleep(0.001)
            return number + 1

        with host.interpreter(self.language, functions={"f": lambda n: [n, {"a": None}], "g": later}) as toy:
            assert toy.run(self.programs.call).value == [20, {"a": None}]
            ran = toy.run(self.programs.awaited)
            assert ran.check().value == 21
            assert ran.usage.host_calls == 1

    def test_what_a_function_raises_is_told_in_general_words(self, host: cloche.Host) -> None:
        program = self._needs(self.programs.caught)

        def secret() -> None:
            raise RuntimeError("password=hunter2")

        def told() -> None:
            raise cloche.HostError("no such user")

        for function, text in ((secret, "f failed"), (told, "no such user"), (object, "")):
            with host.interpreter(self.language, functions={"f": function}) as toy:
                ran = toy.run(program).check()
                assert isinstance(ran.value, str)
                assert text in ran.value
                assert "hunter2" not in f"{ran.value}{ran.error}{ran.detail}"

    def test_calls_are_counted(self, host: cloche.Host) -> None:
        called: list[int] = []
        with host.interpreter(
            self.language, functions={"f": lambda: called.append(1)}, bounds=cloche.Bounds(host_calls=5)
        ) as toy:
            assert toy.run(self.programs.calls).reason == "limit:host_calls"
            assert len(called) == 5
            assert toy.run(self.programs.calls).reason == "limit:host_calls"

    # -- streams and snapshots --------------------------------------------------------------------------------------

    def test_a_stream_goes_on_only_when_it_is_asked(self, host: cloche.Host) -> None:
        program = self._needs(self.programs.stream)
        called: list[int] = []

        def step() -> int:
            called.append(1)
            return 2

        with host.interpreter(self.language, functions={"f": step}) as toy, toy.session() as session:
            stream = session.stream(program)
            assert stream.send(None) == 1
            assert called == []
            assert list(stream) == [2]
            assert stream.result is not None
            assert stream.result.value == 3
            left = session.stream(program)
            assert left.send(None) == 1
            left.close()
            assert session.run(self.programs.variable, {"n": 1}).value == 2

    def test_values_are_sent_into_a_stream(self, plain: cloche.Interpreter) -> None:
        with plain.stream(self._needs(self.programs.sent)) as stream:
            assert stream.send(None) == 1
            assert stream.send({"a": [1]}) == {"a": [1]}

    def test_a_stream_is_stopped_in_time(self, plain: cloche.Interpreter) -> None:
        self._needs(self.programs.stream)
        with pytest.raises(cloche.GuestFailed) as caught:
            list(plain.stream(self.programs.loop, timeout=0.1))
        assert caught.value.result.reason == "timeout"

    def test_a_session_that_rested_knows_what_it_knew(
        self, plain: cloche.Interpreter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cloche.interpreters.resting.AFTER", 0.05)
        with plain.session() as session:
            session.run(self.programs.keep)
            for _ in range(2):
                time.sleep(0.3)
                assert session.run(self.programs.kept).value == 2

    def test_a_session_goes_on_from_its_snapshot(self, plain: cloche.Interpreter) -> None:
        with plain.session() as session:
            session.run(self.programs.keep)
            try:
                saved = session.snapshot()
            except cloche.Unsupported:
                pytest.skip("sessions of this language can't be saved")
            assert session.run(self.programs.kept).value == 2
        for _ in range(2):
            with plain.restore(saved) as again:
                assert again.run(self.programs.kept).value == 2
        for wrong in (b"", b"x", saved[:-1], saved[: len(saved) // 2], saved + b"x", bytes(len(saved))):
            with pytest.raises(cloche.SnapshotError):
                plain.restore(wrong)

    # -- what stays apart -------------------------------------------------------------------------------------------

    def test_random_numbers_are_not_shared(self, plain: cloche.Interpreter) -> None:
        program = self._needs(self.programs.random)
        assert len({plain.run(program).value for _ in range(8)}) == 8

    def test_a_frozen_clock_stands_still(self, host: cloche.Host) -> None:
        program = self._needs(self.programs.clock)
        with host.interpreter(self.language, clock="frozen") as toy, toy.session() as session:
            first = session.run(program).value
            time.sleep(0.01)
            assert session.run(program).value == first

    def test_threads_do_not_disturb_each_other(self, host: cloche.Host) -> None:
        wrong: list[object] = []

        def maybe(number: int) -> list[int]:
            if number % 2:
                raise ValueError(number)
            return [number]

        with host.interpreter(self.language, functions={"f": maybe}) as toy:

            def work(first: int) -> None:
                for number in range(first, first + 50):
                    ran = toy.run("f(n)", {"n": number})
                    if ran.ok is bool(number % 2) or (ran.ok and ran.value != [number]):
                        wrong.append(ran)

            threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 400, 100)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert wrong == []

    def test_runs_leave_nothing_behind(self, plain: cloche.Interpreter) -> None:
        plain.run("1")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(200):
            plain.run(self.programs.keep)
        assert len(os.listdir("/proc/self/fd")) <= before
        assert plain.metrics().sessions == 0

    # -- what is kept -----------------------------------------------------------------------------------------------

    def test_the_report_covers_all_that_is_needed(self, plain: cloche.Interpreter) -> None:
        assert plain.enforcement.refusals(plain.spec.needed()) == {}
