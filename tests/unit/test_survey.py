"""What patterns cover in the folders that a box will show: the steps, and what no steps could keep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloche import PathAct, PathPermissions, PathStep, PathSurvey, ShownPath, SpecError
from cloche.files import look
from cloche.files.globs import Globs

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = ("a/b/key", "a/b/other", "a/.env", ".env", "src/main", "src/x.lock", "x.md")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def steps(tree: Path) -> Callable[..., list[tuple[str, str]]]:
    """Give the acts on a tree shown at /w, where it can be written unless said."""

    def find(*, writable: bool = True, **lists: tuple[str, ...]) -> list[tuple[str, str]]:
        shown = [ShownPath("/w", str(tree), writable=writable, judged=True)]
        return [(step.act.value, step.path) for step in PathSurvey(PathPermissions(**lists), shown).steps()]

    return find


def test_what_is_forbidden_is_covered_and_the_folders_above_pinned(steps: Callable[..., list[tuple[str, str]]]) -> None:
    assert steps(forbidden=("/w/a/b/key",)) == [("pin", "/w/a"), ("pin", "/w/a/b"), ("cover", "/w/a/b/key")]
    assert steps(writable=False, forbidden=("/w/a/b/key",)) == [("cover", "/w/a/b/key")]
    assert steps(forbidden=("/w/**/.env",)) == [("cover", "/w/.env"), ("pin", "/w/a"), ("cover", "/w/a/.env")]
    assert steps(forbidden=("/w/a",)) == [("cover", "/w/a")]


def test_what_is_read_only_is_frozen_where_it_could_be_changed(steps: Callable[..., list[tuple[str, str]]]) -> None:
    assert steps(read_only=("/w/src",)) == [("freeze", "/w/src")]
    assert steps(writable=False, read_only=("/w/src",)) == []
    assert steps(read_only=("/w/a",), forbidden=("/w/a/b/key",)) == [("freeze", "/w/a"), ("cover", "/w/a/b/key")]
    assert steps(read_only=("/w",)) == [("freeze", "/w")]


def test_only_what_is_allowed_is_shown_again(steps: Callable[..., list[tuple[str, str]]]) -> None:
    assert steps(allowed=("/w/src", "/w/*.md"), forbidden=("/w/src/main",)) == [
        ("only", "/w"), ("show", "/w/src"), ("pin", "/w/src"), ("cover", "/w/src/main"),
        ("show", "/w/x.md"), ("seal", "/w"),
    ]  # fmt: skip
    assert steps(allowed=("/elsewhere",)) == [("only", "/w"), ("seal", "/w")]
    assert steps(allowed=("/w",)) == []
    assert steps(allowed=("/w/a/b",), forbidden=("/w/src/main",)) == [
        ("only", "/w"),
        ("show", "/w/a/b"),
        ("seal", "/w"),
    ]


def test_links_are_met_as_links(tree: Path, steps: Callable[..., list[tuple[str, str]]]) -> None:
    (tree / "by").symlink_to("a")
    (tree / "root").symlink_to("/")
    assert steps(writable=False, forbidden=("/w/**/key",)) == [("cover", "/w/a/b/key")]
    survey = PathSurvey(PathPermissions(forbidden=("/w/by/b/key",)), [ShownPath("/w", str(tree), writable=True)])
    assert "/w/by is a symbolic link in /w, which the guest may replace" in survey.problems()[0]


def test_a_mount_inside_another_is_walked_by_its_own_source(tree: Path) -> None:
    shown = [
        ShownPath("/w", str(tree), writable=True, judged=True),
        ShownPath("/w/new/deep", str(tree / "a"), writable=False, judged=True),
        ShownPath("/w/src", str(tree / "a"), writable=False, judged=True),
    ]
    survey = PathSurvey(PathPermissions(forbidden=("/w/**/key", "/w/src/main")), shown)
    covers = [step.path for step in survey.steps() if step.act is PathAct.COVER]
    assert covers == ["/w/a/b/key", "/w/new/deep/b/key", "/w/src/b/key"]


def test_what_is_missing_is_made_where_that_costs_the_host_nothing(tree: Path) -> None:
    paths = PathPermissions(forbidden=("/w/no/such",), read_only=("/t/x",))
    private = [ShownPath("/w", None, writable=True, private=True), ShownPath("/t", None, writable=True, private=True)]
    survey = PathSurvey(paths, private)
    assert survey.problems() == []
    assert survey.steps() == [
        PathStep(PathAct.MAKE, "/w/no/such"), PathStep(PathAct.PIN, "/w/no"), PathStep(PathAct.MAKE, "/t/x"),
    ]  # fmt: skip
    direct = PathSurvey(paths, [ShownPath("/w", str(tree), writable=True)])
    assert "forbidden /w/no/such: it is not there, and the guest could make it" in direct.problems()[0]
    assert PathSurvey(paths, [ShownPath("/w", str(tree), writable=False)]).problems() == []


def test_what_is_allowed_and_missing_is_a_new_folder(tree: Path) -> None:
    shown = [ShownPath("/w", str(tree), writable=True, private=True, judged=True)]
    survey = PathSurvey(PathPermissions(allowed=("/w/src", "/w/out", "/w/out/more")), shown)
    assert survey.steps() == [
        PathStep(PathAct.FOLDER, "/w/out"), PathStep(PathAct.ONLY, "/w"), PathStep(PathAct.SHOW, "/w/src", "/w"),
        PathStep(PathAct.SHOW, "/w/out", "/w"), PathStep(PathAct.SEAL, "/w"),
    ]  # fmt: skip


def test_patterns_that_the_guest_could_outrun_are_named(tree: Path) -> None:
    def problems(*shown: ShownPath, links: tuple[str, ...] = (), **lists: tuple[str, ...]) -> list[str]:
        return PathSurvey(PathPermissions(**lists), shown, links=links).problems()

    work = ShownPath("/w", str(tree), writable=True, judged=True)
    data = ShownPath("/d", str(tree), writable=False, judged=True)
    assert "the guest may write in /w" in problems(work, forbidden=("/w/**/.env",))[0]
    assert "the guest may write in /w" in problems(work, data, forbidden=("/**/.env",))[0]
    assert problems(work, data, forbidden=("/d/**/.env",)) == []
    assert problems(work, forbidden=("/w/*/.env",), read_only=("/w",)) == []
    assert problems(work, allowed=("/w/src",), forbidden=("/w/a/*",)) == []
    assert "could make more" in problems(work, allowed=("/w/a",), forbidden=("/w/a/*",))[0]
    assert "it differs" not in str(problems(forbidden=("/proc/cpuinfo",)))
    assert "another one for each process" in problems(forbidden=("/proc/self/environ",))[0]
    assert "it can only be forbidden" in problems(read_only=("/dev/null",))[0]
    assert "only plain paths" in problems(forbidden=("/proc/*/environ",))[0]
    assert "/bin is a symbolic link in the box" in problems(links=("/bin",), forbidden=("/bin/*sh",))[0]


def test_work_is_bounded(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    survey = PathSurvey(PathPermissions(forbidden=("/w/**/no",)), [ShownPath("/w", str(tree), writable=False)])
    assert survey.steps() == []
    monkeypatch.setattr(look, "LOOKED_MAX", 5)
    with pytest.raises(SpecError, match="over 5 files and folders"):
        survey.steps()
    monkeypatch.undo()
    deep = tree
    for _ in range(look.DEPTH_MAX + 1):
        deep /= "d"
    deep.mkdir(parents=True)
    with pytest.raises(SpecError, match="folders deep"):
        survey.steps()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into everything")
def test_a_folder_that_can_not_be_looked_into_is_refused_where_the_guest_could_open_it(tree: Path) -> None:
    (tree / "a").chmod(0)
    try:
        for writable in (True, False):
            survey = PathSurvey(
                PathPermissions(forbidden=("/w/a/**/key",)), [ShownPath("/w", str(tree), writable=writable)]
            )
            if writable:
                with pytest.raises(SpecError, match="can't be looked into"):
                    survey.steps()
            else:
                assert survey.steps() == []
    finally:
        (tree / "a").chmod(0o755)


names = st.sampled_from(["a", "b", "key", "other", ".env", "src", "*", "**", "?*", "[a-z]*", "x.*"])
patterns = st.lists(names, min_size=1, max_size=4).map(lambda parts: "/w/" + "/".join(parts))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(patterns, min_size=1, max_size=3).map(tuple))
def test_exactly_what_the_rule_forbids_lies_under_a_cover(tree: Path, forbidden: tuple[str, ...]) -> None:
    shown = [ShownPath("/w", str(tree), writable=False)]
    paths = PathPermissions(forbidden=forbidden)
    if not PathSurvey(paths, shown).problems():
        covers = [step.path for step in PathSurvey(paths, shown).steps() if step.act is PathAct.COVER]
        globs = Globs(paths.forbidden)
        for name in FILES:
            path = f"/w/{name}"
            covered = globs.first(globs.walk(path.split("/")[1:])) is not None
            assert any(path == c or path.startswith(c + "/") for c in covers) is covered
