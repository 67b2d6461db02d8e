"""How open a sandbox is, in one number: 0.0 is sealed, 10.0 is open; with a row per feature that says why.

Each feature has a weight and an exposure from 0 (nothing is exposed) to 1 (all that this feature could expose); the
score is the weighted mean, times ten. Weights are points of a hundred, and are judgements, in this order: what one
broken wall gives away. A feature counts as open when the report does not say otherwise, so the number can only be too
high. It compares policies on one machine; it is no proof, and it says nothing of what a guest is *given* to read.

======================  ======  ================================================================================
feature                 weight  reason
======================  ======  ================================================================================
filesystem                  12  the host's files are what is stolen and what is changed
syscalls, capabilities   10, 10  each by itself opens the way out of every other wall
kernel                       9  one fault of a shared kernel undoes all the rest
reach                        9  with the host's network everything that trusts this machine can be spoken to
process                      8  the host's processes can be seen, signalled, traced
network                      8  a mode that is not kept is the host's network
identity                     8  as somebody's user it may do all that this user may
shared                       7  folders given to the guest: written ones can carry a program back to the host
filter                       4  how much of the kernel the filter leaves open
rules                        3  unwatched, a guest may try the walls as often as it likes; no wall by themselves
machine                      2  what the guest can learn of the machine helps it, but opens nothing
memory pids disk       2, 2, 2  one guest takes what others need: the machine stops
cpu wall output        1, 1, 1  the same, slower
file_size open_files  0.5, 0.5  only help to fill up what is bounded already
======================  ======  ================================================================================

The score never gets worse by ``Policy.restrict`` (docs/specification.md names the test).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cloche.enforcement import Enforced, Guarantee, Kept, Partial, Unenforced
from cloche.policy import NetworkMode, WorkspaceKind
from cloche.rules.severity import THRESHOLDS, Severity, stricter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloche.spec import Spec

PARTLY: Final = 0.4
"""Exposure of a wall that is kept with a caveat: it stands, but one knows where it is thin."""
WORDS: Final = ((1.0, "sealed"), (2.0, "tight"), (4.0, "fair"), (7.0, "loose"), (10.0, "open"))
"""The word for scores up to this one."""
REACH: Final[Mapping[NetworkMode, float]] = {"none": 0.0, "loopback": 0.1, "isolated": 0.2, "host": 1.0}
GIVEN: Final[Mapping[WorkspaceKind, float]] = {"tmpfs": 0.0, "image": 0.1, "overlay": 0.2, "bind": 0.6}
"""Exposure by one folder of the host: one that is read gives its contents away, one that is written can be poisoned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One feature: how much it weighs, what of that is exposed (0 to 1), what is so, what that means, what to do."""

    feature: str
    weight: float
    share: float
    found: str
    exposes: str
    improve: str

    @property
    def points(self) -> float:
        """What it adds to the score."""
        return self.weight * self.share / 10


@dataclass(frozen=True, slots=True)
class Score:
    """How open a sandbox is: ``number`` from 0.0 (sealed) to 10.0 (open), a ``word`` for it, the reasons for it."""

    rows: tuple[Exposure, ...]

    @property
    def number(self) -> float:
        """The score, to two decimals and never rounded down."""
        return math.ceil(round(sum(row.points for row in self.rows) * 100, 6)) / 100

    @property
    def word(self) -> str:
        """The score in a word: sealed, tight, fair, loose, open."""
        return next(word for most, word in WORDS if self.number <= most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the machine has: bytes of memory, processors. A limit as large as that bounds nothing."""

    memory: int
    processors: int

    @classmethod
    def here(cls) -> Capacity:
        """Give that of this machine."""
        return cls(memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), processors=os.cpu_count() or 1)


def score(spec: Spec, enforcement: Mapping[str, Kept], *, capacity: Capacity | None = None) -> Score:
    """Give how open the sandbox of ``spec`` is, where ``enforcement`` is what its runtime reports.

    Limits are seen beside ``capacity``, this machine's if left out.
    """
    capacity = Capacity.here() if capacity is None else capacity
    rows = [*_walls(enforcement), *_openings(spec), _judged(spec, enforcement), *_bounds(spec, enforcement, capacity)]
    return Score(tuple(sorted(rows, key=lambda row: (-row.points, -row.weight, row.feature))))


# -- the rows -----------------------------------------------------------------------------------------------------

_WALLS: Final[Mapping[Guarantee, tuple[float, str]]] = {
    Guarantee.FILESYSTEM: (12, "files of the host that the policy does not list"),
    Guarantee.SYSCALLS: (10, "kernel entry points that break out of sandboxes"),
    Guarantee.CAPABILITIES: (10, "privileges that undo the other walls"),
    Guarantee.KERNEL: (9, "the host's kernel: one fault in it undoes all walls"),
    Guarantee.PROCESS: (8, "the host's processes"),
    Guarantee.NETWORK: (8, "networks that the policy does not name"),
    Guarantee.IDENTITY: (8, "whatever else belongs to the user it runs as"),
}


def _walls(enforcement: Mapping[str, Kept]) -> Iterator[Exposure]:
    for wall, (weight, exposes) in _WALLS.items():
        kept = _kept(enforcement, wall.value)
        share = _wall_share(kept)
        improve = ""
        if isinstance(kept, Partial):
            improve = "a runtime that keeps it whole; `cloche runtimes` shows which does"
        elif isinstance(kept, Unenforced):
            improve = kept.fix or f"require {wall.value!r}: then only a runtime that keeps it is used"
        yield Exposure(
            feature=wall.value, weight=weight, share=share, found=_told(kept), exposes=exposes if share else "",
            improve=improve,
        )  # fmt: skip


def _openings(spec: Spec) -> Iterator[Exposure]:
    """Give what the policy itself opens, however well it is kept."""
    share = REACH.get(spec.network.mode, 1.0)
    yield _row("reach", 9, share, f"network {spec.network.mode}", _REACHED[spec.network.mode], "network none")
    folders = [GIVEN["overlay" if mount.read_only else "bind"] for mount in spec.mounts]
    folders += [GIVEN[spec.workspace.kind]]
    closed = math.prod(1 - folder for folder in folders)
    given = [f"{m.target} {'read' if m.read_only else 'written'}" for m in spec.mounts]
    given += [f"work folder {spec.workspace.kind}"]
    yield _row(
        "shared", 7, 1 - closed, ", ".join(given), "folders of the host, and who reads them later",
        "fewer mounts, read-only; workspace overlay or tmpfs",
    )  # fmt: skip
    yield _row(
        "filter", 4, _width(spec.level.syscalls), f"filter profile {spec.level.syscalls}",
        "parts of the kernel that few programs need", "a level with a stricter filter",
    )  # fmt: skip
    yield _row(
        "machine", 2, 0.0 if spec.level.minimal_proc else 1.0,
        "sees only its own processes" if spec.level.minimal_proc else "can read what the machine is and does",
        "facts that help an attack", "a level with a minimal view, such as maximum",
    )  # fmt: skip


_REACHED: Final[Mapping[NetworkMode, str]] = {
    "none": "nothing",
    "loopback": "its own programs, over a loopback",
    "isolated": "its own programs, and what the host offers it",
    "host": "all that this machine can reach, and its own services",
}


UNANSWERED: Final = 0.6
"""Exposure where rules find what is tried, and nothing follows by itself."""


def _judged(spec: Spec, enforcement: Mapping[str, Kept]) -> Exposure:
    """Give what goes unseen, or is seen and not answered: the less grave a match must be for that, the less."""
    kept = _kept(enforcement, "rules")
    if not spec.rules:
        share, found = 1.0, "nothing judges what it does"
    elif isinstance(kept, Unenforced):
        share, found = 1.0, kept.reason
    else:
        from_on = stricter(*(getattr(spec.rules, name) or getattr(spec.level, name) for name in THRESHOLDS))
        answers = isinstance(from_on, Severity) and not spec.rules.audit
        share = UNANSWERED * (int(from_on) - Severity.INFO) / Severity.CRITICAL if answers else UNANSWERED
        share = share if isinstance(kept, Enforced) else PARTLY + (1 - PARTLY) * share
        found = f"{_told(kept)}; " + (f"answered from {from_on} on" if answers else "nothing is answered")
    improve = 'rules="on"' if share == 1 else "lower thresholds; no audit"
    return _row("rules", 3, share, found, "what is tried unseen, until it works", improve)


def _bounds(spec: Spec, enforcement: Mapping[str, Kept], capacity: Capacity) -> Iterator[Exposure]:
    limits = spec.limits
    disk = limits.memory if limits.disk is None else limits.disk  # as Limits.disk says
    table: tuple[tuple[str, float, float | None, float, str, str], ...] = (
        ("memory", 2, limits.memory, capacity.memory, "the machine's memory", "memory that others need"),
        ("pids", 2, limits.pids, 1 << 15, "32768 process ids", "process ids that others need"),  # pid_max, proc(5)
        ("disk", 2, disk, capacity.memory, "the machine's memory", "room that others need"),
        ("cpu", 1, limits.cpu, capacity.processors, "the machine's processors", "time that others need"),
        ("wall", 1, limits.wall, 24 * 3600, "a day", "time: what should take a minute runs for long"),
        ("output", 1, limits.output, 1 << 30, "1G", "the memory and logs of whoever reads what it prints"),
        ("file_size", 0.5, limits.file_size, capacity.memory, "the machine's memory", "room, by one file"),
        ("open_files", 0.5, limits.open_files, 1 << 20, "1048576", "the kernel's memory, by descriptors"),
    )
    for name, weight, limit, full, whole, exposes in table:
        kept = _kept(enforcement, name)
        size = 1.0 if limit is None else min(1.0, limit / full)
        # What is kept partly is worth less, but a smaller bound is still a smaller one.
        share = {Enforced: size, Partial: PARTLY + (1 - PARTLY) * size}.get(type(kept), 1.0)
        found = _told(kept) if not isinstance(kept, Enforced) else f"{size:.1%} of {whole}"
        improve = f"a smaller limits.{name}" if isinstance(kept, Enforced) else _fix(kept)
        yield _row(name, weight, share, found, exposes, improve)


def _row(feature: str, weight: float, share: float, found: str, exposes: str, improve: str) -> Exposure:  # noqa: PLR0917
    told = (exposes, improve) if share else ("", "")
    return Exposure(feature=feature, weight=weight, share=share, found=found, exposes=told[0], improve=told[1])


def _kept(enforcement: Mapping[str, Kept], name: str) -> Kept:
    return enforcement.get(name, Unenforced("this runtime does not report it"))


def _wall_share(kept: Kept) -> float:
    return {Enforced: 0.0, Partial: PARTLY}.get(type(kept), 1.0)


def _told(kept: Kept) -> str:
    match kept:
        case Enforced(mechanism):
            return mechanism
        case Partial(mechanism, caveat):
            return f"{mechanism}; but {caveat}"
        case Unenforced(reason):
            return reason


def _fix(kept: Kept) -> str:
    return kept.fix if isinstance(kept, Unenforced) else "a machine that keeps it whole; see `cloche doctor`"


def _width(name: str) -> float:
    """Give how wide a filter is beside the others there are: the widest and an unknown one 1, the strictest 0."""
    from cloche_native import seccomp_profiles  # noqa: PLC0415 - only a score needs it

    known = seccomp_profiles()  # from the widest to the strictest
    return 1 - known.index(name) / (len(known) - 1) if name in known else 1.0
