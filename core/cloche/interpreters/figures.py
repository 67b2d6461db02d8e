"""What an interpreter tells of its runs."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.interpreters.values import Ran, RunUsage

HISTORY: Final = 1000
"""Runs of which the figures of the newest are made."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run: how it ended, ``wall`` seconds, ``memory`` bytes after it, its end in seconds since the epoch."""

    reason: str
    wall: float
    memory: int
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetrics:
    """The runs of an interpreter, those of its sessions and streams included.

    Counts are of all of them; ``mean``, ``p50`` and ``p95`` are seconds, of the newest 1000.
    """

    runs: int
    errors: int
    """Those that did not end as ``completed``."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """How many ended how."""
    host_calls: int = 0
    violations: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    peak_memory: int = 0
    """Bytes that one of them held at most after a run."""
    sessions: int = 0
    """Sessions that are open."""
    recent: tuple[RunRecord, ...] = ()
    """The newest 1000, the oldest first."""

    def as_json(self) -> dict[str, Any]:
        """Give it as plain data."""
        return asdict(self)


class Meter:
    """Counts the runs of one interpreter. Used by many threads.

    A run is only noted, which takes a fraction of the time: it is counted with others later.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: deque[tuple[str, RunUsage, int, float]] = deque()
        self._reasons: Counter[str] = Counter()
        self._recent: deque[RunRecord] = deque(maxlen=HISTORY)
        self._host_calls = self._violations = self._peak = 0

    def note(self, ran: Ran) -> None:
        """Note one run."""
        self._noted.append((ran.reason, ran.usage, len(ran.violations), time.time()))
        if len(self._noted) >= HISTORY:
            with self._lock:
                self._count()

    def figures(self, sessions: int) -> RunMetrics:
        """Give what was counted."""
        with self._lock:
            self._count()
            recent, reasons = tuple(self._recent), dict(self._reasons)
            host_calls, violations, peak = self._host_calls, self._violations, self._peak
        walls = sorted(record.wall for record in recent)
        runs = sum(reasons.values())
        return RunMetrics(
            runs=runs, errors=runs - reasons.get("completed", 0), reasons=reasons, host_calls=host_calls,
            violations=violations, mean=sum(walls) / len(walls) if walls else 0.0, p50=quantile(walls, 0.5),
            p95=quantile(walls, 0.95), peak_memory=peak, sessions=sessions, recent=recent,
        )  # fmt: skip

    def _count(self) -> None:
        """Count what was noted, up to now; with the lock."""
        for _ in range(len(self._noted)):
            reason, usage, violations, ended = self._noted.popleft()
            self._reasons[reason] += 1
            self._recent.append(RunRecord(reason, usage.wall, usage.memory, ended))
            self._host_calls += usage.host_calls
            self._violations += violations
            self._peak = max(self._peak, usage.memory)


def quantile(ordered: Sequence[float], part: float) -> float:
    """Give the value that ``part`` of some ordered ones don't exceed; 0 of none."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else 0.0
