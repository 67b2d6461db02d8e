"""Records of one window become one vector of named figures per program, each from 0 to 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cloche.events.acts import Act, EventFlag, Source
from cloche.events.event import HEAD

CLASSES: Final[Mapping[str, frozenset[Act]]] = {
    "reads": frozenset({Act.OPEN, Act.READ}),
    "looks": frozenset({Act.STAT, Act.ACCESS, Act.READLINK, Act.LIST}),
    "writes": frozenset({Act.WRITE_OPEN, Act.CREATE, Act.WRITE, Act.TRUNCATE}),
    "folders": frozenset({Act.MKDIR, Act.CHDIR}),
    "removals": frozenset({Act.UNLINK}),
    "renames": frozenset({Act.RENAME}),
    "links": frozenset({Act.LINK, Act.SYMLINK}),
    "rights": frozenset({Act.CHMOD, Act.CHOWN, Act.XATTR}),
    "times": frozenset({Act.UTIME}),
    "programs": frozenset({Act.EXEC}),
    "processes": frozenset({Act.FORK, Act.EXIT}),
    "signals": frozenset({Act.SIGNAL}),
    "others": frozenset({Act.PTRACE, Act.SETID, Act.LIMIT}),
    "memory": frozenset({Act.MEMFD, Act.PROTECT}),
    "kernel": frozenset({Act.MOUNT, Act.CHROOT, Act.NAMESPACE, Act.MODULE, Act.KERNEL, Act.SYSTEM, Act.MKNOD}),
    "sockets": frozenset({Act.SOCKET, Act.BIND, Act.LISTEN, Act.ACCEPT}),
    "connections": frozenset({Act.CONNECT, Act.SEND}),
}
"""Classes of acts. Of each, its share of the window's acts is a figure."""
SHARES: Final = ("missing", "failed", "refused", "climbs", "unreadable")
MANY: Final = ("acts", "places", "files", "pids", "rate")
"""Counts, of which the figure is ``n / (n + half)``."""
FIGURES: Final = (*CLASSES, *SHARES, *MANY, "novelty")
"""The names of all, in the order they are told."""
ACTS_LEAST: Final = 8
"""A program that did less in a window is not scored: its shares would say nothing."""
_CLASS: Final = {act.number: name for name, acts in CLASSES.items() for act in acts}
_HALF: Final = {"acts": 500.0, "places": 50.0, "files": 200.0, "pids": 10.0, "rate": 2000.0}
_GUEST: Final = Source.GUEST.number
_MISSING, _DENIED = EventFlag.MISSING.value, EventFlag.DENIED.value
_CLIMBS, _UNREADABLE, _RESULT = EventFlag.CLIMBS.value, EventFlag.UNREADABLE.value, EventFlag.RESULT.value
_BEGINS: Final = HEAD.size


@dataclass(slots=True)
class Tally:
    """What one program did, counted."""

    classes: Counter[str] = field(default_factory=Counter)
    shares: Counter[str] = field(default_factory=Counter)
    places: set[bytes] = field(default_factory=set)
    files: set[bytes] = field(default_factory=set)
    acts: int = 0
    first: int = 0
    last: int = 0
    by_process: dict[int, list[bytes]] = field(default_factory=dict)

    @property
    def records(self) -> list[bytes]:
        """Its records, those of each process together: what processes do beside each other is no row of acts."""
        return [record for records in self.by_process.values() for record in records]

    def figures(self, novelty: float) -> dict[str, float]:
        """Give the figures, all of ``FIGURES``."""
        all_acts = max(1, self.acts)
        seconds = max(0.01, (self.last - self.first) / 1e9)
        many = {
            "acts": self.acts, "places": len(self.places), "files": len(self.files), "pids": len(self.by_process),
            "rate": self.acts / seconds,
        }  # fmt: skip
        found = {name: self.classes[name] / all_acts for name in CLASSES}
        found |= {name: self.shares[name] / all_acts for name in SHARES}
        found |= {name: count / (count + _HALF[name]) for name, count in many.items()}
        return {**found, "novelty": novelty}


def tallied(raw: bytes) -> dict[int, Tally]:
    """Count whole records by the number of their program; what no guest did is left out."""
    found: dict[int, Tally] = {}
    at = 0
    while at < len(raw):
        size, act, source, _, time_ns, _, flags, pid, _, _, program, result, *_, path, resolved, _, _ = (
            HEAD.unpack_from(raw, at)
        )
        if source == _GUEST and act in _CLASS:
            tally = found.get(program)
            if tally is None:
                tally = found[program] = Tally(first=time_ns)
            tally.acts += 1
            tally.last = max(tally.last, time_ns)
            tally.classes[_CLASS[act]] += 1
            if path or resolved:
                begins = at + _BEGINS + (path if resolved else 0)
                name = raw[begins : begins + (resolved or path)]
                tally.files.add(name)
                tally.places.add(name.rpartition(b"/")[0])
            if flags & (_MISSING | _DENIED | _CLIMBS | _UNREADABLE) or result < 0:
                _share(tally.shares, flags, result)
            tally.by_process.setdefault(pid, []).append(raw[at : at + size])
        at += size
    return found


def _share(shares: Counter[str], flags: int, result: int) -> None:
    shares["missing"] += bool(flags & _MISSING)
    shares["refused"] += bool(flags & _DENIED)
    shares["failed"] += bool(flags & _RESULT and result < 0)
    shares["climbs"] += bool(flags & _CLIMBS)
    shares["unreadable"] += bool(flags & _UNREADABLE)
