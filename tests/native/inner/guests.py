"""cloche-inner as process 1 of a real gVisor guest, seen from the host: what its tests share."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from cloche_native.agent import Exited, Ready, Setup, Started, control_pair
from tests.adopting import adopting
from tests.native.init.boxes import PATIENCE, Box

if TYPE_CHECKING:
    from cloche_native.agent import Reply

UID: Final = 1000
PLAIN: Final = Setup(ids=(UID, UID, UID, UID))
"""What a guest is set up with when a test does not care."""
CAPABILITIES: Final = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID",
    "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE",
]  # fmt: skip
FOLDERS: Final = ("dev", "etc", "etc/alternatives", "proc", "sys", "tmp", "usr")


def write_bundle(folder: Path, inner: Path) -> None:
    """Make an OCI bundle: a root of our own with the system's /usr, and cloche-inner at /.cloche."""
    root = folder / "root"
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    (root / ".cloche").touch()
    (root / "etc/passwd").write_text(f"guest:x:{UID}:{UID}::/tmp:/bin/sh\n")
    bind = {"type": "bind", "options": ["rbind", "ro", "nosuid", "nodev"]}
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["/.cloche"], "env": ["ASAN_OPTIONS=detect_leaks=0"], "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
        },
        "root": {"path": "root", "readonly": True},
        "hostname": "glass",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=64m", "mode=1777"]},
            {"destination": "/usr", "source": "/usr", **bind},
            {"destination": "/etc/alternatives", "source": "/etc/alternatives", **bind},
            {"destination": "/.cloche", "source": str(inner), **bind},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))


def children() -> list[int]:
    """The children of this process, adopted ones too."""
    return [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


class Sandbox:
    """The sandbox process, in the place of a subprocess.Popen. It is adopted by this process."""

    def __init__(self, runsc: list[str], bundle: Path, control: int, image: Path | None = None) -> None:
        self.runsc, self.name = runsc, uuid4().hex
        pid_file = bundle / f"{self.name}.pid"
        self.log = bundle / f"{self.name}.log"
        reading, writing = os.pipe()  # never a file: runsc would give it away
        verb = ["run"] if image is None else ["restore", f"--image-path={image}"]
        command = [*runsc, f"--log={self.log}", *verb, "--detach", f"--pid-file={pid_file}", "--bundle", str(bundle)]
        try:
            with adopting():
                subprocess.run(
                    [*command, self.name], stdin=control, stdout=writing, stderr=writing, check=True, timeout=PATIENCE
                )
        except subprocess.CalledProcessError as error:
            os.set_blocking(reading, False)
            error.add_note(os.read(reading, 65536).decode(errors="replace"))
            raise
        finally:
            os.close(writing)
            os.close(reading)
        self.pid = int(pid_file.read_text())
        self.family = {pid for pid in children() if self.name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()}
        self.code: int | None = None

    def wait(self, timeout: float) -> int:
        if self.code is None:
            pidfd = os.pidfd_open(self.pid)
            try:
                if not select.select([pidfd], [], [], timeout)[0]:
                    raise TimeoutError("the sandbox does not end")
            finally:
                os.close(pidfd)
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.code

    def reap(self) -> None:
        """Take leave of those that served the sandbox, which end with it."""
        for pid in self.family - {self.pid}:
            pidfd = os.pidfd_open(pid)
            try:
                if not select.select([pidfd], [], [], PATIENCE)[0]:
                    os.kill(pid, signal.SIGKILL)
            finally:
                os.close(pidfd)
            os.waitpid(pid, 0)

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class Guest(Box):
    """A gVisor guest with cloche-inner as process 1; asked as any other box."""

    def __init__(self, runsc: list[str], bundle: Path, image: Path | None = None) -> None:
        self.sock, theirs = control_pair()
        self.pid, self.root, self.last_id = 0, None, 0
        self.waiting: list[Reply] = []
        try:
            self.process = self.sandbox = Sandbox(runsc, bundle, theirs.fileno(), image)
        finally:
            theirs.close()

    def ready(self, setup: Setup) -> Guest:
        self.ask(setup.encode())
        assert self.expect_ready() == Ready(None)
        return self

    def expect_ready(self) -> Reply:
        """Give the next reply that is not about an exec."""
        while isinstance(reply := self.next(), Started | Exited):
            self.waiting.append(reply)
        return reply

    def close(self) -> None:
        super().close()
        self.sandbox.reap()  # first: runsc waits 5 s for who is a zombie still
        subprocess.run(
            [*self.sandbox.runsc, "delete", "-force", self.sandbox.name],
            stdin=subprocess.PIPE, capture_output=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
