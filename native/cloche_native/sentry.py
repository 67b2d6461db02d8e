"""gVisor's trace messages as events: taken apart and counted.

The sentry sends one packet a message over a SOCK_SEQPACKET socket: a head of 8 bytes (its size and the message's type,
16 bits each; how many were dropped so far, 32), then a protobuf. What it says is not trusted: it may be taken over by
its guest. Whatever comes is a record, or is counted as bad.

What a thread group 1 does, which is the init of the box, and its children before their first program, is no act of the
guest. A message is told as the act the supervisor would call it; ``pid`` and ``tid`` are the guest's own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from cloche_native import _lib

_ffi, _c = _lib.ffi, _lib.lib

__all__ = ["PACKET_MAX", "Decoder", "DecoderCounts", "decode", "joined", "sentry_how"]

PACKET_MAX: Final[int] = _c.CLO_SENTRY_PACKET_MAX
"""Bytes of a packet that are looked at; of a longer one what comes first is told, with the flag ``cut``."""


_SIZE: Final = struct.Struct("=I")
_CUT: Final = 0x80000000
_CALLS: Final = 512
_ROOM: Final = 1 << 20


class DecoderCounts(NamedTuple):
    """How decoding went: of the ``packets`` ``bad`` were no message, ``unknown`` of a type that is not known.

    ``dropped``: what the sentry says it could not send. Of the ``records``, ``unreadable`` lack a text.
    """

    packets: int
    bad: int
    unknown: int
    dropped: int
    records: int
    unreadable: int


class Decoder:
    """Takes packets of one sentry apart, one after another, in C. For one thread at a time.

    Raises ValueError for a call in ``shadows``, or a ``sandbox``, that can't be; MemoryError.
    """

    def __init__(self, *, sandbox: int = 0, shadows: Iterable[int] = (), init: bool = False) -> None:
        """Know nothing of the sentry yet."""
        handle = _c.clo_sentry_decoder_new(sentry_how(sandbox, shadows, init=init))
        if not handle:
            raise MemoryError("no memory for a decoder")
        self._handle: Any = _ffi.gc(handle, _c.clo_sentry_decoder_free)
        self._room: Any = _ffi.new("uint64_t[]", _ROOM // 8)

    def feed(self, packets: Iterable[bytes], *, time_ns: int = 0) -> bytes:
        """Give the records that these packets bring about, numbered on. The time never goes back."""
        return self.feed_joined(joined(packets), time_ns=time_ns)

    def feed_joined(self, packets: bytes, *, time_ns: int = 0) -> bytes:
        """Do the same of packets that ``joined`` has put together."""
        told, at, following = bytearray(), 0, _ffi.new("size_t *")
        data = _ffi.from_buffer(packets)
        while at < len(packets):
            used = _c.clo_sentry_decode(
                self._handle, data + at, len(packets) - at, time_ns, self._room, _ROOM, following
            )
            told += _ffi.buffer(self._room, used)
            at += following[0]
        return bytes(told)

    def flush(self, *, time_ns: int = 0) -> bytes:
        """Give the records of what is held, as nothing more will come."""
        used = _c.clo_sentry_flush(self._handle, time_ns, self._room, _ROOM)
        return bytes(_ffi.buffer(self._room, used))

    def counts(self) -> DecoderCounts:
        """Give how it went so far."""
        counts = _ffi.new("struct clo_sentry_counts *")
        _c.clo_sentry_counted(self._handle, counts)
        return DecoderCounts(
            counts.packets, counts.bad, counts.unknown, counts.dropped, counts.records, counts.unreadable
        )


def joined(packets: Iterable[bytes]) -> bytes:
    """Put packets together as ``Decoder.feed_joined`` takes them; one over ``PACKET_MAX`` is cut."""
    return b"".join(
        _SIZE.pack(min(len(packet), PACKET_MAX) | (_CUT if len(packet) > PACKET_MAX else 0)) + packet[:PACKET_MAX]
        for packet in packets
    )


def decode(
    packets: Iterable[bytes], *, sandbox: int = 0, shadows: Iterable[int] = (), init: bool = False, time_ns: int = 0
) -> tuple[bytes, DecoderCounts]:
    """Give the records of packets that came one after another from one sentry, numbered from 1, and how it went.

    Nothing is trusted; what is no message is counted as bad.
    """
    decoder = Decoder(sandbox=sandbox, shadows=shadows, init=init)
    told = decoder.feed(packets, time_ns=time_ns) + decoder.flush(time_ns=time_ns)
    return told, decoder.counts()


def sentry_how(sandbox: int, shadows: Iterable[int], *, init: bool) -> Any:  # noqa: ANN401 - cffi has no types
    """Give how a sentry is heard, as C takes it; see ``Decoder``."""
    if not 0 <= sandbox < 1 << 32:
        raise ValueError(f"sandbox is a number of 32 bits, not {sandbox}")
    how = _ffi.new("struct clo_sentry_how *")
    how.sandbox, how.flags = sandbox, _c.CLO_SENTRY_OWN_INIT if init else 0
    for call in shadows:
        if not 0 <= call < _CALLS:
            raise ValueError(f"a system call has a number below {_CALLS}, not {call}")
        how.shadows[call // 64] |= 1 << call % 64
    return how
