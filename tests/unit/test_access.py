"""The rule over paths: which list counts, in which order, and what a refusal says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import AccessDenied, Mount, Operation, PathPermissions, Policy, Spec, SpecError, Workspace
from cloche.files.access import CHANGING, LOOKING, OPERATIONS, Access, Place
from cloche.files.globs import Globs

if TYPE_CHECKING:
    from collections.abc import Callable

EVERYTHING = frozenset(OPERATIONS)
HERE = str(Path(__file__).parent)


@pytest.fixture
def access(make_spec: Callable[..., Spec]) -> Callable[..., Access]:
    def make(paths: PathPermissions | None = None, *mounts: Mount, workspace: Workspace | None = None) -> Access:
        spec = make_spec(workspace=workspace or Workspace())
        return Access.of(replace(spec, paths=paths or PathPermissions(), mounts=mounts))

    return make


def allowed(rule: Access, path: str) -> frozenset[str]:
    return frozenset(operation for operation, verdict in rule.explain(path).items() if verdict)


def test_operations_are_those_of_the_type() -> None:
    assert get_args(Operation) == OPERATIONS
    assert LOOKING | CHANGING == EVERYTHING
    assert not LOOKING & CHANGING


def test_without_patterns_the_work_folder_can_be_used_and_the_system_looked_at(access: Callable[..., Access]) -> None:
    rule = access(None, Mount(HERE, "/data"), Mount(HERE, "/out", read_only=False))
    assert allowed(rule, "/workspace/x") == EVERYTHING
    assert allowed(rule, "/tmp/x") == EVERYTHING
    assert allowed(rule, "/out/x") == EVERYTHING
    assert allowed(rule, "/data/x") == LOOKING
    assert allowed(rule, "/usr/bin/env") == LOOKING
    assert allowed(rule, "/outer") == LOOKING


def test_forbidden_goes_over_read_only_and_both_over_allowed(access: Callable[..., Access]) -> None:
    rule = access(
        PathPermissions(
            allowed=["/workspace/src", "/workspace/*.md"],  # type: ignore[arg-type] # any sequence is taken
            read_only=("/workspace/src/**/*.lock", "/workspace/a.md"),
            forbidden=("/workspace/**/.env", "/workspace/a.md/b"),
        )
    )
    assert allowed(rule, "/workspace/src/main.py") == EVERYTHING
    assert allowed(rule, "/workspace/src/uv.lock") == LOOKING
    assert allowed(rule, "/workspace/src/x/y.lock/z") == LOOKING
    assert allowed(rule, "/workspace/src/.env") == frozenset()
    assert allowed(rule, "/workspace/src/y.lock/.env") == frozenset()
    assert allowed(rule, "/workspace/b.md") == EVERYTHING
    assert allowed(rule, "/workspace/a.md") == LOOKING
    assert allowed(rule, "/workspace/a.md/b") == frozenset()
    assert allowed(rule, "/workspace/c.txt") == frozenset()
    assert allowed(rule, "/workspace") == {"stat", "list"}, "the way to what is allowed"
    assert allowed(rule, "/usr/bin/env") == LOOKING, "the system stays as it is"
    assert allowed(rule, "/tmp/x") == EVERYTHING, "so does scratch"


def test_a_mount_allows_its_operations_and_the_innermost_counts(access: Callable[..., Access]) -> None:
    rule = access(
        None,
        Mount(HERE, "/data", operations=frozenset({"read", "list"})),
        Mount(HERE, "/data/in", operations=frozenset({"create"})),
        Mount(HERE, "/workspace/lib"),
    )
    assert allowed(rule, "/data/x") == {"read", "list"}
    assert allowed(rule, "/data/in/x") == {"create"}
    assert allowed(rule, "/data/inner") == {"read", "list"}
    assert allowed(rule, "/workspace/lib/x") == LOOKING
    assert allowed(rule, "/workspace/x") == EVERYTHING


def test_patterns_speak_about_mounts_too(access: Callable[..., Access]) -> None:
    rule = access(
        PathPermissions(allowed=("/data/**/*.csv",), read_only=("/out/a",), forbidden=("/usr/share",)),
        Mount(HERE, "/data"), Mount(HERE, "/out", read_only=False),
    )  # fmt: skip
    assert allowed(rule, "/data/x/a.csv") == LOOKING
    assert allowed(rule, "/data/x/a.txt") == {"stat", "list"}, "it could be a folder on the way to a .csv"
    assert allowed(rule, "/out/a") == frozenset(), "read_only takes away, it does not give"
    assert allowed(rule, "/usr/share/doc") == frozenset()


def test_a_refusal_says_what_was_asked_which_rule_refused_it_and_what_to_do(access: Callable[..., Access]) -> None:
    rule = access(
        PathPermissions(read_only=("/workspace/*.lock",), forbidden=("/workspace/**/.env",)),
        Mount(HERE, "/data", operations=frozenset({"read", "list"})),
    )
    rule.check("write", "/workspace/a")
    cases: tuple[tuple[Operation, str, str], ...] = (
        ("read", "/workspace/x/.env", r"read /workspace/x/\.env: .*forbidden pattern /workspace/\*\*/\.env.*paths="),
        ("write", "/workspace/a.lock", r"write /workspace/a\.lock: .*read_only pattern /workspace/\*\.lock"),
        ("stat", "/data/x", r"stat /data/x: .*the mount at /data: only read, list"),
        ("create", "/usr/x", r"create /usr/x: .*the system's folders: only read, stat, list"),
    )
    for operation, path, word in cases:
        with pytest.raises(AccessDenied, match=word):
            rule.check(operation, path)
        assert not rule.verdict(operation, path)


@pytest.mark.parametrize("path", ["x", "", "/a/../b", "/a/", "//a", "/a\0", "/\ud800", 7, None, b"/a"])
def test_what_is_no_plain_path_is_refused(access: Callable[..., Access], path: object) -> None:
    with pytest.raises(SpecError):
        access().check("read", path)  # type: ignore[arg-type]


@pytest.mark.parametrize("operation", ["", "execute", "READ", 7, None, ["read"]])
def test_what_is_no_operation_is_refused(access: Callable[..., Access], operation: object) -> None:
    with pytest.raises(SpecError, match="operation"):
        access().check(operation, "/workspace/x")  # type: ignore[arg-type]


def test_a_folder_is_moved_only_if_nothing_in_it_could_be_refused(access: Callable[..., Access]) -> None:
    rule = access(
        PathPermissions(read_only=("/workspace/*/lock",), forbidden=("/workspace/a/b/secret",)),
        Mount(HERE, "/workspace/c/d"),
    )
    rule.check("delete", "/workspace/a")
    rule.check_tree("delete", "/workspace/z/y")
    with pytest.raises(AccessDenied, match="forbidden pattern /workspace/a/b/secret, which may cover some of it"):
        rule.check_tree("read", "/workspace/a")
    with pytest.raises(AccessDenied, match=r"read_only pattern /workspace/\*/lock, which may"):
        rule.check_tree("delete", "/workspace/z")
    rule.check_tree("read", "/workspace/z")
    with pytest.raises(AccessDenied, match="the mount at /workspace/c/d, which lies in it"):
        rule.check_tree("delete", "/workspace/c")
    with pytest.raises(AccessDenied):
        rule.check_tree("list", "/")


def test_the_work_folder_may_lie_elsewhere(make_spec: Callable[..., Spec]) -> None:
    spec = replace(make_spec(), paths=PathPermissions(read_only=("/run/box/a",)))
    assert allowed(Access.of(spec, workspace="/run/box"), "/run/box/b") == EVERYTHING
    assert allowed(Access.of(spec, workspace="/run/box"), "/run/box/a") == LOOKING
    assert allowed(Access.of(spec), "/run/box/b") == LOOKING


names = st.sampled_from(["workspace", "data", "a", "b", "**", "*", "a*", ".env"])
patterns = st.lists(names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
some = st.lists(patterns, max_size=3).map(tuple)
path_names = st.sampled_from(["workspace", "data", "a", "b", ".env", "ab"])
plain_paths = st.lists(path_names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
mount_operations = st.sets(st.sampled_from(OPERATIONS), min_size=1).map(frozenset)


@given(some, some, some, mount_operations, plain_paths)
def test_every_verdict_is_that_of_the_order_as_it_is_written_down(
    allow: tuple[str, ...],
    read_only: tuple[str, ...],
    forbid: tuple[str, ...],
    mounted: frozenset[Operation],
    path: str,
) -> None:
    def covers(several: tuple[str, ...], what: str) -> bool:
        return any((one := Globs([p])).first(one.walk(what.split("/")[1:])) is not None for p in several)

    places = [
        Place("/workspace", EVERYTHING, "w"),
        Place("/data", mounted, "d"),
        Place("/b", EVERYTHING, "s", judged=False),
    ]
    rule = Access(PathPermissions(allow, read_only, forbid), places)
    place = next((p for p in places if path == p.target or path.startswith(p.target + "/")), None)
    for operation in OPERATIONS:
        expected = operation in (place.operations if place else LOOKING)
        if covers(forbid, path) or (covers(read_only, path) and operation in CHANGING):
            expected = False
        elif allow and place and place.judged and not covers(allow, path):
            way = any((one := Globs([p])).awaited(one.walk(path.split("/")[1:])) for p in allow)
            expected = expected and way and operation in ("stat", "list")
        assert bool(rule.verdict(operation, path)) is expected
        if expected:
            rule.check(operation, path)


def test_patterns_are_checked_when_they_are_given() -> None:
    assert PathPermissions(forbidden=("/a", "/a", "/b")).forbidden == ("/a", "/b")
    assert not PathPermissions()
    assert PathPermissions(read_only=("/a",))
    for wrong in ("/a", b"/a", 7, None, [7], ["a"], ["/a/../b"], ["/[a"], ["/a**"], ["/x"] * 257):
        with pytest.raises(SpecError, match=r"paths\.allowed"):
            PathPermissions(allowed=wrong)  # type: ignore[arg-type]


def test_the_short_form_and_the_long_one_are_one() -> None:
    policy = Policy(forbidden=("/a/*",), paths=PathPermissions(forbidden=("/b",), read_only=("/c",)))
    assert policy.permissions() == PathPermissions(forbidden=("/b", "/a/*"), read_only=("/c",))
    with pytest.raises(SpecError, match="paths: a cloche"):
        Policy(paths=("/a",))  # type: ignore[arg-type]
    with pytest.raises(
        SpecError, match=r"/data is mounted but /d\*\* is forbidden|/data is mounted but /d\* is forbidden"
    ):
        Policy(mounts=(Mount(HERE, "/data"),), forbidden=("/d*",))


def test_operations_of_a_mount_say_whether_it_can_be_written() -> None:
    assert Mount(HERE, "/d").allows == LOOKING
    assert Mount(HERE, "/d", read_only=False).allows == EVERYTHING
    reading = Mount(HERE, "/d", operations={"read", "list"})  # type: ignore[arg-type] # any set is taken
    assert reading.read_only
    assert reading.allows == {"read", "list"}
    assert Mount(HERE, "/d", operations=frozenset({"create"})).read_only is False
    for wrong in ((), "read", ["execute"], 7, [7], [None], [["read"]]):
        with pytest.raises(SpecError, match="mount /d: operations"):
            Mount(HERE, "/d", operations=wrong)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="read_only=False, but"):
        Mount(HERE, "/d", read_only=False, operations=frozenset({"read"}))


def test_what_is_asked_for_paths_is_needed(make_spec: Callable[..., Spec]) -> None:
    plain = replace(make_spec(), mounts=(Mount(HERE, "/d"),))
    assert "paths" not in plain.needed()
    assert "paths" in replace(plain, paths=PathPermissions(forbidden=("/usr",))).needed()
    assert "paths" in replace(plain, mounts=(Mount(HERE, "/d", operations=frozenset({"read"})),)).needed()
