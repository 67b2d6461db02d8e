"""What rules find in real boxes is told, refused and answered, and nothing is left behind."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cloche
from cloche import Act, F, Monitor, Rule, Rules, Severity
from tests.awaited import settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche import Context, Host

pytestmark = pytest.mark.usefixtures("no_leaks")
OPENS = frozenset({Act.OPEN, Act.WRITE_OPEN, Act.CREATE})


def rule(name: str = "secret", **given: Any) -> Rule:  # noqa: ANN401 - of many kinds
    usual: dict[str, Any] = {
        "summary": "opens a secret", "severity": Severity.MEDIUM, "events": OPENS,
        "where": F.file.glob("/**/secret*"), "hint": "leave it alone",
    }  # fmt: skip
    return Rule(id=name, **{**usual, **given})


@pytest.fixture(params=["namespaces", "bwrap", "process"])
def host(request: pytest.FixtureRequest, host_of: Callable[[str], Host]) -> Host:
    return host_of(request.param)


def until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.005)
    return true()


def test_a_rule_is_given_the_digest_of_what_is_started(host: Host, request: pytest.FixtureRequest) -> None:
    seen: dict[str, str | None] = {}

    def note(context: Context) -> bool:
        seen[(context.event.resolved or context.event.path or "").rpartition("/")[2]] = context.digest
        return False

    digests = rule("digests", events=frozenset({Act.EXEC}), where=F.file.exists(), digest=True, evaluate=note)
    with host.create(isolation="standard", rules=Rules(use=(digests,))) as box:
        script = (
            "cp /bin/true tool; printf 1 >> tool; ./tool; sha256sum tool; ln -s tool link; ./link;"
            "cp tool gone; ./gone; rm gone; truncate -s 300M tool2; chmod +x tool2; ./tool2 2>/dev/null; true"
        )
        done = box.exec("bash", "-c", script)
    digest = done.text.split()[0]
    assert seen["tool"] == digest
    assert seen.get("link", digest) == digest
    assert seen["gone"] in (digest, None)
    assert seen["tool2"] is None
    system = hashlib.sha256(Path("/usr/bin/sha256sum").read_bytes()).hexdigest()
    assert seen["sha256sum"] == (None if request.node.callspec.params["host"] == "process" else system)


def test_what_an_inline_rule_refuses_is_explained_in_the_result(host: Host) -> None:
    inline = rule(mode="inline", best_effort=True, answer=errno.EACCES)
    with host.create(isolation="standard", rules=Rules(use=(inline,), auto_block=Severity.MEDIUM)) as box:
        done = box.exec("sh", "-c", "cat secret; cat secret; cat other; echo > secret2; echo end")
        assert done.stdout == b"end\n", done
        assert done.stderr.count(b"Permission denied") == 3
        told = {v.target.rpartition("/")[2]: (v.rule, v.blocked, v.count, v.hint) for v in done.violations}
        assert told == {
            "secret": ("secret", True, 2, "leave it alone"),
            "secret2": ("secret", True, 1, "leave it alone"),
        }
        (incident,) = box.incidents()
        assert incident.blocked
        assert ("block", True) in [(one.response, one.done) for one in settled(box, "secret", "alert").taken]
        assert "two threads" in str(box.enforcement["rules"])


def test_the_processes_that_did_it_are_in_the_evidence(host: Host) -> None:
    asked = rule(where=F.file.glob("/**/secret*") & (F["process.name"] == "cat"), message="{process.cmdline} {file}")
    with host.create(isolation="standard", rules=Rules(use=(asked,))) as box:
        script = ": > secret; head -c1 secret; cat secret; for i in 1 2 3; do cat secret; done"
        done = box.exec("sh", "-c", script)
        assert [v.count for v in done.violations] == [4], done
        (incident,) = box.incidents()
        assert incident.message.startswith("cat secret /")
        assert incident.process[0].name == "cat"
        assert incident.process[0].args == ("cat", "secret")
        assert [one.name for one in incident.process[1:]][:1] in ([], ["dash"], ["sh"], ["bash"])
        assert incident.args == ("sh", "-c", script)
        assert all("cloche-init" not in (one.exe or "") for one in incident.process)
        assert {before["act"] for before in incident.before} >= {"exec"}


def test_who_asked_for_no_events_sees_only_what_matched(host: Host) -> None:
    with host.create(isolation="standard", rules=Rules(use=(rule(),))) as box, box.events(sources=["guest"]) as events:
        box.exec("sh", "-c", ": > secret; : > other; cat other")
        assert {(event.act, (event.path or "").rpartition("/")[2]) for event in events.drain()} == {
            (Act.CREATE, "secret")
        }  # fmt: skip


def test_a_rule_that_suspends_pauses_the_box_until_it_is_resumed(host: Host) -> None:
    with host.create(isolation="standard", rules=Rules(use=(rule(response="suspend"),))) as box:
        job = box.spawn("sh", "-c", "cat secret; sleep 0.2; echo on")
        assert until(lambda: str(box.state) == "paused")
        assert box.reason == "rule:secret"
        settled(box, "secret", "suspend", "alert")
        time.sleep(0.4)
        assert job.running
        box.resume()
        done = job.wait(10)
        assert done.stdout == b"on\n"
        assert [v.rule for v in done.violations] == ["secret"]
        assert str(box.state) == "running"
        box.spawn("sh", "-c", "cat secret")
        assert until(lambda: str(box.state) == "paused"), "a later hit suspends it again"


def test_a_rule_that_terminates_kills_the_box_and_keeps_the_evidence(host: Host) -> None:
    grave = rule(severity=Severity.CRITICAL)
    with host.create(isolation="standard", rules=Rules(use=(grave,), auto_terminate=Severity.HIGH)) as box:
        done = box.exec("sh", "-c", "cat secret; sleep 30; echo on")
        assert done.reason == "rule:secret"
        assert done.stdout == b""
        assert done.duration < 10
        incident = settled(box, "secret", "terminate", "alert")
        assert (str(box.state), box.reason) == ("stopped", "rule:secret")
    kept = host.incidents.since(sandbox=box.id)
    assert [one.id for one in kept] == [incident.id]
    assert kept[0].event["path"].endswith("/secret")


def test_in_audit_mode_the_guest_goes_on_and_the_report_says_what_would_have_been(host: Host) -> None:
    grave = rule(mode="inline", best_effort=True, severity=Severity.CRITICAL)
    asked = Rules(use=(grave,), audit=True, auto_block=Severity.LOW, auto_terminate=Severity.LOW)
    with host.create(isolation="standard", rules=asked) as box:
        done = box.exec("sh", "-c", "echo a > secret; cat secret")
        assert done.stdout == b"a\n"
        assert [v.blocked for v in done.violations] == [False, False]
        taken = settled(box, "secret", "block", "terminate", "alert").taken
        assert {one.response for one in taken if not one.done} == {"block", "terminate"}


def test_rules_are_changed_while_programs_run(host: Host) -> None:
    refusing = rule(mode="inline", best_effort=True)
    with host.create(isolation="standard", rules=Rules(use=(rule("other"),))) as box:
        job = box.spawn("sh", "-c", "while : ; do cat secret 2>&1; sleep 0.05; done")
        assert until(lambda: any(v.rule == "other" for v in box.violations))
        box.update(rules=Rules(use=(refusing,), auto_block=Severity.LOW))
        assert until(lambda: any(v.rule == "secret" and v.blocked for v in box.violations))
        box.update(rules="off")
        count = sum(v.count for v in box.violations)
        time.sleep(0.3)
        assert sum(v.count for v in box.violations) == count
        job.kill()


@pytest.mark.parametrize("overload", ["wait", "count"])
def test_a_flood_is_counted_and_the_box_lives(host: Host, overload: Any) -> None:  # noqa: ANN401 - one of two
    flood = "import os\nfor n in range(20000):\n try: os.open('secret%d' % (n % 9), 0)\n except OSError: pass"
    told: list[object] = []
    monitor = Monitor("writes", acts=frozenset(), overload=overload)
    with host.create(isolation="standard", rules=Rules(use=(rule(),)), monitor=monitor) as box:
        host.on("incident", callback=told.append)
        done = box.exec("python3", "-c", flood, timeout=120)
        assert done.ok, done
        found = {one.rule: 0 for one in box.incidents()}
        for one in box.incidents():
            found[one.rule] += one.count
        assert sum(v.count for v in done.violations) <= found["secret"] <= 20_000
        if overload == "wait":
            assert found == {"secret": 20_000}
        else:
            assert found["secret"] + found.get("monitor-lost", 0) >= 20_000
    assert len(told) < 20


def test_hostile_names_are_escaped_wherever_they_are_shown(host: Host) -> None:
    make = "import os\nfor name in (b'secret\\x1b[2J', b'secret\\n\\r', b'secret\\xff\\xfe'): os.open(name, os.O_CREAT)"
    with host.create(isolation="standard", rules=Rules(use=(rule(message="{path} by {process.cmdline}"),))) as box:
        done = box.exec("python3", "-c", make)
        assert len(done.violations) == 3, done
        for one in (*done.violations, *box.incidents()):
            assert str(one).isprintable()
        assert all(one.message.isprintable() for one in box.incidents())


def test_a_host_that_is_killed_while_it_answers_leaves_nothing(host: Host, tmp_path: Any) -> None:  # noqa: ANN401
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, time, cloche\n"
        "from cloche import *\n"
        "rule = Rule(id='s', summary='s', severity=Severity.HIGH, events=frozenset({Act.OPEN}),\n"
        "            where=F.file.glob('/**/secret'), response='suspend')\n"
        f"with Host(config={{'host': {{'runtime': '{host.config.runtime}'}}}}) as host:\n"
        "    box = host.create(isolation='standard', rules=Rules(use=(rule,)))\n"
        "    box.spawn('sh', '-c', 'while :; do cat secret; done')\n"
        "    while str(box.state) != 'paused': time.sleep(0.001)\n"
        "    print(box.id, flush=True)\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    name = child.stdout.readline().decode().strip()
    assert name
    os.kill(child.pid, signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    assert until(lambda: name not in [one.id for one in host.list() if one.state == "running"])
    host.sweep()


def test_another_process_reads_incidents_and_the_violations_of_what_it_runs(host: Host) -> None:
    config = {"host": {"runtime": host.config.runtime}}
    with (
        host.create(isolation="standard", rules=Rules(use=(rule(message="opened {file}"),))) as box,
        cloche.Host(config=config) as other,
        other.attach(box.id) as attached,
    ):
        done = attached.exec("sh", "-c", "cat secret; cat secret")
        assert [(v.rule, v.count) for v in done.violations] == [("secret", 2)]
        assert attached.violations == done.violations
        assert [(i.rule, i.count, i.message) for i in attached.incidents()] == [
            (i.rule, i.count, i.message) for i in box.incidents()
        ]
        assert len(attached.incidents()) == 1


def test_acts_of_the_host_on_its_files_pass_the_rules_first(host: Host) -> None:
    written = rule(
        mode="inline", best_effort=True, events=frozenset({Act.WRITE, Act.READ, Act.RENAME, Act.UNLINK}),
        where=F.file.glob("/**/secret*") | F.to.glob("/**/secret*"),
    )  # fmt: skip
    seen = rule("seen", events=frozenset({Act.WRITE}), where=F.file.glob("/**/note"))
    with host.create(isolation="standard", rules=Rules(use=(written, seen), auto_block=Severity.LOW)) as box:
        box.files.write("note", b"x")
        acts: list[Callable[[], object]] = [
            lambda: box.files.write("secret", b"x"), lambda: box.files.read("secret"),
            lambda: box.files.move("note", "secret"), lambda: box.files.remove("secret"),
        ]  # fmt: skip
        for act in acts:
            with pytest.raises(cloche.AccessDenied, match=r"refused .*secret.*leave it alone") as caught:
                act()
            assert caught.value.violation is not None
            assert caught.value.violation.rule == "secret"
        assert box.files.read("note") == b"x"
        assert not box.files.exists("secret")
        assert {(i.rule, i.count, i.blocked) for i in box.incidents()} == {("seen", 1, False), ("secret", 4, True)}
