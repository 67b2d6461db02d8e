"""Covering tracks: logs, histories, what watches the machine, firewalls."""

from __future__ import annotations

from typing import Final

from cloche import Act, F, Rule, Severity
from cloche_rules.words import CHANGES, RUN, SHELLS, at, did, hit, miss, ran, runs, says

_HISTORIES: Final = (
    "**/.bash_history", "**/.zsh_history", "**/.sh_history", "**/.ash_history", "**/.history", "**/.ksh_history",
    "**/.histfile", "**/fish_history",
)  # fmt: skip
_OTHER_HISTORIES: Final = (
    "**/.python_history", "**/.mysql_history", "**/.psql_history", "**/.sqlite_history", "**/.node_repl_history",
    "**/.lesshst", "**/.viminfo", "**/.rediscli_history",
)  # fmt: skip
_SYSTEM_LOGS: Final = (
    "/var/log/syslog*", "/var/log/messages*", "/var/log/auth.log*", "/var/log/secure*", "/var/log/kern.log*",
    "/var/log/wtmp*", "/var/log/btmp*", "/var/log/lastlog", "/var/log/faillog", "/var/log/audit/**",
    "/var/log/journal/**", "/run/log/journal/**", "/var/log/maillog*", "/var/log/mail.log*", "/var/log/cron*",
    "/var/log/daemon.log*", "/var/log/boot.log*", "/var/log/utmp", "/run/utmp", "/var/run/utmp", "/var/account/**",
    "/var/audit/**",
)  # fmt: skip
_HINT: Final = "what is watched is watched from outside; leave logs alone"

RULES: Final = (
    Rule(
        id="history-file", severity=Severity.MEDIUM, events=CHANGES,
        summary="the history of a shell is changed, removed or linked away",
        where=at(*_HISTORIES),
        attack=("T1070.003",), tags=frozenset({"traces"}),
        message="{file} is changed", hint=_HINT,
        examples=(
            hit(did("unlink", "/root/.bash_history")), hit(did("symlink", "/root/.bash_history", "/dev/null")),
            miss(did("create", "/workspace/history.txt")),
        ),
    ),
    Rule(
        id="tool-history-file", severity=Severity.INFO, events=frozenset({Act.UNLINK, Act.TRUNCATE, Act.SYMLINK}),
        summary="the history of an interactive program is removed",
        where=F.file.glob(*_OTHER_HISTORIES),
        attack=("T1070.003",), tags=frozenset({"traces"}),
        message="{file} is removed", hint=_HINT,
        examples=(hit(did("unlink", "/root/.mysql_history")), miss(did("unlink", "/workspace/x.db-journal"))),
    ),
    Rule(
        id="history-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command clears, reads or switches off the history of a shell",
        where=says("history -c", "history -w", "history -d", "history -a", "_history", "/.history", "unset HISTFILE",
            "set +o history", "$HISTFILE", "HISTFILE=", "HISTSIZE=", "HISTFILESIZE=", "HISTCONTROL=", "HISTIGNORE=",
            "export HIST", "HISTTIMEFORMAT="),
        attack=("T1070.003", "T1690", "T1552.003"), tags=frozenset({"traces"}),
        message="{cmdline}", hint=_HINT,
        examples=(
            hit(ran("bash", "-c", "history -c")), hit(ran("rm", "/root/.bash_history")),
            hit(ran("sh", "-c", "export HISTSIZE=0; id")), miss(ran("git", "log")),
        ),
    ),
    Rule(
        id="history-environment", severity=Severity.LOW, events=RUN,
        summary="a program runs with the history of shells switched off",
        where=F.env.one_of("HISTFILE=/dev/null", "HISTFILE=", "HISTSIZE=0", "HISTFILESIZE=0", "HISTCONTROL=ignoreboth",
            "HISTCONTROL=ignorespace", "HISTCONTROL=ignoreboth:erasedups", "HISTIGNORE=*")
        | F.env.startswith("HISTIGNORE=", "LESSHISTFILE=/dev/null", "MYSQL_HISTFILE=/dev/null"),
        attack=("T1690",), tags=frozenset({"traces"}),
        message="{cmdline}", hint=_HINT,
        examples=(
            hit(ran("id", env="HISTSIZE=0")), hit(ran("id", env="HISTFILE=/dev/null")),
            miss(ran("id", env="HISTSIZE=1000")),
        ),
    ),
    Rule(
        id="log-changed", severity=Severity.HIGH, events=CHANGES - {Act.MKDIR},
        summary="the logs of the system, or records of logins, are changed or removed",
        where=at(*_SYSTEM_LOGS),
        mode="inline", best_effort=True,
        attack=("T1070.002", "T1685.006"), tags=frozenset({"traces"}),
        message="{file} is changed", hint="write logs into your own folder",
        examples=(
            hit(did("unlink", "/var/log/auth.log")), hit(did("truncate", "/var/log/wtmp", size=0)),
            miss(did("create", "/var/log/app/x.log")),
        ),
    ),
    Rule(
        id="log-removed", severity=Severity.MEDIUM, events=CHANGES - {Act.MKDIR},
        summary="something in the folders of logs is changed or removed",
        where=F.file.under("/var/log", "/var/audit", "/run/log", "/var/lib/docker/containers")
        & ~F.file.under("/var/log/apt", "/var/log/dpkg.log"),
        attack=("T1070.002", "T1685.006"), tags=frozenset({"traces"}),
        message="{file} is changed", hint="write logs into your own folder",
        examples=(hit(did("unlink", "/var/log/app.log")), miss(did("create", "/workspace/var/log/x.log"))),
    ),
    Rule(
        id="log-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command removes, empties or overwrites logs",
        where=(runs("rm", "truncate", "shred", "unlink", "srm", "wipe", "tee", "cp", "mv", "ln", "dd", "sed", "find",
                "logrotate", *SHELLS) & says("/var/log", "/var/audit", "/run/log", "/var/run/utmp", "-json.log"))
        | runs("utmpdump", "journalctl") & says("-r", "--vacuum", "--rotate", "--flush", "utmpdump")
        | says("journalctl --vacuum", "dmesg -c", "dmesg -C") | runs("dmesg") & F.argv.one_of("-c", "-C", "--clear"),
        attack=("T1070.002", "T1685.006"), tags=frozenset({"traces"}),
        message="{cmdline}", hint="write logs into your own folder",
        examples=(
            hit(ran("rm", "-rf", "/var/log/auth.log")), hit(ran("sh", "-c", "> /var/log/syslog")),
            miss(ran("rm", "-rf", "build")), miss(ran("tail", "/var/log/syslog")),
        ),
    ),
    Rule(
        id="mail-changed", severity=Severity.MEDIUM, events=CHANGES,
        summary="mail of users is changed or removed",
        where=at("/var/spool/mail/**", "/var/mail/**", "/var/spool/mqueue/**", "/var/spool/postfix/**",
            "/var/spool/exim4/**"),
        attack=("T1070.008",), tags=frozenset({"traces"}),
        message="{file} is changed", hint="a sandbox has no mail",
        examples=(hit(did("create", "/var/spool/mail/root")), miss(did("create", "/workspace/mail/x"))),
    ),
    Rule(
        id="mail-command", severity=Severity.LOW, events=RUN,
        summary="a command names the mail of users",
        where=says("/var/spool/mail", "/var/mail/"),
        attack=("T1070.008", "T1114.001"), tags=frozenset({"traces"}),
        message="{cmdline}", hint="a sandbox has no mail",
        examples=(hit(ran("cp", "-R", "/var/spool/mail/root", "/tmp")), miss(ran("ls", "mail"))),
    ),
    Rule(
        id="logging-changed", severity=Severity.HIGH, events=CHANGES,
        summary="what is logged or audited is changed",
        where=at("/etc/rsyslog.conf", "/etc/rsyslog.d/**", "/etc/syslog.conf", "/etc/syslog-ng/**", "/etc/audit/**",
            "/etc/audisp/**", "/etc/auditd.conf", "/etc/libaudit.conf", "/etc/systemd/journald.conf",
            "/etc/systemd/journald.conf.d/**", "/etc/newsyslog.conf", "/etc/security/audit*"),
        mode="inline", best_effort=True,
        attack=("T1685.004", "T1685"), tags=frozenset({"traces"}),
        message="{file} is changed", hint=_HINT,
        examples=(
            hit(did("rename", "/etc/sedAb", "/etc/rsyslog.conf")), miss(did("create", "/workspace/rsyslog.conf")),
        ),
    ),
    Rule(
        id="logging-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command names what is logged or audited, or switches it off",
        where=runs("auditctl", "augenrules", "auditd", "ausearch", "aureport", "syslogd", "rsyslogd", "logger")
        | says("/etc/rsyslog", "/etc/syslog", "journald.conf", "/etc/audit", "auditctl", "rsyslog.service",
            "auditd.service", "rsyslog", "service syslog", "stop auditd", "service auditd", "syslogd", "journald",
            "/etc/newsyslog"),
        attack=("T1685.004", "T1685"), tags=frozenset({"traces"}),
        message="{cmdline}", hint=_HINT,
        examples=(
            hit(ran("auditctl", "-D")), hit(ran("sed", "-i", "s/auto/none/", "/etc/systemd/journald.conf")),
            miss(ran("sed", "-i", "s/a/b/", "conf.py")),
        ),
    ),
    Rule(
        id="firewall-changed", severity=Severity.HIGH, events=CHANGES,
        summary="rules of a firewall are changed",
        where=at("/etc/ufw/**", "/etc/default/ufw", "/lib/ufw/**", "/etc/iptables/**", "/etc/iptables*",
            "/etc/nftables.conf", "/etc/nftables/**", "/etc/firewalld/**", "/etc/sysconfig/iptables", "/etc/pf.conf",
            "/etc/fail2ban/**", "/etc/hosts.allow", "/etc/hosts.deny"),
        mode="inline", best_effort=True,
        attack=("T1686",), tags=frozenset({"traces", "network"}),
        message="{file} is changed", hint="the network is set from outside: network=",
        examples=(hit(did("write-open", "/etc/ufw/user.rules")), miss(did("create", "/workspace/ufw/user.rules"))),
    ),
    Rule(
        id="firewall-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that changes a firewall",
        where=runs("iptables", "ip6tables", "iptables-legacy", "iptables-nft", "iptables-restore", "iptables-save",
            "nft", "ufw", "firewall-cmd", "ipset", "pfctl", "ebtables", "arptables", "xtables-multi", "fail2ban-client",
            "tc") | says("iptables", " ufw", "/etc/ufw", "/etc/default/ufw", "firewall-cmd", "nft flush", "pfctl"),
        attack=("T1686",), tags=frozenset({"traces", "network"}),
        message="{cmdline}", hint="the network is set from outside: network=",
        examples=(hit(ran("iptables", "-F")), hit(ran("sudo", "ufw", "disable")), miss(ran("ip", "addr"))),
    ),
    Rule(
        id="security-tool-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that switches off what protects the machine",
        where=runs("setenforce", "semanage", "setsebool", "aa-disable", "aa-teardown", "aa-complain", "apparmor_parser",
            "mdatp", "falconctl", "osqueryctl", "clamscan", "freshclam", "esets_daemon", "getenforce", "sestatus",
            "falcon-sensor") | says("setenforce", "selinux", "apparmor", "mdatp", "falcon-sensor", "falconctl",
            "cbdaemon", "ds_agent", "osqueryd", "sysmon", "clamav", "randomize_va_space", "auditd stop", "ulimit -c 0"),
        attack=("T1685", "T1518.001"), tags=frozenset({"traces"}),
        message="{cmdline}", hint=_HINT,
        examples=(
            hit(ran("setenforce", "0")),
            hit(ran("sudo", "mdatp", "config", "real-time-protection", "--value", "disabled")),
            miss(ran("getopt", "x")),
        ),
    ),
    Rule(
        id="security-policy-changed", severity=Severity.HIGH, events=CHANGES,
        summary="what protects the machine is changed (SELinux, AppArmor, sysctl)",
        where=at("/etc/selinux/**", "/etc/apparmor.d/**", "/etc/apparmor/**", "/etc/sysctl.conf", "/etc/sysctl.d/**",
            "/sys/fs/selinux/**", "/etc/opt/microsoft/mdatp/**", "/opt/CrowdStrike/**", "/etc/osquery/**",
            "/etc/clamav/**", "/etc/falco/**", "/etc/security/limits.conf", "/etc/security/limits.d/**"),
        mode="inline", best_effort=True,
        attack=("T1685",), tags=frozenset({"traces"}),
        message="{file} is changed", hint=_HINT,
        examples=(hit(did("create", "/etc/selinux/config")), miss(did("create", "/workspace/selinux/config"))),
    ),
    Rule(
        id="watcher-killed", severity=Severity.MEDIUM, events=RUN,
        summary="daemons of the system are to be ended by name",
        where=(runs("pkill", "killall", "kill", "killall5") & says("cron", "syslog", "auditd", "journald", "sshd",
                "falcon", "osquery", "sysmon", "falco", "tetragon", "systemd", "dockerd", " -1 1")) | says("kill -9 -1")
        | (runs("kill") & F.argv.one_of("1", "-1")) | runs("killall5"),
        attack=("T1489", "T1685"), tags=frozenset({"traces"}),
        message="{cmdline}", hint="end your own programs, by their pid",
        examples=(hit(ran("pkill", "-SIGTERM", "^cron$")), miss(ran("pkill", "-f", "server.py"))),
    ),
    Rule(
        id="secure-delete", severity=Severity.LOW, events=RUN,
        summary="files are removed so that they can't be found again, or all that there are",
        where=runs("shred", "srm", "wipe", "scrub", "sfill") | says("rm -rf /", "--no-preserve-root",
            "if=/dev/zero of=/dev/", "mkfs", "rm -rf ~", "rm -rf $HOME") & ~says("rm -rf /tmp/", "rm -rf /workspace/",
            "rm -rf /var/tmp/"),
        attack=("T1070.004", "T1485", "T1561"), tags=frozenset({"traces", "resources"}),
        message="{cmdline}", hint="rm is enough in a sandbox: all of it goes when it ends",
        examples=(
            hit(ran("shred", "-u", "x")), hit(ran("rm", "-rf", "/", "--no-preserve-root")),
            miss(ran("rm", "-rf", "/tmp/build")), miss(ran("rm", "-rf", "node_modules")),
        ),
    ),
)  # fmt: skip
