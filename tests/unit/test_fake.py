from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import pytest

from cloche import Exit, Guarantee, GuestProcess, ProcessSpec, Spec, StartError, Stdio, Unenforced, Unsupported, Window
from cloche.testing import PROGRAMS, FakeInstance, FakeRuntime, Guest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloche import Instance

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_own_leaks")]
MakeSpec = Callable[..., Spec]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Running:
    """A program with the host's ends of its streams."""

    process: GuestProcess
    stdin: int
    stdout: int
    stderr: int

    async def read(self, fd: int) -> bytes:
        data = b""
        while True:
            await anyio.wait_readable(fd)
            block = os.read(fd, 65536)
            if not block:
                return data
            data += block

    async def line(self) -> bytes:
        data = b""
        while not data.endswith(b"\n"):
            await anyio.wait_readable(self.stdout)
            data += os.read(self.stdout, 1)
        return data

    def close(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)


def process(*args: str, linger: bool = False, cwd: str = "/", window: Window | None = None) -> ProcessSpec:
    return ProcessSpec(args=args, env={"A": "1"}, cwd=cwd, linger=linger, window=window)


@asynccontextmanager
async def box(spec: Spec, runtime: FakeRuntime | None = None) -> AsyncIterator[FakeInstance]:
    instance = await (runtime or FakeRuntime()).create(spec)
    assert isinstance(instance, FakeInstance)
    await instance.start()
    with anyio.fail_after(5):
        yield instance
        await instance.delete()


@asynccontextmanager
async def running(instance: Instance, spec: ProcessSpec) -> AsyncIterator[Running]:
    stdin, ours_in = os.pipe()
    ours_out, stdout = os.pipe()
    ours_err, stderr = os.pipe()
    try:
        started = await instance.exec(spec, Stdio(stdin, stdout, stderr))
    finally:
        for fd in (stdin, stdout, stderr):
            os.close(fd)
    run = Running(started, ours_in, ours_out, ours_err)
    try:
        yield run
    finally:
        run.close()


async def end(instance: Instance, *args: str) -> tuple[Exit, bytes, bytes]:
    async with running(instance, process(*args)) as run:
        exit_ = await run.process.wait()
        return exit_, await run.read(run.stdout), await run.read(run.stderr)


@pytest.mark.parametrize(
    ("args", "expected", "out", "err"),
    [
        (("true",), Exit(code=0), b"", b""),
        (("false",), Exit(code=1), b"", b""),
        (("exit", "300"), Exit(code=44), b"", b""),
        (("echo", "a", "b"), Exit(code=0), b"a b\n", b""),
        (("warn", "a"), Exit(code=0), b"", b"a\n"),
        (("env",), Exit(code=0), b"A=1\n", b""),
        (("pwd",), Exit(code=0), b"/\n", b""),
        (("hog",), Exit(signal=9, out_of_memory=True), b"", b""),
    ],
)
async def test_a_program_ends_as_it_ends(
    make_spec: MakeSpec, args: tuple[str, ...], expected: Exit, out: bytes, err: bytes
) -> None:
    async with box(make_spec()) as instance:
        assert await end(instance, *args) == (expected, out, err)


async def test_what_can_not_be_executed_is_refused(make_spec: MakeSpec) -> None:
    async with box(make_spec()) as instance:
        for spec, code in [(process("nothing"), 127), (process("data"), 126), (process("true", cwd="/nowhere"), 126)]:
            made = await instance.exec(spec, Stdio())
            ended = await made.wait()
            assert (ended.code, ended.refused) == (code, True)
            assert "can't be used in the box" in ended.detail
            await made.kill()
            await made.signal(15)


async def test_a_program_that_raises_ends_as_python_would(make_spec: MakeSpec) -> None:
    async def boom(_: Guest) -> int:
        raise ValueError("boom")

    async def leave(_: Guest) -> int:
        raise SystemExit(7)

    async with box(make_spec(), FakeRuntime(programs={"boom": boom, "leave": leave})) as instance:
        ended, _, err = await end(instance, "boom")
        assert ended == Exit(code=1)
        assert b"ValueError: boom" in err
        assert (await end(instance, "leave"))[0] == Exit(code=7)


async def test_input_is_read_to_its_end(make_spec: MakeSpec) -> None:
    data = os.urandom(300_000)  # more than a pipe holds
    async with (
        box(make_spec()) as instance,
        running(instance, process("cat")) as run,
        anyio.create_task_group() as tasks,
    ):

        async def feed() -> None:
            rest = data
            os.set_blocking(run.stdin, False)
            while rest:
                await anyio.wait_writable(run.stdin)
                rest = rest[os.write(run.stdin, rest) :]
            os.close(run.stdin)
            run.stdin = -1

        tasks.start_soon(feed)
        assert await run.read(run.stdout) == data
        assert await run.process.wait() == Exit(code=0)


async def test_without_streams_a_program_reads_nothing_and_writes_nowhere(make_spec: MakeSpec) -> None:
    async with box(make_spec()) as instance:
        for args in (("cat",), ("echo", "a")):
            assert await (await instance.exec(process(*args), Stdio())).wait() == Exit(code=0)


async def test_a_writer_nobody_reads_ends_by_sigpipe(make_spec: MakeSpec) -> None:
    async with box(make_spec()) as instance, running(instance, process("yes")) as run:
        os.close(run.stdout)
        run.stdout = -1
        assert await run.process.wait() == Exit(signal=signal.SIGPIPE)


async def test_a_signal_ends_a_program_unless_it_minds_it(make_spec: MakeSpec) -> None:
    async with box(make_spec()) as instance:
        async with running(instance, process("sleep", "60")) as run:
            await run.process.signal(signal.SIGTERM)
            assert await run.process.wait() == Exit(signal=15)
            await run.process.signal(signal.SIGTERM)
        async with running(instance, process("stubborn", "60")) as run:
            assert await run.line() == b"ready\n"
            await run.process.signal(signal.SIGTERM)
            await run.process.signal(signal.SIGWINCH)
            await anyio.lowlevel.checkpoint()
            assert (await instance.stats())["pids"] == 1
            await run.process.signal(signal.SIGKILL)
            assert await run.process.wait() == Exit(signal=9)


async def test_a_stopped_program_goes_on_when_continued(make_spec: MakeSpec) -> None:
    async with box(make_spec()) as instance, running(instance, process("echo", "a")) as run:
        await run.process.signal(signal.SIGSTOP)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        assert (await instance.stats())["pids"] == 1
        await run.process.signal(signal.SIGCONT)
        assert await run.process.wait() == Exit(code=0)


async def test_descendants_end_with_their_program(make_spec: MakeSpec) -> None:
    async with box(make_spec()) as instance, running(instance, process("daemon", "60")) as run:
        assert await run.process.wait() == Exit(code=0)
        assert (await instance.stats())["pids"] == 0
        assert await run.read(run.stdout) == b""


async def test_lingering_descendants_stay_and_keep_the_output_open_until_killed(make_spec: MakeSpec) -> None:
    async with box(make_spec()) as instance, running(instance, process("daemon", "60", linger=True)) as run:
        assert await run.process.wait() == Exit(code=0)
        assert (await instance.stats())["pids"] == 1
        os.set_blocking(run.stdout, False)
        with pytest.raises(BlockingIOError):
            os.read(run.stdout, 1)
        await run.process.kill()
        assert (await instance.stats())["pids"] == 0
        assert os.read(run.stdout, 1) == b""


async def test_a_paused_box_takes_no_step(make_spec: MakeSpec) -> None:
    async with box(make_spec()) as instance:
        await instance.pause()
        async with running(instance, process("echo", "a")) as run:
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            os.set_blocking(run.stdout, False)
            with pytest.raises(BlockingIOError):
                os.read(run.stdout, 1)
            await instance.resume()
            assert await run.process.wait() == Exit(code=0)
            assert os.read(run.stdout, 9) == b"a\n"


async def test_a_paused_box_can_be_killed(make_spec: MakeSpec) -> None:
    async with box(make_spec()) as instance, running(instance, process("yes")) as run:
        await instance.pause()
        await instance.kill()
        assert await run.process.wait() == Exit(signal=9)


async def test_a_terminal_has_a_size_and_carries_all_output(make_spec: MakeSpec) -> None:
    async def size(guest: Guest) -> None:
        await guest.read()
        await guest.write(f"{guest.window}", stream=2)

    async with box(make_spec(), FakeRuntime(programs={"size": size})) as instance:
        made = await instance.exec(process("size", window=Window(10, 20)), Stdio())
        assert made.terminal is not None
        await made.resize(Window(30, 40))
        os.write(made.terminal, b"go\n")
        assert await made.wait() == Exit(code=0)
        expected, data = b"go\r\nWindow(rows=30, columns=40)", b""
        while len(data) < len(expected):  # the kernel may hand over the echo before the rest
            data += os.read(made.terminal, 999)
        assert data == expected
        await made.resize(Window(1, 1))
        os.close(made.terminal)


async def test_without_a_terminal_there_is_no_size(make_spec: MakeSpec) -> None:
    async with box(make_spec()) as instance, running(instance, process("sleep", "60")) as run:
        with pytest.raises(Unsupported):
            await run.process.resize(Window(30, 40))


async def test_a_box_that_is_killed_or_crashes_says_why(make_spec: MakeSpec) -> None:
    for act, why in [(FakeInstance.kill, ""), (lambda i: FakeInstance.crash(i, "machinery broke"), "machinery broke")]:
        async with box(make_spec()) as instance, running(instance, process("sleep", "60")) as run:
            await act(instance)
            assert await instance.wait() == why
            assert await run.process.wait() == Exit(signal=9)
            with pytest.raises(StartError, match="not up"):
                await instance.exec(process("true"), Stdio())


async def test_the_runtime_knows_its_living_boxes(make_spec: MakeSpec) -> None:
    runtime = FakeRuntime()
    async with box(make_spec(), runtime) as instance:
        assert runtime.instances == [instance]
    assert runtime.instances == []
    await instance.delete()


async def test_a_fake_can_be_made_to_fail(make_spec: MakeSpec) -> None:
    spec = make_spec()
    assert FakeRuntime(broken="no reason").unavailable() == "no reason"
    with pytest.raises(StartError, match="no room"):
        await FakeRuntime(fails_to_create="no room").create(spec)
    instance = await FakeRuntime(fails_to_start="no power").create(spec)
    with pytest.raises(StartError, match="no power"):
        await instance.start()
    with pytest.raises(StartError, match="not up"):
        await instance.exec(process("true"), Stdio())
    await instance.delete()


async def test_a_fake_reports_every_feature_and_pretends_none_in_earnest(make_spec: MakeSpec) -> None:
    spec = make_spec(guarantees=frozenset({Guarantee.KERNEL, Guarantee.PROCESS}))
    report = FakeRuntime(unkept={"disk": "no quota"}).enforcement(spec)
    assert {g.value for g in Guarantee} | spec.limits.asked() <= set(report)
    assert report.refusals(spec.needed()) == {
        "disk": "no quota",
        "kernel": "the runtime fake does not pretend it",
    }
    assert "isolates nothing" in str(report["process"])
    assert isinstance(report["kernel"], Unenforced)


async def test_a_box_is_started_once(make_spec: MakeSpec) -> None:
    async with box(make_spec()) as instance:
        with pytest.raises(StartError, match="once"):
            await instance.start()


async def test_a_signal_that_can_not_be_handled_is_not_handled(make_spec: MakeSpec) -> None:
    async def try_it(guest: Guest) -> None:
        guest.on_signal(signal.SIGKILL, print)

    async with box(make_spec(), FakeRuntime(programs={"try": try_it})) as instance:
        assert b"can't be handled" in (await end(instance, "try"))[2]


def test_the_programs_are_listed_with_one_that_is_no_program() -> None:
    assert [name for name, program in PROGRAMS.items() if program is None] == ["data"]
