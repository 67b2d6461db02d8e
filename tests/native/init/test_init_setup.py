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
from typing import TYPE_CHECKING, Any

import pytest
from cloche_native.agent import (
    Access,
    ExecFlag,
    Failed,
    Landlock,
    Mount,
    MountKind,
    Refused,
    SetupFlag,
    Stage,
    WireError,
    encode_exec,
    receive,
    send,
)
from cloche_native.wire import HEAD, HEAD_MEMFD, Message, Tag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Box = Any  # a fixture's class: fixtures are not imported
ALLOW, ERRNO_EPERM = 0x7FFF0000, 0x00050001


def record(tag: int, payload: bytes) -> bytes:
    return struct.pack("=HHI", tag, 0, len(payload)) + payload


@pytest.fixture
def inside(launch: Callable[..., Box]) -> Callable[..., Box]:
    """Start a box in bubblewrap with a setup."""

    def start(setup: Any) -> Box:
        return launch("bwrap").ready(setup)

    return start


# ---- mounts and what else the inside looks like ----


def test_dev_has_a_few_nodes_and_cannot_be_written(inside: Callable[..., Box], sealed: Any) -> None:
    box = inside(sealed)
    names = set(box.run("ls", "-A", "/dev").stdout.decode().split())
    assert names - {"tty"} == {
        "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero",
    }  # fmt: skip
    script = "echo x > /dev/null; head -c 3 /dev/zero | od -An -tx1; head -c1 /dev/zero > /dev/full; head -c 5 /dev/urandom | wc -c; touch /dev/new; rm /dev/null; echo in > /dev/shm/file; cat /dev/shm/file"
    ran = box.shell(script)
    assert ran.stdout.split() == [b"00", b"00", b"00", b"5", b"in"]
    assert b"No space left" in ran.stderr
    assert ran.stderr.count(b"Read-only file system") == 2
    assert not Path(f"/proc/{box.pid}/root/.dev").exists()


def test_without_options_dev_shm_is_an_empty_read_only_folder(inside: Callable[..., Box], sealed: Any) -> None:
    mounts = [replace(mount, data="") if mount.kind is MountKind.DEV else mount for mount in sealed.mounts]
    box = inside(replace(sealed, mounts=mounts))
    assert b"Read-only" in box.run("touch", "/dev/shm/file").stderr


def test_a_tmpfs_is_as_big_as_asked_in_bytes_and_files(inside: Callable[..., Box], sealed: Any) -> None:
    box = inside(sealed)
    assert box.shell("head -c 4000000 /dev/zero > /tmp/a && rm /tmp/a").code == 0
    assert b"No space left" in box.shell("head -c 5000000 /dev/zero > /tmp/a").stderr
    assert box.shell("rm /tmp/a; for i in $(seq 200); do : > /tmp/$i || exit 1; done; rm /tmp/*").code == 0
    assert b"No space left" in box.shell("for i in $(seq 300); do : > /tmp/$i || exit 1; done").stderr
    options = box.run("grep", " /tmp ", "/proc/self/mounts").stdout
    assert b"nosuid,nodev" in options


def test_proc_can_show_processes_only(inside: Callable[..., Box], sealed: Any) -> None:
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
            os.chown(path, 200001, 200001)
    folder.chmod(0o750)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("source", ["/workspace", "/below"])
def test_an_overlay_keeps_changes_in_memory(
    launch: Callable[..., Box], sealed: Any, lower: Path, source: str
) -> None:
    overlay = Mount(MountKind.OVERLAY, "/workspace", source=source, data="size=1m,nr_inodes=100")
    box = launch("bwrap", more=["--bind", str(lower), source]).ready(replace(sealed, mounts=(*sealed.mounts[:3], overlay)))
    assert box.shell("cd /workspace && cat old/file && echo more >> old/file && cat old/file").stdout == b"old\nold\nmore\n"
    assert box.shell("cd /workspace && echo new > new && mv new old/ && mv old young && ls *").stdout == b"file\nnew\n"
    assert box.shell("cd /workspace && rm -r young && mkdir old && ls -A old; stat -c %a .").stdout == b"750\n"
    assert b"No space left" in box.shell("head -c 2000000 /dev/zero > /workspace/big").stderr
    assert b"nosuid,nodev" in box.run("grep", " /workspace ", "/proc/self/mounts").stdout
    assert [path.relative_to(lower).as_posix() for path in sorted(lower.rglob("*"))] == ["old", "old/file"]
    assert (lower / "old/file").read_text() == "old\n"


def test_an_overlay_takes_a_path_with_special_characters(launch: Callable[..., Box], sealed: Any) -> None:
    odd = "/workspace/a,b:c\\d"
    overlay = Mount(MountKind.OVERLAY, odd, source=odd, data="size=1m")
    more = ["--dir", odd, "--ro-bind", "/etc/passwd", f"{odd}/seen"]
    box = launch("bwrap", more=more).ready(replace(sealed, mounts=(*sealed.mounts[:3], overlay)))
    assert box.run("sh", "-c", "echo x > new && ls", cwd=odd).stdout == b"new\nseen\n"


def test_the_root_can_be_read_only(inside: Callable[..., Box], sealed: Any) -> None:
    assert b"Read-only file system" in inside(sealed).run("touch", "/file").stderr
    assert inside(replace(sealed, flags=sealed.flags & ~SetupFlag.ROOT_RO)).run("touch", "/file").code == 0


def test_the_program_that_runs_the_box_is_out_of_sight(inside: Callable[..., Box], sealed: Any) -> None:
    assert box_sees_init(inside(replace(sealed, flags=SetupFlag.DROP)))
    assert not box_sees_init(inside(sealed))


def box_sees_init(box: Box) -> bool:
    return bool(box.run("test", "-e", "/.cloche").code == 0)


def test_the_host_name_is_set(inside: Callable[..., Box], sealed: Any) -> None:
    box = inside(sealed)
    assert box.run("uname", "-n").stdout == b"glass\n"
    assert platform.node() != "glass"


def test_every_capability_is_dropped(inside: Callable[..., Box], sealed: Any) -> None:
    def sets(box: Box) -> dict[str, int]:
        status = box.run("cat", "/proc/self/status").stdout.decode()
        return {name: int(value, 16) for name, value in re.findall(r"^Cap(\w+):\s*(\w+)$", status, re.MULTILINE)}

    assert sets(inside(sealed)) == {"Inh": 0, "Prm": 0, "Eff": 0, "Bnd": 0, "Amb": 0}
    assert sets(inside(replace(sealed, flags=SetupFlag.NONE)))["Bnd"] != 0


def test_the_oom_killer_prefers_guests(box: Box) -> None:
    assert int(box.run("cat", "/proc/self/oom_score_adj").stdout) >= 500


# ---- Landlock and seccomp ----


def landlock_abi() -> int:
    import ctypes  # noqa: PLC0415 - for this one question

    return int(ctypes.CDLL(None).syscall(444, None, 0, 1))


needs_landlock = pytest.mark.skipif(landlock_abi() < 6, reason="the kernel's Landlock is older than ABI 6 (Linux 6.12)")


@needs_landlock
def test_landlock_rules_hold(launch: Callable[..., Box], kind: str, setup: Any, tmp_path: Path) -> None:
    read = Access.READ | Access.EXECUTE
    system = [(read, f"/{name}") for name in ("usr", "bin", "lib", "lib64") if Path("/", name).exists()]
    rules = [*system, (Access.READ | Access.WRITE, "/tmp"), (Access.READ | Access.WRITE, "/dev/null")]
    box = launch(kind).ready(replace(setup, landlock=Landlock.FS, paths=rules))
    assert box.shell("echo in > /tmp/cloche-l && cat /tmp/cloche-l && mv /tmp/cloche-l /tmp/cloche-m && rm /tmp/cloche-m").stdout == b"in\n"
    assert b"Permission denied" in box.run("cat", "/etc/hostname").stderr
    assert b"Permission denied" in box.run("ls", "/").stderr
    assert b"Permission denied" in box.shell("cp /bin/true /tmp/cloche-t; /tmp/cloche-t; e=$?; rm /tmp/cloche-t; exit $e").stderr
    assert box.run("/etc/hostname").reply == Refused(box.last_id, errno.EACCES, Stage.EXEC)
    control = launch(kind).ready(setup)
    assert control.run("cat", "/etc/passwd").code == 0


@needs_landlock
def test_landlock_closes_tcp(launch: Callable[..., Box], kind: str, setup: Any) -> None:
    script = "import socket\nfor call in ('bind', 'connect'):\n  try: getattr(socket.socket(), call)(('127.0.0.1', 9))\n  except OSError as e: print(e.errno)"
    box = launch(kind).ready(replace(setup, landlock=Landlock.NO_TCP))
    assert box.run("python3", "-c", script).stdout.split() == [b"%d" % errno.EACCES] * 2
    control = launch(kind).ready(setup)
    assert b"%d" % errno.ECONNREFUSED in control.run("python3", "-c", script).stdout.split()


@needs_landlock
def test_landlock_scopes_signals(launch: Callable[..., Box], kind: str, setup: Any) -> None:
    box = launch(kind).ready(replace(setup, landlock=Landlock.SCOPE))
    assert b"not permitted" in box.shell("kill -9 $PPID").stderr
    assert box.shell("sleep 5 & kill $!").code == 0
    control = launch(kind).ready(setup)
    assert control.shell("kill -9 $PPID; sleep 5").code == -9


def test_a_landlock_rule_for_a_missing_path_is_a_failure(launch: Callable[..., Box], bare: Any) -> None:
    reply = launch("bare").failed(replace(bare, landlock=Landlock.FS, paths=[(Access.READ, "/no/such")]))
    assert reply == Failed(errno.ENOENT, "landlock: /no/such: No such file or directory")


def test_landlock_rules_that_would_not_apply_are_a_failure(launch: Callable[..., Box], bare: Any) -> None:
    assert launch("bare").failed(replace(bare, paths=[(Access.READ, "/usr")])).error == errno.EINVAL


def filtered(number: int, action: int) -> bytes:
    """A filter: this action for one system call, all others allowed."""
    load, jump, give = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0), (jump, 0, 1, number), (give, 0, 0, action), (give, 0, 0, ALLOW)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def test_the_filter_is_on_every_program_and_not_on_init(launch: Callable[..., Box], kind: str, setup: Any) -> None:
    number = {"x86_64": 79, "aarch64": 17}[platform.machine()]  # getcwd
    box = launch(kind).ready(replace(setup, seccomp=filtered(number, ERRNO_EPERM)))
    script = "import os\ntry: os.getcwd()\nexcept PermissionError: print('refused')"
    for _ in range(2):
        assert box.run("python3", "-c", script).stdout == b"refused\n"
    assert "Seccomp:\t2" in box.run("cat", "/proc/self/status").stdout.decode()
    assert "Seccomp:\t0" in Path(f"/proc/{box.pid}/status").read_text()
    control = launch(kind).ready(setup)
    assert control.run("python3", "-c", script).stdout == b""


def test_a_filter_that_kills_execve_is_told_as_a_killed_program(launch: Callable[..., Box], bare: Any) -> None:
    number = {"x86_64": 59, "aarch64": 221}[platform.machine()]
    refusing = launch("bare").ready(replace(bare, seccomp=filtered(number, ERRNO_EPERM)))
    assert refusing.run("true").reply == Refused(1, errno.EPERM, Stage.EXEC)
    killing = launch("bare").ready(replace(bare, seccomp=filtered(number, 0x80000000)))
    assert killing.run("true").code == -31  # SIGSYS


def test_a_filter_that_the_kernel_refuses_refuses_programs(launch: Callable[..., Box], bare: Any) -> None:
    box = launch("bare").ready(replace(bare, seccomp=struct.pack("=HBBI", 0xFFFF, 0, 0, 0)))
    assert box.run("true").reply == Refused(1, errno.EINVAL, Stage.SECCOMP)


# ---- failures ----


@pytest.mark.parametrize(
    ("mount", "what"),
    [
        (Mount(MountKind.TMPFS, "/no/such", data="size=1m"), "mount: tmpfs on /no/such with size=1m"),
        (Mount(MountKind.TMPFS, "/tmp", data="size=what"), "mount: tmpfs on /tmp with size=what"),
        (Mount(MountKind.PROC, "/tmp", data="unknown=1"), "mount: proc on /tmp with unknown=1"),
        (Mount(MountKind.DEV, "/dev", source="/nowhere"), "mount: dev: /nowhere"),
        (Mount(MountKind.DEV, "/dev", source="/etc"), "mount: dev: /etc/null"),
        (Mount(MountKind.OVERLAY, "/workspace", source="/nowhere"), "mount: overlay: /nowhere"),
        (Mount(MountKind.OVERLAY, "/workspace", source="/usr", data="size=what"), "mount: overlay: tmpfs on /workspace"),
    ],
)
def test_a_mount_that_fails_is_named(launch: Callable[..., Box], sealed: Any, mount: Mount, what: str) -> None:
    reply = launch("bwrap").failed(replace(sealed, mounts=(*sealed.mounts, mount)))
    assert reply.what.startswith(what)
    assert reply.error in (errno.ENOENT, errno.EINVAL)


def test_without_the_right_to_it_the_bounding_set_stays_and_the_others_are_empty(launch: Callable[..., Box], bare: Any) -> None:
    box = launch("bare").ready(replace(bare, flags=bare.flags | SetupFlag.DROP))
    status = box.run("cat", "/proc/self/status").stdout.decode()
    for name in ("Inh", "Prm", "Eff", "Amb"):
        assert f"Cap{name}:\t{0:016x}\n" in status
    assert "NoNewPrivs:\t1\n" in status


@pytest.mark.parametrize("change", [{"hostname": "x"}, {"flags": SetupFlag.NONE}])
def test_what_a_bare_process_has_no_right_to_is_a_failure(launch: Callable[..., Box], bare: Any, change: Any) -> None:
    if os.geteuid() != 0 and change.get("hostname"):
        pytest.skip("the uid is the tester's own")
    assert launch("bare").failed(replace(bare, **change)).error in (errno.EPERM, errno.EINVAL)


REAPER = record(Tag.FLAGS, struct.pack("=I", SetupFlag.REAPER))


@pytest.mark.parametrize(
    "body",
    [
        b"x",
        REAPER[:-1],
        REAPER + b"\0" * 7,
        REAPER + REAPER,
        struct.pack("=HHI", Tag.FLAGS, 1, 4) + bytes(4),
        struct.pack("=HHI", Tag.FLAGS, 0, 2**32 - 1) + bytes(4),
        record(Tag.FLAGS, struct.pack("=I", 1 << 31)),
        REAPER + record(99, b""),
        REAPER + record(Tag.ARGV, b"true\0"),
        REAPER + record(Tag.HOSTNAME, b""),
        REAPER + record(Tag.HOSTNAME, b"a\0b"),
        REAPER + record(Tag.HOSTNAME, b"x" * 65),
        REAPER + record(Tag.MOUNT, struct.pack("=I", 1) + b"\0/tmp\0"),
        REAPER + record(Tag.MOUNT, struct.pack("=I", 1) + b"\0/tmp\0x"),
        REAPER + record(Tag.MOUNT, struct.pack("=I", 9) + b"\0/tmp\0\0"),
        REAPER + record(Tag.MOUNT, struct.pack("=I", 1) + b"\0tmp\0\0"),
        REAPER + record(Tag.PATH, struct.pack("=I", 1)),
        REAPER + record(Tag.PATH, struct.pack("=I", 8) + b"/usr"),
        REAPER + record(Tag.PATH, struct.pack("=I", 1) + b"/" + b"x" * 4096),
        REAPER + record(Tag.SECCOMP, b""),
        REAPER + record(Tag.SECCOMP, bytes(7)),
        REAPER + record(Tag.SECCOMP, bytes(8 * 4097)),
        REAPER + record(Tag.RLIMIT, bytes(23)),
        REAPER + record(Tag.RLIMIT, struct.pack("=IIQQ", 7, 0, 2, 1)),
        REAPER + record(Tag.AFFINITY, b""),
        REAPER + record(Tag.PIDS, b"\1"),
    ],
)
def test_a_malformed_setup_is_a_failure(launch: Callable[..., Box], body: bytes) -> None:
    reply = launch("bare").failed(HEAD.pack(Message.SETUP, 0, 0) + body)
    assert reply == Failed(errno.EBADMSG, "setup: malformed: Bad message")


def test_the_first_message_must_be_a_setup(launch: Callable[..., Box]) -> None:
    reply = launch("bare").failed(HEAD.pack(Message.QUIT, 0, 0))
    assert reply.what == "setup: not the first message: Bad message"
    box = launch("bare")
    box.sock.close()
    assert box.process.wait(5) == 1


ARGV = record(Tag.ARGV, b"true\0")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\0" * 7,
        HEAD.pack(77, 0, 0),
        HEAD.pack(Message.SETUP, 0, 0) + REAPER,
        HEAD.pack(Message.READY, 0, 0),
        HEAD.pack(Message.QUIT, 0, 0) + b"x",
        HEAD.pack(Message.KILL, 0, 0) + b"x",
        HEAD.pack(Message.PAUSE, 0, 0) + b"x",
        HEAD.pack(Message.SIGNAL, 0, 1) + struct.pack("=II", 65, 0),
        HEAD.pack(Message.SIGNAL, 0, 1) + struct.pack("=II", 0, 0),
        HEAD.pack(Message.SIGNAL, 0, 1) + struct.pack("=II", 9, 3),
        HEAD.pack(Message.SIGNAL, 0, 1),
        HEAD.pack(Message.RESIZE, 0, 1) + b"xxx",
        HEAD.pack(Message.QUIT, 2, 0),
        HEAD.pack(Message.QUIT, HEAD_MEMFD, 0),
        HEAD.pack(Message.EXEC, 0, 0) + ARGV,
        HEAD.pack(Message.EXEC, 0, 1),
        HEAD.pack(Message.EXEC, 0, 1) + record(Tag.ARGV, b""),
        HEAD.pack(Message.EXEC, 0, 1) + record(Tag.ARGV, b"true"),
        HEAD.pack(Message.EXEC, 0, 1) + ARGV + ARGV,
        HEAD.pack(Message.EXEC, 0, 1) + ARGV + record(Tag.CWD, b"tmp"),
        HEAD.pack(Message.EXEC, 0, 1) + ARGV + record(Tag.ENV, b"A=b"),
        HEAD.pack(Message.EXEC, 0, 1) + ARGV + record(Tag.EXEC_FLAGS, struct.pack("=I", 64)),
        HEAD.pack(Message.EXEC, 0, 1) + ARGV + record(Tag.EXEC_FLAGS, struct.pack("=I", ExecFlag.STDIN)),
        HEAD.pack(Message.EXEC, 0, 1) + ARGV + record(Tag.EXEC_FLAGS, struct.pack("=I", ExecFlag.PTY | ExecFlag.STDIN)),
        HEAD.pack(Message.EXEC, 0, 1) + ARGV + REAPER,
    ],
)
def test_a_message_that_is_not_understood_ends_the_box(box: Box, packet: bytes, marker: str, gone: Callable[[str], bool]) -> None:
    box.start("sleep", marker)
    box.sock.send(packet)
    if packet:
        assert box.expect(Failed).error == errno.EBADMSG
        assert box.process.wait(5) == 1
    else:
        assert box.process.wait(5) == 0  # an empty packet cannot be told from the end
    assert gone(marker)


def test_an_exec_id_in_use_ends_the_box(box: Box) -> None:
    box.start("sleep", "5")
    box.ask(encode_exec(box.last_id, ["true"], env={}))
    assert box.expect(Failed).error == errno.EBADMSG


@pytest.mark.parametrize("packet", [HEAD.pack(Message.KILL, 0, 0), encode_exec(5, ["true"], env={})])
def test_descriptors_nobody_asked_for_end_the_box(box: Box, packet: bytes, null: int) -> None:
    box.ask(packet, [null])
    assert box.expect(Failed).error == errno.EBADMSG


def memfd(size: int, *, seal: bool) -> int:
    import fcntl  # noqa: PLC0415

    fd = os.memfd_create("body", os.MFD_ALLOW_SEALING)
    os.truncate(fd, size)
    if seal:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return fd


@pytest.mark.parametrize(("size", "seal"), [(100000, False), (100, True), (4194305, True), (100000, True)])
def test_a_body_that_is_not_sealed_or_of_a_wrong_size_or_empty_of_sense_ends_the_box(box: Box, size: int, seal: bool) -> None:  # noqa: FBT001
    fd = memfd(size, seal=seal)
    send(box.sock, HEAD.pack(Message.EXEC, HEAD_MEMFD, 1), [fd])
    os.close(fd)
    assert box.expect(Failed).error == errno.EBADMSG


def test_a_file_is_no_body(box: Box, null: int) -> None:
    send(box.sock, HEAD.pack(Message.EXEC, HEAD_MEMFD, 1), [null])
    assert box.expect(Failed).error == errno.EBADMSG


def test_a_setup_may_be_big(launch: Callable[..., Box], bare: Any) -> None:
    rules = [(Access.READ, "/usr/" + "./" * 1000 + "bin")] * 60
    box = launch("bare").ready(replace(bare, landlock=Landlock.FS, paths=[(Access.EXECUTE | Access.READ, "/"), *rules]))
    assert len(replace(bare, paths=rules).encode()) > 100000
    assert box.run("true").code == 0


def test_requests_sent_before_the_box_was_ready_are_done(launch: Callable[..., Box], kind: str, setup: Any) -> None:
    box = launch(kind)
    box.ask(setup.encode())
    ran = box.run("echo", "early")
    assert ran.stdout == b"early\n"
    assert box.waiting


def test_a_failure_is_heard_behind_unread_requests(launch: Callable[..., Box], bare: Any) -> None:
    box = launch("bare")
    box.ask(replace(bare, hostname="", mounts=[Mount(MountKind.TMPFS, "/no/such")]).encode())
    for _ in range(3):
        box.ask(encode_exec(box.last_id + 1, ["true"], env={}))
    assert box.process.wait(5) == 1
    assert box.expect(Failed).error in (errno.EPERM, errno.ENOENT)
    with pytest.raises(EOFError):
        receive(box.sock)


def test_nothing_else_comes_out_of_a_box() -> None:
    with pytest.raises(WireError):
        raise WireError("a WireError is a ValueError") from ValueError()
