"""Peers that watch a guest, and the bare sandbox that each is compared with: each with a /tmp that may be written."""

import shutil
from typing import Any

from benchmarks.peers import Answer, Bwrap, Command, Contender, Sandlock, WrongAnswerError

CALLS = (
    "open,openat,openat2,creat,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,mkdir,mkdirat,"
    "rmdir,mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,truncate,ftruncate,mount,umount2,chroot,"
    "pivot_root,setuid,setgid,setreuid,setregid,setresuid,setresgid,execve,execveat,connect,bind,ptrace,unshare,setns,"
    "bpf,kill,tkill,tgkill"
)
"""What strace is asked for: about what ``full`` tells."""


class BwrapScratch(Bwrap):
    name = "bwrap-scratch"
    what = "Debian's bubblewrap with the same options, a tmpfs at /tmp and its own /dev; it watches nothing"

    def prefix(self) -> list[str]:
        return [*super().prefix(), "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108  # inside


class Strace(Command):
    name = "strace"
    what = "Debian's strace -f --seccomp-bpf of the calls that `full` tells, into a file; no isolation"

    def find(self) -> str | None:
        return None if shutil.which("strace") else "not installed (apt: strace)"

    def prefix(self) -> list[str]:
        to = str(self.home / "trace")
        return ["/usr/bin/strace", "-f", "-qq", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", to]


class SandlockScratch(Sandlock):
    name = "sandlock-scratch"
    what = "PyPI's sandlock, / readable, /tmp writable, its default seccomp rules and supervisor"

    def how(self) -> dict[str, Any]:
        """Give the keywords of its ``Sandbox``."""
        return {"fs_readable": ["/"], "fs_writable": ["/tmp"]}  # noqa: S108  # what programs use

    def answer(self, *program: str) -> Answer:
        result = self.sandlock.Sandbox(**self.how()).run(list(program))
        if result.error is not None:
            raise WrongAnswerError(f"{self.name}: {result.error}")
        return Answer(result.exit_code, result.stdout)


WATCHERS: dict[str, type[Contender]] = {peer.name: peer for peer in (BwrapScratch, Strace, SandlockScratch)}
