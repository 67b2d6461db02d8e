"""What the judge of one sandbox has of anomalies: windows that it hands on, and which programs were strange."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import anyio
import anyio.from_thread
import anyio.lowlevel

from cloche.anomaly.figures import CLASSES
from cloche.anomaly.watch import Strange, Watch, Window
from cloche.rules.severity import Severity

if TYPE_CHECKING:
    from cloche.incidents.case import Case
    from cloche.spec import Spec

SECONDS: Final = 1.0
"""How long a window is; that of a program's end is shorter."""
BYTES_MAX: Final = 1 << 20
"""How much of one window is looked at; some 6000 records."""
RAISES: Final = 0.99
"""From which score on the incidents of a program are raised."""
PROGRAMS: Final = 1000
"""Programs of one sandbox of which is remembered that they were strange."""


class Trace:
    """One sandbox's. All its calls are made on the event loop."""

    keeps: Final = frozenset(act for names in CLASSES.values() for act in names)
    """Acts that are looked at, as far as the monitor sees them."""

    def __init__(
        self, kind: str, watch: Watch, start_soon: Callable[..., None], *, cases: Callable[[], Iterable[Case]],
        graver: Callable[[Case], object],
    ) -> None:  # fmt: skip
        """Take what gives the incidents, and what is called for one that was raised."""
        self._kind = kind
        self._watch = watch
        self._start_soon = start_soon
        self._cases = cases
        self._graver = graver
        self._found: dict[int, Strange] = {}
        self._pieces: list[bytes] = []
        self._size = 0
        self._window = 0

    def heard(self, raw: bytes) -> None:
        """Take records of the guest's, in their order."""
        if not raw:
            return
        if not self._pieces:
            self._start_soon(self._end_later, self._window)
        if self._size < BYTES_MAX:
            self._pieces.append(raw)
            self._size += len(raw)

    def end_window(self) -> None:
        """Have what came be looked at now."""
        if not self._pieces:
            return
        raw, self._pieces, self._size = b"".join(self._pieces), [], 0
        self._window += 1
        token = anyio.lowlevel.current_token()

        def told(found: Mapping[int, Strange]) -> None:
            with contextlib.suppress(RuntimeError, anyio.RunFinishedError):  # the host is gone
                anyio.from_thread.run_sync(self._told, found, token=token)

        self._watch.take(Window(self._kind, raw, self._spotted(), told))

    def mark(self, case: Case) -> None:
        """Raise a new incident of a program that is known to be strange."""
        strange = self._found.get(case.exec)
        if strange is not None:
            said = strange.score
            case.strange({"detector": strange.detector, "score": round(said.value, 4), "features": list(said.top)})

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _end_later(self, window: int) -> None:
        await anyio.sleep(SECONDS)
        if window == self._window:
            self.end_window()

    def _told(self, found: Mapping[int, Strange]) -> None:
        for program, strange in found.items():
            if program and strange.score.value >= RAISES and program not in self._found:
                if len(self._found) >= PROGRAMS:
                    del self._found[next(iter(self._found))]
                self._found[program] = strange
                for case in self._cases():
                    if case.exec == program:
                        self.mark(case)
                        self._graver(case)

    def _spotted(self) -> frozenset[int]:
        return frozenset(case.exec for case in self._cases() if case.rule.severity >= Severity.MEDIUM)


def kind_of(spec: Spec) -> str:
    """Give what stands for a sandbox's policy: its level and all that shapes what programs find in it."""
    told = (
        spec.level.name, sorted(spec.guarantees), spec.network, spec.limits, spec.workspace.target, spec.rootfs,
        sorted(mount.target for mount in spec.mounts), spec.monitor.depth,
    )  # fmt: skip
    return f"{spec.level.name}-{hashlib.sha256(repr(told).encode()).hexdigest()[:12]}"
