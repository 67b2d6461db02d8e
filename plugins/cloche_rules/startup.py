"""What would run again later: schedules, shells' and desktops' start files, services, loaders, hooks of tools."""

from __future__ import annotations

from typing import Final

from cloche import Act, F, Rule, Severity
from cloche_rules.words import CHANGES, RUN, SHELLS, WRITES, at, did, hit, miss, ran, runs, says

_SHELL_FILES: Final = (
    "**/.bashrc", "**/.bash_profile", "**/.bash_login", "**/.bash_logout", "**/.profile", "**/.bash_aliases",
    "**/.zshrc", "**/.zshenv", "**/.zprofile", "**/.zlogin", "**/.zlogout", "**/.kshrc", "**/.cshrc", "**/.tcshrc",
    "**/.login", "**/.logout", "**/.inputrc", "**/.config/fish/**", "**/.pam_environment", "**/.shrc",
)  # fmt: skip
_SYSTEM_SHELL_FILES: Final = (
    "/etc/profile", "/etc/profile.d/**", "/etc/bash.bashrc", "/etc/bashrc", "/etc/zsh/**", "/etc/zshrc", "/etc/zshenv",
    "/etc/environment", "/etc/csh.*", "/etc/inputrc", "/etc/skel/**", "/etc/bash_completion.d/**", "/etc/fish/**",
)  # fmt: skip
_LATER: Final = "nothing runs later in a sandbox: start it now, or from outside"
_INSTEAD: Final = "give env= and args where the program is started instead"
_LOADER: Final = (
    "LD_PRELOAD=", "LD_AUDIT=", "GCONV_PATH=", "DYLD_INSERT_LIBRARIES=", "LD_DEBUG_OUTPUT=", "LD_PROFILE=",
)  # fmt: skip

RULES: Final = (
    Rule(
        id="cron-changed", severity=Severity.HIGH, events=CHANGES,
        summary="a schedule of the system is changed (cron, at, anacron)",
        where=at("/etc/cron*/**", "/etc/crontab", "/etc/anacrontab", "/var/spool/cron/**", "/var/spool/at/**",
            "/var/spool/anacron/**", "/etc/at.allow", "/etc/at.deny", "/etc/cron.allow", "/etc/cron.deny",
            "/var/spool/atjobs/**", "/var/at/**"),
        mode="inline", best_effort=True,
        attack=("T1053.003", "T1053.002"), tags=frozenset({"persistence"}),
        message="{file} is changed", hint=_LATER,
        examples=(
            hit(did("create", "/etc/cron.d/x")),
            hit(did("rename", "/var/spool/cron/crontabs/tmp.Q1", "/var/spool/cron/crontabs/me")),
            miss(did("create", "/workspace/etc/cron.d/x")),
        ),
    ),
    Rule(
        id="cron-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that schedules programs",
        where=runs("crontab", "at", "batch", "atd", "crond", "cron", "anacron", "atrm") | says("crontab -", "| crontab",
            " at now", "&& crontab", "; crontab", "/etc/cron", "/var/spool/cron"),
        attack=("T1053.003", "T1053.002"), tags=frozenset({"persistence"}),
        message="{cmdline}", hint=_LATER,
        examples=(hit(ran("crontab", "-l")), hit(ran("at", "now", "+", "1", "minute")), miss(ran("cat", "CRON.md"))),
    ),
    Rule(
        id="shell-start-file", severity=Severity.MEDIUM, events=WRITES,
        summary="what a shell runs when it starts is changed, of a user",
        where=at(*_SHELL_FILES),
        attack=("T1546.004",), tags=frozenset({"persistence"}),
        message="{file} is changed", hint=_INSTEAD,
        examples=(
            hit(did("create", "/workspace/.bashrc")), hit(did("write-open", "/root/.profile")),
            miss(did("create", "/workspace/.env")),
        ),
    ),
    Rule(
        id="shell-start-file-system", severity=Severity.HIGH, events=CHANGES,
        summary="what every shell runs when it starts is changed",
        where=at(*_SYSTEM_SHELL_FILES),
        mode="inline", best_effort=True,
        attack=("T1546.004",), tags=frozenset({"persistence"}),
        message="{file} is changed", hint=_INSTEAD,
        examples=(
            hit(did("write-open", "/etc/profile")), hit(did("create", "/etc/profile.d/x.sh")),
            miss(did("create", "/workspace/etc/profile")),
        ),
    ),
    Rule(
        id="shell-start-file-named", severity=Severity.LOW, events=RUN,
        summary="a command names what a shell runs when it starts",
        where=runs(*SHELLS, "tee", "sed", "cp", "mv", "echo") & says("/.bashrc", "/.bash_profile", "/.profile",
            "/.bash_login", "/.zshrc", "/.zprofile", "/.bash_logout", "/etc/profile", "/etc/bash.bashrc",
            "/etc/environment"),
        attack=("T1546.004",), tags=frozenset({"persistence"}),
        message="{cmdline}", hint=_INSTEAD,
        examples=(hit(ran("sh", "-c", "echo x >> ~/.bashrc")), miss(ran("sh", "-c", "echo x >> notes"))),
    ),
    Rule(
        id="shell-trap", severity=Severity.LOW, events=RUN,
        summary="a shell is told to run something at a signal, at its end or at each command",
        where=runs(*SHELLS) & says("trap ") & says(" EXIT", " DEBUG", " SIGINT", " INT", " ERR", " RETURN", " SIGHUP",
            " 0\n", " HUP", " SIGTERM", " TERM"),
        attack=("T1546.005",), tags=frozenset({"persistence"}),
        message="{cmdline}", hint="put the last step after the others",
        examples=(
            hit(ran("bash", "-c", "trap 'sh x.sh' EXIT")), miss(ran("bash", "-c", "echo trapdoor EXIT")),
            miss(ran("bash", "-c", "exit 0")),
        ),
    ),
    Rule(
        id="shell-environment-hook", severity=Severity.MEDIUM, events=RUN,
        summary="a shell is told by its environment to run something (BASH_ENV, PROMPT_COMMAND)",
        where=F.env.startswith("BASH_ENV=", "PROMPT_COMMAND=", "BASH_FUNC_", "SHELLOPTS=", "PS4=$(", "ENV=/")
        | (runs(*SHELLS) & says("PROMPT_COMMAND=", "BASH_ENV=")),
        attack=("T1546.004", "T1574"), tags=frozenset({"persistence", "execution"}),
        message="{cmdline}", hint="call what is meant by its name",
        examples=(
            hit(ran("bash", "-c", "true", env="BASH_ENV=/tmp/x")), miss(ran("bash", "-c", "true", env="PATH=/usr/bin")),
        ),
    ),
    Rule(
        id="service-changed", severity=Severity.HIGH, events=CHANGES,
        summary="a service of the system is made or changed (systemd, init)",
        where=at("/etc/systemd/**", "/lib/systemd/**", "/usr/lib/systemd/**", "/usr/local/lib/systemd/**",
            "/run/systemd/**", "/etc/init.d/**", "/etc/rc*.d/**", "/etc/rc.local", "/etc/rc.common", "/etc/rc.conf",
            "/etc/inittab", "/etc/init/**", "/etc/xinetd.d/**", "/etc/inetd.conf", "/usr/local/etc/rc.d/**",
            "/etc/runit/**", "/etc/sv/**", "/etc/supervisor/**"),
        mode="inline", best_effort=True,
        attack=("T1543.002", "T1053.006", "T1037.004"), tags=frozenset({"persistence"}),
        message="{file} is changed", hint=_LATER,
        examples=(
            hit(did("create", "/etc/systemd/system/x.service")), hit(did("create", "/etc/rc.local")),
            miss(did("create", "/workspace/systemd/x.service")),
        ),
    ),
    Rule(
        id="service-of-user", severity=Severity.MEDIUM, events=WRITES,
        summary="a service or a start entry of a user is made",
        where=at("**/.config/systemd/**", "**/.local/share/systemd/**", "**/.config/autostart/**",
            "/etc/xdg/autostart/**", "**/.xinitrc", "**/.xsession", "**/.xprofile", "**/.config/upstart/**"),
        attack=("T1543.002", "T1547.013"), tags=frozenset({"persistence"}),
        message="{file} is changed", hint=_LATER,
        examples=(
            hit(did("create", "/workspace/.config/systemd/user/x.service")),
            miss(did("create", "/workspace/.config/pip/pip.conf")),
        ),
    ),
    Rule(
        id="service-command", severity=Severity.MEDIUM, events=RUN,
        summary="a command that starts, stops or adds services",
        where=runs("systemctl", "systemd-run", "service", "initctl", "update-rc.d", "chkconfig", "rc-update",
            "rc-service", "invoke-rc.d", "insserv", "loginctl", "launchctl", "busctl") | says("systemctl",
            "systemd-run", "/etc/systemd/", "update-rc.d", "/etc/rc.local", "/etc/rc.common", "service cron",
            "/etc/init.d/"),
        attack=("T1543.002", "T1569.003", "T1489"), tags=frozenset({"persistence"}),
        message="{cmdline}", hint="a sandbox has no services; start the program itself",
        examples=(
            hit(ran("systemctl", "enable", "x")), hit(ran("sudo", "systemctl", "stop", "x")),
            miss(ran("grep", "systemd", "x")),
        ),
    ),
    Rule(
        id="ssh-keys-changed", severity=Severity.HIGH, events=CHANGES,
        summary="who may log in with a key is changed",
        where=at("**/.ssh/authorized_keys", "**/.ssh/authorized_keys2", "**/.ssh/rc", "**/.ssh/environment",
            "**/.rhosts", "**/.shosts", "/etc/hosts.equiv", "/etc/ssh/authorized_keys/**"),
        mode="inline", best_effort=True,
        attack=("T1098.004",), tags=frozenset({"persistence", "credentials"}),
        message="{file} is changed", hint="nobody logs in to a sandbox",
        examples=(
            hit(did("create", "/workspace/.ssh/authorized_keys")), miss(did("create", "/workspace/.ssh/known_hosts")),
        ),
    ),
    Rule(
        id="loader-preload-file", severity=Severity.CRITICAL, events=CHANGES,
        summary="what is loaded into every program is changed",
        where=at("/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.conf.d/**"),
        mode="inline", best_effort=True,
        attack=("T1574.006", "T1014"), tags=frozenset({"persistence", "execution"}),
        message="{file} is changed", hint="link the library into the program, or set LD_LIBRARY_PATH for it",
        examples=(hit(did("create", "/etc/ld.so.preload")), miss(did("create", "/etc/ld.so.cache~"))),
    ),
    Rule(
        id="loader-preload", severity=Severity.MEDIUM, events=RUN,
        summary="a library is put before all others of a program (LD_PRELOAD)",
        where=F.env.startswith(*_LOADER) | says("LD_PRELOAD=", "LD_AUDIT=", "ld.so.preload") | F.name.glob("ld-linux*",
            "ld-2.*"),
        attack=("T1574.006",), tags=frozenset({"persistence", "execution"}),
        message="{cmdline}", hint="link the library into the program",
        examples=(
            hit(ran("ls", env="LD_PRELOAD=/tmp/x.so")), hit(ran("sh", "-c", "LD_PRELOAD=/tmp/x.so ls")),
            miss(ran("ls", env="LD_LIBRARY_PATH=/workspace/lib")),
        ),
    ),
    Rule(
        id="path-hijack", severity=Severity.LOW, events=RUN,
        summary="programs are looked for first in a temporary or in the current folder",
        where=F.env.startswith("PATH=/tmp", "PATH=.:", "PATH=:", "PATH=/var/tmp", "PATH=/dev/shm"),
        attack=("T1574.007",), tags=frozenset({"persistence", "execution"}),
        message="{env}: {cmdline}", hint="name the program by its path",
        examples=(hit(ran("ls", env="PATH=/tmp/x:/usr/bin")), miss(ran("ls", env="PATH=/workspace/venv/bin:/usr/bin"))),
    ),
    Rule(
        id="program-replaced", severity=Severity.HIGH, events=WRITES | {Act.UNLINK, Act.CHMOD},
        summary="a program or library of the system is changed",
        where=at("/bin/**", "/sbin/**", "/usr/bin/**", "/usr/sbin/**", "/lib/**", "/lib64/**",
            "/usr/lib/x86_64-linux-gnu/*.so*", "/usr/lib/aarch64-linux-gnu/*.so*", "/usr/lib64/**")
        & ~F.file.under("${writable}") & ~F.file.glob("/lib/modules/**", "/lib/systemd/**", "/lib/security/**",
            "/lib/*/security/**", "**/__pycache__/**", "**/*.pyc", "**/*.pyc.*", "**/__pycache__"),
        mode="inline", best_effort=True,
        attack=("T1554", "T1574"), tags=frozenset({"persistence"}),
        message="{file} is changed", hint="install into your own folder (venv, --prefix, npm without -g)",
        examples=(
            hit(did("create", "/usr/bin/ls")), miss(did("create", "/workspace/venv/bin/ls")),
            miss(did("create", "/usr/lib/python3/dist-packages/x/__pycache__/y.pyc")),
        ),
    ),
    Rule(
        id="python-start-hook", severity=Severity.MEDIUM, events=WRITES,
        summary="what Python runs whenever it starts is made (sitecustomize, usercustomize)",
        where=at("**/*-packages/sitecustomize.py*", "**/*-packages/usercustomize.py*",
            "/usr/lib/python*/sitecustomize.py", "/etc/python*/sitecustomize.py"),
        attack=("T1546.018",), tags=frozenset({"persistence"}),
        message="{file} is changed", hint="import what you need in the program itself",
        examples=(
            hit(did("create", "/workspace/.local/lib/python3.11/site-packages/usercustomize.py")),
            miss(did("create", "/workspace/src/tests/sitecustomize.py")),
        ),
    ),
    Rule(
        id="python-start-path", severity=Severity.LOW, events=frozenset({Act.CREATE, Act.WRITE_OPEN}),
        summary="a .pth file is made, of which Python may run lines whenever it starts",
        where=F.name.glob("*.pth") & ~F.file.glob("**/distutils-precedence.pth", "**/__editable__*.pth",
            "**/*-nspkg.pth", "**/easy-install.pth", "**/_virtualenv.pth", "**/coverage*.pth", "**/pytest-cov.pth",
            "**/matplotlib*.pth"),
        attack=("T1546.018",), tags=frozenset({"persistence"}),
        message="{file} is changed", hint="import what you need in the program itself",
        examples=(
            hit(did("create", "/workspace/.local/lib/python3.11/site-packages/x.pth")),
            miss(did("create", "/workspace/venv/lib/python3.11/site-packages/distutils-precedence.pth")),
        ),
    ),
    Rule(
        id="interpreter-environment-hook", severity=Severity.LOW, events=RUN,
        summary="an interpreter is told by its environment to run something first",
        where=F.env.startswith("PYTHONSTARTUP=", "PERL5OPT=", "PERL5DB=", "RUBYOPT=-r", "NODE_OPTIONS=--require",
            "NODE_OPTIONS=-r ", "JAVA_TOOL_OPTIONS=-javaagent", "GIT_SSH_COMMAND=", "GIT_EXTERNAL_DIFF="),
        attack=("T1574", "T1546"), tags=frozenset({"persistence", "execution"}),
        message="{env}: {cmdline}", hint="give it as an argument",
        examples=(
            hit(ran("python3", "-c", "1", env="PYTHONSTARTUP=/tmp/x.py")),
            miss(ran("node", "x.js", env="NODE_OPTIONS=--max-old-space-size=512")),
        ),
    ),
    Rule(
        id="git-hook", severity=Severity.LOW, events=frozenset({Act.CREATE, Act.WRITE_OPEN, Act.RENAME, Act.SYMLINK,
                Act.LINK}),
        summary="a program is made that git runs by itself",
        where=at("**/.git/hooks/*") & ~F.file.glob("**/*.sample", "**/*.sample.lock"),
        attack=("T1546", "T1195"), tags=frozenset({"persistence"}),
        message="{file} is made", hint="call it by yourself before you commit",
        examples=(
            hit(did("create", "/workspace/x/.git/hooks/pre-commit")),
            miss(did("create", "/workspace/x/.git/hooks/pre-commit.sample")),
        ),
    ),
    Rule(
        id="device-rules-changed", severity=Severity.HIGH, events=CHANGES,
        summary="what runs when a device comes, a user logs in or a network starts is changed",
        where=at("/etc/udev/**", "/lib/udev/**", "/usr/lib/udev/**", "/etc/update-motd.d/**", "/etc/network/if-*/**",
            "/etc/NetworkManager/**", "/etc/dhcp/**", "/etc/apt/apt.conf.d/**", "/etc/logrotate.d/**",
            "/etc/logrotate.conf", "/etc/yum/**", "/etc/dnf/plugins/**", "/etc/acpi/**", "/etc/dbus-1/**",
            "/usr/share/dbus-1/**", "/etc/binfmt.d/**", "/etc/X11/**", "/etc/motd"),
        mode="inline", best_effort=True,
        attack=("T1546.017", "T1546.016", "T1037"), tags=frozenset({"persistence"}),
        message="{file} is changed", hint=_LATER,
        examples=(
            hit(did("create", "/etc/udev/rules.d/99-x.rules")), hit(did("create", "/etc/update-motd.d/99-x")),
            miss(did("create", "/workspace/etc/udev/x")),
        ),
    ),
    Rule(
        id="web-content-changed", severity=Severity.MEDIUM, events=WRITES,
        summary="a file is put where a web server of the machine would show or run it",
        where=at("/var/www/**", "/srv/www/**", "/usr/share/nginx/**", "/usr/share/apache2/**", "/etc/apache2/**",
            "/etc/nginx/**", "/usr/local/apache2/**"),
        attack=("T1505.003", "T1491"), tags=frozenset({"persistence"}),
        message="{file} is changed", hint="serve files from your own folder",
        examples=(hit(did("create", "/var/www/html/x.php")), miss(did("create", "/workspace/www/x.php"))),
    ),
)  # fmt: skip
