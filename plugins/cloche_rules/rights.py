"""More rights than were given: setuid and capability files, other users, sudo, accounts."""

from __future__ import annotations

from typing import Final

from cloche import Act, F, Rule, Severity
from cloche_rules.words import CHANGES, RUN, SHELLS, WRITES, at, did, hit, miss, ran, runs, says

_SETUID: Final = 0o4000
_SETGID_RUN: Final = 0o2000
_GROUP_RUNS: Final = 0o010
_ACCOUNTS: Final = (
    "/etc/passwd", "/etc/passwd-", "/etc/shadow", "/etc/shadow-", "/etc/group", "/etc/group-", "/etc/gshadow",
    "/etc/gshadow-", "/etc/subuid", "/etc/subgid", "/etc/master.passwd", "/etc/security/opasswd",
)  # fmt: skip
_ROOTS: Final = ("setuid", "setreuid", "setresuid", "setfsuid")

RULES: Final = (
    Rule(
        id="permission-escalation", severity=Severity.HIGH, events=frozenset({Act.CHMOD, Act.MKNOD, Act.CREATE}),
        summary="a file is made that runs with the rights of its owner (setuid)",
        where=F.mode.has(_SETUID),
        mode="inline", best_effort=True,
        attack=("T1548.001",), tags=frozenset({"rights"}),
        message="{file} is made setuid", hint="setuid has no effect in a sandbox; use mode 0755",
        examples=(
            hit(did("chmod", "/workspace/x", mode=0o4755)), hit(did("chmod", "/tmp/x", mode=0o6755)),
            miss(did("chmod", "/workspace/x", mode=0o755)), miss(did("chmod", "/workspace/repo", mode=0o2775)),
        ),
    ),
    Rule(
        id="setgid-file", severity=Severity.LOW, events=frozenset({Act.CHMOD}),
        summary="a file or folder is given its group's rights (setgid); shared folders are made so too",
        where=F.mode.has(_SETGID_RUN) & F.mode.has(_GROUP_RUNS) & ~F.mode.has(_SETUID) & ~F.file.glob("**/.git/**",
            "**/.git"),
        attack=("T1548.001",), tags=frozenset({"rights"}),
        message="{file} is made setgid", hint="setgid has no effect on programs in a sandbox",
        examples=(
            hit(did("chmod", "/tmp/x", mode=0o2755)), miss(did("chmod", "/workspace/r/.git/objects", mode=0o2775)),
        ),
    ),
    Rule(
        id="setuid-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that makes files setuid or setgid",
        where=(runs("chmod", "install") & F.argv.glob("[246][0-7][0-7][0-7]", "0[246][0-7][0-7][0-7]",
                "-m[246][0-7][0-7][0-7]", "[ugoa]*[+=]*s", "[ugoa]*[+=]*s,*", "+s", "=*s")) | (runs(*SHELLS)
            & says("chmod u+s", "chmod g+s", "chmod +s", "chmod ug+s", "chmod 4755", "chmod 6755", "chmod 04755")),
        attack=("T1548.001",), tags=frozenset({"rights"}),
        message="{cmdline}", hint="setuid has no effect in a sandbox; use mode 0755",
        examples=(
            hit(ran("chmod", "u+s", "/tmp/x")), hit(ran("chmod", "4755", "x")), miss(ran("chmod", "u+x", "x")),
            miss(ran("chmod", "644", "x")), miss(ran("chmod", "+x", "./config.status")),
        ),
    ),
    Rule(
        id="setuid-search", severity=Severity.MEDIUM, events=RUN,
        summary="files that run with others' rights are looked for",
        where=(runs("find", "bfs") & F.argv.glob("[-/+][246][0-7][0-7][0-7]", "[-/+]0[246][0-7][0-7][0-7]",
                "[-/+][ug][=+]s*")) | (runs("getcap") & F.argv.one_of("-r")) | says("getcap -r", "-perm -4000",
            "-perm -u=s", "-perm /4000", "-perm /6000"),
        attack=("T1548.001", "T1083"), tags=frozenset({"rights", "discovery"}),
        message="{cmdline}", hint="setuid programs give nothing in a sandbox",
        examples=(
            hit(ran("find", "/usr/bin", "-perm", "-4000")), hit(ran("find", "/", "-perm", "-u=s", "-type", "f")),
            hit(ran("getcap", "-r", "/")), miss(ran("find", "/usr", "-name", "*.h")),
            miss(ran("find", ".", "-perm", "-111")),
        ),
    ),
    Rule(
        id="capability-file", severity=Severity.HIGH, events=frozenset({Act.XATTR}),
        summary="a file is given capabilities of root",
        where=F.attribute == "security.capability",
        mode="inline", best_effort=True,
        attack=("T1548.001",), tags=frozenset({"rights"}),
        message="{file} is given capabilities", hint="capabilities of files have no effect in a sandbox",
        examples=(
            hit(did("xattr", "/tmp/x", "security.capability", call="setxattr")),
            miss(did("xattr", "/workspace/x", "user.mime_type", call="setxattr")),
        ),
    ),
    Rule(
        id="capability-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that gives files capabilities, or uses them",
        where=runs("setcap", "capsh") | says("setcap cap_", "setcap all"),
        attack=("T1548.001",), tags=frozenset({"rights"}),
        message="{cmdline}", hint="capabilities of files have no effect in a sandbox",
        examples=(hit(ran("setcap", "cap_setuid=ep", "/tmp/x")), miss(ran("getcap", "x"))),
    ),
    Rule(
        id="become-root", severity=Severity.MEDIUM, events=frozenset({Act.SETID}),
        summary="a program asks to become user 0",
        where=F.call.one_of(*_ROOTS) & (F.first == 0),
        attack=("T1548", "T1068"), tags=frozenset({"rights"}),
        message="a program asks to become user 0", hint="nothing in a sandbox needs root; install into your own folder",
        examples=(
            hit(did("setid", call="setuid", first=0)), miss(did("setid", call="setuid", first=1000)),
            miss(did("setid", call="setgid", first=0)),
        ),
    ),
    Rule(
        id="sudoers-changed", severity=Severity.HIGH, events=CHANGES,
        summary="the rules of sudo, su or polkit are changed",
        where=at("/etc/sudoers", "/etc/sudoers.d/**", "/usr/local/etc/sudoers", "/usr/local/etc/sudoers.d/**",
            "/etc/doas.conf", "/etc/polkit-1/**", "/usr/share/polkit-1/rules.d/**", "/var/lib/polkit-1/**"),
        mode="inline", best_effort=True,
        attack=("T1548.003",), tags=frozenset({"rights", "persistence"}),
        message="{file} is changed", hint="nothing in a sandbox needs sudo; run the program itself",
        examples=(
            hit(did("create", "/etc/sudoers.d/me")), hit(did("rename", "/etc/sedXYZ", "/etc/sudoers")),
            miss(did("create", "/workspace/etc/sudoers")),
        ),
    ),
    Rule(
        id="sudo-command", severity=Severity.LOW, events=RUN,
        summary="a program is started that gives others' rights",
        where=runs("sudo", "su", "doas", "pkexec", "runuser", "newgrp", "sg", "visudo", "sudoedit", "machinectl"),
        attack=("T1548.003",), tags=frozenset({"rights"}),
        message="{cmdline}", hint="nothing in a sandbox needs sudo; run the program itself",
        examples=(hit(ran("sudo", "id")), miss(ran("id"))),
    ),
    Rule(
        id="sudoers-read", severity=Severity.MEDIUM, events=RUN,
        summary="a command names the rules of sudo or polkit",
        where=says("/etc/sudoers", "/usr/local/etc/sudoers", "sudo -l", "tty_tickets", "timestamp_timeout"),
        attack=("T1548.003", "T1033"), tags=frozenset({"rights", "discovery"}),
        message="{cmdline}", hint="nothing in a sandbox needs sudo; run the program itself",
        examples=(hit(ran("cat", "/etc/sudoers")), miss(ran("cat", "sudoers.md"))),
    ),
    Rule(
        id="account-files", severity=Severity.HIGH, events=CHANGES,
        summary="the lists of users, groups or passwords are changed",
        where=at(*_ACCOUNTS, "/etc/.pwd.lock", "/etc/shells", "/etc/login.defs", "/etc/security/**")
        & ~F.file.glob("/etc/security/limits.d/**"),
        mode="inline", best_effort=True,
        attack=("T1136.001", "T1098"), tags=frozenset({"accounts", "persistence"}),
        message="{file} is changed", hint="a sandbox has one user; accounts can't be made in it",
        examples=(
            hit(did("write-open", "/etc/passwd")), hit(did("rename", "/etc/passwd+", "/etc/passwd")),
            miss(did("symlink", "/workspace/x", "/etc/passwd", call="symlinkat")),
            miss(did("create", "/workspace/etc/passwd")),
        ),
    ),
    Rule(
        id="account-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that makes or changes users, groups or passwords",
        where=runs("useradd", "userdel", "usermod", "adduser", "deluser", "addgroup", "delgroup", "groupadd",
            "groupdel", "groupmod", "passwd", "chpasswd", "gpasswd", "chsh", "chfn", "chage", "vipw", "vigr",
            "newusers", "pw", "htpasswd", "ldapadd", "ldapmodify", "samba-tool", "realm", "adcli") | says("useradd",
            "adduser", "usermod", "userdel", "openssl passwd", "chpasswd", "groupadd"),
        attack=("T1136.001", "T1098", "T1531"), tags=frozenset({"accounts", "persistence"}),
        message="{cmdline}", hint="a sandbox has one user; accounts can't be made in it",
        examples=(
            hit(ran("useradd", "-M", "someone")), hit(ran("sh", "-c", "usermod -aG sudo me")), miss(ran("users")),
        ),
    ),
    Rule(
        id="owner-changed-to-root", severity=Severity.LOW, events=frozenset({Act.CHOWN}),
        summary="a file is given to user 0",
        where=(F.user == 0) & ~F.file.under("${workspace}"),
        attack=("T1222.002",), tags=frozenset({"rights", "files"}),
        message="{file} is given to user 0", hint="owners matter little in a sandbox; leave them",
        examples=(hit(did("chown", "/tmp/x", user=0, group=0)), miss(did("chown", "/tmp/x", user=1000, group=1000))),
    ),
    Rule(
        id="pam-changed", severity=Severity.HIGH, events=WRITES | {Act.UNLINK, Act.CHMOD},
        summary="how the machine checks who logs in is changed (PAM, NSS, SSH server)",
        where=at("/etc/pam.d/**", "/etc/pam.conf", "/lib/security/**", "/lib/*/security/**", "/usr/lib/security/**",
            "/usr/lib/*/security/**", "/usr/lib/*/security", "/etc/nsswitch.conf", "/etc/ssh/sshd_config",
            "/etc/ssh/sshd_config.d/**"),
        mode="inline", best_effort=True,
        attack=("T1556.003", "T1556"), tags=frozenset({"accounts", "persistence"}),
        message="{file} is changed", hint="nobody logs in to a sandbox",
        examples=(
            hit(did("rename", "/etc/pam.d/sedQ1", "/etc/pam.d/su-l")),
            hit(did("create", "/lib/x86_64-linux-gnu/security/pam_x.so")), miss(did("create", "/workspace/pam.d/su")),
        ),
    ),
    Rule(
        id="pam-named", severity=Severity.LOW, events=RUN,
        summary="a command names what checks who logs in",
        where=says("/etc/pam.d", "pam_permit", "pam_exec", "pam_tty_audit", "/etc/security/", "pwquality.conf",
            "/etc/login.defs", "/etc/ssh/sshd_config"),
        attack=("T1556.003", "T1201"), tags=frozenset({"accounts", "discovery"}),
        message="{cmdline}", hint="nobody logs in to a sandbox",
        examples=(hit(ran("cat", "/etc/pam.d/common-password")), miss(ran("cat", "pam.md"))),
    ),
)  # fmt: skip
