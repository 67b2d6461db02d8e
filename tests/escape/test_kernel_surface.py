"""Roads into the kernel that a filter, empty capability sets or a namespace must close."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.escape.attack import Attack, Control, Sight, attack, attacks, own_kernel

if TYPE_CHECKING:
    from cloche import Sandbox

EVERY_LEVEL = ("standard", "enhanced", "maximum")
STRICTER = ("enhanced", "maximum")


def closed(
    act: str,
    tries: str,
    *,
    by: str = "kernel",
    breaks: str = "syscalls",
    control: Control = "open",
    terminal: bool = False,
) -> Attack:
    """Give an attack that is an act of a program in ``programs/``."""
    return Attack(id=act, tries=tries, breaks=breaks, program=(by, act), control=control, terminal=terminal)


REFUSED = [
    closed("userns-unshare", "a user namespace by unshare, and all rights in it"),
    closed("userns-clone", "a user namespace by clone"),
    closed("userns-clone3", "a user namespace by clone3, whose flags a filter can't read"),
    closed("namespaces-other", "each other kind of namespace by unshare and clone"),
    closed("setns", "enter a namespace"),
    closed("ptrace-attach", "trace a sibling and read its memory"),
    closed("ptrace-seize", "trace a sibling without stopping it"),
    closed("ptrace-traceme", "be traced by a parent of its own"),
    closed("process-vm-readv", "read another process's memory"),
    closed("process-vm-writev", "write another process's memory"),
    closed("pidfd-getfd", "take descriptors of the agent, the shepherd, a child"),
    closed("kcmp", "compare kernel pointers of two processes"),
    closed("keyring-add", "keep a secret in a kernel keyring"),
    closed("keyring-session", "join a session keyring by name"),
    closed("keyring-request", "have the kernel start its key helper", control="marked"),
    closed("bpf-map", "make a BPF map", control="marked"),
    closed("bpf-program", "load a BPF program", control="marked"),
    closed("perf-counter", "open a performance counter"),
    closed("userfaultfd", "hold the kernel in a page fault"),
    closed("io-uring", "have a ring make calls that no filter sees"),
    closed("personality-no-randomize", "switch address randomisation off"),
    closed("personality-read-exec", "make all readable memory executable"),
    closed("quotactl", "flush and set disk quotas", control="marked"),
    closed("swapon", "swap to a file of its own", control="marked"),
    closed("kexec", "load another kernel", control="marked"),
    closed("kexec-file", "load another kernel from a file", control="marked"),
    closed("init-module", "load a kernel module", control="marked"),
    closed("finit-module", "load a kernel module from a file", control="marked"),
    closed("delete-module", "remove a kernel module", control="marked"),
    closed("reboot", "arm or restart the machine", control="marked"),
    closed("clock-settime", "set the clock back by a day", control="marked"),
    closed("settimeofday", "set the clock to 1970", control="marked"),
    closed("adjtimex", "tune the clock"),
    closed("acct", "write accounting records to a file", control="marked"),
    closed("iopl", "reach all I/O ports", control="marked"),
    closed("ioperm", "reach one I/O port", control="marked"),
    closed("vhangup", "hang up the terminal", control="marked"),
    closed("tiocsti", "type into the terminal it was given", by="doors", terminal=True),
    closed("tiocsti-high-bits", "the same with high bits set in the command", by="doors", terminal=True),
    closed("tioclinux", "paste by the console's selection", by="doors", terminal=True),
    closed("x32-door", "a call by its x32 number", by="doors"),
    closed("i386-door", "a call by int 0x80", by="doors"),
    closed("i386-door-add-key", "a refused call by its 32-bit number", by="doors"),
    closed("filter-stacked", "lift the filter by a more lenient one on top", by="doors"),
    closed("filter-lost-by-exec", "shake the filter off by executing a program", by="doors"),
    closed("fanotify", "be told of all opens on a file system"),
    closed("kernel-log", "read the kernel's log", control="marked"),
    closed("sethostname", "rename the host"),
    closed("setdomainname", "rename the domain"),
    closed("become-root", "become root or another user", by="rights", breaks="capabilities"),
    closed("raise-capabilities", "put rights into its sets", by="rights", breaks="capabilities"),
    closed("keep-capabilities", "keep rights over a change of user", by="rights", breaks="capabilities"),
]

REFUSED_WHEN_STRICT = [
    closed("modify-ldt", "install a segment descriptor"),
    closed("fileless-execveat", "execute memory that never was a file", by="doors"),
    closed("fileless-by-path", "the same by the path of its descriptor", by="doors"),
    closed("fileless-sealed", "the same from a memory file that says it is none", by="doors"),
    closed("exec-by-descriptor", "execute a descriptor itself", by="doors"),
    closed("filter-listener", "become the judge of its own calls", by="doors"),
    closed("migrate-pages", "move pages of a process between nodes", by="rights"),
]


def shown_to_work(one: Attack, open_box: Callable[..., Sight]) -> None:
    """The control: where it is allowed it has its effect, or makes the very call that is to be refused."""
    if one.control == "marked":
        assert open_box(one.program[0], "--marked", *one.program[1:]).error == "ENOANO"
        return
    found = open_box(*one.program)
    if found.error in ("ENOSYS", "EOPNOTSUPP"):
        pytest.skip(f"this kernel does not have it: {found.error}")
    assert found.done, found


@attacks(REFUSED, levels=STRICTER)
def test_the_road_into_the_kernel_is_closed_by(
    attack: Attack,
    shared: Sandbox,
    open_box: Callable[..., Sight],
    strike: Callable[..., Sight],
    stopped: Callable[[str], None],
) -> None:
    shown_to_work(attack, open_box)
    found = strike(shared, *attack.program, tty=attack.terminal)
    assert not found.done, found
    if own_kernel(shared) and attack.id == "i386-door" and found.saw.startswith("-"):
        stopped("taken for the 64-bit call of that number")
        return
    assert found.signal is not None or found.error in ("EPERM", "ENOSYS", "EINVAL", "EBADF"), found
    stopped(found.words())


@attacks(REFUSED_WHEN_STRICT, levels=STRICTER)
def test_the_road_is_closed_where_hostile_code_runs_by(
    attack: Attack,
    shared: Sandbox,
    open_box: Callable[..., Sight],
    strike: Callable[..., Sight],
    stopped: Callable[[str], None],
) -> None:
    shown_to_work(attack, open_box)
    found = strike(shared, *attack.program)
    assert not found.done, found
    stopped(found.words())


@attack("vsyscall-gadget", "make a call from the vsyscall page", "syscalls", levels=EVERY_LEVEL)
def test_a_call_from_the_old_vsyscall_page_ends_the_program(
    shared: Sandbox, strike: Callable[..., Sight], stopped: Callable[[str], None]
) -> None:
    assert strike(shared, "doors", "own-gadget").done
    found = strike(shared, "doors", "vsyscall-gadget")
    assert not found.done
    stopped(found.words())


@attack("drop-no-new-privs", "take back that it gains no privileges", "capabilities", levels=EVERY_LEVEL)
def test_that_no_privileges_are_gained_can_not_be_taken_back(
    shared: Sandbox, open_box: Callable[..., Sight], strike: Callable[..., Sight], stopped: Callable[[str], None]
) -> None:
    assert open_box("rights", "drop-no-new-privs", "fresh").done
    found = strike(shared, "rights", "drop-no-new-privs")
    assert (found.done, found.error) == (False, "EINVAL")
    stopped("can't be unset")


OWN = [
    Attack(
        id="priority", tries="a higher priority than it was given", breaks="cpu", program=("rights", "priority"),
        harmless=("rights", "priority", "lower"),
    ),
    Attack(
        id="real-time", tries="real-time scheduling, before everybody", breaks="cpu",
        program=("rights", "real-time"), harmless=("rights", "real-time", "batch"),
    ),
    Attack(
        id="mlock", tries="lock a gigabyte of memory", breaks="memory", program=("rights", "mlock"),
        harmless=("rights", "mlock", "4"),
    ),
    Attack(
        id="mlockall", tries="lock all that it will ever map", breaks="memory", program=("rights", "mlockall"),
        harmless=("rights", "mlock", "4"),
    ),
]  # fmt: skip


@attacks(OWN)
def test_more_than_its_share_is_refused_to(
    attack: Attack, shared: Sandbox, strike: Callable[..., Sight], stopped: Callable[[str], None]
) -> None:
    if own_kernel(shared) and attack.breaks == "cpu":
        _claimed_of_its_own_kernel(attack, shared, strike)
        stopped("the guest's kernel says yes, the host's does not know")
        return
    if not strike(shared, *attack.harmless).done:
        assert own_kernel(shared)  # it may have no room at all for it
    found = strike(shared, *attack.program)
    assert not found.done
    stopped(found.words())


def _claimed_of_its_own_kernel(attack: Attack, box: Sandbox, strike: Callable[..., Sight]) -> None:
    """What a guest is told there is its kernel's affair: to the host it must be what it was."""
    agent = int(box.info()["agent_pid"])
    before = [os.getpriority(os.PRIO_PROCESS, agent), os.sched_getscheduler(agent)]
    strike(box, *attack.program)
    assert [os.getpriority(os.PRIO_PROCESS, agent), os.sched_getscheduler(agent)] == before
    assert before[1] == os.SCHED_OTHER
