"""spawn(namespaces=True): the process itself; what cloche-init does in it is tested in native/init."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cloche_native as native

if TYPE_CHECKING:
    from collections.abc import Callable

UID = 231_004
OWN: dict[str, Any] = {"uid": UID, "gid": UID} if os.geteuid() == 0 else {}
KEPT = {1, 8, 12, 21}  # CAP_DAC_OVERRIDE CAP_SETPCAP CAP_NET_ADMIN CAP_SYS_ADMIN


@pytest.fixture
def output(null: int) -> Callable[..., str]:
    """Run a script in new namespaces to its end and give what it wrote."""

    def run(script: str, *, new_session: bool = True) -> str:
        reading, writing = os.pipe()
        with os.fdopen(reading) as pipe:
            try:
                pid, pidfd = native.spawn(
                    ["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, fds={0: null, 1: writing, 2: writing},
                    namespaces=True, new_session=new_session, **OWN,
                )  # fmt: skip
            finally:
                os.close(writing)
            text = pipe.read()
        os.close(pidfd)
        os.waitpid(pid, 0)
        return text

    return run


def test_it_is_process_1_of_namespaces_of_its_own(output: Callable[..., str]) -> None:
    assert output("echo $$") == "1\n"
    kinds = ("user", "mnt", "pid", "ipc", "uts", "cgroup", "net")
    listed = output(f"for n in {' '.join(kinds)}; do readlink /proc/self/ns/$n; done").split()
    ours = {os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}
    assert {link.split(":")[0] for link in set(listed) - ours} == {*kinds} - {"net"}


def test_it_is_our_child_and_ends_with_its_pidfd(null: int) -> None:
    pid, pidfd = native.spawn(["/bin/sleep", "60"], env={}, fds={0: null, 1: null, 2: null}, namespaces=True, **OWN)
    assert not os.get_inheritable(pidfd)
    status = Path(f"/proc/{pid}/status").read_text()
    assert f"\nPPid:\t{os.getpid()}\n" in status
    assert f"\nNSpid:\t{pid}\t1\n" in status
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], 10)[0] == [pidfd]
    os.close(pidfd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_no_id_is_mapped_yet_and_only_its_own_can_be(output: Callable[..., str]) -> None:
    own = OWN.get("uid", os.geteuid())
    assert output("cat /proc/self/uid_map; id -u") == "65534\n"
    # A process made by the first one is a plain child in the namespace: it may map what the first one may.
    refused = output(f"for id in 0 {own + 1}; do echo 0 $id 1 > /proc/self/uid_map; done; cat /proc/self/uid_map")
    assert refused.count("error") == 2
    assert output(f"echo '7 {own} 1' > /proc/self/uid_map; id -u") == "7\n"


def test_its_capabilities_are_few_and_of_no_use_outside(output: Callable[..., str]) -> None:
    sets = dict(line.split(":\t") for line in output("grep ^Cap /proc/self/status").splitlines())
    assert {name: int(value, 16) for name, value in sets.items() if name != "CapBnd"} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapAmb"), sum(1 << cap for cap in KEPT)
    )
    own = OWN.get("uid", os.geteuid())
    tried = output(
        f"echo '0 {own} 1' > /proc/self/uid_map; echo x > /proc/sys/kernel/core_pattern; cat /etc/shadow;"
        "hostname glass && hostname"
    )
    assert tried.count("denied") == (2 if os.geteuid() == 0 or not os.access("/etc/shadow", os.R_OK) else 1)
    assert tried.endswith("glass\n")  # the control: in its own namespaces they do work
    assert os.uname().nodename != "glass"


def test_it_leads_a_session_only_if_asked(output: Callable[..., str]) -> None:
    ask = "cut -d' ' -f6 /proc/self/stat"  # /proc is still ours, and so are its numbers
    assert int(output(ask, new_session=False)) == os.getsid(0)
    assert int(output(ask)) != os.getsid(0)


def test_signals_are_at_their_defaults_and_unblocked(output: Callable[..., str]) -> None:
    old = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        status = output("exec cat /proc/self/status")
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert [line.split()[1] for line in status.splitlines() if line.startswith(("SigBlk", "SigIgn"))] == ["0" * 16] * 2


@pytest.mark.usefixtures("root")
def test_a_folder_staged_for_it_is_there(tmp_path: Path, null: int) -> None:
    for parent in (tmp_path, *tmp_path.parents[:-2]):  # all below /tmp
        parent.chmod(0o755)
    (tmp_path / "work").mkdir(mode=0o700)
    (tmp_path / "work/file").write_text("of root\n")
    (tmp_path / "stage").mkdir()
    stage = native.Stage(str(tmp_path / "work"), "0", True, 0, UID, 0, UID)
    reading, writing = os.pipe()
    pid, pidfd = native.spawn(
        ["/bin/cat", f"{tmp_path}/stage/0/file"], env={}, fds={0: null, 1: writing, 2: writing}, namespaces=True,
        stages=[stage], stage_folder=str(tmp_path / "stage"), **OWN,
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "of root\n"
    os.close(pidfd)
    os.waitpid(pid, 0)


@pytest.mark.usefixtures("root")
def test_root_of_the_host_can_not_own_them(null: int) -> None:
    with pytest.raises(PermissionError, match="while checking the request"):
        native.spawn(["/bin/true"], env={}, fds={0: null, 1: null, 2: null}, namespaces=True)


def test_a_program_that_can_not_be_executed_is_told_and_leaves_nothing(null: int) -> None:
    for _ in range(20):
        with pytest.raises(FileNotFoundError, match="while execve"):
            native.spawn(["/no/such"], env={}, fds={0: null, 1: null, 2: null}, namespaces=True, **OWN)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_child_that_ends_is_no_signal_to_us(null: int) -> None:
    # Neither the helper, nor a program that was never executed: an embedding program counts its own children.
    heard: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, _: heard.append(number))
    try:
        with pytest.raises(FileNotFoundError):
            native.spawn(["/no/such"], env={}, fds={0: null, 1: null, 2: null}, namespaces=True, **OWN)
        assert heard == []
    finally:
        signal.signal(signal.SIGCHLD, before)


NONE_LEFT = """
import errno, os, sys
import cloche_native as native
with open("/proc/sys/user/max_user_namespaces", "w") as file:
    file.write("0")
null = os.open(os.devnull, os.O_RDWR)
try:
    native.spawn(["/bin/true"], env={}, fds={0: null, 1: null, 2: null}, namespaces=True)
except OSError as error:
    print(error.errno, error.strerror)
"""


def test_where_no_namespace_may_be_made_the_error_says_where_to_look() -> None:
    command = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps", sys.executable, "-c"]
    done = subprocess.run([*command, NONE_LEFT], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith(f"{errno.ENOSPC} No space left on device, while entering namespaces"), done
    assert "user.max_*_namespaces" in done.stdout


KILLED = """
import os, sys, time
import cloche_native as native
null = os.open(os.devnull, os.O_RDWR)
own = dict(uid=int(sys.argv[2]), gid=int(sys.argv[2])) if os.geteuid() == 0 else {}
native.spawn(["/bin/sleep", sys.argv[1]], env={}, fds={0: null, 1: null, 2: null}, namespaces=True, **own)
print("up", flush=True)
time.sleep(60)
"""


def test_it_ends_with_the_thread_that_spawned_it() -> None:
    marker = f"{5000 + os.getpid() % 1000}.{time.monotonic_ns() % 10**9:09d}"
    with subprocess.Popen([sys.executable, "-c", KILLED, marker, str(UID)], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout
        assert host.stdout.readline() == "up\n"
        assert sleeping(marker)
        host.kill()
        host.wait(10)
    deadline = time.monotonic() + 5
    while sleeping(marker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not sleeping(marker)


def sleeping(marker: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == f"/bin/sleep\0{marker}\0".encode():
                return True
        except OSError:
            continue  # it ended while we looked
    return False
