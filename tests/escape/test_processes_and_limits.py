"""Bombs, hogs, daemons and signals: the box ends or is held, its neighbour and the host go on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

from cloche import StateError
from cloche.testing.ends import alive
from tests.escape.attack import Attack, Sight, attack, attacks, own_kernel

if TYPE_CHECKING:
    from pathlib import Path

    from cloche import Sandbox
    from tests.escape.conftest import Create

Strike = Callable[..., Sight]
Stopped = Callable[[str], None]
PIDS = 40
MEMORY = 48 << 20


def bomb(act: str, tries: str, *, size: str = "5") -> Attack:
    return Attack(
        id=act, tries=tries, breaks="pids", program=("processes", act), control="own", harmless=("processes", act, size)
    )


BOMBS = [
    bomb("fork-loop", "fork until it fails, all alive"),
    bomb("vfork-chain", "processes that wait for each other in the kernel"),
    bomb("threads", "threads until it fails"),
    bomb("zombies", "children that are never waited for"),
]


@attacks(BOMBS)
def test_the_cap_on_processes_holds_against_a(
    attack: Attack,
    create: Create,
    neighbour: Sandbox,
    strike: Strike,
    hold: Callable[..., AbstractContextManager[Sight]],
    tasks: Callable[[Sandbox], int],
    stopped: Stopped,
) -> None:
    box = create(limits={"pids": PIDS})
    assert strike(box, *attack.harmless).done
    with hold(box, *attack.program) as found:
        assert (found.done, found.error) == (False, "EAGAIN")
        assert int(found.saw.split()[0]) <= PIDS + 6  # it may take the room that is kept for cloche's own
        assert tasks(box) <= PIDS + 6  # launcher, agent, shepherds
        assert neighbour.exec("true").ok
    assert box.exec("true").ok
    stopped(found.words())


@attack("fork-bomb-shell", "the classic bomb of two pipes and a function", "pids")
def test_a_fork_bomb_of_a_shell_is_held_and_killed_whole(
    create: Create, neighbour: Sandbox, tasks: Callable[[Sandbox], int], stopped: Stopped
) -> None:
    box = create(limits={"pids": PIDS})
    limb = 'f() { [ "$1" = 0 ] || { f $(($1 - 1)) | f 0 & wait; }; }; f 3; echo fine'
    assert box.exec("sh", "-c", limb).text == "fine\n"
    job = box.spawn("bash", "-c", "bomb() { bomb | bomb & }; bomb; sleep 60", timeout=1)
    most = 0
    while job.running:
        most = max(most, tasks(box))
        assert neighbour.exec("true", timeout=30).ok
        time.sleep(0.02)
    assert job.wait(20).reason == "timeout"
    assert PIDS // 2 < most <= PIDS + 6
    assert box.exec("true").ok
    assert tasks(box) <= 5
    stopped("EAGAIN: limit; killed whole at its time-out")


@attack("orphans", "a thousand orphans that somebody else must reap", "process")
def test_a_thousand_orphans_are_reaped_as_they_come(
    create: Create, strike: Strike, tasks: Callable[[Sandbox], int], stopped: Stopped
) -> None:
    box = create(limits={"pids": PIDS})
    assert strike(box, "processes", "orphans", "10").done
    assert strike(box, "processes", "orphans", "1000").done
    assert tasks(box) <= 5
    stopped("reaped by the shepherd")


# -- memory ----------------------------------------------------------------------------------------------------------


def hog(act: str, tries: str, *arguments: str, much: str = "400", little: str = "2", known: str = "") -> Attack:
    return Attack(
        id=known or act, tries=tries, breaks="memory", program=("hogs", act, much, *arguments), control="own",
        harmless=("hogs", act, little, *arguments),
    )  # fmt: skip


HOGS = [
    hog("malloc", "memory by malloc"),
    hog("mmap-shared", "one large shared mapping"),
    hog("memory-file", "a file that is memory alone"),
    hog("page-tables", "page tables for almost no pages"),
    hog("mappings", "one-page mappings without end", much="50000000", little="100"),
    hog("pipe-buffers", "bytes that wait in pipes", much="500"),
    hog("socket-buffers", "bytes that wait in sockets", much="500"),
    hog("file", "files in /tmp", "/tmp", known="tmp-files"),
    hog("file", "files in /dev/shm", "/dev/shm", known="shm-files"),
]


@attacks(HOGS)
def test_the_memory_of_the_host_is_safe_from_a_hog_of(
    attack: Attack,
    create: Create,
    neighbour: Sandbox,
    strike: Strike,
    open_box: Callable[..., Sight],
    stopped: Stopped,
) -> None:
    if "file" in attack.program and not _has_own_tmp(create()):
        assert open_box("hogs", "file", "2", "/tmp").done
        found = strike(create(), *attack.harmless)
        assert not found.done
        stopped(found.words())
        return
    box = create(limits={"memory": MEMORY, "open_files": 1024})
    little = strike(box, *attack.harmless)
    if own_kernel(box) and attack.id == "memory-file" and little.error == "EBADF":
        stopped("none can be made that may not be executed, and others are refused")
        return
    assert little.done
    found = strike(box, *attack.program)
    assert not found.done
    assert _held(box)
    assert neighbour.exec("true").ok
    assert _recovers(box), "the box outlives its hog, or is told as ended by it"
    stopped("killed for memory" if found.signal == signal.SIGKILL else found.words())


def _held(box: Sandbox) -> bool:
    """Say whether a box did not pass its limit; one with a kernel of its own ends as a whole where it would."""
    try:
        return box.stats()["memory_peak"] <= MEMORY * 1.1
    except StateError:
        return own_kernel(box) and box.reason == "out_of_memory"


def _recovers(box: Sandbox) -> bool:
    """Say whether programs run again; the kernel gives page tables back a moment after who had them (RCU).

    In that moment it may kill the agent, too: then the box has ended for that reason.
    """
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if box.exec("true").ok:
                return True
        except StateError:
            return box.reason == "out_of_memory"
        time.sleep(0.05)
    return False


def _has_own_tmp(box: Sandbox) -> bool:
    return box.exec("sh", "-c", ": > /tmp/own && : > /dev/shm/own").ok


@attack("segments", "System V segments", "memory")
def test_system_v_segments_do_not_pass_the_limit(
    create: Create, strike: Strike, open_box: Callable[..., Sight], stopped: Stopped
) -> None:
    box = create(limits={"memory": MEMORY})
    assert open_box("hogs", "segment", "2").done
    found = strike(box, "hogs", "segment", "400")
    assert not found.done
    assert _held(box)
    stopped("killed for memory" if found.signal == signal.SIGKILL else found.words())


@attack("out-of-memory-pretended", "die as if the kernel had killed it for memory", "memory")
def test_who_kills_itself_is_not_told_as_out_of_memory(create: Create, programs: Path, stopped: Stopped) -> None:
    box = create(limits={"memory": MEMORY})
    pretended = box.exec("sh", "-c", "kill -9 $$")
    assert (pretended.reason, pretended.signal) == ("signalled", 9)
    assert box.exec(str(programs / "hogs"), "malloc", "400").reason == "out_of_memory"
    stopped("told as signalled")


@attack("out-of-memory-score", "have the kernel kill its keeper in its place", "process")
def test_the_kernels_choice_of_a_victim_can_not_be_turned_on_the_agent(
    create: Create, neighbour: Sandbox, programs: Path, stopped: Stopped
) -> None:
    box = create(limits={"memory": MEMORY})
    turn = "for p in /proc/[0-9]*; do echo {} 2>/dev/null > $p/oom_score_adj; done"
    box.exec(
        "sh", "-c", f"{turn.format(1000)}; (echo -1000 > /proc/self/oom_score_adj); exec {programs}/hogs malloc 400"
    )
    assert neighbour.exec("true").ok
    assert _recovers(box)
    stopped("the kernel ended the box" if own_kernel(box) else "the kernel killed the hog")


# -- descriptors -----------------------------------------------------------------------------------------------------

KINDS = [
    Attack(
        id=kind, tries=f"{kind.replace('-', ' ')} until there are no more", breaks="open_files",
        program=("hogs", kind, "100000"), control="own", harmless=("hogs", kind, "5"),
    )
    for kind in ("open-files", "event-descriptors", "timer-descriptors", "socket-pairs", "epoll-sets")
]  # fmt: skip


@attacks([*KINDS, Attack(
    id="inotify-instances", tries="inotify instances until there are no more", breaks="open_files",
    program=("hogs", "inotify-instances", "100000"), control="own", harmless=("hogs", "inotify-instances", "5"),
)])  # fmt: skip
def test_the_bound_on_open_descriptors_holds_for(
    attack: Attack, shared: Sandbox, neighbour: Sandbox, strike: Strike, stopped: Stopped
) -> None:
    assert strike(shared, *attack.harmless).done
    before = _open_files_of_the_machine()
    found = strike(shared, *attack.program)
    assert (found.done, found.error) == (False, "EMFILE")
    assert int(found.saw.split()[0]) <= (shared.spec.limits.open_files or 0)
    assert neighbour.exec("true").ok
    assert _open_files_of_the_machine() < before + 5000
    stopped(found.words())


def _open_files_of_the_machine() -> int:
    with open("/proc/sys/fs/file-nr", encoding="ascii") as file:
        return int(file.read().split()[0])


QUEUES = [
    Attack(
        id=act, tries=tries, breaks="memory", program=("processes", act), control="own",
        harmless=("processes", act, "3"),
    )
    for act, tries in (("signal-queue", "signals that it never takes"), ("timers", "timers without end"))
]  # fmt: skip


@attacks(QUEUES)
def test_the_kernels_memory_is_bounded_against(
    attack: Attack, create: Create, neighbour: Sandbox, strike: Strike, stopped: Stopped
) -> None:
    box = create(limits={"memory": MEMORY})
    assert strike(box, *attack.harmless).done
    found = strike(box, *attack.program)
    assert not found.done
    assert _held(box)
    assert strike(neighbour, *attack.harmless).done
    stopped("killed for memory" if found.signal == signal.SIGKILL else found.words())


@attack("raise-limits", "raise its own hard limits", "open_files")
def test_its_limits_can_be_lowered_but_not_raised(create: Create, strike: Strike, stopped: Stopped) -> None:
    box = create()
    assert strike(box, "processes", "raise-limits", "lower").done
    found = strike(box, "processes", "raise-limits")
    assert not found.done
    stopped(found.words())


# -- time ------------------------------------------------------------------------------------------------------------


@attack("cpu-spin", "eight threads on every processor", "cpu")
def test_who_spins_on_all_threads_gets_its_share_and_no_more(
    create: Create, neighbour: Sandbox, strike: Strike, programs: Path, stopped: Stopped
) -> None:
    assert strike(neighbour, "processes", "burn", "1", "20").done
    box = create(limits={"cpu": 0.5, "wall": 30})
    before = box.stats()["cpu"]
    began = time.monotonic()
    job = box.spawn(str(programs / "processes"), "burn", "8", "1200")
    share = strike(neighbour, "processes", "burn", "1", "300")
    assert int(share.saw) >= 30, "the neighbour got next to nothing"
    assert job.wait(20).ok
    used, passed = box.stats()["cpu"] - before, time.monotonic() - began
    assert used <= 0.8 * passed
    stopped(f"held to half a processor by {box.enforcement['cpu']}".split(" by ")[0])


@attack("futex-storm", "threads that wake each other without end", "cpu")
def test_a_storm_of_futexes_leaves_the_neighbour_alone(
    create: Create, neighbour: Sandbox, strike: Strike, programs: Path, stopped: Stopped
) -> None:
    assert strike(neighbour, "processes", "futex-storm", "2", "10").done
    box = create(limits={"cpu": 0.5})
    job = box.spawn(str(programs / "processes"), "futex-storm", "16", "60000", timeout=0.6)
    assert strike(neighbour, "processes", "burn", "1", "100").done
    assert job.wait(20).reason == "timeout"
    stopped("held by its share, killed at its time-out")


@pytest.fixture
def marker() -> str:
    return f"{5000 + os.getpid() % 1000}.{time.monotonic_ns() % 10**9:09d}"


@attack("sleep-forever", "do nothing, for ever", "process")
def test_who_sleeps_for_ever_is_ended_by_the_boxs_time(create: Create, marker: str, stopped: Stopped) -> None:
    assert create().exec("sleep", "0.01").ok
    box = create(lifetime=0.4)
    assert (box.exec("sleep", marker).reason, box.wait()) == ("limit:lifetime", "limit:lifetime")
    idle = create(idle_timeout=0.3)
    assert idle.exec("sh", "-c", f"setsid sleep {marker} >/dev/null 2>&1 &", linger=True).ok
    assert idle.wait() == "limit:idle_timeout"
    assert not alive(marker)
    stopped("ended by lifetime or idle_timeout")


@attack("signals-ignored", "mind no signal that can be ignored", "process")
def test_who_ignores_every_signal_is_killed_all_the_same(create: Create, marker: str, stopped: Stopped) -> None:
    box = create()
    deaf = f"trap '' HUP INT QUIT TERM USR1 USR2 ALRM TSTP TTIN TTOU; echo ready; while :; do sleep {marker}; done"
    job = box.spawn("sh", "-c", deaf, timeout=1)
    assert next(job.lines()) == "ready"
    job.signal("TERM")
    job.signal("INT")
    time.sleep(0.1)
    assert job.running
    assert job.wait(20).reason == "timeout"
    assert not alive(marker)
    stopped("killed at its time-out")


@attack("daemon", "outlive the call as a daemon by the book", "process")
def test_a_daemon_does_not_outlive_its_call(
    create: Create, strike: Strike, tasks: Callable[[Sandbox], int], stopped: Stopped
) -> None:
    box = create()
    assert strike(box, "processes", "daemon", linger=True).done
    quiet = tasks(create())
    assert tasks(box) > quiet
    box = create()
    assert strike(box, "processes", "daemon").done
    deadline = time.monotonic() + 5
    while tasks(box) > quiet + 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert tasks(box) <= quiet + 1  # the next program's shepherd
    stopped("killed with its call")


@attack("daemon-outlives-box", "outlive the box as a daemon by the book", "process")
def test_a_daemon_does_not_outlive_its_box(create: Create, marker: str, stopped: Stopped) -> None:
    box = create()
    command = f"trap '' HUP TERM; (setsid setsid sleep {marker} >/dev/null 2>&1 &)"
    assert box.exec("sh", "-c", command, linger=True).ok
    until = time.monotonic() + 10
    while not _runs(box, marker):  # it may not have begun yet
        assert time.monotonic() < until
        time.sleep(0.02)
    agent = box.info()["agent_pid"]
    box.delete()
    assert not alive(marker)
    assert _is_over(agent)
    stopped("killed with its box")


def _is_over(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(") ")[2][0] == "Z"  # for init to reap
    except FileNotFoundError:
        return True


def _runs(box: Sandbox, marker: str) -> bool:
    if own_kernel(box):
        return box.exec("pgrep", "-f", f"^sleep {marker}").ok
    found = subprocess.run(["pgrep", "-f", marker], capture_output=True, text=True, check=False)
    return bool(found.stdout.split())


@attack("stop-itself", "stop itself, so that it never ends", "process")
def test_who_stops_itself_is_ended_by_its_time_out(
    create: Create, strike: Strike, programs: Path, stopped: Stopped
) -> None:
    box = create()
    assert strike(box, "processes", "stop", "child").done
    assert box.exec(str(programs / "processes"), "stop", "self", timeout=0.5).reason == "timeout"
    assert box.exec("true").ok
    stopped("killed at its time-out")


@attack("stop-shepherd", "stop its shepherd, so that its end is never told", "process")
def test_who_stops_its_shepherd_does_not_hang_the_host(
    create: Create, neighbour: Sandbox, strike: Strike, programs: Path, stopped: Stopped
) -> None:
    box = create()
    assert strike(box, "processes", "stop", "child").done
    for target in ("shepherd", "agent"):
        began = time.monotonic()
        done = box.exec(str(programs / "processes"), "stop", target, timeout=1)
        assert time.monotonic() - began < 15
        assert done.reason in ("exited", "timeout", "killed", "signalled"), done
        assert neighbour.exec("true").ok
        if box.state != "running":
            box = create()
    box.delete()
    stopped("refused, or ended by its time-out")


@attack("pause-undone", "continue its own processes while it is paused", "pause")
def test_a_paused_box_can_not_continue_itself(create: Create, stopped: Stopped) -> None:
    box = create()
    tick = "while :; do echo tick; sleep 0.01; done"
    job = box.spawn("sh", "-c", f"({tick}) & p=$!; while :; do kill -CONT $p; done")
    next(job.lines())
    box.pause()
    time.sleep(0.05)
    held = len(job.held())
    time.sleep(0.2)
    assert len(job.held()) == held
    box.resume()
    deadline = time.monotonic() + 10
    while len(job.held()) <= held and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(job.held()) > held
    job.kill()
    stopped("all are stopped, the one that would continue them too")


# -- others' processes -----------------------------------------------------------------------------------------------


@pytest.fixture
def victim(shared: Sandbox) -> Iterator[subprocess.Popen[bytes]]:
    """Give a process of the host that belongs to the very user of the box."""
    uid = os.stat(f"/proc/{shared.info()['agent_pid']}").st_uid
    user = {"user": uid} if os.geteuid() == 0 else {}
    with subprocess.Popen(["/bin/sleep", "60"], **user) as process:  # type: ignore[call-overload]
        yield process
        process.kill()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process of the host's own user."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield process
        process.kill()


@attack("kill-all", "signal every number up to 65536", "process")
def test_no_process_outside_dies_of_signals_to_every_number(
    create: Create, victim: subprocess.Popen[bytes], neighbour: Sandbox, strike: Strike, stopped: Stopped
) -> None:
    box = create()
    found = strike(box, "processes", "kill-all")
    assert found.done, "its own child dies of it"
    assert victim.poll() is None
    assert neighbour.exec("true").ok
    stopped("only its own are found")


@attack("kill-minus-one", "signal everybody at once", "process")
def test_no_process_outside_dies_of_a_signal_to_everybody(
    create: Create, victim: subprocess.Popen[bytes], neighbour: Sandbox, programs: Path, stopped: Stopped
) -> None:
    box = create()
    child = "sleep 60 & kill -9 -1 || kill -9 $!; wait $!; echo $?"
    done = box.exec("bash", "-c", child, timeout=20)
    assert done.reason == "signalled" or "137" in done.text or b"not permitted" in done.stderr, done
    box.exec(str(programs / "processes"), "kill-minus-one", timeout=20)
    assert victim.poll() is None
    assert neighbour.exec("true").ok
    stopped("only its own are found")


@attack(
    "signal-roads",
    "signal a host process of its own user by each of eight roads",
    "process",
    levels=("standard", "enhanced"),
)
def test_no_road_to_a_signal_leads_outside(
    shared: Sandbox, victim: subprocess.Popen[bytes], strike: Strike, stopped: Stopped
) -> None:
    assert strike(shared, "processes", "signal-roads").done
    found = strike(shared, "processes", "signal-roads", str(victim.pid))
    assert not found.done, found
    assert victim.poll() is None
    stopped(found.words())


@attack("slow-down", "take priority and processors from a host process", "process")
def test_no_process_outside_is_slowed_down(
    shared: Sandbox, stranger: subprocess.Popen[bytes], strike: Strike, stopped: Stopped
) -> None:
    assert strike(shared, "processes", "slow-down").done
    before = _standing(stranger.pid)
    found = strike(shared, "processes", "slow-down", str(stranger.pid))
    assert _standing(stranger.pid) == before
    assert not found.done
    stopped(found.words())


@attack("cut-limits", "cut the limits of a host process of its own user", "process")
def test_no_process_outside_has_its_limits_cut(
    shared: Sandbox, victim: subprocess.Popen[bytes], strike: Strike, open_box: Callable[..., Sight], stopped: Stopped
) -> None:
    assert open_box("processes", "cut-limits").done
    before = _standing(victim.pid)
    found = strike(shared, "processes", "cut-limits", str(victim.pid))
    assert _standing(victim.pid) == before
    assert not found.done
    stopped(found.words())


def _standing(pid: int) -> tuple[object, ...]:
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:
        return os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid), os.sched_getscheduler(pid), file.read()


# -- how it ended ----------------------------------------------------------------------------------------------------


@attack("forge-report", "write a report of its own end on any socket it can find", "process")
def test_a_report_can_not_be_forged(create: Create, strike: Strike, programs: Path, stopped: Stopped) -> None:
    box = create()
    assert strike(box, "processes", "forge-report", "own").done
    found = strike(box, "processes", "forge-report")
    assert not found.done, found
    done = box.exec("sh", "-c", f"{programs}/processes forge-report >/dev/null; exit 5")
    assert (done.reason, done.exit_code) == ("exited", 5)
    stopped("no socket is found")


@attack("exit-code-spoofed", "end with a code that looks like another end", "process")
def test_an_exit_code_that_looks_like_a_signal_is_told_as_what_it_is(shared: Sandbox, stopped: Stopped) -> None:
    for code in (137, 143, 124, 127, 126, 255):
        done = shared.exec("sh", "-c", f"exit {code}")
        assert (done.reason, done.exit_code, done.signal) == ("exited", code, None)
    killed = shared.exec("sh", "-c", "kill -9 $$")
    assert (killed.reason, killed.exit_code, killed.signal) == ("signalled", 137, 9)
    stopped("told as exited")


@attack("core-dump", "leave a core file as large as its memory", "file_size")
def test_a_crash_leaves_no_core_file(
    create: Create, strike: Strike, open_box: Callable[..., Sight], stopped: Stopped
) -> None:
    if not open_box("processes", "dump-core").done:
        pytest.skip("this machine's own limit on core files is 0 already")
    box = create()
    found = strike(box, "processes", "dump-core")
    assert not found.done, found
    assert box.exec("ls", "-A").text == ""
    stopped("RLIMIT_CORE 0")


@attack("output-flood", "print without end and without a newline", "output")
@pytest.mark.parametrize("stream", [1, 2])
def test_a_flood_without_a_newline_ends_at_the_limit(create: Create, stream: int, stopped: Stopped) -> None:
    box = create(limits={"output": "1M"})
    flood = f"tr '\\0' x < /dev/zero >&{stream}"
    assert len(box.exec("sh", "-c", f"head -c 900000 /dev/zero >&{stream}").check().stdout) in (0, 900_000)
    done = box.exec("sh", "-c", flood, timeout=30)
    assert (done.reason, len(done.stdout) + len(done.stderr)) == ("limit:output", 1 << 20)
    job = box.spawn("sh", "-c", flood, ring="64K", timeout=0.5)
    assert job.wait(20).reason == "timeout"
    assert sum(len(chunk.data) for chunk in job.held()) <= 64 << 10
    stopped("ended at the limit; a job keeps its ring")


@attack("output-after-exit", "print from a grandchild after it ended", "process")
def test_what_a_grandchild_prints_after_the_end_is_not_waited_for(create: Create, stopped: Stopped) -> None:
    box = create()
    assert box.exec("sh", "-c", "(sleep 0.1; echo late) & wait").text == "late\n"
    began = time.monotonic()
    done = box.exec("sh", "-c", "(trap '' TERM HUP; setsid sh -c 'sleep 20; echo late') & echo first")
    assert (done.text, done.ok) == ("first\n", True)
    assert time.monotonic() - began < 15
    stopped("killed with its call")
