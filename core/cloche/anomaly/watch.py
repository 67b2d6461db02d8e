"""Detectors at work: in one thread of the host's, window after window; one that fails or is slow is left out."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cloche import units
from cloche.anomaly.detector import AnomalyDetector, AnomalyFeatures, AnomalyScore
from cloche.anomaly.figures import ACTS_LEAST, tallied
from cloche.anomaly.novelty import Rows

BUDGET: Final = 0.05
"""Seconds of processor time that a detector may take for one window."""
STRIKES: Final = 3
HANGS: Final = 2.0
"""Seconds after which a call is given up, and with it the detector."""
PREPARES: Final = 60.0
"""The same for ``prepare``."""
WAITING_MAX: Final = 64
"""Windows that wait; beyond, they are not looked at."""
KINDS_MAX: Final = 64
"""Policies of which is known what their programs do."""


@dataclass(frozen=True, slots=True)
class Strange:
    """What a detector said of one program's window."""

    detector: str
    score: AnomalyScore


@dataclass(frozen=True, slots=True)
class Window:
    """Records of one sandbox, in which programs a rule found something, and who is told what was found."""

    kind: str
    raw: bytes
    spotted: frozenset[int]
    told: Callable[[Mapping[int, Strange]], object]
    """Called in the thread, with the strangest that was said of each program."""


class Watch:
    """The detectors of one host. ``failed`` is called in the thread for each that is left out, with why."""

    def __init__(self, detectors: Mapping[str, AnomalyDetector], failed: Callable[[str, str], object]) -> None:
        self._detectors = dict(detectors)
        self._failed = failed
        self._prepared: set[str] = set()
        self._strikes: Counter[str] = Counter()
        self._rows: OrderedDict[str, Rows] = OrderedDict()
        self._queue: queue.Queue[Window | None] | None = None
        self._calling: tuple[str, float] | None = None
        self._turn = threading.Lock()
        self.skipped = 0
        """Windows that were not looked at, as too many waited."""

    @property
    def names(self) -> tuple[str, ...]:
        """The detectors that are still asked."""
        return tuple(self._detectors)

    def take(self, window: Window) -> None:
        """Have a window looked at, soon. Never waits."""
        with self._turn:
            self._give_up_hung()
            if not self._detectors:
                return
            if self._queue is None:
                self._queue = queue.Queue(WAITING_MAX)
                threading.Thread(target=self._run, args=(self._queue,), name="cloche anomaly", daemon=True).start()
            try:
                self._queue.put_nowait(window)
            except queue.Full:
                self.skipped += 1

    def close(self) -> None:
        """Let the thread end after the window it is at. Harmless when repeated."""
        with self._turn:
            self._leave()

    def look(self, window: Window) -> dict[int, Strange]:
        """Score each program of a window and give the strangest that was said, then learn it. Blocks."""
        found: dict[int, Strange] = {}
        rows = self._rows_of(window.kind)
        for program, tally in tallied(window.raw).items():
            if tally.acts < ACTS_LEAST:
                continue
            records = tally.records
            features = AnomalyFeatures(window.kind, tally.figures(rows.novelty(records)))
            clean = program not in window.spotted
            for name in list(self._detectors):
                score = self._asked(name, features, learns=clean)
                if score is not None and (program not in found or score.value > found[program].score.value):
                    found[program] = Strange(name, score)
            if clean:
                rows.learn(records)
        return found

    # -- inside -----------------------------------------------------------------------------------------------------

    def _run(self, windows: queue.Queue[Window | None]) -> None:
        while (window := windows.get()) is not None:
            found = self.look(window)
            if self._queue is not windows:
                return  # given up meanwhile
            window.told(found)

    def _asked(self, name: str, features: AnomalyFeatures, *, learns: bool) -> AnomalyScore | None:
        detector = self._detectors[name]
        try:
            if name not in self._prepared:
                self._calling = (name, time.monotonic() + PREPARES)
                self._prepared.add(name)
                detector.prepare()
            self._calling = (name, time.monotonic() + HANGS)
            before = time.thread_time()
            score: object = detector.score(features)
            if learns:
                detector.learn(features)
            took = time.thread_time() - before
        except Exception as error:  # noqa: BLE001 - a stranger's code
            self._leave_out(name, f"raised {type(error).__name__}: {units.one_line(str(error), most=200)}")
            return None
        except SystemExit as error:
            self._leave_out(name, f"raised SystemExit: {error}")
            return None
        finally:
            self._calling = None
        if not isinstance(score, AnomalyScore):
            self._leave_out(name, f"gave {score!r:.80}, which is no cloche.AnomalyScore")
            return None
        if took > BUDGET:
            self._strikes[name] += 1
            if self._strikes[name] == STRIKES:
                self._leave_out(name, f"took {took * 1e3:.0f} ms for a window, {STRIKES} times too long")
            return None
        return score

    def _leave_out(self, name: str, why: str) -> None:
        if self._detectors.pop(name, None) is not None:
            self._failed(name, why)

    def _give_up_hung(self) -> None:
        calling = self._calling
        if calling is not None and time.monotonic() > calling[1]:
            self._leave()
            self._calling = None
            self._leave_out(calling[0], "did not come back in time")

    def _leave(self) -> None:
        if self._queue is not None:
            left, self._queue = self._queue, None
            while not left.empty():
                left.get_nowait()
            left.put_nowait(None)

    def _rows_of(self, kind: str) -> Rows:
        rows = self._rows.setdefault(kind, Rows())
        self._rows.move_to_end(kind)
        if len(self._rows) > KINDS_MAX:
            self._rows.popitem(last=False)
        return rows
