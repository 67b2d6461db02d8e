from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cloche_native.agent import (
    Access,
    ExecFlag,
    Failed,
    Landlock,
    Mount,
    MountKind,
    SetupFlag,
    encode_exec,
    receive,
    send,
)
from cloche_native.wire import HEAD, HEAD_MEMFD, Message, Tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche_native.agent import Setup
    from tests.native.init.boxes import Box


def record(tag: int, payload: bytes) -> bytes:
    return struct.pack("=HHI", tag, 0, len(payload)) + payload


@pytest.mark.parametrize(
    ("mount", "what"),
    [
        (Mount(MountKind.TMPFS, "/no/such", data="size=1m"), "mount: tmpfs on /no/such with size=1m"),
        (Mount(MountKind.TMPFS, "/tmp", data="size=what"), "mount: tmpfs on /tmp with size=what"),
        (Mount(MountKind.PROC, "/tmp", data="unknown=1"), "mount: proc on /tmp with unknown=1"),
        (Mount(MountKind.DEV, "/dev", source="/nowhere"), "mount: dev: /nowhere"),
        (Mount(MountKind.DEV, "/dev", source="/etc"), "mount: dev: /etc/null"),
        (Mount(MountKind.OVERLAY, "/workspace", source="/nowhere"), "mount: overlay: /nowhere"),
        (
            Mount(MountKind.OVERLAY, "/workspace", source="/usr", data="size=what"),
            "mount: overlay: tmpfs on /workspace",
        ),
    ],
)
def test_a_mount_that_fails_is_named(launch: Callable[..., Box], sealed: Setup, mount: Mount, what: str) -> None:
    reply = launch("bwrap").failed(replace(sealed, mounts=(*sealed.mounts, mount)))
    assert reply.what.startswith(what)
    assert reply.error in (errno.ENOENT, errno.EINVAL)


def test_without_the_right_to_it_the_bounding_set_stays_and_the_others_are_empty(
    launch: Callable[..., Box], bare: Setup
) -> None:
    box = launch("bare").ready(replace(bare, flags=bare.flags | SetupFlag.DROP))
    status = box.run("cat", "/proc/self/status").stdout.decode()
    for name in ("Inh", "Prm", "Eff", "Amb"):
        assert f"Cap{name}:\t{0:016x}\n" in status
    assert "NoNewPrivs:\t1\n" in status


@pytest.mark.parametrize("change", [{"hostname": "x"}, {"flags": SetupFlag.NONE}])
def test_what_a_bare_process_has_no_right_to_is_a_failure(
    launch: Callable[..., Box], bare: Setup, change: dict[str, Any]
) -> None:
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
        REAPER + record(Tag.PATH, struct.pack("=I", 64) + b"/usr"),
        REAPER + record(Tag.PATH, struct.pack("=I", 129) + b"/usr"),
        REAPER + record(Tag.MOUNT, struct.pack("=I", 14) + b"\0/tmp\0\0"),
        REAPER + record(Tag.MOUNT, struct.pack("=I", 5) + b"\0/tmp\0maybe\0"),
        REAPER + record(Tag.MOUNT, struct.pack("=I", 10) + b"\0/tmp\0\0"),
        REAPER + record(Tag.MOUNT, struct.pack("=I", 10) + b"\0tmp\0ro\0"),
        REAPER + record(Tag.MOUNT, struct.pack("=I", 12) + b"\0/tmp/a\0\0"),
        REAPER + record(Tag.MOUNT, struct.pack("=I", 12) + b"/a\0/tmp/a\0\0"),
        REAPER + record(Tag.PATH, struct.pack("=I", 1) + b"/" + b"x" * 4096),
        REAPER + record(Tag.SECCOMP, b""),
        REAPER + record(Tag.SECCOMP, bytes(7)),
        REAPER + record(Tag.SECCOMP, bytes(8 * 4097)),
        REAPER + record(Tag.RLIMIT, bytes(23)),
        REAPER + record(Tag.RLIMIT, struct.pack("=IIQQ", 7, 0, 2, 1)),
        REAPER + record(Tag.AFFINITY, b""),
        REAPER + record(Tag.PIDS, b"\1"),
        REAPER + record(Tag.MEMORY, bytes(9)),
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
        HEAD.pack(Message.LIMITS, 0, 1) + record(Tag.HOSTNAME, b"x"),
        HEAD.pack(Message.LIMITS, 0, 1) + record(Tag.RLIMIT, struct.pack("=IIQQ", 7, 0, 2, 1)),
        HEAD.pack(Message.LIMITS, 0, 1) + record(Tag.MEMORY, bytes(7)),
        HEAD.pack(Message.LIMITS, 0, 1) + record(Tag.MEMORY, bytes(8)) * 2,
        HEAD.pack(Message.LIMITS, 0, 1) + record(Tag.PIDS, bytes(4))[:-1],
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
def test_a_message_that_is_not_understood_ends_the_box(
    box: Box, packet: bytes, marker: str, gone: Callable[[str], bool]
) -> None:
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


def memfd(size: int, seals: int) -> int:
    fd = os.memfd_create("body", os.MFD_ALLOW_SEALING)
    os.truncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK


@pytest.mark.parametrize(("size", "seals"), [(100000, 0), (100, SEALS), (4194305, SEALS), (100000, SEALS)])
def test_a_body_that_is_not_sealed_or_of_a_wrong_size_or_senseless_ends_the_box(
    box: Box, size: int, seals: int
) -> None:
    fd = memfd(size, seals)
    send(box.sock, HEAD.pack(Message.EXEC, HEAD_MEMFD, 1), [fd])
    os.close(fd)
    assert box.expect(Failed).error == errno.EBADMSG


def test_a_file_is_no_body(box: Box, null: int) -> None:
    send(box.sock, HEAD.pack(Message.EXEC, HEAD_MEMFD, 1), [null])
    assert box.expect(Failed).error == errno.EBADMSG


def test_a_setup_may_be_big(launch: Callable[..., Box], bare: Setup) -> None:
    rules = [(Access.READ, "/usr/" + "./" * 1000 + "bin")] * 60
    box = launch("bare").ready(replace(bare, landlock=Landlock.FS, paths=[(Access.EXECUTE | Access.READ, "/"), *rules]))
    assert len(replace(bare, paths=rules).encode()) > 100000
    assert box.run("true").code == 0


def test_requests_sent_before_the_box_was_ready_are_done(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    box = launch(kind)
    box.ask(setup.encode())
    ran = box.run("echo", "early")
    assert ran.stdout == b"early\n"
    assert box.waiting


def test_a_failure_is_heard_behind_unread_requests(launch: Callable[..., Box], bare: Setup) -> None:
    box = launch("bare")
    box.ask(replace(bare, hostname="", mounts=[Mount(MountKind.TMPFS, "/no/such")]).encode())
    with contextlib.suppress(ConnectionError):  # it may have failed already
        for _ in range(3):
            box.ask(encode_exec(box.last_id + 1, ["true"], env={}))
    assert box.process.wait(5) == 1
    assert box.expect(Failed).error in (errno.EPERM, errno.ENOENT)
    with pytest.raises(EOFError):
        receive(box.sock)
