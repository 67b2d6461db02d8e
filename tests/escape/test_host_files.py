"""What a guest does to a host that reads, writes, packs, compares and watches its files."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloche import (
    ArchiveError,
    ArchiveLimits,
    Change,
    ChangeKind,
    FileError,
    LimitExceeded,
    Limits,
    NotFound,
    SpecError,
    Workspace,
)
from tests.escape.attack import Sight, attack, own_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche import Job, Sandbox
    from tests.escape.conftest import Create

SECRET = b"the host's own words"
RACE = 1  # second, for each runtime; what the host does with a folder is the same for all of them
CARELESS = 20  # tries a turn: the control must win on a busy machine too
TYPED = (FileError, NotFound)
"""What a host may be told when the tree changes under its hands."""


@dataclass(frozen=True)
class Lair:
    """A work folder on the host's disk, and beside it what no guest and no link of one may reach."""

    work: Path
    secret: Path
    outside: Path

    def untouched(self) -> bool:
        return os.listdir(self.outside) == [] and self.secret.read_bytes() == SECRET


@pytest.fixture
def lair() -> Iterator[Lair]:
    folder = Path(tempfile.mkdtemp(prefix="lair-"))  # pytest's own folders are closed to other users
    folder.chmod(0o755)
    lair = Lair(folder / "work", folder / "secret", folder / "outside")
    lair.work.mkdir()
    lair.work.chmod(0o777)
    lair.outside.mkdir(0o700)
    lair.secret.write_bytes(SECRET)
    lair.secret.chmod(0o600)
    try:
        yield lair
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)  # of any depth


@pytest.fixture
def bound(create: Create, lair: Lair) -> Sandbox:
    """Give a box that works in the lair's folder, so that a careless host can be compared with."""
    return create(workspace=Workspace(kind="bind", source=str(lair.work)))


@pytest.fixture
def swapping(bound: Sandbox, lair: Lair, programs: Path) -> Callable[[], Iterator[int]]:
    """Swap a file and a folder with links out of the box, for as long as the turns that it gives are taken."""

    def turns() -> Iterator[int]:
        seconds = RACE * (5 if own_kernel(bound) else 1)  # there a swap takes longer, and few are met half-way
        job = bound.spawn(str(programs / "hosttree"), "swap", str(seconds), str(lair.secret), str(lair.outside))
        wait_for(lambda: (lair.work / "d.link").is_symlink() or (lair.work / "d").is_symlink())
        number = 0
        while job.running:
            yield (number := number + 1)
        assert ended(job).done

    return turns


def ended(job: Job) -> Sight:
    return Sight.of(job.wait(60))


def wait_for(ready: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not ready():
        assert time.monotonic() < until, "the attack did not begin"
        time.sleep(0.001)


def careless(act: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it gives
    """Do what a host without care would do; the race may make that fail too."""
    try:
        return act()
    except OSError:
        return None


# -- links swapped in under the host's hands --------------------------------------------------------------------------


@attack("swap-export", "swap a file for a link to the host's secret while the host packs the tree", "filesystem")
def test_an_export_in_a_race_never_packs_the_hosts_secret(
    bound: Sandbox, lair: Lair, swapping: Callable[[], Iterator[int]], stopped: Callable[[str], None]
) -> None:
    tricked = packed = turns = 0
    for turns in swapping():  # noqa: B007 - how many it were is told below
        tricked += sum(careless((lair.work / "spot").read_bytes) == SECRET for _ in range(CARELESS))
        out = io.BytesIO()
        try:
            packed += bound.files.export_archive(".", out).files > 0
        except TYPED:
            continue
        assert SECRET not in out.getvalue()
    assert tricked, "the race was never won by the careless way: it shows nothing"
    assert packed
    stopped(f"no link followed: 0 of {turns} tries (careless: {tricked})")


@attack("swap-snapshot", "swap a file for a link to the host's secret while the host takes digests", "filesystem")
def test_a_snapshot_in_a_race_never_has_the_digest_of_the_secret(
    bound: Sandbox, lair: Lair, swapping: Callable[[], Iterator[int]], stopped: Callable[[str], None]
) -> None:
    wanted = hashlib.sha256(SECRET).hexdigest()
    tricked = taken = turns = 0
    for turns in swapping():  # noqa: B007 - how many it were is told below
        tricked += sum(careless((lair.work / "spot").read_bytes) == SECRET for _ in range(CARELESS))
        try:
            seen = bound.files.snapshot(content=True).entries
        except TYPED:
            continue
        taken += any(one.digest for one in seen.values())
        assert wanted not in {one.digest for one in seen.values()}
        assert not any(name.startswith("d.link/") and name != "d.link/inside" for name in seen)
    assert tricked
    assert taken
    stopped(f"no link followed: 0 of {turns} tries (careless: {tricked})")


@attack("swap-import", "swap a folder for a link out of the box while the host unpacks into it", "filesystem")
def test_an_import_in_a_race_never_writes_outside(
    bound: Sandbox, lair: Lair, swapping: Callable[[], Iterator[int]], stopped: Callable[[str], None]
) -> None:
    archive = tar(("d/planted", b"planted"), ("d/e/planted", b"planted"))
    tricked = turn = made = 0
    for turn in swapping():
        if turn % 2:
            for _ in range(CARELESS):
                careless(lambda: (lair.work / "d" / "careless").write_bytes(b""))
            tricked += (lair.outside / "careless").exists()
            (lair.outside / "careless").unlink(missing_ok=True)
        try:
            bound.files.import_archive(io.BytesIO(archive), replace=True)
            made += 1
            bound.files.remove("d/planted")
        except TYPED:
            pass  # the race went against it
        assert lair.untouched()
    assert tricked
    stopped(f"no link followed: 0 of {turn} tries, {made} made (careless: {tricked})")
    assert not [name for name in os.listdir(lair.work) if name.startswith(".cloche-import")]


@attack("swap-watch", "swap a folder for a link out of the box while the host watches", "filesystem")
def test_a_watch_in_a_race_never_tells_of_what_is_outside(
    bound: Sandbox, lair: Lair, swapping: Callable[[], Iterator[int]], stopped: Callable[[str], None]
) -> None:
    turn = 0
    told: list[Change] = []
    with bound.files.watch() as watching:
        for turn in swapping():
            (lair.outside / f"hidden{turn}").touch()
            told += watching.take(0)
            (lair.outside / f"hidden{turn}").unlink()
        until = time.monotonic() + 10
        while not any(c.path.endswith("/seen") for c in told) and time.monotonic() < until:
            bound.files.write("seen", b"")  # again: the first may be among what an overflow stands for
            told += watching.take(0.5)
    assert any(c.path.endswith("/seen") for c in told)
    assert not any("hidden" in c.path for c in told)
    lost = sum(change.kind is ChangeKind.OVERFLOW for change in told)
    stopped(f"no link followed: 0 of {turn} tries, {len(told)} changes told, {lost} losses said")


# -- what is no file --------------------------------------------------------------------------------------------------


@attack("special-files", "leave a pipe, a socket or a device where the host expects a file", "filesystem")
def test_pipes_sockets_and_devices_are_named_and_never_opened(
    bound: Sandbox, lair: Lair, strike: Callable[..., Sight], stopped: Callable[[str], None]
) -> None:
    found = strike(bound, "hosttree", "specials")
    assert found.done
    assert "device" not in found.saw
    if own_kernel(bound) and not os.path.lexists(lair.work / "pipe"):
        stopped("they are of the guest's kernel alone")
        return
    assert stat.S_ISFIFO((lair.work / "pipe").stat().st_mode)  # who opens it waits for ever
    began = time.monotonic()
    told = bound.files.export_archive(".", out := io.BytesIO())
    assert "pipe" in told.skipped
    assert set(told.skipped) <= {"pipe", "socket"}
    assert told.files == 1
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        assert archive.getnames() == ["file"]
    taken = bound.files.snapshot(content=True)
    assert taken.entries["pipe"].digest is None
    assert taken.entries["file"].digest is not None
    with pytest.raises(FileError, match="there already"):
        bound.files.import_archive(io.BytesIO(tar(("pipe", b"x"))))
    assert time.monotonic() - began < 10
    stopped("left out, named, never opened")


# -- archives made inside ---------------------------------------------------------------------------------------------


def tar(*members: tuple[str, bytes], link: tuple[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        if link is not None:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = tarfile.SYMTYPE, link[1]
            made.addfile(info)
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


@attack("archive-slip", "hand the host a tar whose names and links lead out", "filesystem")
def test_an_archive_of_the_guest_can_not_write_outside(
    bound: Sandbox, lair: Lair, tmp_path: Path, stopped: Callable[[str], None]
) -> None:
    script = (
        "ln -s ../../outside d && tar cf slip.tar d && rm d && mkdir d && echo planted > d/planted "
        "&& tar rf slip.tar d/planted && echo planted > up && tar cPf up.tar --transform=s,up,../outside/planted, up"
    )
    bound.exec("sh", "-c", script).check()
    naive = tmp_path / "a" / "b"
    naive.mkdir(parents=True)
    (tmp_path / "a" / "outside").mkdir()
    with tarfile.open(lair.work / "up.tar") as archive:
        archive.extractall(naive, filter="fully_trusted")  # noqa: S202 - to show that it is hostile
    assert (tmp_path / "a" / "outside" / "planted").exists()  # so it is what it seems
    for name in ("slip.tar", "up.tar"):
        with bound.files.open(name) as source, pytest.raises(ArchiveError):
            bound.files.import_archive(source, "into")
        assert bound.files.list("into") == []
    assert lair.untouched()
    with bound.files.open("slip.tar") as source, pytest.raises(ArchiveError, match="lies in d, which it makes a link"):
        bound.files.import_archive(source, "into", links="any")
    assert lair.untouched()
    stopped("ArchiveError, nothing made")


@attack("archive-bomb", "hand the host an archive that unpacks to a thousand times its size", "filesystem")
def test_a_bomb_of_the_guest_is_refused_and_leaves_nothing(
    bound: Sandbox, lair: Lair, stopped: Callable[[str], None]
) -> None:
    script = "truncate -s 40M zeros && tar czf bomb.tgz zeros && rm zeros && echo small > s && tar czf small.tgz s"
    bound.exec("sh", "-c", script, timeout=60).check()
    assert (lair.work / "bomb.tgz").stat().st_size < 1 << 20
    with bound.files.open("small.tgz") as source:
        assert bound.files.import_archive(source, "into").files == 1
    with bound.files.open("bomb.tgz") as source, pytest.raises(LimitExceeded, match="ratio"):
        bound.files.import_archive(source, "bomb")
    assert bound.files.list("bomb") == []
    assert sum(path.stat().st_blocks for path in lair.work.rglob("*")) * 512 < 10 << 20
    stopped("LimitExceeded, nothing left")


@attack("archive-rewritten", "write an archive anew while the host reads it", "filesystem")
def test_an_archive_that_changes_while_it_is_read_gives_what_it_is_or_an_error(
    bound: Sandbox, lair: Lair, programs: Path, stopped: Callable[[str], None]
) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for number in range(30):
            archive.writestr(f"z{number}", os.urandom(100))
    bound.files.write("one", zipped.getvalue())
    bound.files.write("two", tar(*((f"t{number}", b"2" * 500) for number in range(30))))
    with bound.files.open("one") as source:
        assert bound.files.import_archive(source, "control").files == 30
    bound.files.write("a", zipped.getvalue())
    job = bound.spawn(str(programs / "hosttree"), "rewrite", str(RACE))
    turns = refused = 0
    limits = ArchiveLimits(size=20_000, entries=40)
    while job.running:
        turns += 1
        with bound.files.open("a") as source:
            try:
                told = bound.files.import_archive(source, f"in{turns}", limits=limits)
            except (ArchiveError, LimitExceeded):
                refused += 1
                assert bound.files.list(f"in{turns}") == []
            else:
                assert told.files == len(bound.files.list(f"in{turns}")) <= 40
        bound.files.remove(f"in{turns}", recursive=True)
    assert ended(job).done
    assert refused
    assert lair.untouched()
    stopped(f"{refused} of {turns} refused, the others were whole")


# -- trees of any shape -----------------------------------------------------------------------------------------------


@attack("tree-deep", "nest folders deeper than any path can say", "filesystem")
def test_a_tree_deeper_than_paths_is_a_typed_error_and_can_be_removed(
    bound: Sandbox, lair: Lair, strike: Callable[..., Sight], stopped: Callable[[str], None]
) -> None:
    assert strike(bound, "hosttree", "deep", "5").done
    assert len(bound.files.snapshot()) == 6
    bound.files.remove("d" * 200, recursive=True)
    assert strike(bound, "hosttree", "deep", "600").done
    with pytest.raises((FileError, SpecError)):
        bound.files.snapshot()
    with pytest.raises((FileError, SpecError)):
        bound.files.export_archive(".", io.BytesIO())
    with bound.files.watch() as watching:
        assert [change.kind for change in watching.take(5)] == [ChangeKind.OVERFLOW]
    bound.files.remove("d" * 200, recursive=True)
    assert os.listdir(lair.work) == []
    stopped("typed error; a watch tells of the loss")


@attack("tree-many", "make tens of thousands of files", "filesystem")
def test_tens_of_thousands_of_files_are_looked_at_within_the_hosts_bounds(
    create: Create, strike: Callable[..., Sight], stopped: Callable[[str], None]
) -> None:
    box = create(limits=Limits(disk="256M", files=120_000), strict=False)  # where the disk is bounded at all
    found = strike(box, "hosttree", "many", "30000", timeout=100)
    assert found.done, found
    began = time.monotonic()
    before = box.files.snapshot()
    assert len(before) == 30_030
    took = time.monotonic() - began
    box.files.write("n7/7777", b"x")
    assert str(box.files.diff(before)) == "M  n7/7777 (content)"
    with pytest.raises(LimitExceeded, match=r"limits\.entries"):
        box.files.export_archive(".", io.BytesIO(), limits=ArchiveLimits(entries=30_000))
    assert took < 60
    stopped("bounded; all seen")


@attack("names-hostile", "name files so that a terminal or a log obeys them", "filesystem")
def test_names_are_shown_escaped_and_kept_as_they_are(bound: Sandbox, stopped: Callable[[str], None]) -> None:
    before = bound.files.snapshot()
    names = ("esc\\033[2J", "two\\nlines", "bytes\\377", "rlo\\342\\200\\256")
    bound.exec("sh", "-c", " ; ".join(f"touch \"$(printf '{name}')\"" for name in names)).check()
    found = bound.files.diff(before)
    assert set(found.added) == {"esc\x1b[2J", "two\nlines", os.fsdecode(b"bytes\xff"), "rlo\u202e"}
    lines = str(found).splitlines()
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
    with pytest.raises(FileError) as caught:
        bound.files.export_archive(".", io.BytesIO(), format="zip")
    assert str(caught.value).isprintable()
    bound.files.export_archive(".", out := io.BytesIO())
    out.seek(0)
    bound.files.import_archive(out, "copy", names="any")
    assert {entry.name for entry in bound.files.list("copy")} == set(found.added)
    stopped("escaped wherever they are shown")


@attack("hidden-change", "change a file and put its size and times back", "filesystem")
def test_a_change_can_not_be_hidden_from_a_diff(
    bound: Sandbox, lair: Lair, strike: Callable[..., Sight], stopped: Callable[[str], None]
) -> None:
    bound.exec("sh", "-c", "printf GOOD > kept; printf GOOD > other").check()
    plain, exact = bound.files.snapshot(), bound.files.snapshot(content=True)
    old = (lair.work / "kept").stat()
    assert strike(bound, "hosttree", "hide").done
    now = (lair.work / "kept").stat()
    assert (now.st_size, now.st_mtime_ns) == (old.st_size, old.st_mtime_ns)  # so a careless host sees nothing
    assert (lair.work / "kept").read_bytes() == b"EVIL"
    assert str(bound.files.diff(plain)) == "M  kept (touched)"
    assert str(bound.files.diff(exact)) == "M  kept (content)"
    stopped("seen: the time of any change can't be put back")


# -- storms -----------------------------------------------------------------------------------------------------------


@attack("watch-storm", "make, rename and remove folders faster than the host can watch them", "filesystem")
def test_a_storm_of_folders_neither_ends_a_watch_nor_hides_a_loss(
    bound: Sandbox, programs: Path, stopped: Callable[[str], None]
) -> None:
    with bound.files.watch() as watching:
        job = bound.spawn(str(programs / "hosttree"), "storm", str(RACE))
        told = lost = 0
        while job.running:
            changes = watching.take(0.2)
            told += len(changes)
            lost += sum(change.kind is ChangeKind.OVERFLOW for change in changes)
        assert ended(job).done
        watching.take(0.2)
        bound.exec("mkdir", "-p", "calm/deep").check()
        seen: list[Change] = []
        until = time.monotonic() + 10
        while not any(c.path.endswith("calm/deep/last") for c in seen) and time.monotonic() < until:
            bound.files.write("calm/deep/last", b"")
            seen += watching.take(0.5)
    assert any(change.path.endswith("calm/deep/last") for change in seen)
    assert told
    stopped(f"{told} changes told, {lost} losses said")


@attack("watch-too-many", "make more folders than the host means to watch", "filesystem")
def test_too_many_folders_end_a_watch_with_a_word(bound: Sandbox, stopped: Callable[[str], None]) -> None:
    with bound.files.watch(most=50) as watching:
        bound.exec("sh", "-c", "mkdir few && touch few/file").check()
        assert any(change.path.endswith("few") for change in watching.take(5))
        bound.exec("sh", "-c", "i=0; while [ $i -lt 100 ]; do mkdir f$i; i=$((i+1)); done").check()
        with pytest.raises(LimitExceeded, match="more than 50 folders"):
            list(watching)
        assert list(watching) == []
    stopped("LimitExceeded, never silence")
