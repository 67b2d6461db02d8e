"""Many interpreters, many runs, many threads: nothing is left over, and nothing gets from one to another."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cloche
from cloche import InterpreterSpec, Limits, Running
from cloche_levels import ENHANCED
from cloche_wasm.cache import Cache
from cloche_wasm.engine import PLACES
from cloche_wasm.javascript.language import JavaScriptLanguage

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSIONS = 5000
PRIVATE = 200 << 10
"""Bytes of its own that a session may take after a few runs."""


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JavaScriptLanguage]:
    cache = Cache(tmp_path_factory.mktemp("cache") / "wasm")
    spec = InterpreterSpec("javascript", ENHANCED, Limits(memory="32M", wall=30, output="1M"))
    language = JavaScriptLanguage(spec, cache=cache)
    language.once("1", None, Running(10.0))
    yield language
    language.close()


def own() -> int:
    """Give the bytes that are this process's alone."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_Dirty"))


def test_thousands_of_sessions_live_in_one_process(language: JavaScriptLanguage) -> None:
    maps = int(Path("/proc/sys/vm/max_map_count").read_text())
    if maps < 4 * SESSIONS:
        pytest.skip(f"this host allows a process {maps} mappings, too few")
    before = own()
    sessions = [language.open() for _ in range(SESSIONS)]
    for number, session in enumerate(sessions):
        assert session.run(f"let mine = {number}; mine", None, Running(10.0)).value == number
    taken = (own() - before) / SESSIONS
    for number in range(0, SESSIONS, 97):
        assert sessions[number].run("mine", None, Running(10.0)).value == number
    for session in sessions:
        session.close()
    assert taken < PRIVATE


def test_thousands_of_runs_leave_memory_and_descriptors_as_they_were(language: JavaScriptLanguage) -> None:
    def held() -> tuple[int, int]:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096, len(os.listdir("/proc/self/fd"))

    def some(count: int) -> None:
        for number in range(count):
            ran = language.once(
                "[n, {a: 'x'}]" if number % 10 else "throw new Error('e')", {"n": number}, Running(10.0)
            )
            assert ran.reason == ("completed" if number % 10 else "error")

    some(500)
    memory, descriptors = held()
    some(10_000)
    assert held()[1] == descriptors
    assert held()[0] - memory < 4 << 20


EVERYWHERE = (
    "globalThis.canary = 'secret'; var canary2 = 'secret'; $fs.write('canary', 'secret'); "
    "try { Object.prototype.canary3 = 'secret' } catch {} try { Array.prototype.canary3 = 'secret' } catch {} "
    "Math.random(); console.log('secret'); 1"
)
LOOK = (
    "[typeof canary, typeof canary2, $fs.list().length, typeof {}.canary3, typeof [].canary3, "
    "Object.getOwnPropertyNames(globalThis).filter((name) => name.includes('canary')).length]"
)
NOTHING = ["undefined", "undefined", 0, "undefined", "undefined", 0]


def test_what_one_run_leaves_no_other_finds(language: JavaScriptLanguage) -> None:
    filling = "globalThis.canary = Array.from({ length: 200000 }, (_, i) => 'secret' + i); canary.length"
    for number in range(60):
        found = language.once(LOOK, None, Running(10.0))
        assert (found.value, found.console) == (NOTHING, ())
        assert language.once(EVERYWHERE, None, Running(10.0)).value == 1
        if number % 20 == 0:
            assert language.once(filling, None, Running(10.0)).value == 200_000
        if number % 20 == 1:
            assert language.once(f"{EVERYWHERE}; for (;;);", None, Running(0.05)).reason == "timeout"
        if number % 20 == 2:
            assert (
                language.once(f"{EVERYWHERE}; new Array(2 ** 32 - 1).join('')", None, Running(0.05)).reason
                != "completed"
            )


def test_more_runs_at_once_than_there_are_places_go_elsewhere() -> None:
    count = PLACES + 4
    here = threading.Barrier(count, timeout=60)
    with (
        cloche.Host(pool=False) as host,
        host.interpreter("javascript", functions={"meet": lambda: here.wait() * 0}) as js,
        ThreadPoolExecutor(count) as threads,
    ):
        assert [ran.value for ran in threads.map(js.run, ["meet() + 1"] * count)] == [1] * count


def test_a_forked_process_runs_code_without_the_places(language: JavaScriptLanguage) -> None:
    child = os.fork()
    if not child:
        os._exit(0 if language.once("6 * 7", None, Running(10.0)).value == 42 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert language.once("6 * 7", None, Running(10.0)).value == 42


def test_what_one_tenant_leaves_no_other_finds() -> None:
    with (
        cloche.Host(pool=False) as host,
        host.interpreter("javascript", runtime="wasm", pool={"min": 2, "max": 4}) as tenants,
    ):
        for _ in range(20):
            with tenants.acquire(timeout=10) as tenant:
                found = tenant.run(LOOK)
                assert found.value == NOTHING
                assert found.console == ()
                assert tenant.run(EVERYWHERE).value == 1


def test_each_of_many_is_ended_at_its_own_time(language: JavaScriptLanguage) -> None:
    late: list[float] = []

    def spin(wall: float) -> None:
        began = time.monotonic()
        ran = language.once("for (;;);", None, Running(wall))
        late.append(time.monotonic() - began - wall)
        assert ran.reason == "timeout"

    threads = [threading.Thread(target=spin, args=(0.2 + 0.05 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(late) == len(threads)
    assert max(late) < 0.5  # a busy machine; on a quiet one some milliseconds


def test_a_function_that_raises_is_nobodys_but_its_callers() -> None:
    seen: list[Any] = []

    def fail(number: int) -> int:
        if number % 2:
            raise cloche.HostError(f"odd {number}")
        return number

    with (
        cloche.Host(pool=False) as host,
        host.interpreter("javascript", runtime="wasm", functions={"fail": fail}) as js,
    ):

        def call(parity: int) -> None:
            for number in range(parity, 400, 2):
                ran = js.run(f"fail({number})")
                seen.append(
                    ran.value == number
                    if parity == 0
                    else ran.error is not None and ran.error.message == f"odd {number}"
                )

        threads = [threading.Thread(target=call, args=(number % 2,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(seen) == 800
    assert all(seen)
