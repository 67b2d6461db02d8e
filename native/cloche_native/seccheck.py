"""Hearing gVisor's sentries: a native thread receives, decodes, counts and judges; records are taken from here.

The thread never waits for Python, nor for anybody else: a sentry that can't send waits, or drops what it has to say.
"""

from __future__ import annotations

import errno
import weakref
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from cloche_native import _lib, events
from cloche_native.lines import Lines
from cloche_native.rings import RING, Ringed, act_bits, checked, ring_size
from cloche_native.sentry import PACKET_MAX, Decoder, DecoderCounts, decode, joined, sentry_how

__all__ = [
    "PACKET_MAX", "Decoder", "DecoderCounts", "Listener", "ListenerStatus", "ListenerThread", "decode", "joined",
]  # fmt: skip

_ffi, _c = _lib.ffi, _lib.lib

_HINTS: Final = {
    errno.ESRCH: "the listener's thread belongs to the process that this one was forked from",
    errno.EPERM: "what is no socket can't be listened to",
}


class ListenerStatus(NamedTuple):
    """How a listener stands.

    ``records``: numbers given so far, ``lost`` of which found no room, as ``lost_matches`` did. Of the ``packets`` that
    came, ``bad`` were no message, ``unknown`` of a type that is not known. ``dropped``: what the sentry says it could
    not send. ``unreadable``: acts of which a text is not known. ``ended``: the sentry's end is closed.
    """

    records: int
    lost: int
    lost_matches: int
    packets: int
    bad: int
    unknown: int
    dropped: int
    unreadable: int
    ended: bool


class ListenerThread:
    """A native thread for listeners that share one. It ends with ``close``, and they with it. Raises OSError."""

    def __init__(self) -> None:
        """Start the thread."""
        handle = _ffi.new("struct clo_listener_thread **")
        checked(_c.clo_listener_new(handle))
        self._handle: Any = _ffi.gc(handle[0], _c.clo_listener_free)
        self._boxes: weakref.WeakSet[Listener] = weakref.WeakSet()

    def close(self) -> None:
        """End the thread and every listener on it. May be called again."""
        for box in tuple(self._boxes):
            box.close()
        _ffi.release(self._handle)


class Listener(Ringed):
    """What hears one sandbox: an event source with a ring, a bell and counters.

    ``socket`` is the end of the trace session's socket (SOCK_SEQPACKET) that the sentry does not have; it belongs to
    the listener from then on. ``wants`` are numbers of acts of which every record is wanted, all at first. ``shadows``
    are numbers of system calls whose raw enter point is had only to see that nothing is missing: one is held until the
    message of the same call and thread that has its texts or its result; if that does not come, since a text is no
    UTF-8, the act is told with the flag ``unreadable``. ``init``: thread group 1 is the box's own, see ``Decoder``.
    A record that finds no room in the ``ring`` (bytes, a power of two) is lost and counted. ``lines`` are where texts
    come from that points have not: nobody else may read them until this is closed. ``thread``: one to share, or its
    own.

    What a rule would answer is told with its match: when a sentry speaks of an act it is too late to refuse it.

    Raises OSError, and ValueError for what can't be meant; then ``socket`` is still the caller's, else its own.
    """

    _calls, _hints, _what = "clo_listened", _HINTS, "listener"

    def __init__(
        self,
        socket: int,
        *,
        sandbox: int = 0,
        wants: Iterable[int] | None = None,
        shadows: Iterable[int] = (),
        ring: int = RING,
        init: bool = True,
        lines: Lines | None = None,
        thread: ListenerThread | None = None,
    ) -> None:
        """Begin to listen."""
        how = _ffi.new("struct clo_listen *")
        self._wants = act_bits(events.ACT_NAMES if wants is None else wants)
        self._kept = 0
        how.sentry, how.ring = sentry_how(sandbox, shadows, init=init)[0], ring_size(ring)
        self._lines = lines  # as long as it is used
        if lines is not None:
            how.sentry.lines = lines.pointer
        how.wants, how.socket = self._wants, socket
        where = thread or ListenerThread()
        handle = _ffi.new("struct clo_listened **")
        try:
            checked(_c.clo_listen(where._handle, how, handle), _HINTS)  # noqa: SLF001 - of this module
        except OSError:
            if thread is None:
                where.close()
            raise
        super().__init__(handle[0], where, own=thread is None)

    def want(self, acts: Iterable[int]) -> None:
        """Have every record of these acts from now on, and of others only what a rule matched or ``keep`` named."""
        bits = act_bits(acts)
        with self._lock:
            self._wants = bits
            _c.clo_listened_want(self._open(), self._wants | self._kept)

    def keep(self, acts: Iterable[int]) -> None:
        """Have every record of these acts too, whatever ``want`` says: the host itself wants them."""
        bits = act_bits(acts)
        with self._lock:
            self._kept = bits
            _c.clo_listened_want(self._open(), self._wants | self._kept)

    def reflex(self, fd: int, request: bytes, *, least: int) -> bool:
        """Have ``request`` sent by the socket ``fd`` at the next match of a rule that responds with ``least`` or more.

        Once, at once, and without waiting for anybody; ``b""``: not any more. The descriptor stays the caller's. Says
        whether what was asked for before has been sent. Raises OSError for a request of more than 256 bytes.
        Nothing is sent once it is closed.
        """
        with self._lock:
            if self._closed:
                return False
            return bool(checked(_c.clo_listened_reflex(self._open(), fd, least, request, len(request)), _HINTS))

    def reflexed(self) -> bool:
        """Say whether what ``reflex`` asked for has been sent."""
        with self._lock:
            return not self._closed and bool(_c.clo_listened_reflexed(self._open()))

    def catch_up(self) -> None:
        """Hear all that the sentry has said by now: records of acts before something that is known are here then."""
        with self._lock:
            _c.clo_listened_catch_up(self._open())

    def counters(self) -> Mapping[int, int]:
        """Give how often each act was seen, by its number. Exact, whatever became of the records."""
        counts = _ffi.new("uint64_t[]", _c.CLO_ACTS)
        with self._lock:
            _c.clo_listened_counts(self._open(), counts)
        return MappingProxyType({act: count for act, count in enumerate(counts) if count})

    def status(self) -> ListenerStatus:
        """Give how it stands."""
        status = _ffi.new("struct clo_listened_status *")
        with self._lock:
            _c.clo_listened_status(self._open(), status)
        return ListenerStatus(
            status.records, status.lost, status.lost_matches, status.packets, status.bad, status.unknown,
            status.dropped, status.unreadable, bool(status.ended),
        )  # fmt: skip

    def lost(self) -> int:
        """Give how many records found no room."""
        return self.status().lost

    def unmatched(self) -> int:
        """Give how many matches found no room."""
        return self.status().lost_matches

    def dropped(self) -> int:
        """Give how many messages the sentry says it could not send."""
        return self.status().dropped

    def ended(self) -> bool:
        """Say whether the sentry's end is closed: nothing more will come."""
        return self.status().ended
