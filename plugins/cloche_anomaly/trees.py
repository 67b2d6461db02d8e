"""Half-space trees of river's, one forest for each policy, told in ranks of what clean windows score."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Final

from cloche import AnomalyDetector, AnomalyFeatures, AnomalyScore

TREES: Final = 25
HEIGHT: Final = 6
WINDOW: Final = 32
"""Windows that a forest learns before it scores, and after each of which it forgets those before."""
RANKED_LEAST: Final = 100
"""Scores of clean windows that must be known before a rank says anything."""
RANKED_MAX: Final = 1000
KINDS_MAX: Final = 64
TOP: Final = 3
SPREAD_LEAST: Final = 0.02
"""A figure that never changed is taken to spread so much."""


class Trees(AnomalyDetector):
    """Says which share of clean windows of the same policy was less strange."""

    name = "half-space-trees"
    summary = "river's half-space trees over a window's figures, ranked among clean windows"

    def __init__(self) -> None:
        self._forests: OrderedDict[str, Forest] = OrderedDict()

    def prepare(self) -> None:
        """Import the library, which takes a second or two."""
        import river.anomaly  # noqa: F401, PLC0415 - an extra

    def learn(self, features: AnomalyFeatures) -> None:
        """Take a clean window."""
        self._of(features.kind).learn(features.values)

    def score(self, features: AnomalyFeatures) -> AnomalyScore:
        """Give a rank, 0 before 132 clean windows of the policy were learned."""
        return self._of(features.kind).score(features.values)

    def _of(self, kind: str) -> Forest:
        if kind not in self._forests:
            self._forests[kind] = Forest()
            if len(self._forests) > KINDS_MAX:
                self._forests.popitem(last=False)
        self._forests.move_to_end(kind)
        return self._forests[kind]


class Forest:
    """What is known of one policy's windows."""

    def __init__(self) -> None:
        from river.anomaly import HalfSpaceTrees  # noqa: PLC0415 - an extra

        self._trees: Any = HalfSpaceTrees(n_trees=TREES, height=HEIGHT, window_size=WINDOW, seed=1)
        self._learned = 0
        self._order: deque[float] = deque()
        self._ranked: list[float] = []
        self._figures: dict[str, tuple[float, float]] = {}

    def learn(self, values: Mapping[str, float]) -> None:
        """Take a clean window."""
        if self._learned >= WINDOW:
            self._rank(self.raw(values))
        self._learned += 1
        self._trees.learn_one(dict(values))
        for name, value in values.items():
            mean, squares = self._figures.get(name, (0.0, 0.0))
            new = mean + (value - mean) / self._learned
            self._figures[name] = new, squares + (value - mean) * (value - new)

    def score(self, values: Mapping[str, float]) -> AnomalyScore:
        """Give the rank of a window, and what is unusual in it."""
        if len(self._ranked) < RANKED_LEAST:
            return AnomalyScore(0.0)
        raw = self.raw(values)
        value = (bisect_left(self._ranked, raw) + raw) / (len(self._ranked) + 1)
        return AnomalyScore(min(1.0, max(0.0, value)), self._unusual(values))

    def raw(self, values: Mapping[str, float]) -> float:
        """Give what the trees say, from 0 to 1."""
        return min(1.0, max(0.0, float(self._trees.score_one(dict(values)))))

    def _rank(self, raw: float) -> None:
        insort(self._ranked, raw)
        self._order.append(raw)
        if len(self._order) > RANKED_MAX:
            del self._ranked[bisect_left(self._ranked, self._order.popleft())]

    def _unusual(self, values: Mapping[str, float]) -> tuple[str, ...]:
        def distance(name: str) -> float:
            mean, squares = self._figures.get(name, (0.0, 0.0))
            return abs(values[name] - mean) / max(SPREAD_LEAST, math.sqrt(squares / max(1, self._learned - 1)))

        return tuple(sorted(values, key=distance, reverse=True)[:TOP])
