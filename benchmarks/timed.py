"""One timed call to a contender, by pytest-benchmark."""

from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.worker import Worker


def timed(
    benchmark: BenchmarkFixture, worker: Worker, method: str, *, rounds: int = 1, warmup: int = 0, **arguments: object
) -> Any:  # noqa: ANN401  # as JSON gives it
    """Call ``method`` of the contender ``warmup`` times, then ``rounds`` times timed; give the last one's value."""
    pedantic: Any = benchmark.pedantic
    return pedantic(worker.call, args=(method,), kwargs=arguments, rounds=rounds, warmup_rounds=warmup)
