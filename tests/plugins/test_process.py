from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from cloche import Host, Mount, SpecError, Unenforceable, Unenforced, Workspace
from cloche.testing import RuntimeConformance
from cloche_process.runtime import ProcessRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloche import Sandbox

pytestmark = pytest.mark.usefixtures("no_leaks")


class TestProcess(RuntimeConformance):
    runtime = ProcessRuntime


@pytest.fixture
def create() -> Iterator[Callable[..., Sandbox]]:
    with Host(config={"host": {"runtime": "process", "default_isolation": "standard"}}) as host:
        if (reason := host.unavailable("process")) is not None:
            pytest.skip(reason)
        yield host.create


@pytest.fixture
def folder(open_folder: Path) -> Path:
    (open_folder / "file").write_text("given\n")
    return open_folder


def test_it_says_plainly_what_it_is_not(create: Callable[..., Sandbox]) -> None:
    with create() as box:
        assert isinstance(box.enforcement["disk"], Unenforced)
        assert isinstance(box.enforcement["kernel"], Unenforced)
    for guarantee in ("disk", "kernel"):
        with pytest.raises(Unenforceable, match=guarantee):
            create(require=[guarantee])
    with pytest.raises(Unenforceable, match="disk"):
        create(isolation="maximum")


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"network": "loopback"}, "a loopback of its own needs a network namespace"),
        ({"rootfs": "/usr"}, "a rootfs needs a mount namespace"),
        ({"workspace": Workspace("overlay", "/usr")}, "an overlay workspace needs a mount namespace"),
        ({"mounts": [Mount("/usr", "/elsewhere")]}, "can't appear at /elsewhere without a mount namespace"),
        ({"forbidden": ["/usr/share"]}, "/usr/share can't be forbidden below the allowed /usr"),
    ],
)
def test_what_needs_a_namespace_is_refused_with_the_way_out(
    create: Callable[..., Sandbox], wanted: dict[str, object], says: str
) -> None:
    with pytest.raises(Unenforceable, match=says):
        create(**wanted)
    if "network" not in wanted:
        with pytest.raises(SpecError, match=says):
            create(**wanted, strict=False)


def test_a_folder_shown_to_it_is_there_under_its_own_name(create: Callable[..., Sandbox], folder: Path) -> None:
    assert not create().exec("cat", str(folder / "file")).ok
    with create(mounts=[Mount(str(folder), str(folder))]) as box:
        assert box.exec("cat", str(folder / "file")).text == "given\n"
        assert not box.exec("sh", "-c", f"echo x > {folder}/new").ok


def test_the_work_folder_is_a_temporary_one_that_goes_with_the_box(create: Callable[..., Sandbox]) -> None:
    with create() as box, create() as other:
        work = box.exec("pwd").text.strip()
        box.exec("sh", "-c", "mkdir -p a/b; echo x > a/b/file; mkdir shut; chmod 0 shut; chmod 0 .").check()
        assert not other.exec("ls", work).ok
        assert os.path.isdir(work)
    assert not os.path.exists(work)


def test_a_work_folder_of_the_hosts_is_written_where_its_user_may(create: Callable[..., Sandbox], folder: Path) -> None:
    work = folder / "work"
    work.mkdir()
    if os.getuid() == 0:
        with pytest.raises(SpecError, match="can't be written by the box's own host user"):
            create(workspace=work)
    work.chmod(0o777)
    with create(workspace=work) as box:
        assert box.exec("sh", "-c", "pwd; echo mine > mine").text == f"{work}\n"
    assert (work / "mine").read_text() == "mine\n"


@pytest.mark.parametrize("network", ["none", "host"])
def test_neither_the_hosts_sockets_nor_its_programs_are_reached(
    create: Callable[..., Sandbox], folder: Path, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = "import socket; socket.socket(socket.AF_UNIX).connect({!r})"
    server = socket.socket(socket.AF_UNIX)
    abstract = socket.socket(socket.AF_UNIX)
    victim = subprocess.Popen(["/bin/sleep", "60"])
    try:
        monkeypatch.chdir(folder)  # a path of a socket holds 107 bytes, unix(7)
        server.bind("socket")
        (folder / "socket").chmod(0o777)  # anybody may connect
        abstract.bind("\0cloche-test-socket")
        for one in (server, abstract):
            one.listen()
        with create(mounts=[Mount(str(folder), str(folder))], network=network) as box:
            for name in ("socket", "\0cloche-test-socket"):
                subprocess.run(["python3", "-c", connect.format(name)], check=True, timeout=30)
                assert not box.exec("python3", "-c", connect.format(name), cwd=str(folder)).ok, name
            acts = ["os.kill({}, 9)", "os.kill({}, 0)", "open('/proc/{}/environ')"]
            if os.getuid() == 0:  # else it has the same user, and the report says so
                acts.append("os.sched_setaffinity({}, [0])")
            for act in acts:
                tried = box.exec("python3", "-c", "import os; " + act.format(victim.pid))
                assert not tried.ok, act
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()
        server.close()
        abstract.close()


def test_the_hosts_network_is_there_when_asked_for(create: Callable[..., Sandbox]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        connect = f"exec 3<>/dev/tcp/127.0.0.1/{server.getsockname()[1]} && echo guest >&3"
        with create() as box:
            assert not box.exec("bash", "-c", connect).ok
        with create(network="host") as box:
            job = box.spawn("bash", "-c", connect)
            with server.accept()[0] as peer:
                assert peer.recv(16) == b"guest\n"
            assert job.wait(10).ok
