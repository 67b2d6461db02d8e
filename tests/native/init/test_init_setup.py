from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import struct
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche_native as native
from cloche_native.agent import (
    Access,
    Failed,
    Landlock,
    Mount,
    MountKind,
    Refused,
    SetupFlag,
    Stage,
)
from tests.native.init.boxes import UID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche_native.agent import Setup
    from tests.native.init.boxes import Box

ALLOW, ERRNO_EPERM = 0x7FFF0000, 0x00050001


@pytest.fixture
def inside(launch: Callable[..., Box]) -> Callable[..., Box]:
    """Start a box in bubblewrap with a setup."""

    def start(setup: Setup) -> Box:
        return launch("bwrap").ready(setup)

    return start


# ---- mounts and what else the inside looks like ----


def test_dev_has_a_few_nodes_and_cannot_be_written(inside: Callable[..., Box], sealed: Setup) -> None:
    box = inside(sealed)
    names = set(box.run("ls", "-A", "/dev").stdout.decode().split())
    assert names - {"tty"} == {
        "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero",
    }  # fmt: skip
    ran = box.shell(
        "echo x > /dev/null; head -c 3 /dev/zero | od -An -tx1; head -c1 /dev/zero > /dev/full;"
        "head -c 5 /dev/urandom | wc -c; touch /dev/new; rm /dev/null; echo in > /dev/shm/file; cat /dev/shm/file"
    )
    assert ran.stdout.split() == [b"00", b"00", b"00", b"5", b"in"]
    assert b"No space left" in ran.stderr
    assert ran.stderr.count(b"Read-only file system") == 2
    assert not Path(f"/proc/{box.pid}/root/.dev").exists()


def test_without_options_dev_shm_is_an_empty_read_only_folder(inside: Callable[..., Box], sealed: Setup) -> None:
    mounts = [replace(mount, data="") if mount.kind is MountKind.DEV else mount for mount in sealed.mounts]
    box = inside(replace(sealed, mounts=mounts))
    assert b"Read-only" in box.run("touch", "/dev/shm/file").stderr


def test_a_tmpfs_is_as_big_as_asked_in_bytes_and_files(inside: Callable[..., Box], sealed: Setup) -> None:
    box = inside(sealed)
    assert box.shell("head -c 4000000 /dev/zero > /tmp/a && rm /tmp/a").code == 0
    assert b"No space left" in box.shell("head -c 5000000 /dev/zero > /tmp/a").stderr
    assert box.shell("rm /tmp/a; for i in $(seq 200); do : > /tmp/$i || exit 1; done; rm /tmp/*").code == 0
    assert b"No space left" in box.shell("for i in $(seq 300); do : > /tmp/$i || exit 1; done").stderr
    options = box.run("grep", " /tmp ", "/proc/self/mounts").stdout
    assert b"nosuid,nodev" in options


def test_proc_can_show_processes_only(inside: Callable[..., Box], sealed: Setup) -> None:
    box = inside(sealed)
    assert box.run("ls", "/proc/sys").code != 0
    assert set(box.run("ls", "/proc").stdout.split()) - {b"self", b"thread-self"} <= {b"%d" % n for n in range(20)}
    control = inside(replace(sealed, mounts=sealed.mounts[1:]))
    assert control.run("ls", "/proc/sys").code == 0


@pytest.fixture
def lower() -> Iterator[Path]:
    """A folder of the box's own user with a file in a folder in it."""
    folder = Path(tempfile.mkdtemp(prefix="init-lower-"))
    (folder / "old").mkdir()
    (folder / "old/file").write_text("old\n")
    if os.geteuid() == 0:
        for path in (folder, folder / "old", folder / "old/file"):
            os.chown(path, UID, UID)
    folder.chmod(0o750)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("source", ["/workspace", "/below"])
def test_an_overlay_keeps_changes_in_memory(
    launch: Callable[..., Box], sealed: Setup, lower: Path, source: str
) -> None:
    overlay = Mount(MountKind.OVERLAY, "/workspace", source=source, data="size=1m,nr_inodes=100")
    box = launch("bwrap", more=["--bind", str(lower), source]).ready(
        replace(sealed, mounts=(*sealed.mounts[:3], overlay))
    )
    assert (
        box.shell("cd /workspace && cat old/file && echo more >> old/file && cat old/file").stdout
        == b"old\nold\nmore\n"
    )
    assert box.shell("cd /workspace && echo new > new && mv new old/ && mv old young && ls *").stdout == b"file\nnew\n"
    assert box.shell("cd /workspace && rm -r young && mkdir old && ls -A old; stat -c %a .").stdout == b"750\n"
    assert b"No space left" in box.shell("head -c 2000000 /dev/zero > /workspace/big").stderr
    assert b"nosuid,nodev" in box.run("grep", " /workspace ", "/proc/self/mounts").stdout
    assert [path.relative_to(lower).as_posix() for path in sorted(lower.rglob("*"))] == ["old", "old/file"]
    assert (lower / "old/file").read_text() == "old\n"


def test_an_overlay_takes_a_path_with_special_characters(launch: Callable[..., Box], sealed: Setup) -> None:
    odd = "/workspace/a,b:c\\d"
    overlay = Mount(MountKind.OVERLAY, odd, source=odd, data="size=1m")
    more = ["--dir", odd, "--ro-bind", "/etc/passwd", f"{odd}/seen"]
    box = launch("bwrap", more=more).ready(replace(sealed, mounts=(*sealed.mounts[:3], overlay)))
    assert box.run("sh", "-c", "echo x > new && ls", cwd=odd).stdout == b"new\nseen\n"


def test_the_root_can_be_read_only(inside: Callable[..., Box], sealed: Setup) -> None:
    assert b"Read-only file system" in inside(sealed).run("touch", "/file").stderr
    assert inside(replace(sealed, flags=sealed.flags & ~SetupFlag.ROOT_RO)).run("touch", "/file").code == 0


def test_the_program_that_runs_the_box_is_out_of_sight(inside: Callable[..., Box], sealed: Setup) -> None:
    assert box_sees_init(inside(replace(sealed, flags=SetupFlag.DROP)))
    assert not box_sees_init(inside(sealed))


def box_sees_init(box: Box) -> bool:
    return bool(box.run("test", "-e", "/.cloche").code == 0)


def test_the_host_name_is_set(inside: Callable[..., Box], sealed: Setup) -> None:
    box = inside(sealed)
    assert box.run("uname", "-n").stdout == b"glass\n"
    assert platform.node() != "glass"


def test_every_capability_is_dropped(inside: Callable[..., Box], sealed: Setup) -> None:
    def sets(box: Box) -> dict[str, int]:
        status = box.run("cat", "/proc/self/status").stdout.decode()
        return {name: int(value, 16) for name, value in re.findall(r"^Cap(\w+):\s*(\w+)$", status, re.MULTILINE)}

    assert sets(inside(sealed)) == {"Inh": 0, "Prm": 0, "Eff": 0, "Bnd": 0, "Amb": 0}
    assert sets(inside(replace(sealed, flags=SetupFlag.NONE)))["Bnd"] != 0


def test_the_oom_killer_prefers_guests(box: Box) -> None:
    assert int(box.run("cat", "/proc/self/oom_score_adj").stdout) >= 500


# ---- Landlock and seccomp ----


needs_landlock = pytest.mark.skipif(
    native.landlock_abi() < 6, reason="the kernel's Landlock is older than ABI 6 (Linux 6.12)"
)


@needs_landlock
def test_landlock_rules_hold(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    read = Access.READ | Access.LIST | Access.EXECUTE
    system = [(read, f"/{name}") for name in ("usr", "bin", "lib", "lib64") if Path("/", name).exists()]
    change = Access.READ | Access.WRITE | Access.CREATE | Access.DELETE
    rules = [*system, (change, "/tmp"), (Access.READ | Access.WRITE, "/dev/null")]
    box = launch(kind).ready(replace(setup, landlock=Landlock.FS, paths=rules))
    assert (
        box.shell(
            "echo in > /tmp/cloche-l && cat /tmp/cloche-l && mv /tmp/cloche-l /tmp/cloche-m && rm /tmp/cloche-m"
        ).stdout
        == b"in\n"
    )
    assert b"Permission denied" in box.run("cat", "/etc/hostname").stderr
    assert b"Permission denied" in box.run("ls", "/").stderr
    assert (
        b"Permission denied"
        in box.shell("cp /bin/true /tmp/cloche-t; /tmp/cloche-t; e=$?; rm /tmp/cloche-t; exit $e").stderr
    )
    assert box.run("/etc/hostname").reply == Refused(box.last_id, errno.EACCES, Stage.EXEC)
    control = launch(kind).ready(setup)
    assert control.run("cat", "/etc/passwd").code == 0


@needs_landlock
def test_landlock_closes_tcp(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    script = """
import socket
for call in ('bind', 'connect'):
    try:
        getattr(socket.socket(), call)(('127.0.0.1', 9))
    except OSError as error:
        print(error.errno)
"""
    box = launch(kind).ready(replace(setup, landlock=Landlock.NO_TCP))
    assert box.run("python3", "-c", script).stdout.split() == [b"%d" % errno.EACCES] * 2
    control = launch(kind).ready(setup)
    assert b"%d" % errno.ECONNREFUSED in control.run("python3", "-c", script).stdout.split()


@needs_landlock
def test_landlock_scopes_signals(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    box = launch(kind).ready(replace(setup, landlock=Landlock.SCOPE))
    assert b"not permitted" in box.shell("kill -9 $PPID").stderr
    assert box.shell("sleep 5 & kill $!").code == 0
    control = launch(kind).ready(setup)
    assert control.shell("kill -9 $PPID; sleep 5").code == -9


def test_a_landlock_rule_for_a_missing_path_is_a_failure(launch: Callable[..., Box], bare: Setup) -> None:
    reply = launch("bare").failed(replace(bare, landlock=Landlock.FS, paths=[(Access.READ, "/no/such")]))
    assert reply == Failed(errno.ENOENT, "landlock: /no/such: No such file or directory")


def test_landlock_rules_that_would_not_apply_are_a_failure(launch: Callable[..., Box], bare: Setup) -> None:
    assert launch("bare").failed(replace(bare, paths=[(Access.READ, "/usr")])).error == errno.EINVAL


def filtered(number: int, action: int) -> bytes:
    """A filter: this action for one system call, all others allowed."""
    load, jump, give = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0), (jump, 0, 1, number), (give, 0, 0, action), (give, 0, 0, ALLOW)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def test_the_filter_is_on_every_program_and_on_init_itself(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    number = {"x86_64": 79, "aarch64": 17}[platform.machine()]  # getcwd
    box = launch(kind).ready(replace(setup, seccomp=filtered(number, ERRNO_EPERM)))
    script = "import os\ntry: os.getcwd()\nexcept PermissionError: print('refused')"
    for _ in range(2):
        assert box.run("python3", "-c", script).stdout == b"refused\n"
    assert "Seccomp:\t2" in box.run("cat", "/proc/self/status").stdout.decode()
    assert "Seccomp:\t2" in Path(f"/proc/{box.pid}/status").read_text()
    control = launch(kind).ready(setup)
    assert control.run("python3", "-c", script).stdout == b""


def test_a_filter_that_kills_execve_is_told_as_a_killed_program(launch: Callable[..., Box], bare: Setup) -> None:
    number = {"x86_64": 59, "aarch64": 221}[platform.machine()]
    refusing = launch("bare").ready(replace(bare, seccomp=filtered(number, ERRNO_EPERM)))
    assert refusing.run("true").reply == Refused(1, errno.EPERM, Stage.EXEC)
    killing = launch("bare").ready(replace(bare, seccomp=filtered(number, 0x80000000)))
    assert killing.run("true").code == -31  # SIGSYS


def test_a_filter_that_the_kernel_refuses_ends_the_box_before_any_program(
    launch: Callable[..., Box], bare: Setup
) -> None:
    box = launch("bare").ready(replace(bare, seccomp=struct.pack("=HBBI", 0xFFFF, 0, 0, 0)))
    told = box.next()
    assert isinstance(told, Failed)
    assert (told.error, told.what.split(":")[0]) == (errno.EINVAL, "seccomp")


RIGHTS = """
import json, os, sys
def act(what, path):
    if what == "read":
        open(path).read()
    elif what == "list":
        os.listdir(path)
    elif what == "write":
        os.close(os.open(path, os.O_WRONLY))
    elif what == "truncate":
        os.truncate(path, 2)
    elif what == "create":
        os.mknod(path, 0o600)
    elif what == "delete":
        os.unlink(path)
for what, path in [line.split() for line in sys.argv[1:]]:
    try:
        act(what, path)
        print(what, "ok")
    except OSError as error:
        print(what, error.errno)
"""


@needs_landlock
@pytest.mark.parametrize(
    ("access", "allowed"),
    [
        (Access.READ, {"read"}), (Access.LIST, {"list"}), (Access.WRITE, {"write", "truncate"}),
        (Access.CREATE, {"create"}), (Access.DELETE, {"delete"}), (Access.READ | Access.LIST, {"read", "list"}),
        (Access.CREATE | Access.DELETE, {"create", "delete"}), (Access.READ | Access.NO_LINKS, {"read"}),
    ],
)  # fmt: skip
def test_each_landlock_right_is_one_of_its_own(
    launch: Callable[..., Box], bare: Setup, tmp_path: Path, access: Access, allowed: set[str]
) -> None:
    top = tmp_path / "top"
    top.mkdir()
    for path in (tmp_path, *tmp_path.parents[:-2]):
        path.chmod(0o755)
    top.chmod(0o777)
    read = Access.READ | Access.LIST | Access.EXECUTE
    system = [(read, f"/{name}") for name in ("usr", "bin", "lib", "lib64") if Path("/", name).exists()]
    acts = [f"read {top}/f", f"list {top}", f"write {top}/f", f"truncate {top}/f", f"create {top}/n", f"delete {top}/g"]
    answers = {}
    everything = [(read | Access.WRITE | Access.CREATE | Access.DELETE, "/")]
    for name, paths in (("held", [*system, (access, str(top))]), ("control", everything)):
        for file in ("f", "g"):
            (top / file).write_text("content")
            (top / file).chmod(0o666)
        box = launch("bare").ready(replace(bare, landlock=Landlock.FS, paths=paths))
        lines = box.run("python3", "-c", RIGHTS, *acts).stdout.decode().splitlines()
        answers[name] = dict(line.split() for line in lines)
        (top / "n").unlink(missing_ok=True)
    assert set(answers["control"].values()) == {"ok"}
    assert {act for act, answer in answers["held"].items() if answer == "ok"} == allowed
    assert {answer for answer in answers["held"].values() if answer != "ok"} == {str(errno.EACCES)}


@needs_landlock
def test_a_landlock_rule_may_refuse_links_in_its_path(launch: Callable[..., Box], bare: Setup, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "by").symlink_to("real")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    how = Access.READ | Access.NO_LINKS
    rules = [(how, str(tmp_path / "by"))]
    assert launch("bare").failed(replace(bare, landlock=Landlock.FS, paths=rules)).error == errno.ELOOP
    launch("bare").ready(replace(bare, landlock=Landlock.FS, paths=[(how, str(tmp_path / "real"))]))
    launch("bare").ready(replace(bare, landlock=Landlock.FS, paths=[(Access.READ, str(tmp_path / "by"))]))
