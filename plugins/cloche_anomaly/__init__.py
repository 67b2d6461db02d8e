"""A bundled detector of anomalies: trees that learn as they go, where ``cloche[anomaly]`` is installed."""

from __future__ import annotations

from importlib.util import find_spec

from cloche import AnomalyDetector, hookimpl


@hookimpl
def cloche_anomaly_detectors() -> list[AnomalyDetector]:
    """Give the detector; nothing where its library is missing."""
    if find_spec("river") is None:
        return []
    from cloche_anomaly.trees import Trees  # noqa: PLC0415 - only where it can work

    return [Trees()]
