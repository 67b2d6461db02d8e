from __future__ import annotations

import errno
import os
import resource
import select
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche_native as native

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

UID = 231_001

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def output(null: int) -> Callable[..., str]:
    """Run a program to its end and give what it wrote."""

    def run(*argv: str, fds: Mapping[int, int] | None = None, status: int = 0, **options: object) -> str:
        reading, writing = os.pipe()
        with os.fdopen(reading) as pipe:
            try:
                pid, pidfd = native.spawn(
                    argv,
                    env={"PATH": "/usr/bin:/bin"},
                    fds={0: null, 1: writing, 2: writing} | dict(fds or {}),
                    **options,  # type: ignore[arg-type]
                )
            finally:
                os.close(writing)
            text = pipe.read()
        os.close(pidfd)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status, text
        return text

    return run


@pytest.fixture
def fails(null: int) -> Callable[..., OSError]:
    """Spawn what can't be spawned and give the error."""

    def attempt(argv: Sequence[str] = ("/bin/true",), **options: object) -> OSError:
        with pytest.raises(OSError, match="while") as caught:
            native.spawn(argv, env={}, **({"fds": {0: null, 1: null, 2: null}} | options))  # type: ignore[arg-type]
        return caught.value

    return attempt


def test_a_program_gets_its_arguments_and_exactly_its_environment(output: Callable[..., str]) -> None:
    assert output("/bin/echo", "a b", "", "ü") == "a b  ü\n"
    assert output("/usr/bin/env") == "PATH=/usr/bin:/bin\n"


def test_the_pidfd_is_of_the_program_and_tells_its_end(null: int) -> None:
    pid, pidfd = native.spawn(["/bin/sleep", "60"], env={}, fds={0: null, 1: null, 2: null})
    assert not os.get_inheritable(pidfd)
    assert select.select([pidfd], [], [], 0)[0] == []
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], 10)[0] == [pidfd]
    os.close(pidfd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_no_descriptor_but_the_given_ones_is_open(output: Callable[..., str], null: int) -> None:
    stray = os.open("/etc/passwd", os.O_RDONLY)
    os.set_inheritable(stray, True)
    high = os.dup2(null, 700)
    try:
        listed = output("/bin/ls", "/proc/self/fd", fds={5: null, 9: stray}).split()
    finally:
        os.close(stray)
        os.close(high)
    assert listed == ["0", "1", "2", "3", "5", "9"]  # 3 is the folder that ls reads


def test_descriptors_that_overlap_are_swapped_not_lost(output: Callable[..., str], tmp_path: Path) -> None:
    handles = []
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text(name)
        handles.append(os.open(tmp_path / name, os.O_RDONLY))
    first, second, third = handles
    script = f"cat <&{first}; cat <&{second}; cat <&{third}"
    turned = {first: second, second: third, third: first}
    try:
        assert output("/bin/bash", "-c", script, fds=turned) == "twothreeone"
    finally:
        for fd in handles:
            os.close(fd)


def test_one_descriptor_may_be_given_twice(output: Callable[..., str]) -> None:
    assert output("/bin/sh", "-c", "echo out; echo err >&2") == "out\nerr\n"


def test_the_program_leads_a_session_only_if_asked(output: Callable[..., str]) -> None:
    script = "cut -d' ' -f1,6 /proc/$$/stat"
    pid, session = output("/bin/sh", "-c", script).split()
    assert pid == session
    pid, session = output("/bin/sh", "-c", script, new_session=False).split()
    assert pid != session
    assert int(session) == os.getsid(0)


def test_signals_are_at_their_defaults_and_unblocked(output: Callable[..., str]) -> None:
    old = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        status = output("/bin/cat", "/proc/self/status")
        assert signal.SIGUSR2 in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.signal(signal.SIGUSR1, old)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
    masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
    assert masks["SigBlk"] == masks["SigIgn"] == masks["SigCgt"] == "0" * 16


def test_a_signal_during_the_spawn_reaches_the_parent(null: int) -> None:
    hits = []
    old = signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(50):
            pid, pidfd = native.spawn(["/bin/true"], env={}, fds={0: null, 1: null, 2: null})
            os.close(pidfd)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert hits


def test_the_working_folder_is_set(output: Callable[..., str], tmp_path: Path) -> None:
    assert output("/bin/pwd", cwd=str(tmp_path)) == f"{tmp_path}\n"


@pytest.mark.usefixtures("root")
def test_ids_are_dropped_with_groups_and_capabilities(output: Callable[..., str]) -> None:
    os.setgroups([4, 27])
    try:
        status = output("/bin/grep", "-E", "^(Uid|Gid|Groups|CapEff|CapPrm)", "/proc/self/status", uid=UID, gid=UID + 1)
    finally:
        os.setgroups([0])
    found = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
    assert found["Uid"] == [str(UID)] * 4
    assert found["Gid"] == [str(UID + 1)] * 4
    assert found["Groups"] == []
    assert found["CapEff"] == found["CapPrm"] == ["0" * 16]


@pytest.mark.usefixtures("root")
def test_the_ids_of_this_process_stay() -> None:
    pid, pidfd = native.spawn(["/bin/true"], env={}, fds={}, uid=UID, gid=UID)
    os.close(pidfd)
    os.waitpid(pid, 0)
    assert os.getresuid() == (0, 0, 0)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(os.getresuid()))
    thread.start()
    thread.join()
    assert seen == [(0, 0, 0)]


def test_the_program_dies_with_the_thread_that_spawned_it(null: int) -> None:
    made: list[tuple[int, int]] = []

    def spawn() -> None:
        made.append(native.spawn(["/bin/sleep", "60"], env={}, fds={0: null, 1: null, 2: null}))

    thread = threading.Thread(target=spawn)
    thread.start()
    thread.join()
    ((pid, pidfd),) = made
    assert select.select([pidfd], [], [], 10)[0] == [pidfd]
    os.close(pidfd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


@pytest.mark.usefixtures("root")
def test_the_death_signal_survives_the_change_of_ids(null: int) -> None:
    made: list[tuple[int, int]] = []
    thread = threading.Thread(
        target=lambda: made.append(native.spawn(["/bin/sleep", "60"], env={}, fds={0: null}, uid=UID, gid=UID))
    )
    thread.start()
    thread.join()
    ((pid, pidfd),) = made
    assert select.select([pidfd], [], [], 10)[0] == [pidfd]
    os.close(pidfd)
    os.waitpid(pid, 0)


def test_without_a_death_signal_it_outlives_the_thread(null: int) -> None:
    made: list[tuple[int, int]] = []
    thread = threading.Thread(
        target=lambda: made.append(native.spawn(["/bin/sleep", "60"], env={}, fds={0: null}, parent_death_signal=None))
    )
    thread.start()
    thread.join()
    ((pid, pidfd),) = made
    assert select.select([pidfd], [], [], 0.1)[0] == []
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)
    os.waitpid(pid, 0)


def test_the_parent_may_have_many_threads_spawning_at_once(null: int) -> None:
    wrong: list[int] = []

    def work() -> None:
        for _ in range(25):
            pid, pidfd = native.spawn(["/bin/sh", "-c", "exit 7"], env={}, fds={0: null, 1: null, 2: null})
            os.close(pidfd)
            if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 7:
                wrong.append(pid)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_missing_program_is_told_by_name(fails: Callable[..., OSError]) -> None:
    error = fails(["/nonexistent/program"])
    assert isinstance(error, FileNotFoundError)
    assert error.filename == "/nonexistent/program"
    assert "while execve" in str(error)


def test_what_is_no_program_is_told(fails: Callable[..., OSError], tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("echo no\n")
    assert fails([str(plain)]).errno == errno.EACCES
    plain.chmod(0o755)
    assert fails([str(plain)]).errno == errno.ENOEXEC
    assert fails([str(tmp_path)]).errno == errno.EACCES


def test_arguments_beyond_what_the_kernel_takes_are_told(fails: Callable[..., OSError]) -> None:
    assert fails(["/bin/true", "x" * (10 << 20)]).errno == errno.E2BIG


def test_a_missing_working_folder_is_told(fails: Callable[..., OSError]) -> None:
    error = fails(cwd="/nonexistent")
    assert error.errno == errno.ENOENT
    assert "while chdir" in str(error)


def test_a_closed_descriptor_is_told(fails: Callable[..., OSError], null: int) -> None:
    spare = os.dup(null)
    os.close(spare)
    error = fails(fds={0: null, 1: spare})
    assert error.errno == errno.EBADF
    assert "descriptor 1" in str(error)


def test_a_descriptor_number_beyond_the_limit_is_told(fails: Callable[..., OSError], null: int) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert fails(fds={limit + 5: null}).errno in (errno.EINVAL, errno.EBADF, errno.EMFILE)


def test_a_cgroup_that_can_not_be_joined_is_told(fails: Callable[..., OSError]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        error = fails(cgroups=[full])
    finally:
        os.close(full)
    assert error.errno == errno.ENOSPC
    assert "cgroup 0" in str(error)


def test_ids_can_not_be_changed_without_root(fails: Callable[..., OSError]) -> None:
    if os.geteuid() == 0:
        os.seteuid(UID)
    try:
        error = fails(uid=UID + 1, gid=UID + 1)
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
    assert error.errno == errno.EPERM
    assert "while setgroups" in str(error)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"argv": []}, "argv is empty"),
        ({"argv": [""]}, "argv is empty"),
        ({"argv": ["/bin/true", "a\0b"]}, "NUL in"),
        ({"env": {"A=B": "c"}}, "no name of an environment variable"),
        ({"env": {"": "c"}}, "no name of an environment variable"),
        ({"env": {"A": "b\0"}}, "NUL in"),
        ({"cwd": "a\0"}, "NUL in"),
        ({"uid": 0, "gid": 5}, "never runs as uid 0"),
        ({"uid": 5, "gid": 0}, "never runs as uid 0"),
        ({"uid": -1, "gid": 5}, "never runs as uid 0"),
        ({"uid": 2**32 - 1, "gid": 5}, "never runs as uid 0"),
        ({"uid": 5}, "uid and gid go together"),
        ({"gid": 5}, "uid and gid go together"),
    ],
)
def test_a_request_that_can_not_be_meant_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        native.spawn(**({"argv": ["/bin/true"], "env": {}, "fds": {}} | options))  # type: ignore[arg-type]


def test_too_many_descriptors_and_negative_ones_are_refused(fails: Callable[..., OSError], null: int) -> None:
    assert fails(fds=dict.fromkeys(range(65), null)).errno == errno.E2BIG
    assert fails(fds={-1: null}).errno == errno.EINVAL
    assert fails(fds={0: -1}).errno == errno.EBADF
    assert fails(fds={2**31 - 1: null}).errno == errno.EINVAL


@pytest.mark.parametrize(("name", "found"), [("cloche-init", native.init_path), ("cloche-inner", native.inner_path)])
def test_the_agents_are_in_the_package_and_can_be_executed(name: str, found: Callable[[], str]) -> None:
    path = Path(found())
    assert path.is_absolute()
    assert path.name == name
    assert path.read_bytes()[:4] == b"\x7fELF"
    assert path.stat().st_mode & 0o777 == 0o755
