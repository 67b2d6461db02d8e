"""Programs that run into each wall of a real sandbox: what is said of it, and nothing of what they may do."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloche import Event, Events, Host, Mount, PathPermissions, Sandbox, Violation
from cloche.incidents.explain import Explainer, looking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNTIMES = ("namespaces", "bwrap", "process")
pytestmark = pytest.mark.usefixtures("no_leaks")


class Watched:
    """A sandbox with all that its programs did."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.box = box
        self.folder = folder
        self.inner = box._inner
        self.work = self.inner._instance.workspace
        self.own_view = self.work == box.spec.workspace.target
        self.found: list[Event] = []
        self._events: Events = box.events(sources=["guest"])
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        for batch in self._events.batches():
            self.found += batch

    def said(self, *args: str, look: bool = True) -> dict[str, Violation]:
        """Run a program and give what is said of it, by rule and target."""
        result = self.box.exec(*args, timeout=60)
        explainer = Explainer(self.box.spec, workspace=self.work)
        trees = self.inner._instance.trees()
        root = next((tree.fd for tree in trees if tree.path == "/"), None)
        looked = looking(root) if look and root is not None else None
        said = [explainer.explained(event, looked) for event in self.ended()]
        self.last = result
        return {f"{one.rule} {one.target}": one for one in said if one is not None}

    def ended(self) -> list[Event]:
        """Give what was done so far: another program's end comes after it."""
        self.box.exec("true")
        before = -1
        while before != len(self.found):
            before = len(self.found)
            threading.Event().wait(0.1)
        found, self.found = self.found, []
        return found

    def close(self) -> None:
        self.box.delete()
        self._thread.join(30)


@pytest.fixture
def watched(host_of: Callable[[str], Host], open_folder: Path) -> Iterator[Callable[..., Watched]]:
    """Give a function that makes a watched sandbox with a folder of the host to read and one to write."""
    boxes: list[Watched] = []
    (open_folder / "ro").mkdir()
    (open_folder / "ro" / "f").write_text("x")
    (open_folder / "rw").mkdir()
    (open_folder / "rw").chmod(0o777)

    def make(runtime: str, **asked: Any) -> Watched:  # noqa: ANN401 - keywords of create
        mounts = [
            Mount(str(open_folder / "ro"), str(open_folder / "ro")),
            Mount(str(open_folder / "rw"), str(open_folder / "rw"), read_only=False),
        ]
        asked = {"isolation": "standard", "monitor": "full", "mounts": mounts, **asked}
        boxes.append(Watched(host_of(runtime).create(**asked), open_folder))
        return boxes[-1]

    yield make
    for box in boxes:
        box.close()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_writing_where_nothing_can_be_written_is_explained(watched: Callable[..., Watched], runtime: str) -> None:
    box = watched(runtime)
    said = box.said("sh", "-c", f"echo x > /usr/new; echo x > {box.folder}/ro/f; mkdir {box.folder}/ro/d; true")
    assert {
        "mount:system /usr/new",
        f"mount:read-only {box.folder}/ro/f",
        f"mount:read-only {box.folder}/ro/d",
    } == set(said)
    assert (
        f"Mount('{box.folder}/ro', '{box.folder}/ro', read_only=False)"
        in said[f"mount:read-only {box.folder}/ro/f"].hint
    )
    assert all(one.hint.startswith("likely") != box.own_view for one in said.values())


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_of_what_is_allowed_nothing_is_said(watched: Callable[..., Watched], runtime: str) -> None:
    box = watched(runtime)
    program = (
        f"set -e; echo x > a; mkdir -p d/e; cat {box.folder}/ro/f > d/e/f; echo y > {box.folder}/rw/g;"
        f"rm {box.folder}/rw/g;"
        "mv a b; ln -s /usr/bin l; ls /usr/bin l > /dev/null; echo z > $TMPDIR/t; rm -r d b l $TMPDIR/t;"
        "mkdir -p $TMPDIR;"
        "python3 -c 'import json, tempfile; tempfile.TemporaryFile()'; cat /etc/none /usr/none 2> /dev/null || true"
    )
    assert box.said("sh", "-c", program) == {}
    assert box.last.ok, box.last.explain()


@pytest.mark.parametrize("runtime", ["namespaces", "bwrap"])
def test_forbidden_and_read_only_paths_are_explained(watched: Callable[..., Watched], runtime: str) -> None:
    paths = PathPermissions(read_only=("/workspace/keep",), forbidden=("/workspace/secret",))
    box = watched(runtime, paths=paths)
    said = box.said("sh", "-c", "cat secret/x; echo x > secret/y; echo x > keep/x; ls keep; echo x > fine; true")
    assert set(said) == {
        "path:forbidden /workspace/secret/x", "path:forbidden /workspace/secret/y", "path:read-only /workspace/keep/x"
    }  # fmt: skip


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_that_is_not_there_is_explained(watched: Callable[..., Watched], runtime: str) -> None:
    box = watched(runtime)
    said = box.said("python3", "-c", "import socket; socket.socket()")
    assert set(said) == {"network:none AF_INET"}
    assert 'network="loopback"' in said["network:none AF_INET"].hint
    assert b"PermissionError" in box.last.stderr


@pytest.mark.parametrize("runtime", ["namespaces", "bwrap"])
def test_beyond_the_own_loopback_is_explained(watched: Callable[..., Watched], runtime: str) -> None:
    box = watched(runtime, network="loopback")
    connect = "import socket; socket.socket().connect(('{}', {}))"
    assert set(box.said("python3", "-c", connect.format("10.1.2.3", 9))) == {"network:loopback 10.1.2.3 port 9"}
    serve = (
        "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen();"
        "socket.create_connection(s.getsockname())"
    )
    assert box.said("python3", "-c", serve) == {}
    assert box.last.ok, box.last.explain()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_calls_that_are_never_allowed_are_explained(watched: Callable[..., Watched], runtime: str) -> None:
    box = watched(runtime)
    said = box.said(
        "python3", "-c",
        "import ctypes; c = ctypes.CDLL(None); c.unshare(0x10000000); c.ptrace(0, 0, 0, 0); c.chroot(b'/tmp')",
    )  # fmt: skip
    assert set(said) == {"syscall:denied unshare", "syscall:denied ptrace", "syscall:denied chroot /tmp"}
    assert all(one.hint for one in said.values())


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_meets_no_wall_in_the_work_folder_and_one_outside(watched: Callable[..., Watched], runtime: str) -> None:
    box = watched(runtime)
    commit = (
        "export GIT_CONFIG_NOSYSTEM=1; git init -q r && cd r &&"
        "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && git log"
    )
    assert box.said("sh", "-c", commit) == {}
    assert box.last.ok, box.last.explain()
    said = box.said("sh", "-c", f"GIT_CONFIG_NOSYSTEM=1 git init -q {box.folder}/ro/r")
    assert f"mount:read-only {box.folder}/ro/r" in said


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_pip_meets_the_network_and_the_system(watched: Callable[..., Watched], runtime: str) -> None:
    box = watched(runtime)
    wheel = "python3 -m venv --without-pip v && v/bin/python -c 'print(1)'"
    assert box.said("sh", "-c", wheel) == {}
    assert box.last.ok, box.last.explain()
    said = box.said("python3", "-c", "import urllib.request as u; u.urlopen('http://10.9.9.9/')")
    assert "network:none AF_INET" in said


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("limits", "program", "rule"),
    [
        ({"file_size": "64K"}, "dd if=/dev/zero of=f bs=64K count=4", "limit:file_size"),
        ({"output": "4K"}, "yes", "limit:output"),
        ({"wall": 0.3}, "sleep 20", "limit:wall"),
        ({"memory": "32M"}, "python3 -c 'x = bytearray(1 << 27); print(len(x))'", "limit:memory"),
        ({"pids": 12}, "for i in 1 2 3 4 5 6 7 8 9 a b c d e f; do sleep 1 & done; wait", "limit:pids"),
        ({"disk": "1M"}, "dd if=/dev/zero of=f bs=64K count=64", "limit:disk"),
    ],
)
def test_limits_that_were_met_are_explained_and_those_that_were_not_are_not(
    host_of: Callable[[str], Host], runtime: str, limits: dict[str, Any], program: str, rule: str
) -> None:
    host = host_of(runtime)
    with host.create(isolation="standard", limits=limits, strict=False) as box:
        if not box.enforcement[next(iter(limits))]:
            pytest.skip(f"{runtime} does not keep {next(iter(limits))} here")
        before = box.stats()
        assert box.exec("sh", "-c", "echo fine; false").violations == ()
        result = box.exec("sh", "-c", program)
        if rule == "limit:pids" and "pids_peak" not in before:
            pytest.skip("nobody counts processes here")
        if rule == "limit:disk" and "disk_size" not in before:
            pytest.skip("the work folder is not a file system of its own")
        assert rule in [one.rule for one in result.violations], (result.explain(), dict(box.stats()))
        assert all(one.hint for one in result.violations)
        if box.state == "running" and rule != "limit:disk":  # what was met before is not met again
            assert box.exec("false").violations == ()
