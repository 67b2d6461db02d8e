"""Paths: traversal, links, frequency, hidden files, times."""

from __future__ import annotations

from typing import Final

from cloche import Act, Count, F, Rule, Severity
from cloche_rules.words import (
    CHANGES,
    KERNEL_FILES,
    READS,
    RUN,
    SECRETS,
    SOCKETS,
    WRITES,
    did,
    hit,
    miss,
    ran,
    runs,
    says,
)

_LINKS: Final = frozenset({Act.SYMLINK, Act.LINK})
_TAKEN: Final = ("/proc/*/root", "/proc/*/root/**", "/proc/*/mem", "/proc/1/**", "/proc/*/environ", "/proc/*/cwd/**")
_UP: Final = "../../../.."
_HIDDEN_HONEST: Final = (
    "/tmp/.X*", "/tmp/.ICE-unix", "/tmp/.ICE-unix/**", "/tmp/.font-unix", "/tmp/.Test-unix", "/tmp/.XIM-unix",
    "**/.git", "**/.git/**", "**/.cache", "**/.cache/**", "**/.config", "**/.config/**", "**/.npm", "**/.npm/**",
    "**/node_modules/**", "**/.local", "**/.local/**", "**/.venv/**", "**/.pytest_cache", "**/.pytest_cache/**",
    "**/.mypy_cache", "**/.mypy_cache/**", "**/.ruff_cache", "**/.ruff_cache/**", "**/.hypothesis", "**/.hypothesis/**",
    "**/.tox", "**/.nox", "**/.eggs", "**/.eggs/**", "**/.ipynb_checkpoints", "**/.ipynb_checkpoints/**", "**/.libs",
    "**/.libs/**", "**/.deps", "**/.deps/**", "**/.tmp*", "**/.nfs*", "**/.*.sw?", "**/.git*", "**/.nyc_output",
    "**/.cargo/**", "**/.gradle/**", "**/.m2/**", "**/.jupyter", "**/.jupyter/**", "**/.ipython", "**/.ipython/**",
    "/tmp/*/*/**", "/var/tmp/*/*/**",
)  # fmt: skip

RULES: Final = (
    Rule(
        id="path-traversal", severity=Severity.HIGH, events=(CHANGES | RUN) - {Act.SYMLINK},
        summary="a path that climbs above the root folder by .. to change or start something of the system",
        where=F.flag("climbs") & F.file.under("/etc", "/root", "/boot", "/proc", "/sys", "/dev", "/var/run", "/run")
        & ~F.file.glob("/dev/null", "/dev/tty", "/dev/pts/*", "/dev/shm/**", "/proc/self/**", "/run/user/**"),
        mode="inline", best_effort=True,
        attack=("T1083", "T1006"), tags=frozenset({"files"}),
        message="climbs out by .. to {file}",
        hint="name files of the system by their absolute path, or stay below your folder",
        examples=(
            hit(did("create", "/etc/cron.d/x", flags=["climbs"])), miss(did("create", "/workspace/out/x")),
            miss(did("write-open", "/dev/null", flags=["climbs"])),
        ),
    ),
    Rule(
        id="path-traversal-read", severity=Severity.HIGH, events=READS,
        summary="a path that climbs above the root folder by .. to read a file of the system",
        where=F.flag("climbs") & F.file.glob("/etc/**", "/root/**", "/proc/*/environ", "/proc/1/**", *SECRETS,
            "${sensitive}") & ~F.file.glob("/etc/ssl/**", "/etc/localtime", "/etc/ld.so.cache", "/etc/hosts",
            "/etc/resolv.conf"),
        mode="inline", best_effort=True,
        attack=("T1083", "T1006"), tags=frozenset({"files", "reads"}),
        message="climbs out by .. to read {file}", hint="name files of the system by their absolute path",
        examples=(
            hit(did("open", "/etc/passwd", flags=["climbs"])),
            miss(did("open", "/usr/include/stdio.h", flags=["climbs"])),
        ),
    ),
    Rule(
        id="path-traversal-argument", severity=Severity.MEDIUM, events=RUN,
        summary="a program is given a path that climbs out of everything to a folder of the system",
        where=says(f"{_UP}/etc/", f"{_UP}/proc/", f"{_UP}/root/", "%2e%2e%2f"),
        attack=("T1083", "T1006"), tags=frozenset({"files"}),
        message="{cmdline}", hint="name files of the system by their absolute path",
        examples=(hit(ran("cat", "../../../../etc/passwd")), miss(ran("cat", "../../README"))),
    ),
    Rule(
        id="high-frequency-access", severity=Severity.MEDIUM, events=CHANGES,
        summary="one process changes files of the system or of others over and over",
        where=F.file.under("/etc", "/root", "/boot", "/usr", "/bin", "/sbin", "/lib", "/var/log", "/var/lib", "/sys")
        & ~F.file.under("${writable}"),
        count=Count(200, per=10, key=("pid",)),
        attack=("T1485",), tags=frozenset({"files", "resources"}),
        message="more than 200 changes outside its folders in 10 seconds, the last to {file}",
        hint="work below the work folder; what is outside can't be changed",
        examples=(
            hit(*(did("create", f"/etc/x{n}", pid=7, at=n / 100) for n in range(201))),
            miss(*(did("create", f"/workspace/x{n}", pid=7, at=n / 100) for n in range(201))),
        ),
    ),
    Rule(
        id="high-frequency-secrets", severity=Severity.HIGH, events=READS,
        summary="files that hold secrets are opened over and over",
        where=F.file.glob(*SECRETS, "**/.ssh/id_*", "**/.aws/credentials", "**/.netrc", "${sensitive}"),
        count=Count(20, per=10),
        attack=("T1552.001",), tags=frozenset({"files", "credentials", "reads"}),
        message="more than 20 opens of files with secrets in 10 seconds, the last of {file}",
        hint="give the program a secret by its input or environment instead",
        examples=(
            hit(*(did("open", "/etc/shadow", at=n / 10) for n in range(21))),
            miss(*(did("open", "/etc/passwd", at=n / 10) for n in range(21))),
        ),
    ),
    Rule(
        id="suspicious-symlink", severity=Severity.HIGH, events=_LINKS,
        summary="a link is made to a secret, to another process, or to what the kernel keeps",
        where=F.to.glob(*SECRETS, *KERNEL_FILES, *_TAKEN, *SOCKETS, "${sensitive}") | F.file.glob(*SECRETS,
            *KERNEL_FILES, "${sensitive}"),
        mode="inline", best_effort=True,
        attack=("T1555", "T1611"), tags=frozenset({"files", "escape"}),
        message="{file} -> {to}", hint="copy what you need into your folder; a link gives no right to what it names",
        examples=(
            hit(did("symlink", "/workspace/x", "/etc/shadow")),
            hit(did("symlink", "/workspace/a/x", "../../etc/shadow")), hit(did("link", "/etc/shadow", "/workspace/x")),
            miss(did("symlink", "/workspace/venv/bin/python", "/usr/bin/python3")),
            miss(did("symlink", "/workspace/node_modules/.bin/x", "../x/cli.js")),
        ),
    ),
    Rule(
        id="symlink-to-system-folder", severity=Severity.MEDIUM, events=frozenset({Act.SYMLINK}),
        summary="a link is made to the root folder or to a whole folder of the system",
        where=F.target.glob("/", "/etc", "/etc/passwd", "/etc/group", "/root", "/home", "/proc", "/proc/self/root",
            "/proc/self/cwd", "/sys", "/dev", "/boot"),
        attack=("T1611",), tags=frozenset({"files"}),
        message="{file} -> {to}",
        hint="name the folder itself; archives and mounts that follow such links are what attacks count on",
        examples=(hit(did("symlink", "/workspace/r", "/")), miss(did("symlink", "/workspace/lib64", "lib"))),
    ),
    Rule(
        id="hidden-in-temporary", severity=Severity.LOW, events=WRITES | {Act.MKDIR},
        summary="a hidden file or folder is made in a temporary folder",
        where=F.file.glob("/tmp/.*", "/tmp/.*/**", "/var/tmp/.*", "/var/tmp/.*/**", "/dev/shm/.*", "/dev/shm/.*/**",
            "/run/user/*/.*") & ~F.file.glob(*_HIDDEN_HONEST),
        attack=("T1564.001",), tags=frozenset({"files"}),
        message="{file} is hidden in a temporary folder", hint="call it by a name without a dot",
        examples=(
            hit(did("mkdir", "/var/tmp/.stash")), hit(did("create", "/dev/shm/.x")),
            miss(did("mkdir", "/tmp/.X11-unix")), miss(did("mkdir", "/workspace/.venv")),
            miss(did("create", "/tmp/x.log")),
        ),
    ),
    Rule(
        id="deceptive-name", severity=Severity.MEDIUM, events=WRITES | {Act.MKDIR} | RUN,
        summary="a name that looks like another: a space at its end, only dots or spaces",
        where=F.name.glob("* ", "...", "....", ".. *", ". *"),
        attack=("T1036.006", "T1564.001"), tags=frozenset({"files"}),
        message="{file} has a name that looks like another", hint="use names without spaces at the end",
        examples=(hit(did("mkdir", "/tmp/docs ")), hit(did("mkdir", "/tmp/...")), miss(did("mkdir", "/tmp/my docs"))),
    ),
    Rule(
        id="timestomp-command", severity=Severity.LOW, events=RUN,
        summary="a file is given times that somebody chose, by touch or debugfs",
        where=(runs("touch") & (F.argv.one_of("-t", "-d", "-r") | F.argv.startswith("-t1", "-t2", "-d1", "-d2",
                    "--date", "--ref") | F.argv.glob("-[acmh]*[tdr]"))) | says("set_inode_field "),
        attack=("T1070.006",), tags=frozenset({"files", "traces"}),
        message="{cmdline}", hint="touch without a time is not told",
        examples=(
            hit(ran("touch", "-t", "197001010000.00", "notes")), hit(ran("touch", "-acmr", "/bin/sh", "notes")),
            miss(ran("touch", "notes")), miss(ran("touch", "a-t b")),
        ),
    ),
    Rule(
        id="timestomp-system", severity=Severity.MEDIUM, events=frozenset({Act.UTIME}),
        summary="the times of a file of the system, or of a log, are changed",
        where=F.file.under("/etc", "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/boot", "/var/log", "/lib/systemd",
            "/root/.ssh") & ~F.file.under("${writable}", "${home}", "${mounted}"),
        attack=("T1070.006",), tags=frozenset({"files", "traces"}),
        message="the times of {file} are changed", hint="copy the file into your folder and change the copy's",
        examples=(hit(did("utime", "/usr/bin/ls")), miss(did("utime", "/workspace/build/a.o"))),
    ),
    Rule(
        id="immutable-file", severity=Severity.MEDIUM, events=RUN,
        summary="a file is made unchangeable, or changeable again, by chattr",
        where=runs("chattr", "chflags") | says("chattr +i", "chattr -i", "chattr +a", "chattr -a"),
        attack=("T1222.002",), tags=frozenset({"files", "rights"}),
        message="{cmdline}", hint="permissions by chmod are enough in a sandbox",
        examples=(
            hit(ran("chattr", "+i", "x")), hit(ran("sh", "-c", "chattr -i /etc/passwd")), miss(ran("lsattr", "x")),
        ),
    ),
    Rule(
        id="broad-permissions", severity=Severity.LOW, events=frozenset({Act.CHMOD}),
        summary="a file or folder is opened to everyone for writing",
        where=F.mode.has(0o002) & ~F.mode.has(0o1000),
        attack=("T1222.002",), tags=frozenset({"files", "rights"}),
        message="{file} can be written by everyone", hint="mode 0755 or 0644 is enough in a sandbox",
        examples=(
            hit(did("chmod", "/workspace/x", mode=0o777)), miss(did("chmod", "/workspace/x", mode=0o755)),
            miss(did("chmod", "/workspace/tmp", mode=0o1777)),
        ),
    ),
    Rule(
        id="permissions-command", severity=Severity.INFO, events=RUN,
        summary="a command that changes permissions or owners",
        where=runs("chmod", "chown", "chgrp", "setfacl"),
        attack=("T1222.002",), tags=frozenset({"files", "rights"}),
        message="{cmdline}", hint="nothing need be done",
        examples=(hit(ran("chmod", "755", "x")), miss(ran("ls", "-l"))),
    ),
    Rule(
        id="permissions-changed-broadly", severity=Severity.LOW, events=RUN,
        summary="permissions or owners of a whole tree are changed by one command",
        where=runs("chmod", "chown", "chgrp") & says(" -R", " --recursive", " 777 ", " a+w", " a+rwx", " o+w", " root ",
            " root:"),
        attack=("T1222.002",), tags=frozenset({"files", "rights"}),
        message="{cmdline}", hint="change the files that need it",
        examples=(hit(ran("chmod", "-R", "755", "/srv/app")), miss(ran("chmod", "+x", "configure"))),
    ),
)  # fmt: skip
