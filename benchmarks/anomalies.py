"""How well the detectors of anomalies tell attacks from honest work: by traces of events in folders.

    python benchmarks/anomalies.py --honest FOLDER --attacks FOLDER... [--seconds 1]

Half of the honest traces, every other one by name, is learned; the others and all attacks are scored, and nothing more
is learned. Rows of acts are scored beside it, by their novelty alone. Prints a table of areas under the ROC curve and
of what is detected at false positives of 1 %, by window and by trace (the strangest window of each).
"""

from __future__ import annotations

import argparse
import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import cloche
from cloche.anomaly.detector import AnomalyDetector, AnomalyFeatures, AnomalyScore
from cloche.anomaly.trace import BYTES_MAX, SECONDS
from cloche.anomaly.watch import Watch, Window
from cloche.events.event import HEAD

EVERYONE = frozenset(range(1 << 12))
PATIENCE = 10.0


class Novelty(AnomalyDetector):
    """The share of rows that are new, by itself."""

    name = "novelty"
    summary = "the share of rows of three acts that were not learned"

    def learn(self, features: AnomalyFeatures) -> None:
        pass

    def score(self, features: AnomalyFeatures) -> AnomalyScore:
        return AnomalyScore(features.values["novelty"])


def windows(trace: Path, seconds: float) -> Iterator[bytes]:
    """Cut a trace as a sandbox's judge cuts what it hears."""
    pieces: list[bytes] = []
    size, begun = 0, 0
    with cloche.replay(trace) as events:
        while raw := events.drain():
            at = 0
            while at < len(raw):
                head = HEAD.unpack_from(raw, at)
                if pieces and head[4] - begun > seconds * 1e9:
                    yield b"".join(pieces)
                    pieces, size = [], 0
                begun = begun if pieces else head[4]
                if size < BYTES_MAX:
                    pieces.append(raw[at : at + head[0]])
                    size += head[0]
                at += head[0]
    if pieces:
        yield b"".join(pieces)


def scores(watch: Watch, trace: Path, seconds: float) -> list[float]:
    """Score a trace's windows, learning none of them."""
    found: list[float] = []
    for raw in windows(trace, seconds):
        strange = watch.look(Window("traces", raw, EVERYONE, print))
        found += [max(one.score.value for one in strange.values())] if strange else []
    return found


def area(honest: Sequence[float], attacks: Sequence[float]) -> float:
    """Give the area under the ROC curve: how often an attack scores higher; equals count half."""
    ranked = sorted(honest)
    total = sum((bisect_left(ranked, one) + bisect_right(ranked, one)) / 2 for one in attacks)
    return total / (len(honest) * len(attacks))


def detected(honest: Sequence[float], attacks: Sequence[float], wrong: float) -> float:
    """Give the share of attacks above a threshold that at most ``wrong`` of the honest are above."""
    threshold = sorted(honest, reverse=True)[int(len(honest) * wrong)]
    return sum(one > threshold for one in attacks) / len(attacks)


def measured(name: str, watch: Watch, given: argparse.Namespace) -> list[str]:
    honest = sorted(given.honest.glob("*.events"))
    learned = [raw for trace in honest[::2] for raw in windows(trace, given.seconds)]
    random.Random(given.seed).shuffle(learned)  # noqa: S311 - an order, no secret
    for raw in learned:
        watch.look(Window("traces", raw, frozenset(), print))
    good = [found for trace in honest[1::2] if (found := scores(watch, trace, given.seconds))]
    attacks = [trace for folder in given.attacks for trace in sorted(folder.glob("*.events"))]
    bad = [found for trace in attacks if (found := scores(watch, trace, given.seconds))]
    rows = []
    for what, here, there in (
        ("window", [one for found in good for one in found], [one for found in bad for one in found]),
        ("trace", [max(found) for found in good], [max(found) for found in bad]),
    ):
        share = detected(here, there, 0.01)
        rows.append(f"| {name} | {what} | {len(here)} | {len(there)} | {area(here, there):.3f} | {share:.3f} |")
    return [f"{len(honest[::2])} honest traces, {len(learned)} windows, were learned.", *rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--honest", type=Path, required=True)
    parser.add_argument("--attacks", type=Path, nargs="+", required=True)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    detectors = cloche.Plugins.load(cloche.Config()).detectors
    print("| detector | by | honest | attacks | AUC | detected at 1 % wrong |\n|---|---|---|---|---|---|")
    for name, detector in {**detectors, "novelty": Novelty()}.items():
        told, *rows = measured(name, Watch({name: detector}, print), given)
        print("\n".join(rows))
    print(f"\n{told}")


if __name__ == "__main__":
    main()
