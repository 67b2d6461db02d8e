"""Who did what in a gVisor sandbox: parents and ancestors, and whose program it was, before and after a restore."""

from __future__ import annotations

import pytest

from cloche import Act, Condition, Event, F, Host, Monitor, Rule, Rules, Sandbox, Severity, SpecError

pytestmark = pytest.mark.usefixtures("no_own_leaks")
LIMITS = {"pids": 32, "memory": "512M"}
ACTS = frozenset({Act.EXEC, Act.OPEN, Act.MKDIR, Act.UNLINK})
WATCHED = Monitor("full", acts=ACTS)


def opens(path: str) -> str:
    return f"try: open({path!r})\nexcept OSError: pass"


def rule(where: Condition, *, response: str | None = None, message: str = "") -> Rule:
    return Rule(
        id="found", summary="opens a file", severity=Severity.LOW, events=frozenset({Act.OPEN}), where=where,
        response=response, message=message,
    )  # fmt: skip


def test_rules_know_parents_and_ancestors(host: Host) -> None:
    by_shell = rule(
        (F.file == "/tmp/a") & (F["parent.name"] == "bash") & (F.ancestors == "dash"),
        message="{parent.name} {ancestors}",
    )
    with host.create(runtime="gvisor", rules=Rules(use=(by_shell,)), limits=LIMITS) as box:
        box.exec("dash", "-c", "cat /tmp/a; :")
        assert not box.incidents()
        box.exec("dash", "-c", "bash -c 'cat /tmp/a; cat /tmp/a; :'; :")
        (incident,) = box.incidents()
    assert incident.count == 2
    assert incident.message == "bash bash dash"
    assert [person.name for person in incident.process] == ["cat", "bash", "dash"]
    assert "fork" not in {event["act"] for event in incident.before}, "nobody asked for them"


def test_forks_are_not_told_to_who_can_not_ask_for_them(host: Host) -> None:
    rules = Rules(use=(rule(F["parent.name"] == "none"),))
    with host.create(runtime="gvisor", monitor="full", rules=rules, limits=LIMITS) as box:
        with box.events(Act.EXEC) as some, box.events() as all_of_them:
            box.exec("dash", "-c", "/bin/true & wait; /bin/true; :")
            programs = [event.resolved for event in some.drain()]
            told = {event.act for event in all_of_them.drain()}
        with pytest.raises(SpecError, match="fork can't be told"):
            box.events(Act.FORK)
    assert programs == ["/usr/bin/dash", "/usr/bin/true", "/usr/bin/true"]
    assert {Act.EXEC, Act.OPEN} <= told
    assert not {Act.FORK, Act.EXIT} & told


def test_a_workers_programs_are_told_apart_and_a_restored_ones_too(host: Host) -> None:
    with host.create(runtime="gvisor", monitor=WATCHED, limits=LIMITS) as box:
        box.start_worker()
        seen_by_exec(box)
        saved = box.checkpoint()
    for _ in range(2):
        with host.restore(saved, monitor=WATCHED) as again:
            seen_by_exec(again)


def seen_by_exec(box: Sandbox) -> None:
    """Hold what is told of programs, a worker's and others, to whose they are."""
    with box.events(*ACTS, sources=["guest"]) as events, box.events(Act.BEGUN) as begun:
        for worker, name in ((True, "w"), (False, "p"), (True, "v")):
            code = f"import os\nos.mkdir('/tmp/{name}')\n{opens(f'/tmp/{name}/x')}\nos.rmdir('/tmp/{name}')"
            box.exec("python3", "-S", "-c", code, worker=worker).check()
        told, numbers = events.drain(), [event.exec for event in begun.drain()]
    whose = [
        (*name_of(event), event.exec, event.pid)
        for event in told
        if event.act == Act.EXEC or str(event.path).startswith("/tmp/")
    ]
    by_exec = {number: [name_of(event) for event in told if event.exec == number] for number in numbers}
    for number, name in zip(numbers, "wpv", strict=True):
        acts = [act for act in by_exec[number] if act[1] is not None and act[1].startswith("/tmp/")]
        wanted = [("mkdir", f"/tmp/{name}"), ("open", f"/tmp/{name}/x"), ("unlink", f"/tmp/{name}")]
        assert acts == wanted, (numbers, whose)
    assert ("exec", "/usr/bin/python3") in {(event.act.value, event.path) for event in told if event.exec == numbers[1]}
    assert {event.exec for event in told} <= {*numbers, (1 << 32) - 1}
    assert 1 not in {event.pid for event in told}


def name_of(event: Event) -> tuple[str, str | None]:
    return event.act.value, event.path


def test_a_restored_sandbox_is_judged_and_ended(host: Host) -> None:
    with host.create(runtime="gvisor", limits=LIMITS) as box:
        box.start_worker()
        saved = box.checkpoint()
    named = rule(F.file == "/tmp/a", response="terminate")
    with host.restore(saved, rules=Rules(use=(named,))) as again:
        assert again.exec("python3", "-c", "print(1)", worker=True).text == "1\n"
        ended = again.exec("python3", "-c", f"{opens('/tmp/a')}\nimport time; time.sleep(20)", worker=True)
        assert ended.reason == "rule:found"
        assert [violation.rule for violation in ended.violations] == ["found"]
