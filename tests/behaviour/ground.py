"""The ground attacks are tried on: a box with folders of a machine's own kind, writable and thrown away after one try.

Nothing of the host can be written: what the guest changes is a copy below ``folder`` that ends with the ground. The
guest is user 0 of its own user namespace and an ordinary user of the host, without capabilities, without a network;
under gVisor, which has no guest that is root, it is user 1000, to whom the copy belongs.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloche
from cloche_gvisor.preload import LIBRARY

ATOMICS = "/opt/atomics"
"""Where ``PathToAtomicsFolder`` is, read-only."""
LIMITS = cloche.Limits(pids=200, memory="3G", cpu=2, open_files=1024, file_size="64M", output="4M", wall=30)
LIMIT_SECONDS = 10
RUNTIMES = ("namespaces", "gvisor")
"""Those whose guests are watched."""
REFUSING = frozenset({"namespaces"})
"""Of these, the ones that can refuse an act before it is done."""
WATCH = cloche.Monitor("full", overload="wait")
OWN = ("etc", "var", "root", "home", "opt", "srv", "usr/local")
"""Folders of the copy, each shown in the place of its name."""
STANDINS = Path(__file__).parent / "standins"
"""Small files in the place of those that the corpus's scripts use, and of programs that few images have."""
_EMPTY = (
    "etc/cron.d", "etc/cron.daily", "etc/cron.hourly", "etc/cron.weekly", "etc/cron.monthly", "etc/pam.d", "etc/ssh",
    "etc/systemd/system", "etc/systemd/user", "etc/profile.d", "etc/default", "etc/init.d", "etc/sudoers.d", "etc/ufw",
    "etc/security", "etc/audit/rules.d", "etc/rsyslog.d", "etc/modprobe.d", "etc/udev/rules.d", "etc/logrotate.d",
    "etc/apt/apt.conf.d", "etc/skel", "etc/xdg/autostart", "etc/ca-certificates", "var/log/journal", "var/log/audit",
    "var/spool/mail", "var/spool/cron/crontabs", "var/lib", "var/cache", "var/backups", "var/tmp", "var/www",
    "root", "home/sandbox", "opt/atomics", "srv", "usr/local/bin", "usr/local/lib", "usr/local/sbin", "usr/local/share",
    "usr/local/share/ca-certificates", "usr/local/etc",
)  # fmt: skip
_WRITTEN = {
    "etc/shadow": "root:!:19000:0:99999:7:::\nsandbox:$6$made$up:19000:0:99999:7:::\n",
    "etc/gshadow": "root:*::\n",
    "etc/sudoers": "Defaults\tenv_reset\nroot ALL=(ALL:ALL) ALL\n",
    "etc/crontab": "17 * * * * root true\n",
    "etc/rsyslog.conf": "*.* /var/log/syslog\n",
    "etc/login.defs": "UID_MIN 1000\nUID_MAX 60000\n",
    "etc/shells": "/bin/sh\n/bin/bash\n",
    "etc/profile": "export PATH\n",
    "etc/profile.d/bash_completion.sh": "true\n",
    "etc/default/ufw": "IPV6=yes\n",
    "etc/ufw/ufw.conf": "ENABLED=yes\n",
    "etc/ufw/user.rules": "*filter\n",
    "etc/ufw/sysctl.conf": "net/ipv4/ip_forward=0\n",
    "etc/sysctl.conf": "kernel.sysrq=0\n",
    "etc/systemd/journald.conf": "[Journal]\nStorage=auto\n",
    "etc/pam.d/su-l": "auth required pam_unix.so\n",
    "etc/pam.d/sshd": "auth required pam_unix.so\n",
    "etc/pam.d/common-password": "password required pam_unix.so\n",
    "etc/pam.d/common-auth": "auth required pam_unix.so\n",
    "etc/ssh/sshd_config": "PermitRootLogin no\n",
    "etc/audit/auditd.conf": "log_file = /var/log/audit/audit.log\n",
    "var/log/syslog": "Jan  1 00:00:00 host kernel: started\n",
    "var/log/auth.log": "Jan  1 00:00:00 host sshd[1]: started\n",
    "var/log/wtmp": "",
    "var/log/btmp": "",
    "var/log/lastlog": "",
    "var/log/audit/audit.log": "type=DAEMON_START\n",
    "var/spool/mail/root": "From nobody\n",
    "root/.bashrc": "true\n",
}
_HOME = {
    ".bash_history": "ls\ncd /tmp\nmysql -u root -pmade-up\n",
    ".history": "ls\n",
    ".bashrc": "true\n",
    ".profile": "true\n",
    ".ssh/authorized_keys": "ssh-ed25519 AAAAmadeup someone@nowhere\n",
    ".ssh/id_rsa": "-----BEGIN OPENSSH PRIVATE KEY-----\nmade up\n-----END OPENSSH PRIVATE KEY-----\n",
    ".aws/credentials": "[default]\naws_access_key_id = AKIAMADEUPMADEUPMADE\n",
}
ENV = {"PathToAtomicsFolder": ATOMICS, "USER": "root", "LOGNAME": "root"}


def lay(folder: Path) -> None:
    """Make the tree that each ground is a copy of."""
    shutil.copytree(_guests_etc(), folder / "etc", symlinks=True, ignore=shutil.ignore_patterns("certs"))
    for name in _EMPTY:
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write(folder, _WRITTEN)
    for name in ("sudo", "crontab", "at"):
        shim = folder / "usr/local/bin" / name
        shutil.copyfile(STANDINS / f"{name}.sh", shim)
        shim.chmod(0o755)
    (folder / "etc/shadow").chmod(0o600)
    (folder / "etc/sudoers").chmod(0o640)


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _guests_etc() -> Path:
    from cloche import etc_folder  # noqa: PLC0415 - it builds the folder

    return etc_folder()


def user(runtime: str) -> int:
    """Give the user that a guest is: root where that is one of its own alone."""
    return 1000 if runtime == "gvisor" else 0


def told_only(runtime: str, *use: str | cloche.Rule) -> cloche.Rules:
    """Give rules that refuse where acts can be refused, and elsewhere only tell, so that what follows is seen too."""
    return cloche.Rules(use=use or ("*",), auto_block=None if runtime in REFUSING else "never")


class Ground:
    """Boxes to try attacks in, each on a fresh copy of one tree."""

    def __init__(self, host: cloche.Host, runtime: str) -> None:
        self._host, self.runtime = host, runtime
        self._folder = Path(tempfile.mkdtemp(prefix="ground-"))
        self._folder.chmod(0o755)
        lay(self._folder / "whole")
        if runtime == "gvisor":  # the box's own /etc is hidden by this one, and with it what an old runsc needs
            _write(self._folder / "whole", {"etc/ld.so.preload": f"{LIBRARY}\n"})
        _write(self._folder / "home", _HOME)

    def close(self) -> None:
        """Remove the tree."""
        shutil.rmtree(self._folder)

    @contextmanager
    def box(self, **wanted: Any) -> Iterator[cloche.Sandbox]:  # noqa: ANN401 - the keywords of Host.create
        """Give a fresh box; it ends with the block, and all it has changed with it."""
        copy = Path(tempfile.mkdtemp(prefix="copy-", dir=self._folder))
        try:
            copy.chmod(0o755)
            shutil.copytree(self._folder / "whole", copy, symlinks=True, dirs_exist_ok=True)
            shown = [cloche.Mount(str(copy / name), f"/{name}", read_only=False) for name in OWN]
            shown.append(cloche.Mount(str(STANDINS), ATOMICS))
            env: Mapping[str, str] = {**ENV, **wanted.pop("env", {})}
            with self._host.create(
                runtime=self.runtime, isolation="enhanced", network="none", limits=LIMITS, mounts=shown,
                user=user(self.runtime), env=env, **wanted,
                workspace=cloche.Workspace("overlay", str(self._folder / "home")),
            ) as box:  # fmt: skip
                yield box
        finally:
            shutil.rmtree(copy, ignore_errors=True)
