"""The verbs of a connection about jobs that this host holds: begin, follow, write, signal, kill."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from cloche import units
from cloche.errors import SpecError
from cloche.job import SEQ_MAX
from cloche.output import Chunk
from cloche.pipes import OPEN
from cloche.registry.messages import Message
from cloche.registry.plain import count_from, from_plain, to_plain
from cloche.sandbox import RING_SIZE
from cloche.spec import Result, Window

if TYPE_CHECKING:
    from cloche.job import AsyncJob
    from cloche.registry.follows import Follow, Follows
    from cloche.sandbox import AsyncSandbox

PIECE: Final = 1 << 18  # bytes of output in one message; more only when the first was taken
RESULT_MAX: Final = 4 << 20  # bytes of each stream that travel with a result; all of it can be followed
NOTHING: Final[tuple[Mapping[str, Any], bytes, tuple[int, ...]]] = ({}, b"", ())


class HeldVerbs:
    """Serves requests about jobs of the sandbox that ``box`` gives."""

    def __init__(self, post: Callable[..., None], box: Callable[[], AsyncSandbox], follows: Follows) -> None:
        self._post = post
        self._box = box
        self._follows = follows
        self.verbs: dict[str, Callable[[Message], Awaitable[Any]]] = {
            "spawn": self._spawn, "follow": self._follow, "job_write": self._write, "job_signal": self._signal,
            "job_close": self._close, "job_kill": self._kill, "job_resize": self._resize, "job_held": self._all,
            "job_result": self._result,
        }  # fmt: skip

    @staticmethod
    def view(job: AsyncJob) -> dict[str, Any]:
        """Give what is told of a job: no output."""
        end = None if job.result is None else _result_body(job.result)
        return {"id": job.id, "args": list(job.args), "pid": job.pid, "started": job.started, "result": end}

    def _job(self, message: Message) -> AsyncJob:
        return self._box().attach(from_plain(str, message.body.get("job"), "job"))

    async def _spawn(self, message: Message) -> Any:  # noqa: ANN401 - an answer
        body = message.body
        args = from_plain(tuple[str, ...], body.get("args"), "args")
        ring: Any = body.get("ring", RING_SIZE)
        timeout: Any = body.get("timeout")
        tty: Any = body.get("tty")
        opened = from_plain(bool, body.get("open"), "open")
        job = await self._box().spawn(
            *args,
            stdin=OPEN if opened else message.data if body.get("stdin") else None,
            env=from_plain(Mapping[str, str], body.get("env"), "env"),
            cwd=from_plain(str | None, body.get("cwd"), "cwd"),
            timeout=timeout,
            tty=from_plain(Window, tty, "tty") if tty is not None else False,
            linger=from_plain(bool, body.get("linger"), "linger"),
            ring=ring,
            lossless=from_plain(bool, body.get("lossless"), "lossless"),
        )
        return {"job": self.view(job)}, b"", ()

    async def _follow(self, message: Message) -> Any:  # noqa: ANN401 - an answer
        since = count_from(message.body, "since", SEQ_MAX)
        self._follows.begin(message.body, partial(self._tell, self._job(message), since))
        return NOTHING

    async def _tell(self, job: AsyncJob, since: int, number: int, follow: Follow) -> None:
        source = cast("AsyncGenerator[list[Chunk], None]", job.batches(since))
        try:
            async with contextlib.aclosing(source) as batches:
                async for batch in batches:
                    for piece in pieces(batch):
                        self._post({"event": "output", "follow": number, **chunk_body(piece)}, chunk_data(piece))
                        await follow.taken()
        finally:
            self._post({"event": "end", "follow": number})

    async def _all(self, message: Message) -> Any:  # noqa: ANN401 - an answer
        held = await self._job(message).held()
        while held and sum(len(chunk.data) for chunk in held) > RESULT_MAX:
            held.pop(0)
        return chunk_body(held), chunk_data(held), ()

    async def _result(self, message: Message) -> Any:  # noqa: ANN401 - an answer
        done = await self._job(message).wait()
        out, err = done.stdout[-RESULT_MAX:], done.stderr[-RESULT_MAX:]
        return {"result": _result_body(done), "stdout": len(out)}, out + err, ()

    async def _write(self, message: Message) -> Any:  # noqa: ANN401 - an answer
        await self._job(message).write(message.data)
        return NOTHING

    async def _close(self, message: Message) -> Any:  # noqa: ANN401 - an answer
        await self._job(message).close_stdin()
        return NOTHING

    async def _signal(self, message: Message) -> Any:  # noqa: ANN401 - an answer
        number: Any = message.body.get("number")
        await self._job(message).signal(number)
        return NOTHING

    async def _kill(self, message: Message) -> Any:  # noqa: ANN401 - an answer
        await self._job(message).kill()
        return NOTHING

    async def _resize(self, message: Message) -> Any:  # noqa: ANN401 - an answer
        window: Window = from_plain(Window, message.body.get("window"), "window")
        await self._job(message).resize(window.rows, window.columns)
        return NOTHING


def _result_body(result: Result) -> dict[str, Any]:
    names = [name for name in Result.__slots__ if name not in ("stdout", "stderr")]
    return {name: to_plain(getattr(result, name)) for name in names}


def pieces(batch: list[Chunk]) -> Iterator[list[Chunk]]:
    """Cut a batch so that no part holds more than ``PIECE`` bytes."""
    piece: list[Chunk] = []
    size = 0
    for chunk in batch:
        for start in range(0, len(chunk.data), PIECE):
            part = Chunk(chunk.seq + start, chunk.stream, chunk.data[start : start + PIECE])
            if piece and size + len(part.data) > PIECE:
                yield piece
                piece, size = [], 0
            piece.append(part)
            size += len(part.data)
    if piece:
        yield piece


def chunk_body(piece: list[Chunk]) -> dict[str, Any]:
    """Give where each chunk of a piece stands; the bytes travel beside it."""
    return {"chunks": [[chunk.seq, chunk.stream, len(chunk.data)] for chunk in piece]}


def chunk_data(piece: list[Chunk]) -> bytes:
    """Give the bytes of a piece."""
    return b"".join(chunk.data for chunk in piece)


def chunks_from(body: Mapping[str, Any], data: bytes) -> list[Chunk]:
    """Give the chunks of a piece. Raises ``SpecError`` where body and bytes don't fit."""
    out: list[Chunk] = []
    start = 0
    table: Any = body.get("chunks")
    for entry in from_plain(tuple[Any, ...], table, "chunks"):
        if not isinstance(entry, list) or len(entry) != 3 or entry[1] not in ("stdout", "stderr"):  # noqa: PLR2004
            raise SpecError("chunks: each is an offset, a stream and a length")
        seq = units.count(entry[0], "chunk offset", least=0, most=SEQ_MAX)
        size = units.count(entry[2], "chunk length", least=0, most=len(data) - start)
        out.append(Chunk(seq, entry[1], data[start : start + size]))
        start += size
    return out
