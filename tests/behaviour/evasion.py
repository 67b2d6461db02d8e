"""Ways round rules, and what comes of each: a table of guests that do a thing a rule is about in a roundabout way.

The rules here are the tests' own, so that what is shown is the watching and judging, whichever rules there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cloche
from cloche import Act, F, Rule, Severity

End = Literal["found", "refused", "killed", "no effect", "not found"]
"""``no effect``: it could not be done, and nobody told of it."""
VAULT = "/workspace/vault"
"""A folder that must not be touched; ``key`` is in it."""
_TOUCHES = frozenset({
    Act.OPEN, Act.WRITE_OPEN, Act.CREATE, Act.LINK, Act.RENAME, Act.UNLINK, Act.EXEC, Act.TRUNCATE, Act.SYMLINK,
})  # fmt: skip
RULES = (
    Rule(
        id="own-vault", summary="the vault is touched", severity=Severity.HIGH, events=_TOUCHES,
        where=F.file.under(VAULT) | F.to.under(VAULT),
    ),
    Rule(
        id="own-words", summary="a program is told to steal", severity=Severity.HIGH, events=frozenset({Act.EXEC}),
        where=F.cmdline.contains(" --utc") & F.file.endswith("/date", "/echo"),
    ),
    Rule(
        id="own-program", summary="date is run, whatever it calls itself", severity=Severity.HIGH,
        events=frozenset({Act.EXEC}), where=F.file.endswith("/date"),
    ),
    Rule(
        id="own-many", summary="many files are made", severity=Severity.HIGH, events=frozenset({Act.CREATE}),
        where=F.path.under("/workspace/many"), count=cloche.Count(limit=20, per=1.0),
    ),
    Rule(
        id="own-fileless", summary="a program that is no file is run", severity=Severity.HIGH,
        events=frozenset({Act.EXEC, Act.MEMFD}), where=F.file.contains("memfd:") | F.address.exists(),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Evasion:
    """One way round. ``rule`` is the rule of ``RULES`` that it is about, where it is one."""

    id: str
    tries: str
    end: End = "found"
    gvisor: End | None = None
    """How it ends under gVisor, where that differs."""
    rule: str = "own-vault"
    python: str = ""
    """What Python runs in the guest."""
    bash: str = ""
    program: tuple[str, ...] = ()
    """An attack program with its act."""
    why: str = ""
    """Why it ends so, where that needs saying."""

    def ends(self, runtime: str) -> End:
        """Give how it ends under that runtime."""
        return self.gvisor or self.end if runtime == "gvisor" else self.end

    def argv(self, programs: str) -> tuple[str, ...]:
        """Give what is run in the box; the attack programs are in the folder ``programs``."""
        if self.program:
            return (f"{programs}/{self.program[0]}", *self.program[1:])
        return ("python3", "-c", _HEAD + self.python) if self.python else ("bash", "-c", self.bash)


LINKS = "gVisor's kernel tells the names that are given to it, not where links led"
_HEAD = """
import os, sys, threading, time, ctypes, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def read(path, **how):
    with open(os.open(path, os.O_RDONLY, **how), "rb") as file:
        return file.read()
"""
EVASIONS = (
    Evasion(id="plain", tries="open it by its name (the positive control)", python="read('/workspace/vault/key')"),
    Evasion(
        id="symlink-alias",
        tries="a symbolic link to the folder, and to that link",
        python="os.symlink('vault', 'a'); os.symlink('a', 'b'); read('b/key')",
    ),
    Evasion(
        id="dirfd",
        tries="a name relative to an open folder",
        python="fd = os.open('vault', os.O_PATH | os.O_DIRECTORY); read('key', dir_fd=fd)",
    ),
    Evasion(id="cwd", tries="a bare name after chdir", python="os.chdir('vault'); read('key')"),
    Evasion(
        id="proc-cwd",
        tries="/proc/self/cwd before it",
        gvisor="not found",
        python="read('/proc/self/cwd/vault/key')",
        why=LINKS,
    ),
    Evasion(
        id="proc-root",
        tries="/proc/self/root before it",
        gvisor="not found",
        python="read('/proc/self/root/workspace/vault/key')",
        why=LINKS,
    ),
    Evasion(
        id="proc-fd",
        tries="/proc/self/fd/N of an open folder before it",
        gvisor="not found",
        python="fd = os.open('/workspace', os.O_PATH); read(f'/proc/self/fd/{fd}/vault/key')",
        why=LINKS,
    ),
    Evasion(
        id="dots", tries="a thousand ./ and ../ in the path", python="read('vault/' + './../vault/' * 300 + 'key')"
    ),
    Evasion(
        id="openat2",
        tries="openat2, whose flags are in memory",
        gvisor="no effect",
        python="""
fd = libc.syscall(437, -100, b'vault/key', (ctypes.c_uint64 * 3)(), 24)
assert fd >= 0
""",
    ),
    Evasion(
        id="path-only",
        tries="open without reading rights (O_PATH), then again by descriptor",
        python="fd = os.open('vault/key', os.O_PATH); read(f'/proc/self/fd/{fd}')",
    ),
    Evasion(
        id="rename-exchange",
        tries="change it for another file of one's own (RENAME_EXCHANGE)",
        python="""
open('other', 'w').close()
assert libc.renameat2(-100, b'other', -100, b'vault/key', 2) == 0
read('other')
""",
    ),
    Evasion(id="rename-folder", tries="rename the folder above it", python="os.rename('vault', 'v'); read('v/key')"),
    Evasion(id="hard-link", tries="another name for it (link)", python="os.link('vault/key', 'x'); read('x')"),
    Evasion(
        id="thread",
        tries="another thread does it",
        python="""
one = threading.Thread(target=read, args=('vault/key',)); one.start(); one.join()
""",
    ),
    Evasion(
        id="grandchild",
        tries="a grandchild in a session of its own does it",
        python="""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        read('vault/key')
    os._exit(0)
os.wait(); time.sleep(0.3)
""",
    ),
    Evasion(
        id="child-each",
        tries="one act for each child process",
        rule="own-many",
        python="""
os.mkdir('many')
for n in range(40):
    if os.fork() == 0:
        open(f'many/{n}', 'w').close(); os._exit(0)
    os.wait()
""",
    ),
    Evasion(
        id="slow-and-low",
        tries="fewer acts than the window has room for, for longer",
        rule="own-many",
        end="not found",
        why="a documented limit: who stays below a window is not seen by it",
        python="""
os.mkdir('many')
for n in range(30):
    open(f'many/{n}', 'w').close(); time.sleep(0.08)
""",
    ),
    Evasion(
        id="flood",
        tries="one act in a flood of 100,000, as fast as it can",
        program=("flood", "100000", f"{VAULT}/key"),
        why="the watched wait; nothing is dropped before it is judged",
    ),
    Evasion(
        id="quoted-argv", tries='d""ate "--u""tc", d\\ate', rule="own-words", bash='d""ate "--u""tc"; d\\ate --ut\'c\''
    ),
    Evasion(
        id="variables",
        tries="words put together from variables",
        rule="own-words",
        bash="a=da b=te c=--u d=tc; $a$b $c$d; ${a}te $(printf %s%s -- utc)",
    ),
    Evasion(
        id="base64",
        tries="a script in base64, given to a shell",
        rule="own-words",
        bash="echo ZGF0ZSAtLXV0Ywo= | base64 -d | sh",
    ),
    Evasion(
        id="other-argv0",
        tries="a program under another name for itself",
        rule="own-program",
        bash="exec -a innocent date",
    ),
    Evasion(
        id="linked-program",
        tries="a program through a symbolic link",
        rule="own-program",
        bash="ln -s /bin/date x && ./x",
    ),
    Evasion(
        id="builtin",
        tries="what a shell does by itself",
        rule="own-words",
        end="not found",
        bash="echo --utc > /dev/null",
        why="no program is started; what it does to files and the network is judged all the same",
    ),
    Evasion(
        id="copied-program",
        tries="a copy of a program under another name",
        rule="own-program",
        end="not found",
        bash="cp /bin/date innocent && ./innocent",
        why="a rule by name knows names; the built-in one on programs that were just written is another",
    ),
    Evasion(
        id="memfd-exec",
        tries="a program from memory (memfd_create, then its descriptor)",
        rule="own-fileless",
        gvisor="no effect",
        program=("doors", "fileless-by-path"),
    ),
    Evasion(
        id="io-uring",
        tries="io_uring, whose acts are no system calls",
        end="refused",
        gvisor="no effect",
        program=("kernel", "io-uring"),
    ),
    Evasion(
        id="int80",
        tries="system calls by the 32-bit door (int 0x80)",
        end="killed",
        gvisor="no effect",
        program=("doors", "i386-door"),
        why="gVisor's kernel takes int 0x80 for a call of 64 bits, whose number is none",
    ),
    Evasion(id="x32", tries="system calls of the x32 kind", end="killed", program=("doors", "x32-door")),
    Evasion(
        id="userfaultfd",
        tries="stall whoever reads its memory (userfaultfd)",
        end="refused",
        gvisor="no effect",
        program=("kernel", "userfaultfd"),
    ),
    Evasion(
        id="own-filter",
        tries="a filter of its own with a listener, before the host's",
        end="refused",
        gvisor="no effect",
        program=("doors", "filter-listener"),
    ),
)


def setup(box: cloche.Sandbox) -> None:
    """Put the vault into a box."""
    box.files.mkdir(VAULT)
    box.files.write(f"{VAULT}/key", b"secret")
