"""A box that was entered directly: its root folder, its ids, its network."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche_native.agent import Failed, Mount, MountKind, SetupFlag
from tests.native.init.boxes import OUTSIDE, SYSTEM, UID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche_native.agent import Setup
    from tests.native.init.boxes import Box


@pytest.fixture
def enter(launch: Callable[..., Box], entered: Setup) -> Callable[..., Box]:
    """Give a box with further mounts."""

    def start(*more: Mount, **changes: object) -> Box:
        return launch("entered").ready(replace(entered, mounts=(*entered.mounts, *more), **changes))  # type: ignore[arg-type]

    return start


@pytest.fixture
def refuse(launch: Callable[..., Box], entered: Setup) -> Callable[..., Failed]:
    """Give why a setup fails."""

    def start(*more: Mount, **changes: object) -> Failed:
        fields: dict[str, object] = {"mounts": (*entered.mounts, *more), **changes}
        reply: Failed = launch("entered").failed(replace(entered, **fields))  # type: ignore[arg-type]
        return reply

    return start


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of the box's own user, with a file."""
    path = Path(tempfile.mkdtemp(prefix="init-root-"))
    (path / "file").write_text("from outside\n")
    if os.geteuid() == 0:
        for item in (path, path / "file"):
            os.chown(item, UID, UID)
    yield path
    shutil.rmtree(path)


def bind(source: Path | str, target: str, how: str = "ro") -> Mount:
    return Mount(MountKind.BIND, target, str(source), how)


# ---- what is there ----


def test_only_what_was_asked_for_is_mounted(enter: Callable[..., Box], folder: Path) -> None:
    box = enter(bind(folder, "/workspace/in/deep"))
    lines = box.run("cat", "/proc/self/mountinfo").stdout.decode().splitlines()
    points = {line.split()[4] for line in lines}
    nodes = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "pts", "shm")}
    asked = {m.target for m in (*SYSTEM, bind(folder, "/workspace/in/deep")) if m.kind is MountKind.BIND}
    assert points == {"/", "/proc", "/tmp", "/workspace"} | nodes | asked
    assert box.run("ls", "-A", "/").stdout.decode().split() == sorted(
        {"proc", "dev", "tmp", "workspace", *(m.target[1:] for m in SYSTEM)}
    )
    assert not any("shared:" in line or "master:" in line for line in lines)  # nothing follows the host's mounts


def test_the_root_folder_and_what_is_bound_to_read_can_not_be_written(enter: Callable[..., Box], folder: Path) -> None:
    box = enter(bind(folder, "/shown"), bind(folder, "/open", "rw"))
    for path in ("/new", "/usr/new", "/shown/file", "/dev/new"):
        assert b"Read-only" in box.shell(f"echo x > {path}").stderr, path
    assert box.shell("echo inside > /open/file; cat /shown/file").stdout == b"inside\n"
    assert (folder / "file").read_text() == "inside\n"


def test_what_is_bound_carries_no_set_user_id_and_no_devices(enter: Callable[..., Box], folder: Path) -> None:
    lines = enter(bind(folder, "/open", "rw")).run("grep", " /open ", "/proc/self/mountinfo").stdout
    assert b"nosuid,nodev" in lines


def test_a_file_can_be_bound_over_a_file_and_where_none_is(enter: Callable[..., Box], folder: Path) -> None:
    box = enter(bind(folder / "file", "/etc/hostname"), bind(folder / "file", "/tmp/a/b/c"))
    assert box.run("cat", "/etc/hostname", "/tmp/a/b/c").stdout == b"from outside\n" * 2


def test_folders_and_links_are_made(enter: Callable[..., Box]) -> None:
    box = enter(Mount(MountKind.FOLDER, "/x/y", data="0751"), Mount(MountKind.SYMLINK, "/to", "/x/y"))
    assert box.run("stat", "-c", "%a", "/x/y").stdout == b"751\n"
    assert box.run("readlink", "/to").stdout == b"/x/y\n"


def test_a_mask_covers_a_folder_a_file_and_what_a_link_leads_to(enter: Callable[..., Box], folder: Path) -> None:
    (folder / "secret").mkdir()
    (folder / "secret/key").write_text("secret\n")
    (folder / "link").symlink_to("/open/secret")
    masked = [Mount(MountKind.MASK, path) for path in ("/open/secret", "/open/file", "/none", "/open/file/none")]
    control = enter(bind(folder, "/open", "rw"))
    assert control.shell("cat /open/secret/key /open/file").stdout == b"secret\nfrom outside\n"
    box = enter(bind(folder, "/open", "rw"), *masked)
    assert b"denied" in box.run("ls", "/open/secret").stderr
    assert b"denied" in box.run("cat", "/open/link/key").stderr
    assert box.run("cat", "/open/file").stdout == b""
    assert box.shell("echo x > /open/file; rmdir /open/secret; rm -f /open/file").code != 0
    assert (folder / "secret/key").read_text() == "secret\n"
    assert (folder / "file").read_text() == "from outside\n"
    through = enter(bind(folder, "/open", "rw"), Mount(MountKind.MASK, "/open/link"))
    assert b"denied" in through.run("ls", "/open/secret").stderr


def test_a_mask_holds_over_an_overlay(enter: Callable[..., Box], folder: Path) -> None:
    overlay = Mount(MountKind.OVERLAY, "/work", source="/work", data="size=1m,mode=0755")
    box = enter(bind(folder, "/work"), overlay, Mount(MountKind.MASK, "/work/file"))
    assert box.shell("cat /work/file; echo new > /work/new; cat /work/new").stdout == b"new\n"


def test_links_in_what_is_bound_lead_nowhere_outside(enter: Callable[..., Box], folder: Path) -> None:
    # What a guest could have left in its work folder, to have the next setup walk out of the box by it.
    for name, there in (("up", "/.."), ("root", "/proc/1/root"), ("far", "../../../../.."), ("self", "/proc/self/cwd")):
        (folder / name).symlink_to(there)
        made = Path("/tmp") / f"init-root-{os.getpid()}-{name}"
        box = enter(bind(folder, "/open", "rw"), bind(folder / "file", f"/open/{name}/tmp/{made.name}"))
        assert not made.exists()
        box.close()


# ---- who and where ----


def test_only_the_box_s_own_user_is_mapped(enter: Callable[..., Box]) -> None:
    box = enter()
    assert box.run("cat", "/proc/self/uid_map").stdout.split() == [b"1000", b"%d" % OUTSIDE[0], b"1"]
    assert box.run("cat", "/proc/self/gid_map").stdout.split() == [b"1000", b"%d" % OUTSIDE[1], b"1"]
    assert box.run("cat", "/proc/self/setgroups").stdout == b"deny\n"
    inside = enter(ids=(0, OUTSIDE[0], 0, OUTSIDE[1]))
    assert inside.run("id", "-u").stdout == b"0\n"
    assert inside.run("cat", "/proc/self/uid_map").stdout.split() == [b"0", b"%d" % OUTSIDE[0], b"1"]


def test_root_of_the_host_is_never_mapped(refuse: Callable[..., Failed]) -> None:
    assert refuse(ids=(0, 0, 0, 0)) == Failed(
        errno.EPERM, "ids: root of the host is not mapped into a box: Operation not permitted"
    )


def test_another_user_of_the_host_can_not_be_mapped(refuse: Callable[..., Failed]) -> None:
    reply = refuse(ids=(1000, OUTSIDE[0] + 1, 1000, OUTSIDE[1]))
    assert (reply.error, reply.what.split(":")[0]) == (errno.EPERM, "ids")


def test_every_namespace_is_the_box_s_own(enter: Callable[..., Box]) -> None:
    listed = enter().shell("readlink /proc/self/ns/*").stdout.decode().split()
    ours = {os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}
    kinds = {link.split(":")[0] for link in listed if link not in ours}
    assert kinds == {"user", "mnt", "pid", "ipc", "uts", "cgroup", "net"}
    assert set(listed) & ours == {os.readlink("/proc/self/ns/time")}


def test_the_network_is_a_loopback_that_is_up_only_if_asked(enter: Callable[..., Box], entered: Setup) -> None:
    ask = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(*[n for _, n in socket.if_nameindex()])"
    assert enter().run("python3", "-c", ask).stdout == b"lo\n"
    down = enter(flags=entered.flags & ~SetupFlag.LOOPBACK)
    assert down.run("cat", "/sys/class/net/lo/flags").code != 0
    assert (
        b"unreachable" in down.run("python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 9))").stderr
    )
    shared = enter(flags=entered.flags & ~(SetupFlag.LOOPBACK | SetupFlag.NETWORK))
    assert shared.run("readlink", "/proc/self/ns/net").stdout.decode().strip() == os.readlink("/proc/self/ns/net")


def test_no_capability_is_left(enter: Callable[..., Box]) -> None:
    for ids in ((1000, *OUTSIDE[:1], 1000, OUTSIDE[1]), (0, OUTSIDE[0], 0, OUTSIDE[1])):
        status = enter(ids=ids).run("cat", "/proc/self/status").stdout.decode()
        for name in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
            assert f"Cap{name}:\t{0:016x}\n" in status
        assert "NoNewPrivs:\t1\n" in status


def test_the_program_that_runs_the_box_can_not_be_looked_at(enter: Callable[..., Box]) -> None:
    box = enter()
    for name in ("exe", "cwd", "root", "fd", "map_files"):
        assert box.run("ls", "-L", f"/proc/1/{name}").code != 0, name
    assert box.run("cat", "/proc/1/maps").code != 0
    assert box.shell("tr '\\0' ' ' < /proc/1/cmdline").stdout.split() == [b"cloche-init"]


# ---- what fails ----


@pytest.mark.parametrize(
    ("mount", "error", "what"),
    [
        (bind("/no/such", "/x"), errno.ENOENT, "mount: /no/such on /x"),
        (bind("/etc/passwd", "/usr"), errno.EINVAL, "mount: on /usr"),
        (bind("/etc", "/usr/no-such"), errno.EROFS, "mount: on /usr/no-such"),
        (Mount(MountKind.PROC, "/p", data="unknown=1"), errno.EINVAL, "mount: proc on /p"),
        (Mount(MountKind.TMPFS, "/t", data="size=what"), errno.EINVAL, "mount: tmpfs on /t"),
        (Mount(MountKind.SYMLINK, "/tmp", "x"), errno.EEXIST, "mount: link: /tmp"),
        (Mount(MountKind.FOLDER, "/usr/x", data="0755"), errno.EROFS, "mount: folder: /usr/x"),
        (Mount(MountKind.ROOT, "/"), errno.EINVAL, "root: asked for twice"),
        (Mount(MountKind.DEV, "/d", source="/etc"), errno.ENOENT, "mount: dev: /etc/null"),
    ],
)
def test_a_part_that_can_not_be_had_is_named(
    refuse: Callable[..., Failed], mount: Mount, error: int, what: str
) -> None:
    reply = refuse(mount)
    assert (reply.error, reply.what.startswith(what)) == (error, True), reply


def test_a_root_with_bad_options_is_named(refuse: Callable[..., Failed], entered: Setup) -> None:
    root = Mount(MountKind.ROOT, "/", data="size=what")
    assert refuse(mounts=(root, *entered.mounts[1:])).what.startswith("root: tmpfs with size=what")


def test_parts_of_the_host_need_a_root_of_their_own(launch: Callable[..., Box], sealed: Setup) -> None:
    reply = launch("bwrap").failed(replace(sealed, mounts=(*sealed.mounts, bind("/usr", "/tmp/x"))))
    assert reply.what.startswith("mount: /tmp/x: only below a root of its own")


@pytest.mark.parametrize(
    "mount",
    [
        Mount(MountKind.ROOT, "/elsewhere"),
        Mount(MountKind.BIND, "/x", "relative", "ro"),
        Mount(MountKind.BIND, "/x", "/usr", "maybe"),
        Mount(MountKind.SYMLINK, "/x", ""),
        Mount(MountKind.FOLDER, "/x", data="755"),
        Mount(MountKind.FOLDER, "/x", data="0799"),
    ],
)
def test_a_malformed_mount_is_a_failure(refuse: Callable[..., Failed], mount: Mount) -> None:
    assert refuse(mount).what == "setup: malformed: Bad message"


# ---- what is taken away again ----


def again(target: str, how: str = "ro") -> Mount:
    return Mount(MountKind.AGAIN, target, data=how)


def test_a_part_made_read_only_stays_so_and_can_not_be_moved_away(enter: Callable[..., Box], folder: Path) -> None:
    (folder / "deep" / "part").mkdir(parents=True)
    (folder / "deep" / "part" / "file").write_text("kept\n")
    owned(folder)
    box = enter(bind(folder, "/open", "rw"), again("/open/deep", "rw"), again("/open/deep/part"))
    assert b"Read-only" in box.shell("echo x > /open/deep/part/file").stderr
    assert b"Read-only" in box.shell("touch /open/deep/part/new").stderr
    assert b"busy" in box.shell("mv /open/deep /open/other").stderr
    assert b"busy" in box.shell("rmdir /open/deep/part").stderr
    assert box.shell("ln /open/deep/part/file /open/linked").code != 0
    assert box.shell("cat /open/deep/part/file; touch /open/deep/new /open/new").stdout == b"kept\n"
    assert (folder / "deep" / "new").exists()
    control = enter(bind(folder, "/open", "rw"))
    assert control.shell("touch /open/deep/part/new && mv /open/deep /open/other").code == 0


def test_what_must_be_there_is_covered_without_following_a_link(enter: Callable[..., Box], folder: Path) -> None:
    (folder / "secret").mkdir()
    owned(folder)
    masks = [Mount(MountKind.MASK, f"/open/{name}", data="there") for name in ("secret", "file")]
    box = enter(bind(folder, "/open", "rw"), *masks, Mount(MountKind.MASK, "/open/made/up", data="make"))
    assert box.shell("cat /open/file").stdout == b""
    assert b"denied" in box.shell("ls /open/secret").stderr
    assert b"denied" in box.shell("touch /open/made/up/x").stderr
    assert b"busy" in box.shell("rmdir /open/made/up").stderr
    assert (folder / "file").read_text() == "from outside\n"
    assert (folder / "made" / "up").is_dir()


@pytest.mark.parametrize(
    ("mount", "error"),
    [
        (Mount(MountKind.MASK, "/open/none", data="there"), errno.ENOENT),
        (Mount(MountKind.MASK, "/open/file/none", data="make"), errno.ENOTDIR),
        (Mount(MountKind.MASK, "/open/link", data="there"), errno.ELOOP),
        (Mount(MountKind.MASK, "/open/link", data="make"), errno.ELOOP),
        (Mount(MountKind.MASK, "/open/out/passwd", data="there"), errno.ELOOP),
        (again("/open/link"), errno.ELOOP),
        (again("/open/none", "rw"), errno.ENOENT),
        (Mount(MountKind.ONLY, "/open/out", data="size=4k"), errno.ELOOP),
        (Mount(MountKind.ONLY, "/open/none", data="size=4k"), errno.ENOENT),
        (Mount(MountKind.ONLY, "/open/file", data="size=4k"), errno.EINVAL),
        (Mount(MountKind.SHOW, "/open/file", "file"), errno.EINVAL),
        (Mount(MountKind.SEAL, "/open/file"), errno.EINVAL),
    ],
)
def test_a_path_that_is_not_as_it_was_is_a_failure(
    refuse: Callable[..., Failed], folder: Path, mount: Mount, error: int
) -> None:
    (folder / "link").symlink_to("file")
    (folder / "out").symlink_to("/usr")
    assert refuse(bind(folder, "/open", "rw"), mount).error == error


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("link", errno.ELOOP),
        ("out/bin", errno.ELOOP),
        ("none", errno.ENOENT),
        ("../usr", errno.EXDEV),
        ("a/../..", errno.EXDEV),
    ],
)
def test_only_a_part_of_what_was_covered_is_shown_again(
    refuse: Callable[..., Failed], folder: Path, source: str, error: int
) -> None:
    (folder / "a").mkdir()
    (folder / "link").symlink_to("file")
    (folder / "out").symlink_to("/usr")
    only = Mount(MountKind.ONLY, "/open", data="size=64k,mode=755")
    assert refuse(bind(folder, "/open", "rw"), only, Mount(MountKind.SHOW, "/open/x", source)).error == error


def test_a_folder_may_show_some_of_its_parts_alone(enter: Callable[..., Box], folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "inner").write_text("inner\n")
    (folder / "a" / "other").write_text("other\n")
    (folder / "secret").write_text("secret\n")
    owned(folder)
    only = Mount(MountKind.ONLY, "/open", data="size=64k,nr_inodes=16,mode=755")
    shows = [Mount(MountKind.SHOW, "/open/a/b", "a/b"), Mount(MountKind.SHOW, "/open/file", "file")]
    box = enter(bind(folder, "/open", "rw"), only, *shows, Mount(MountKind.SEAL, "/open"))
    assert box.shell("cd /open && find . | sort").stdout.decode().split() == [
        ".",
        "./a",
        "./a/b",
        "./a/b/inner",
        "./file",
    ]
    assert b"Read-only" in box.shell("touch /open/new").stderr
    assert b"Read-only" in box.shell("touch /open/a/new").stderr
    assert box.shell("touch /open/a/b/new; echo more >> /open/file; cat /open/file").stdout == b"from outside\nmore\n"
    assert box.shell("rm /open/file").code != 0
    assert (folder / "a" / "b" / "new").exists()
    assert not (folder / "new").exists()


def owned(folder: Path) -> None:
    if os.geteuid() == 0:
        for top, _, files in os.walk(folder):
            for path in (top, *(os.path.join(top, name) for name in files)):
                os.chown(path, UID, UID)
