"""Programs in a gVisor guest: what they are given, what they lack, how their end is told."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from cloche_native import seccomp_program
from cloche_native.agent import (
    Done,
    ExecFlag,
    Exited,
    Failed,
    Mount,
    MountKind,
    Refused,
    Setup,
    Stage,
    Started,
    encode_exec,
    encode_pause,
    encode_quit,
    send,
)
from tests.native.init.boxes import PATIENCE
from tests.native.inner.guests import PLAIN, UID

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.native.inner.guests import Guest


def test_a_program_gets_its_arguments_environment_folder_and_streams(shared: Guest) -> None:
    script = 'cat; pwd; echo "$1 $NAME" >&2; exit 3'
    ran = shared.run("sh", "-c", script, "sh", "one", stdin=b"in\n", env={"NAME": "value"}, cwd="/tmp")
    assert ran.stdout == b"in\n/tmp\n"
    assert ran.stderr == b"one value\n"
    assert ran.code == 3


def test_streams_that_are_not_passed_are_empty(shared: Guest) -> None:
    reading, writing = os.pipe()
    exec_id = shared.spawn("sh", "-c", "wc -c; echo nowhere >&2", fds=[writing], flags=ExecFlag.STDOUT)
    os.close(writing)
    assert isinstance(shared.end_of(exec_id), Exited)
    assert os.read(reading, 100) == b"0\n"
    os.close(reading)


def test_a_program_is_nobody_and_can_become_nobody_else(shared: Guest) -> None:
    status = shared.run("cat", "/proc/self/status").stdout.decode()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["Uid"] == facts["Gid"] == "\t".join([str(UID)] * 4)
    assert facts["Groups"].strip() == ""
    assert {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd")} == {"0" * 16}
    assert shared.run("python3", "-c", "import ctypes; print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))").stdout == b"1\n"
    assert shared.run("python3", "-c", "import os; os.setuid(0)").code == 1


def test_a_program_has_no_descriptors_but_its_streams(shared: Guest) -> None:
    listed = shared.run("python3", "-c", "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))").stdout
    assert listed in (b"[0, 1, 2]\n", b"[0, 1, 2, 3]\n")  # the folder that is being listed


def test_signals_are_as_a_program_expects_them(shared: Guest) -> None:
    code = "import signal; print(signal.pthread_sigmask(0, []), signal.getsignal(15), signal.getsignal(17))"
    assert shared.run("python3", "-c", code).stdout == b"set() 0 0\n"


def test_the_path_is_searched_and_a_missing_program_is_refused(shared: Guest) -> None:
    assert shared.run("true", env={"PATH": "/nowhere:/usr/bin"}).code == 0
    assert shared.run("true", env={}).code == 0
    for argv, said in ((("no-such-program",), errno.ENOENT), (("/etc/passwd",), errno.EACCES)):
        reply = shared.run(*argv).reply
        assert isinstance(reply, Refused)
        assert (reply.error, reply.stage) == (said, Stage.EXEC)


def test_a_missing_working_folder_is_told_from_a_missing_program(shared: Guest) -> None:
    reply = shared.run("true", cwd="/nowhere").reply
    assert isinstance(reply, Refused)
    assert (reply.error, reply.stage) == (errno.ENOENT, Stage.CWD)


def test_a_signal_that_ends_a_program_is_told(shared: Guest) -> None:
    assert shared.shell("kill -SEGV $$").code == -11


def test_what_a_program_used_is_told(shared: Guest) -> None:
    ran = shared.run("python3", "-c", "x = b'x' * 50_000_000\nfor i in range(2_000_000): pass")
    assert ran.exited.peak_kib > 40_000
    assert ran.exited.user_us + ran.exited.system_us > 10_000


def test_a_long_request_arrives_whole(shared: Guest) -> None:
    many = [f"{number:0100}" for number in range(5000)]  # 505 kB: by memfd
    ran = shared.run("sh", "-c", 'printf %s "$*" | md5sum; echo $#', "sh", *many)
    assert ran.stdout.split()[-1] == b"5000"


def test_requests_longer_than_a_program_can_take_are_refused_by_the_guest(shared: Guest) -> None:
    reply = shared.run("true", *["x" * 100_000] * 40).reply
    assert isinstance(reply, Refused | Exited)
    assert shared.run("true").code == 0


def test_programs_run_side_by_side(shared: Guest) -> None:
    reading, writing = os.pipe()
    ids = [shared.spawn("sh", "-c", "read line", fds=[reading], flags=ExecFlag.STDIN) for _ in range(10)]
    os.close(reading)
    assert len({shared.expect(Started, exec_id).pid for exec_id in ids}) == 10
    os.close(writing)
    assert all(isinstance(shared.end_of(exec_id), Exited) for exec_id in ids)


def test_what_the_runtime_does_by_other_means_is_answered(shared: Guest) -> None:
    shared.ask(encode_pause(7))
    assert shared.expect(Done) == Done(7, errno.EOPNOTSUPP)
    exec_id = shared.spawn("true", flags=ExecFlag.PROBE)
    assert shared.expect(Refused, exec_id).error == errno.EOPNOTSUPP


def test_quit_ends_the_guest(launch: Callable[[], Guest]) -> None:
    guest = launch().ready(PLAIN)
    guest.start("sleep", "1000")
    guest.ask(encode_quit())
    assert guest.process.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("setup", "said"),
    [
        (Setup(), "ids: programs need a uid"),
        (Setup(ids=(0, 0, 1, 1)), "other than 0"),
        (Setup(ids=(1, 1, 0, 0)), "other than 0"),
        (Setup(ids=(1, 1, 1, 1), hostname="x"), "only ids"),
        (Setup(ids=(1, 1, 1, 1), mounts=[Mount(MountKind.PROC, "/proc")]), "only ids"),
        (Setup(ids=(1, 1, 1, 1), rlimits=[(number, 1, 1) for number in range(17)]), "too many resource limits"),
    ],
)
def test_a_setup_that_can_not_be_done_is_refused(launch: Callable[[], Guest], setup: Setup, said: str) -> None:
    guest = launch()
    guest.ask(setup.encode())
    reply = guest.expect(Failed)
    assert said in reply.what


def test_what_is_not_understood_ends_the_guest(launch: Callable[[], Guest]) -> None:
    guest = launch()
    send(guest.sock, encode_exec(1, ["true"], env={}))
    assert "not understood" in guest.expect(Failed).what


def test_the_filter_that_is_asked_for_is_on_every_program(launch: Callable[[], Guest]) -> None:
    tries = "import ctypes; libc = ctypes.CDLL(None); print(libc.unshare(0x10000000), open('/proc/self/status').read())"
    free = launch().ready(PLAIN).run("python3", "-c", tries).stdout.decode()
    assert free.startswith("0 ")
    assert "Seccomp:\t0" in free
    guest = launch().ready(Setup(ids=(UID, UID, UID, UID), seccomp=seccomp_program("enhanced", sockets="none")))
    for _ in range(2):
        held = guest.run("python3", "-c", tries).stdout.decode()
        assert held.startswith("-1 ")
        assert "Seccomp:\t2" in held
    assert guest.run("sh", "-c", "echo one | cat; exit 3").code == 3
