"""What the self-test's answer says of watching programs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cloche_native import findings
from cloche_native.findings import Looker

ROOT = Looker("", root=True, traces=True)
USER = Looker("1", root=False, traces=False)
GOOD = {"listener": "ok", "listener can": ["continue", "end", "open"]}


@pytest.mark.parametrize("depth", ["writes", "full", "strict"])
def test_where_a_listener_could_be_had_programs_can_be_watched_with_what_is_weak_said(depth: str) -> None:
    status, mechanism, caveat = findings.events(GOOD, depth=depth, own_view=True, looker=USER)
    assert status == "partial"
    assert "seccomp notifications" in mechanism
    assert "sendmsg" in caveat


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "did not try"),
        ({"listener": "EBUSY"}, "itself watched by another"),
        ({"listener": "ENOSYS"}, "no seccomp notification"),
        ({"listener": "EPERM"}, "forbids it to watch"),
        ({"listener": "EIO"}, r"gave no listener \(EIO\)"),
        ({"listener": ["ok"]}, "gave no listener"),
        ({"listener": 0}, r"gave no listener \(0\)"),
    ],
)
def test_where_none_could_be_had_the_reason_and_a_way_out_are_told(facts: dict[str, Any], said: str) -> None:
    status, reason, fix = findings.events(facts, depth="full", own_view=True, looker=ROOT)
    assert status == "unenforced"
    assert re.search(said, reason)
    assert fix


@pytest.mark.parametrize(
    ("yama", "root", "own_view", "kept"),
    [
        ("", False, False, True),
        ("0", False, False, True),
        ("1", False, False, True),
        ("2", False, False, False),
        ("2", True, False, True),
        ("2", False, True, True),  # the host owns the user namespace that the guest is in
        ("3", True, True, False),
    ],
)
def test_a_guest_whose_memory_can_not_be_read_is_not_watched(
    yama: str, *, root: bool, own_view: bool, kept: bool
) -> None:
    looker = Looker(yama, root=root, traces=root)
    found = findings.events(GOOD, depth="full", own_view=own_view, looker=looker)
    assert (found[0] != "unenforced") is kept
    assert kept or "ptrace_scope" in found[1]


@pytest.mark.parametrize("own_view", [False, True])
def test_root_that_may_not_look_into_other_users_watches_nothing_and_says_so(own_view: bool) -> None:  # noqa: FBT001
    found = findings.events(GOOD, depth="writes", own_view=own_view, looker=Looker("", root=True, traces=False))
    assert found[0] == "unenforced"
    assert "CAP_SYS_PTRACE" in found[1]


def test_no_file_is_opened_for_a_guest_that_landlock_alone_holds() -> None:
    assert findings.events(GOOD, depth="strict", own_view=False, looker=ROOT)[0] == "unenforced"
    assert findings.events(GOOD, depth="full", own_view=False, looker=ROOT)[0] == "partial"


@pytest.mark.parametrize(
    ("able", "kept", "said"),  # depths that are kept; the kernels are those of the constants' first appearance
    [
        (["continue", "end", "open"], {"writes", "full", "strict"}, ""),  # Linux 5.14
        (["continue", "end"], {"writes", "full"}, "opened in a guest's place.* Linux 5.14"),  # 5.9
        (["continue"], set(), "when the last process of a program is gone.* Linux 5.9"),  # 5.5
        ([], set(), "can't let a call that was notified go on.* Linux 5.5"),  # 5.0
        (None, set(), "go on"),
    ],
)
def test_a_depth_that_the_kernel_is_too_old_for_is_refused_with_the_kernel_that_has_it(
    able: list[str] | None, kept: set[str], said: str
) -> None:
    facts = {"listener": "ok"} if able is None else {"listener": "ok", "listener can": able}
    found = {
        depth: findings.events(facts, depth=depth, own_view=True, looker=ROOT) for depth in ("writes", "full", "strict")
    }
    assert {depth for depth, verdict in found.items() if verdict[0] != "unenforced"} == kept
    assert all(re.search(said, " ".join(found[depth])) for depth in found.keys() - kept)
