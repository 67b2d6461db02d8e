from __future__ import annotations

import gc
import signal
import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import OPEN, AsyncHost, Host, Job, Sandbox, SpecError, StateError, Unsupported, Window
from cloche.testing import FakeRuntime, Guest
from cloche.units import signal_number

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_own_leaks")


async def chatter(guest: Guest) -> None:
    """Print each line it reads, upper case, on both streams in turn."""
    stream = 1
    while line := await guest.read():
        await guest.write(line.upper(), stream=stream)
        stream = 3 - stream


async def flood(guest: Guest) -> None:
    """Print so many bytes, each telling its place."""
    left = int(guest.args[1])
    while left > 0:
        await guest.write(bytes(range(251)) * 40)
        left -= 251 * 40


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime(programs={"chatter": chatter, "flood": flood})


def printed(job: Job, since: int = 0) -> bytes:
    return b"".join(chunk.data for chunk in job.output(since))


# -- output ----------------------------------------------------------------------------------------------------------


def test_a_conversation(box: Sandbox) -> None:
    job = box.spawn("chatter", stdin=OPEN)
    assert (job.running, job.result, job.args, job.pid) == (True, None, ("chatter",), 2)
    lines = job.lines()
    job.write("one\n")
    assert next(lines) == "ONE"
    job.write(b"two\n")
    assert next(lines) == "TWO"
    job.close_stdin()
    job.close_stdin()
    done = job.wait(5)
    assert (done.ok, done.stdout, done.stderr, list(lines)) == (True, b"ONE\n", b"TWO\n", [])
    assert list(job.lines("stderr")) == ["TWO"]
    assert (job.running, job.result, job.wait()) == (False, done, done)


def test_output_is_replayed_from_any_offset_to_whoever_attaches(box: Sandbox) -> None:
    job = box.spawn("echo", "hello", "world")
    job.wait(5)
    first = next(job.output())
    assert (first.seq, first.stream, first.end) == (0, "stdout", 12)
    assert (printed(job), printed(job, 6), printed(job, first.end)) == (b"hello world\n", b"world\n", b"")
    assert b"".join(c.data for c in job.held()) == b"hello world\n"
    assert [c.data for batch in job.batches(11) for c in batch] == [b"\n"]
    for since in (-1, "x", None, 1.5):
        with pytest.raises(SpecError, match="since"):
            list(job.output(since))  # type: ignore[arg-type]


def test_two_followers_get_all_of_it(box: Sandbox) -> None:
    job = box.spawn("flood", "3000000", ring="64K")
    other: list[bytes] = []
    thread = threading.Thread(target=lambda: other.append(printed(box.attach(job.id))))
    mine = job.output()
    first = next(mine)  # from here on the program waits for me
    thread.start()
    data = first.data + b"".join(c.data for c in mine)
    thread.join()
    total = first.seq + len(data)
    assert data == (bytes(range(251)) * (total // 251))[first.seq :]
    assert data.endswith(other[0])
    assert len(job.wait(5).stdout) == 64 << 10


def test_without_followers_the_program_never_waits(box: Sandbox) -> None:
    job = box.spawn("flood", "2000000", ring=1000)
    assert len(job.wait(5).stdout) == 1000
    only = list(job.output())
    assert sum(len(c.data) for c in only) == 1000
    assert only[0].seq > 1_900_000


def test_lossless_jobs_wait_for_a_reader_and_are_bounded_by_the_output_limit(host: Host) -> None:
    with host.create(limits={"output": 600_000}) as box:
        job = box.spawn("flood", "500000", ring=1000, lossless=True)
        with pytest.raises(TimeoutError):
            job.wait(0.02)
        assert len(printed(job)) > 500_000
        assert job.wait(5).ok
        job = box.spawn("flood", "700000", ring=1000, lossless=True)
        assert len(printed(job)) == 600_000
        assert job.wait(5).reason == "limit:output"


def test_an_iteration_that_was_given_up_holds_nothing_up(box: Sandbox) -> None:
    job = box.spawn("flood", "3000000", ring=1000)
    for _ in job.output():
        break
    gc.collect()
    assert job.wait(5).ok


@pytest.mark.parametrize("lossless", [False, True], ids=["lossy", "lossless"])
def test_a_follower_that_stands_still_holds_up_neither_kill_nor_delete(host: Host, *, lossless: bool) -> None:
    for verb in ("job.kill", "kill", "delete"):
        box = host.create()
        job = box.spawn("yes", ring=1000, lossless=lossless)
        stuck = job.output()
        next(stuck)
        (job.kill if verb == "job.kill" else getattr(box, verb))()
        assert job.wait(5).reason == "killed"
        assert b"".join(c.data for c in stuck).startswith((b"y\n", b"\ny"))
        box.delete()


def test_a_generator_that_outlives_its_host_is_harmless(fakes: Callable[..., object], runtime: FakeRuntime) -> None:
    with Host(plugins=[fakes(runtime)], entry_points=False) as host:
        job = host.create().spawn("yes")
        output = job.output()
        next(output)
    del output
    gc.collect()
    with pytest.raises(StateError):
        next(job.output())
    assert job.wait().reason == "killed"


# -- input, terminals, signals ---------------------------------------------------------------------------------------


def test_writing_needs_an_open_input(box: Sandbox) -> None:
    silent = box.spawn("sleep", "9")
    with pytest.raises(StateError, match=r"stdin=cloche\.OPEN"):
        silent.write("x")
    silent.close_stdin()
    job = box.spawn("chatter", stdin=OPEN)
    for bad in (5, None, "\ud800"):
        with pytest.raises(SpecError, match="write"):
            job.write(bad)  # type: ignore[arg-type]
    job.close_stdin()
    with pytest.raises(StateError, match="closed"):
        job.write("x")
    assert job.wait(5).ok


def test_what_is_written_while_the_program_does_not_read_waits_and_arrives(box: Sandbox) -> None:
    job = box.spawn("cat", stdin=OPEN, ring="4M")

    def write() -> None:
        job.write(b"x" * 1_000_000)
        job.close_stdin()

    writer = threading.Thread(target=write)
    writer.start()
    assert printed(job) == b"x" * 1_000_000
    writer.join()


def test_a_terminal_can_be_written_to_and_resized(box: Sandbox, runtime: FakeRuntime) -> None:
    async def size(guest: Guest) -> None:
        await guest.read()
        assert guest.window
        await guest.write(f"{guest.window.rows}x{guest.window.columns}")

    runtime.programs["size"] = size
    job = box.spawn("size", tty=Window(10, 20))
    job.resize(30, 40)
    for rows in (0, 70_000, "x"):
        with pytest.raises(SpecError):
            job.resize(rows, 40)  # type: ignore[arg-type]
    job.write("\n")
    assert job.wait(5).text.strip().endswith("30x40")
    with pytest.raises(Unsupported, match="no terminal"):
        box.spawn("sleep", "9").resize(1, 1)


def test_signals_reach_the_program(box: Sandbox, runtime: FakeRuntime) -> None:
    async def polite(guest: Guest) -> None:
        guest.on_signal(signal.SIGTERM, lambda _: done.set())
        await guest.write("ready\n")
        while not done.is_set():
            await guest.sleep(0.001)
        await guest.write("bye\n")

    done = threading.Event()
    runtime.programs["polite"] = polite
    job = box.spawn("polite")
    lines = job.lines()
    assert next(lines) == "ready"
    job.signal("term")
    assert (list(lines), job.wait(5).ok) == (["bye"], True)
    job.signal("KILL")  # it has ended: nothing happens
    loud = box.spawn("sleep", "9")
    loud.signal(signal.SIGUSR1)
    assert (loud.wait(5).reason, loud.wait().signal, loud.wait().exit_code) == ("signalled", 10, 138)
    for bad in ("NOPE", 0, 999, None, 1.5):
        with pytest.raises(SpecError, match="no signal"):
            loud.signal(bad)  # type: ignore[arg-type]
    assert signal_number("SIGHUP") == signal_number("hup") == signal_number(1) == 1


def test_killing_a_job_returns_when_all_of_it_is_gone(box: Sandbox) -> None:
    job = box.spawn("stubborn", "9")
    job.kill()
    assert job.result is not None
    assert (job.result.reason, job.result.detail) == ("killed", "it was killed by request")
    assert box.stats()["pids"] == 0
    job.kill()


def test_waiting_may_be_bounded_and_the_job_runs_on(box: Sandbox) -> None:
    job = box.spawn("sleep", "9")
    with pytest.raises(TimeoutError):
        job.wait(0.01)
    assert job.running
    assert box.spawn("sleep", "9", timeout=0.01).wait(5).reason == "timeout"


def test_the_asynchronous_face_follows_too(fakes: Callable[..., object], runtime: FakeRuntime) -> None:
    async def main() -> None:
        async with AsyncHost(plugins=[fakes(runtime)], entry_points=False) as host, await host.create() as box:
            job = await box.spawn("chatter", stdin=OPEN)
            lines = job.lines()
            await job.write("one\n")
            assert await anext(lines) == "ONE"
            await job.write("two")
            await job.close_stdin()
            assert [line async for line in lines] == ["TWO"]
            assert (await job.wait(5)).ok
            assert [(c.stream, c.data) async for c in job.output(2)] == [("stdout", b"E\n"), ("stderr", b"TWO")]
            assert b"".join(c.data for c in await job.held()) == b"ONE\nTWO"

    anyio.run(main)
