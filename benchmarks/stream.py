"""A stream of real events for benchmarks: what python, gcc, git and a shell do, traced once, as records.

strace tells the calls; the supervisor would make the same records of them. The stream is repeated, with time going on
and other process ids, and one record in a thousand is put in that rules look for: real work has next to none.
"""

import os
import random
import re
import struct
import subprocess
import sys
from pathlib import Path

from cloche_native import events

WORK = """
set -e
{python} -c 'import asyncio, email.mime.text, http.client, json, sqlite3, unittest, xml.dom.minidom'
{python} -m pip --version
printf '#include <stdio.h>\\n#include <stdlib.h>\\nint main(void) {{ return puts("x") < 0; }}\\n' > x.c
gcc -O1 -o x x.c && ./x
git init -q . && git add x.c && git -c user.name=x -c user.email=x@x commit -qm x && git status && git log && git gc -q
mkdir -p a/b && cp x.c a/b && mv a/b/x.c a/b/y.c && ln -s y.c a/b/z.c && chmod 600 a/b/y.c && rm -r a && ls -la
"""
CALLS = {
    "execve": "exec", "stat": "stat", "lstat": "stat", "newfstatat": "stat", "statx": "stat", "access": "access",
    "faccessat": "access", "faccessat2": "access", "readlink": "readlink", "readlinkat": "readlink", "mkdir": "mkdir",
    "mkdirat": "mkdir", "unlink": "unlink", "unlinkat": "unlink", "rmdir": "unlink", "rename": "rename",
    "renameat": "rename", "renameat2": "rename", "link": "link", "linkat": "link", "symlink": "symlink",
    "symlinkat": "symlink", "chmod": "chmod", "fchmodat": "chmod", "chdir": "chdir", "utimensat": "utime",
    "socket": "socket", "connect": "connect", "bind": "bind",
}  # fmt: skip
OPENS = ("open", "openat", "openat2", "creat")
LINE = re.compile(r"^(\d+) +(\d+\.\d+) (\w+)\((.*)$")
TEXT = re.compile(r'(?:AT_FDCWD<([^>]*)>, )?(?:\d+<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
RESULT = re.compile(r"\) += (-?\d+)")
FLAG = re.compile(r"\b(O_[A-Z]+)\b")
MODE = re.compile(r", (0[0-7]+)[,)]")
SUSPECT = (
    {"act": "open", "path": b"/etc/shadow"}, {"act": "open", "path": b"/workspace/../../../etc/shadow"},
    {"act": "open", "path": b"/home/u/.ssh/id_rsa"}, {"act": "open", "path": b"/home/u/.aws/credentials"},
    {"act": "create", "path": b"/etc/cron.d/x"}, {"act": "write-open", "path": b"/usr/bin/ls"},
    {"act": "exec", "path": b"/dev/shm/x"}, {"act": "exec", "path": b"/opt/xmrig"},
    {"act": "symlink", "path": b"/tmp/l", "target": b"/etc/shadow"}, {"act": "open", "path": b"/proc/1/environ"},
    {"act": "chmod", "path": b"/tmp/x", "args": (0o4755,)},
    {"act": "write-open", "path": b"/sys/fs/cgroup/release_agent"},
    {"act": "exec", "path": b"/proc/self/fd/3"}, {"act": "stat", "path": b"/var/run/docker.sock"},
    {"act": "mount", "path": b"none", "target": b"/"}, {"act": "namespace"}, {"act": "ptrace"}, {"act": "kernel"},
)  # fmt: skip
_TIME = struct.Struct("=Q")
_PIDS = struct.Struct("=ii")
_HOME = os.fsencode(os.path.expanduser("~")).rstrip(b"/") + b"/"


def trace(folder: Path) -> list[bytes]:
    """Run the work in an empty folder under strace: one record a call, some thousands."""
    told = folder.with_suffix(".strace")
    command = ["strace", "-f", "-ttt", "-y", "-qq", "-s", "4095", "-e", "signal=none", "-e", "trace=%file,%network"]
    script = WORK.format(python=sys.executable)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C"}
    subprocess.run(
        [*command, "-o", str(told), "/bin/sh", "-c", script], cwd=folder, env=environment, check=True, timeout=60,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found = [
        record for line in told.read_text(errors="surrogateescape").splitlines() if (record := _read(line, folder))
    ]
    told.unlink()
    return found


def repeated(records: list[bytes], count: int, *, seed: int = 4) -> bytes:
    """Give a batch of ``count`` records: these again and again, by new processes, 2 µs apart; some are suspect."""
    chosen = random.Random(seed)  # noqa: S311 - the same every time
    suspect = [events.pack(pid=777, call=0, flags=1, **fields) for fields in SUSPECT]  # type: ignore[arg-type]
    out, now = bytearray(), 0
    for number in range(count):
        now += 2000
        at = len(out)
        out += chosen.choice(suspect) if chosen.random() < 0.001 else records[number % len(records)]
        _TIME.pack_into(out, at + 16, now)
        pid: int = _PIDS.unpack_from(out, at + 32)[0] + number // len(records)
        _PIDS.pack_into(out, at + 32, pid, pid)
    return bytes(out)


def _read(line: str, folder: Path) -> bytes | None:
    whole = LINE.match(line)
    if whole is None:
        return None
    pid, seconds, call, rest = whole.groups()
    act = _act(call, rest)
    if act is None:
        return None
    texts = [_path(match, folder) for match in TEXT.finditer(rest)][: 2 if act in {"rename", "link", "symlink"} else 1]
    if act == "symlink":
        texts.reverse()
    result = RESULT.search(rest)
    number = int(result[1]) if result is not None else 0
    path, target = [*texts, b"", b""][:2]
    resolved = os.path.realpath(path) if path and number >= 0 else b""
    return events.pack(
        act=act, path=_elsewhere(path), target=_elsewhere(target), resolved=_elsewhere(resolved), pid=int(pid),
        tid=int(pid), call=0, flags=events.FLAGS["result"], time_ns=int(float(seconds) * 1e9), result=number,
        args=(_argument(act, rest),), sandbox=1, exec=1,
    )  # fmt: skip


def _act(call: str, rest: str) -> str | None:
    if call in OPENS:
        flags = set(FLAG.findall(rest))
        return (
            "create"
            if "O_CREAT" in flags or call == "creat"
            else "write-open"
            if flags & {"O_WRONLY", "O_RDWR"}
            else "open"
        )
    return CALLS.get(call)


def _argument(act: str, rest: str) -> int:
    if act in {"open", "write-open", "create"}:
        return sum({getattr(os, name, 0) for name in FLAG.findall(rest)})
    mode = MODE.search(rest)
    return int(mode[1], 8) if act == "chmod" and mode is not None else 0


def _path(match: re.Match[str], folder: Path) -> bytes:
    base = match[1] or match[2] or str(folder)
    return os.fsencode(os.path.normpath(os.path.join(base, match[3])))


def _elsewhere(path: bytes) -> bytes:
    """Give the path of what lies at home, where interpreters and checkouts may be, as of a program in its own place."""
    return path.replace(_HOME, b"/opt/", 1) if path.startswith(_HOME) else path
