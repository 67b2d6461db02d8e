"""What a program was seen to do, made into a profile: from events and figures, with no program."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import (
    EventBatch,
    IsolationLevel,
    Limits,
    Mount,
    Network,
    Origin,
    PathPermissions,
    Profile,
    Rules,
    Spec,
    Violation,
    Workspace,
)
from cloche.learning import bounds
from cloche.learning.bounds import Figures
from cloche.learning.draft import Draft, Learned, drafted
from cloche.learning.more import missing
from cloche.learning.places import folders, used
from cloche.learning.seen import Seen
from cloche_native import events

if TYPE_CHECKING:
    from collections.abc import Callable

MISSING, DENIED = 0x8000, 0x200
FIGURES = Figures(seconds=1.5, memory=40 << 20, pids=5, processors=0.7, output=100, largest=3 << 20)


def seen(*acts: dict[str, Any]) -> Seen:
    found = Seen()
    for number, act in enumerate(acts, 1):
        fields: dict[str, Any] = {"number": number, "sandbox": 1, "pid": 7, **act}
        fields |= {name: os.fsencode(act[name]) for name in ("path", "resolved", "target") if name in act}
        raw = events.pack(**fields)
        for event in EventBatch(raw, Origin({1: "abc"})):
            found.take(event)
    return found


def test_what_was_there_is_told_from_what_was_only_looked_for() -> None:
    found = seen(
        {"act": "open", "path": "/data/a"}, {"act": "stat", "path": "/data/b", "flags": MISSING},
        {"act": "open", "path": "/data/../data/c"}, {"act": "open", "path": "/data/d", "flags": DENIED, "result": -1},
        {"act": "open", "path": "/data/e", "args": (os.O_DIRECTORY,)},
    )  # fmt: skip
    assert set(found.paths) == {"/data/a", "/data/c", "/data/e"}
    assert found.listed == {"/data/e"}
    assert found.refused.total() == 1


def test_names_that_come_and_go_are_kept_with_what_was_done() -> None:
    found = seen(
        {"act": "create", "path": "/w/new", "flags": MISSING}, {"act": "create", "path": "/w/old"},
        {"act": "rename", "path": "/w/a", "target": "/v/b"}, {"act": "unlink", "path": "/w/gone"},
    )  # fmt: skip
    assert found.paths["/w/new"] == {"create", "write"}
    assert found.paths["/w/old"] == {"write"}
    assert (found.paths["/w/a"], found.paths["/v/b"]) == ({"delete"}, {"create"})
    assert found.named == {"/w/new", "/w/a", "/v/b", "/w/gone"}


@pytest.mark.parametrize(
    ("acts", "mode"),
    [
        ([], "none"),
        ([{"act": "socket", "args": (1,)}], "none"),
        ([{"act": "connect", "target": "/run/x", "args": (1,)}], "none"),
        ([{"act": "socket", "args": (10,)}], "loopback"),
        ([{"act": "bind", "target": "0.0.0.0", "args": (2, 80)}], "loopback"),  # noqa: S104 - nobody listens
        ([{"act": "connect", "target": "::1", "args": (10, 80)}], "loopback"),
        ([{"act": "connect", "target": "192.0.2.7", "args": (2, 53)}], "host"),
        ([{"act": "send", "target": "not an address", "args": (2, 53)}], "host"),
    ],
)
def test_the_network_is_the_narrowest_that_would_do(acts: list[dict[str, Any]], mode: str) -> None:
    assert seen(*acts).network == mode


# -- places -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def spec(make_spec: Callable[..., Spec]) -> Spec:
    mounts = (Mount("/srv/data", "/data"), Mount("/srv/out", "/out", read_only=False))
    return replace(make_spec(), mounts=mounts)


def patterns(spec: Spec, found: Seen) -> dict[str, tuple[str, ...]]:
    return {place.target: place.patterns for place in used(spec, found)}


def test_a_folder_is_named_by_its_parts_or_whole(spec: Spec) -> None:
    few = seen(*({"act": "open", "path": path} for path in ("/data/a", "/data/s/x", "/etc/x")))
    assert patterns(spec, few) == {"/workspace": (), "/data": ("/data/a", "/data/s/x"), "/out": ()}
    many = seen(*({"act": "open", "path": f"/data/s/{n}"} for n in range(20)), {"act": "open", "path": "/data/b"})
    assert patterns(spec, many)["/data"] == ("/data/b", "/data/s")
    listed = seen({"act": "open", "path": "/data", "args": (os.O_DIRECTORY,)}, {"act": "open", "path": "/data/b"})
    assert patterns(spec, listed)["/data"] == ("/data",)
    made = seen({"act": "create", "path": "/out/d/new", "flags": MISSING}, {"act": "open", "path": "/out/e"})
    assert patterns(spec, made)["/out"] == ("/out/d", "/out/e")
    odd = seen({"act": "open", "path": "/data/a*[b]?"})
    (pattern,) = patterns(spec, odd)["/data"]
    assert PathPermissions(allowed=(pattern,))
    assert pattern == "/data/a[*][[]b][?]"
    passed_by = seen({"act": "stat", "path": "/data"})
    assert patterns(spec, passed_by)["/data"] == ()


def test_secrets_that_were_not_touched_are_named(spec: Spec, tmp_path: Path) -> None:
    for name in (".git", ".env", "a.key", "main.py"):
        (tmp_path / name).touch()
    spec = replace(spec, mounts=(Mount(str(tmp_path), "/data"),))
    found = seen(
        {"act": "open", "path": "/data", "args": (os.O_DIRECTORY,)}, {"act": "open", "path": "/data/.git"},
    )  # fmt: skip
    assert used(spec, found)[1].unused == ("/data/.env", "/data/a.key")


def test_a_work_folder_that_lay_elsewhere_is_told_of_as_where_it_was_asked_for(spec: Spec) -> None:
    found = seen(
        {"act": "create", "path": "/run/box/work/n", "flags": MISSING}, {"act": "open", "path": "/run/box/workshop"},
        {"act": "open", "path": "/run/box/work", "args": (os.O_DIRECTORY,)},
    )  # fmt: skip
    found.moved("/run/box/work", "/workspace")
    assert set(found.paths) == {"/workspace/n", "/workspace", "/run/box/workshop"}
    assert used(spec, found)[0].patterns == ("/workspace",)


def test_folders_are_counted_for_people() -> None:
    paths = ["/usr/lib/a/b/c", "/usr/lib/a/d", "/etc/passwd", "/top"]
    assert folders(paths) == {"/usr/lib/a": 2, "/etc": 1, "/top": 1}


# -- bounds -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1 << 34), st.integers(0, 5000), st.integers(0, 5000), st.floats(0, 20000), st.floats(0, 64))
def test_a_limit_leaves_room_and_is_one(size: int, peak: int, processes: int, seconds: float, cpu: float) -> None:
    found = Limits(
        memory=bounds.memory(size), pids=bounds.pids(peak, processes), wall=bounds.wall(seconds), cpu=bounds.cpu(cpu),
        output=bounds.output(size), file_size=bounds.file_size(size),
    )  # fmt: skip
    assert (found.memory or 0) >= size * 1.5
    assert (found.pids or 0) >= 2 * peak
    assert (found.wall or 0) >= 4 * seconds
    assert (found.cpu or 0) >= cpu - 0.1
    assert (found.output or 0) >= 2 * size
    assert (found.file_size or 0) >= 4 * size


# -- the profile ------------------------------------------------------------------------------------------------------


def learned(spec: Spec, found: Seen, *violations: Violation) -> Learned:
    return Learned(spec, found, FIGURES, used(spec, found), violations)


def draft(one: Learned, *, rules: str = "audit") -> Draft:
    made = drafted(one, name="one", summary="for tests", env={"A": "b"}, rules=Rules.of(rules))
    assert Profile.parse(made.to_toml()) == made.profile
    return made


def test_a_profile_holds_what_was_used_and_no_more(spec: Spec) -> None:
    found = seen({"act": "open", "path": "/data/a"}, {"act": "socket", "args": (2,)})
    violation = Violation("odd-name", "open", "/data/a\x1b[2J", "", severity="medium", blocked=False)
    made = draft(learned(spec, found, violation))
    policy = made.profile.policy
    assert policy.mounts == (Mount("/srv/data", "/data"),)
    assert policy.paths.allowed == ("/data/a", "/workspace")
    assert policy.rules == Rules(without=("odd-name",))
    assert policy.network == Network("none")  # it was refused, and lived
    assert (policy.limits.memory, policy.limits.pids, policy.limits.wall) == (80 << 20, 16, 10)
    text = made.to_toml()
    assert "\x1b" not in text
    assert '"odd-name",  # medium: open /data/a\\x1b[2J' in text
    assert "[[mounts]]  # read" in text
    assert 'memory = "80M"  # at most 40.0M were used' in text


def test_what_was_only_read_is_read_only(spec: Spec, tmp_path: Path) -> None:
    spec = replace(spec, workspace=Workspace("bind", str(tmp_path)), network=Network("loopback"))
    found = seen(
        {"act": "open", "path": "/out", "args": (os.O_DIRECTORY,)}, {"act": "open", "path": "/workspace/x"},
        {"act": "socket", "args": (2,)},
    )  # fmt: skip
    policy = draft(learned(spec, found), rules="off").profile.policy
    assert policy.mounts == (Mount("/srv/out", "/out"),)
    assert policy.workspace == Workspace("overlay", str(tmp_path))
    assert policy.paths.allowed == ("/workspace/x", "/out")
    assert policy.network == Network("loopback")
    assert policy.rules == Rules.of("off")
    changed = seen({"act": "create", "path": "/workspace/x", "flags": MISSING})
    assert draft(learned(spec, changed)).profile.policy.workspace == spec.workspace
    assert draft(learned(spec, seen())).profile.policy.workspace == Workspace()


def test_the_notes_of_each_mount_are_its_own(spec: Spec) -> None:
    found = seen({"act": "open", "path": "/data/a"}, {"act": "create", "path": "/out/n", "flags": MISSING})
    text = draft(learned(spec, found)).to_toml()
    assert [line for line in text.splitlines() if line.startswith("[[mounts]]")] == [
        "[[mounts]]  # read", "[[mounts]]  # create, write",
    ]  # fmt: skip


# -- what a profile lacks ---------------------------------------------------------------------------------------------


def lacks(one: Learned, spec: Spec) -> set[tuple[str, str]]:
    return {(more.what, more.needs) for more in missing(one, spec)}


def test_a_profile_lacks_nothing_of_what_it_was_learned_from(spec: Spec, make_level: Callable[..., Any]) -> None:
    found = seen({"act": "open", "path": "/data/a"}, {"act": "create", "path": "/out/n", "flags": MISSING})
    violation = Violation("odd-name", "open", "/data/a", "", severity="medium", blocked=False)
    one = learned(spec, found, violation)
    policy = draft(one).profile.policy
    level: IsolationLevel = make_level("enhanced")
    own = replace(
        spec, mounts=policy.mounts, paths=policy.permissions(), rules=policy.rules, workspace=policy.workspace,
        limits=policy.limits.over(level.limits),
    )  # fmt: skip
    assert missing(one, own) == []
    more = seen(
        {"act": "open", "path": "/data/b"}, {"act": "connect", "target": "192.0.2.7", "args": (2, 53)},
        {"act": "write-open", "path": "/data/a"},
    )  # fmt: skip
    later = Learned(spec, more, replace(FIGURES, memory=1 << 40), used(spec, more), [
        replace(violation, rule="other"),
    ])  # fmt: skip
    found_more = lacks(later, own)
    assert ("network", "host: connect 192.0.2.7 port 53") in found_more
    assert ("paths", "read /data/b") in found_more
    assert ("rules.without", "other: open /data/a") in found_more
    assert any(what == "limits.memory" for what, _ in found_more)


def test_a_folder_that_a_profile_does_not_show_is_lacking(spec: Spec, tmp_path: Path) -> None:
    found = seen({"act": "open", "path": "/data/a"}, {"act": "create", "path": "/workspace/n", "flags": MISSING})
    one = learned(replace(spec, workspace=Workspace("bind", str(tmp_path))), found)
    bare = replace(spec, mounts=(), workspace=Workspace())
    assert ("mounts", "/srv/data at /data, read") in lacks(one, bare)
    assert ("workspace", f"{tmp_path}, written") in lacks(one, bare)
    over = replace(spec, workspace=Workspace("overlay", str(tmp_path)))
    assert ("workspace", "bind: it is written") in lacks(one, over)
