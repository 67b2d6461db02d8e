"""What a box leaves for the next one of the same host: the same host user, the same control group, nothing else."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.escape.attack import Attack, Sight, attack, attacks, own_kernel

if TYPE_CHECKING:
    from cloche import Sandbox
    from tests.escape.conftest import Create

Strike = Callable[..., Sight]
Stopped = Callable[[str], None]


@pytest.fixture
def successor(create: Create) -> Callable[[Sandbox], Sandbox]:
    """Delete a box and make the next, which gets the same host user where boxes have one."""

    def follow(box: Sandbox, **wanted: object) -> Sandbox:
        agent = f"/proc/{box.info()['agent_pid']}"
        user = os.stat(agent).st_uid if os.path.exists(agent) else None  # what has ended had the next one's
        box.delete()
        after = create(**wanted)
        if os.geteuid() == 0:
            assert user in (None, os.stat(f"/proc/{after.info()['agent_pid']}").st_uid), (
                "the test is about the same user"
            )
        return after

    return follow


LEAVINGS = [
    Attack(id="left-env", tries="variables", breaks="process", program=("export LEFT=1; true", "env | grep LEFT")),
    Attack(
        id="left-work", tries="a file in the work folder", breaks="process",
        program=("echo x > left", "cat left; ls -A | grep .")
    ),
    Attack(
        id="left-tmp", tries="files in /tmp and /var/tmp", breaks="process",
        program=("echo x > /tmp/left; echo x > /var/tmp/left; true", "cat /tmp/left /var/tmp/left"),
    ),
    Attack(
        id="left-shm", tries="a file in /dev/shm", breaks="process",
        program=("echo x > /dev/shm/left; true", "cat /dev/shm/left"),
    ),
    Attack(
        id="left-environ", tries="secrets in /proc/*/environ", breaks="process",
        program=("LEFT=left sleep 60 & true", "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep LEFT="),
    ),
    Attack(
        id="left-umask", tries="a mask for new files", breaks="process",
        program=("umask 0; true", 'test "$(umask)" = 0000'),
    ),
    Attack(
        id="left-limits", tries="lowered limits", breaks="process",
        program=("ulimit -n 9; ulimit -u 3; true", 'test "$(ulimit -n)" = 9'),
    ),
    Attack(
        id="left-nice", tries="a low priority", breaks="process",
        program=("renice -n 19 $$ $PPID >/dev/null; true", 'test "$(nice)" = 19'),
    ),
    Attack(
        id="left-mounts-and-names", tries="a host name, a mount", breaks="process",
        program=("hostname left; mount -t tmpfs none /tmp; true", 'test "$(uname -n)" = left'),
    ),
]  # fmt: skip


@attacks(LEAVINGS)
def test_the_next_box_does_not_find(
    attack: Attack, create: Create, successor: Callable[..., Sandbox], stopped: Stopped
) -> None:
    leave, look = attack.program
    box = create()
    both = box.exec("sh", "-c", f"{leave}\n{look}")
    can_be_left = both.ok
    box.exec("sh", "-c", leave, linger=True).check()
    after = successor(box)
    found = after.exec("sh", "-c", look)
    assert not found.ok, found.text
    stopped("gone with the box" if can_be_left else "could not be left at all")


@attack("left-daemon", "a daemon of the user that the next box has", "process")
def test_no_process_of_the_box_before_lives_on(
    create: Create, successor: Callable[..., Sandbox], strike: Strike, stopped: Stopped
) -> None:
    box = create()
    assert strike(box, "processes", "daemon", linger=True).done
    user = os.stat(f"/proc/{box.info()['agent_pid']}").st_uid
    assert box.exec("pgrep", "escaped-daemon").ok if own_kernel(box) else "escaped-daemon" in _names(user)
    after = successor(box)
    assert "escaped-daemon" not in _names(os.stat(f"/proc/{after.info()['agent_pid']}").st_uid)
    stopped("killed with its box")


def _names(uid: int) -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdecimal() and os.stat(f"/proc/{name}").st_uid in (uid, 0):
                with open(f"/proc/{name}/comm", encoding="utf-8", errors="replace") as file:
                    found.append(file.read().strip())
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
    return found


@attack("left-ipc", "System V segments, semaphores, queues of the user that the next box has", "process")
def test_no_object_without_a_path_is_left(create: Create, successor: Callable[..., Sandbox], stopped: Stopped) -> None:
    make = "ipcmk -M 4096 -S 1 -Q >/dev/null 2>&1; ipcs -m -s -q 2>/dev/null | grep -c 0x"
    before = _objects()
    box = create()
    made = box.exec("sh", "-c", make).text.strip()
    after = successor(box)
    assert after.exec("sh", "-c", "ipcs -m -s -q 2>/dev/null | grep -c 0x").text.strip() in ("0", "")
    assert _objects() == before
    stopped("gone with the IPC namespace" if made not in ("0", "") else "EPERM: refused")


def _objects() -> list[int]:
    counts = []
    for kind in ("shm", "sem", "msg"):
        with open(f"/proc/sysvipc/{kind}", encoding="ascii") as file:
            counts.append(len(file.readlines()))
    return counts


class Segment:
    """A System V segment of the host, readable and writable by everybody (shmget(2))."""

    KEY = 0x65736361

    def __init__(self) -> None:
        self._c = ctypes.CDLL(None, use_errno=True)
        self._c.shmat.restype = ctypes.c_void_p
        self._id = self._c.shmget(self.KEY, 4096, 0o1666)  # IPC_CREAT
        assert self._id >= 0, os.strerror(ctypes.get_errno())
        self._at = self._c.shmat(self._id, None, 0)

    def text(self) -> bytes:
        return ctypes.string_at(self._at)

    def clear(self) -> None:
        ctypes.memset(self._at, 0, 4096)

    def close(self) -> None:
        self._c.shmdt(ctypes.c_void_p(self._at))
        self._c.shmctl(self._id, 0, None)  # IPC_RMID


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment()
    yield segment
    segment.close()


@pytest.fixture
def queue() -> Iterator[str]:
    """Give the name of a POSIX message queue of the host that everybody may write to (mq_overview(7))."""
    name = f"/escape-{os.getpid()}"
    c = ctypes.CDLL(None, use_errno=True)
    old = os.umask(0)
    fd = c.mq_open(name.encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
    os.umask(old)
    if fd < 0:
        pytest.skip(f"no message queue can be made here: {os.strerror(ctypes.get_errno())}")
    yield name
    os.close(fd)
    c.mq_unlink(name.encode())


@attack("host-ipc", "a System V segment of the host that everybody may use", "process", levels=("standard", "enhanced"))
def test_a_segment_of_the_host_is_not_found(
    create: Create, open_box: Callable[..., Sight], strike: Strike, segment: Segment, stopped: Stopped
) -> None:
    assert open_box("objects", "segment", str(segment.KEY), share=("ipc",), cache=False).done
    assert segment.text() == b"escaped"
    segment.clear()
    found = strike(create(), "objects", "segment", str(segment.KEY))
    assert not found.done, found
    assert segment.text() == b""
    stopped(found.words())


@attack(
    "host-queue", "a POSIX message queue of the host that everybody may use", "process", levels=("standard", "enhanced")
)
def test_a_message_queue_of_the_host_is_not_found(
    create: Create, open_box: Callable[..., Sight], strike: Strike, queue: str, stopped: Stopped
) -> None:
    assert open_box("objects", "queue", queue, share=("ipc",), cache=False).done
    found = strike(create(), "objects", "queue", queue)
    assert not found.done, found
    stopped(found.words())


@attack("left-counters", "a full account: memory, processes, processor time", "memory")
def test_the_next_boxs_counters_begin_at_nothing(
    create: Create, successor: Callable[..., Sandbox], strike: Strike, stopped: Stopped
) -> None:
    box = create(limits={"memory": "64M"})
    strike(box, "processes", "burn", "1", "200")
    assert strike(box, "hogs", "malloc", "36").done
    used = box.stats()
    assert used["memory_peak"] > 32 << 20
    assert not strike(box, "hogs", "malloc", "400").done
    own = (24 if own_kernel(box) else 0) << 20  # of the guest's kernel
    fresh = successor(box, limits={"memory": "64M"}).stats()
    assert fresh["memory_peak"] < own + (16 << 20)
    assert fresh["cpu"] < used["cpu"]
    assert fresh["oom_kills"] == 0
    stopped("counted anew")


@attack("neighbour-work", "read the work folder of a box that lives beside it", "filesystem")
def test_a_box_does_not_read_its_neighbours_work_folder(box: Sandbox, neighbour: Sandbox, stopped: Stopped) -> None:
    work = neighbour.exec("pwd").text.strip()
    own = box.exec("sh", "-c", "echo own > mine; cat mine; cd ..; ls -A . | grep -c .")
    assert own.text.startswith("own\n")
    read = f"cat {work}/mine {work}/../*/mine /tmp/cloche*/*/mine /tmp/*/cloche*/*/mine 2>/dev/null"
    assert "untouched" not in box.exec("sh", "-c", read).text
    box.exec("sh", "-c", f"echo taken > {work}/mine; rm -rf {work}/../*/mine")
    stopped("it is not in its view, or closed to it")


@attack("neighbour-processes", "see or signal the programs of a box that lives beside it", "process")
def test_a_box_neither_sees_nor_signals_its_neighbours_programs(
    box: Sandbox, neighbour: Sandbox, strike: Strike, stopped: Stopped
) -> None:
    job = neighbour.spawn("sh", "-c", "echo up; exec sleep 4731.5")
    assert next(job.lines()) == "up"
    pid = int(neighbour.info()["agent_pid"])
    if not own_kernel(neighbour):
        pid = next(int(n) for n in os.listdir("/proc") if n.isdecimal() and b"4731.5" in _arguments(n))
    assert "4731.5" not in box.exec("sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null").text
    for act in ("signal-roads", "slow-down", "cut-limits"):
        assert not strike(box, "processes", act, str(pid)).done, act
    box.exec("sh", "-c", f"kill -9 {pid} -{pid}")
    assert job.running
    job.kill()
    stopped("not in its view, or refused")


def _arguments(pid: str) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
        return b""
