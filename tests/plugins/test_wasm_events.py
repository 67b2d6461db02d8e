"""What the programs of WASI boxes do, as events: told, judged before it is done, explained."""

from __future__ import annotations

import errno
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche import Act, EventFlag, F, Host, Monitor, Partial, Rule, Rules, Severity
from cloche.testing import EventSourceConformance
from cloche_native.rules import Paths, RuleSpec
from cloche_wasm.wasi.errors import Errno
from cloche_wasm.wasi.telling import Teller, WasiSource
from cloche_wasm.wasi.waiting import Waiting
from tests.plugins.wasi_guest import module, tries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cloche import EventSource, Sandbox

pytestmark = pytest.mark.usefixtures("no_leaks")

KEEP = RuleSpec(
    name="keep", acts=frozenset({"open", "create", "unlink", "rename"}), answer=errno.EACCES,
    paths=(Paths(("/workspace/keep/**",), texts=("resolved", "target-resolved")),),
)  # fmt: skip


class TestWasiSource(EventSourceConformance):
    performs = (Act.OPEN, Act.MKDIR, Act.RENAME, Act.SYMLINK, Act.EXEC)

    @contextmanager
    def opened(self, script: Sequence[Act]) -> Iterator[EventSource]:  # noqa: ARG002 - any
        monitor = Monitor("full", acts=frozenset(self.performs))
        with closing(WasiSource(monitor, sandbox=1)) as source:
            yield source

    def perform(self, source: EventSource, script: Sequence[Act]) -> None:
        assert isinstance(source, WasiSource)
        with closing(Waiting()) as waiting:
            teller = Teller(source, waiting, 7)
            for act in script:
                if act is Act.EXEC:
                    assert teller.began(["guest", "a"], "/workspace/guest") == 0
                    continue

                def call() -> Errno:
                    teller.name("/workspace/one", resolved=True)
                    return Errno.SUCCESS

                assert teller.call((act, ()), call) is Errno.SUCCESS


@pytest.fixture
def create() -> Iterator[Callable[..., Sandbox]]:
    with Host(config={"host": {"runtime": "wasm"}}) as host:
        if (reason := host.unavailable("wasm")) is not None:
            pytest.skip(reason)

        def create(**asked: object) -> Sandbox:
            box = host.create(**{"limits": {"memory": "64M", "disk": "1M", "files": 64}, **asked})  # type: ignore[arg-type]
            box.files.write("tries", tries())
            box.files.write("guest", module())
            return box

        yield create


def number(box: Sandbox, *args: str) -> Errno:
    """Give the error number that a call was given."""
    return Errno(int(box.exec("tries", *args, timeout=20).check().text.split()[-1]))


def test_what_a_program_does_is_told_with_where_it_led(create: Callable[..., Sandbox]) -> None:
    with create(monitor="full") as box:
        box.files.mkdir("real")
        box.files.symlink("way", "real")
        with box.events(sources=["guest"]) as events:
            assert box.exec("guest", "k", "way/made", "text").ok
            assert number(box, "n", "way/made", "other") is Errno.SUCCESS
            assert number(box, "r", "nothing") is Errno.NOENT
            assert number(box, "u", "other") is Errno.SUCCESS
            told = [(e.act, e.path, e.resolved, e.target, e.result, e.exec) for e in events.drain()]
    work = "/workspace"
    assert [one for one in told if one[0] is not Act.EXEC] == [
        (Act.CREATE, f"{work}/way/made", f"{work}/real/made", None, 0, 1),
        (Act.RENAME, f"{work}/way/made", f"{work}/real/made", f"{work}/other", 0, 2),
        (Act.OPEN, f"{work}/nothing", f"{work}/nothing", None, -errno.ENOENT, 3),
        (Act.UNLINK, f"{work}/other", f"{work}/other", None, 0, 4),
    ]
    first = next(one for one in told if one[0] is Act.EXEC)
    assert first == (Act.EXEC, f"{work}/guest", f"{work}/guest", "guest\0k\0way/made\0text\0", 0, 1)


def test_what_leads_out_is_told_as_refused(create: Callable[..., Sandbox]) -> None:
    with create(monitor="full") as box:
        box.files.symlink("out", "../../etc")
        with box.events("open", "symlink", "rename", sources=["guest"]) as events:
            for args in (["r", "../../etc/passwd"], ["r", "/etc/passwd"], ["r", "out/passwd"], ["l", "/etc", "x"]):
                assert number(box, *args) is Errno.NOTCAPABLE
            assert number(box, "n", "guest", "../guest") is Errno.NOTCAPABLE
            told = [event for event in events.drain() if event.denied]
    assert [event.result for event in told] == [-errno.EXDEV] * 5
    assert all(event.flags & EventFlag.STATIC for event in told)
    assert [bool(event.flags & EventFlag.CLIMBS) for event in told] == [True, False, False, False, True]
    assert [event.path for event in told][:2] == ["/workspace/../../etc/passwd", "/etc/passwd"]


def test_calls_that_there_are_not_are_told(create: Callable[..., Sandbox]) -> None:
    with create(monitor="writes") as box, box.events("link", "accept", "send", "signal", sources=["guest"]) as events:
        assert {number(box, letter, "guest", "other") for letter in "habk"} == {Errno.NOSYS}
        assert [(event.act, event.result) for event in events.drain()] == [
            (act, -errno.ENOSYS) for act in (Act.LINK, Act.ACCEPT, Act.SEND, Act.SIGNAL)
        ]


def test_a_rule_refuses_before_anything_is_done_and_by_where_a_path_leads(create: Callable[..., Sandbox]) -> None:
    with create(monitor=Monitor("full", rules=(KEEP,))) as box:
        assert isinstance(box.enforcement["rules"], Partial)
        box.files.mkdir("keep")
        box.files.write("keep/file", b"kept")
        box.files.symlink("way", "keep")
        for args in (["r", "keep/file"], ["r", "way/file"], ["r", "keep/../way/file"], ["u", "way/file"],
                     ["c", "way/new"], ["n", "guest", "way/x"], ["n", "keep/file", "mine"]):  # fmt: skip
            assert number(box, *args) is Errno.ACCES
        assert box.files.read("keep/file") == b"kept"
        assert [entry.path for entry in box.files.list("keep")] == ["/workspace/keep/file"]
        assert number(box, "r", "guest") is Errno.SUCCESS


def test_other_programs_can_not_turn_a_path_between_the_look_and_the_act(create: Callable[..., Sandbox]) -> None:
    with create(monitor=Monitor("full", rules=(KEEP,))) as box:
        for name in ("keep", "open"):
            box.files.mkdir(name)
            box.files.write(f"{name}/file", name.encode())
        stop = threading.Event()

        def turn() -> None:
            while not stop.is_set():
                number(box, "l", "keep", "way")
                number(box, "u", "way")
                number(box, "l", "open", "way")
                number(box, "u", "way")

        turning = threading.Thread(target=turn)
        turning.start()
        try:
            seen = [box.exec("tries", "r", "way/file", timeout=20).text for _ in range(60)]
        finally:
            stop.set()
            turning.join()
        assert not any(text.startswith("keep") for text in seen)


def test_a_program_that_a_rule_refuses_does_not_begin(create: Callable[..., Sandbox]) -> None:
    no = RuleSpec(name="no", acts=frozenset({"exec"}), answer=errno.EACCES, paths=(Paths(("/workspace/guest",)),))
    with create(monitor=Monitor("writes", rules=(no,))) as box:
        done = box.exec("guest", "k", "made", "x")
        assert (done.exit_code, done.reason) == (126, "refused")
        assert "a rule refused it" in done.detail
        assert not box.files.exists("made")
        assert number(box, "c", "made") is Errno.SUCCESS


def test_rules_find_and_what_the_policy_refuses_is_explained(create: Callable[..., Sandbox], tmp_path: Path) -> None:
    rule = Rule(
        id="test.keys", summary="a key is opened", severity=Severity.MEDIUM, events=frozenset({Act.OPEN}),
        where=F.path.endswith(".key"),
    )  # fmt: skip
    (tmp_path / "file").write_text("x")
    with create(rules=Rules(use=(rule,)), monitor="full", mounts=[cloche.Mount(str(tmp_path), "/given")]) as box:
        box.files.write("a.key", b"secret")
        assert "test.keys" in {one.rule for one in box.exec("tries", "r", "a.key").violations}
        outside = box.exec("tries", "r", "../../etc/passwd").violations
        assert [(one.rule, one.operation, one.target) for one in outside] == [
            ("path:outside", "open", "/workspace/../../etc/passwd")
        ]
        absent = box.exec("tries", "h", "a.key", "other").violations
        assert [(one.rule, one.operation) for one in absent] == [("call:absent", "link")]
        kept = box.exec("/workspace/tries", "c", "new", cwd="/given").violations
        assert [(one.rule, one.target) for one in kept] == [("mount:read-only", "/given/new")]
        assert [incident.rule for incident in box.incidents()] == ["test.keys"]


def test_what_is_watched_can_be_changed_for_programs_that_run(create: Callable[..., Sandbox]) -> None:
    with create(monitor=Monitor("full", acts=frozenset())) as box:
        with box.events(sources=["guest"]) as events:
            assert number(box, "r", "guest") is Errno.SUCCESS
            assert [*events.drain()] == []
            box.update(monitor=Monitor("full", rules=(KEEP,)))
            box.files.mkdir("keep")
            assert number(box, "c", "keep/x") is Errno.ACCES
            assert Act.CREATE in {event.act for event in events.drain()}
        box.update(monitor="off")
        assert number(box, "c", "keep/x") is Errno.SUCCESS


def test_a_program_waits_for_its_events_to_be_taken(create: Callable[..., Sandbox]) -> None:
    monitor = Monitor("full", overload="wait", ring=64 << 10)
    with create(monitor=monitor, limits={"memory": "64M", "disk": "1M", "files": 700}) as box:
        with box.events("mkdir", sources=["guest"]) as events:
            assert number(box, "v") is Errno.NOSPC
            assert len([*events.drain()]) > 600
        assert box.event_counts()[Act.LOST] == 0
