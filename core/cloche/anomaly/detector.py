"""What says how strange a program's window is: the contract of a detector."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from cloche import units
from cloche.errors import SpecError

TOP_MAX = 8
"""How many names a score may give."""


@dataclass(frozen=True, slots=True)
class AnomalyFeatures:
    """What one program of a sandbox did in one window, in figures."""

    kind: str
    """What stands for the policy: the same for all sandboxes of the same policy in this host."""
    values: Mapping[str, float]
    """Figures from 0 to 1, by name; the same names every time (docs/behaviour.md)."""


@dataclass(frozen=True, slots=True)
class AnomalyScore:
    """How strange it is, from 0 (as ever) to 1, and the names of the features that say so most, the first most.

    Raises ``SpecError`` for another number, and for more than eight names.
    """

    value: float
    top: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1 or math.isnan(value):
            raise SpecError(f"an anomaly's score is a number from 0 to 1, not {units.shown(value)}")
        object.__setattr__(self, "top", units.sequence(self.top, "the top features"))
        if len(self.top) > TOP_MAX:
            raise SpecError(f"an anomaly has at most {TOP_MAX} top features, not {len(self.top)}")
        for name in self.top:
            units.text(name, "a top feature", most=64)


class AnomalyDetector(ABC):
    """Scores windows of programs. Subclass it, and give an object in the ``cloche_anomaly_detectors`` hook.

    One object serves a whole host. All its methods are called in one thread of the host's, one at a time, for one
    window of one program (never for one event). A detector that raises, gives what is no score, or is slow fails with
    its plugin. What it says can raise an incident's severity by one level, and does nothing else.
    """

    name: ClassVar[str]
    """Lower case, e.g. ``"half-space-trees"``."""
    summary: ClassVar[str]
    """One line for tables."""

    def prepare(self) -> None:  # noqa: B027 - most have nothing to load
        """Load what takes long; called once, before the others."""

    @abstractmethod
    def learn(self, features: AnomalyFeatures) -> None:
        """Take a window in which no rule found anything of that program."""

    @abstractmethod
    def score(self, features: AnomalyFeatures) -> AnomalyScore:
        """Say how strange a window is; 0 as long as too little was learned to say so. It is learned after."""
