from __future__ import annotations

import contextlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cloche import (
    AsyncHost,
    Guarantee,
    Host,
    IsolationLevel,
    Limits,
    Mount,
    Network,
    PathPermissions,
    Policy,
    Rules,
    Severity,
    SpecError,
    Workspace,
    units,
)
from cloche.request import deadline, limits_from, make_policy, make_spec
from cloche.testing import FakeRuntime

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HERE = "/usr"  # exists on every host
WRONG: list[tuple[dict[str, Any], str]] = [
    # names: slashes, NUL, invalid UTF-8, wrong types, length
    ({"name": "a/b"}, "name"), ({"name": "a\0b"}, "name"), ({"name": "\ud800"}, "name"), ({"name": "\udcff"}, "name"),
    ({"name": ""}, "name"), ({"name": ".."}, "name"), ({"name": 5}, "name"), ({"name": "x" * 64}, "name"),
    ({"name": "x" * 10_000_000}, "name"), ({"name": "a b"}, "name"), ({"name": "a\n"}, "name"),
    ({"isolation": "none-such"}, "isolation"), ({"isolation": 3}, "isolation"), ({"isolation": "a/b"}, "isolation"),
    ({"hostname": "a/b"}, "hostname"), ({"hostname": None}, "hostname"), ({"hostname": "x" * 64}, "hostname"),
    # wrong types
    ({"require": "memory"}, "require"), ({"require": 5}, "require"), ({"require": ["magic"]}, "require"),
    ({"require": [[]]}, "require"), ({"network": "bridge"}, "network"), ({"network": 5}, "network"),
    ({"network": []}, "network"), ({"limits": 5}, "limits"), ({"limits": "512M"}, "limits"), ({"limits": []}, "limits"),
    ({"workspace": 5}, "workspace"), ({"workspace": b"/usr"}, "workspace"), ({"workspace": ["/usr"]}, "workspace"),
    ({"mounts": 5}, "mounts"), ({"mounts": "/usr"}, "mounts"), ({"mounts": ["/usr"]}, "mounts"),
    ({"mounts": {"/usr": "/usr"}}, "mounts"), ({"forbidden": "/etc"}, "forbidden"), ({"forbidden": 5}, "forbidden"),
    ({"forbidden": [5]}, "forbidden"), ({"forbidden": ["etc"]}, "forbidden"), ({"forbidden": ["/a/../b"]}, "forbidden"),
    ({"rootfs": 5}, "rootfs"), ({"rootfs": b"/"}, "rootfs"), ({"env": 5}, "env"), ({"env": ["A=1"]}, "env"),
    ({"env": {"A": 1}}, "env"), ({"env": {1: "a"}}, "env"), ({"metadata": 5}, "metadata"),
    ({"metadata": {"a": 1}}, "metadata"), ({"user": "root"}, "user"), ({"user": True}, "user"), ({"user": 1.5}, "user"),
    ({"lifetime": []}, "lifetime"), ({"idle_timeout": {}}, "idle_timeout"), ({"strict": "no"}, "strict"),
    ({"strict": None}, "strict"), ({"policy": 5}, "policy"), ({"policy": {"isolation": "enhanced"}}, "policy"),
    # unknown keys
    ({"limits": {"ram": 1}}, "limits: 'ram' is unknown; known limits are memory"), ({"limits": {5: 1}}, "limits"),
    # absurd sizes
    ({"limits": {"memory": 1}}, "limits.memory"), ({"limits": {"memory": 1 << 60}}, "limits.memory"),
    ({"limits": {"memory": "1e9"}}, "limits.memory"), ({"limits": {"pids": 0}}, "limits.pids"),
    ({"limits": {"pids": 1 << 40}}, "limits.pids"), ({"limits": {"cpu": 0}}, "limits.cpu"),
    ({"limits": {"cpu": 1e9}}, "limits.cpu"), ({"limits": {"open_files": 1}}, "limits.open_files"),
    ({"limits": {"wall": 0}}, "limits.wall"), ({"limits": {"wall": float("nan")}}, "limits.wall"),
    ({"limits": {"output": -1}}, "limits.output"), ({"limits": {"disk": 10**400}}, "limits.disk"),
    ({"limits": {"disk": 10**5000}}, "limits.disk"), ({"limits": {"cpu": 10**5000}}, "limits.cpu"),
    ({"limits": {"wall": 10**5000}}, "limits.wall"), ({"user": 10**5000}, "user"),
    ({"user": -1}, "user"), ({"user": 1 << 20}, "user"), ({"lifetime": 0}, "lifetime"), ({"lifetime": -3}, "lifetime"),
    ({"lifetime": "later"}, "lifetime"), ({"env": {"A": "x" * 10_000_000}}, "environment variable A"),
    ({"env": {f"V{n}": "x" * 100_000 for n in range(11)}}, "env: it takes"), ({"env": {"A": "\ud800"}}, "variable A"),
    ({"env": {"A": "a\0b"}}, "variable A"), ({"env": {"": "x"}}, "environment name"), ({"env": {"A=B": "x"}}, "name"),
    ({"metadata": {"a": "x" * 5000}}, "metadata a"), ({"metadata": {"a\0": "x"}}, "metadata key"),
    # what is not there
    ({"workspace": "/no/such/folder"}, "does not exist"), ({"workspace": "/etc/hostname"}, "not a folder"),
    ({"rootfs": "/no/such"}, "not a folder"), ({"rootfs": "/etc/hostname"}, "not a folder"), ({"rootfs": "a\0"}, "NUL"),
    ({"mounts": [Mount("/no/such", "/x")]}, "/no/such does not exist"), ({"workspace": "a\0b"}, "NUL"),
    # contradictions
    ({"idle_timeout": 60, "lifetime": 1}, "could never act"),
    ({"mounts": [Mount(HERE, "/x"), Mount(HERE, "/x")]}, "two things are mounted at /x"),
    ({"mounts": [Mount(HERE, "/workspace")]}, "two things are mounted at /workspace"),
    ({"mounts": [Mount(HERE, "/x/y")], "forbidden": ["/x"]}, "/x is forbidden"),
    ({"forbidden": ["/workspace"]}, "/workspace is mounted but /workspace is forbidden"),
    ({"network": "host"}, "does not allow 'host'; it allows: loopback, none"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "says"), WRONG, ids=[units.shown(w) for w, _ in WRONG])
def test_bad_input_is_refused_with_what_is_wrong_before_anything_is_made(
    host: Host, runtime: FakeRuntime, wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(SpecError) as caught:
        host.create(**wrong)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400
    assert not runtime.instances
    assert not host.sandboxes()


def test_an_unknown_keyword_is_pythons_own_error(host: Host) -> None:
    with pytest.raises(TypeError, match="netwrok"):
        host.create(netwrok="none")  # type: ignore[call-arg]


keywords = st.sampled_from(
    ["name", "isolation", "runtime", "network", "limits", "workspace", "mounts", "forbidden", "paths", "rootfs", "env",
     "hostname", "user", "lifetime", "idle_timeout", "metadata", "require", "policy", "strict"]
)  # fmt: skip
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.text()),
    st.dictionaries(st.text(), st.text()),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.dictionaries(keywords, anything, max_size=3))
@example(arguments={"runtime": [""]})
def test_whatever_is_given_works_or_is_a_spec_error(fakes: Callable[..., object], arguments: dict[str, Any]) -> None:
    async def main() -> None:
        async with AsyncHost(plugins=[fakes(FakeRuntime())], entry_points=False) as host:
            with contextlib.suppress(SpecError):
                await host.create(**arguments)

    anyio.run(main)


def test_a_level_says_which_work_folders_it_allows(make_level: Callable[[str], IsolationLevel], tmp_path: Path) -> None:
    level = IsolationLevel(
        name="tight", summary="", guarantees=frozenset(), limits=make_level("x").limits, syscalls="maximum",
        workspaces=frozenset({"tmpfs"}),
    )  # fmt: skip
    with pytest.raises(SpecError, match="workspace: level 'tight' does not allow 'bind'; it allows: tmpfs"):
        make_spec(
            Policy(isolation="tight", workspace=Workspace("bind", str(tmp_path))), {"tight": level}, name=None,
            rootfs=None, env=None, hostname="h", user=1, lifetime=None, idle_timeout=None, metadata=None, strict=True,
        )  # fmt: skip


def test_the_spec_holds_everything_with_defaults_filled_in(host: Host, tmp_path: Path) -> None:
    with host.create(
        name="one", network="loopback", limits={"memory": "64M"}, workspace=tmp_path, mounts=[Mount(HERE, "/u")],
        forbidden=["/etc/ssl"], rootfs=tmp_path, env={"A": "1"}, hostname="h", user=0, lifetime="1h", idle_timeout=60,
        metadata={"k": "v"}, require=["memory", Guarantee.PIDS],
    ) as box:  # fmt: skip
        spec = box.spec
    assert (spec.name, spec.network, spec.hostname, spec.user) == ("one", Network("loopback"), "h", 0)
    assert (spec.limits.memory, spec.limits.pids, spec.limits.output) == (64 << 20, 32, 1 << 20)
    assert spec.workspace == Workspace("bind", str(tmp_path))
    assert (spec.lifetime, spec.idle_timeout, spec.rootfs) == (3600.0, 60.0, str(tmp_path))
    assert spec.env["A"] == "1"
    assert spec.env["HOME"] == "/workspace"
    assert (dict(spec.metadata), spec.mounts, spec.paths.forbidden) == ({"k": "v"}, (Mount(HERE, "/u"),), ("/etc/ssl",))
    assert {Guarantee.MEMORY, Guarantee.PIDS, Guarantee.PROCESS} <= spec.guarantees


def nothing() -> dict[str, Any]:
    return {
        "isolation": None, "require": (), "network": None, "limits": None, "workspace": None, "mounts": (),
        "forbidden": (), "paths": None, "monitor": None, "rules": None,
    }  # fmt: skip


def test_a_policy_without_keywords_is_taken_as_it_is() -> None:
    policy = Policy(isolation="standard", limits=Limits(pids=3))
    assert make_policy(policy, **nothing()) is policy
    over = make_policy(policy, **{**nothing(), "limits": Limits(memory="1G"), "isolation": "maximum"})
    assert (over.isolation, over.limits) == ("maximum", Limits(pids=3, memory="1G"))
    assert limits_from(MappingProxyType({"pids": 3})) == Limits(pids=3)


def test_lists_add_to_those_of_a_policy_and_lift_nothing() -> None:
    base = Policy(
        require=frozenset({Guarantee.DISK}), forbidden=("/a",), mounts=(Mount(HERE, "/u"), Mount(HERE, "/v")),
        paths=PathPermissions(allowed=("/workspace/src",), forbidden=("/b",)),
    )  # fmt: skip
    more = {
        "require": ["pids"], "forbidden": ["/c"], "mounts": [Mount(HERE, "/v", read_only=False), Mount(HERE, "/w")],
        "paths": PathPermissions(read_only=("/d",)),
    }  # fmt: skip
    over = make_policy(base, **{**nothing(), **more})
    assert over.require == {Guarantee.DISK, Guarantee.PIDS}
    assert over.permissions() == PathPermissions(("/workspace/src",), ("/d",), ("/b", "/a", "/c"))
    assert over.mounts == (Mount(HERE, "/u"), Mount(HERE, "/v", read_only=False), Mount(HERE, "/w"))


def test_rules_as_a_mapping_change_only_what_they_name() -> None:
    base = Policy(rules=Rules(without=("a",), auto_block=Severity.LOW))
    over = make_policy(base, **{**nothing(), "rules": {"auto_block": "never"}})
    assert over.rules == Rules(without=("a",), auto_block="never")
    assert make_policy(base, **{**nothing(), "rules": "on"}).rules == Rules()
    assert make_policy(Policy(), **{**nothing(), "rules": {"auto_block": "high"}}).rules == Rules(
        auto_block=Severity.HIGH
    )
    with pytest.raises(SpecError, match="rules: 'block' is unknown"):
        make_policy(base, **{**nothing(), "rules": {"block": "low"}})


def test_thresholds_are_the_levels_where_rules_name_none(host: Host) -> None:
    with host.create(rules={"auto_suspend": "high"}, strict=False) as box:
        level = box.spec.level
        assert box.spec.rules == Rules(
            auto_block=level.auto_block, auto_suspend=Severity.HIGH, auto_terminate=level.auto_terminate
        )
        assert "rules" in box.spec.needed()
    with host.create(rules=Rules(use=(), auto_block="low")) as box:  # type: ignore[arg-type]
        assert box.spec.rules == Rules.of("off")
        assert "rules" not in box.spec.needed()


@pytest.mark.parametrize("wrong", [{"paths": ("/a",)}, {"mounts": ["/usr"]}, {"mounts": [None]}])
def test_what_is_no_policy_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"needed"):
        make_policy(None, **{**nothing(), **wrong})


@pytest.mark.parametrize(
    ("timeout", "wall", "expected"),
    [(None, 5.0, (5.0, "limit:wall")), (1, 5.0, (1.0, "timeout")), ("1m", 5.0, (5.0, "limit:wall")),
     (5, 5.0, (5.0, "timeout")), (None, None, (float("inf"), "limit:wall")), (2, None, (2.0, "timeout"))],
)  # fmt: skip
def test_the_nearer_bound_ends_a_call(timeout: float | str | None, wall: float | None, expected: object) -> None:
    assert deadline(timeout, wall) == expected
