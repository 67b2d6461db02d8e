"""A sandbox made by runsc's own commands, for what is tested below the runtime."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche import Host
from cloche_gvisor.contract import Target
from tests.adopting import adopting

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Give a host whose sandboxes in gVisor can be saved."""
    with Host(config={"snapshots": {"folder": str(tmp_path / "snapshots")}}, registry=False) as made:
        if (reason := made.unavailable("gvisor")) is not None:
            pytest.skip(reason)
        yield made


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """Give a running sandbox in which nothing runs but ``sleep``; the test is skipped where there is no runsc."""
    if (runsc := shutil.which("runsc")) is None:
        pytest.skip("runsc is not installed")
    folder = Path(tempfile.mkdtemp(prefix="test-gvisor-"))
    name, root = secrets.token_hex(16), folder / "root"
    flags = [f"--root={root}", "--platform=ptrace", "--network=none", "--ignore-cgroups"]
    if os.geteuid() != 0:
        flags.append("--rootless")
    _bundle(folder / "bundle")
    # Pipes only: runsc as root changes the owner of what it is given. Its helpers hold them open, so none is read.
    out, into = os.pipe()
    with adopting():
        subprocess.run(
            [runsc, *flags, "run", "--detach", "--bundle", str(folder / "bundle"), name],
            stdin=out, stdout=into, stderr=into, check=True, timeout=30,
        )  # fmt: skip
    state = json.loads((root / f"{name}_sandbox:{name}.state").read_text())
    pids = (state["sandbox"]["pid"], state["goferPid"])
    yield Target(name, str(root), (runsc, *flags), pids[0])
    _end(pids)
    os.close(out)
    os.close(into)
    shutil.rmtree(folder)


def _end(pids: tuple[int, ...]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 10
    left = set(pids)
    while left:
        for pid in tuple(left):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            left.discard(pid)
        assert time.monotonic() < until, f"{left} did not end"
        time.sleep(0.01)


def _bundle(folder: Path) -> None:
    root = folder / "rootfs"
    for name in ("proc", "dev", "tmp", "usr"):
        (root / name).mkdir(parents=True)
    for name in SYSTEM:
        if (Path("/") / name).is_symlink():
            (root / name).symlink_to((Path("/") / name).readlink())
    (folder / "config.json").write_text(json.dumps({
        "ociVersion": "1.0.2",
        "process": {"args": ["/bin/sleep", "1000"], "cwd": "/", "env": ["PATH=/usr/bin"], "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
    }))  # fmt: skip
