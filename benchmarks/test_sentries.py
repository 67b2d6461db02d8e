"""What gVisor's sentry says, taken apart in C, beside a plain reading in Python; what both tell is compared first."""

from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import described
from cloche_native import events
from cloche_native.seccheck import Decoder, joined
from tests.native import sentry_messages as say
from tests.native.reference_seccheck import PlainDecoder

PACKETS = 20_000
SLICE = 1_000
CONTENDERS = {
    "cloche decoder": "messages to records in C, 20,000 a call, three of four an open with a path",
    "python decoder": "the same by a plain reading in Python, 1,000 of them",
}
WHO = say.context(7, 7, cwd=b"/workspace/src")


def messages(count: int) -> list[bytes]:
    """Give what a program that opens and reads makes a sentry say: 87 bytes each."""
    return [
        say.call(7, "openat", {4: -100, 6: b"/usr/lib/python3.11/encodings/file%d.py" % (n % 500), 7: 0x80000}, who=WHO)
        if n % 4
        else say.call(9, "read", {4: 3, 6: 4096}, who=WHO)
        for n in range(count)
    ]


def plain(packets: list[bytes]) -> bytes:
    decoder = PlainDecoder()
    return b"".join(raw for packet in packets for raw in decoder.feed(packet, 0))


@pytest.mark.parametrize("contender", list(CONTENDERS))
@pytest.mark.benchmark(group="sentries")
def test_decoding(benchmark: BenchmarkFixture, contender: str) -> None:
    described.update(CONTENDERS)
    pedantic: Any = benchmark.pedantic
    few = messages(SLICE)
    told = [record._replace(number=0) for record in events.iterate(Decoder().feed(few))]
    assert told == list(events.iterate(plain(few)))
    ours = contender == "cloche decoder"
    benchmark.extra_info["items"] = PACKETS if ours else SLICE
    if ours:
        whole = joined(messages(PACKETS))
        pedantic(lambda decoder: decoder.feed_joined(whole), setup=lambda: ((Decoder(),), {}), rounds=9)
    else:
        pedantic(plain, args=(few,), rounds=3)
