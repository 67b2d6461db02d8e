"""Words made small: what was made small is had back, and what anybody made up is refused."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloche_native.words import expand, shrink

PIECE = 65535 * 4


def scattered(seed: bytes, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - to be alike each time


pieces = st.lists(
    st.tuples(st.binary(min_size=4, max_size=4), st.integers(1, 600), st.booleans()).map(
        lambda one: one[0] * one[1] if one[2] else scattered(one[0], 4 * (one[1] % 60))
    ),
    max_size=20,
)


@settings(max_examples=200)
@given(pieces, st.integers(0, 3))
def test_what_was_made_small_is_had_back(parts: list[bytes], again: int) -> None:
    data = b"".join(parts) * (1 + again)
    assert bytes(expand(shrink(data), len(data))) == data


@pytest.mark.parametrize("size", [0, 4, 8, PIECE - 4, PIECE, PIECE + 4, 3 * PIECE + 8, 2 << 20])
@pytest.mark.parametrize("kind", ["zero", "random", "objects"])
def test_any_size_goes_there_and_back(size: int, kind: str) -> None:
    objects = b"".join(struct.pack("<IIQ", 7, number, 1 << 40) for number in range(size // 16 + 1))
    data = {"zero": bytes(size), "random": scattered(b"", size), "objects": objects[:size]}[kind]
    small = shrink(data)
    assert bytes(expand(small, size)) == data
    assert len(small) <= size + size // 128 + 64
    if kind == "zero" and size > PIECE:
        assert len(small) < size / 200
    if kind == "objects" and size > PIECE:
        assert len(small) < size / 1.5


def test_only_whole_words_are_made_small() -> None:
    with pytest.raises(ValueError, match="words have 4 bytes"):
        shrink(b"12345")


def test_no_more_is_given_than_may_be() -> None:
    with pytest.raises(ValueError, match="4000 bytes, and 3999 are the most"):
        expand(shrink(bytes(4000)), 3999)


def sequence(count: int, *given: int) -> bytes:
    return struct.pack("<II", count, len(given)) + bytes(given)


@pytest.mark.parametrize(
    "given",
    [
        b"\0", b"\0" * 7, struct.pack("<II", 0, 0), struct.pack("<II", 65536, 0), struct.pack("<II", 5, 1),
        sequence(9, 0x10), sequence(9, 0x21, 1, 2, 3, 4, 5, 6, 7, 8), sequence(9, 0xF0), sequence(9, 0xF0, 255),
        sequence(9, 0x12, 1, 2, 3, 4, 1), sequence(9, 0x12, 1, 2, 3, 4, 0, 0), sequence(9, 0x12, 1, 2, 3, 4, 2, 0),
        sequence(9, 0x1F, 1, 2, 3, 4, 255), sequence(9, 0x1F, 1, 2, 3, 4, 0, 1, 0), sequence(2, 0x12, 1, 2, 3, 4, 1, 0),
        sequence(9, 0x11, 1, 2, 3, 4, 1, 0), sequence(9, 0x00),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_none_is_refused(given: bytes) -> None:
    with pytest.raises(ValueError, match="not what words are made small to"):
        expand(given, 1 << 20)


@settings(max_examples=300)
@given(pieces, st.integers(0, 1 << 16), st.binary(max_size=12))
def test_any_bytes_are_refused_or_give_as_much_as_they_say(parts: list[bytes], at: int, put: bytes) -> None:
    small = shrink(b"".join(parts))
    at %= len(small) + 1
    damaged = small[:at] + put + small[at + len(put) :]
    try:
        assert len(expand(damaged, 1 << 20)) <= 1 << 20
    except ValueError as error:
        assert "small to" in str(error) or "are the most" in str(error)  # noqa: PT017 - either is right
