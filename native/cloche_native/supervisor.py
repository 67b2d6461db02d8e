"""Answering the calls of watched guests: a native thread does it, records of what it saw are taken from here.

A guest's listeners come over a watch socket (``struct clo_listener`` of cdef.h). The thread never waits for Python: it
answers by what it was given, counts, and puts records into a ring.
"""

from __future__ import annotations

import errno
import weakref
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from cloche_native import _lib
from cloche_native.rings import RING, RING_MAX, RING_MIN, Ringed, act_bits, checked, ring_size

__all__ = ["RING", "RING_MAX", "RING_MIN", "WAIT_MS", "Counts", "Overload", "Status", "Supervisor", "SupervisorThread"]

_ffi, _c = _lib.ffi, _lib.lib

Overload = Literal["count", "wait"]

WAIT_MS: Final = 1000
_INSTRUCTION: Final = 8
_OVERLOADS: Final[Mapping[str, int]] = {"count": _c.CLO_OVERLOAD_COUNT, "wait": _c.CLO_OVERLOAD_WAIT}
_HINTS: Final = {
    errno.ENOSYS: "this kernel has no seccomp notification (Linux 5.0)",
    errno.EINVAL: "the static filter is no filter, a strict box is root's, or this kernel can't notify (Linux 5.0)",
    errno.EBUSY: "a box that is watched strictly needs a thread for itself, which acts as its user for good",
    errno.ESRCH: "the supervisor's thread belongs to the process that this one was forked from",
}


class Counts(NamedTuple):
    """How often an act was seen, and how it went.

    ``denied``: by a rule or for want of an answer; ``static``: by the static filter; ``emulated``: done in the guest's
    place; ``unreadable``: with a text that could not be read; ``stale``: gone before it was answered.
    """

    seen: int
    denied: int
    static: int
    emulated: int
    unreadable: int
    stale: int


class Status(NamedTuple):
    """How a supervisor stands.

    ``records``: numbers given so far, ``lost`` of which found no room, as ``lost_matches`` did; ``vanished``: calls
    gone before they were received; ``refused``: packets and listeners; ``listeners``: execs that live. ``waiting``:
    calls wait for room in the ring, ``overloaded``: for longer than they were to; ``closed``: the box is gone for good.
    """

    records: int
    lost: int
    lost_matches: int
    vanished: int
    refused: int
    listeners: int
    waiting: bool
    overloaded: bool
    closed: bool


class SupervisorThread:
    """A native thread for supervisors that share one. It ends with ``close``; what its guests wait for gets ENOSYS.

    Raises OSError when there can be none: ENOSYS or EINVAL before Linux 5.0.
    """

    def __init__(self) -> None:
        """Start the thread."""
        handle = _ffi.new("struct clo_supervisor **")
        _checked(_c.clo_supervisor_new(handle))
        self._handle: Any = _ffi.gc(handle[0], _c.clo_supervisor_free)
        self._boxes: weakref.WeakSet[Supervisor] = weakref.WeakSet()

    def close(self) -> None:
        """End the thread and every supervisor on it. May be called again."""
        for box in tuple(self._boxes):
            box.close()
        _ffi.release(self._handle)


class Supervisor(Ringed):
    """What answers for one box: an event source with a ring, a bell and counters.

    ``watch`` is the other end of the box's watch socket and belongs to the supervisor from then on; ``root`` an O_PATH
    descriptor of the box's root folder, which stays the caller's. ``static`` is the filter whose refusals are to be
    given (``seccomp_program``). ``wants`` are numbers of acts of which every record is wanted. ``uid`` and ``gid`` are
    the guest's as this process sees them, to open files in its place. ``strict`` opens files in its place where a rule
    judges the path; ``resolve`` says of each path where it leads to.

    ``overload``: with ``count`` a record that finds no room in the ``ring`` (bytes, a power of two) is lost and
    counted; with ``wait`` the box's calls wait for room, and after ``wait_ms`` the status says ``overloaded``: they
    wait on until records are taken, ``resume`` is called or the box ends. ``thread``: one to share, or its own.

    When ``judge`` returns, no call is judged by the rules before; it waits for the call that is worked on. From the
    first ``matches`` on, with ``overload="wait"``, calls wait until these are taken, too. After ``close`` what the
    guest waits for, and every watched call, gets ENOSYS.

    Raises OSError, and ValueError for what can't be meant; then ``watch`` is still the caller's.
    """

    _calls, _hints, _what = "clo_observed", _HINTS, "supervisor"

    def __init__(
        self,
        watch: int,
        root: int,
        *,
        sandbox: int = 0,
        static: bytes = b"",
        wants: Iterable[int] = (),
        uid: int | None = None,
        gid: int | None = None,
        strict: bool = False,
        resolve: bool = False,
        overload: Overload = "count",
        wait_ms: int = WAIT_MS,
        ring: int = RING,
        thread: SupervisorThread | None = None,
    ) -> None:
        """Begin to listen."""
        if overload not in _OVERLOADS:
            raise ValueError(f"overload {overload!r} is unknown; there are {', '.join(_OVERLOADS)}")
        if not 0 <= wait_ms < 1 << 32 or not 0 <= sandbox < 1 << 32:
            raise ValueError(f"wait_ms and sandbox are numbers of 32 bits, not {wait_ms} and {sandbox}")
        if (uid is None) != (gid is None):
            raise ValueError("uid and gid go together")
        if len(static) % _INSTRUCTION:
            raise ValueError(f"a filter is instructions of {_INSTRUCTION} bytes each, {len(static)} are none")
        how = _ffi.new("struct clo_observe *")
        code = _ffi.new("uint64_t[]", len(static) // _INSTRUCTION)
        _ffi.buffer(code)[:] = static
        how.watch, how.root = watch, root
        how.uid, how.gid = (-1, -1) if uid is None else (uid, gid)
        how.filter, how.instructions = code, len(static) // _INSTRUCTION
        how.wants, how.ring, how.sandbox = act_bits(wants), ring_size(ring), sandbox
        how.flags = (_c.CLO_OBSERVE_STRICT if strict else 0) | (_c.CLO_OBSERVE_RESOLVE if resolve else 0)
        how.overload, how.wait_ms = _OVERLOADS[overload], wait_ms
        where = thread or SupervisorThread()
        handle = _ffi.new("struct clo_observed **")
        try:
            _checked(_c.clo_observe(where._handle, how, handle))  # noqa: SLF001 - of this module
        except OSError:
            if thread is None:
                where.close()
            raise
        super().__init__(handle[0], where, own=thread is None)

    def want(self, acts: Iterable[int]) -> None:
        """Have every record of these acts from now on, and of others only what a rule matched."""
        with self._lock:
            _c.clo_observed_want(self._open(), act_bits(acts))

    def resume(self) -> None:
        """Let calls go on that wait for room: what finds none is lost and counted until half of the ring is free."""
        with self._lock:
            _checked(_c.clo_observed_resume(self._open()))

    def counters(self) -> Mapping[int, Counts]:
        """Give the counts of each act that was seen, by its number. They are exact, whatever became of the records."""
        width: int = _c.CLO_COUNTS
        counts = _ffi.new("uint64_t[]", _c.CLO_ACTS * width)
        with self._lock:
            _c.clo_observed_counts(self._open(), counts)
        found = {act: Counts(*counts[act * width : (act + 1) * width]) for act in range(_c.CLO_ACTS)}
        return MappingProxyType({act: count for act, count in found.items() if any(count)})

    def status(self) -> Status:
        """Give how it stands."""
        status = _ffi.new("struct clo_observed_status *")
        with self._lock:
            _c.clo_observed_status(self._open(), status)
        flags = [
            bool(status.flags & bit)
            for bit in (_c.CLO_OBSERVED_WAITING, _c.CLO_OBSERVED_OVERLOADED, _c.CLO_OBSERVED_CLOSED)
        ]
        return Status(
            status.records, status.lost, status.lost_matches, status.vanished, status.refused, status.listeners, *flags
        )

    def lost(self) -> int:
        """Give how many records found no room."""
        return self.status().lost


def _checked(status: int) -> int:
    return checked(status, _HINTS)
