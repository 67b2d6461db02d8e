"""Both ways of steering a sandbox, against the runsc of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from cloche import Exit, NotFound, RuntimeUnavailable, SandboxError, StartError, Unsupported
from cloche_gvisor.cli import CliControl
from cloche_gvisor.contract import Control, GuestProgram
from cloche_gvisor.control import SocketControl, connect
from cloche_gvisor.replies import BrokenSentry, RefusedCall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from cloche_gvisor.contract import Target


@pytest.fixture(params=["socket", "cli"])
def use(request: pytest.FixtureRequest, target: Target) -> Callable[[Callable[[Control], Awaitable[Any]]], Any]:
    """Run a function of the test with each way to the sandbox."""

    async def body(function: Callable[[Control], Awaitable[Any]]) -> object:
        control = await connect(target) if request.param == "socket" else CliControl(target)
        try:
            with anyio.fail_after(60):
                return await function(control)
        finally:
            control.close()

    return lambda function: anyio.run(body, function)


@contextmanager
def pipes() -> Iterator[tuple[tuple[int, int, int], int]]:
    """Give a program's three files, input empty, and the end where what it writes is read."""
    with ExitStack() as held:
        empty, gone = os.pipe()
        os.close(gone)
        out, into = os.pipe()
        held.callback(os.close, empty)
        held.callback(os.close, out)
        held.callback(os.close, into)
        yield (empty, into, into), out


def program(*argv: str, **more: Any) -> GuestProgram:  # noqa: ANN401 - fields of GuestProgram
    return GuestProgram(argv=argv, uid=1000, gid=1000, env=("PATH=/usr/bin", "WORD=caf\u00e9"), **more)


def test_the_sentrys_socket_is_found(target: Target) -> None:
    control = anyio.run(connect, target)
    assert isinstance(control, SocketControl)


def test_a_program_runs_and_its_end_is_told(use: Callable[..., Any]) -> None:
    async def body(control: Control) -> None:
        with pipes() as (files, out):
            source = 'echo "$WORD" $(pwd) $(id -u) "$1"; exit 7'
            pid = await control.exec(program("/bin/sh", "-c", source, "sh", "a detached {out} word", cwd="/tmp"), files)
            assert await control.wait(pid) == Exit(code=7)
            assert os.read(out, 1000).decode() == "caf\u00e9 /tmp 1000 a detached {out} word\n"

    use(body)


def test_a_program_has_no_capability_and_gets_none(use: Callable[..., Any]) -> None:
    async def body(control: Control) -> None:
        with pipes() as (files, out):
            pid = await control.exec(program("/bin/grep", "^Cap", "/proc/self/status"), files)
            assert (await control.wait(pid)).code == 0
            sets = dict(line.split(":\t") for line in os.read(out, 1000).decode().splitlines())
            assert sets
            assert {int(value, 16) for value in sets.values()} == {0}

    use(body)


def test_a_signal_ends_one_program_and_is_told(use: Callable[..., Any]) -> None:
    async def body(control: Control) -> None:
        with pipes() as (files, _):
            pid = await control.exec(program("/bin/sleep", "60"), files)
            assert pid in {task.pid for task in await control.processes()}
            await control.signal(signal.SIGKILL, pid)
            assert await control.wait(pid) == Exit(signal=signal.SIGKILL)
            assert pid not in {task.pid for task in await control.processes()}
            with pytest.raises(NotFound, match="no such process"):
                await control.signal(signal.SIGKILL, pid)

    use(body)


def test_what_is_not_there_is_refused(use: Callable[..., Any]) -> None:
    async def body(control: Control) -> None:
        with pipes() as (files, _):
            with pytest.raises(NotFound):
                await control.wait(4321)
            with pytest.raises(StartError, match="no such file"):
                await control.exec(program("/no/such/program"), files)
            with pytest.raises(StartError, match="directory"):
                await control.exec(program("/bin/true", cwd="/no/such/folder"), files)
            with pytest.raises(RefusedCall, match="not found"):
                await control.trace_delete("Default")

    use(body)


def test_a_paused_guest_does_nothing(use: Callable[..., Any]) -> None:
    async def body(control: Control) -> None:
        with pipes() as (files, out):
            os.set_blocking(out, False)
            pid = await control.exec(program("/bin/sh", "-c", "while :; do echo x; sleep 0.01; done"), files)
            with anyio.fail_after(20):
                await anyio.wait_readable(out)
            await control.pause()
            await control.pause()
            _emptied(out)
            await anyio.sleep(0.2)
            assert _emptied(out) == b""
            await control.resume()
            await control.resume()
            with anyio.fail_after(20):
                await anyio.wait_readable(out)
            await control.signal(signal.SIGKILL, pid)
            await control.wait(pid)

    use(body)


def _emptied(out: int) -> bytes:
    try:
        return os.read(out, 1 << 20)
    except BlockingIOError:
        return b""


def test_memory_and_processes_are_told(use: Callable[..., Any]) -> None:
    async def body(control: Control) -> None:
        before = await control.usage()
        assert before.total > 0
        with pipes() as (files, out):
            source = "data = bytearray(b'x') * (64 << 20); print(len(data), flush=True); input()"
            argv = ("/usr/bin/python3", "-c", f"import time\n{source.replace('input()', 'time.sleep(60)')}")
            pid = await control.exec(program(*argv), files)
            await anyio.wait_readable(out)
            assert (await control.usage()).anonymous - before.anonymous > 60 << 20
            task = next(task for task in await control.processes() if task.pid == pid)
            if isinstance(control, SocketControl):
                assert (task.uid, task.name, task.threads, task.parent) == (1000, "python3", (pid,), 0)
            await control.signal(signal.SIGKILL, pid)
            await control.wait(pid)

    use(body)


def test_a_session_watches_by_a_socket_of_ours(target: Target) -> None:
    async def body() -> None:
        control = await connect(target)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        points = [{"name": "sentry/clone"}, {"name": "sentry/execve"}]
        session = {"name": "Default", "points": points, "sinks": [{"name": "remote", "config": {"retries": 3}}]}
        with ours, theirs, pipes() as (files, _):
            await control.trace_create(session, [theirs.fileno()])
            with pytest.raises(RefusedCall, match="already exists"):
                await control.trace_create(session, [theirs.fileno()])
            await control.trace_create(session, [theirs.fileno()], force=True)
            theirs.close()
            assert [(s.name, s.dropped) for s in await control.trace_list()] == [("Default", {"remote": 0})]
            pid = await control.exec(program("/bin/sh", "-c", "/bin/true; /bin/true"), files)
            await control.wait(pid)
            ours.settimeout(5)
            assert b"/bin/" in ours.recv(1 << 16) + ours.recv(1 << 16)
            await control.trace_delete("Default")
            assert await control.trace_list() == []

    anyio.run(body)


def test_sessions_are_listed_and_ended_by_the_command_line_too(target: Target) -> None:
    async def body() -> None:
        straight, control = await connect(target), CliControl(target)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        session = {"name": "Default", "points": [{"name": "sentry/clone"}], "sinks": [{"name": "remote", "config": {}}]}
        with ours, theirs, pipes() as (files, _):
            with pytest.raises(Unsupported, match="descriptors"):
                await control.trace_create(session, [theirs.fileno()])
            await straight.trace_create(session, [theirs.fileno()])
            theirs.close()
            ours.close()  # what the sentry can't get rid of it counts
            await straight.wait(await straight.exec(program("/bin/sh", "-c", "/bin/true; /bin/true"), files))
            assert await control.trace_list() == await straight.trace_list()
            assert (await control.trace_list())[0].dropped["remote"] > 0
            await control.trace_delete("Default")
            assert await control.trace_list() == []

    anyio.run(body)


def test_a_session_needs_an_endpoint_that_takes_it(target: Target, tmp_path: Path) -> None:
    async def body() -> None:
        sink = {"name": "remote", "config": {"endpoint": str(tmp_path / "nobody")}}
        with pytest.raises(RefusedCall):
            await CliControl(target).trace_create({"name": "Default", "points": [], "sinks": [sink]})

    anyio.run(body)


def test_where_no_socket_answers_the_command_line_does(target: Target, tmp_path: Path) -> None:
    # Its state file in another folder names no socket that is there: as a version of another layout would.
    name = f"{target.id}_sandbox:{target.id}.state"
    (tmp_path / name).write_text('{"sandbox": {"controlSocketPath": "/no/such/socket"}}')

    async def body() -> None:
        control = await connect(replace(target, root=str(tmp_path)))
        assert isinstance(control, CliControl)
        assert [task.pid for task in await control.processes()][:1] == [1]

    anyio.run(body)


def test_a_sandbox_that_is_not_there_is_said_to_be_so(target: Target) -> None:
    async def body() -> None:
        other = replace(target, id="0" * 32)
        with pytest.raises(NotFound, match="no state file"):
            await connect(other)
        with pytest.raises(NotFound, match="no sandbox"):
            await CliControl(other).processes()
        with pytest.raises(SandboxError, match="down"):
            await SocketControl(other, f"\0runsc-sandbox.{other.id}\0").processes()

    anyio.run(body)


def test_another_processs_socket_is_not_spoken_to(target: Target) -> None:
    async def body() -> None:
        with pytest.raises(BrokenSentry, match="belongs to process"):
            await connect(replace(target, pid=os.getpid()))

    anyio.run(body)


def test_a_missing_or_hanging_runsc_is_told(target: Target, tmp_path: Path) -> None:
    script = tmp_path / "runsc"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)

    async def body() -> None:
        with pytest.raises(RuntimeUnavailable, match="can't be started"):
            await CliControl(replace(target, command=("/no/such/runsc",))).processes()
        control = CliControl(replace(target, command=(str(script),)), seconds=0.3)
        began = time.monotonic()
        with pytest.raises(BrokenSentry, match="no answer within"):
            await control.processes()
        with pipes() as (files, _), pytest.raises(BrokenSentry, match="was not done within"):
            await control.exec(program("/bin/true"), files)
        assert time.monotonic() - began < 10

    anyio.run(body)


def test_a_runsc_that_writes_without_end_is_ended(target: Target, tmp_path: Path) -> None:
    yes = shutil.which("yes")
    assert yes is not None
    script = tmp_path / "runsc"
    script.write_text(f"#!/bin/sh\nexec {yes}\n")
    script.chmod(0o755)

    async def body() -> None:
        with pytest.raises(BrokenSentry, match="bytes of out"):
            await CliControl(replace(target, command=(str(script),))).processes()

    anyio.run(body)


def test_asking_leaves_nothing_open(target: Target, no_own_leaks: None) -> None:  # noqa: ARG001 - it looks itself
    async def body() -> None:
        control = await connect(target)
        for _ in range(20):
            await control.processes()
            with pytest.raises(NotFound):
                await control.signal(0, 4321)
        for way in (control, CliControl(target)):
            with pipes() as (files, _):
                pid = await way.exec(program("/bin/sleep", "60"), files)
                with anyio.move_on_after(0.1):
                    await way.wait(pid)
            way.close()
            await control.signal(signal.SIGKILL, pid)

    anyio.run(body)
