"""The rule program in C on a real stream, beside the same rules in plain Python; hits are compared first.

Seconds are kept for one event: the C side judges a million, fifty times the same 20,000 from new, which lie in the
processor's caches as records do that were just made; Python judges a slice of them. ``heads`` goes over the records and
looks at nothing but their sizes and acts: no judge can take less.
"""

import importlib.util
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import cloche_rules
from benchmarks import stream
from benchmarks.conftest import described, skipped
from benchmarks.rule_engines import RULES, Indexed, Naive, many
from cloche.rules.compile import compiled
from cloche.rules.surroundings import Surroundings
from cloche_native import events, rules

EVENTS = 20_000
TIMES = 50
SLICE = 3_000
CONTENDERS = {
    "cloche rules": "the rule program in C, 23 rules and their patterns, on a million events, 20,000 a call",
    "python + re2.Set": "the same rules in Python, by act, with RE2's automaton and a cache of paths, on 3,000 events",
    "python": "the same rules in Python, each shown each event, on 3,000 events",
    "heads": "no rules: the heads of a million records are gone over",
}


class Scene(NamedTuple):
    batch: bytes
    slice: bytes
    records: list[events.Record]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    described.update(CONTENDERS)
    traced = stream.trace(Path(tmp_path_factory.mktemp("work")))
    few = stream.repeated(traced, SLICE)
    return Scene(stream.repeated(traced, EVENTS), few, list(events.iterate(few)))


def timed(benchmark: BenchmarkFixture, function: Callable[..., object], items: int, setup: Any, rounds: int) -> None:  # noqa: ANN401
    pedantic: Any = benchmark.pedantic
    benchmark.extra_info["items"] = items
    pedantic(function, setup=setup, rounds=rounds)


def judge(states: list[rules.State], batch: bytes) -> None:
    for state in states:
        state.judge(batch)


def walk(batch: bytes) -> None:
    for _ in range(TIMES):
        rules.walk(batch)


def hits(specs: list[rules.RuleSpec], batch: bytes) -> list[tuple[int, ...]]:
    return [hit.rules for hit in rules.compile(specs).state().judge(batch)]


def engine(contender: str, specs: list[rules.RuleSpec]) -> Naive | Indexed:
    if contender == "python + re2.Set" and importlib.util.find_spec("re2") is None:
        skipped[contender] = "google-re2 is not installed"
        pytest.skip(skipped[contender])
    return Naive(specs) if contender == "python" else Indexed(specs)


@pytest.mark.parametrize("contender", list(CONTENDERS))
@pytest.mark.benchmark(group="rules")
def test_judging(scene: Scene, benchmark: BenchmarkFixture, contender: str) -> None:
    judging(scene, benchmark, contender, RULES)


@pytest.mark.parametrize("contender", ["cloche rules", "python + re2.Set", "heads"])
@pytest.mark.benchmark(group="rules_1000")
def test_judging_by_a_thousand_patterns(scene: Scene, benchmark: BenchmarkFixture, contender: str) -> None:
    judging(scene, benchmark, contender, many(1000))


def judging(scene: Scene, benchmark: BenchmarkFixture, contender: str, specs: list[rules.RuleSpec]) -> None:
    if contender == "heads":
        timed(benchmark, walk, EVENTS * TIMES, lambda: ((scene.batch,), {}), 5)
    elif contender == "cloche rules":
        program = rules.compile(specs)
        timed(benchmark, judge, EVENTS * TIMES, lambda: (([program.state() for _ in range(TIMES)], scene.batch), {}), 5)
    else:
        found = engine(contender, specs)
        assert found.judge(scene.records) == hits(specs, scene.slice)
        assert len(hits(specs, scene.slice)) > 1
        timed(benchmark, found.judge, SLICE, lambda: ((scene.records,), {}), 2)


@pytest.mark.parametrize("contender", ["cloche rules", "python + re2.Set"])
@pytest.mark.benchmark(group="rules_build")
def test_building_for_a_thousand_patterns(benchmark: BenchmarkFixture, contender: str) -> None:
    specs = many(1000)
    if contender == "cloche rules":
        timed(benchmark, rules.compile, 1, lambda: ((specs,), {}), 5)
    else:
        engine(contender, specs)
        timed(benchmark, Indexed, 1, lambda: ((specs,), {}), 3)


@pytest.mark.parametrize("contender", ["for a new box", "for a box like one before"])
@pytest.mark.benchmark(group="rules_compile")
def test_compiling_the_bundled_rules_for_a_sandbox(benchmark: BenchmarkFixture, contender: str) -> None:
    """All rules that come with cloche, from what their authors wrote to what C takes, patterns made ready included."""
    bundled, fresh = tuple(cloche_rules.cloche_rules()), count()

    def made(around: Surroundings) -> rules.Program:
        found = compiled(bundled, around, emulated=frozenset(), block="never", audit=False)
        return rules.compile(found.specs)

    def box() -> tuple[tuple[Surroundings], dict[str, object]]:
        home = f"/home/{next(fresh)}" if contender == "for a new box" else "/workspace"
        return (Surroundings(home=home, workspace=home),), {}

    assert len(made(Surroundings()).names) >= len(bundled)
    timed(benchmark, made, len(bundled), box, 10)
