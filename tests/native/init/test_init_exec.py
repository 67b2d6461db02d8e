from __future__ import annotations

import errno
import os
import re
import signal
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche_native.agent import ExecFlag, Exited, Refused, Stage, Started, encode_signal
from cloche_native.wire import Scope
from tests.native.init.boxes import UID

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche_native.agent import Setup
    from tests.native.init.boxes import Box


def test_a_program_s_output_and_exit_code_come_through(box: Box) -> None:
    ran = box.shell("cat; echo seen; echo bad >&2; exit 3")
    assert (ran.stdout, ran.stderr, ran.code) == (b"seen\n", b"bad\n", 3)


def test_stdin_is_fed(box: Box) -> None:
    assert box.run("tr", "a-z", "A-Z", stdin=b"glass").stdout == b"GLASS"


def test_a_signal_that_ends_a_program_is_told(box: Box) -> None:
    ran = box.shell("kill -SEGV $$")
    assert (ran.code, ran.exited.status & 0x7F) == (-signal.SIGSEGV, signal.SIGSEGV)


def test_a_missing_program_is_refused_with_enoent(box: Box) -> None:
    assert box.run("no-such-program").reply == Refused(box.last_id, errno.ENOENT, Stage.EXEC)
    assert box.run("/no/such/program").reply == Refused(box.last_id, errno.ENOENT, Stage.EXEC)
    assert box.run("").reply == Refused(box.last_id, errno.ENOENT, Stage.EXEC)


def test_a_file_that_may_not_be_executed_is_refused_with_eacces(box: Box) -> None:
    assert box.run("/etc/passwd").reply == Refused(box.last_id, errno.EACCES, Stage.EXEC)


def test_a_text_without_interpreter_is_never_given_to_a_shell(box: Box) -> None:
    assert box.shell("cd /tmp && echo 'echo ran' > plain && chmod +x plain").code == 0
    assert box.run("/tmp/plain").reply == Refused(box.last_id, errno.ENOEXEC, Stage.EXEC)
    assert box.shell("rm /tmp/plain").code == 0


def test_path_is_searched_as_the_request_says(box: Box) -> None:
    made = box.shell(
        "mkdir /tmp/a /tmp/b && touch /tmp/a/tool && printf '#!/bin/sh\necho b' > /tmp/b/tool && chmod +x /tmp/b/tool"
    )
    assert made.code == 0
    assert box.run("tool", env={"PATH": "/nowhere:/tmp/a:/tmp/b"}).stdout == b"b\n"
    assert box.run("./tool", env={}, cwd="/tmp/b").stdout == b"b\n"
    assert box.run("tool", env={"PATH": ":/nowhere"}, cwd="/tmp/b").stdout == b"b\n"
    assert box.run("tool", env={"PATH": "/tmp/a:/nowhere"}).reply == Refused(box.last_id, errno.EACCES, Stage.EXEC)
    assert box.run("tool", env={"PATH": "/nowhere"}).reply == Refused(box.last_id, errno.ENOENT, Stage.EXEC)
    assert box.run("true", env={}).code == 0
    assert box.shell("rm -r /tmp/a /tmp/b").code == 0


def test_the_environment_is_the_request_s_and_nothing_else(box: Box) -> None:
    env = {"PATH": "/usr/bin:/bin", "EMPTY": "", "LINES": "a\nb", "UNICODE": "ä\udcff"}
    lines = box.run("env", "-0", env=env).stdout.split(b"\0")[:-1]
    assert sorted(lines) == sorted(os.fsencode(f"{name}={value}") for name, value in env.items())


def test_the_working_folder_is_the_request_s(box: Box) -> None:
    assert box.run("pwd", cwd="/usr/bin").stdout == b"/usr/bin\n"
    assert box.run("pwd").stdout == b"/\n"
    assert box.run("pwd", cwd="/no/such").reply == Refused(box.last_id, errno.ENOENT, Stage.CWD)
    assert box.run("pwd", cwd="/etc/passwd").reply == Refused(box.last_id, errno.ENOTDIR, Stage.CWD)


def test_a_program_starts_clean(box: Box) -> None:
    ran = box.run(
        "python3", "-c", "import os, signal; print(os.getpid() == os.getsid(0) == os.getpgid(0), os.umask(0))"
    )
    assert ran.stdout == b"True 18\n"  # 022
    status = box.run("cat", "/proc/self/status").stdout.decode()
    for name in ("SigBlk", "SigIgn", "SigCgt", "CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert re.search(rf"^{name}:\s*0+$", status, re.MULTILINE), name
    assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)


def test_a_program_has_the_three_descriptors_and_no_other(box: Box) -> None:
    ran = box.run(
        "python3", "-c", "import os; print([fd for fd in range(4096) if os.path.exists(f'/proc/self/fd/{fd}')])"
    )
    assert ran.stdout == b"[0, 1, 2]\n"


def test_descriptors_not_passed_are_the_null_device(box: Box) -> None:
    reading, writing = os.pipe()
    script = "import os; print([os.fstat(fd).st_rdev for fd in (0, 1)], os.read(0, 1), file=open(2, 'w'))"
    started = box.start("python3", "-c", script, flags=ExecFlag.STDERR, fds=[writing])
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == f"{[os.makedev(1, 3)] * 2} b''\n".encode()
    assert box.expect(Exited, started.id).status == 0


def test_without_a_null_device_input_is_empty_and_output_is_dropped(launch: Callable[..., Box], sealed: Setup) -> None:
    box = launch("bwrap").ready(replace(sealed, mounts=()))
    assert not Path(f"/proc/{box.pid}/root/dev/null").exists()
    reading, writing = os.pipe()
    script = (
        "cat; head -c 10000000 /bin/sh >&1; i=0; while [ $i -lt 200 ]; do cat /bin/sh; i=$((i+1)); done; echo $? >&2"
    )
    started = box.start("sh", "-c", script, flags=ExecFlag.STDERR, fds=[writing])
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"0\n"
    assert box.expect(Exited, started.id).status == 0


def test_big_arguments_travel(box: Box) -> None:
    argument = "x" * 131071
    script = "import sys; print(len(sys.argv), sum(map(len, sys.argv[1:])))"
    assert box.run("python3", "-c", script, *[argument] * 12).stdout == f"13 {12 * 131071}\n".encode()
    assert box.run("python3", "-c", script, *["y"] * 100000).stdout == b"100001 100000\n"


def test_arguments_that_the_kernel_finds_too_long_are_refused(launch: Callable[..., Box], bare: Setup) -> None:
    eight_mib = 8 << 20
    box = launch("bare").ready(replace(bare, rlimits=[(3, 512 << 10, eight_mib)]))  # RLIMIT_STACK
    assert box.run("true", *["x" * 100000] * 4).reply == Refused(1, errno.E2BIG, Stage.EXEC)
    assert box.run("true", "x").code == 0


def test_many_at_once_do_not_mix(box: Box) -> None:
    pipes = {}
    for _ in range(24):
        reading, writing = os.pipe()
        exec_id = box.spawn(
            "sh", "-c", f"sleep 0.05; echo {box.last_id}; exit {box.last_id}", flags=ExecFlag.STDOUT, fds=[writing]
        )
        os.close(writing)
        pipes[exec_id] = reading
    for exec_id, reading in pipes.items():
        with os.fdopen(reading, "rb") as pipe:
            assert pipe.read() == b"%d\n" % (exec_id - 1)
        assert os.waitstatus_to_exitcode(box.expect(Exited, exec_id).status) == exec_id - 1


def test_usage_is_the_program_s_own(box: Box) -> None:
    ran = box.run("python3", "-c", "x = bytearray(60 << 20); [i * i for i in range(2000000)]")
    assert ran.code == 0
    assert 60 << 10 < ran.exited.peak_kib < 200 << 10
    assert 20_000 < ran.exited.user_us < 20_000_000
    small = box.run("true").exited
    assert small.peak_kib < 10 << 10
    assert small.user_us < ran.exited.user_us


def test_a_signal_to_main_reaches_only_the_program(box: Box) -> None:
    reading, writing = os.pipe()
    script = "trap 'echo main' TERM; sh -c 'trap \"echo child\" TERM; echo up; sleep 0.3' & wait; wait"
    started = box.start("sh", "-c", script, flags=ExecFlag.STDOUT, fds=[writing])
    os.close(writing)
    assert os.read(reading, 3) == b"up\n"
    box.ask(encode_signal(started.id, signal.SIGTERM, Scope.MAIN))
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"main\n"
    assert box.expect(Exited, started.id).leftovers == 0


@pytest.mark.parametrize(("scope", "expected"), [(Scope.GROUP, b"gm"), (Scope.TREE, b"gms")])
def test_a_signal_to_a_group_or_tree_reaches_who_belongs_to_it(box: Box, scope: Scope, expected: bytes) -> None:
    reading, writing = os.pipe()
    script = """
import os, signal, sys, time
def tell(letter):
    def handler(*_):
        os.write(1, letter); os._exit(0)
    signal.signal(signal.SIGUSR1, handler); os.write(1, b'.')
for letter, own_session in ((b'g', False), (b's', True)):
    if os.fork() == 0:
        if own_session: os.setsid()
        tell(letter)
        for _ in range(3000): time.sleep(0.01)  # one long sleep may begin after the signal came
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(os.write(1, b'm'))); os.write(1, b'.')
while not seen: time.sleep(0.01)
for _ in range(int(sys.argv[1])): os.wait()
"""
    started = box.start("python3", "-c", script, f"{len(expected) - 1}", flags=ExecFlag.STDOUT, fds=[writing])
    os.close(writing)
    got = b""
    while got.count(b".") < 3:
        got += os.read(reading, 3)
    box.ask(encode_signal(started.id, signal.SIGUSR1, scope))
    with os.fdopen(reading, "rb") as pipe:
        assert bytes(sorted(pipe.read().replace(b".", b""))) == expected
    assert box.expect(Exited, started.id).leftovers == 3 - len(expected)


def test_orders_for_what_has_ended_are_ignored(box: Box) -> None:
    assert box.run("true").code == 0
    for scope in Scope:
        box.ask(encode_signal(box.last_id, signal.SIGKILL, scope))
    box.ask(encode_signal(4000, signal.SIGKILL, Scope.TREE))
    assert box.run("true").code == 0


def test_limits_are_put_on_programs_and_not_on_init(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    nofile, core = (7, 40, 50), (4, 0, 0)
    box = launch(kind).ready(replace(setup, rlimits=[nofile, core], affinity=frozenset({0}), pids=30))
    script = "import os, resource as r; print(r.getrlimit(7), r.getrlimit(4), r.getrlimit(6), os.sched_getaffinity(0))"
    assert box.run("python3", "-c", script).stdout == b"(40, 50) (0, 0) (33, 33) {0}\n"  # 30 and init, two shepherds
    limits = Path(f"/proc/{box.pid}/limits").read_text()
    assert not re.search(r"Max open files\s+40\s", limits)
    assert not re.search(r"Max processes\s+33\s", limits)


def test_a_limit_above_the_hard_one_is_refused_when_it_is_put_on(launch: Callable[..., Box], bare: Setup) -> None:
    box = launch("bare").ready(replace(bare, rlimits=[(7, 1 << 30, 1 << 30)]))
    assert box.run("true").reply == Refused(1, errno.EPERM, Stage.LIMITS)


def test_the_box_s_root_folder_is_handed_out(box: Box, kind: str) -> None:
    status = os.stat("etc", dir_fd=box.root)
    assert stat.S_ISDIR(status.st_mode)
    assert box.root is not None
    assert os.path.samestat(os.stat(box.root), Path("/").stat()) == (kind == "bare")


def test_replies_come_from_processes_of_the_box(box: Box) -> None:
    assert Path(f"/proc/{box.pid}/stat").read_text().split(" ")[1].strip("()") in ("cloche-init", ".cloche")
    if os.geteuid() == 0:
        assert Path(f"/proc/{box.pid}/environ").stat().st_uid == 0  # not dumpable, so its files are root's
        assert f"\nUid:\t{UID}\t{UID}\t{UID}\t{UID}\n" in Path(f"/proc/{box.pid}/status").read_text()


@pytest.mark.usefixtures("root")
def test_init_and_shepherd_hold_nothing_of_the_host(launch: Callable[..., Box], kind: str, setup: Setup) -> None:
    secret = os.open("/etc/shadow", os.O_RDONLY)
    box = launch(kind, hidden=[secret]).ready(setup)
    os.close(secret)
    started = box.start("sleep", "0.3")
    pids = [box.pid, *map(int, Path(f"/proc/{box.pid}/task/{box.pid}/children").read_text().split())]
    assert len(pids) in (2, 3)  # init, the shepherd, and perhaps the one that waits already
    allowed = r"socket:\[\d+\]|pipe:\[\d+\]|anon_inode:\[signalfd\]|/dev/null|/dev/pts|/proc|/pts|/null|/"
    for pid in pids:
        links = {fd.name: os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        assert all(re.fullmatch(allowed, link) for link in links.values()), links
        assert [links[fd] for fd in ("0", "1", "2")] == [links["0"]] * 3
        assert "/" not in links.values()
    assert box.expect(Exited, started.id).status == 0


def test_a_program_that_ends_at_once_is_told_in_order(box: Box) -> None:
    for _ in range(50):
        exec_id = box.spawn("true")
        assert isinstance(box.next(), Started)
        exited = box.next()
        assert isinstance(exited, Exited)
        assert exited.id == exec_id


def test_no_descriptor_and_no_process_is_left_over_time(box: Box) -> None:
    children = Path(f"/proc/{box.pid}/task/{box.pid}/children")

    def held() -> tuple[int, int]:
        descriptors = len(os.listdir(f"/proc/{box.pid}/fd")) if os.geteuid() == 0 else 0
        return len(children.read_text().split()), descriptors

    def settled() -> tuple[int, int]:
        """What is held once the shepherd of the last program is gone and the one that waits for work has come."""
        deadline, seen = time.monotonic() + 5, [held()]
        while len(seen) < 6 or seen[-6:] != [(1, seen[-1][1])] * 6:
            assert time.monotonic() < deadline, seen[-6:]
            time.sleep(0.01)
            seen.append(held())
        return seen[-1]

    assert box.shell("exit 0").code == 0
    before = settled()
    for _ in range(40):
        assert box.shell("exit 0").code == 0
        assert isinstance(box.run("nope").reply, Refused)
    assert settled() == before
