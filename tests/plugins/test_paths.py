"""Paths and operations of mounts hold for the guest as the rule object says, in each runtime that keeps them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import cloche_native as native
from cloche import (
    Access,
    AccessDenied,
    Enforced,
    Host,
    Mount,
    Operation,
    Partial,
    PathPermissions,
    SpecError,
    StartError,
    Unenforceable,
    Workspace,
)
from cloche.files.access import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cloche import Sandbox

pytestmark = pytest.mark.usefixtures("no_leaks")
VIEWS = ("namespaces", "bwrap")
needs_landlock = pytest.mark.skipif(native.landlock_abi() < 3, reason="Landlock is missing or older than ABI 3")

GUEST = """
import errno, json, os, sys

def write(path):
    with open(path, "r+b") as file:
        file.write(b"changed")

ACTS = {
    "read": lambda p: open(p, "rb").read(), "list": os.listdir, "write": write, "delete": os.unlink,
    "create": lambda p: os.mknod(p, 0o600),
    "truncate": lambda p: os.truncate(p, 0), "mkdir": os.mkdir, "stat": os.stat,
    "rename": lambda p: os.rename(*p.split("|")), "link": lambda p: os.link(*p.split("|")),
    "symlink": lambda p: os.symlink(*p.split("|")), "text": lambda p: open(p).read(), "rmdir": os.rmdir,
}
out = []
for act, path in json.load(sys.stdin):
    try:
        found = ACTS[act](path)
        out.append(found if isinstance(found, (str, list)) else "ok")
    except OSError as error:
        out.append(errno.errorcode[error.errno])
print(json.dumps(out))
"""


def acts(box: Sandbox, *wanted: tuple[str, str]) -> list[str]:
    """Give for each act of the guest "ok" (or what it read), or the name of its error."""
    done = box.exec("python3", "-c", GUEST, stdin=json.dumps(wanted).encode())
    assert done.ok, done.explain()
    answer: list[str] = json.loads(done.stdout)
    return answer


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as host:
        yield host


@pytest.fixture(params=VIEWS)
def create(request: pytest.FixtureRequest, host: Host) -> Callable[..., Sandbox]:
    if (reason := host.unavailable(request.param)) is not None:
        pytest.skip(reason)
    return lambda **wanted: host.create(runtime=request.param, **wanted)


class Runtime(NamedTuple):
    """Makes boxes of one runtime, and says where they can show a folder of the host."""

    create: Callable[..., Sandbox]
    shows_anywhere: bool

    def place(self, path: Path) -> str:
        return f"/given/{path.name}" if self.shows_anywhere else str(path)


@pytest.fixture(params=[*VIEWS, "process"])
def runtime(request: pytest.FixtureRequest, host: Host) -> Runtime:
    if (reason := host.unavailable(request.param)) is not None:
        pytest.skip(reason)
    # An ordinary user's process keeps no identity of its own, which the levels above ask for.
    level = "enhanced" if request.param in VIEWS else "standard"
    return Runtime(
        lambda **wanted: host.create(runtime=request.param, isolation=level, **wanted), request.param in VIEWS
    )


@pytest.fixture
def tree(open_folder: Path) -> Path:
    """Give a folder that any user may change, with files to act on."""
    root = open_folder / "tree"
    files = (
        "file",
        "gone",
        ".env",
        "a/.env",
        "a/b/key",
        "a/b/other",
        "lock/pinned",
        "src/main",
        "src/deep/x.lock",
        "x.md",
    )
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o666)
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o777)  # noqa: S103 - the box's own user is to write there
    return root


def rule(box: Sandbox) -> Access:
    return Access.of(box.spec, workspace=work_folder(box))


def work_folder(box: Sandbox) -> str:
    return box.exec("pwd").text.strip()


# -- operations of a mount -------------------------------------------------------------------------------------------

SETS: tuple[frozenset[Operation], ...] = (
    frozenset({"read"}), frozenset({"list"}), frozenset({"stat"}), frozenset({"read", "stat", "list"}),
    frozenset({"read", "list", "write"}), frozenset({"list", "create"}), frozenset({"read", "delete"}),
    frozenset({"create", "delete", "list"}), frozenset(OPERATIONS),
)  # fmt: skip


@needs_landlock
@pytest.mark.parametrize("operations", SETS, ids=lambda s: "-".join(sorted(s)))
def test_each_operation_of_a_mount_is_allowed_or_refused_as_the_rule_says(
    runtime: Runtime, tree: Path, operations: frozenset[Operation]
) -> None:
    where = runtime.place(tree)
    with runtime.create(mounts=[Mount(str(tree), where, operations=operations)]) as box:
        assert isinstance(box.enforcement["paths"], Enforced | Partial)
        asked: list[tuple[Operation, str]] = [
            ("read", f"{where}/file"), ("list", where), ("write", f"{where}/a/.env"), ("create", f"{where}/new"),
            ("delete", f"{where}/gone"),
        ]  # fmt: skip
        answers = dict(zip([operation for operation, _ in asked], acts(box, *asked), strict=True))
        expected = {operation for operation, path in asked if rule(box).verdict(operation, path)}
        assert {o for o, answer in answers.items() if answer == "ok" or isinstance(answer, list)} == expected
        assert {answer for o, answer in answers.items() if o not in expected} <= {"EACCES", "EROFS"}
        assert (acts(box, ("truncate", f"{where}/x.md")) == ["ok"]) is ("write" in operations)
        for operation, path in asked:  # the host's side
            if operation not in expected:
                with pytest.raises(AccessDenied):
                    rule(box).check(operation, path)
        elsewhere = acts(box, ("create", "x"), ("write", "x"), ("write", "/dev/null"))
        assert elsewhere == ["ok", "ok", "ok"]
        assert box.exec("ls", "/usr/bin").ok
    assert (tree / "file").read_text() == "file"
    assert (tree / "gone").exists() is ("delete" not in operations)
    assert (tree / "new").exists() is ("create" in operations)


@needs_landlock
def test_nothing_is_linked_or_renamed_to_where_more_is_allowed(runtime: Runtime, tree: Path) -> None:
    open_tree = tree.parent / "open"
    open_tree.mkdir()
    open_tree.chmod(0o777)
    few, all_of_it = runtime.place(tree), runtime.place(open_tree)
    mounts = [
        Mount(str(tree), few, operations=frozenset({"read", "list", "stat", "delete"})),
        Mount(str(open_tree), all_of_it, read_only=False),
    ]
    with runtime.create(mounts=mounts) as box:
        answers = acts(
            box, ("rename", f"{few}/file|{all_of_it}/file"), ("link", f"{few}/file|{all_of_it}/file"),
            ("rename", f"{few}/file|{few}/a/file"), ("symlink", f"{few}/file|{all_of_it}/by-name"),
            ("write", f"{all_of_it}/by-name"), ("write", f"{all_of_it}/../tree/file"),
            ("text", f"{all_of_it}/by-name"), ("create", f"{all_of_it}/x"),
            ("rename", f"{all_of_it}/x|{all_of_it}/y"),
        )  # fmt: skip
    assert set(answers[:3]) <= {"EXDEV", "EACCES"}
    assert answers[3] == "ok"
    assert answers[4:6] == ["EACCES", "EACCES"]
    assert answers[6:] == ["file", "ok", "ok"]
    assert (tree / "file").read_text() == "file"


@needs_landlock
def test_a_mounted_file_has_operations_too(runtime: Runtime, tree: Path) -> None:
    file = tree / "file"
    where = runtime.place(file)
    with runtime.create(mounts=[Mount(str(file), where, operations=frozenset({"read"}))]) as box:
        assert acts(box, ("text", where)) == ["file"]
        assert acts(box, ("write", where))[0] in ("EROFS", "EACCES")
    with runtime.create(mounts=[Mount(str(file), where, operations=frozenset({"write"}))]) as box:
        assert acts(box, ("text", where)) == ["EACCES"]
        assert box.exec("sh", "-c", f"echo changed > {where}").ok
    assert file.read_text() == "changed\n"


@needs_landlock
def test_operations_that_another_mount_would_undo_are_refused(create: Callable[..., Sandbox], tree: Path) -> None:
    few = frozenset[Operation]({"read"})
    for mounts, says in (
        ([Mount(str(tree), "/workspace/in", operations=few)], "it lies in /workspace, where more is allowed"),
        ([Mount(str(tree), "/a", operations=few), Mount(str(tree), "/b")], "is shown at /b too"),
        ([Mount(str(tree), "/a", operations=few), Mount(str(tree / "a"), "/b")], "is shown at /b too"),
    ):
        with pytest.raises(Unenforceable, match=says):
            create(mounts=mounts)
    with create(mounts=[Mount(str(tree), "/a", operations=few), Mount(str(tree), "/b", operations=few)]) as box:
        assert acts(box, ("text", "/a/file"), ("list", "/a"), ("list", "/b")) == ["file", "EACCES", "EACCES"]


# -- patterns --------------------------------------------------------------------------------------------------------


def test_each_act_on_each_path_is_allowed_or_refused_as_the_rule_says(
    create: Callable[..., Sandbox], tree: Path
) -> None:
    paths = PathPermissions(
        allowed=("/workspace/a", "/workspace/src", "/workspace/x.md", "/data/**/*.lock"),
        read_only=("/workspace/src/deep", "/workspace/a/.env"),
        forbidden=("/workspace/a/b/key", "/usr/share/doc/**/copyright"),
    )
    with create(workspace=tree, mounts=[Mount(str(tree), "/data")], paths=paths) as box:
        names = ("file", ".env", "a/.env", "a/b/key", "a/b/other", "lock/pinned", "src/main", "src/deep/x.lock", "x.md")
        both = [f"{top}/{n}" for n in names for top in ("/workspace", "/data")]
        made = [f"/workspace/{n}new" for n in ("", "a/", "a/b/", "src/", "src/deep/", "lock/")]
        gone = [f"/workspace/{n}" for n in ("file", "a/.env", "a/b/key", "a/b/other", "src/main", "src/deep/x.lock")]
        tried: dict[Operation, list[str]] = {"read": both, "write": both, "create": made, "delete": gone}
        asked: list[tuple[Operation, str]] = [
            (operation, path) for operation, places in tried.items() for path in places
        ]
        answers = acts(box, *asked)
        verdicts = [bool(rule(box).verdict(operation, path)) for operation, path in asked]
        # What is forbidden is seen as an empty file: it can be opened, and nothing of it read.
        empty = [path == "/workspace/a/b/key" and operation in ("read", "write") for operation, path in asked]
        assert [a == "ok" for a, e in zip(answers, empty, strict=True) if not e] == [
            v for v, e in zip(verdicts, empty, strict=True) if not e
        ]
        assert acts(box, ("text", "/workspace/a/b/key")) == [""]
        assert any(verdicts)
        assert not all(verdicts)
        assert "ENOENT" in acts(box, ("stat", "/data/file"))
        assert not box.exec("sh", "-c", "cat /usr/share/doc/*/copyright | grep .").ok
    assert (tree / "a" / "b" / "key").read_text() == "a/b/key"
    assert (tree / "src" / "deep" / "x.lock").read_text() == "src/deep/x.lock"


def test_the_hosts_side_refuses_what_the_guest_is_refused(runtime: Runtime, tree: Path) -> None:
    where = runtime.place(tree)
    paths = PathPermissions(allowed=(f"{where}/a", f"{where}/src"), read_only=(f"{where}/a/b",))
    box = (
        runtime.create(workspace=Workspace("bind", str(tree), target=where), paths=paths)
        if runtime.shows_anywhere
        else runtime.create(workspace=tree, paths=paths)
    )
    with box:
        assert box.files.read(f"{where}/a/b/key") == b"a/b/key"
        box.files.write(f"{where}/src/made", b"by the host")
        assert acts(box, ("text", f"{where}/src/made"), ("text", f"{where}/a/b/key")) == ["by the host", "a/b/key"]
        refused: tuple[Callable[[], object], ...] = (
            lambda: box.files.read(f"{where}/file"), lambda: box.files.write(f"{where}/new", b""),
            lambda: box.files.write(f"{where}/a/b/key", b""), lambda: box.files.remove(f"{where}/a/b/other"),
            lambda: box.files.move(f"{where}/a", f"{where}/src/a"), lambda: box.files.mkdir(f"{where}/a/b/c"),
            lambda: box.files.list(f"{where}/lock"), lambda: box.files.remove(f"{where}/a", recursive=True),
        )  # fmt: skip
        for act in refused:
            with pytest.raises(AccessDenied):
                act()
        answers = acts(
            box, ("read", f"{where}/file"), ("create", f"{where}/new"), ("write", f"{where}/a/b/key"),
            ("delete", f"{where}/a/b/other"), ("rename", f"{where}/a|{where}/src/a"), ("mkdir", f"{where}/a/b/c"),
            ("list", f"{where}/lock"),
        )  # fmt: skip
        assert set(answers) <= {"EACCES", "EROFS", "ENOENT", "EBUSY", "EXDEV"}
    assert (tree / "a" / "b" / "key").read_text() == "a/b/key"
    assert sorted(os.listdir(tree / "a" / "b")) == ["key", "other"]


def test_the_ways_around_a_covered_path_are_closed(create: Callable[..., Sandbox], tree: Path) -> None:
    paths = PathPermissions(read_only=("/workspace/lock",), forbidden=("/workspace/a/b/key",))
    with create(workspace=tree, paths=paths) as box:
        answers = acts(
            box, ("rename", "/workspace/a|/workspace/z"), ("rename", "/workspace/a/b|/workspace/b"),
            ("rename", "/workspace/a/b/key|/workspace/key"), ("delete", "/workspace/a/b/key"),
            ("link", "/workspace/lock/pinned|/workspace/pinned"), ("rename", "/workspace/lock|/workspace/l"),
            ("rename", "/workspace/lock/pinned|/workspace/p"), ("symlink", "/workspace/lock|/workspace/by"),
            ("write", "/workspace/by/pinned"), ("write", "/workspace/src/../lock/pinned"), ("rmdir", "/workspace/lock"),
            ("truncate", "/workspace/lock/pinned"), ("create", "/workspace/by/new"),
        )  # fmt: skip
        assert answers == [
            "EBUSY", "EXDEV", "EXDEV", "EBUSY", "EXDEV", "EBUSY", "EXDEV", "ok", "EROFS", "EROFS", "EBUSY", "EROFS",
            "EROFS",
        ]  # fmt: skip
        assert not box.exec("mount", "--bind", "/workspace", "/tmp").ok
        assert not box.exec("umount", "/workspace/a/b/key").ok
        control = (("rename", "/workspace/a/b/other|/workspace/a/b/o"), ("create", "/workspace/a/b/new"))
        assert acts(box, *control) == ["ok", "ok"]
    assert (tree / "lock" / "pinned").read_text() == "lock/pinned"
    assert sorted(os.listdir(tree / "a" / "b")) == ["key", "new", "o"]


@pytest.mark.parametrize("kind", ["tmpfs", "overlay"])
def test_what_is_not_there_can_not_be_made_where_it_is_forbidden(
    create: Callable[..., Sandbox], tree: Path, kind: str
) -> None:
    work = Workspace() if kind == "tmpfs" else Workspace("overlay", str(tree))
    paths = PathPermissions(read_only=("/tmp/r",), forbidden=("/workspace/n/o/t",))
    with create(workspace=work, paths=paths) as box:
        assert isinstance(box.enforcement["paths"], Enforced)
        answers = acts(
            box, ("create", "/workspace/n/o/t/x"), ("rmdir", "/workspace/n/o/t"),
            ("rename", "/workspace/n|/workspace/m"), ("create", "/tmp/r/x"), ("rename", "/tmp/r|/tmp/s"),
            ("create", "/workspace/n/o/x"), ("create", "/tmp/x"),
        )  # fmt: skip
        assert set(answers[:5]) <= {"EACCES", "EBUSY", "EROFS"}
        assert answers[5:] == ["ok", "ok"]
    assert not (tree / "n").exists()


def test_what_the_guest_could_make_later_is_refused_or_named(create: Callable[..., Sandbox], tree: Path) -> None:
    wanted = {"workspace": tree, "paths": PathPermissions(read_only=("/workspace/**/.env",))}
    with pytest.raises(Unenforceable, match="could make more that it covers"):
        create(**wanted)
    with create(**wanted, strict=False) as box:
        kept = box.enforcement["paths"]
        assert isinstance(kept, Partial)
        assert "could make more" in kept.caveat
        assert acts(box, ("write", "/workspace/a/.env"), ("write", "/workspace/file")) == ["EROFS", "ok"]


@pytest.mark.parametrize("path", ["/workspace/by/key", "/workspace/name"])
def test_a_link_in_a_folder_that_the_guest_writes_can_not_be_forbidden(
    create: Callable[..., Sandbox], tree: Path, path: str
) -> None:
    (tree / "by").symlink_to("a/b")
    (tree / "name").symlink_to("file")
    with pytest.raises(Unenforceable, match="is a symbolic link in /workspace, which the guest may replace"):
        create(workspace=tree, forbidden=[path])


def test_a_pattern_follows_no_link_out_of_its_folder(create: Callable[..., Sandbox], tree: Path) -> None:
    (tree / "a" / "etc").symlink_to("/etc")
    (tree / "a" / "up").symlink_to("../src")
    with create(mounts=[Mount(str(tree), "/data")], forbidden=["/data/a/**/main", "/data/a/**/passwd"]) as box:
        assert acts(box, ("text", "/data/src/main"), ("text", "/data/a/up/../src/main")) == ["src/main", "src/main"]
        assert acts(box, ("read", "/etc/passwd")) == ["ok"]


@pytest.mark.parametrize("act", ["removed", "a link"])
def test_a_source_that_changes_before_it_is_mounted_is_noticed(
    create: Callable[..., Sandbox], tree: Path, act: str
) -> None:
    wanted = {"mounts": [Mount(str(tree), "/data")], "forbidden": ["/data/**/key"]}
    with create(**wanted) as box:
        assert acts(box, ("text", "/data/a/b/key")) == [""]
    box = create(**wanted, start=False)
    with box:
        (tree / "a" / "b" / "key").unlink()
        if act == "a link":
            (tree / "a" / "b" / "key").symlink_to("/etc/passwd")
        with pytest.raises(StartError, match="mount: mask: /data/a/b/key"):
            box.start()


def test_a_cover_goes_with_the_file_that_the_host_replaces_and_the_report_says_so(
    create: Callable[..., Sandbox], tree: Path
) -> None:
    with create(workspace=tree, forbidden=["/workspace/a/b/key"]) as box:
        kept = box.enforcement["paths"]
        assert isinstance(kept, Partial)
        assert "not what the host adds or replaces" in kept.caveat
        (tree / "a" / "b" / "key").write_text("changed in place")
        assert acts(box, ("text", "/workspace/a/b/key")) == [""]
        (tree / "new").write_text("replaced")
        (tree / "new").chmod(0o666)
        (tree / "new").replace(tree / "a" / "b" / "key")
        assert acts(box, ("text", "/workspace/a/b/key")) == ["replaced"]
        with pytest.raises(AccessDenied):
            box.files.read("/workspace/a/b/key")


@needs_landlock
def test_without_landlock_operations_are_refused_or_named(
    create: Callable[..., Sandbox], tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"mounts": [Mount(str(tree), "/data", operations=frozenset({"list", "create"}))]}
    with create(**wanted) as box:
        assert acts(box, ("read", "/data/file")) == ["EACCES"]
    monkeypatch.setattr(native, "landlock_abi", lambda: 2)
    with pytest.raises(Unenforceable, match=r"Landlock before Linux 6\.2 lets files be emptied"):
        create(**wanted)
    monkeypatch.setattr(native, "landlock_abi", lambda: 0)
    with pytest.raises(Unenforceable, match="its operations need Landlock"):
        create(**wanted)
    with create(**wanted, strict=False) as box:
        kept = box.enforcement["paths"]
        assert isinstance(kept, Partial)
        assert "its operations need Landlock" in kept.caveat
        with pytest.raises(AccessDenied):
            box.files.read("/data/file")


def test_a_folder_swapped_for_a_link_shows_nothing_else(create: Callable[..., Sandbox], tree: Path) -> None:
    secret = tree.parent / "secret"
    secret.mkdir()
    (secret / "main").write_text("not for the guest")
    box = create(workspace=tree, paths=PathPermissions(allowed=("/workspace/src",)), start=False)
    with box:
        (tree / "src").rename(tree / "was")
        (tree / "src").symlink_to(secret)
        with pytest.raises(StartError, match="mount: show: /workspace/src"):
            box.start()


def test_patterns_cover_thousands_of_files_and_refuse_more(create: Callable[..., Sandbox], open_folder: Path) -> None:
    for i in range(1500):
        (open_folder / f"{i:04}.key").write_text("secret")
        (open_folder / f"{i:04}.txt").write_text("open")
    mounts = [Mount(str(open_folder), "/data")]
    with create(mounts=mounts, forbidden=["/data/*.key"]) as box:
        assert box.exec("sh", "-c", "cat /data/*.key | wc -c; cat /data/*.txt | wc -c").text.split() == ["0", "6000"]
    for i in range(3000):
        (open_folder / f"more-{i:04}.key").touch()
    with pytest.raises(SpecError, match="4500 separate files and folders here; at most 4096"):
        create(mounts=mounts, forbidden=["/data/*.key"])


def test_names_that_are_not_utf8_are_covered(create: Callable[..., Sandbox], tree: Path) -> None:
    raw = os.fsencode(tree) + b"/a/\xff\xfe.key"
    with open(raw, "w") as file:
        file.write("secret")
    other = os.fsencode(tree) + b"/a/\xff\xfe.txt"
    with open(other, "w") as file:
        file.write("open")
    for pattern in ("/data/a/*.key", os.fsdecode(b"/data/a/\xff\xfe.key"), "/data/a/??.key"):
        with create(mounts=[Mount(str(tree), "/data")], forbidden=[pattern]) as box:
            assert box.exec("sh", "-c", "cat /data/a/*.key; cat /data/a/??.txt").text == "open"


def test_hostile_patterns_are_refused_before_anything_is_run(create: Callable[..., Sandbox], tree: Path) -> None:
    for pattern in ("/data/../etc", "data", "/a//b", "/a\0b", "/[", "/a**", "/" + "x" * 5000):
        with pytest.raises(SpecError):
            create(mounts=[Mount(str(tree), "/data")], forbidden=[pattern])
    with create(mounts=[Mount(str(tree), "/data")], forbidden=["/data/" + "*a" * 1500 + "*b", "/data/a/*/k?y"]) as box:
        assert acts(box, ("text", "/data/a/b/key"), ("text", "/data/file")) == ["", "file"]


def test_what_differs_by_process_can_not_be_forbidden(create: Callable[..., Sandbox]) -> None:
    for path in ("/proc/self/environ", "/proc/1/environ", "/proc/thread-self/fd"):
        with pytest.raises(Unenforceable, match="another one for each process"):
            create(forbidden=[path])
    with create(forbidden=["/proc/cpuinfo"]) as box:
        assert acts(box, ("text", "/proc/cpuinfo")) == [""]


# -- the process runtime ---------------------------------------------------------------------------------------------


@pytest.fixture
def plain(host: Host) -> Callable[..., Sandbox]:
    if (reason := host.unavailable("process")) is not None:
        pytest.skip(reason)
    return lambda **wanted: host.create(runtime="process", isolation="standard", **wanted)


def test_a_process_may_use_what_is_allowed_and_change_what_is_not_protected(
    plain: Callable[..., Sandbox], tree: Path
) -> None:
    paths = PathPermissions(
        allowed=(f"{tree}/src", f"{tree}/a", f"{tree}/*.md"), read_only=(f"{tree}/**/*.lock", f"{tree}/a/b")
    )
    with plain(workspace=tree, paths=paths) as box:
        kept = box.enforcement["paths"]
        assert isinstance(kept, Partial)
        assert "nothing can be made, removed or listed" in kept.caveat
        asked: list[tuple[Operation, str]] = [
            (operation, f"{tree}/{name}")
            for name in ("file", ".env", "a/.env", "a/b/key", "lock/pinned", "src/main", "src/deep/x.lock", "x.md")
            for operation in ("read", "write")
        ]  # fmt: skip
        answers = acts(box, *asked)
        assert [a == "ok" for a in answers] == [bool(rule(box).verdict(o, p)) for o, p in asked]
        assert "ok" in answers
        assert acts(box, ("create", f"{tree}/a/b/new"), ("create", f"{tree}/new"), ("list", f"{tree}/a/b")) == [
            "EACCES", "EACCES", ["key", "other"],
        ]  # fmt: skip


def test_a_process_follows_no_link_that_was_put_in_its_way(plain: Callable[..., Sandbox], tree: Path) -> None:
    paths = PathPermissions(allowed=(f"{tree}/src",))
    box = plain(workspace=tree, paths=paths, start=False)
    with box:
        (tree / "src").rename(tree / "was")
        (tree / "src").symlink_to("/etc")
        with pytest.raises(StartError, match=r"landlock: .*/src"):
            box.start()


def test_what_landlock_can_not_keep_is_refused(plain: Callable[..., Sandbox], tree: Path) -> None:
    cases: tuple[Mapping[str, object], ...] = (
        {"workspace": tree, "forbidden": [f"{tree}/**/key"]}, {"forbidden": ["/usr/**/x"]},
        {"paths": PathPermissions(allowed=("/workspace",))}, {"paths": PathPermissions(read_only=("/workspace/*.x",))},
    )  # fmt: skip
    for wanted in cases:
        with pytest.raises(Unenforceable, match=r"Landlock only allows|the work folder lies elsewhere"):
            plain(**wanted)
