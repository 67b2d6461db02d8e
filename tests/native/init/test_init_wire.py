"""The host's side of the wire, without any box."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloche_native import agent, wire
from cloche_native.agent import (
    Access,
    Cause,
    Done,
    ExecFlag,
    Exited,
    Failed,
    Mount,
    MountKind,
    Ready,
    Refused,
    Reply,
    Setup,
    SetupFlag,
    Stage,
    Started,
    WireError,
    control_pair,
    decode,
    encode_exec,
    encode_kill,
    encode_limits,
    encode_resize,
    encode_signal,
    receive,
    send,
)
from cloche_native.wire import HEAD, Message, Tag

HEADER = Path(__file__).parents[3] / "native/src/cdef.h"


def header_values() -> dict[str, int]:
    """Every constant that the header gives a value."""
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    return {name: int(value) for name, value in re.findall(r"\bCLO_(\w+)\s*=\s*(\d+)", text)}


PREFIXES: dict[type[IntEnum | IntFlag], str] = {
    wire.Message: "MSG_", wire.Tag: "TAG_", wire.Scope: "SCOPE_", wire.Stage: "STAGE_", wire.Cause: "CAUSE_",
    wire.SetupFlag: "SETUP_", wire.MountKind: "MOUNT_", wire.Landlock: "LANDLOCK_", wire.Access: "ACCESS_",
    wire.ExecFlag: "EXEC_",
}  # fmt: skip


@pytest.mark.parametrize("kind", PREFIXES, ids=lambda kind: kind.__name__)
def test_numbers_are_those_of_the_header(kind: type[IntEnum | IntFlag]) -> None:
    prefix = PREFIXES[kind]
    theirs = {name.removeprefix(prefix): value for name, value in header_values().items() if name.startswith(prefix)}
    ours = {name: int(member) for name, member in kind.__members__.items() if name != "NONE"}
    assert ours == theirs


def test_limits_are_those_of_the_header() -> None:
    for name in ("WIRE_VERSION", "WIRE_INLINE", "WIRE_BODY_MAX", "CONTROL_FD", "HEAD_MEMFD"):
        assert getattr(wire, name) == header_values()[name], name


def records(packet: bytes) -> list[tuple[int, bytes]]:
    at, found = HEAD.size, []
    while at < len(packet):
        tag, zero, size = struct.unpack_from("=HHI", packet, at)
        assert zero == 0
        found.append((tag, packet[at + 8 : at + 8 + size]))
        at += 8 + size
    assert at == len(packet)
    return found


def test_a_setup_is_its_records_in_order() -> None:
    setup = Setup(
        hostname="h", flags=SetupFlag.DROP,
        mounts=[Mount(MountKind.TMPFS, "/a", data="size=1"), Mount(MountKind.DEV, "/dev", "/.dev")],
        landlock=wire.Landlock.FS, paths=[(Access.READ, "/usr")], seccomp=bytes(16), rlimits=[(7, 1, -1)],
        affinity=frozenset({0, 65}), pids=9, memory=1 << 33,
    )  # fmt: skip
    packet = setup.encode()
    assert HEAD.unpack_from(packet) == (Message.SETUP, 0, 0)
    assert records(packet) == [
        (Tag.FLAGS, b"\2\0\0\0"),
        (Tag.HOSTNAME, b"h"),
        (Tag.MOUNT, b"\1\0\0\0\0/a\0size=1\0"),
        (Tag.MOUNT, b"\3\0\0\0/.dev\0/dev\0\0"),
        (Tag.LANDLOCK, b"\1\0\0\0"),
        (Tag.PATH, b"\1\0\0\0/usr"),
        (Tag.SECCOMP, bytes(16)),
        (Tag.RLIMIT, struct.pack("=IIQQ", 7, 0, 1, 2**64 - 1)),
        (Tag.PIDS, b"\t\0\0\0"),
        (Tag.MEMORY, struct.pack("=Q", 1 << 33)),
        (Tag.AFFINITY, b"\1" + bytes(7) + b"\2" + bytes(7)),
    ]
    assert records(Setup().encode()) == [(Tag.FLAGS, bytes(4))]


def test_new_limits_are_their_records() -> None:
    packet = encode_limits(7, rlimits=[(7, 8, 9)], pids=3, memory=4096)
    assert HEAD.unpack_from(packet) == (Message.LIMITS, 0, 7)
    assert records(packet) == [
        (Tag.RLIMIT, struct.pack("=IIQQ", 7, 0, 8, 9)),
        (Tag.PIDS, struct.pack("=I", 3)),
        (Tag.MEMORY, struct.pack("=Q", 4096)),
    ]
    wrong: list[dict[str, Any]] = [{"memory": -1}, {"memory": 1 << 64}, {"pids": -1}, {"rlimits": [(7, 2, 1)]}]
    for bad in wrong:
        with pytest.raises(ValueError, match=r"out of range|over the hard limit"):
            encode_limits(7, **bad)


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
names = text.filter(lambda name: name and "=" not in name)


@given(st.lists(text, min_size=1), st.dictionaries(names, text), text)
def test_an_exec_keeps_every_string(argv: list[str], env: dict[str, str], cwd: str) -> None:
    found = dict(records(encode_exec(7, argv, env=env, cwd=f"/{cwd}")))
    assert found[Tag.ARGV].split(b"\0") == [*map(os.fsencode, argv), b""]
    assert found[Tag.ENV].split(b"\0") == [*(os.fsencode(f"{k}={v}") for k, v in env.items()), b""]
    assert found[Tag.CWD] == os.fsencode(f"/{cwd}")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"argv": []}, "argv is empty"),
        ({"argv": ["a\0b"]}, "no NUL"),
        ({"argv": ["x" * 131072]}, "at most 131071"),
        ({"argv": ["x" * 131071] * 32}, "at most 4194304"),
        ({"env": {"": "x"}}, "not the name"),
        ({"env": {"A=B": "x"}}, "not the name"),
        ({"env": {"A": "x\0"}}, "no NUL"),
        ({"env": {"A": "x" * 131070}}, "at most 131071"),
        ({"cwd": "relative"}, "absolute"),
        ({"cwd": "/" + "x" * 4095}, "at most 4095"),
        ({"exec_id": 0}, "positive"),
        ({"exec_id": 2**32}, "out of range"),
        ({"flags": ExecFlag.PTY | ExecFlag.STDIN}, "not both"),
        ({"window": (1, 1)}, "needs a terminal"),
        ({"window": (1, 65536), "flags": ExecFlag.PTY}, "out of range"),
    ],
)
def test_an_exec_that_a_box_would_not_take_is_refused_here(arguments: dict[str, object], why: str) -> None:
    call = {"exec_id": 1, "argv": ["true"], "env": {}} | arguments
    with pytest.raises(ValueError, match=why) as caught:
        encode_exec(call.pop("exec_id"), call.pop("argv"), **call)  # type: ignore[arg-type]
    assert not isinstance(caught.value, WireError)


@pytest.mark.parametrize(
    ("setup", "why"),
    [
        (Setup(hostname="x" * 65), "host name"),
        (Setup(mounts=[Mount(MountKind.TMPFS, "tmp")]), "mount target: an absolute path"),
        (Setup(mounts=[Mount(MountKind.TMPFS, "/tmp", data="a\0")]), "mount data"),
        (Setup(mounts=[Mount(MountKind.DEV, "/dev", source="dev")]), "mount source: an absolute path"),
        (Setup(mounts=[Mount(MountKind.OVERLAY, "/w")]), "mount source: an absolute path"),
        (Setup(mounts=[Mount(MountKind.TMPFS, "/tmp", data="x" * 2048)]), "mount data"),
        (Setup(paths=[(Access.READ, "usr")]), "Landlock path"),
        (Setup(paths=[(Access.NONE, "/usr")]), "no access"),
        (Setup(seccomp=bytes(9)), "instructions"),
        (Setup(seccomp=bytes(8 * 4097)), "instructions"),
        (Setup(rlimits=[(7, -2, 1)]), "out of range"),
        (Setup(rlimits=[(7, 2, 1)]), "over the hard limit"),
        (Setup(rlimits=[(7, -1, 1)]), "over the hard limit"),
        (Setup(affinity=frozenset({-1})), "CPU"),
        (Setup(affinity=frozenset({65536})), "CPU"),
        (Setup(pids=-1), "pids"),
    ],
)
def test_a_setup_that_a_box_would_not_take_is_refused_here(setup: Setup, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        setup.encode()


def test_orders_out_of_range_are_refused_here() -> None:
    for number in (0, 65, -1):
        with pytest.raises(ValueError, match="signal"):
            encode_signal(1, number)
    with pytest.raises(ValueError, match="out of range"):
        encode_resize(1, -1, 1)
    with pytest.raises(ValueError, match="out of range"):
        encode_kill(-1)


def reply(kind: int, body: bytes = b"", *, identity: int = 5, flags: int = 0) -> bytes:
    return HEAD.pack(kind, flags, identity) + body


@pytest.mark.parametrize(
    ("packet", "fds", "expected"),
    [
        (reply(Message.READY, struct.pack("=I", 3)), [9], Ready(9)),
        (reply(Message.READY, struct.pack("=I", 3)), [], Ready(None)),
        (reply(Message.FAILED, struct.pack("=i", 2) + b"mount: \xff"), [], Failed(2, "mount: \ufffd")),
        (reply(Message.STARTED, struct.pack("=I", 77)), [], Started(5, 77, None)),
        (reply(Message.STARTED, struct.pack("=I", 77)), [9], Started(5, 77, 9)),
        (reply(Message.REFUSED, struct.pack("=iI", 2, 9)), [], Refused(5, 2, Stage.EXEC)),
        (reply(Message.EXITED, struct.pack("=iIQQQII", 256, 1, 2, 3, 4, 0, 0)), [], Exited(5, 256, 1, 2, 3, 4)),
        (
            reply(Message.EXITED, struct.pack("=iIQQQII", 9, 0, 0, 0, 0, 1, 0)),
            [],
            Exited(5, 9, 0, 0, 0, 0, Cause.MEMORY),
        ),
        (reply(Message.DONE, struct.pack("=i", 16)), [], Done(5, 16)),
    ],
)
def test_replies_are_read(packet: bytes, fds: list[int], expected: Reply) -> None:
    assert decode(packet, fds) == expected


@pytest.mark.parametrize(
    ("packet", "fds"),
    [
        (b"", []),
        (b"\0" * 7, []),
        (reply(Message.READY, struct.pack("=I", 3)), [1, 2]),
        (reply(Message.READY, struct.pack("=I", 1)), [1]),
        (reply(Message.READY, struct.pack("=I", 3), flags=1), [1]),
        (reply(Message.FAILED, b"abc"), []),
        (reply(Message.STARTED, b""), []),
        (reply(Message.STARTED, bytes(5)), []),
        (reply(Message.REFUSED, struct.pack("=iI", 1, 0)), []),
        (reply(Message.REFUSED, struct.pack("=iI", 1, 10)), []),
        (reply(Message.EXITED, bytes(39)), []),
        (reply(Message.EXITED, bytes(40)), [1]),
        (reply(Message.EXITED, bytes(32) + struct.pack("=II", 2, 0)), []),
        (reply(Message.EXITED, bytes(32) + struct.pack("=II", 1, 1)), []),
        (reply(Message.DONE), []),
        (reply(Message.EXEC), []),
        (reply(999), []),
    ],
)
def test_what_is_no_reply_is_refused(packet: bytes, fds: list[int]) -> None:
    with pytest.raises(WireError):
        decode(packet, fds)


@given(st.binary(max_size=80), st.lists(st.integers(3, 9), max_size=3))
def test_any_bytes_are_a_reply_or_refused(packet: bytes, fds: list[int]) -> None:
    with contextlib.suppress(WireError):
        assert isinstance(decode(packet, fds), Reply)


@given(st.sampled_from(list(Message)), st.binary(max_size=40))
def test_any_body_is_a_reply_or_refused(kind: Message, body: bytes) -> None:
    with contextlib.suppress(WireError):
        assert isinstance(decode(reply(kind, body)), Reply)


def test_a_small_packet_goes_as_it_is_and_a_big_one_in_a_sealed_memfd() -> None:
    host, box = control_pair()
    with host, box:
        for size in (0, wire.WIRE_INLINE, wire.WIRE_INLINE + 1, wire.WIRE_BODY_MAX):
            packet = reply(Message.SETUP, os.urandom(size))
            send(host, packet, [0])
            got, fds, _, _ = socket.recv_fds(box, 70000, 3)
            if size <= wire.WIRE_INLINE:
                assert (got, len(fds)) == (packet, 1)
            else:
                assert (got, len(fds)) == (reply(Message.SETUP, flags=1), 2)
                assert os.pread(fds[0], size + 1, 0) == packet[8:]
                with pytest.raises(PermissionError):
                    os.pwrite(fds[0], b"x", 0)
                with pytest.raises(PermissionError):
                    os.truncate(fds[0], 1)
            for fd in fds:
                os.close(fd)


def test_a_reply_comes_with_its_sender_and_its_descriptors() -> None:
    host, box = control_pair()
    with host, box:
        with pytest.raises(BlockingIOError):
            receive(host)
        with Path(os.devnull).open() as file:
            socket.send_fds(box, [reply(Message.STARTED, bytes(4))], [file.fileno()])
        started, pid = receive(host)
        assert pid == os.getpid()
        assert isinstance(started, Started)
        assert started.terminal is not None
        assert not os.get_inheritable(started.terminal)
        os.close(started.terminal)
        box.close()
        with pytest.raises(EOFError):
            receive(host)


def test_what_was_said_before_a_reset_is_heard() -> None:
    host, box = control_pair()
    with host:
        send(host, encode_kill())
        box.send(reply(Message.DONE, bytes(4)))
        box.close()  # with a packet unread: ECONNRESET comes first
        assert receive(host)[0] == Done(5, 0)
        with pytest.raises(EOFError):
            receive(host)


def test_descriptors_of_a_bad_reply_are_closed() -> None:
    host, box = control_pair()
    with host, box:
        for packet in (reply(Message.DONE, bytes(4)), b"x", b"x" * 9000):
            with Path(os.devnull).open() as file:
                socket.send_fds(box, [packet], [file.fileno()])
            before = os.listdir("/proc/self/fd")
            with pytest.raises(WireError):
                receive(host)
            assert os.listdir("/proc/self/fd") == before


def test_everything_public_is_there() -> None:
    for name in agent.__all__:
        assert hasattr(agent, name), name
