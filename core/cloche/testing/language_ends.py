"""Part of ``LanguageConformance``: every way in which code ends that does not end by itself."""

from __future__ import annotations

import threading
import time
from typing import ClassVar, Final

import anyio
import pytest

import cloche
from cloche.testing.language_programs import LanguagePrograms

SOON: Final = 5.0
"""Seconds that ending a run may take at most on a busy machine."""


class LanguageEnds:
    """Tests of limits and of what ends a run from outside."""

    language: ClassVar[str]
    programs: ClassVar[LanguagePrograms]

    def _needs(self, program: str) -> str:
        if not program:
            pytest.skip("this language can't say that")
        return program

    # -- ends -------------------------------------------------------------------------------------------------------

    def test_a_loop_is_stopped_and_the_session_lives(self, plain: cloche.Interpreter) -> None:
        with plain.session() as session:
            session.run(self.programs.keep)
            began = time.monotonic()
            ran = session.run(self.programs.loop, timeout=0.1)
            assert ran.reason == "timeout"
            assert 0.05 < time.monotonic() - began < SOON  # stops included, so it may be a little less
            assert session.run(self.programs.kept).value == 2

    def test_a_hard_end_rolls_back(self, plain: cloche.Interpreter) -> None:
        program = self._needs(self.programs.hard)
        with plain.session() as session:
            session.run(self.programs.keep)
            ran = session.run(f"{self.programs.change}\n{program}", timeout=0.1)
            assert (ran.reason, ran.rolled_back) == ("timeout", True)
            assert session.run(self.programs.kept).value == 2

    @pytest.mark.parametrize(
        ("what", "reason"),
        [("memory", "limit:memory"), ("stack", "limit:stack"), ("output", "limit:output"), ("value", "limit:size")],
    )
    def test_each_limit_has_its_reason(self, host: cloche.Host, what: str, reason: str) -> None:
        bounds = cloche.Bounds(value=100_000, source=10_000)
        with host.interpreter(self.language, limits={"memory": "32M", "output": "100K"}, bounds=bounds) as small:
            ran = small.run(getattr(self.programs, what))
            assert ran.reason == reason
            assert small.run(self.programs.variable, {"n": 1}).value == 2
            assert small.run("1 " * 10_000).reason == "limit:size"

    def test_a_run_ends_when_its_session_is_closed(self, plain: cloche.Interpreter) -> None:
        session = plain.session()
        reasons: list[str] = []
        thread = threading.Thread(target=lambda: reasons.append(session.run(self.programs.loop).reason))
        thread.start()
        while not session.info().busy:
            time.sleep(0.001)
        began = time.monotonic()
        session.close()
        thread.join(SOON)
        assert reasons == ["killed"]
        assert time.monotonic() - began < SOON

    def test_a_fresh_run_ends_when_its_caller_is_cancelled(self, plain: cloche.Interpreter) -> None:
        interpreter = plain._inner

        async def main() -> bool:
            with anyio.move_on_after(0.1) as scope:
                await interpreter.run(self.programs.loop)
            return scope.cancelled_caught

        began = time.monotonic()
        assert anyio.run(main)
        assert time.monotonic() - began < SOON
