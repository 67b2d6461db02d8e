"""The resident worker: programs that find all prepared, and are execs like any other, saved and restored too."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import cloche
from cloche_native.agent import ExecFlag, Exited, Refused, Setup, Stage, Started, encode_exec, encode_kill
from tests.native.init.boxes import ENV, PATIENCE
from tests.native.inner.guests import PLAIN, UID, Guest

if TYPE_CHECKING:
    from collections.abc import Callable

WORKER: Final = 0xFFFFFFFF
SOURCE: Final = Path(cloche.__file__).with_name("snapshots") / "worker_python.py"
SCRIPT: Final = "import random, uuid\nrandom.seed(5)\nvalue = sum(range(1000))\n"
BY: Final = ExecFlag.BY_WORKER


def employ(guest: Guest, script: str = SCRIPT, source: str | None = None) -> Guest:
    wanted = json.dumps({"imports": ["json"], "script": script})
    argv = ("python3", "-c", SOURCE.read_text() if source is None else source, wanted)
    guest.ask(encode_exec(WORKER, argv, env=ENV, cwd="/", flags=ExecFlag.WORKER))
    return guest


@pytest.fixture
def worked(guest: Guest) -> Guest:
    return employ(guest)


@pytest.fixture(scope="module")
def employed(shared: Guest) -> Guest:
    return employ(shared)


def python(guest: Guest, code: str, *args: str, stdin: bytes = b"", cwd: str = "/tmp") -> str:
    ran = guest.run("python3", "-c", code, *args, stdin=stdin, flags=BY, cwd=cwd)
    assert (ran.stderr, ran.code) == (b"", 0)
    return ran.stdout.decode()


def test_a_program_finds_what_was_prepared_and_all_that_it_was_given(employed: Guest) -> None:
    code = "import os, sys, prepared; print(prepared.value, sys.argv, os.getcwd(), os.environ['A'], sys.stdin.read())"
    ran = employed.run("python3", "-u", "-c", code, "x y", stdin=b"in", flags=BY, env={"A": "b"}, cwd="/tmp")
    assert (ran.stdout, ran.stderr, ran.code) == (b"499500 ['-c', 'x y'] /tmp b in\n", b"", 0)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("-c", "import sys; sys.exit(7)"), 7, b""),
        (("-c", "raise SystemExit('no')"), 1, b"no\n"),
        (("-c", "1/0"), 1, b"ZeroDivisionError"),
        (("/tmp/nothing.py",), 2, b"can't open file"),
        (("-V",), 2, b"takes a file"),
        (("-c", "import os; os.kill(os.getpid(), 15)"), -15, b""),
        (("-c", "import os; os.abort()"), -6, b""),
    ],
)
def test_its_end_is_that_of_the_program(employed: Guest, args: tuple[str, ...], code: int, said: bytes) -> None:
    ran = employed.run("python3", *args, flags=BY)
    assert ran.code == code
    assert said in ran.stderr
    assert b"worker_python" not in ran.stderr


def test_files_modules_and_standard_input_are_run_as_python_does(employed: Guest) -> None:
    python(employed, "open('/tmp/own.py', 'w').write('import other, sys; print(__name__, other.x, sys.argv[1:])')")
    python(employed, "open('/tmp/other.py', 'w').write('x = 4')")
    assert employed.run("python3", "/tmp/own.py", "a", flags=BY, cwd="/").stdout == b"__main__ 4 ['a']\n"
    assert employed.run("python3", "-m", "own", "a", flags=BY, cwd="/tmp").stdout == b"__main__ 4 ['a']\n"
    assert employed.run("python3", "-", "a", stdin=b"import sys; print(sys.argv)", flags=BY).stdout == b"['-', 'a']\n"


def test_what_is_registered_for_the_end_and_threads_have_their_turn(employed: Guest) -> None:
    code = (
        "import atexit, threading, time; atexit.register(print, 'last')\n"
        "threading.Thread(target=lambda: (time.sleep(.1), print('thread'))).start()"
    )
    assert python(employed, code) == "thread\nlast\n"


def test_programs_do_not_meet_and_are_nobody(employed: Guest) -> None:
    assert python(employed, "import prepared, os; prepared.value = 1; print(os.getuid())") == f"{UID}\n"
    assert python(employed, "import prepared, os; print(prepared.value, os.listdir('/proc/self/fd'))").startswith(
        "499500 "
    )
    fds = python(employed, "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd')))")
    assert fds == "[0, 1, 2, 3]\n"  # 3 is that of listdir


def test_random_numbers_are_drawn_anew(employed: Guest) -> None:
    code = "import random, uuid; print(random.random(), uuid.uuid1())"
    first, second = python(employed, code).split(), python(employed, code).split()
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_large_arguments_and_environments_arrive(employed: Guest) -> None:
    args = ["x" * 100_000] * 6
    code = "import sys, os; print(sum(map(len, sys.argv[1:])), len(os.environ['BIG']))"
    ran = employed.run("python3", "-c", code, *args, flags=BY, env={"BIG": "y" * 100_000})
    assert ran.stdout == b"600000 100000\n"


def count(guest: Guest) -> int:
    """How many processes there are, the one that counts too, but not cloche-inner and who waits there for work."""
    code = (
        "import glob; print(sum('.cloche' not in open(path).readline() for path in glob.glob('/proc/[0-9]*/status')))"
    )
    return int(guest.run("python3", "-c", code).stdout)


def test_killing_an_exec_takes_its_daemons_and_leaves_the_worker(worked: Guest) -> None:
    python(worked, "pass")
    before = count(worked)
    code = "import os, time\nif os.fork() == 0:\n os.setsid()\n os.fork()\ntime.sleep(1000)"
    exec_id = worked.spawn("python3", "-c", code, flags=BY)
    deadline = time.monotonic() + PATIENCE
    while count(worked) < before + 3:
        assert time.monotonic() < deadline
    worked.ask(encode_kill(exec_id))
    end = worked.end_of(exec_id)
    assert isinstance(end, Exited)
    assert os.WTERMSIG(end.status) == signal.SIGKILL
    assert count(worked) == before
    assert python(worked, "print('well')") == "well\n"


def test_what_a_program_leaves_behind_ends_with_it(worked: Guest) -> None:
    python(worked, "pass")
    before = count(worked)
    python(worked, "import os, time\nif os.fork() == 0:\n os.close(1); os.close(2)\n time.sleep(1000)")
    assert count(worked) == before


def test_limits_of_now_hold_not_those_of_the_workers_start(worked: Guest) -> None:
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    python(worked, "pass")
    worked.ready(Setup(ids=PLAIN.ids, rlimits=((resource.RLIMIT_NOFILE, 77, 77),)))
    assert python(worked, code) == "(77, 77)\n"


def test_a_preparation_that_failed_is_told_by_each_program(guest: Guest) -> None:
    employ(guest, "import nothing_of_that_name")
    ran = guest.run("python3", "-c", "print(1)", flags=BY)
    assert (ran.stdout, ran.code) == (b"", 1)
    assert b"No module named 'nothing_of_that_name'" in ran.stderr


def test_without_a_worker_with_a_terminal_or_with_a_second_worker_it_is_refused(guest: Guest) -> None:
    refused = guest.run("python3", "-c", "pass", flags=BY).reply
    assert isinstance(refused, Refused)
    assert (refused.error, refused.stage) == (errno.ESRCH, Stage.EXEC)
    employ(guest)
    python(guest, "pass")
    again = guest.end_of(guest.spawn("true", flags=ExecFlag.WORKER))
    assert isinstance(again, Refused)
    assert again.error == errno.EEXIST
    guest.ask(encode_exec(WORKER, ["true"], env=ENV, cwd="/", flags=ExecFlag.WORKER))
    same = guest.expect(Refused, WORKER)
    assert same.error == errno.EEXIST
    python(guest, "pass")
    both = guest.end_of(guest.spawn("true", flags=ExecFlag.WORKER | BY))
    assert isinstance(both, Refused)
    assert both.error == errno.EOPNOTSUPP


def test_a_worker_that_is_killed_or_never_answers_is_no_worker_any_more(launch: Callable[[], Guest]) -> None:
    guest = employ(launch().ready(PLAIN))
    worker = guest.expect(Started, WORKER)
    python(guest, "pass")
    guest.shell(f"kill -9 {worker.pid}")
    assert isinstance(guest.run("python3", "-c", "pass", flags=BY).reply, Refused)
    guest.end_of(WORKER)
    once = "import socket, time; s = socket.socket(fileno=3); s.recv(100); s.send(b'x'); time.sleep(1000)"
    employ(guest, source=once)
    assert isinstance(guest.run("python3", "-c", "pass", flags=BY).reply, Refused)
    late = guest.run("python3", "-c", "pass", flags=BY).reply
    assert isinstance(late, Refused | Exited)
    assert guest.shell("echo on").stdout == b"on\n"


def test_a_saved_guest_goes_on_in_each_that_is_restored(
    worked: Guest, bundle: Path, runsc: list[str], tmp_path: Path
) -> None:
    python(worked, "open('/tmp/kept', 'w').write('kept')")
    image = tmp_path / "image"
    reading, writing = os.pipe()
    subprocess.run(
        [*runsc, "checkpoint", f"--image-path={image}", worked.sandbox.name],
        stdin=reading, stdout=writing, stderr=writing, check=True, timeout=PATIENCE,
    )  # fmt: skip
    os.close(reading)
    os.close(writing)
    drawn = set()
    for _ in range(2):
        guest = Guest(runsc, bundle, image=image)
        try:
            guest.ready(PLAIN)
            told = python(
                guest, "import prepared, random; print(prepared.value, open('/tmp/kept').read(), random.random())"
            )
            assert told.startswith("499500 kept ")
            drawn.add(told)
            assert guest.shell("echo new; exit 3").code == 3
        finally:
            guest.close()
    assert len(drawn) == 2
