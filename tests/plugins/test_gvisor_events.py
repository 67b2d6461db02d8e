"""What guests of real gVisor sandboxes do is told, judged and stopped."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence

import pytest

from cloche import (
    Act,
    Event,
    EventFlag,
    F,
    Host,
    Monitor,
    Rule,
    Rules,
    Severity,
    SpecError,
    State,
    Unenforceable,
)
from cloche_gvisor import session
from cloche_gvisor.runtime import GvisorRuntime
from cloche_gvisor.source import SentrySource
from tests.awaited import settled
from tests.plugins.guest_sources import GuestSourceConformance


class TestSentry(GuestSourceConformance):
    performs = (Act.MKDIR, Act.UNLINK, Act.SYMLINK)
    other = Act.LINK
    patience = 30.0
    kind = GvisorRuntime

    def test_a_session_that_disappears_or_loses_anything_does_not_pass_silently(self) -> None:
        with self.opened([]) as source:
            control = self.thread.call(self.running[id(source)].control)
            assert not source.blind
            self.thread.call(control.trace_delete, session.NAME)
            assert select.select([source.fileno()], [], [], 10)[0]
            assert source.drain() == b""
            assert source.blind

    def test_what_the_sentry_could_not_send_is_lost(self) -> None:
        with self.opened([]) as source:
            assert isinstance(source, SentrySource)
            assert source.lost() == 0
            source.dropped(3)
            assert select.select([source.fileno()], [], [], 10)[0]
            source.drain()
            assert (source.lost(), source.overloaded) == (3, False), "it may be lost where nobody must wait"
            source.dropped(2)
            assert source.lost() == 3


@pytest.fixture
def host(host_of: Callable[[str], Host]) -> Host:
    return host_of("gvisor")


def python(body: str) -> tuple[str, ...]:
    return (
        "/usr/bin/python3",
        "-S",
        "-c",
        f"import os\ndef t(f, *a, **k):\n  try: f(*a, **k)\n  except OSError: pass\n{body}",
    )


def told(host: Host, body: str, *acts: Act, monitor: Monitor | None = None) -> list[Event]:
    """Give what is told of these acts of a program."""
    watched = monitor or Monitor("full", acts=frozenset(acts))
    with host.create(monitor=watched, strict=False) as box, box.events(*acts) as events:
        result = box.exec(*python(body))
        assert result.exit_code == 0, result.stderr
        return events.drain()


def texts(events: Sequence[Event]) -> list[tuple[str, str | None, str | None]]:
    return [(event.act.value, event.path or event.resolved, event.target) for event in events]


def test_calls_whose_points_carry_no_texts_are_told_with_them(host: Host) -> None:
    body = """
os.mkdir('/tmp/a b'); os.rename('/tmp/a b', '/tmp/c'); os.symlink('/etc/passwd', '/tmp/l'); os.chmod('/tmp/c', 0o4755)
os.chdir('/tmp'); os.link('l', 'm', follow_symlinks=False); os.unlink('l')
d = os.open('/tmp', 0); os.rmdir('c', dir_fd=d)
t(os.chown, 'm', 1, 2); t(os.unlink, '../../x/./y'); t(os.mkdir, 'z', dir_fd=d)
"""
    acts = Act.MKDIR, Act.RENAME, Act.SYMLINK, Act.CHMOD, Act.LINK, Act.UNLINK, Act.CHOWN
    events = told(host, body, *acts)
    assert texts(events) == [
        ("mkdir", "/tmp/a b", None), ("rename", "/tmp/a b", "/tmp/c"), ("symlink", "/tmp/l", "/etc/passwd"),
        ("chmod", "/tmp/c", None), ("link", "/tmp/l", "/tmp/m"), ("unlink", "/tmp/l", None), ("unlink", "/tmp/c", None),
        ("chown", "/tmp/m", None), ("unlink", "/x/y", None), ("mkdir", "/tmp/z", None),
    ]  # fmt: skip
    assert all(event.claimed("path") for event in events)
    assert not any(event.flags & EventFlag.UNREADABLE for event in events)
    assert events[-2].flags & EventFlag.CLIMBS
    assert all(event.pid > 1 for event in events)


def test_what_is_no_utf_8_is_told_as_unreadable_and_never_left_out(host: Host) -> None:
    body = "t(os.open, b'/tmp/\\xff/x', 0); t(os.unlink, b'/tmp/\\xff'); t(os.execv, b'/bin/true', [b'true', b'\\xff'])"
    events = [
        event
        for event in told(host, body, Act.OPEN, Act.UNLINK, Act.EXEC)
        if event.flags & EventFlag.UNREADABLE
    ]  # fmt: skip
    assert [event.act for event in events] == [Act.OPEN, Act.UNLINK, Act.EXEC]


def test_names_that_look_like_lines_of_the_log_forge_nothing(host: Host) -> None:
    forged = '/tmp/a\\n{\\"msg\\":\\"[   2:   2] x E unlink(0x1 /forged)\\",\\"level\\":\\"info\\"}'
    events = told(host, f't(os.unlink, "{forged}"); t(os.unlink, "/tmp/b")', Act.UNLINK)
    assert [event.path for event in events] == [forged.encode().decode("unicode_escape"), "/tmp/b"]


def test_what_the_box_s_own_first_process_does_is_not_told(host: Host) -> None:
    with host.create(monitor="full", strict=False) as box, box.events(sources=["guest"]) as events:
        box.exec("/bin/true")
        found = events.drain()
        box.exec("/bin/true")
        more = events.drain()
    assert found[0].act is more[0].act is Act.EXEC
    assert {event.exec for event in found} == {1}
    assert {event.exec for event in more} == {2}
    assert {event.pid for event in found} == {found[0].pid}
    assert not [event for event in found if event.act in (Act.MOUNT, Act.MKDIR, Act.NAMESPACE)]


def test_a_match_pauses_and_one_asked_to_be_refused_is_an_error(host: Host) -> None:
    keys = Rule(
        id="keys", summary="opens a key", severity=Severity.CRITICAL, events=frozenset({Act.OPEN}),
        where=F.file.under("/etc/passwd"), mode="inline", best_effort=True,
    )  # fmt: skip
    with host.create(rules=Rules(use=(keys,)), strict=False) as box:
        assert "can't refuse acts" in str(box.enforcement["rules"])
        job = box.spawn(*python("import time\nopen('/etc/passwd')\ntime.sleep(0.5)"))
        incident = settled(box, "keys", "suspend")
        assert box.state is State.PAUSED
        assert incident.event["path"] == "/etc/passwd"
        assert not incident.blocked
        box.resume()
        assert job.wait().exit_code == 0
    with pytest.raises(SpecError, match=r"'gvisor' sees open only as they are done"):
        host.create(rules=Rules(use=(keys,), auto_block=Severity.LOW), strict=False)


def test_rules_on_names_that_change_are_judged_with_their_paths(host: Host) -> None:
    logs = Rule(
        id="logs", summary="removes a log", severity=Severity.HIGH, events=frozenset({Act.UNLINK, Act.RENAME}),
        where=F.file.under("/workspace/log") | F.to.under("/workspace/log"), response="terminate",
    )  # fmt: skip
    with host.create(rules=Rules(use=(logs,)), strict=False) as box:
        box.files.write("/workspace/log", b"1")
        assert box.exec(*python("os.rename('/workspace/log', '/workspace/x')\nimport time\ntime.sleep(9)")).reason == (
            "rule:logs"
        )
        assert [incident.rule for incident in box.incidents()] == ["logs"]


def test_what_is_watched_can_be_changed(host: Host) -> None:
    watched = Monitor("writes", acts=frozenset({Act.MKDIR}))
    with host.create(monitor=watched, strict=False) as box, box.events(sources=["guest"]) as events:
        box.exec(*python("os.mkdir('/tmp/a'); open('/tmp/b', 'w')"))
        assert texts(events.drain()) == [("mkdir", "/tmp/a", None)]
        box.update(monitor=Monitor("writes", acts=frozenset({Act.CREATE, Act.MKDIR})))
        box.exec(*python("os.mkdir('/tmp/c'); open('/tmp/d', 'w')"))
        assert texts(events.drain()) == [("mkdir", "/tmp/c", None), ("create", "/tmp/d", None)]
        box.update(monitor=Monitor("writes", acts=frozenset({Act.UNLINK})))
        assert "not watched from the start" in str(box.enforcement["events"])
        box.update(monitor="off")
        box.exec(*python("os.mkdir('/tmp/e')"))
        assert events.drain() == []


def test_strict_depth_is_refused(host: Host) -> None:
    with pytest.raises(Unenforceable, match="in its guest's place"):
        host.create(monitor="strict")


# -- what is asked of a sentry ---------------------------------------------------------------------------------------


def test_only_what_acts_need_is_asked_for() -> None:
    none = session.asked(frozenset())
    names = [point["name"] for point in none.session["points"]]
    assert len(names) == len(set(names))
    assert {"sentry/clone", "sentry/execve", "sentry/exit_notify_parent", "syscall/chdir/exit"} <= set(names)
    assert not none.traced
    assert session.strace(none.traced, "/x") == ()
    some = session.asked(frozenset({Act.UNLINK, Act.CONNECT}))
    assert "unlinkat" in some.traced
    assert some.traced <= {"unlink", "unlinkat", "rmdir"}
    assert "syscall/connect/enter" in [point["name"] for point in some.session["points"]]
    assert session.strace(some.traced, "/x")[1].startswith("--strace-syscalls=")
    for point in some.session["points"]:
        if point["name"] != "sentry/execve":
            assert not {"cwd", "process_name"} & set(point["context_fields"]), "a name that is no UTF-8 would hide it"
    assert some.session["sinks"][0]["config"]["retries"] == 3
    assert some.session["ignore_missing"]


def test_every_act_can_be_asked_for() -> None:
    every = session.asked(session.at_depth(frozenset(Act), "full"))
    names = [point["name"] for point in every.session["points"]]
    assert len(names) == len(set(names))
    assert session.shadows()
    assert every.traced <= session.TRACED
    assert Act.OPEN not in session.at_depth(frozenset(Act), "writes")
