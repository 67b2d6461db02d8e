"""One program running in a sandbox: its streams, its deadline, and how its end is told."""

from __future__ import annotations

import signal as signals
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from cloche.errors import SpecError, StateError, Unsupported
from cloche.output import Chunk, Collector, Ring, Sink, Stream
from cloche.pipes import Reader
from cloche.runtime import Exit, GuestProcess
from cloche.spec import ProcessSpec, Result, Window
from cloche.streams import Streams

if TYPE_CHECKING:
    from cloche.host import Background

OnOutput = Callable[[Chunk], object]


class AsyncJob:
    """A program started with ``spawn`` (or, inside cloche, ``exec``). Made by the sandbox, not by you."""

    def __init__(
        self,
        job_id: str,
        spec: ProcessSpec,
        process: GuestProcess,
        *,
        sink: Sink,
        streams: Streams,
        output_limit: int | None,
        on_output: OnOutput | None = None,
    ) -> None:
        self.id = job_id
        self.args = spec.args
        self.pid = process.pid
        self.result: Result | None = None
        self._spec = spec
        self._process = process
        self._sink = sink
        self._streams = streams
        self._limit = output_limit
        self._on_output = on_output
        self._printed = 0
        self._cause = ""
        self._detail = ""
        self._began = time.monotonic()
        self._ended = anyio.Event()
        self._callback_error: Exception | None = None
        self._scopes: list[anyio.CancelScope] = []

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
        return self._sink.batches(since)

    async def held(self) -> list[Chunk]:
        """Give what is in the ring now."""
        return self._sink.held() if isinstance(self._sink, Ring) else []

    async def lines(self, stream: Stream | None = None) -> AsyncIterator[str]:
        """Give the output line by line without line ends, of both streams or of one; bad UTF-8 becomes U+FFFD."""
        rest: dict[Stream, bytes] = {"stdout": b"", "stderr": b""}
        async for chunk in self.output():
            if stream is not None and chunk.stream != stream:
                continue
            *whole, rest[chunk.stream] = (rest[chunk.stream] + chunk.data).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace").removesuffix("\r")
        for line in rest.values():
            if line:
                yield line.decode("utf-8", "replace")

    async def write(self, data: bytes | str) -> None:
        """Write to its standard input (or terminal), waiting while it is full. A closed one raises ``StateError``."""
        if self._streams.stdin is None:
            raise StateError(f"job {self.id} has no open standard input; spawn it with stdin=cloche.OPEN")
        await self._streams.stdin.write(data.encode() if isinstance(data, str) else data)

    async def close_stdin(self) -> None:
        """Close its standard input, so that it reads the end of file. Harmless when repeated."""
        if self._streams.stdin is not None:
            self._streams.stdin.close()

    async def signal(self, number: int | str) -> None:
        """Send a signal, by number or by name (``"TERM"``, ``"SIGINT"``), to the program itself."""
        if self.running:
            await self._process.signal(signal_number(number))

    async def kill(self) -> None:
        """End the program and all its descendants, and return when they are gone. Harmless when repeated."""
        if self.running:
            self._cause = self._cause or "killed"
            await self._process.kill()

    async def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal. Raises ``Unsupported`` if it has none."""
        if self._process.terminal is None:
            raise Unsupported(f"job {self.id} has no terminal; start it with tty=True")
        await self._process.resize(Window(rows, columns))

    # -- what the sandbox calls -------------------------------------------------------------------------------------

    def pump(self, tasks: Background) -> None:
        """Begin to read its output."""
        for stream, reader in self._streams.outputs.items():
            scope = anyio.CancelScope()
            self._scopes.append(scope)
            tasks.start_soon(self._pump, stream, reader, scope)

    async def settle(self, deadline: float | None, cause: str) -> Result:
        """Wait for the end, at most ``deadline`` seconds and then end it for ``cause``; give the result."""
        try:
            with anyio.move_on_after(deadline) as scope:
                end = await self._process.wait()
            if scope.cancelled_caught:
                self.fail(cause, f"it was ended after {deadline:g} s")
                await self._process.kill()
                end = await self._process.wait()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._process.kill()
                self._close(await self._process.wait())
            raise
        with anyio.CancelScope(shield=True):
            await self._drain()
        result = self._close(end)
        if self._callback_error is not None:
            raise self._callback_error
        return result

    def fail(self, cause: str, detail: str) -> None:
        """Remember why it is being ended; the first cause counts."""
        if not self._cause:
            self._cause, self._detail = cause, detail

    async def _pump(self, stream: Stream, reader: Reader, scope: anyio.CancelScope) -> None:
        with scope:
            while (data := reader.ready()) != b"":
                if data is None:
                    await anyio.wait_readable(reader.fd)
                else:
                    await self._take(stream, data)
                    await anyio.lowlevel.checkpoint()

    async def _take(self, stream: Stream, data: bytes) -> None:
        seq, self._printed = self._printed, self._printed + len(data)
        if self._limit is not None and self._printed > self._limit:
            data = data[: max(0, self._limit - seq)]
            if self._cause != "limit:output":
                self.fail("limit:output", f"it printed more than {self._limit} bytes")
                await self._process.kill()
        if not data:
            return
        await self._sink.take(stream, data)
        if self._on_output is not None and self._callback_error is None:
            try:
                self._on_output(Chunk(seq, stream, data))
            except Exception as error:  # noqa: BLE001 - the caller's own error, raised to the caller by settle
                self._callback_error = error
                await self._process.kill()

    async def _drain(self) -> None:
        """Take what is left in the pipes. A descendant that lingers may hold them open, so never wait for the end."""
        for scope in self._scopes:
            scope.cancel()
        for stream, reader in self._streams.outputs.items():
            left = 2 << 20  # a pipe holds at most 1 MiB; a lingering writer must not keep us here
            while left > 0 and (data := reader.ready()):
                left -= len(data)
                await self._take(stream, data)

    def _close(self, end: Exit) -> Result:
        self._streams.close()
        self.result = self._result(end)
        self._sink.finish()
        self._ended.set()
        return self.result

    def _result(self, end: Exit) -> Result:
        if end.refused:
            reason, detail = "refused", end.detail
        elif self._cause:
            reason, detail = self._cause, self._detail
        elif end.out_of_memory:
            reason, detail = "out_of_memory", "the kernel ended it because the sandbox's memory limit was reached"
        elif end.signal is not None:
            reason, detail = "signalled", f"ended by signal {end.signal}"
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
            args=self.args,
            exit_code=128 + end.signal if end.signal is not None else end.code or 0,
            reason=reason,
            signal=end.signal,
            stdout=out,
            stderr=err,
            duration=time.monotonic() - self._began,
            usage=end.usage,
            detail=detail,
        )


def signal_number(value: int | str) -> int:
    """Give the number of a signal named ``"TERM"`` or ``"SIGTERM"`` or given as a number, else raise ``SpecError``."""
    try:
        if isinstance(value, str):
            name = value.upper()
            return int(signals.Signals[name if name.startswith("SIG") else f"SIG{name}"])
        return int(signals.Signals(value))
    except (KeyError, ValueError, TypeError):
        raise SpecError(f"signal: {value!r} is not a signal; use a name such as 'TERM' or its number") from None
