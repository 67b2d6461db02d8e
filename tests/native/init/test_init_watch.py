"""Programs that are watched: each has the filter of its own, and its listener comes by the watch socket."""

from __future__ import annotations

import errno
import json
import os
import select
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

import cloche_native as native
from cloche_native import acts
from cloche_native.agent import (
    Done,
    ExecFlag,
    Exited,
    Failed,
    Refused,
    SetupFlag,
    Stage,
    encode_exec,
    encode_pause,
    encode_resume,
    encode_watch,
    watch_pair,
)
from cloche_native.filters import StaticFilter
from tests.native import reference as ref
from tests.native.acts_reference import bits
from tests.native.init.boxes import Box
from tests.native.init.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloche_native.agent import Setup

pytestmark = pytest.mark.usefixtures("no_own_leaks")

NAMES = ref.names_by_number(os.uname().machine)
PLAIN = StaticFilter(profile="maximum")
SEEN = acts.acts_seen("writes")
REMOVING = {"rmdir", "unlinkat"}


@dataclass
class Watched:
    """A box and what is notified of its programs."""

    box: Box
    watcher: Watcher

    def calls(self, *argv: str) -> list[str]:
        """Run a program that must do well, and give the calls that it was seen to make."""
        ran = self.box.run(*argv)
        assert ran.code == 0, ran
        return self.watcher.names(NAMES, self.box.last_id)


def filtered(setup: Setup, watched: int = SEEN) -> Setup:
    return replace(setup, seccomp=PLAIN.agent(SEEN), watch=PLAIN.watch(watched, SEEN))


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    with Watcher(PLAIN.program()) as watcher:
        yield watcher


@pytest.fixture
def watched(launch: Callable[..., Box], kind: str, setup: Setup, watcher: Watcher) -> Watched:
    box: Box = launch(kind, watch=watcher.theirs.fileno())
    return Watched(box.ready(filtered(setup)), watcher)


def test_each_exec_sends_a_listener_that_tells_of_it_alone(watched: Watched) -> None:
    assert set(watched.calls("true")) == {"execve"}
    first = watched.box.last_id
    assert watched.box.run("rmdir", "/no-such-folder").code == 1
    assert [name in REMOVING for name in watched.watcher.names(NAMES, watched.box.last_id)][-1]
    assert [exec_id for exec_id, _ in watched.watcher.listeners] == [first, watched.box.last_id]
    assert all(pid > 0 for _, pid in watched.watcher.listeners)


def test_a_call_that_only_looks_is_not_notified_where_that_was_not_asked(watched: Watched) -> None:
    assert set(watched.calls("ls", "/usr")) == {"execve"}


def test_what_the_static_filter_refuses_is_notified_and_refused_by_who_listens(watched: Watched) -> None:
    ran = watched.box.run("chroot", "/tmp", "true")
    assert ran.code == 125
    assert b"Operation not permitted" in ran.stderr
    chroot = [seen for seen in watched.watcher.seen if NAMES[seen.call.number] == "chroot"]
    assert [seen.answer for seen in chroot] == [-errno.EPERM]


def test_a_program_has_no_descriptor_of_the_watching(watched: Watched) -> None:
    ran = watched.box.run("sh", "-c", "ls -l /proc/$$/fd; cat /proc/$$/fdinfo/3 /proc/$$/fdinfo/4")
    assert b"socket" not in ran.stdout
    assert b"seccomp" not in ran.stdout
    assert ran.stderr.count(b"No such file") == 2


def test_what_a_program_leaves_behind_is_told_of_by_its_own_listener_until_it_ends(watched: Watched) -> None:
    box = watched.box
    box.run("sh", "-c", "(sleep 0.2; rmdir /no-such-folder) >/dev/null 2>&1 &", flags=ExecFlag.LINGER)
    lingering = box.last_id
    watched.calls("true")
    deadline = time.monotonic() + 10
    while lingering not in watched.watcher.ended and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lingering in watched.watcher.ended
    assert REMOVING & set(watched.watcher.names(NAMES, lingering))
    assert not REMOVING & set(watched.watcher.names(NAMES, box.last_id))


def test_programs_that_run_at_once_each_have_a_listener(watched: Watched) -> None:
    started = [watched.box.spawn("rmdir", "/no-such-folder") for _ in range(12)]
    assert all(isinstance(watched.box.end_of(exec_id), Exited) for exec_id in started)
    for exec_id in started:
        assert REMOVING & set(watched.watcher.names(NAMES, exec_id))


def test_a_program_that_is_not_there_is_refused_as_ever(watched: Watched) -> None:
    refused = watched.box.run("no-such-program").reply
    assert isinstance(refused, Refused)
    assert (refused.error, refused.stage) == (errno.ENOENT, Stage.EXEC)


def test_the_filter_can_be_replaced_for_programs_that_start_later(watched: Watched) -> None:
    box = watched.box
    assert "openat" not in watched.calls("cat", "/etc/hostname")
    more = acts.acts_seen("full")
    box.ask(encode_watch(77, PLAIN.watch(more, SEEN)))
    assert box.expect(Done) == Done(77, 0)
    assert "openat" in watched.calls("cat", "/etc/hostname")
    box.ask(encode_watch(78, PLAIN.watch(bits({"exec"}), SEEN)))
    assert box.expect(Done) == Done(78, 0)
    assert set(watched.calls("cat", "/etc/hostname")) == {"execve"}
    ran = box.run("chroot", "/tmp", "true")  # opened, and no longer watched: the watch filter refuses it
    assert b"Operation not permitted" in ran.stderr
    assert set(watched.watcher.names(NAMES, box.last_id)) == {"execve"}


def test_a_box_that_is_not_watched_can_not_be_made_so(box: Box) -> None:
    box.ask(encode_watch(5, PLAIN.watch(SEEN, SEEN)))
    assert box.expect(Done) == Done(5, errno.EINVAL)
    assert box.run("true").code == 0


def test_a_setup_that_watches_needs_the_socket(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    failed = launch(kind).failed(filtered(setup))
    assert failed.error == errno.EBADF
    assert "descriptor 4 is not the watch socket" in failed.what


def test_without_a_filter_the_socket_is_let_go(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    ours, theirs = watch_pair()
    with ours:
        box = launch(kind, watch=theirs.fileno()).ready(setup)
        theirs.close()
        assert select.select([ours], [], [], 5)[0]
        assert ours.recv(64) == b""
        assert box.run("true").code == 0


def test_no_program_starts_when_nobody_takes_its_listener(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    ours, theirs = watch_pair()
    box: Box = launch(kind, watch=theirs.fileno()).ready(filtered(setup))
    theirs.close()
    ours.close()
    refused = box.run("true").reply
    assert isinstance(refused, Refused)
    assert (refused.error, refused.stage) == (errno.EPIPE, Stage.SECCOMP)


def test_a_filter_that_the_kernel_does_not_take_starts_no_program(
    launch: Callable[..., Box], kind: str, setup: Setup, watcher: Watcher
) -> None:
    box: Box = launch(kind, watch=watcher.theirs.fileno()).ready(replace(setup, watch=b"\xff" * 8))
    refused = box.run("true").reply
    assert isinstance(refused, Refused)
    assert (refused.error, refused.stage) == (errno.EINVAL, Stage.SECCOMP)


def test_a_program_whose_call_is_not_answered_can_be_stopped_and_killed(
    launch: Callable[..., Box], kind: str, setup: Setup
) -> None:
    answered = threading.Event()
    started = threading.Event()

    def wait() -> None:
        if len(holding.seen) > 1:  # the first is its own execve
            started.set()
            answered.wait(20)

    with Watcher(PLAIN.program(), wait=wait) as holding:
        box: Box = launch(kind, watch=holding.theirs.fileno()).ready(filtered(setup))
        exec_id = box.spawn("rmdir", "/no-such-folder")
        assert started.wait(10)
        box.ask(encode_pause(9))
        answered.set()
        assert box.expect(Done) == Done(9, 0)
        box.ask(encode_resume(10))
        assert box.expect(Done) == Done(10, 0)
        assert isinstance(box.end_of(exec_id), Exited)


def facts_of(box: Box) -> dict[str, object]:
    reading, writing = os.pipe()
    box.ask(encode_exec(900, ("probe",), env={}, flags=ExecFlag.PROBE | ExecFlag.STDOUT), [writing])
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        facts: dict[str, object] = json.loads(pipe.read())
    return facts


def test_the_self_test_tells_whether_programs_could_be_watched(
    launch: Callable[..., Box], kind: str, setup: Setup
) -> None:
    tried = launch(kind).ready(replace(setup, flags=setup.flags | SetupFlag.TRY_WATCH, seccomp=PLAIN.program()))
    facts = facts_of(tried)
    assert facts["listener"] == "ok"
    version = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))
    since = {"continue": (5, 5), "end": (5, 9), "open": (5, 14)}
    assert facts["listener can"] == [power for power, first in since.items() if version >= first]
    assert "listener" not in facts_of(launch(kind).ready(setup))


NESTED = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000))
program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0
listener = libc.syscall(ctypes.c_long(int(sys.argv[1])), ctypes.c_long(1), ctypes.c_long(8), program)
assert listener >= 0, os.strerror(ctypes.get_errno())
if os.fork() == 0:
    os.closerange(0, listener)
    os.read(os.eventfd(0), 8)
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.skipif(not os.access("/usr/bin/python3", os.X_OK), reason="needs a python3 that every user may run")
def test_inside_a_program_that_is_watched_no_other_can_be(init: Path, bare: Setup, watcher: Watcher) -> None:
    number = native.syscall_number("seccomp")
    argv = ["/usr/bin/python3", "-c", NESTED, str(number), str(init), "{FD}"]
    for setup, watch in ((replace(bare, flags=bare.flags | SetupFlag.TRY_WATCH), None), (filtered(bare), watcher)):
        box = Box(argv, watch=None if watch is None else watch.theirs.fileno())
        try:
            box.ready(setup)
            if watch is None:
                assert facts_of(box)["listener"] == "EBUSY"
            else:
                refused = box.run("true").reply
                assert isinstance(refused, Refused)
                assert (refused.error, refused.stage) == (errno.EBUSY, Stage.SECCOMP)
        finally:
            box.close()


@pytest.mark.parametrize("body", [b"", b"\0" * 8, bytes(40)])
def test_a_watch_message_that_is_none_ends_the_box(launch: Callable[..., Box], bare: Setup, body: bytes) -> None:
    box: Box = launch("bare").ready(bare)
    box.ask(encode_watch(1, b"\0" * 8)[:8] + body)
    assert box.expect(Failed).error == errno.EBADMSG
    assert box.process.wait(20) == 1


@pytest.mark.parametrize("program", [b"", b"1234567", b"\0" * 8 * 4097])
def test_what_is_no_filter_is_not_sent(bare: Setup, program: bytes) -> None:
    with pytest.raises(ValueError, match="watch filter: 1 to 4096 instructions"):
        encode_watch(1, program)
    if program:
        with pytest.raises(ValueError, match="watch filter: 1 to 4096 instructions"):
            replace(bare, watch=program).encode()
