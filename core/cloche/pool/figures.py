"""What a pool tells of itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import anyio

from cloche.errors import ClocheError
from cloche.programs import blame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloche.pool.shelf import Shelf

PATIENCE: Final = 1.0
"""Seconds in which the boxes of a pool must have told what memory they use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCounts:
    """How a pool did since its host opened."""

    hits: int = 0
    """Who got a box that was ready."""
    misses: int = 0
    """Who did not: a new one was made, or waited for."""
    idle: int = 0
    """Boxes that wait now."""
    starting: int = 0
    """Boxes that are being started now."""
    evicted: int = 0
    """Boxes that nobody took in time: not needed, too old, or in the way of others."""
    died: int = 0
    """Boxes that were dead, or out of date, before anybody took them."""
    failed: int = 0
    """Boxes that could not be started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateStats(PoolCounts):
    """One template: ``runtime``, ``isolation``, what sets it apart, its bounds, its boxes."""

    runtime: str
    isolation: str
    network: str
    workspace: str
    monitor: str
    limit: int | None
    """Bytes of memory that a box may use; ``None``: no bound."""
    declared: int
    """Boxes that always wait, as the configuration or ``pool.warm`` says."""
    wanted: int
    """Boxes that are to wait at present."""
    memory: int | None
    """Bytes that the waiting boxes use together; ``None``: this runtime can't tell."""
    oldest: float | None
    """Seconds since the oldest waiting box was started."""
    newest: float | None
    problem: str
    """What went wrong last, ``""`` for nothing."""
    retry_in: float
    """Seconds until a box is tried again after a failure; 0: nothing is put off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats(PoolCounts):
    """A whole pool: the counts of all its templates, of those too that it has forgotten."""

    mode: str
    total: int
    """Boxes that may wait at most."""
    memory: int | None = None
    """Bytes that the waiting boxes use together, as far as their runtimes tell; ``None``: none does."""
    problem: str = ""
    """What went wrong with the pool as a whole: a template that could not be declared, a box not given back."""
    templates: tuple[TemplateStats, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRecord:
    """The pool of one host of this user. ``trouble`` says why it does not tell; ``stats`` is then ``None``."""

    host: str
    pid: int
    own: bool
    kept: bool
    """It is the keeper's, from which ``cloche run --pool`` and ``cloche create`` are served."""
    stats: PoolStats | None
    trouble: str = ""


COUNTS: Final = tuple(field.name for field in fields(PoolCounts))


def added(counts: Iterable[PoolCounts]) -> dict[str, int]:
    """Give the sums of some counts, by name."""
    rows = list(counts)
    return {name: sum(getattr(row, name) for row in rows) for name in COUNTS}


async def of_shelf(shelf: Shelf, now: float) -> TemplateStats:
    """Give what is to be told of one template. Asks its boxes what memory they use."""
    spec, idle = shelf.template, list(shelf.idle)
    return TemplateStats(
        hits=shelf.hits, misses=shelf.misses, idle=len(idle), starting=shelf.starting, evicted=shelf.evicted,
        died=shelf.died, failed=shelf.failed, runtime=shelf.runtime.name, isolation=spec.level.name,
        network=spec.network.mode, workspace=spec.workspace.kind, monitor=str(spec.monitor.depth),
        limit=spec.limits.memory, declared=shelf.declared, wanted=shelf.wanted(now), memory=await _memory(shelf),
        oldest=max((now - box.since for box in idle), default=None),
        newest=min((now - box.since for box in idle), default=None),
        problem=shelf.problem, retry_in=max(0.0, shelf.retry_at - now),
    )  # fmt: skip


async def _memory(shelf: Shelf) -> int | None:
    found: list[float] = []
    with anyio.move_on_after(PATIENCE):
        for box in list(shelf.idle):
            try:
                with blame(shelf.runtime.name):
                    figures = await box.instance.stats()
            except ClocheError:  # it has just died, or this runtime can't tell
                continue
            if "memory" in figures:
                found.append(figures["memory"])
    return int(sum(found)) if found else None
