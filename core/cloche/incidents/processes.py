"""What is known of the process that did something: from what it was seen to become, and from this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cloche.incidents.match import ProcessFacts
from cloche_native import init_path, processes

if TYPE_CHECKING:
    from cloche.events.event import Event
    from cloche.incidents.recent import Became, Recent

CHAIN: Final = 16
"""How many processes at most, the first among them."""
_TICK: Final = 1


def family(event: Event, recent: Recent | None, *, local: bool) -> tuple[ProcessFacts, ...]:
    """Give the process of an event, its parent and so on, as far as they are the guest's and still known.

    ``local``: its ids are those of this machine. Nothing is waited for, and nothing of the guest's memory is read. An
    id that another process has by now is not mistaken for the one that acted: that one began before the act. Who made
    which is known where this machine or the source says so.
    """
    if not event.pid:
        return ()
    found: list[ProcessFacts] = []
    pid, depth, latest, there = event.pid, None, processes.ticks(event.time_ns) + _TICK, event.number
    here = os.getpid() if local else None
    while pid > 1 and pid != here and len(found) < CHAIN:
        seen = processes.seen(pid) if local else None
        if seen is not None and (seen.started > latest or (depth is not None and seen.depth < depth)):
            seen = None  # another process, or one outside the box
            if found:
                break
        became, changed = (None, False) if recent is None else recent.became(pid, event.number, there)
        if became is not None and seen is not None and processes.ticks(became.time_ns) + _TICK < seen.started:
            became = None  # what an older process of that id became
        if seen is not None and seen.exe == init_path():
            break  # what brings the box up; none of the guest's
        if seen is None and became is None and found:
            break
        found.append(_facts(pid, seen, became, changed=changed))
        if found[-1].parent is None:
            break
        pid = found[-1].parent
        there = (became.begun if became is not None else 0) or there
        if seen is not None:
            depth, latest = seen.depth, seen.started
    return tuple(found)


def _facts(pid: int, seen: processes.Seen | None, became: Became | None, *, changed: bool) -> ProcessFacts:
    exe = None if seen is None or changed else seen.exe
    if became is not None:  # told when it was judged; what it is now may be another
        exe = became.exe or exe
    parent = seen.parent if seen is not None else None if became is None else became.parent
    return ProcessFacts(pid=pid, parent=parent, exe=exe, args=() if became is None else became.args)
