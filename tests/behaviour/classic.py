"""Classic escapes from containers, as what a guest would do first: each must be refused, and told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Escape:
    """One escape. ``bash`` ends with status 0 if it had its effect; ``program`` prints whether it had."""

    id: str
    tries: str
    bash: str = ""
    program: tuple[str, ...] = ()

    def argv(self, programs: str) -> tuple[str, ...]:
        """Give what is run in the box; the attack programs are in the folder ``programs``."""
        return (f"{programs}/{self.program[0]}", *self.program[1:]) if self.program else ("bash", "-c", self.bash)


def _write(path: str, text: str = "x") -> str:
    return f"echo '{text}' > {path}"


ESCAPES = (
    Escape(
        id="release-agent",
        tries="a program that the host runs when a control group empties (CVE-2022-0492)",
        bash="mkdir -p /tmp/cg && mount -t cgroup -o rdma cgroup /tmp/cg && echo /tmp/x > /tmp/cg/release_agent",
    ),
    Escape(
        id="release-agent-file",
        tries="the same by the host's mount of it",
        bash=_write("/sys/fs/cgroup/memory/release_agent", "/tmp/x"),
    ),
    Escape(
        id="cgroup-devices",
        tries="leave to use every device, by its control group",
        bash=_write("/sys/fs/cgroup/devices/devices.allow", "a"),
    ),
    Escape(
        id="leaked-cwd",
        tries="a folder of the host that was left open (CVE-2024-21626)",
        bash="for n in $(seq 3 30); do cat /proc/self/fd/$n/../../../etc/shadow 2>/dev/null && exit 0; "
        "(cd /proc/1/fd/$n 2>/dev/null && cat ../../etc/shadow 2>/dev/null) && exit 0; done; "
        "cat /proc/1/cwd/../../etc/shadow",
    ),
    Escape(
        id="exe-overwrite",
        tries="the program that lets programs in, opened to be written (CVE-2019-5736)",
        program=("files", "overwrite-program", "init"),
    ),
    Escape(id="exe-overwrite-shell", tries="the same as a script does it", bash="exec 9>/proc/1/exe"),
    Escape(id="user-namespace", tries="a user namespace, to be root in it", program=("kernel", "userns-unshare")),
    Escape(id="user-namespace-clone", tries="the same by clone", program=("kernel", "userns-clone")),
    Escape(id="unshare", tries="the same by the tool, and a mount in it", bash="unshare -Urm mount -t tmpfs x /mnt"),
    Escape(id="proc-mount", tries="a /proc of its own, with all that is in it", program=("files", "mount-proc")),
    Escape(
        id="overlay-mount",
        tries="an overlay, which gave capabilities once (CVE-2021-3493)",
        program=("files", "mount-overlay"),
    ),
    Escape(
        id="new-mounts", tries="fsopen, whose options overflowed once (CVE-2022-0185)", program=("files", "fsmount")
    ),
    Escape(
        id="engine-socket",
        tries="the container engine's socket",
        bash="python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')\"",
    ),
    Escape(
        id="core-pattern",
        tries="a program that the host runs at crashes",
        bash=_write("/proc/sys/kernel/core_pattern", "|/tmp/x"),
    ),
    Escape(
        id="modprobe-path",
        tries="a program that the host runs to load modules",
        bash=_write("/proc/sys/kernel/modprobe", "/tmp/x"),
    ),
    Escape(
        id="uevent-helper",
        tries="a program that the host runs for devices",
        bash=_write("/sys/kernel/uevent_helper", "/tmp/x"),
    ),
    Escape(
        id="binfmt",
        tries="an interpreter for the host's programs",
        bash=_write("/proc/sys/fs/binfmt_misc/register", ":x:M::x::/tmp/x:C"),
    ),
    Escape(id="sysrq", tries="the kernel's emergency keys", bash=_write("/proc/sysrq-trigger", "h")),
    Escape(id="host-root", tries="the host's files by the first process", bash="cat /proc/1/root/etc/shadow"),
    Escape(
        id="host-disk", tries="a device node for the host's disk", bash="mknod /tmp/disk b 8 0 && head -c 16 /tmp/disk"
    ),
    Escape(id="file-handles", tries="the host's files by number (shocker)", program=("files", "open-by-handle")),
    Escape(id="other-namespaces", tries="the namespaces of another process", program=("kernel", "setns")),
    Escape(id="module", tries="a module for the kernel", program=("kernel", "init-module")),
    Escape(id="bpf", tries="a program for the kernel (CVE-2021-3490 and others)", program=("kernel", "bpf-program")),
    Escape(
        id="keyring", tries="keys, whose count overflowed once (CVE-2016-0728)", program=("kernel", "keyring-session")
    ),
    Escape(id="perf", tries="performance counters (CVE-2013-2094)", program=("kernel", "perf-counter")),
    Escape(id="packet-socket", tries="packet sockets (CVE-2017-7308, CVE-2020-14386)", program=("network", "packet")),
    Escape(id="kexec", tries="another kernel", program=("kernel", "kexec")),
    Escape(
        id="process-memory",
        tries="another process's memory (CVE-2014-5207 and others)",
        program=("kernel", "process-vm-writev"),
    ),
    Escape(id="tracing", tries="trace another process", program=("kernel", "ptrace-attach")),
    Escape(
        id="terminal-input",
        tries="type into the terminal of whoever started it (CVE-2017-5226)",
        program=("doors", "tiocsti"),
    ),
)
