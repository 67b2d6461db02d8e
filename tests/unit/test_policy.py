from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import Guarantee, IsolationLevel, Limits, Mount, Network, Policy, SpecError, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

plain = st.text("abc", min_size=1, max_size=3)
paths = st.lists(plain, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


def test_the_default_policy_gives_no_network_and_a_work_folder_in_memory() -> None:
    policy = Policy()
    assert (policy.isolation, policy.network, policy.workspace) == ("enhanced", None, Workspace("tmpfs"))
    assert Network().mode == "none"


def test_a_policy_can_not_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Policy().isolation = "standard"  # type: ignore[misc]


@pytest.mark.parametrize("mode", ["", "NONE", "bridge", None, 1, ["none"]])
def test_an_unknown_network_is_refused(mode: object) -> None:
    with pytest.raises(SpecError, match=r"^network: .*none, loopback, isolated, host"):
        Network(mode)  # type: ignore[arg-type]


def test_a_mount_is_read_only_and_its_source_absolute() -> None:
    mount = Mount("data", "/data")
    assert mount.read_only
    assert mount.source == str(Path.cwd() / "data")
    assert Mount(Path("/srv"), "/data").source == "/srv"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [("", "/a"), ("a\0", "/a"), (None, "/a"), (b"/x", "/a"), (7, "/a"), ("/x", "a"), ("/x", "/"), ("/x", "/a/../b"),
     ("/x", "/a", 1), ("/x", "/a", None), ("x" * 5000, "/a")],
)  # fmt: skip
def test_a_bad_mount_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(SpecError, match="mount"):
        Mount(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [("ramdisk",), ("tmpfs", "/x"), ("bind",), ("overlay",), ("bind", ""), ("bind", 3), ("bind", "/x", "/"),
     ("bind", "/x", "work"), ("bind", "a\0b"), (None,)],
)  # fmt: skip
def test_a_bad_work_folder_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(SpecError, match="workspace"):
        Workspace(*arguments)


def test_limits_take_text_and_give_numbers() -> None:
    limits = Limits(memory="512M", wall="2m", cpu=1, output=0)
    assert (limits.memory, limits.wall, limits.cpu, limits.output) == (512 << 20, 120.0, 1.0, 0)
    assert limits.asked() == {"memory", "wall", "cpu", "output"}


@pytest.mark.parametrize(
    "bad",
    [{"memory": 1}, {"memory": "lots"}, {"memory": True}, {"cpu": 0}, {"cpu": math.nan}, {"cpu": math.inf},
     {"cpu": "1"}, {"cpu": True}, {"pids": 0}, {"pids": 1.5}, {"pids": 1 << 40}, {"open_files": 7}, {"disk": 1},
     {"files": 15}, {"files": "9K"},
     {"file_size": 0}, {"output": -1}, {"wall": 0}, {"wall": -1}, {"wall": math.nan}, {"wall": "soon"}],
    ids=str,
)  # fmt: skip
def test_an_absurd_limit_is_refused_by_name(bad: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=rf"^limits\.{next(iter(bad))}: "):
        Limits(**bad)


@given(
    st.fixed_dictionaries({}, optional={"pids": st.integers(1, 99), "wall": st.floats(1, 9), "cpu": st.floats(1, 9)}),
    st.fixed_dictionaries({}, optional={"pids": st.integers(1, 99), "wall": st.floats(1, 9), "memory": st.just("1G")}),
)
def test_limits_over_others_keep_their_own_and_take_the_rest(mine: dict[str, Any], base: dict[str, Any]) -> None:
    assert Limits(**mine).over(Limits(**base)) == Limits(**{**base, **mine})


def test_a_policy_checks_the_type_of_each_part() -> None:
    bad: list[dict[str, Any]] = [
        {"isolation": "a/b"},
        {"isolation": None},
        {"require": {"magic"}},
        {"require": 5},
        {"require": "memory"},
        {"network": "none"},
        {"limits": {"memory": 1}},
        {"workspace": "/x"},
        {"mounts": [("/a", "/b")]},
        {"mounts": 5},
        {"forbidden": ["etc"]},
        {"forbidden": ["/etc/../etc"]},
        {"forbidden": "/etc"},
        {"forbidden": 7},
    ]
    for case in bad:
        with pytest.raises(SpecError, match=next(iter(case))):
            Policy(**case)


def test_required_guarantees_may_be_named() -> None:
    assert Policy(require=frozenset({"kernel"})).require == {Guarantee.KERNEL}  # type: ignore[arg-type]


@given(paths)
def test_two_things_in_one_place_contradict_each_other(path: str) -> None:
    with pytest.raises(SpecError, match=f"contradicts itself: .*{path}"):
        Policy(mounts=(Mount("/x", path), Mount("/y", path)))
    with pytest.raises(SpecError, match="contradicts itself"):
        Policy(mounts=(Mount("/x", path),), workspace=Workspace(target=path))


@given(paths, paths)
def test_what_is_mounted_can_not_lie_in_what_is_forbidden(target: str, forbidden: str) -> None:
    inside = (target + "/").startswith(forbidden + "/")
    try:
        policy = Policy(mounts=(Mount("/x", target),), forbidden=(forbidden,), workspace=Workspace(target="/w"))
    except SpecError:
        assert inside
    else:
        assert not inside
        assert policy.forbidden == (forbidden,)


def test_a_place_inside_a_mount_can_be_forbidden() -> None:
    assert Policy(mounts=(Mount("/x", "/data"),), forbidden=("/data/secret",)).forbidden == ("/data/secret",)


def test_a_level_sets_every_limit(make_level: Callable[[str], IsolationLevel]) -> None:
    level = make_level("mine")
    for limit in fields(Limits):
        if limit.name in ("disk", "files"):
            continue  # a work folder on the host's own disk has no bound of its own
        with pytest.raises(SpecError, match=f"must set every limit but disk and files; missing: {limit.name}"):
            replace(level, limits=replace(level.limits, **{limit.name: None}))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": "a/b"}, "isolation level"),
        ({"network": Network("host")}, "not among those it allows"),
        ({"networks": frozenset({"bridge"})}, "networks"),
        ({"workspaces": frozenset({"ramdisk"})}, "workspaces"),
        ({"guarantees": frozenset({"magic"})}, "guarantees"),
        ({"guarantees": 3}, "guarantees"),
        ({"limits": {"memory": 1}}, "limits"),
        ({"prefer": "best"}, "prefer"),
        ({"auto_block": "always"}, "auto_block: 'always' is unknown; use one of info, low, medium, high, critical"),
        ({"auto_terminate": 40}, "auto_terminate"),
    ],
)
def test_a_bad_level_is_refused(
    make_level: Callable[[str], IsolationLevel], change: dict[str, Any], match: str
) -> None:
    with pytest.raises(SpecError, match=match):
        replace(make_level("mine"), **change)
