"""One program running in a sandbox: its streams, its deadline, and how its end is told."""

from __future__ import annotations

import contextlib
import signal as signals
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from cloche import units
from cloche.errors import StateError, Unsupported
from cloche.output import Chunk, Collector, Lines, Ring, Sink, Stream
from cloche.pipes import Reader, Source, as_bytes, feed
from cloche.runtime import GuestProcess
from cloche.runtime_parts import Exit
from cloche.spec import ProcessSpec, Result, Violation, Window
from cloche.streams import Streams

if TYPE_CHECKING:
    from cloche.background import Background

OnOutput = Callable[[Chunk], object]
Verdict = Callable[[int], Awaitable[tuple[Violation, ...]]]
GRACE = 0.003  # seconds; most programs end within it, and their output is in the pipes: no need to watch those
SEQ_MAX = (1 << 63) - 1
DRAIN_MAX = 2 << 20  # a pipe holds at most 1 MiB; a lingering writer must not keep us


class AsyncJob:
    """A program started with ``spawn`` (or, inside cloche, ``exec``). Made by the sandbox, not by you."""

    whole: bool = True
    """Whether ``result`` holds all that ``wait`` would give."""

    def __init__(
        self,
        job_id: str,
        spec: ProcessSpec,
        process: GuestProcess,
        *,
        sink: Sink,
        streams: Streams,
        tasks: Background,
        output_limit: int | None,
        file_limit: int | None = None,
        on_output: OnOutput | None = None,
        verdict: Verdict | None = None,
        explain: Callable[[Result], Awaitable[tuple[Violation, ...]]] | None = None,
    ) -> None:
        self.id = job_id
        self.args = spec.args
        self.pid = process.pid
        self.number = process.number
        self.started = time.time()
        self.result: Result | None = None
        self._spec = spec
        self._process = process
        self._sink = sink
        self._streams = streams
        self._tasks = tasks
        self._limit = output_limit
        self._file_limit = file_limit
        self._on_output = on_output
        self._verdict = verdict
        self._explain = explain
        self._printed = 0
        self._cause = self._detail = ""
        self._began = time.monotonic()
        self._ended = anyio.Event()
        self._error: BaseException | None = None
        self._pumped = False
        self._feeding: anyio.CancelScope | None = None

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.result is None

    async def wait(self, timeout: float | None = None) -> Result:
        """Wait for the end and give the result; ``TimeoutError`` after ``timeout`` seconds leaves the job running.

        Its ``stdout`` and ``stderr`` hold what is still in the ring; ``output()`` gives all of it live.
        """
        with anyio.fail_after(timeout):
            await self._ended.wait()
        assert self.result is not None  # noqa: S101 - the event is set after the result, nowhere else
        return self.result

    async def output(self, since: int = 0) -> AsyncIterator[Chunk]:
        """Give the output from offset ``since`` on, what is past and then live, until the job's output ends."""
        async for batch in self.batches(since):
            for chunk in batch:
                yield chunk

    def batches(self, since: int = 0) -> AsyncIterator[list[Chunk]]:
        """Give the same as ``output`` in lists of whatever is there, which is faster for much output."""
        if not isinstance(self._sink, Ring):
            raise StateError("the output of an exec is in its result; use spawn to follow a program live")
        return self._sink.batches(units.count(since, "since", least=0, most=SEQ_MAX))

    async def held(self) -> list[Chunk]:
        """Give what is in the ring now."""
        return self._sink.held() if isinstance(self._sink, Ring) else []

    async def lines(self, stream: Stream | None = None) -> AsyncIterator[str]:
        """Give the output line by line without line ends, of both streams or of one; bad UTF-8 becomes U+FFFD."""
        lines = Lines(stream)
        async for batch in self.batches():
            for line in lines.feed(batch):
                yield line
        for line in lines.last():
            yield line

    async def write(self, data: bytes | str) -> None:
        """Write to its standard input (or terminal), waiting while it is full. A closed one raises ``StateError``."""
        if self._streams.stdin is None:
            raise StateError(f"job {self.id} has no open standard input; spawn it with stdin=cloche.OPEN")
        await self._streams.stdin.write(as_bytes(data, "write"))

    async def close_stdin(self) -> None:
        """Close its standard input, so that it reads the end of file. Harmless when repeated."""
        if self._streams.stdin is not None:
            self._streams.stdin.close()

    async def signal(self, number: int | str) -> None:
        """Send a signal, by number or by name (``"TERM"``, ``"SIGINT"``), to the program itself."""
        value = units.signal_number(number)
        if self.running:
            await self._process.signal(value)

    async def kill(self) -> None:
        """End the program and all its descendants, and return when they are gone. Harmless when repeated."""
        if self.running:
            self.fail("killed", "it was killed by request")
            await self._process.kill()
            await self.closed()

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal. Raises ``Unsupported`` if it has none. One that has ended is no error."""
        window = Window(rows, columns)
        if self._process.terminal is None:
            raise Unsupported(f"job {self.id} has no terminal; start it with tty=True")
        if self.running:
            await self._process.resize(window)

    # -- what the sandbox calls -------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Begin to read its output."""
        for stream, reader in self._streams.outputs.items():
            self._tasks.start_soon(self._pump, stream, reader)
        self._pumped = True

    def feed(self, source: Source) -> None:
        """Begin to write ``source`` to its standard input."""
        self._feeding = anyio.CancelScope()
        self._tasks.start_soon(self._feed, source, self._feeding)

    async def settle(self, deadline: float, cause: str) -> Result:
        """Wait for the end, at most ``deadline`` seconds and then end it for ``cause``; give the result."""
        try:
            end = await self._wait(deadline)
            if end is None:
                self.fail(cause, f"it was ended after {deadline:g} s")
                await self._process.kill()
                end = await self._process.wait()
        except BaseException as error:
            self.fail("killed", f"its caller went away: {type(error).__name__}: {error}")
            with anyio.CancelScope(shield=True):
                self._close(await self._told(self._result(await self._put_down())))
            raise
        self._drain()
        result = self._result(end)
        with anyio.CancelScope(shield=True):  # whoever goes away now, its streams are closed
            result = self._close(await self._told(result))
        if self._error is not None:
            raise self._error
        return result

    async def _wait(self, deadline: float) -> Exit | None:
        if not self._pumped and deadline > GRACE:
            with anyio.move_on_after(GRACE):
                return await self._process.wait()
        if not self._pumped:
            self.pump()
        with anyio.move_on_after(deadline - (time.monotonic() - self._began)):
            return await self._process.wait()
        return None

    async def _put_down(self) -> Exit:
        """End it when waiting for it went wrong, be that the caller's doing or the runtime's."""
        try:
            await self._process.kill()
            return await self._process.wait()
        except Exception as error:  # noqa: BLE001 - a runtime that breaks its contract; whoever waits must still hear
            return Exit(signal=signals.SIGKILL, detail=f"its runtime failed: {type(error).__name__}: {error}")

    async def closed(self) -> None:
        """Wait until its result is there."""
        await self._ended.wait()

    def fail(self, cause: str, detail: str) -> None:
        """Remember why it is being ended; the first cause counts."""
        if not self._cause:
            self._cause, self._detail = cause, detail

    async def _feed(self, source: Source, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                if self._streams.stdin is not None:
                    await feed(self._streams.stdin, source)
            except Exception as error:  # noqa: BLE001 - the caller's file may raise anything; settle raises it
                self._error = self._error or error
                self.fail("killed", f"reading its standard input failed: {error}")
                await self._process.kill()

    async def _pump(self, stream: Stream, reader: Reader) -> None:
        with contextlib.suppress(anyio.ClosedResourceError):  # closed while it waits: the program ended
            while self.result is None and (data := reader.ready()) != b"":
                if data is None:
                    await anyio.wait_readable(reader.fd)
                    continue
                if self._take(stream, data):
                    await self._process.kill()
                await self._sink.room()

    def _take(self, stream: Stream, data: bytes) -> bool:
        """Count and keep one piece; says whether the program must be ended for it."""
        kill = False
        seq, self._printed = self._printed, self._printed + len(data)
        if self._limit is not None and self._printed > self._limit:
            data = data[: max(0, self._limit - seq)]
            kill = not self._cause
            self.fail("limit:output", f"it printed more than {self._limit} bytes")
        if not data:
            return kill
        self._sink.put(stream, data)
        if self._on_output is not None and self._error is None:
            try:
                self._on_output(Chunk(seq, stream, data))
            except BaseException as error:  # noqa: BLE001 - the caller's own, raised to the caller by settle
                self._error = error
                kill = True
        return kill

    def _drain(self) -> None:
        """Take what is left in the pipes. A descendant that lingers may hold them open, so never wait for the end."""
        for stream, reader in self._streams.outputs.items():
            left = DRAIN_MAX
            while left > 0 and (data := reader.ready()):
                left -= len(data)
                self._take(stream, data)

    async def _told(self, result: Result) -> Result:
        """Give a result with what was refused or found of its acts, and the limits that it met."""
        found = await self._verdict(self.number) if self._verdict is not None else ()
        met = await self._explain(result) if self._explain is not None and not result.ok else ()
        return replace(result, violations=(*found, *met))

    def _close(self, result: Result) -> Result:
        self.result = result
        if self._feeding is not None:
            self._feeding.cancel()
        self._streams.close()
        self._sink.finish()
        self._ended.set()
        return result

    def _result(self, end: Exit) -> Result:
        if end.refused:
            reason, detail = "refused", end.detail
        elif self._cause:
            reason, detail = self._cause, self._detail
        elif end.out_of_memory:
            reason, detail = "out_of_memory", "it was ended because the sandbox's memory limit was reached"
        elif end.signal is not None:
            reason, detail = "signalled", f"ended by signal {end.signal}{self._hint(end)}"
        else:
            reason, detail = "exited", end.detail
        if isinstance(self._sink, Ring):
            held = self._sink.held()
            out, err = (b"".join(c.data for c in held if c.stream == s) for s in ("stdout", "stderr"))
        elif isinstance(self._sink, Collector):
            out, err = self._sink.bytes("stdout"), self._sink.bytes("stderr")
        else:
            out = err = b""
        return Result(
            args=self.args, exit_code=128 + end.signal if end.signal is not None else end.code or 0, reason=reason,
            signal=end.signal, stdout=out, stderr=err, duration=time.monotonic() - self._began, usage=end.usage,
            detail=detail,
        )  # fmt: skip

    def _hint(self, end: Exit) -> str:
        if end.signal != signals.SIGXFSZ or self._file_limit is None:
            return end.detail and f": {end.detail}"
        return f" (SIGXFSZ): it wrote a file of more than limits.file_size, {self._file_limit} bytes"
