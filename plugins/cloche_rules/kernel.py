"""Parts of the kernel that few programs need, other processes' memory, clocks."""

from __future__ import annotations

from typing import Final

from cloche import Act, Count, F, Rule, Severity
from cloche_rules.words import READS, RUN, WRITES, at, did, hit, miss, ran, runs, says

_ATTACH: Final = (16, 0x4206)
"""Of ptrace(2): ATTACH SEIZE."""
_POKE: Final = (4, 5, 13, 15, 0x4205)
"""POKETEXT POKEDATA SETREGS SETFPREGS SETREGSET."""
_CALL: Final = frozenset({Act.KERNEL})
_KINDS: Final = "use another means: this part of the kernel is kept from sandboxes"

RULES: Final = (
    Rule(
        id="kernel-module", severity=Severity.CRITICAL, events=frozenset({Act.MODULE}),
        summary="code is loaded into the kernel, or another kernel",
        mode="inline",
        attack=("T1547.006", "T1014"), tags=frozenset({"kernel", "escape"}),
        message="{call}", hint="a sandbox can't change the kernel",
        examples=(hit(did("module", call="finit_module")), miss(did("memfd", target="x", flags=0))),
    ),
    Rule(
        id="kernel-module-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that loads or removes kernel modules",
        where=runs("insmod", "modprobe", "rmmod", "kmod", "depmod", "dkms") | says("modprobe", "insmod", "rmmod",
            "/etc/modules", "/etc/modprobe.d"),
        attack=("T1547.006", "T1014"), tags=frozenset({"kernel", "persistence"}),
        message="{cmdline}", hint="a sandbox can't change the kernel",
        examples=(hit(ran("insmod", "x.ko")), hit(ran("sudo", "modprobe", "x")), miss(ran("modinfo", "ext4"))),
    ),
    Rule(
        id="kernel-module-files", severity=Severity.HIGH, events=WRITES,
        summary="what the kernel loads at its start is changed",
        where=at("/etc/modules", "/etc/modules-load.d/**", "/etc/modprobe.d/**", "/lib/modules/**",
            "/usr/lib/modules/**", "/boot/**", "/etc/default/grub", "/etc/initramfs-tools/**"),
        mode="inline", best_effort=True,
        attack=("T1547.006", "T1542"), tags=frozenset({"kernel", "persistence"}),
        message="{file} is changed", hint="a sandbox can't change the kernel",
        examples=(hit(did("create", "/etc/modprobe.d/x.conf")), miss(did("open", "/lib/modules/6.1/modules.dep"))),
    ),
    Rule(
        id="kernel-bpf", severity=Severity.HIGH, events=_CALL,
        summary="programs for the kernel are loaded, or its performance counters used",
        where=F.call.one_of("bpf", "perf_event_open"),
        mode="inline",
        attack=("T1014", "T1068"), tags=frozenset({"kernel"}),
        message="{call}", hint=_KINDS,
        examples=(hit(did("kernel", call="bpf")), miss(did("kernel", call="personality"))),
    ),
    Rule(
        id="kernel-userfaultfd", severity=Severity.HIGH, events=_CALL,
        summary="a process takes over its page faults, as races against the kernel need",
        where=F.call == "userfaultfd",
        mode="inline",
        attack=("T1068",), tags=frozenset({"kernel"}),
        message="{call}", hint=_KINDS,
        examples=(hit(did("kernel", call="userfaultfd")), miss(did("kernel", call="keyctl"))),
    ),
    Rule(
        id="kernel-io-uring", severity=Severity.MEDIUM, events=_CALL,
        summary="calls are handed to the kernel in a ring, where they are not seen (io_uring)",
        where=F.call.one_of("io_uring_setup", "io_uring_enter", "io_uring_register"),
        attack=("T1068", "T1685"), tags=frozenset({"kernel"}),
        message="{call}", hint="it is refused; programs that can do without it do so by themselves",
        examples=(hit(did("kernel", call="io_uring_setup")), miss(did("kernel", call="keyctl"))),
    ),
    Rule(
        id="kernel-filter", severity=Severity.MEDIUM, events=_CALL,
        summary="a filter with a listener of its own is asked for, which would answer calls before the watcher does",
        where=F.flag("static") & (F.call == "seccomp"),
        attack=("T1685",), tags=frozenset({"kernel"}),
        message="{call}", hint="filters without a listener can be had; that one is refused",
        examples=(hit(did("kernel", call="seccomp", flags=["static", "denied"])), miss(did("kernel", call="keyctl"))),
    ),
    Rule(
        id="kernel-file-handle", severity=Severity.CRITICAL, events=_CALL,
        summary="a file is opened by its number, past all folders above it",
        where=F.call == "open_by_handle_at",
        mode="inline",
        attack=("T1611",), tags=frozenset({"kernel", "escape"}),
        message="{call}", hint="open files by their path",
        examples=(hit(did("kernel", call="open_by_handle_at")), miss(did("kernel", call="name_to_handle_at"))),
    ),
    Rule(
        id="kernel-keys", severity=Severity.MEDIUM, events=_CALL,
        summary="keys that the kernel keeps for its users are asked for",
        where=F.call.one_of("keyctl", "add_key", "request_key"),
        attack=("T1003", "T1555"), tags=frozenset({"kernel", "credentials"}),
        message="{call}", hint="keep secrets in files of your own",
        examples=(hit(did("kernel", call="keyctl")), miss(did("kernel", call="personality"))),
    ),
    Rule(
        id="kernel-ports", severity=Severity.CRITICAL, events=_CALL,
        summary="ports of the hardware are asked for",
        where=F.call.one_of("iopl", "ioperm"),
        mode="inline",
        attack=("T1068",), tags=frozenset({"kernel", "escape"}),
        message="{call}", hint="a sandbox has no hardware",
        examples=(hit(did("kernel", call="iopl")), miss(did("kernel", call="keyctl"))),
    ),
    Rule(
        id="kernel-terminal-input", severity=Severity.HIGH, events=_CALL,
        summary="keys are put into a terminal as if somebody had typed them",
        where=(F.call == "ioctl") & (F.arg1.one_of(0x5412, 0x541C)),
        mode="inline",
        attack=("T1611", "T1055"), tags=frozenset({"kernel", "injection"}),
        message="{call}", hint="write to the input of the program instead",
        examples=(
            hit({"act": "kernel", "call": "ioctl", "args": {"first": 1, "second": 0x5412}}),
            miss({"act": "kernel", "call": "ioctl", "args": {"first": 1, "second": 0x5423}}),
        ),
    ),
    Rule(
        id="kernel-addresses-fixed", severity=Severity.MEDIUM, events=_CALL,
        summary="a program has its memory laid out at fixed or old-fashioned addresses",
        where=(F.call == "personality") & F.first.has(0x0040000 | 0x0400000 | 0x0100000),
        attack=("T1068",), tags=frozenset({"kernel"}),
        message="{call}", hint="debuggers and sanitizers ask for this; they work without",
        examples=(
            hit(did("kernel", call="personality", first=0x0040000)),
            miss(did("kernel", call="personality", first=0x0008)),
        ),
    ),
    Rule(
        id="machine-changed", severity=Severity.HIGH, events=frozenset({Act.SYSTEM}),
        summary="the machine is rebooted, renamed, its swap or accounting changed",
        where=F.call.one_of("reboot", "swapon", "swapoff", "sethostname", "setdomainname", "acct", "quotactl",
            "quotactl_fd"),
        mode="inline",
        attack=("T1529", "T1685"), tags=frozenset({"kernel"}),
        message="{call}", hint="a sandbox can't change the machine it runs on",
        examples=(hit(did("system", call="reboot")), miss(did("system", call="syslog"))),
    ),
    Rule(
        id="clock-changed", severity=Severity.HIGH, events=frozenset({Act.SYSTEM}),
        summary="the clock of the machine is set",
        where=F.call.one_of("clock_settime", "settimeofday"),
        mode="inline",
        attack=("T1070.006",), tags=frozenset({"kernel", "traces"}),
        message="{call}", hint="give the program the time that you mean (faketime, SOURCE_DATE_EPOCH)",
        examples=(hit(did("system", call="clock_settime")), miss(did("system", call="adjtimex"))),
    ),
    Rule(
        id="clock-command", severity=Severity.LOW, events=RUN,
        summary="a command that sets the clock",
        where=(runs("date") & (says(" -s", " --set") | F.cmdline.glob("date [0-9]*"))) | runs("hwclock", "ntpdate",
            "rdate", "chronyc", "adjtimex") | (runs("timedatectl") & says(" set-")),
        attack=("T1070.006",), tags=frozenset({"kernel", "traces"}),
        message="{cmdline}", hint="give the program the time that you mean (faketime, SOURCE_DATE_EPOCH)",
        examples=(
            hit(ran("date", "-s", "1970-01-01")), hit(ran("date", "010100001971")), miss(ran("date", "+%s")),
            miss(ran("date", "-u")),
        ),
    ),
    Rule(
        id="kernel-log", severity=Severity.LOW, events=frozenset({Act.SYSTEM}),
        summary="the kernel's log is asked for",
        where=F.call == "syslog",
        attack=("T1082",), tags=frozenset({"kernel", "discovery"}),
        message="{call}", hint="the log is not a sandbox's",
        examples=(hit(did("system", call="syslog")), miss(did("system", call="adjtimex"))),
    ),
    Rule(
        id="process-changed", severity=Severity.HIGH, events=frozenset({Act.PTRACE}),
        summary="the memory or the registers of another process are changed (ptrace)",
        where=(F.call == "ptrace") & F.request.one_of(*_POKE),
        mode="inline",
        attack=("T1055.008",), tags=frozenset({"injection"}),
        message="ptrace request {request} on {process}", hint="debug on a machine of your own; print instead",
        examples=(
            hit(did("ptrace", call="ptrace", request=4, process=7)),
            miss(did("ptrace", call="ptrace", request=16, process=7)),
        ),
    ),
    Rule(
        id="process-traced", severity=Severity.MEDIUM, events=frozenset({Act.PTRACE}),
        summary="another process is taken over (ptrace), as debuggers do, and checkers of leaks",
        where=(F.call == "ptrace") & F.request.one_of(*_ATTACH),
        attack=("T1055.008",), tags=frozenset({"injection"}),
        message="ptrace request {request} on {process}", hint="debug on a machine of your own; print instead",
        examples=(
            hit(did("ptrace", call="ptrace", request=16, process=7)),
            miss(did("ptrace", call="ptrace", request=0, process=0)),
        ),
    ),
    Rule(
        id="process-trace-me", severity=Severity.LOW, events=frozenset({Act.PTRACE}),
        summary="a process asks to be debugged, or whether it is",
        where=(F.call == "ptrace") & (F.request == 0),
        attack=("T1622",), tags=frozenset({"injection"}),
        message="ptrace", hint="debuggers can't be used where programs are watched",
        examples=(hit(did("ptrace", call="ptrace", request=0)), miss(did("ptrace", call="kcmp"))),
    ),
    Rule(
        id="process-memory", severity=Severity.HIGH, events=frozenset({Act.PTRACE}),
        summary="another process' memory or open files are taken or changed",
        where=F.call.one_of("process_vm_writev", "process_vm_readv", "pidfd_getfd"),
        mode="inline",
        attack=("T1055", "T1003.007"), tags=frozenset({"injection", "credentials"}),
        message="{call}", hint="let the other program give you what you need",
        examples=(hit(did("ptrace", call="process_vm_writev")), miss(did("ptrace", call="kcmp"))),
    ),
    Rule(
        id="process-memory-file", severity=Severity.HIGH, events=WRITES,
        summary="the memory of a process is opened to be changed",
        where=F.file.glob("/proc/*/mem", "/proc/*/task/*/mem"),
        mode="inline", best_effort=True,
        attack=("T1055.009",), tags=frozenset({"injection"}),
        message="{file} is opened to be written", hint="let the other program do it",
        examples=(hit(did("write-open", "/proc/77/mem")), miss(did("write-open", "/proc/self/oom_score_adj"))),
    ),
    Rule(
        id="process-memory-read", severity=Severity.MEDIUM, events=READS,
        summary="the memory of another process, or where it lies, is read",
        where=F.path.glob("/proc/[0-9]*/mem", "/proc/[0-9]*/maps", "/proc/[0-9]*/auxv", "/proc/[0-9]*/stack"),
        attack=("T1003.007", "T1552"), tags=frozenset({"injection", "credentials", "reads"}),
        message="{file} is read", hint="let the other program give you what you need",
        examples=(hit(did("open", "/proc/77/mem")), miss(did("open", "/proc/self/maps"))),
    ),
    Rule(
        id="process-environment-read", severity=Severity.LOW, events=READS,
        summary="the environment of another process is read, where secrets often are",
        where=F.path.glob("/proc/[0-9]*/environ"),
        attack=("T1552", "T1057"), tags=frozenset({"injection", "credentials", "reads"}),
        message="{file} is read", hint="let the other program give you what you need",
        examples=(hit(did("open", "/proc/77/environ")), miss(did("open", "/proc/self/environ"))),
    ),
    Rule(
        id="process-memory-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that dumps or changes other processes",
        where=runs("gdb", "gcore", "strace", "ltrace", "injectso", "mimipenguin", "procdump", "reptyr", "gdbserver")
        | F.argv.endswith("/mem") | says("/mem of=", '/mem"', "}/mem", "/proc/kcore", "mimipenguin", "gcore",
            "process_vm_", "--pid=", "gdb -p", "/environ"),
        attack=("T1003.007", "T1055"), tags=frozenset({"injection", "credentials"}),
        message="{cmdline}", hint="let the other program give you what you need",
        examples=(hit(ran("gdb", "-p", "77")), hit(ran("dd", "if=/proc/77/mem", "of=/tmp/x")), miss(ran("ps", "aux"))),
    ),
    Rule(
        id="memory-then-code", severity=Severity.INFO, events=frozenset({Act.PROTECT}),
        summary="memory is made writable and executable at once; interpreters do it too",
        count=Count(200, per=10, key=("pid",)),
        attack=("T1620",), tags=frozenset({"execution", "injection"}),
        message="more than 200 times in 10 seconds", hint="turn off the just-in-time compiler of the program",
        examples=(
            hit(*(did("protect", pid=7, at=n / 100, protection=7) for n in range(201))),
            miss(*(did("protect", pid=7, at=n, protection=7) for n in range(201))),
        ),
    ),
)  # fmt: skip
