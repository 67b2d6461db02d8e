"""One program of a box: a WASI module that runs in a thread of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
import anyio.from_thread
import anyio.lowlevel

from cloche import ClocheError, Exit, FileKind, GuestProcess, NotFound, ProcessSpec, Stdio, Unsupported, Usage
from cloche_wasm.wasi.calls import Wasi
from cloche_wasm.wasi.descriptors import Folder, Stream, Table
from cloche_wasm.wasi.errors import Refused
from cloche_wasm.wasi.telling import Teller
from cloche_wasm.wasi.waiting import Waiting

if TYPE_CHECKING:
    from cloche_wasm.machine import Machine
    from cloche_wasm.wasi.telling import WasiSource
    from cloche_wasm.wasi.world import World

NOT_FOUND, NO_PROGRAM = 127, 126  # exit codes, as the shell gives them
THREAD_STACK: Final = 16 << 20  # bytes: the machine's own, and Python's for what the program calls
_NOTHING: Final = {0, signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
_STOPPING: Final = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_starting = threading.Lock()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a program finds: the folders, those given to it by name, and the bounds that are its own."""

    world: World
    given: tuple[str, ...]
    open_files: int
    file_size: int | None
    refused: Counter[str]
    source: WasiSource | None = None
    """What is told of what programs do, if anybody watches."""


class WasmProgram(GuestProcess):
    """Begun by ``start``; its thread tells the event loop of its end."""

    def __init__(self, pid: int, process: ProcessSpec, surroundings: Surroundings, machine: Callable[[], Machine]):  # noqa: ANN204
        self.pid = self.number = pid
        self._process = process
        self._around = surroundings
        self._make = machine
        self._machine: Machine | None = None
        self._waiting = Waiting()
        self._turn = threading.Lock()
        self._signal: int | None = None
        self._thread: threading.Thread | None = None
        self._end: Exit | None = None
        self._ended = anyio.Event()

    def start(self, stdio: Stdio, gone: Callable[[WasmProgram], object]) -> None:
        """Begin, with copies of the descriptors; ``gone`` is called on the event loop when it has ended."""
        wanted = (stdio.stdin, False), (stdio.stdout, True), (stdio.stderr, True)
        streams = [Stream(None if fd is None else os.dup(fd), writes) for fd, writes in wanted]
        token = anyio.lowlevel.current_token()

        def over(end: Exit) -> None:
            self._end = end
            gone(self)
            self._ended.set()

        def body() -> None:
            end = self._run(streams)
            with contextlib.suppress(anyio.RunFinishedError):  # the event loop is gone, and all that could ask
                anyio.from_thread.run_sync(over, end, token=token)

        self._thread = threading.Thread(target=body, name=f"cloche-wasm-{self.pid}", daemon=True)
        with _starting:
            usual = threading.stack_size(THREAD_STACK)
            try:
                self._thread.start()
            finally:
                threading.stack_size(usual)

    def refuse(self, code: int, why: str) -> None:
        """Let it have ended without having begun."""
        self._waiting.close()
        self._end = Exit(code=code, refused=True, detail=why)
        self._ended.set()

    async def wait(self) -> Exit:
        """Wait for the end and give it."""
        await self._ended.wait()
        assert self._end is not None  # noqa: S101 - set before the event
        return self._end

    @property
    def end(self) -> Exit | None:
        """How it ended, if it has."""
        return self._end

    async def signal(self, number: int) -> None:
        """End it, if that is what the signal does to a program that does not expect it."""
        if number in _STOPPING:
            raise Unsupported(f"signal {number}: programs of this runtime can't be stopped, only ended")
        if number not in _NOTHING:
            self.stop(number)

    async def kill(self) -> None:
        """End it, and return when it has."""
        self.stop(signal.SIGKILL)
        await self._ended.wait()

    def stop(self, number: int) -> None:
        """End it with ``number`` as the signal. Harmless when it has ended."""
        with self._turn:
            self._signal = self._signal or number
            if self._machine is not None:
                self._machine.stop()
        self._waiting.ring()

    def spent(self) -> float:
        """Give seconds of processor time while it runs."""
        with self._turn:
            if self._end is not None or self._thread is None or self._machine is None:
                return 0.0
            clock = time.pthread_getcpuclockid(self._thread.ident or 0)  # it can't end while the turn is ours
            return time.clock_gettime(clock)

    # -- in its own thread ------------------------------------------------------------------------------------------

    def _run(self, streams: list[Stream]) -> Exit:
        table = Table(self._around.open_files)
        try:
            return self._ran(streams, table)
        except Exception as error:  # noqa: BLE001 - whoever waits must hear, whatever went wrong
            return Exit(signal=signal.SIGKILL, detail=f"its machine failed: {type(error).__name__}: {error}"[:500])
        finally:
            with self._turn:
                self._machine = None
            table.close_all()
            for stream in streams:
                stream.close()
            self._waiting.close()

    def _ran(self, streams: list[Stream], table: Table) -> Exit:
        from cloche_wasm.machine import Unrunnable  # noqa: PLC0415 - the extra's package, which is there by now

        found = self._found()
        if isinstance(found, Exit):
            return found
        path, module = found
        source, teller = self._around.source, None
        if source is not None:
            teller = Teller(source, self._waiting, self.pid)
            if answer := teller.began(self._process.args, path):
                return _refused(NO_PROGRAM, f"{path!r:.200}: a rule refused it ({os.strerror(answer)})")
        for stream in streams:
            table.add(stream)
        for path in (*self._around.given, self._process.cwd):
            table.add(Folder(path, b"." if path is self._process.cwd else os.fsencode(path)))
        env = {**self._process.env, "PWD": self._process.cwd}
        wasi = Wasi(
            args=self._process.args, env=[f"{name}={value}" for name, value in env.items()], world=self._around.world,
            table=table, waiting=self._waiting, file_size=self._around.file_size, teller=teller,
            refused=self._around.refused,
        )  # fmt: skip
        machine = self._make()
        with self._turn:
            self._machine = machine
            if self._signal is not None:
                machine.stop()
        try:
            end = machine.run(module, wasi)
        except Unrunnable as error:
            return _refused(NO_PROGRAM, f"{self._process.args[0]!r:.200} can't be run: {error}")
        usage = Usage(user=time.thread_time(), peak_memory=end.memory)
        number = self._signal if machine.stopped and self._signal is not None else end.signal
        if end.code is not None and not machine.stopped:
            return Exit(code=end.code, usage=usage, detail=end.detail)
        return Exit(signal=number or signal.SIGKILL, usage=usage, detail=end.detail)

    def _found(self) -> tuple[str, bytes] | Exit:
        """Give the module and its path, looked up as the shell does; a name without ``/`` also where it begins."""
        world, cwd, name = self._around.world, self._process.cwd, self._process.args[0]
        if not _is_folder(world, cwd):
            return _refused(NO_PROGRAM, f"the folder it was to start in can't be used in the box: {cwd!r:.200}")
        folders = [""] if "/" in name else [*filter(None, self._process.env.get("PATH", "").split(":")), cwd]
        for folder in folders:
            path = name if name.startswith("/") else f"{folder or cwd}/{name}"
            try:
                whole = _whole(world, path)
                spot = world.at(whole)
                spot.stat()
            except (Refused, NotFound):
                continue
            try:
                return whole, spot.place.vfs.read(spot.inner)
            except ClocheError as error:
                return _refused(NO_PROGRAM, f"{path!r:.200} can't be read: {error}")
        return _refused(NOT_FOUND, f"there is no {name!r:.200} in the box; put the module into its work folder")


def _whole(world: World, path: str) -> str:
    return world.resolve("/", path.lstrip("/") or ".", follow=True)


def _is_folder(world: World, path: str) -> bool:
    try:
        return world.at(_whole(world, path)).stat().kind is FileKind.FOLDER
    except (Refused, ClocheError):
        return False


def _refused(code: int, why: str) -> Exit:
    return Exit(code=code, refused=True, detail=why)
