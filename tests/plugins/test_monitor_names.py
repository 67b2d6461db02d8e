"""At depth strict names are made, moved and taken away in the guest's stead: real boxes, in which they are as ever."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

import cloche
from cloche import Act, EventFlag, Monitor, Mount
from cloche_native.rules import Paths, RuleSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("no_leaks")
NAMES = ("mkdir", "mknod", "unlink", "rename", "link", "symlink", "chmod", "chown", "truncate")
BOTH = ("path", "resolved", "target", "target-resolved")
KEEP = RuleSpec(name="keep", acts=frozenset(NAMES), paths=(Paths(("/**/keep*",), texts=BOTH),), answer=errno.EACCES)
HOLD = RuleSpec(name="hold", acts=frozenset({"rename"}), paths=(Paths(("/**/hold",)),), answer=errno.EACCES)
PROGRAM = """
import ctypes, os, stat
os.umask(0o027)
open("one", "w").write("one"); open("keep", "w").close(); open("hold", "w").close(); os.mkdir("folder")
exchange = lambda one, two: ctypes.CDLL(None, use_errno=True).renameat2(-100, one, -100, two, 2) and ctypes.get_errno()
for what in (lambda: os.mkdir("folder/in", 0o777), lambda: oct(os.stat("folder/in").st_mode & 0o777),
             lambda: os.mkfifo("folder/pipe"), lambda: stat.S_ISFIFO(os.stat("folder/pipe").st_mode),
             lambda: os.link("one", "two"), lambda: os.stat("one").st_nlink, lambda: os.rename("two", "folder/two"),
             lambda: os.symlink("folder", "way"), lambda: os.unlink("way/two"), lambda: os.stat("one").st_nlink,
             lambda: os.chmod("one", 0o600), lambda: os.truncate("one", 2), lambda: os.stat("one").st_size,
             lambda: os.chown("one", os.getuid(), os.getgid()), lambda: os.rmdir("folder"), lambda: os.rmdir("mounted"),
             lambda: os.rename("mounted", "away"), lambda: os.rename("one", "keep"), lambda: os.rename("keep", "one"),
             lambda: os.link("keep", "kept"), lambda: os.symlink("one", "keep-too"), lambda: os.truncate("keep", 1),
             lambda: exchange(b"one", b"keep"), lambda: exchange(b"one", b"hold"),
             lambda: os.unlink("folder/../keep"), lambda: os.listdir("mounted"),
             lambda: os.unlink("mounted/file"), lambda: os.unlink("none"), lambda: sorted(os.listdir())):
    try:
        print(what())
    except OSError as error:
        print(-error.errno)
"""
DONE = [
    None, "0o750", None, True, None, 2, None, None, None, 1, None, None, 2, None, -errno.ENOTEMPTY, -errno.EBUSY,
    -errno.EBUSY, *[-errno.EACCES] * 5, errno.EACCES, errno.EACCES, -errno.EACCES, ["file"], -errno.EROFS,
    -errno.ENOENT,
    ["folder", "hold", "keep", "mounted", "one", "way"],
]  # fmt: skip


@pytest.fixture(params=["namespaces", "bwrap"])
def host(request: pytest.FixtureRequest, host_of: Callable[[str], cloche.Host]) -> cloche.Host:
    return host_of(request.param)


def test_names_change_in_the_guest_s_stead_as_the_kernel_changes_them(host: cloche.Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("file")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    monitor = Monitor("strict", acts=frozenset(map(Act, NAMES)), rules=(KEEP, HOLD))
    mounts = [Mount(str(tmp_path), "/workspace/mounted")]
    with host.create(isolation="standard", monitor=monitor, mounts=mounts) as box, box.events() as events:
        done = box.exec("python3", "-c", PROGRAM, cwd="/workspace")
        assert done.text.splitlines() == list(map(str, DONE)), done
        told = [event for event in events.drain() if event.source == "guest"]
        refused = [(event.act, event.result) for event in told if event.flags & EventFlag.MATCHED]
        assert refused == [
            (act, -errno.EACCES)
            for act in (Act.RENAME, Act.RENAME, Act.LINK, Act.SYMLINK, Act.TRUNCATE, Act.RENAME, Act.RENAME, Act.UNLINK)
        ]
        (moved,) = [event for event in told if event.act is Act.RENAME and event.result == 0]
        assert (moved.resolved, moved.target_resolved) == ("/workspace/two", "/workspace/folder/two")
        assert moved.flags & EventFlag.PINNED
        (gone,) = [event for event in told if event.act is Act.UNLINK and event.result == 0]
        assert (gone.path, gone.resolved, gone.claimed("resolved")) == (
            "/workspace/way/two",
            "/workspace/folder/two",
            False,
        )
