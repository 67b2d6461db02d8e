"""One run of runsc's command: descriptors that are pipes, output that is bounded, an end that is certain."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

import anyio
import anyio.to_thread

from cloche import RuntimeUnavailable, SandboxError
from cloche_gvisor.replies import broken

OUTPUT_MOST: Final = 4 << 20
GIVEN_MOST: Final = 60 << 10
"""Bytes that a pipe takes before anybody reads it (pipe(7): 64 KiB)."""
_PIECE: Final = 1 << 16
_SIGNALLED: Final = 128


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what came by each of its pipes."""

    code: int
    out: bytes
    err: bytes
    log: bytes


class Command:
    """A started command. ``{given}``, ``{out}`` and ``{log}`` in its arguments become paths of pipes of its own.

    ``given`` can be read at the first, ``out`` and ``log`` can be written to. With ``files`` these are its 0, 1 and 2;
    without, its input is empty and its 1 and 2 are the pipes ``out`` and ``err``. Raises ``RuntimeUnavailable`` when
    it can't be started. Whoever makes one closes it.
    """

    def __init__(self, argv: Sequence[str], *, given: bytes = b"", files: Sequence[int] | None = None) -> None:
        self._data = {"out": bytearray(), "err": bytearray(), "log": bytearray()}
        self._too_much = ""
        with ExitStack() as theirs, ExitStack() as ours:
            self._ends = {name: _pipe(ours, theirs) for name in self._data}
            ends = {name: pair[1] for name, pair in self._ends.items()} | {"given": _filled(theirs, given)}
            places = {f"{{{name}}}": f"/proc/self/fd/{end}" for name, end in ends.items()}
            stdin, stdout, stderr = files or (_filled(theirs, b""), ends["out"], ends["err"])
            try:
                self._child = subprocess.Popen(
                    [_placed(arg, places) for arg in argv],
                    stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=tuple(ends.values()), start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                why = f"{argv[0]} can't be started: {error}; is it installed?"
                raise RuntimeUnavailable("gvisor", why) from error
            self._held = ours.pop_all()

    async def first(self, name: str) -> bytes:
        """Give what comes first by the pipe ``name``; nothing if the command closed it, as by its end."""
        ours, _ = self._ends[name]
        while True:
            await anyio.wait_readable(ours)
            with suppress(BlockingIOError):
                return os.read(ours, _PIECE)

    async def end(self) -> Ended:
        """Wait for the command's end and give it. Raises ``BrokenSentry`` when it writes too much."""
        async with anyio.create_task_group() as tasks:
            for name in self._data:
                tasks.start_soon(self._drain, name)
        if self._too_much:
            broken(f"more than {OUTPUT_MOST} bytes of {self._too_much}")
        # Its pipes are closed: what is left of it is its last microseconds.
        code = await anyio.to_thread.run_sync(self._child.wait, abandon_on_cancel=True)
        self.close()
        out, err, log = (bytes(self._data[name]) for name in ("out", "err", "log"))
        return Ended(code if code >= 0 else _SIGNALLED - code, out, err, log)

    async def _drain(self, name: str) -> None:
        data = self._data[name]
        while piece := await self.first(name):
            data += piece
            if len(data) > OUTPUT_MOST:
                self._too_much = name
                self._child.kill()
                return

    def close(self) -> None:
        """End the command if it runs and give back what is held; what it started in a sandbox runs on."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._held.close()


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    """Give both ends of a pipe: the one to read from is ours and does not block, the other is the command's."""
    out, into = os.pipe()
    ours.callback(os.close, out)
    theirs.callback(os.close, into)
    os.set_blocking(out, False)
    return out, into


def _filled(theirs: ExitStack, data: bytes) -> int:
    """Give the reading end of a pipe that holds ``data`` and no more will come; raises ``SandboxError`` if too long."""
    if len(data) > GIVEN_MOST:
        raise SandboxError(f"runsc: {len(data)} bytes to hand over; at most {GIVEN_MOST} by this way")
    out, into = os.pipe()
    theirs.callback(os.close, out)
    os.write(into, data)
    os.close(into)
    return out


def _placed(arg: str, places: Mapping[str, str]) -> str:
    for name, place in places.items():
        arg = arg.replace(name, place)
    return arg
