from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import anyio
import pytest

from cloche import OPEN, SpecError, StateError
from cloche.pipes import LONG_READ, PIPE_SIZE, READ_SIZE, Input, Reader, checked_stdin, feed
from cloche.streams import Streams

if TYPE_CHECKING:
    from cloche.pipes import Source

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_own_leaks")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def drained(fd: int) -> bytes:
    data = b""
    while True:
        await anyio.wait_readable(fd)
        block = os.read(fd, 1 << 16)
        if not block:
            os.close(fd)
            return data
        data += block


# -- reading ---------------------------------------------------------------------------------------------------------


async def test_a_reader_tells_nothing_yet_from_the_end() -> None:
    ours, theirs = os.pipe()
    reader = Reader(ours)
    assert reader.ready() is None
    os.write(theirs, b"abc")
    assert reader.ready() == b"abc"
    os.close(theirs)
    assert reader.ready() == b""
    reader.close()
    reader.close()
    assert reader.ready() == b""


async def test_a_reader_takes_larger_pieces_once_there_is_much() -> None:
    ours, theirs = os.pipe()
    reader = Reader(ours)
    os.write(theirs, b"x" * READ_SIZE)
    assert reader.ready() == b"x" * READ_SIZE
    os.set_blocking(theirs, False)
    written = os.write(theirs, b"y" * PIPE_SIZE)
    assert written > LONG_READ > READ_SIZE
    assert reader.ready() == b"y" * LONG_READ
    os.close(theirs)
    reader.close()


async def test_a_terminal_whose_other_side_is_gone_has_ended() -> None:
    ours, theirs = os.openpty()
    reader = Reader(ours)
    os.write(theirs, b"bye")
    assert reader.ready() == b"bye"
    os.close(theirs)
    assert reader.ready() == b""
    reader.close()


async def test_closing_a_reader_wakes_who_waits_and_frees_its_number() -> None:
    ours, theirs = os.pipe()
    reader = Reader(ours)
    closed = anyio.Event()

    async def wait() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await anyio.wait_readable(reader.fd)
        closed.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        reader.close()
        again, other = os.pipe()
        assert again == ours  # the same number, at once, for another pipe
        await closed.wait()
        os.write(other, b"!")
        await anyio.wait_readable(again)
        for fd in (theirs, again, other):
            os.close(fd)


# -- writing ---------------------------------------------------------------------------------------------------------


async def test_what_two_writers_write_does_not_mix() -> None:
    theirs, ours = os.pipe()
    target = Input(ours)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(target.write, b"a" * 200_000)
        tasks.start_soon(target.write, b"b" * 200_000)
        await anyio.wait_all_tasks_blocked()
        reading = drained(theirs)

        async def finish() -> None:
            await target.write(b"")
            target.close()

        tasks.start_soon(finish)
        assert await reading == b"a" * 200_000 + b"b" * 200_000


async def test_writing_ends_with_an_error_once_closed_or_nobody_reads() -> None:
    theirs, ours = os.pipe()
    target = Input(ours)
    async with anyio.create_task_group() as tasks:

        async def write() -> None:
            with pytest.raises(StateError, match="no longer reads"):
                await target.write(b"x" * 200_000)

        tasks.start_soon(write)
        await anyio.wait_all_tasks_blocked()
        target.close()
        target.close()
    with pytest.raises(StateError):
        await target.write(b"x")
    os.close(theirs)
    theirs, ours = os.pipe()
    target = Input(ours)
    os.close(theirs)
    with pytest.raises(StateError):
        await target.write(b"x")
    target.close()


@pytest.mark.parametrize("size", [0, 1, 70_000, 300_000])
@pytest.mark.parametrize("kind", ["bytes", "path", "file", "memory", "pipe"])
async def test_feeding_writes_all_and_closes(kind: str, size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    (tmp_path / "in").write_bytes(data)
    theirs, ours = os.pipe()
    async with anyio.create_task_group() as tasks:
        with (tmp_path / "in").open("rb") as file:
            source: Source = data
            if kind == "path":
                source = tmp_path / "in"
            elif kind == "file":
                source = file
            elif kind == "memory":
                source = io.BytesIO(data)
            elif kind == "pipe":
                out, into = os.pipe()
                tasks.start_soon(feed, Input(into), data)
                source = os.fdopen(out, "rb")
            tasks.start_soon(feed, Input(ours), source)
            assert await drained(theirs) == data
            if kind == "pipe" and not isinstance(source, bytes | Path):
                source.close()


async def test_a_program_that_stops_reading_ends_the_feeding_quietly() -> None:
    theirs, ours = os.pipe()
    os.close(theirs)
    target = Input(ours)
    await feed(target, b"x" * 100)
    assert target.write_ready(b"") == -1


async def test_a_source_that_never_gives_anything_can_be_left() -> None:
    out, into = os.pipe()
    theirs, ours = os.pipe()
    with os.fdopen(out, "rb") as source, anyio.move_on_after(0.01) as scope:
        await feed(Input(ours), source)
    assert scope.cancelled_caught
    assert await drained(theirs) == b""
    os.close(into)


class Bad(io.BytesIO):
    def __init__(self, answer: object) -> None:
        super().__init__()
        self._answer = answer

    def read(self, _size: int | None = -1, /) -> bytes:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer  # type: ignore[return-value]


@pytest.mark.parametrize(("answer", "error"), [(5, SpecError), (OSError("disk"), OSError)])
async def test_a_source_that_fails_raises(answer: object, error: type[Exception]) -> None:
    theirs, ours = os.pipe()
    with pytest.raises(error):
        await feed(Input(ours), Bad(answer))
    assert await drained(theirs) == b""


@pytest.mark.parametrize("value", [5, 1.5, object(), ["a"], io.StringIO("text"), "\ud800", Path("/no/such"), Path("/")])
def test_what_can_not_be_standard_input_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match=r"^stdin: "):
        checked_stdin(value)


def test_a_file_open_for_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    file: IO[Any]
    with (tmp_path / "in").open() as file, pytest.raises(SpecError, match="binary"):
        checked_stdin(file)


def test_text_is_utf8_and_keeps_escaped_bytes() -> None:
    assert checked_stdin("é\udcff") == b"\xc3\xa9\xff"
    assert checked_stdin(bytearray(b"ab")) == b"ab"
    assert checked_stdin(OPEN) is OPEN
    assert checked_stdin(None) is None
    assert repr(OPEN) == "cloche.OPEN"


# -- all of a program's streams --------------------------------------------------------------------------------------


async def test_streams_leave_nothing_open() -> None:
    for wants_input in (False, True):
        streams = Streams(terminal=False, wants_input=wants_input)
        assert (streams.stdio.stdin is not None, streams.stdin is not None) == (wants_input, wants_input)
        streams.handed_over()
        assert streams.stdio.stdout is None
        streams.close()
        streams.close()
    assert Streams(terminal=True, wants_input=True).stdin is None


async def test_a_small_input_is_written_at_once_and_the_rest_is_given_back() -> None:
    for source, rest in ((b"", None), (b"abc", None), (None, None), (OPEN, None), (Path("/x"), Path("/x"))):
        streams = Streams(terminal=False, wants_input=True)
        assert streams.write_at_once(source, keep_open=False) == rest
        streams.handed_over()
        streams.close()
    streams = Streams(terminal=False, wants_input=True)
    left = streams.write_at_once(b"x" * 100_000, keep_open=False)
    assert isinstance(left, bytes)
    assert 0 < len(left) < 100_000
    streams.handed_over()
    streams.close()


async def test_no_descriptors_left_is_told_and_leaks_none(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.pipe2, [0]

    def pipe2(flags: int) -> tuple[int, int]:
        calls[0] += 1
        if calls[0] == 3:
            raise OSError(24, "too many open files")
        return real(flags)

    monkeypatch.setattr(os, "pipe2", pipe2)
    with pytest.raises(OSError, match="too many"):
        Streams(terminal=False, wants_input=True)
