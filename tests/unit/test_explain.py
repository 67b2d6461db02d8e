"""What the policy refuses is told with its mechanism and what to do; what it allows is told nothing of."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import Act, Event, EventBatch, EventFlag, Limits, Mount, Network, Origin, PathPermissions, Result, Spec
from cloche.incidents.explain import Explainer, explained, of_result, policy_rules
from cloche_native import events as native
from cloche_native import rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche.policy import NetworkMode

HERE = Origin({1: "abc"}, clock=0, machine="x86_64")
OPENAT = 257
CREATES = os.O_WRONLY | os.O_CREAT
PATHS = PathPermissions(read_only=("/workspace/keep",), forbidden=("/workspace/**/secret", "/home"))
MOUNTS = (
    Mount("/src/ro", "/mnt/ro"), Mount("/src/rw", "/mnt/rw", read_only=False),
    Mount("/src/add", "/mnt/add", operations=frozenset({"create", "list"})),
)  # fmt: skip


@pytest.fixture
def spec(make_spec: Callable[..., Spec]) -> Spec:
    return replace(make_spec(), mounts=MOUNTS, paths=PATHS)


def event(
    act: Act, path: str = "", *args: int, flags: int = 0, result: int | None = None, **more: bytes | str
) -> Event:
    if result is not None:
        flags |= EventFlag.RESULT
    where = str(more.pop("resolved", path))
    raw = native.pack(
        act=act.number, number=1, sandbox=1, flags=flags, call=OPENAT, args=args, result=result or 0,
        path=os.fsencode(path), resolved=os.fsencode(where), **more,  # type: ignore[arg-type]  # texts as bytes
    )  # fmt: skip
    return next(iter(EventBatch(raw, HERE)))


NEW = EventFlag.MISSING
STATIC = EventFlag.DENIED | EventFlag.STATIC
REFUSED = [
    (event(Act.CREATE, "/usr/x", CREATES, flags=NEW), "mount:system", "/usr/x"),
    (event(Act.WRITE_OPEN, "/etc/passwd", os.O_RDWR), "mount:system", "/etc/passwd"),
    (event(Act.CREATE, "/workspace/link", CREATES, resolved="/usr/y", flags=NEW), "mount:system", "/usr/y"),
    (event(Act.WRITE_OPEN, "/proc/sys/kernel/core_pattern", 1), "mount:system", "/proc/sys/kernel/core_pattern"),
    (event(Act.UNLINK, "/usr/bin/ls"), "mount:system", "/usr/bin/ls"),
    (event(Act.RENAME, "/workspace/a", target=b"/usr/a", target_resolved=b"/usr/a"), "mount:system", "/usr/a"),
    (event(Act.LINK, "/usr/bin/ls", target=b"/mnt/ro/l"), "mount:read-only", "/mnt/ro/l"),
    (event(Act.MKDIR, "/mnt/ro/new", flags=NEW), "mount:read-only", "/mnt/ro/new"),
    (event(Act.CHMOD, "/mnt/ro/f", 0o777), "mount:read-only", "/mnt/ro/f"),
    (event(Act.UNLINK, "/mnt/add/f"), "mount:operations", "/mnt/add/f"),
    (event(Act.OPEN, "/mnt/add/f"), "mount:operations", "/mnt/add/f"),
    (event(Act.CREATE, "/workspace/keep/x", CREATES, flags=NEW), "path:read-only", "/workspace/keep/x"),
    (event(Act.TRUNCATE, "/workspace/keep", 0), "path:read-only", "/workspace/keep"),
    (event(Act.OPEN, "/workspace/a/secret/x"), "path:forbidden", "/workspace/a/secret/x"),
    (event(Act.OPEN, "/home/me", flags=NEW), "path:forbidden", "/home/me"),
    (event(Act.EXEC, "/home/me/run"), "path:forbidden", "/home/me/run"),
    (event(Act.SOCKET, "", socket.AF_INET, flags=STATIC, result=-1), "network:none", "AF_INET"),
    (event(Act.SOCKET, "", socket.AF_NETLINK, flags=STATIC, result=-1), "syscall:denied", "AF_NETLINK"),
    (event(Act.MOUNT, "none", flags=STATIC, result=-1), "syscall:denied", "openat none"),
    (event(Act.KERNEL, "", flags=STATIC, result=-38), "syscall:denied", "openat"),
]
ALLOWED = [
    event(Act.CREATE, "/workspace/x", CREATES, flags=NEW),
    event(Act.WRITE_OPEN, "/workspace/x", os.O_RDWR),
    event(Act.CREATE, "/tmp/x", CREATES, flags=NEW),
    event(Act.CREATE, "/dev/shm/x", CREATES, flags=NEW),
    event(Act.WRITE_OPEN, "/dev/null", os.O_WRONLY),
    event(Act.WRITE_OPEN, "/proc/self/oom_score_adj", os.O_WRONLY, resolved="/proc/4/oom_score_adj"),
    event(Act.CREATE, "/mnt/rw/x", CREATES, flags=NEW),
    event(Act.CREATE, "/mnt/add/x", CREATES, flags=NEW),
    event(Act.LIST, "/mnt/add"),
    event(Act.OPEN, "/mnt/add", os.O_DIRECTORY),
    event(Act.OPEN, "/usr/lib/x"),
    event(Act.EXEC, "/usr/bin/ls"),
    event(Act.OPEN, "/workspace/keep/x"),
    event(Act.CREATE, "/usr/lib/x", os.O_RDONLY | os.O_CREAT),
    event(Act.MKDIR, "/usr"),  # EEXIST
    event(Act.UNLINK, "/usr/none", flags=NEW),  # ENOENT
    event(Act.RENAME, "/usr/none", target=b"/usr/x", flags=NEW),
    event(Act.SYMLINK, "/workspace/l", target=b"/usr/y", flags=NEW),
    event(Act.WRITE_OPEN, "/usr/x", 1, flags=EventFlag.DENIED, result=-1),  # a rule's to explain
    event(Act.WRITE_OPEN, "/usr/x", 1, result=3),
    event(Act.UNLINK, "/usr/x", result=-20),
    event(Act.FORK, ""),
    event(Act.CREATE, "relative", CREATES, flags=NEW),
]


@pytest.mark.parametrize(("act", "rule", "target"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_the_policy_refuses_is_explained(spec: Spec, act: Event, rule: str, target: str) -> None:
    found = explained(act, spec)
    assert found is not None
    assert (found.rule, found.target, found.operation, found.blocked) == (rule, target, act.act.value, True)
    assert found.mechanism == rule.partition(":")[0]
    assert found.hint


@pytest.mark.parametrize("act", ALLOWED, ids=str)
def test_what_the_policy_allows_or_another_explains_is_not(spec: Spec, act: Event) -> None:
    assert explained(act, spec) is None


@pytest.mark.parametrize("reading", [False, True])
def test_the_rules_find_all_that_is_explained(spec: Spec, *, reading: bool) -> None:
    chosen = policy_rules(spec, reading=reading)
    judge = rules.compile(chosen).state().judge
    for act, _, target in REFUSED:
        if act.act in (Act.OPEN, Act.EXEC) and not reading:
            continue
        assert judge(act.raw), (act, target)
    assert all(one.answer == 0 and one.respond < 10 and one.name.startswith("policy:") for one in chosen)
    quiet = [act for act in ALLOWED[:10] if "/mnt/add" not in str(act)]  # of that mount all is looked at
    assert not [act for act in quiet if judge(act.raw)]
    seen = {Act(one) for spec in chosen for one in spec.acts}
    assert (Act.OPEN in seen) == reading


def test_only_what_is_allowed_may_be_used_and_the_rest_says_so(make_spec: Callable[..., Spec]) -> None:
    spec = replace(make_spec(), paths=PathPermissions(allowed=("/workspace/in", "/workspace/*.py")))
    judge = rules.compile(policy_rules(spec, reading=True)).state().judge
    for act, refused in (
        (event(Act.CREATE, "/workspace/out", CREATES, flags=NEW), True), (event(Act.OPEN, "/workspace/out"), True),
        (event(Act.OPEN, "/workspace/none", flags=NEW), False), (event(Act.OPEN, "/workspace/a.py"), False),
        (event(Act.CREATE, "/workspace/in/x", CREATES, flags=NEW), False), (event(Act.OPEN, "/usr/x"), False),
        (event(Act.CREATE, "/tmp/x", CREATES, flags=NEW), False),
    ):  # fmt: skip
        found = explained(act, spec)
        assert (found is not None) == refused, act
        assert found is None or (found.rule, bool(judge(act.raw))) == ("path:not-allowed", True)


def test_a_box_with_the_hosts_paths_has_no_scratch_folders(spec: Spec) -> None:
    act = event(Act.CREATE, "/tmp/x", CREATES, flags=NEW)
    assert explained(act, spec) is None
    found = explained(act, spec, workspace="/tmp/box/work")
    assert found is not None
    assert "write below /tmp/box/work" in found.hint
    assert explained(event(Act.CREATE, "/tmp/box/work/x", CREATES, flags=NEW), spec, workspace="/tmp/box/work") is None
    assert rules.compile(policy_rules(spec, workspace="/tmp/box/work")).state().judge(act.raw)


def test_what_is_not_certain_says_so_and_a_look_makes_it_certain(spec: Spec) -> None:
    act = event(Act.CREATE, "/usr/x", CREATES, flags=NEW)
    explainer = Explainer(spec)
    assert explainer.explained(act, lambda _: None) is None  # its folder is not there
    hints = [found.hint for answer in (True, False) if (found := explainer.explained(act, _always(answer)))]
    assert [hint.startswith("likely; ") for hint in hints] == [True, False]
    told = explainer.explained(event(Act.WRITE_OPEN, "/usr/x", 1, result=-30))
    assert told is not None
    assert not told.hint.startswith("likely")


def _always(answer: bool) -> Callable[[str], bool | None]:  # noqa: FBT001 - it is all that is given
    return lambda _: answer


@pytest.mark.parametrize(
    ("address", "refused"), [("127.0.0.1", False), ("::1", False), ("10.0.0.1", True), ("2001:db8::1", True)]
)
@pytest.mark.parametrize("mode", ["loopback", "host"])
def test_beyond_its_own_loopback_nothing_is_reached(
    spec: Spec, mode: NetworkMode, address: str, *, refused: bool
) -> None:
    spec = replace(spec, network=Network(mode))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = explained(event(Act.CONNECT, "", family, 80, target=address.encode()), spec)
    assert (found is not None) == (refused and mode == "loopback")
    assert found is None or (found.rule, found.target) == ("network:loopback", f"{address} port 80")
    assert explained(event(Act.CONNECT, "", socket.AF_UNIX, target=b"/tmp/s"), spec) is None


@given(st.binary(max_size=300), st.sampled_from([act for act in Act if act.number < 48]), st.integers(0, (1 << 17) - 1))
def test_no_event_breaks_it_and_what_it_says_can_be_printed(path: bytes, act: Act, flags: int) -> None:
    text = path.replace(b"\0", b"_")
    raw = native.pack(act=act.number, number=1, flags=flags, path=text, resolved=text, target=text, args=(-1, -1))
    spec = _any_spec()
    found = explained(next(iter(EventBatch(raw, HERE))), spec)
    assert found is None or all(char.isprintable() for char in str(found))


def _any_spec() -> Spec:
    from cloche import IsolationLevel, Workspace  # noqa: PLC0415 - fixtures and given don't mix

    limits = Limits(memory="64M", cpu=1, pids=8, open_files=64, file_size="1M", output="1M", wall=5)
    level = IsolationLevel(name="x", summary="x", guarantees=frozenset(), limits=limits, syscalls="standard")
    return Spec(
        id="abc", name=None, level=level, guarantees=frozenset(), network=Network("loopback"), limits=limits,
        workspace=Workspace(), mounts=MOUNTS, paths=PATHS,
    )  # fmt: skip


# -- limits -----------------------------------------------------------------------------------------------------------


def ended(reason: str = "exited", code: int = 1, number: int | None = None) -> Result:
    return Result(args=("prog",), exit_code=code, reason=reason, signal=number)


FIGURES = {"disk_size": 1 << 20, "disk_used": 1 << 19, "files_size": 100, "files_used": 5, "pids_refused": 3}


@pytest.mark.parametrize(
    ("result", "figures", "rule", "hint"),
    [
        (ended("out_of_memory", 137, 9), {}, "limit:memory", 'the sandbox may use 256M; limits=Limits(memory="512M")'),
        (ended(), {"oom_kills": 1}, "limit:memory", "256M"),
        (ended("timeout", 137), {}, "limit:timeout", "timeout="),
        (ended("limit:wall", 137), {}, "limit:wall", "5 s"),
        (ended("limit:output", 137), {}, "limit:output", 'it may print 1M; limits=Limits(output="2M")'),
        (ended("limit:lifetime", 137), {}, "limit:lifetime", "lifetime="),
        (ended("limit:idle_timeout", 137), {}, "limit:idle_timeout", "idle_timeout="),
        (ended("signalled", 153, signal.SIGXFSZ), {}, "limit:file_size", 'Limits(file_size="2M")'),
        (
            ended(),
            {"pids_refused": 4},
            "limit:pids",
            "32 processes and threads may live at once; limits=Limits(pids=64)",
        ),
        (ended(), {"disk_used": 1 << 20}, "limit:disk", 'limits=Limits(disk="2M")'),
        (ended(), {"files_used": 100}, "limit:files", "limits=Limits(files=200)"),
    ],
)
def test_a_limit_that_was_met_is_told_with_its_size(
    make_spec: Callable[..., Spec], result: Result, figures: dict[str, float], rule: str, hint: str
) -> None:
    found = of_result(result, make_spec(), {**FIGURES, "oom_kills": 0, **figures}, {**FIGURES, "oom_kills": 0})
    assert [one.rule for one in found] == [rule]
    assert hint in found[0].hint
    assert (found[0].mechanism, found[0].target) == ("limit", "prog")


def test_who_ended_well_or_for_another_reason_met_no_limit(make_spec: Callable[..., Spec]) -> None:
    spec = make_spec()
    full = {"disk_size": 100.0, "disk_used": 100.0, "pids_refused": 9.0}
    assert of_result(ended(code=0), spec, full, FIGURES) == ()
    for result in (ended(), ended("signalled", 139, 11), ended("killed", 137), ended("refused", 127)):
        assert of_result(result, spec) == ()
        assert of_result(result, spec, FIGURES, FIGURES) == ()
