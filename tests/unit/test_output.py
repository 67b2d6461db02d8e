from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING, cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import Chunk
from cloche.output import LINE_MAX, Collector, Lines, Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.output import Stream

pytestmark = pytest.mark.anyio
streams: st.SearchStrategy[Stream] = st.sampled_from(["stdout", "stderr"])
joins = st.lists(st.integers(0, 12), max_size=3)
pieces = st.lists(st.tuples(streams, st.binary(min_size=1, max_size=9)), max_size=12)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def follow(ring: Ring, since: int = 0) -> AsyncGenerator[list[Chunk], None]:
    return cast("AsyncGenerator[list[Chunk], None]", ring.batches(since))


async def everything(ring: Ring, since: int = 0) -> list[Chunk]:
    return [chunk async for batch in follow(ring, since) for chunk in batch]


def labelled(chunks: list[Chunk]) -> list[tuple[int, str, int]]:
    """Give each byte with its offset and stream: cuts between chunks don't show."""
    return [(c.seq + n, c.stream, byte) for c in chunks for n, byte in enumerate(c.data)]


async def settled() -> None:
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def test_a_collector_keeps_each_stream_whole() -> None:
    sink = Collector()
    sink.put("stdout", b"a")
    sink.put("stderr", b"x")
    sink.put("stdout", b"b")
    await sink.room()
    sink.finish()
    assert (sink.bytes("stdout"), sink.bytes("stderr")) == (b"ab", b"x")


@given(pieces, st.integers(1, 40), st.integers(0, 130))
def test_a_ring_replays_exactly_the_last_bytes(printed: list[tuple[Stream, bytes]], size: int, since: int) -> None:
    ring = Ring(size)
    model: list[tuple[int, str, int]] = []
    for stream, data in printed:
        ring.put(stream, data)
        model += [(len(model) + n, stream, byte) for n, byte in enumerate(data)]
    assert ring.end == len(model)
    expected = [byte for byte in model[-size:] if byte[0] >= since]
    assert labelled(ring.held(since)) == expected
    ring.finish()
    assert labelled(anyio.run(everything, ring, since)) == expected
    assert sum(len(c.data) for c in ring._chunks) < size + 10  # memory is bounded: the size and one piece


@given(pieces, st.builds(partial, st.just(Ring), st.integers(1, 20), lossless=st.booleans()), joins)
def test_whoever_follows_from_the_start_loses_nothing(
    printed: list[tuple[Stream, bytes]], make: Callable[[], Ring], joins: list[int]
) -> None:
    async def main() -> None:
        ring = make()
        got: dict[int, list[Chunk]] = {}

        async def reader(number: int) -> None:
            got[number] = await everything(ring)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader, -1)
            await settled()
            for number, (stream, data) in enumerate(printed):
                for _ in range(joins.count(number)):
                    tasks.start_soon(reader, number)
                ring.put(stream, data)
                await ring.room()
            ring.finish()
        whole = labelled(got[-1])
        assert bytes(byte for _, _, byte in whole) == b"".join(data for _, data in printed)
        for late in got.values():  # those who joined later see a piece of the same that reaches to the end
            assert labelled(late) == whole[len(whole) - len(labelled(late)) :]

    anyio.run(main)


async def test_the_program_waits_for_the_slowest_of_several_followers_and_all_are_woken() -> None:
    ring = Ring(4)
    fast, slow = follow(ring), follow(ring)
    ring.put("stdout", b"1234")
    waiting = [False]

    async def program(stream: Stream) -> None:
        await ring.room()
        ring.put(stream, b"ab")
        waiting[0] = True

    assert [c.data for c in await anext(fast)] == [b"1234"]
    assert [c.data for c in await anext(slow)] == [b"1234"]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(program, "stdout")
        tasks.start_soon(program, "stderr")  # two wait at once, neither is forgotten
        tasks.start_soon(anext, fast)
        await settled()
        assert not waiting[0]
        assert b"".join(c.data for c in await anext(slow)).startswith(b"ab")
    assert ring.end == 8
    await fast.aclose()
    await slow.aclose()


async def test_a_follower_that_leaves_is_not_waited_for() -> None:
    ring = Ring(1)
    follower = follow(ring)
    ring.put("stdout", b"12345")
    await anext(follower)
    with anyio.move_on_after(0.01) as scope:
        await ring.room()
    assert scope.cancelled_caught
    await follower.aclose()
    await ring.room()


async def test_without_a_follower_the_oldest_is_lost_and_the_loss_shows() -> None:
    ring = Ring(4)
    for data in (b"abc", b"def", b"g"):
        ring.put("stdout", data)
        await ring.room()
    ring.finish()
    assert await everything(ring) == [Chunk(3, "stdout", b"def"), Chunk(6, "stdout", b"g")]
    assert await everything(ring, 5) == [Chunk(5, "stdout", b"f"), Chunk(6, "stdout", b"g")]
    assert Chunk(5, "stdout", b"f").end == 6
    assert await everything(ring, 99) == []


async def test_a_lossless_ring_waits_for_its_first_reader_and_for_the_next_one() -> None:
    ring = Ring(3, lossless=True)
    ring.put("stdout", b"abcd")
    with anyio.move_on_after(0.01) as scope:
        await ring.room()
    assert scope.cancelled_caught
    first = follow(ring)
    assert [c.data for c in await anext(first)] == [b"abcd"]
    await first.aclose()  # it was given the batch but did not come back for more: not known to have used it
    second = follow(ring)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ring.room)
        await settled()
        assert [c.data for c in await anext(second)] == [b"abcd"]
        tasks.start_soon(anext, second)
        await settled()
        ring.put("stdout", b"e")
    ring.finish()
    await second.aclose()


async def test_a_released_ring_waits_for_nobody() -> None:
    ring = Ring(2, lossless=True)
    ring.put("stdout", b"abcd")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ring.room)
        await settled()
        ring.release()
    ring.put("stdout", b"efgh")
    await ring.room()


async def test_what_is_left_at_the_end_is_kept_beyond_the_size_for_those_who_follow() -> None:
    ring = Ring(2)
    follower = follow(ring)
    ring.put("stdout", b"ab")
    assert await anext(follower)
    ring.put("stdout", b"cdef")
    ring.put("stderr", b"ghi")
    ring.finish()
    await ring.room()
    assert [c.data async for batch in follower for c in batch] == [b"cdef", b"ghi"]


@given(st.lists(st.tuples(streams, st.text("ab\r\n\xe9", max_size=5).map(str.encode)), max_size=9))
def test_lines_are_those_of_each_stream_for_itself(printed: list[tuple[Stream, bytes]]) -> None:
    for only in (None, "stdout", "stderr"):
        lines = Lines(only)
        got = [line for stream, data in printed for line in lines.feed([Chunk(0, stream, data)])] + lines.last()
        expected: list[str] = []
        for stream in ("stdout", "stderr"):
            if only in (None, stream):
                whole = b"".join(data for s, data in printed if s == stream)
                ended, last = whole.split(b"\n")[:-1], whole.split(b"\n")[-1]
                expected += [line.decode().removesuffix("\r") for line in ended] + ([last.decode()] if last else [])
        assert sorted(got) == sorted(expected)


def test_a_line_without_end_comes_in_pieces() -> None:
    lines = Lines(None)
    got = [piece for _ in range(40) for piece in lines.feed([Chunk(0, "stdout", b"x" * 100_000)])]
    assert sum(map(len, got)) + sum(map(len, lines.last())) == 4_000_000
    assert max(map(len, got)) <= LINE_MAX + 100_000
