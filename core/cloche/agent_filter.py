"""Which system calls the programs of one sandbox are left with, where the agent runs it."""

from __future__ import annotations

import os
from functools import lru_cache

from cloche.spec import Spec
from cloche_native.bounds import ATTRIBUTE_CALLS, OUTLIVING_CALLS
from cloche_native.filters import Sockets, StaticFilter


def refused(spec: Spec, *, own_view: bool, locked: bool) -> StaticFilter:
    """Give what ``spec`` refuses; ``own_view``: its box sees files of its own; ``locked``: to its processors."""
    profile, sockets = spec.level.syscalls, _sockets(spec, own_view=own_view)
    deny = ("sched_setaffinity",) if locked else ()
    if own_view:
        return StaticFilter(profile=profile, sockets=sockets, deny=deny, no_set_id=bool(spec.written()))
    deny = (*deny, *OUTLIVING_CALLS, *ATTRIBUTE_CALLS)
    return StaticFilter(profile=profile, sockets=sockets, deny=deny, protect_pid=os.getpid(), no_set_id=True)


@lru_cache(64)
def plain(asked: StaticFilter) -> bytes:
    """Give the filter of a box that is not watched, and what must hold for one that is."""
    return asked.program()


@lru_cache(64)
def watched(asked: StaticFilter, acts: int) -> tuple[bytes, bytes]:
    """Give the filter of the agent of a box in which ``acts`` are watched, and the one of its programs."""
    return asked.agent(acts), asked.watch(acts, acts)


@lru_cache(64)
def rewatched(asked: StaticFilter, acts: int, opened: int) -> bytes:
    """Give the filter of programs that are watched for ``acts``, where the agent's was made for ``opened``."""
    return asked.watch(acts, opened)


def _sockets(spec: Spec, *, own_view: bool) -> Sockets:
    # Unix sockets of the host are files: without a view of one's own, they could be found and connected to. So can
    # those in folders that are shown, read-only or not: a level that allows no network at all refuses that too.
    if spec.network.mode == "none":
        closed = spec.level.networks == {"none"} and spec.shows_host()
        return "unix" if own_view and not closed else "none"
    if own_view:
        return "all"
    return "inet" if spec.network.mode == "host" else "none"  # no loopback of its own: none, rather than the host's
