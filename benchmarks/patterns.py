"""Patterns and paths for benchmarks, the same for the same seed: what rules look for, and what programs open."""

import random
from typing import Final

GROUPS: Final = {
    0: """/etc/shadow /etc/shadow- /etc/gshadow /etc/sudoers /etc/sudoers.d/** /etc/pam.d/** /etc/pam.conf
    /etc/security/** /etc/master.passwd /root/**""",
    1: """**/.ssh/id_* **/.ssh/*_key **/.aws/credentials **/.aws/config **/.netrc **/.docker/config.json
    **/.kube/config **/.git-credentials **/.pypirc **/.npmrc **/.env **/*.kdbx **/*.pem **/credentials.json
    **/.config/gcloud/** **/id_rsa* **/id_ed25519* **/.gnupg/**""",
    2: """**/.bashrc **/.profile **/.bash_profile **/.zshrc /etc/profile /etc/profile.d/** /etc/bash.bashrc
    **/.config/fish/config.fish""",
    3: """/bin/** /sbin/** /usr/bin/** /usr/sbin/** /usr/local/bin/** /usr/local/sbin/** /lib/** /lib64/**
    /usr/lib/systemd/**""",
    4: "/etc/**",
    5: "/var/log/** /run/log/**",
    6: "/dev/shm/** /var/tmp/** /run/user/**",
    7: "**/.bash_history **/.zsh_history **/.python_history **/.ash_history **/.mysql_history",
    8: """**/release_agent /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/*/root/** /proc/*/mem
    /sys/kernel/** /sys/fs/cgroup/** /proc/sys/kernel/modprobe /proc/sys/fs/binfmt_misc/** /proc/kcore /dev/mem
    /dev/kmem /dev/sd* /dev/vd* /dev/nvme*""",
    9: "**/docker.sock **/containerd.sock **/crio.sock **/podman.sock",
    10: "/proc/*/environ /proc/*/maps /proc/*/cmdline /proc/[1-9]*/status",
    11: """/etc/cron* /etc/cron*/** /var/spool/cron/** /etc/systemd/system/** /lib/systemd/system/** /etc/init.d/**
    /etc/rc.local **/.config/autostart/**""",
    12: "/etc/ld.so.preload /etc/ld.so.conf /etc/ld.so.conf.d/**",
    13: "**/xmrig* **/minerd **/cpuminer* **/t-rex **/nbminer **/ethminer",
    14: "**/nc **/ncat **/nc.* **/nmap **/socat **/masscan **/tcpdump **/dig **/telnet",
    15: "/proc/self/fd/* /proc/*/fd/* /dev/fd/*",
    16: "/proc/self/exe /proc/*/exe",
    17: "/workspace/**/node_modules/**/install.js /home/**/.local/share/keyrings/** /tmp/**/*.so **/.git/hooks/*",
}  # fmt: skip
"""By set: 122 patterns of the kind that rules for Linux hosts have (files of accounts, keys, start-up, the kernel)."""
_WORDS: Final = """
app api auth backup build cache cert client cluster config core data deploy device domain engine event
export feed file gate graph host image index job key ledger log mail map media meta mirror model node order package
page panel patch plan pool portal proxy queue rack relay report route rule schema search secret server session shard
signal site stage store stream sync table task tenant token trace tunnel user vault view volume wallet web worker
zone""".split()
_ENDINGS: Final = "conf cfg key pem crt p12 json yaml toml db sqlite log bak sh py so token jks kdbx".split()


def patterns(count: int, *, seed: int = 4) -> list[tuple[bytes, int]]:
    """Give ``count`` patterns, each with the number of its set, below 64: those of ``GROUPS`` and seeded ones.

    Of the seeded ones 30 % are exact, 30 % a folder and all below, 20 % a name or an ending at any depth, 10 % a
    folder at any depth and all below, 10 % have a glob between.
    """
    chosen = random.Random(seed)
    found = [(text.encode(), number) for number, texts in GROUPS.items() for text in texts.split()]
    while len(found) < count:
        found.append((_pattern(chosen).encode(), chosen.randrange(18, 64)))
    return found[:count]


def _pattern(chosen: random.Random) -> str:
    one, two, three = (chosen.choice(_WORDS) for _ in range(3))
    number, ending = chosen.randrange(10, 100), chosen.choice(_ENDINGS)
    top = chosen.choice(["/etc", "/srv", "/opt", "/var/lib", "/usr/share", "/home/*", "/run"])
    match chosen.choices(range(5), [3, 3, 2, 1, 1])[0]:
        case 0:
            return f"{top}/{one}/{two}{number}.{ending}"
        case 1:
            return f"{top}/{one}-{two}/{three}{number}/**"
        case 2:
            return chosen.choice([f"**/{one}-{two}.{ending}", f"**/*.{one}{number}", f"**/.{one}_{two}*"])
        case 3:
            return f"**/.{one}-{two}/**"
        case _:
            return chosen.choice([f"{top}/*/{one}{number}.{ending}", f"{top}/{one}/**/{two}[0-9].{ending}"])


def texts(count: int, *, seed: int = 4) -> list[bytes]:
    """Give ``count`` absolute paths in their normal form, 60 bytes long in the mean, as builds and interpreters open.

    One in fifty is of the kind that ``patterns`` look for.
    """
    chosen = random.Random(seed)
    found = []
    for _ in range(count):
        words = [chosen.choice(_WORDS) for _ in range(chosen.randrange(2, 5))]
        ending = chosen.choice(["py", "pyc", "so", "h", "o", "js", "json", "txt", "c"])
        tail = "/".join(words) + f"_{chosen.randrange(1000)}.{ending}"
        top = chosen.choice([
            "/usr/lib/python3.11", "/usr/lib/python3/dist-packages", "/usr/lib/x86_64-linux-gnu", "/usr/include",
            "/home/user/project/.venv/lib/python3.11/site-packages", "/workspace/src", "/tmp/build-1f3a/obj",
            "/workspace/node_modules",
        ])  # fmt: skip
        wanted = ["/etc/passwd", "/root/.ssh/id_rsa", "/proc/self/maps", f"/home/user/.{words[0]}-x/{tail}"]
        found.append((chosen.choice(wanted) if chosen.randrange(50) == 0 else f"{top}/{tail}").encode())
    return found
