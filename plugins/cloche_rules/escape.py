"""Ways out: mounts, namespaces, what the kernel offers to the machine's owner, daemons that start containers."""

from __future__ import annotations

from typing import Final

from cloche import Act, F, Rule, Severity
from cloche_rules.words import CHANGES, KERNEL_FILES, READS, RUN, SOCKETS, WRITES, at, did, hit, miss, ran, runs, says

_NEW_USER: Final = 0x10000000
_NEW_MOUNT: Final = 0x00020000
_OTHERS: Final = 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000 | 0x80
"""Of clone(2): new control groups, names of the machine, IPC, processes, network, time."""
_DISKS: Final = (
    "/dev/sd*", "/dev/vd*", "/dev/xvd*", "/dev/nvme*", "/dev/hd*", "/dev/mmcblk*", "/dev/dm-*", "/dev/mapper/*",
    "/dev/loop*", "/dev/md*", "/dev/disk/**",
)  # fmt: skip
_DEVICE: Final = 0o020000
"""The bit of a mode that kinds of devices have, and no other kind has."""

RULES: Final = (
    Rule(
        id="mount-operation", severity=Severity.HIGH, events=frozenset({Act.MOUNT}),
        summary="something is mounted, moved or unmounted",
        mode="inline",
        attack=("T1611", "T1564.013"), tags=frozenset({"escape"}),
        message="{call} {file} on {to}", hint="give the sandbox a folder by mounts= when it is created",
        examples=(hit(did("mount", "proc", "/tmp/p", call="mount")), miss(did("mkdir", "/tmp/mnt"))),
    ),
    Rule(
        id="mount-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that mounts or unmounts, or goes round permissions so",
        where=runs("umount", "fusermount", "fusermount3", "losetup", "pivot_root", "nsenter", "unshare", "switch_root",
            "debugfs", "swapon", "swapoff", "mount.fuse") | (runs("mount") & says(" -", " /")) | says("mount -B",
            "mount --bind", "mount -o", "mount -t", "nsenter -", "swapoff -", "swapon -"),
        attack=("T1611",), tags=frozenset({"escape"}),
        message="{cmdline}", hint="give the sandbox a folder by mounts= when it is created",
        examples=(
            hit(ran("mount", "-t", "proc", "proc", "/mnt")), hit(ran("nsenter", "-t", "1", "-m")),
            miss(ran("mountpoint", "-q", "x")), miss(ran("mount")),
        ),
    ),
    Rule(
        id="change-root", severity=Severity.HIGH, events=frozenset({Act.CHROOT}),
        summary="a program changes its root folder",
        mode="inline",
        attack=("T1611",), tags=frozenset({"escape"}),
        message="{call} to {file}", hint="start the program in a sandbox of its own",
        examples=(hit(did("chroot", "/tmp/r", call="chroot")), miss(did("chdir", "/tmp/r"))),
    ),
    Rule(
        id="new-user-namespace", severity=Severity.HIGH, events=frozenset({Act.NAMESPACE}),
        summary="a program makes a user or mount namespace, where it would be root",
        where=(F.flags.has(_NEW_USER) | F.flags.has(_NEW_MOUNT)) & ~(F.call == "setns"),
        mode="inline",
        attack=("T1611", "T1068"), tags=frozenset({"escape", "kernel"}),
        message="{call} of a user or mount namespace",
        hint="start the program in a sandbox of its own; browsers: --no-sandbox",
        examples=(
            hit({"act": "namespace", "call": "unshare", "args": {"flags": _NEW_USER}}),
            miss({"act": "namespace", "call": "unshare", "args": {"flags": 0x40000000}}),
        ),
    ),
    Rule(
        id="other-namespace", severity=Severity.MEDIUM, events=frozenset({Act.NAMESPACE}),
        summary="a program makes another kind of namespace",
        where=F.flags.has(_OTHERS) & ~F.flags.has(_NEW_USER | _NEW_MOUNT) & ~(F.call == "setns"),
        attack=("T1611",), tags=frozenset({"escape", "kernel"}),
        message="{call}", hint="start the program in a sandbox of its own",
        examples=(
            hit({"act": "namespace", "call": "unshare", "args": {"flags": 0x40000000}}),
            miss({"act": "namespace", "call": "unshare", "args": {"flags": 0}}),
        ),
    ),
    Rule(
        id="enter-namespace", severity=Severity.CRITICAL, events=frozenset({Act.NAMESPACE}),
        summary="a program enters the namespaces of another",
        where=F.call == "setns",
        mode="inline",
        attack=("T1611",), tags=frozenset({"escape", "kernel"}),
        message="setns", hint="a sandbox can't be left; start another with what is needed",
        examples=(hit(did("namespace", call="setns")), miss(did("namespace", call="unshare"))),
    ),
    Rule(
        id="kernel-helper", severity=Severity.CRITICAL, events=CHANGES,
        summary="a file is changed that names a program which the kernel starts outside",
        where=at("**/release_agent", "**/notify_on_release", "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug", "/proc/sys/kernel/poweroff_cmd",
            "/sys/kernel/uevent_helper", "/proc/sys/fs/binfmt_misc/**", "/sys/kernel/debug/**",
            "/sys/kernel/tracing/**", "/sys/firmware/**", "/proc/sys/kernel/usermodehelper/**"),
        mode="inline", best_effort=True,
        attack=("T1611",), tags=frozenset({"escape", "kernel"}),
        message="{file} is changed", hint="a sandbox can't change the machine it runs on",
        examples=(
            hit(did("write-open", "/sys/fs/cgroup/rdma/release_agent")),
            hit(did("write-open", "/proc/sys/kernel/core_pattern")),
            miss(did("write-open", "/workspace/notes/core_pattern.txt")),
        ),
    ),
    Rule(
        id="kernel-settings", severity=Severity.HIGH, events=CHANGES,
        summary="a setting of the kernel is changed",
        where=at("/proc/sys/**", "/sys/**", "/proc/sysrq-trigger", "/proc/irq/**", "/proc/acpi/**", "/proc/mtrr",
            "/proc/scsi/**") & ~F.file.glob("/sys/fs/cgroup/**"),
        mode="inline", best_effort=True,
        attack=("T1611", "T1685", "T1529"), tags=frozenset({"escape", "kernel"}),
        message="{file} is changed", hint="a sandbox can't change the machine it runs on",
        examples=(
            hit(did("write-open", "/proc/sysrq-trigger")), hit(did("create", "/proc/sys/kernel/randomize_va_space")),
            miss(did("open", "/proc/sys/kernel/pid_max")),
        ),
    ),
    Rule(
        id="kernel-settings-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that changes settings of the kernel, or reboots",
        where=(runs("sysctl") & says(" -w", "=", " -p", "--system")) | runs("reboot", "halt", "poweroff", "shutdown",
            "telinit", "kexec", "grubby", "update-grub", "update-initramfs", "efibootmgr") | says("sysctl -w",
            "/proc/sysrq-trigger", "core_pattern", "release_agent", "/proc/sys/kernel/", "/etc/sysctl."),
        attack=("T1529", "T1685"), tags=frozenset({"escape", "kernel"}),
        message="{cmdline}", hint="a sandbox can't change the machine it runs on",
        examples=(hit(ran("sysctl", "-w", "kernel.randomize_va_space=0")), miss(ran("sysctl", "kernel.pid_max"))),
    ),
    Rule(
        id="control-groups", severity=Severity.HIGH, events=CHANGES,
        summary="the limits of processes, or their devices, are changed in the kernel's tree",
        where=at("/sys/fs/cgroup/**") & ~at("**/release_agent", "**/notify_on_release"),
        mode="inline", best_effort=True,
        attack=("T1611",), tags=frozenset({"escape", "kernel"}),
        message="{file} is changed", hint="limits are set from outside: limits= or box.update(limits=)",
        examples=(
            hit(did("write-open", "/sys/fs/cgroup/devices/x/devices.allow")),
            miss(did("open", "/sys/fs/cgroup/memory.max")),
        ),
    ),
    Rule(
        id="container-daemon", severity=Severity.CRITICAL, events=frozenset({Act.CONNECT}) | WRITES,
        summary="a daemon that starts containers is spoken to",
        where=at(*SOCKETS),
        mode="inline", best_effort=True,
        attack=("T1610", "T1611"), tags=frozenset({"escape", "network"}),
        message="{file} {to}", hint="a sandbox can't start containers; ask for another sandbox outside",
        examples=(
            hit(did("connect", target="/var/run/docker.sock", family=1, port=0)),
            miss(did("connect", target="/var/run/nscd/socket", family=1, port=0)),
        ),
    ),
    Rule(
        id="container-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that manages containers or clusters",
        where=runs("docker", "dockerd", "podman", "ctr", "crictl", "nerdctl", "runc", "crun", "kubectl", "kubelet",
            "lxc", "lxd", "helm", "oc", "minikube", "buildah") | says("docker.sock", "--privileged", "containerd.sock",
            "docker run", "docker exec", "docker container", "kubectl"),
        attack=("T1609", "T1610", "T1613"), tags=frozenset({"escape"}),
        message="{cmdline}", hint="a sandbox can't start containers; ask for another sandbox outside",
        examples=(hit(ran("docker", "run", "-v", "/:/host", "debian")), miss(ran("ls", "docker"))),
    ),
    Rule(
        id="others-root", severity=Severity.CRITICAL, events=READS,
        summary="the root folder, memory or descriptors of process 1 are reached for",
        where=F.file.glob("/proc/1/root/*", "/proc/1/root/*/**", "/proc/1/cwd/*", "/proc/1/cwd/*/**", "/proc/1/fd/*",
            "/proc/1/mem", "/proc/1/exe", "/proc/1/ns/*"),
        mode="inline", best_effort=True,
        attack=("T1611",), tags=frozenset({"escape", "injection", "reads"}),
        message="{file} of process 1", hint="name files by their own path",
        examples=(
            hit(did("open", "/proc/1/root/etc/shadow")), miss(did("open", "/proc/self/status")),
            miss(did("open", "/proc/1/status")),
        ),
    ),
    Rule(
        id="others-root-changed", severity=Severity.CRITICAL, events=CHANGES | RUN,
        summary="another process' root folder is gone through to change or start something",
        where=at("/proc/*/root/**", "/proc/*/cwd/**", "/proc/1/fd/**") & ~F.path.glob("/proc/self/**",
            "/proc/thread-self/**"),
        mode="inline", best_effort=True,
        attack=("T1611",), tags=frozenset({"escape", "injection"}),
        message="{file}", hint="name files by their own path",
        examples=(hit(did("create", "/proc/1/root/tmp/x")), miss(did("create", "/proc/self/cwd/x"))),
    ),
    Rule(
        id="program-through-proc", severity=Severity.CRITICAL, events=WRITES,
        summary="the program that a process runs is opened to be changed, by its link in /proc (CVE-2019-5736)",
        where=F.path.glob("/proc/*/exe", "/proc/*/task/*/exe"),
        mode="inline", best_effort=True,
        attack=("T1611",), tags=frozenset({"escape"}),
        message="{path} is opened to be changed", hint="name the program by its path",
        examples=(hit(did("write-open", "/proc/7/exe")), miss(did("open", "/proc/self/exe"))),
    ),
    Rule(
        id="kernel-memory", severity=Severity.CRITICAL, events=WRITES | {Act.MKNOD},
        summary="the memory of the kernel or the machine is opened",
        where=at(*KERNEL_FILES, "/dev/kmsg", "/dev/cpu/**", "/dev/vmci", "/dev/kvm") & ~F.file.glob("/dev/kmsg",
            "/dev/kvm"),
        mode="inline", best_effort=True,
        attack=("T1611", "T1068"), tags=frozenset({"escape", "kernel"}),
        message="{file} is opened", hint="a sandbox has no way to the machine's memory",
        examples=(hit(did("write-open", "/dev/mem")), miss(did("write-open", "/dev/null"))),
    ),
    Rule(
        id="kernel-memory-read", severity=Severity.HIGH, events=READS,
        summary="the memory of the kernel or its addresses are read",
        where=F.file.glob(*KERNEL_FILES),
        mode="inline", best_effort=True,
        attack=("T1003", "T1611"), tags=frozenset({"escape", "kernel", "reads"}),
        message="{file} is read", hint="a sandbox has no way to the machine's memory",
        examples=(hit(did("open", "/proc/kcore")), miss(did("open", "/proc/meminfo"))),
    ),
    Rule(
        id="disk-device", severity=Severity.HIGH, events=WRITES,
        summary="a disk is opened as a device",
        where=at(*_DISKS),
        mode="inline", best_effort=True,
        attack=("T1006", "T1561"), tags=frozenset({"escape"}),
        message="{file} is opened", hint="work with files; disks of the machine are not a sandbox's",
        examples=(hit(did("write-open", "/dev/sda1")), miss(did("write-open", "/workspace/dev/sda.img"))),
    ),
    Rule(
        id="device-made", severity=Severity.HIGH, events=frozenset({Act.MKNOD}),
        summary="a device is made",
        where=F.mode.has(_DEVICE),
        mode="inline",
        attack=("T1611", "T1006"), tags=frozenset({"escape"}),
        message="a device {file} is made", hint="a sandbox has the devices it needs",
        examples=(
            hit(did("mknod", "/tmp/sda", mode=0o060600, device=0x800)),
            miss(did("mknod", "/tmp/pipe", mode=0o010644, device=0)),
        ),
    ),
)  # fmt: skip
