"""Snapshots of a tree and what differs between two."""

from __future__ import annotations

import json
import os
import time
from dataclasses import FrozenInstanceError, replace
from typing import TYPE_CHECKING, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche import FileKind, FileStat, LimitExceeded, SpecError
from cloche.files import saved
from cloche.files.tree import Seen, Snapshot, TreeLimits, diff, printable, snapshot
from tests.unit.rooted import Rooted

if TYPE_CHECKING:
    from pathlib import Path

    from cloche.files.tree import TreeDiff
    from cloche.files.vfs import OpenMode


@pytest.fixture
def vfs(tmp_path: Path) -> Rooted:
    (tmp_path / "w" / "src").mkdir(parents=True)
    (tmp_path / "w" / "src" / "main.py").write_bytes(b"print(42)")
    (tmp_path / "w" / "notes").write_bytes(b"one")
    (tmp_path / "w" / "link").symlink_to("notes")
    return Rooted(str(tmp_path))


def changes(vfs: Rooted, before: Snapshot) -> TreeDiff:
    return diff(before, snapshot(vfs, "/w", content=before.content))


def test_a_snapshot_names_everything_below_its_folder(vfs: Rooted) -> None:
    taken = snapshot(vfs, "/w")
    assert list(taken.entries) == ["link", "notes", "src", "src/main.py"]
    assert [seen.stat.kind for seen in taken.entries.values()] == [
        FileKind.LINK, FileKind.FILE, FileKind.FOLDER, FileKind.FILE,
    ]  # fmt: skip
    assert taken.entries["link"].stat.target == "notes"
    assert repr(taken) == "Snapshot(/w, 4 names)"
    with pytest.raises(FrozenInstanceError):
        taken.path = "/"  # type: ignore[misc]
    assert list(snapshot(vfs, "/").entries) == ["w", *(f"w/{name}" for name in taken.entries)]


@pytest.mark.parametrize("content", [False, True])
def test_where_nothing_was_done_nothing_differs(vfs: Rooted, *, content: bool) -> None:
    before = snapshot(vfs, "/w", content=content)
    same = changes(vfs, before)
    assert not same
    assert len(same) == 0
    assert str(same) == ""


@pytest.mark.parametrize("content", [False, True])
def test_a_difference_reads_like_a_status(vfs: Rooted, tmp_path: Path, *, content: bool) -> None:
    before = snapshot(vfs, "/w", content=content)
    root = tmp_path / "w"
    (root / "notes").write_bytes(b"two and more")
    (root / "notes").chmod(0o755)
    (root / "src" / "main.py").rename(root / "src" / "app.py")
    (root / "new\x1b[31m").mkdir()
    (root / "link").unlink()
    (root / "link").symlink_to("else\nwhere")
    assert str(changes(vfs, before)).splitlines() == [
        'M  link (-> "else\\nwhere")',
        'A  "new\\x1b[31m/"',
        "M  notes (content, mode 644 -> 755)",
        "R  src/main.py -> src/app.py",
    ]
    (root / "link").unlink()
    (root / "link").mkdir()
    (root / "src" / "app.py").unlink()
    found = changes(vfs, before)
    assert "T  link/ (link -> folder)" in str(found)
    assert "D  src/main.py" in str(found)
    assert set(found.removed) == {"src/main.py"}


def test_equal_size_and_a_time_put_back_hide_no_change(vfs: Rooted, tmp_path: Path) -> None:
    file = tmp_path / "w" / "notes"
    old = file.stat()
    for content, said in ((False, ("touched",)), (True, ("content",))):
        before = snapshot(vfs, "/w", content=content)
        file.write_bytes(b"ONE" if file.read_bytes() == b"one" else b"one")
        os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
        found = changes(vfs, before)
        assert [(change.path, change.what) for change in found.changed] == [("notes", said)]


def test_a_change_in_the_tick_of_the_snapshot_is_not_missed(vfs: Rooted, tmp_path: Path) -> None:
    file = tmp_path / "w" / "notes"
    for turn in range(5):
        file.write_bytes(b"%3d" % turn)
        before = snapshot(vfs, "/w")
        assert before.entries["notes"].settled
        old = file.stat()
        file.write_bytes(b"%3d" % (turn + 100))
        os.utime(file, ns=(old.st_atime_ns, old.st_mtime_ns))
        assert [change.path for change in changes(vfs, before).changed] == ["notes"]


def test_a_file_that_never_stood_still_counts_as_touched(vfs: Rooted) -> None:
    class Busy(Rooted):
        """Each look at a file finds it changed just now, and then not again."""

        def stat(self, path: str) -> FileStat:
            return replace(super().stat(path), changed_ns=time.time_ns())

    before = snapshot(Busy(vfs.root), "/w")
    assert not before.entries["notes"].settled
    found = diff(before, before)
    assert [change.what for change in found.changed if change.path == "notes"] == [("touched",)]
    assert "src" not in {change.path for change in found.changed}


def test_touching_without_change_shows_only_without_digests(vfs: Rooted, tmp_path: Path) -> None:
    plain, exact = snapshot(vfs, "/w"), snapshot(vfs, "/w", content=True)
    os.utime(tmp_path / "w" / "notes")
    assert [change.what for change in changes(vfs, plain).changed] == [("content",)]
    assert not changes(vfs, exact)
    assert exact.entries["notes"].digest == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


def test_a_moved_folder_is_one_move_with_all_that_is_in_it(vfs: Rooted, tmp_path: Path) -> None:
    before = snapshot(vfs, "/w")
    (tmp_path / "w" / "src").rename(tmp_path / "w" / "lib")
    assert str(changes(vfs, before)) == "R  src -> lib/"
    (tmp_path / "w" / "lib" / "main.py").rename(tmp_path / "w" / "top.py")
    found = changes(vfs, before)
    assert "R  src/main.py -> top.py" in str(found)


def test_an_inode_number_used_again_is_no_move(vfs: Rooted) -> None:
    before = snapshot(vfs, "/w", content=True)
    seen = before.entries["notes"]
    other = {"else": replace(seen, stat=replace(seen.stat, modified_ns=1))}
    assert not diff(before, Snapshot("/w", other, content=True)).moved
    other = {"else": replace(seen, digest="0" * 64)}
    assert not diff(before, Snapshot("/w", other, content=True)).moved
    assert diff(before, Snapshot("/w", {"else": seen}, content=True)).moved
    twice = {"else": seen, "also": seen}
    assert len(diff(before, Snapshot("/w", twice, content=True)).added) == 1
    assert not diff(Snapshot("/w", twice, content=True), Snapshot("/w", {"notes": seen}, content=True)).moved


def test_pipes_and_sockets_are_seen_and_never_opened(vfs: Rooted, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w" / "pipe")
    before = snapshot(vfs, "/w", content=True)
    assert before.entries["pipe"].stat.kind is FileKind.PIPE
    assert before.entries["pipe"].digest is None
    os.unlink(tmp_path / "w" / "pipe")
    os.mkfifo(tmp_path / "w" / "other")
    os.rename(tmp_path / "w" / "other", tmp_path / "w" / "pipe")
    assert [change.what for change in changes(vfs, before).changed] == [("touched",)]


def test_what_vanishes_or_turns_meanwhile_has_no_digest(vfs: Rooted, tmp_path: Path) -> None:
    class Racing(Rooted):
        def stat(self, path: str) -> FileStat:
            (tmp_path / "w" / "notes").unlink(missing_ok=True)
            return super().stat(path)

        def open(self, path: str, mode: OpenMode = "r", *, permissions: int = 0o644) -> BinaryIO:
            (tmp_path / "w" / "notes").unlink(missing_ok=True)
            main = tmp_path / "w" / "src" / "main.py"
            if main.is_file():
                main.unlink()
                main.symlink_to("/etc/passwd")
            return super().open(path, mode, permissions=permissions)

    racing = Racing(vfs.root)
    assert "notes" not in snapshot(racing, "/w").entries
    (tmp_path / "w" / "notes").write_bytes(b"x")
    taken = snapshot(racing, "/w", content=True)
    assert "notes" not in taken.entries
    assert taken.entries["src/main.py"].digest is None


def test_a_tree_beyond_its_limits_is_refused(vfs: Rooted) -> None:
    with pytest.raises(LimitExceeded, match=r"more than 3 names; raise limits\.entries"):
        snapshot(vfs, "/w", limits=TreeLimits(entries=3))
    assert len(snapshot(vfs, "/w", limits=TreeLimits(entries=4, content=12), content=True)) == 4
    with pytest.raises(LimitExceeded, match=r"limits\.content"):
        snapshot(vfs, "/w", limits=TreeLimits(content=11), content=True)
    with pytest.raises(SpecError, match="entries"):
        TreeLimits(entries=0)
    with pytest.raises(SpecError, match="content"):
        TreeLimits(content="lots")


@given(st.text() | st.binary().map(os.fsdecode))
def test_a_printable_name_is_one_line_that_changes_no_terminal(name: str) -> None:
    said = printable(name)
    assert said.isprintable()
    assert said == name or said.startswith('"')


def test_names_are_escaped_as_a_person_can_read_them() -> None:
    assert printable("Größe 1.txt") == "Größe 1.txt"
    assert printable(os.fsdecode(b"a\xffb")) == '"a\\xffb"'
    assert printable("a\x1b[2J\n\u202e") == '"a\\x1b[2J\\n\\u202e"'
    assert printable('a"b\\c') == '"a\\"b\\\\c"'


def test_ten_thousand_names_are_compared_in_well_under_a_second() -> None:
    stat = FileStat(kind=FileKind.FILE, size=1, mode=0o644, modified_ns=1, changed_ns=1, inode=1, links=1)
    one = Snapshot("/", {f"a/{n}": Seen(replace(stat, inode=n)) for n in range(10_000)}, content=False)
    two = Snapshot("/", {f"b/{n}": seen for n, seen in enumerate(one.entries.values())}, content=False)
    began = time.perf_counter()
    assert len(diff(one, two).moved) == 10_000
    assert time.perf_counter() - began < 1


stats = st.builds(
    FileStat, kind=st.sampled_from(FileKind), size=st.integers(0, 1 << 62), mode=st.integers(0, 0o7777),
    modified_ns=st.integers(-(1 << 62), 1 << 62), changed_ns=st.integers(0, 1 << 62), inode=st.integers(0, 1 << 62),
    links=st.integers(0, 1 << 30),
    target=st.none() | st.binary(max_size=20).map(lambda raw: os.fsdecode(raw.replace(b"\0", b""))),
)  # fmt: skip
names = (
    st.binary(min_size=1, max_size=20).map(os.fsdecode).filter(lambda n: n not in {".", ".."} and not {*n} & {*"/\0"})
)


@given(st.dictionaries(names, st.builds(Seen, stats, st.none() | st.just("0f" * 32), st.booleans())), st.booleans())
def test_a_snapshot_comes_back_from_what_was_saved(entries: dict[str, Seen], content: bool) -> None:  # noqa: FBT001 - given's
    taken = Snapshot("/w", dict(sorted(entries.items())), content)
    assert saved.load(saved.dump(taken)) == taken


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[" * 100_000, b"\xff", b"[]", b"{}", b'{"cloche":"snapshot","version":2}',
        b'{"cloche":"snapshot","version":1}',
        b'{"cloche":"snapshot","version":1,"content":true,"path":5,"entries":{}}',
        b'{"cloche":"snapshot","version":1,"content":true,"path":"/a/../b","entries":{}}',
        b'{"cloche":"snapshot","version":1,"content":true,"path":"/a","entries":{"../x":{}}}',
        b'{"cloche":"snapshot","version":1,"content":true,"path":"/a","entries":{"x":[]}}',
    ],
)  # fmt: skip
def test_what_is_no_saved_snapshot_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(SpecError, match="kept"):
        saved.load(data, "kept")


@given(st.sampled_from(["size", "kind", "mode", "digest", "settled", "target", "more", "inode"]),
       st.sampled_from([None, 1.5, True, "x", [], {}, 1 << 80]))  # fmt: skip
def test_a_saved_name_with_a_wrong_value_is_refused(key: str, value: object) -> None:
    stat = FileStat(kind=FileKind.FILE, size=1, mode=1, modified_ns=1, changed_ns=1, inode=1, links=1)
    plain = json.loads(saved.dump(Snapshot("/w", {"a": Seen(stat)}, content=False)))
    plain["entries"]["a"][key] = value
    data = json.dumps(plain).encode()
    if (key, value) in [("settled", True), ("digest", None), ("target", None), ("target", "x")]:
        assert len(saved.load(data)) == 1
    else:
        with pytest.raises(SpecError):
            saved.load(data)
