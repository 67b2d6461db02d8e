"""The same by runsc's command line: slower by 20 ms a call, and of a kind that stays from version to version.

Every call has a hard time-out, after which the command is killed, and pipes for its descriptors. What it writes is what
the sentry told it: it is bounded and checked as replies are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, ClassVar, Final

import anyio

from cloche import Exit, NotFound, SandboxError, StartError, Unsupported
from cloche_gvisor import replies
from cloche_gvisor.command import Command, Ended
from cloche_gvisor.contract import PROCESSES_MOST, SECONDS_SAVE, Control, GuestProgram, Target
from cloche_gvisor.replies import BrokenSentry, GuestTask, MemoryUse, RefusedCall, TraceSession

SECONDS: Final = 20.0
"""How long a command may take that takes 20 ms on a machine with nothing else to do."""
_SIGNALLED: Final = 128
_SESSION: Final = re.compile(r'"([^"\\]{0,200})"')
_SINK: Final = re.compile(r'\tSink: "([^"\\]{0,200})", dropped: (\d{1,20})')


class CliControl(Control):
    """Asks by runsc's commands."""

    way: ClassVar[str] = "command line"

    def __init__(self, target: Target, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._id = target.id
        self._command = target.command
        self._restored = target.saved is not None
        self._running: dict[int, Command] = {}

    async def exec(self, program: GuestProgram, files: Sequence[int]) -> int:  # noqa: D102 - see Control
        if len(files) != 3:  # noqa: PLR2004 - stdin, stdout, stderr
            raise Unsupported(
                f"exec in {self._id}: runsc's command takes a program's 0, 1 and 2, not {len(files)} files"
            )
        spec = {
            "args": program.argv, "env": program.env, "cwd": program.cwd, "noNewPrivileges": True,
            "user": {"uid": program.uid, "gid": program.gid}, "capabilities": {},
        }  # fmt: skip
        # In the foreground, as runsc forgets how a program ended for which nobody waits.
        flags = ("--log={log}", "--log-format=json", "exec", "--process={given}", "--internal-pid-file={out}")
        command = Command((*self._command, *flags, self._id), given=json.dumps(spec).encode(), files=files)
        with ExitStack() as held, anyio.move_on_after(self._seconds):
            held.callback(command.close)
            pid = await self._begun(command)
            self._running[pid] = command
            held.pop_all()
            return pid
        raise BrokenSentry(f"exec in {self._id}: runsc was not done within {self._seconds} s; end it")

    async def _begun(self, command: Command) -> int:
        said = await command.first("out")  # one write tells the whole id
        if not said:
            raise StartError(f"exec in {self._id}: {_logged((await command.end()).log)}")
        return replies.process_id(replies.decoded(said))

    async def wait(self, pid: int) -> Exit:
        """See ``Control``; an exit code above 128 is taken for a signal's, which this way can't tell apart."""
        if (command := self._running.get(pid)) is not None:
            code = (await command.end()).code
            self._running.pop(pid, None)
        else:
            said = await self._ask("wait", "--pid", str(pid), self._id, seconds=math.inf)
            code = replies.exit_status(replies.decoded(said))
        return Exit(signal=code - _SIGNALLED) if _SIGNALLED < code <= _SIGNALLED + 64 else Exit(code=code)

    async def signal(self, number: int, pid: int | None = None) -> None:  # noqa: D102
        whom = ["-all"] if pid is None else ["-pid", str(pid)]
        await self._ask("kill", *whom, self._id, str(number))

    async def pause(self) -> None:  # noqa: D102
        if self._restored:
            raise Unsupported(f"pause of {self._id}: runsc's command pauses no guest of a restored sandbox")
        with suppress(_Already):
            await self._ask("pause", self._id, already="in state paused")

    async def resume(self) -> None:  # noqa: D102
        with suppress(_Already):
            await self._ask("resume", self._id, already="in state running")

    async def processes(self) -> list[GuestTask]:  # noqa: D102
        said = await self._ask("ps", "-format", "json", self._id)
        return replies.task_ids(replies.decoded(said), PROCESSES_MOST)

    async def usage(self) -> MemoryUse:  # noqa: D102
        return replies.memory(replies.decoded(await self._ask("usage", "-full", self._id)))

    async def checkpoint(self, folder: str) -> None:  # noqa: D102
        await self._ask("checkpoint", f"--image-path={folder}", self._id, seconds=SECONDS_SAVE)

    async def trace_create(  # noqa: D102
        self, session: Mapping[str, Any], files: Sequence[int] = (), *, force: bool = False
    ) -> None:
        if files:
            raise Unsupported(
                f"trace of {self._id}: runsc's command takes no descriptors; name an endpoint in the sink"
            )
        flags = ["--force"] if force else []
        given = json.dumps({"trace_session": session}).encode()
        await self._ask("trace", "create", *flags, "--config={given}", self._id, given=given)

    async def trace_list(self) -> list[TraceSession]:  # noqa: D102
        return _sessions((await self._ask("trace", "list", self._id)).decode("utf-8", "replace"))

    async def trace_delete(self, name: str) -> None:  # noqa: D102
        await self._ask("trace", "delete", f"--name={name}", self._id)

    def close(self) -> None:  # noqa: D102
        for command in self._running.values():
            command.close()
        self._running.clear()

    async def _ask(
        self, *args: str, given: bytes = b"", seconds: float | None = None, already: str | None = None
    ) -> bytes:
        """Run a command to its end and give what it wrote."""
        seconds = self._seconds if seconds is None else seconds
        with anyio.move_on_after(seconds):
            command = Command((*self._command, *args), given=given)
            try:
                ended = await command.end()
            finally:
                command.close()
            if ended.code:
                self._failed(args[0], ended, already)
            return ended.out
        raise BrokenSentry(f"runsc {args[0]}: {self._id} gave no answer within {seconds} s; end it")

    def _failed(self, verb: str, ended: Ended, already: str | None) -> None:
        said = ended.err.decode("utf-8", "replace").strip()
        if already is not None and said.endswith(already):
            raise _Already(said)
        if "loading container" in said or "loading sandbox" in said:
            raise NotFound(f"runsc {verb}: there is no sandbox {self._id} (any more)")
        replies.refused(said)


class _Already(RefusedCall):
    """It is already as it was asked to be."""


def _logged(log: bytes) -> str:
    """Give the last thing that runsc said in its log."""
    for line in reversed(log.splitlines()):
        with suppress(SandboxError):
            said = replies.decoded(line)
            if isinstance(said, dict) and isinstance(said.get("msg"), str):
                return ascii(said["msg"][:400])[1:-1]
    return "runsc said no why"


def _sessions(text: str) -> list[TraceSession]:
    found: list[tuple[str, dict[str, int]]] = []
    for line in text.splitlines()[1:]:
        if (sink := _SINK.fullmatch(line)) and found:
            found[-1][1][sink[1]] = found[-1][1].get(sink[1], 0) + int(sink[2])
        elif session := _SESSION.fullmatch(line):
            found.append((session[1], {}))
        else:
            replies.broken("a list of sessions with something else in it")
    return [TraceSession(name, dropped) for name, dropped in found]
