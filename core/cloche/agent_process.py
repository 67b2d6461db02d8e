"""One program in a box that is driven through its agent."""

from __future__ import annotations

import errno
import os
import termios
from typing import TYPE_CHECKING

import anyio

from cloche.errors import Unsupported
from cloche.runtime import GuestProcess
from cloche.runtime_parts import Exit, Stdio
from cloche.spec import ProcessSpec, Window
from cloche_native import agent as wire

if TYPE_CHECKING:
    from cloche.agent import AgentInstance

DEATH_TIMEOUT = 20.0
RUN_FAILED = 126  # exit codes of a program that could not be executed: POSIX sh, "Exit Status for Commands"
NOT_FOUND = 127


def exec_packet(exec_id: int, process: ProcessSpec, stdio: Stdio) -> tuple[bytes, list[int]]:
    """Give the packet that starts ``process``, and the descriptors that go along."""
    given = {
        wire.ExecFlag.STDIN: stdio.stdin,
        wire.ExecFlag.STDOUT: stdio.stdout,
        wire.ExecFlag.STDERR: stdio.stderr,
    }
    fds = {flag: fd for flag, fd in given.items() if fd is not None}
    flags = wire.ExecFlag(sum(fds))
    window = None
    if process.window is not None:
        flags |= wire.ExecFlag.PTY
        window = process.window.rows, process.window.columns
    if process.linger:
        flags |= wire.ExecFlag.LINGER
    if process.worker:
        flags |= wire.ExecFlag.BY_WORKER
    packet = wire.encode_exec(exec_id, process.args, env=process.env, cwd=process.cwd, flags=flags, window=window)
    return packet, list(fds.values())


class AgentProcess(GuestProcess):
    """One program started by the agent."""

    def __init__(self, instance: AgentInstance, exec_id: int) -> None:
        self.pid = 0
        self.number = exec_id
        self.terminal: int | None = None
        self.begun = anyio.Event()
        self.error = ""
        self.oom_before = 0
        self._instance = instance
        self._id = exec_id
        self._end: Exit | None = None
        self._ended = anyio.Event()

    async def wait(self) -> Exit:
        """Wait for the agent's word, or for the box's end."""
        await self._ended.wait()
        assert self._end is not None  # noqa: S101 - set before the event
        return self._end

    async def signal(self, number: int) -> None:
        """Ask the agent to signal the program."""
        await self._instance.tell(wire.encode_signal(self._id, number))

    async def kill(self) -> None:
        """Ask the agent to kill the tree, and wait until it says that all of it is gone."""
        await self._instance.end(self)
        with anyio.move_on_after(DEATH_TIMEOUT):
            await self._ended.wait()
        if self._end is None:
            await self._instance.kill()

    async def resize(self, window: Window) -> None:
        """Resize the terminal from this side: what the caller writes next finds it done."""
        if self.terminal is None:
            raise Unsupported("this program has no terminal")
        if os.isatty(self.terminal):
            termios.tcsetwinsize(self.terminal, (window.rows, window.columns))
        else:
            await self._instance.tell(wire.encode_resize(self._id, window.rows, window.columns))

    def refuse(self, error: int, stage: wire.Stage) -> None:
        """Record that it never ran: by the program's own fault that is an end, by ours an error."""
        if stage in (wire.Stage.EXEC, wire.Stage.CWD):
            code = NOT_FOUND if error == errno.ENOENT and stage is wire.Stage.EXEC else RUN_FAILED
            what = "the program" if stage is wire.Stage.EXEC else "the folder it was to start in"
            if code == NOT_FOUND:
                what = "the program, or the loader or interpreter it names,"
            self.finish(Exit(code=code, refused=True, detail=f"{what} can't be used in the box: {os.strerror(error)}"))
        else:
            self.error = f"the box could not start a program, at step {stage.name.lower()}: {os.strerror(error)}"
            self.finish(Exit(code=RUN_FAILED, refused=True, detail=self.error))

    def finish(self, end: Exit) -> None:
        """Record the end; the first word counts."""
        if self._end is None:
            self._end = end
            self.begun.set()
            self._ended.set()
