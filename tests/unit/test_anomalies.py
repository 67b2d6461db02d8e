"""How strange a program is makes its incidents one level graver at most, and does nothing else."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import (
    Act,
    AnomalyDetector,
    AnomalyFeatures,
    AnomalyScore,
    F,
    Host,
    Incident,
    Rule,
    Rules,
    Sandbox,
    Severity,
    SpecError,
    hookimpl,
)
from cloche.anomaly.figures import ACTS_LEAST, FIGURES, tallied
from cloche.anomaly.novelty import LENGTH, RECENT, Rows
from cloche.anomaly.watch import STRIKES, Strange, Watch, Window
from cloche.incidents.case import Case, Evidence
from cloche.testing import FakeRuntime
from cloche_native import events as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cloche.testing import Guest

pytestmark = pytest.mark.usefixtures("no_own_leaks")

GUEST_ACTS = sorted(set(Act) - {act for act in Act if act.number >= Act.CREATED.number})
acts = st.lists(st.sampled_from(GUEST_ACTS), max_size=200)


def packed(some: Sequence[Act], *, program: int = 1, result: int = 0, flags: int = 0) -> list[bytes]:
    return [
        wire.pack(
            act=act.number, source=0, number=number, time_ns=number * 1000, sandbox=1, pid=7, exec=program,
            result=result, flags=flags, path=b"/work/%d" % number,
        )
        for number, act in enumerate(some, 1)
    ]  # fmt: skip


class Told(AnomalyDetector):
    """Says what it is told to."""

    name = "told"
    summary = "says what it is told to"

    def __init__(self, says: Callable[[], Any] = lambda: AnomalyScore(1.0, ("places", "novelty"))) -> None:
        self.says = says
        self.learned: list[AnomalyFeatures] = []

    def learn(self, features: AnomalyFeatures) -> None:
        self.learned.append(features)

    def score(self, features: AnomalyFeatures) -> AnomalyScore:
        assert set(features.values) == set(FIGURES)
        said: AnomalyScore = self.says()
        return said


# -- figures and rows of acts ----------------------------------------------------------------------------------------


@given(some=acts, result=st.integers(-40, 3), flags=st.integers(0, 0x1FFFF))
def test_every_figure_is_from_0_to_1(some: list[Act], result: int, flags: int) -> None:
    records = packed(some, result=result, flags=flags)
    for tally in tallied(b"".join(records)).values():
        figures = tally.figures(0.5)
        assert tuple(figures) == FIGURES
        assert all(0 <= figure <= 1 for figure in figures.values())
        assert sum(figures[name] for name in FIGURES[: FIGURES.index("missing")]) == pytest.approx(1)


def test_programs_are_counted_apart_and_what_is_refused_is_told() -> None:
    one = packed([Act.OPEN] * 9, flags=0x4200, result=-13)
    two = packed([Act.STAT] * 3, program=2)
    found = tallied(b"".join(one + two))
    assert {program: tally.acts for program, tally in found.items()} == {1: 9, 2: 3}
    figures = found[1].figures(0.0)
    assert (figures["reads"], figures["refused"], figures["failed"], figures["missing"]) == (1, 1, 1, 0)
    assert (figures["files"], figures["places"]) == (9 / 209, 1 / 51)
    assert found[2].figures(0.0)["looks"] == 1


@given(known=acts, some=acts)
def test_novelty_is_the_share_of_rows_that_were_not_learned(known: list[Act], some: list[Act]) -> None:
    rows = Rows()
    rows.learn(packed(known))
    whole = max(len(some) - len(some) % RECENT, min(len(some), RECENT))
    asked = [tuple(some[end - LENGTH : end]) for end in range(LENGTH, whole + 1)]
    learned = {tuple(known[end - LENGTH : end]) for end in range(LENGTH, len(known) + 1)}
    expected = sum(row not in learned for row in asked) / len(asked) if asked and learned else 0.0
    assert rows.novelty(packed(some)) == pytest.approx(expected)
    assert rows.novelty(packed(known)) == 0


# -- scores ----------------------------------------------------------------------------------------------------------


@given(value=st.floats() | st.integers() | st.text() | st.none() | st.booleans())
def test_a_score_is_from_0_to_1_or_an_error(value: Any) -> None:  # noqa: ANN401 - whatever
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        assert AnomalyScore(value).value == value
    else:
        with pytest.raises(SpecError, match="from 0 to 1"):
            AnomalyScore(value)


@pytest.mark.parametrize("top", [("x",) * 9, ("x" * 65,), (3,), "text"])
def test_bad_top_features_are_refused(top: Any) -> None:  # noqa: ANN401 - whatever
    with pytest.raises(SpecError):
        AnomalyScore(0.5, top)


@given(severity=st.sampled_from(Severity), times=st.integers(1, 5))
def test_a_severity_is_raised_by_one_level_at_most(severity: Severity, times: int) -> None:
    rule = Rule(id="r", summary="s", severity=severity, events=frozenset({Act.OPEN}), where=F.file.glob("/x"))
    case = Case(rule, Evidence(exec=3), sandbox="s", name=None, args=tuple, audit=False)
    for _ in range(times):
        case.strange({"features": ["novelty"]})
    incident = case.now()
    assert incident.severity == severity.raised()
    assert incident.fields["anomaly"] == {"features": ["novelty"]}
    assert case.rule.severity == severity


# -- detectors that fail ---------------------------------------------------------------------------------------------


def looked(watch: Watch, *spotted: int) -> dict[int, Strange]:
    records = packed([Act.OPEN] * ACTS_LEAST) + packed([Act.OPEN] * (ACTS_LEAST - 1), program=2)
    return watch.look(Window("kind", b"".join(records), frozenset(spotted), lambda _: None))


def test_clean_windows_are_learned_and_small_ones_are_not_looked_at() -> None:
    detector = Told()
    watch = Watch({"told": detector}, lambda *_: None)
    assert looked(watch) == {1: Strange("told", AnomalyScore(1.0, ("places", "novelty")))}
    assert [features.kind for features in detector.learned] == ["kind"]
    assert set(looked(watch, 1)) == {1}
    assert len(detector.learned) == 1


@pytest.mark.parametrize("nonsense", [None, 0.5, "1", (1.0, ())])
def test_a_detector_that_gives_no_score_is_left_out(nonsense: object) -> None:
    failed: list[tuple[str, str]] = []
    watch = Watch({"told": Told(lambda: nonsense)}, lambda *why: failed.append(why))
    assert looked(watch) == looked(watch) == {}
    assert [(name, "no cloche.AnomalyScore" in why) for name, why in failed] == [("told", True)]


@pytest.mark.parametrize("error", [ValueError("\x1b[31mbad\nly"), SystemExit(3), SpecError("no")])
def test_a_detector_that_raises_is_left_out_and_the_others_go_on(error: BaseException) -> None:
    def raises() -> None:
        raise error

    failed: list[tuple[str, str]] = []
    watch = Watch({"bad": Told(raises), "good": Told()}, lambda *why: failed.append(why))
    assert looked(watch)[1].detector == "good"
    assert (watch.names, failed[0][0]) == (("good",), "bad")
    assert type(error).__name__ in failed[0][1]
    assert failed[0][1].isprintable()


def test_a_slow_detector_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("cloche.anomaly.watch.time.thread_time", lambda: float(next(ticks)))
    failed: list[tuple[str, str]] = []
    watch = Watch({"told": Told()}, lambda *why: failed.append(why))
    for _ in range(STRIKES):
        assert not failed
        looked(watch)
    assert (watch.names, "too long" in failed[0][1]) == ((), True)


def test_a_detector_that_hangs_is_left_out_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloche.anomaly.watch.HANGS", 0.05)
    hangs, goes, said = threading.Event(), threading.Event(), threading.Event()

    def hang() -> AnomalyScore:
        goes.set()
        hangs.wait(20)
        return AnomalyScore(1.0)

    failed: list[tuple[str, str]] = []
    watch = Watch({"slow": Told(hang), "good": Told()}, lambda *why: failed.append(why))
    window = Window("kind", b"".join(packed([Act.OPEN] * 9)), frozenset(), lambda _: said.set())
    try:
        watch.take(window)
        assert goes.wait(5)
        time.sleep(0.1)
        watch.take(window)
        assert said.wait(5)
        assert failed == [("slow", "did not come back in time")]
        assert watch.names == ("good",)
    finally:
        hangs.set()
        watch.close()


# -- in a sandbox ----------------------------------------------------------------------------------------------------


class Plugin:
    def __init__(self, detector: AnomalyDetector) -> None:
        self.detector = detector

    @hookimpl
    def cloche_anomaly_detectors(self) -> list[AnomalyDetector]:
        return [self.detector]


async def opens(guest: Guest) -> None:
    for path in guest.args[1:]:
        for _ in range(ACTS_LEAST):
            guest.does(Act.OPEN, path)


SECRET = Rule(
    id="secret", summary="opens a secret", severity=Severity.HIGH, events=frozenset({Act.OPEN}), mode="inline",
    where=F.file.glob("/secret*"), best_effort=True,
)  # fmt: skip


@pytest.fixture
def hosting(fakes: Callable[..., object]) -> Iterator[Callable[[AnomalyDetector], Host]]:
    with ExitStack() as stack:

        def make(detector: AnomalyDetector) -> Host:
            runtime = FakeRuntime(programs={"opens": opens})
            return stack.enter_context(Host(plugins=[fakes(runtime), Plugin(detector)], entry_points=False))

        yield make


def waited(box: Sandbox, holds: Callable[[Incident], bool]) -> Incident:
    end = time.monotonic() + 5
    while time.monotonic() < end:
        for incident in box.incidents():
            if holds(incident):
                return incident
        time.sleep(0.005)
    raise AssertionError(f"no such incident: {box.incidents()}")


def test_a_strange_program_makes_its_incident_graver_and_nothing_is_answered_for_it(
    hosting: Callable[[AnomalyDetector], Host],
) -> None:
    host = hosting(Told())
    answers: Any = dict.fromkeys(("auto_block", "auto_suspend", "auto_terminate"), "critical")
    rules = Rules(use=(SECRET,), anomaly=True, **answers)
    with host.create(rules=rules) as box:
        assert box.exec("opens", "/secret").ok
        incident = waited(box, lambda found: "anomaly" in found.fields)
        assert incident.severity is Severity.CRITICAL
        assert incident.fields["anomaly"] == {"detector": "told", "score": 1.0, "features": ["places", "novelty"]}
        assert not incident.blocked
        assert not {"block", "suspend", "terminate"} & {taken.response for taken in incident.taken}
        assert box.exec("opens", "/secret").ok, "a later act is judged as before"
        assert next(iter(host.incidents)).severity is Severity.CRITICAL
        assert Incident.from_json(incident.as_json()) == incident


def test_without_it_being_asked_for_no_detector_is_called(hosting: Callable[[AnomalyDetector], Host]) -> None:
    calls: list[int] = []
    host = hosting(Told(lambda: calls.append(1)))
    with host.create(rules=Rules(use=(SECRET,))) as box:
        box.exec("opens", "/secret")
        assert [(found.severity, "anomaly" in found.fields) for found in box.incidents()] == [(Severity.HIGH, False)]
    assert not calls


def test_a_detector_that_fails_is_recorded_and_the_sandbox_goes_on(hosting: Callable[[AnomalyDetector], Host]) -> None:
    def raises() -> None:
        raise RuntimeError("out of ideas")

    host = hosting(Told(raises))
    with host.create(rules=Rules(use=(SECRET,), anomaly=True)) as box:
        box.exec("opens", "/secret")
        end = time.monotonic() + 5
        while host.plugins.records[-1].status == "loaded" and time.monotonic() < end:
            time.sleep(0.005)
        record = host.plugins.records[-1]
        assert (record.status, record.detectors) == ("failed", ())
        assert "out of ideas" in (record.error or "")
        assert box.exec("opens", "/secret").ok
        assert {found.severity for found in box.incidents()} == {Severity.HIGH}


def test_anomalies_without_any_detector_are_refused(fakes: Callable[..., object]) -> None:
    with (
        Host(plugins=[fakes(FakeRuntime())], entry_points=False) as host,
        pytest.raises(SpecError, match="no plugin brings a detector"),
    ):
        host.create(rules=Rules(use=(SECRET,), anomaly=True))


def test_rules_say_whether_anomalies_are_looked_for() -> None:
    assert not Rules().anomaly
    assert Rules.of({"anomaly": True}).as_plain() == {"anomaly": True}
    assert Rules().joined(Rules(anomaly=True)).anomaly
    with pytest.raises(SpecError, match=r"rules\.anomaly"):
        Rules(anomaly=1)  # type: ignore[arg-type]


# -- the bundled one -------------------------------------------------------------------------------------------------


def test_the_bundled_detector_tells_what_is_rare_and_says_why() -> None:
    pytest.importorskip("river", reason="pip install 'cloche[anomaly]'")
    from cloche_anomaly.trees import RANKED_LEAST, WINDOW, Trees  # noqa: PLC0415 - only with the extra

    trees = Trees()
    trees.prepare()
    usual = [dict.fromkeys(FIGURES, 0.3 + number % 7 / 100) for number in range(WINDOW + RANKED_LEAST)]
    for number, values in enumerate(usual):
        features = AnomalyFeatures("kind", values)
        assert trees.score(features) == AnomalyScore(0.0), f"too little is known: {number}"
        trees.learn(features)
    strange = trees.score(AnomalyFeatures("kind", {**dict.fromkeys(FIGURES, 0.99), "kernel": 1.0}))
    calm = trees.score(AnomalyFeatures("kind", usual[0]))
    assert 0 <= calm.value < 0.99 <= strange.value <= 1
    assert "kernel" in strange.top
    assert trees.score(AnomalyFeatures("other kind", usual[0])).value == 0


def test_without_its_library_the_bundled_plugin_brings_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import cloche_anomaly  # noqa: PLC0415 - beside the test above

    monkeypatch.setattr(cloche_anomaly, "find_spec", lambda _: None)
    assert cloche_anomaly.cloche_anomaly_detectors() == []
