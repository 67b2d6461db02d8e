"""``cloche_event_sources``: what a plugin tells of guests is told, and a bad one hurts nobody who does not name it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from cloche import (
    Act,
    EventBatch,
    EventRecorder,
    EventSource,
    EventTap,
    Host,
    Instance,
    MadeSource,
    Monitor,
    Origin,
    Spec,
    SpecError,
    StartError,
    State,
    hookimpl,
    replay,
)
from cloche.testing import EventSourceConformance, FakeRuntime
from cloche_native import events as native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_own_leaks")
WATCHED = Monitor("full", sources=frozenset({"marks"}))


class Marks(EventTap):
    """A tap whose events are made by hand, and which goes wrong as it is told."""

    name: ClassVar[str] = "marks"
    summary: ClassVar[str] = "for tests"

    def __init__(self, make: Callable[[Spec], object] | None = None) -> None:
        self.make = make or (lambda spec: MadeSource("marks", "other", frozenset({Act.SYSTEM}), sandbox=spec.number))
        self.made: list[Any] = []

    def attach(self, spec: Spec, instance: Instance) -> EventSource | None:
        assert instance.workspace == spec.workspace.target
        self.made.append(self.make(spec))
        found: EventSource | None = self.made[-1]
        return found


class Plugin:
    """Brings a tap."""

    def __init__(self, *taps: object) -> None:
        self.taps = taps

    @hookimpl
    def cloche_event_sources(self) -> Sequence[Any]:
        return self.taps


@pytest.fixture
def hosted(fakes: Callable[..., object]) -> Callable[..., Any]:
    @contextmanager
    def open_(*taps: object) -> Iterator[Host]:
        with Host(plugins=[fakes(FakeRuntime()), Plugin(*taps)], entry_points=False) as host:
            yield host

    return open_


def test_what_a_tap_tells_is_told_with_the_rest(hosted: Callable[..., Any]) -> None:
    tap = Marks()
    with hosted(tap) as host, host.create(monitor=WATCHED) as box, box.events() as events:
        tap.made[0].make(Act.SYSTEM, target=b"here")
        assert [event.target for event in events.drain() if event.act == Act.SYSTEM] == ["here"]
        assert box.event_counts()[Act.SYSTEM] == 1
        assert host.plugins.records[-1].taps == ("marks",)
        assert host.plugins.records[-1].error is None


def test_a_tap_is_asked_only_where_something_is_to_be_seen(hosted: Callable[..., Any]) -> None:
    tap = Marks()
    with hosted(tap) as host:
        with host.create():
            assert tap.made == []
        with host.create(monitor="writes"):
            assert len(tap.made) == 1


def test_a_tap_may_have_nothing_to_tell(hosted: Callable[..., Any]) -> None:
    with hosted(Marks(lambda _: None)) as host:
        with host.create(monitor="full") as box:
            assert box.state is State.RUNNING
        with pytest.raises(
            StartError, match=r"monitor\.sources asks for marks, which can't tell of this sandbox; choose"
        ):
            host.create(monitor=WATCHED)
        assert host.sandboxes() == []


def test_a_tap_that_nobody_brings_can_not_be_asked_for(hosted: Callable[..., Any]) -> None:
    with (
        hosted(Marks()) as host,
        pytest.raises(SpecError, match=r"monitor\.sources: audit is unknown; there are marks"),
    ):
        host.create(monitor=Monitor("full", sources=frozenset({"audit"})))


def boom(_: object = None) -> object:
    raise OSError("no such machine")


class Broken(MadeSource):
    """A source that goes wrong in ways of its own."""

    def __init__(self, spec: Spec, **broken: object) -> None:
        super().__init__("marks", "other", frozenset({Act.SYSTEM}), sandbox=spec.number)
        vars(self).update(broken)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (boom, "OSError: no such machine"),
        (lambda _: 3, "the tap marks gave 3, which is no cloche.EventSource"),
        (lambda spec: Broken(spec, acts="all"), "the tap marks: acts: a sequence is needed"),
        (lambda spec: Broken(spec, want=boom), "OSError: no such machine"),
    ],
)
def test_a_tap_that_can_not_attach_is_recorded_and_done_without(
    hosted: Callable[..., Any], make: Callable[[Spec], object], error: str
) -> None:
    with hosted(Marks(make)) as host, host.create(monitor="full") as box, box.events():
        assert host.plugins.records[-1].status == "failed"
        assert error in str(host.plugins.records[-1].error)
        assert host.plugins.taps == {}
        assert box.exec("echo", "hi").text == "hi\n"


def test_a_sandbox_is_not_started_without_a_tap_that_it_names(hosted: Callable[..., Any]) -> None:
    with hosted(Marks(boom)) as host:
        with pytest.raises(StartError, match=r"asks for marks.*failed plugins: Plugin: OSError: no such machine"):
            host.create(monitor=WATCHED)
        assert host.sandboxes() == []


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ({"drain": boom}, "OSError: no such machine"),
        ({"drain": lambda: "text"}, "drained 'text', and bytes are needed"),
        ({"drain": lambda: b"x" * 96}, "the record at byte 0 is bad"),
        ({"fileno": boom}, "OSError: no such machine"),
        ({"fileno": lambda: -1}, "the tap marks: fileno: -1 is out of range"),
    ],
)
def test_a_source_that_fails_later_ends_only_who_can_not_do_without_it(
    hosted: Callable[..., Any], broken: dict[str, object], error: str
) -> None:
    with hosted(Marks(lambda spec: Broken(spec, **broken))) as host, host.create(monitor="full") as box:
        with box.events() as events:
            box.exec("true")
            events.drain()
        assert box.exec("echo", "hi").text == "hi\n"
        assert error in str(host.plugins.records[-1].error)
    tap = Marks(lambda spec: Broken(spec, **broken))
    with hosted(tap) as host, host.create(monitor=WATCHED) as box, box.events() as events:
        events.drain()
        assert "monitor:marks failed" in box.wait()


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ({"counters": boom}, "OSError"),
        ({"counters": lambda: {"opn": 1}}, "'opn' is not a valid Act"),
        ({"lost": lambda: -3}, "lost: -3 is out of range"),
        ({"close": boom}, "OSError"),
    ],
)
def test_a_source_with_bad_figures_hurts_nobody(
    hosted: Callable[..., Any], broken: dict[str, object], error: str
) -> None:
    tap = Marks(lambda spec: Broken(spec, **broken))
    with hosted(tap) as host:
        with host.create(monitor="full") as box, box.events() as events:
            box.event_counts()
            events.drain()
        MadeSource.close(tap.made[0])
        assert error in str(host.plugins.records[-1].error)


@pytest.mark.parametrize(
    ("tap", "error"),
    [
        (Marks, "gave the class Marks; give an object of it"),
        (3, "gave 3, which is no cloche.EventTap"),
        (type("Nameless", (Marks,), {"name": None})(), "the tap Nameless must have a name of type str"),
        (type("Loud", (Marks,), {"name": "LOUD"})(), "the tap name 'LOUD' must be in lower case"),
        (type("Sly", (Marks,), {"name": "guest"})(), "the tap name 'guest' is taken by cloche itself"),
    ],
)
def test_what_is_no_tap_is_recorded(hosted: Callable[..., Any], tap: object, error: str) -> None:
    with hosted(tap) as host:
        assert error in str(host.plugins.records[-1].error)


def test_a_name_of_a_tap_can_be_taken_once(hosted: Callable[..., Any]) -> None:
    with hosted(Marks(), Marks()) as host:
        assert "the tap name 'marks' is taken" in str(host.plugins.records[-1].error)


class TestMade(EventSourceConformance):
    performs = (Act.SYSTEM, Act.EXEC, Act.OPEN)

    @contextmanager
    def opened(self, script: Sequence[Act]) -> Iterator[EventSource]:
        del script
        with closing(MadeSource("made", "other", frozenset(self.performs), sandbox=1)) as source:
            yield source

    def perform(self, source: EventSource, script: Sequence[Act]) -> None:
        assert isinstance(source, MadeSource)
        for act in script:
            source.make(act, path=b"/some/path", target=b"what")


class TestMadeWithLittleRoom(TestMade):
    @contextmanager
    def opened(self, script: Sequence[Act]) -> Iterator[EventSource]:
        del script
        with closing(MadeSource("made", "other", frozenset(self.performs), sandbox=1, room=2000)) as source:
            yield source


class TestReplay(EventSourceConformance):
    performs = tuple(Act)
    repeats = 4
    past = True
    folder: Path

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    @contextmanager
    def opened(self, script: Sequence[Act]) -> Iterator[EventSource]:
        file = self.folder / f"{len(list(self.folder.iterdir()))}.cloche-events"
        raw = [native.pack(act=act, number=n, time_ns=n, path=b"/x") for n, act in enumerate(script, 1)]
        with EventRecorder(file) as recorder:
            for part in (raw[: len(raw) // 2], raw[len(raw) // 2 :]):
                recorder.write(EventBatch(b"".join(part), Origin({0: "abc"})))
        with replay(file) as source:
            yield source


def test_conformance_finds_a_source_that_loses_without_a_word() -> None:
    class Silent(MadeSource):
        def drain(self) -> bytes:
            raw = super().drain()
            batch = list(EventBatch(raw))
            return b"".join(event.raw for event in batch if event.number % 7)

    class Bad(TestMade):
        @contextmanager
        def opened(self, script: Sequence[Act]) -> Iterator[EventSource]:
            del script
            with closing(Silent("made", "other", frozenset(self.performs), sandbox=1)) as source:
                yield source

        patience = 0.3

    script = list(Bad.performs) * 20
    with pytest.raises(AssertionError):
        Bad().test_numbers_are_missing_only_where_events_were_lost(script)
    with pytest.raises(AssertionError):
        Bad().test_what_is_counted_is_what_is_told_or_lost_although_nothing_was_drained(script)
