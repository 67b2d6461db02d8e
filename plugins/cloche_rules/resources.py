"""Using up the machine, looking around, gathering."""

from __future__ import annotations

from typing import Final

from cloche import Act, Count, F, Rule, Severity
from cloche_rules.words import CHANGES, READS, RUN, SHELLS, did, hit, miss, ran, runs, says

_LOOKERS: Final = (
    "whoami", "id", "uname", "hostname", "w", "who", "last", "lastlog", "groups", "ps", "pstree", "netstat", "ss", "ip",
    "ifconfig", "arp", "route", "lsof", "df", "mount", "lsblk", "lscpu", "dmidecode", "lspci", "lsusb", "lsmod", "env",
    "printenv", "uptime", "free", "getent", "findmnt", "ipconfig", "systemd-detect-virt", "hostnamectl", "timedatectl",
    "locale", "cat", "dmesg", "rpm", "dpkg", "blkid", "fdisk", "nproc", "getcap", "crontab", "sudo", "users", "finger",
    "iwconfig", "resolvectl", "nmcli", "virt-what",
)  # fmt: skip
_PROBES: Final = (
    "/sys/class/dmi", "/proc/scsi", "/proc/cpuinfo", "/proc/version", "/proc/modules", "/etc/os-release", "/etc/issue",
    "/etc/shells", "/etc/mtab", "/etc/fstab", "/etc/locale.conf", "/etc/default/locale", "/etc/hosts",
    "/etc/resolv.conf", "/proc/net/", "/proc/1/cgroup", "/.dockerenv", "/etc/issue.net", "/proc/self/mountinfo",
    "ip route", "ip addr", "tcp_metrics", "lsmod", "/lib/modules",
)  # fmt: skip
_MINERS: Final = (
    "xmrig", "xmr-stak", "minerd", "cpuminer", "ethminer", "cgminer", "bfgminer", "t-rex", "nbminer", "lolMiner",
    "phoenixminer", "kinsing", "kdevtmpfsi", "ccminer", "nanominer", "gminer",
)  # fmt: skip

_REFUSABLE: Final = CHANGES | {
    Act.EXEC, Act.SIGNAL, Act.PTRACE, Act.SETID, Act.LIMIT, Act.MEMFD, Act.MOUNT, Act.CHROOT, Act.NAMESPACE, Act.MODULE,
    Act.KERNEL, Act.SYSTEM, Act.CONNECT, Act.BIND, Act.SEND,
}  # fmt: skip
"""What policies refuse; without sockets, which a program without a network asks for again and again."""

RULES: Final = (
    Rule(
        id="program-storm", severity=Severity.LOW, events=RUN,
        summary="programs are started faster than honest work starts them",
        count=Count(4000, per=10),
        attack=("T1499.001",), tags=frozenset({"resources"}),
        message="over 4,000 programs in 10 seconds",
        hint="give the sandbox fewer processes (limits.pids), or the work to fewer programs",
        examples=(
            hit(*(ran("true") | {"at": n / 1000} for n in range(4001))),
            miss(*(ran("true") | {"at": n / 1000} for n in range(100))),
        ),
    ),
    Rule(
        id="fork-bomb-command", severity=Severity.HIGH, events=RUN,
        summary="a command that starts itself without end",
        where=says(":(){ :|:", ":(){:|:", "(){ :|:", "while(1){fork", "fork while fork", "while 1: os.fork()",
            "while True: os.fork()", "stress-ng --fork"),
        mode="inline", best_effort=True,
        attack=("T1499.001",), tags=frozenset({"resources"}),
        message="{cmdline}", hint="limits.pids would end it",
        examples=(hit(ran("bash", "-c", ":(){ :|:& };:")), miss(ran("bash", "-c", "while true; do sleep 1; done"))),
    ),
    Rule(
        id="file-storm", severity=Severity.LOW, events=frozenset({Act.CREATE, Act.MKDIR, Act.SYMLINK, Act.LINK,
                Act.MKNOD}),
        summary="files are made faster than honest work makes them, until the disk has no names left",
        count=Count(4000, per=0.5),
        attack=("T1499.001",), tags=frozenset({"resources", "files"}),
        message="over 4,000 in half a second", hint="limits.disk holds it",
        examples=(
            hit(*(did("mkdir", f"/tmp/{n}", at=0) for n in range(4001))),
            miss(*(did("mkdir", f"/tmp/{n}", at=0) for n in range(100))),
        ),
    ),
    Rule(
        id="disk-filling-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that fills the disk or memory",
        where=(runs("dd") & says("if=/dev/zero", "if=/dev/urandom", "if=/dev/random")) | (runs("fallocate") & says("G ",
                "T ", " -l")) | runs("stress", "stress-ng", "memtester") | (runs("truncate")
            & F.cmdline.glob("*-s*[0-9][GT]*")) | runs("yes"),
        attack=("T1499", "T1496", "T1027.001"), tags=frozenset({"resources"}),
        message="{cmdline}", hint="limits.disk and limits.memory hold it",
        examples=(hit(ran("dd", "if=/dev/zero", "of=x", "bs=1M")), hit(ran("yes")), miss(ran("dd", "if=a", "of=b"))),
    ),
    Rule(
        id="file-padded", severity=Severity.LOW, events=RUN,
        summary="a file is padded or cut, which gives it another hash",
        where=(runs("truncate") & (F.argv.startswith("-s+", "-s-", "+", "-s0") | F.argv.one_of("+1", "0")))
        | (runs("dd") & says("of=") & says("count=1", "oflag=append", "conv=notrunc")),
        attack=("T1027.001",), tags=frozenset({"files"}),
        message="{cmdline}", hint="nothing need be done",
        examples=(hit(ran("truncate", "-s", "+1", "x")), miss(ran("truncate", "--help"))),
    ),
    Rule(
        id="miner", severity=Severity.HIGH, events=RUN,
        summary="a program that makes coins is started",
        where=F.name.one_of(*_MINERS) | (~runs(*SHELLS, "grep", "rg", "sed", "git", "cat", "echo", "tee")
            & says("stratum+tcp://", "stratum+ssl://", "stratum2+tcp://", "--donate-level", "--coin=", "pool.minexmr",
                "supportxmr.com", "nanopool.org", "--algo=rx/", "-a cryptonight", "--randomx")),
        mode="inline", best_effort=True,
        attack=("T1496.001",), tags=frozenset({"resources"}),
        message="{cmdline}", hint="this is not what the machine is for",
        examples=(hit(ran("xmrig", "-o", "stratum+tcp://x:3333")), miss(ran("python3", "train.py"))),
    ),
    Rule(
        id="priority-raised", severity=Severity.LOW, events=frozenset({Act.LIMIT}),
        summary="a process asks for more of the processors than others",
        where=F.call.one_of("sched_setscheduler", "sched_setattr", "ioprio_set"),
        attack=("T1496",), tags=frozenset({"resources"}),
        message="{call}", hint="limits.cpu decides",
        examples=(hit(did("limit", call="sched_setscheduler")), miss(did("limit", call="sched_setaffinity"))),
    ),
    Rule(
        id="many-refused", severity=Severity.MEDIUM, events=_REFUSABLE,
        summary="act after act is refused: something tries what it may not",
        where=F.flag("denied"),
        count=Count(50, per=10, key=("exec",)),
        attack=("T1083",), tags=frozenset({"discovery"}),
        message="over 50 acts were refused in 10 seconds, the last {call} {file}",
        hint="result.violations says why each was refused, and what to do",
        examples=(
            hit(*(did("mount", "x", "/y", flags=["denied"], exec=1, at=n / 10) for n in range(51))),
            miss(*(did("mount", "x", "/y", exec=1, at=n / 10) for n in range(51))),
        ),
    ),
    Rule(
        id="many-removed", severity=Severity.MEDIUM, events=frozenset({Act.UNLINK}),
        summary="one process removes files of others by the hundred",
        where=~F.file.under("${writable}", "${home}"),
        count=Count(200, per=10, key=("pid",)),
        attack=("T1485", "T1070.004"), tags=frozenset({"files", "resources"}),
        message="over 200 in 10 seconds, the last {file}", hint="what is outside your folders can't be removed",
        examples=(
            hit(*(did("unlink", f"/srv/{n}", pid=7, at=n / 100) for n in range(201))),
            miss(*(did("unlink", f"/workspace/{n}", pid=7, at=n / 100) for n in range(201))),
        ),
    ),
    Rule(
        id="many-encrypted", severity=Severity.HIGH, events=frozenset({Act.RENAME, Act.CREATE}),
        summary="one process gives many files the names that blackmailers give",
        where=F.to.glob("**/*.encrypted", "**/*.locked", "**/*.crypt", "**/*.enc", "**/*.crypted", "**/*.lockbit",
            "**/*.ransom") | F.file.glob("**/*.encrypted", "**/*.locked", "**/*.crypted", "**/*.lockbit", "**/*.ransom",
            "**/README_TO_DECRYPT*", "**/HOW_TO_DECRYPT*"),
        count=Count(30, per=30, key=("pid",), distinct=("path",)),
        attack=("T1486",), tags=frozenset({"resources", "files"}),
        message="over 30 files, the last {file} {to}", hint="keep snapshots of folders that matter",
        examples=(
            hit(*(did("rename", f"/workspace/{n}", f"/workspace/{n}.locked", pid=7, at=n / 10) for n in range(31))),
            miss(*(did("rename", f"/workspace/{n}", f"/workspace/{n}.bak", pid=7, at=n / 10) for n in range(31))),
        ),
    ),
    Rule(
        id="encrypt-command", severity=Severity.LOW, events=RUN,
        summary="a command that encrypts files or archives",
        where=(runs("openssl") & F.argv.one_of("enc", "des3", "rsautl", "pkeyutl", "smime", "aes-256-cbc")
            & ~F.argv.one_of("-d")) | (runs("gpg", "gpg2") & says(" -c", " --symmetric", " -e", " --encrypt"))
        | (runs("zip", "7z", "7za", "rar") & says(" -P", " -p", " --password", " -e ")) | runs("ccencrypt", "ccrypt",
            "age"),
        attack=("T1486", "T1560.001"), tags=frozenset({"resources"}),
        message="{cmdline}", hint="nothing need be done",
        examples=(hit(ran("openssl", "enc", "-aes-256-cbc", "-in", "x")), miss(ran("openssl", "version"))),
    ),
    Rule(
        id="home-archived", severity=Severity.LOW, events=RUN,
        summary="a home, or a folder of the system, is packed whole",
        where=runs("tar", "zip", "7z", "cpio", "rsync", "gzip") & says(" /etc", " /root", " /home", " /Users",
            " ${home} ", " ~", " /var/lib", "/.ssh", "$HOME/"),
        attack=("T1560.001", "T1074.001"), tags=frozenset({"discovery", "credentials"}),
        message="{cmdline}", hint="pack the folders that are needed",
        examples=(hit(ran("tar", "czf", "/tmp/x.tgz", "/etc")), miss(ran("tar", "xf", "x.tgz"))),
    ),
    Rule(
        id="looking-around", severity=Severity.MEDIUM, events=RUN,
        summary="many different programs that tell of the machine are started one after another",
        where=runs(*_LOOKERS),
        count=Count(7, per=30, distinct=("path",)),
        attack=("T1082", "T1033", "T1057"), tags=frozenset({"discovery"}),
        message="over 7 of them within 30 seconds, the last {cmdline}",
        hint="what a sandbox is, its owner knows: box.inspect()",
        examples=(
            hit(*(ran(name) | {"at": n} for n, name in enumerate(("whoami", "id", "uname", "hostname", "w", "ps",
                            "netstat", "df")))),
            miss(*(ran("id") | {"at": n} for n in range(9))),
        ),
    ),
    Rule(
        id="look-around-command", severity=Severity.INFO, events=RUN,
        summary="a program that tells of the user or the machine is started",
        where=runs("whoami", "w", "who", "last", "lastlog", "netstat", "ss", "arp", "ifconfig", "lsof", "dmidecode",
            "lspci", "lsusb", "lsmod", "systemd-detect-virt", "hostnamectl", "groups", "id", "ps", "pstree", "findmnt",
            "users", "virt-what", "locale", "localectl", "printenv", "env", "lsblk", "lscpu", "hostname")
        | says(*_PROBES),
        attack=("T1082", "T1033", "T1057", "T1016"), tags=frozenset({"discovery"}),
        message="{cmdline}", hint="nothing need be done",
        examples=(hit(ran("whoami")), miss(ran("ls"))),
    ),
    Rule(
        id="screen-command", severity=Severity.LOW, events=RUN,
        summary="a program takes pictures of the screen, or what was copied, or the keys that are typed",
        where=runs("xwd", "import", "scrot", "gnome-screenshot", "grim", "maim", "xclip", "xsel", "wl-paste", "wl-copy",
            "xinput", "logkeys", "arecord", "fswebcam") | says("xwd -root", "import -window", "| xclip", "x11grab",
            "xclip -"),
        attack=("T1113", "T1115", "T1056.001"), tags=frozenset({"discovery"}),
        message="{cmdline}", hint="a sandbox has no screen",
        examples=(hit(ran("xwd", "-root", "-out", "x.xwd")), miss(ran("python3", "-c", "import x"))),
    ),
    Rule(
        id="cloud-command", severity=Severity.LOW, events=RUN,
        summary="a program that manages machines and secrets of a cloud is started",
        where=runs("aws", "gcloud", "gsutil", "az", "oci", "doctl", "ibmcloud", "aliyun", "stratus", "terraform",
            "pacu") | says("aws ec2", "aws s3", "aws iam", "aws sts", "gcloud compute", "az vm", "./stratus"),
        attack=("T1580", "T1578", "T1538"), tags=frozenset({"discovery", "credentials"}),
        message="{cmdline}", hint="manage clouds from outside",
        examples=(hit(ran("aws", "ec2", "describe-instances")), miss(ran("awk", "1", "x"))),
    ),
    Rule(
        id="container-probe", severity=Severity.INFO, events=READS,
        summary="a file is read that tells whether this is a container",
        where=F.file.glob("/.dockerenv", "/run/.containerenv", "/proc/1/cgroup", "/proc/1/sched", "/proc/1/status",
            "/sys/class/dmi/id/*"),
        attack=("T1497.001",), tags=frozenset({"discovery", "reads"}),
        message="{file} is read", hint="nothing need be done",
        examples=(hit(did("open", "/.dockerenv")), miss(did("open", "/proc/cpuinfo"))),
    ),
)  # fmt: skip
