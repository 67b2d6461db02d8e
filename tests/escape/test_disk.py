"""Filling what a box may write to, and leaving what its host can't remove."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cloche import Enforced, Mount, Workspace
from tests.escape.attack import Attack, Sight, attack, attacks, own_kernel

if TYPE_CHECKING:
    from cloche import Sandbox
    from tests.escape.conftest import Create

Strike = Callable[..., Sight]
Stopped = Callable[[str], None]
DISK = 16 << 20
MEMORY = 96 << 20


def fill(act: str, tries: str, much: str = "200", little: str = "2") -> Attack:
    return Attack(
        id=f"disk-{act}", tries=tries, breaks="disk", program=("disk", act, much), control="own",
        harmless=("disk", act, little),
    )  # fmt: skip


FILLS = [
    fill("written", "write until there is no room"),
    fill("allocated", "reserve room without writing"),
    fill("sparse", "fill a sparse file from behind, punching holes"),
    fill("mapped", "fill a file by a mapping"),
    fill("deleted", "fill files that have no name any more"),
    fill("files", "a million empty files in one folder", "1000000", "20"),
    fill("hard-links", "a million names of one file", "1000000", "20"),
    fill("symbolic", "symbolic links with long targets", "1000000", "20"),
    fill("deep", "a hundred thousand folders in each other", "100000", "3"),
    fill("attributes", "attributes of files in place of files", "100000", "1"),
]


@attacks(FILLS, levels=("enhanced",))
def test_the_room_on_disk_is_bounded_against(
    attack: Attack, create: Create, neighbour: Sandbox, strike: Strike, stopped: Stopped
) -> None:
    box = create(limits={"disk": DISK, "memory": MEMORY}, require=["disk"])
    little = strike(box, *attack.harmless)
    if own_kernel(box) and little.error == "EOPNOTSUPP":
        stopped("EOPNOTSUPP: there are none")
        return
    assert little.done
    free = shutil.disk_usage(tempfile.gettempdir()).free
    found = strike(box, *attack.program)
    assert not found.done, found
    assert box.stats()["memory_peak"] <= MEMORY
    assert box.stats()["disk_used"] <= DISK
    assert shutil.disk_usage(tempfile.gettempdir()).free > free - (256 << 20)  # others write, too
    assert strike(neighbour, "disk", "written", "1").done
    box.delete()
    assert box.deleted
    stopped("SIGBUS: no room" if found.signal == 7 else "killed for memory" if found.signal == 9 else found.words())


@attack("file-size", "one file larger than a file may be", "file_size", levels=("enhanced", "maximum"))
def test_no_file_grows_beyond_its_bound(create: Create, strike: Strike, stopped: Stopped) -> None:
    box = create(limits={"file_size": "4M"})
    assert strike(box, "disk", "large", "3").done
    found = strike(box, "disk", "large", "5")
    assert (found.done, found.error) == (False, "EFBIG")
    assert int(box.exec("sh", "-c", "wc -c < large").text) <= 4 << 20
    stopped(found.words())


LEFT = [
    Attack(id="left-deep", tries="leave folders deeper than any path", breaks="process",
           program=("disk", "deep", "60")),
    Attack(id="left-many", tries="leave two thousand files", breaks="process", program=("disk", "files", "2000")),
    Attack(id="left-shut", tries="leave names of every byte in folders without rights", breaks="process",
           program=("disk", "stubborn")),
]  # fmt: skip


@attacks(LEFT, levels=("enhanced",))
def test_the_box_is_deleted_all_the_same_after_it_could(
    attack: Attack, create: Create, strike: Strike, stopped: Stopped
) -> None:
    before = set(os.listdir(tempfile.gettempdir()))
    box = create()
    assert strike(box, *attack.program).done
    box.delete()
    assert box.deleted
    left = {name for name in set(os.listdir(tempfile.gettempdir())) - before if name.startswith("cloche")}
    assert left == set()
    stopped("removed with the box")


@attack("overlay-filled", "write through an overlay to the folder below", "disk", levels=("enhanced", "maximum"))
def test_an_overlay_keeps_the_folder_below_and_its_size(create: Create, strike: Strike, stopped: Stopped) -> None:
    below = Path(tempfile.mkdtemp(prefix="below-"))
    below.chmod(0o755)
    (below / "old").write_text("old\n")
    try:
        box = create(workspace=Workspace("overlay", str(below)), limits={"disk": DISK})
        acts = "echo new > old; rm old; ln -s / old; setfattr -n user.overlay.redirect -v / . 2>/dev/null; cat old/old"
        box.exec("sh", "-c", acts)
        assert strike(box, "disk", "written", "2").done
        assert not strike(box, "disk", "written", "30").done
        assert ((below / "old").read_text(), os.listdir(below)) == ("old\n", ["old"])
    finally:
        shutil.rmtree(below)
    stopped("written to memory above it, sized")


@attack("written-unclaimed", "fill a folder of the host by a report that says it is bounded", "filesystem")
def test_a_folder_of_the_host_is_never_reported_as_bounded(create: Create, stopped: Stopped) -> None:
    folder = Path(tempfile.mkdtemp(prefix="given-"))
    folder.chmod(0o777)
    try:
        box = create(mounts=[Mount(str(folder), str(folder), read_only=False)])
        assert box.exec("sh", "-c", f"echo x > {folder}/x").ok
        assert not isinstance(box.enforcement["disk"], Enforced)
    finally:
        shutil.rmtree(folder)
    stopped("the report says that it may grow")
