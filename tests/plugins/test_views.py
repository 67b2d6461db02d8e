"""What boxes of the namespace runtimes see, whichever of them makes the box."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche import Guarantee, Host, Mount, SpecError, Unenforceable, Unenforced, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloche import Sandbox

pytestmark = pytest.mark.usefixtures("no_leaks")
RUNTIMES = ["namespaces", "bwrap"]


@pytest.fixture(params=RUNTIMES)
def create(request: pytest.FixtureRequest) -> Iterator[Callable[..., Sandbox]]:
    with Host(config={"host": {"runtime": request.param}}) as host:
        if (reason := host.unavailable(request.param)) is not None:
            pytest.skip(reason)
        yield host.create


@pytest.fixture
def rootfs(open_folder: Path) -> Path:
    """Give a folder with a shell and a few programs, with the libraries they name, and nothing else."""
    root = open_folder / "root"
    for name in ("sh", "cat", "ls", "id", "true"):
        found = shutil.which(name)
        assert found
        listed = subprocess.run(["ldd", found], capture_output=True, text=True, timeout=30, check=True).stdout
        for file in [found, *re.findall(r"(/\S+) \(0x", listed)]:
            target = root / ("bin/" + name if file == found else file[1:])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    (root / "etc").mkdir()
    (root / "etc" / "hello").write_text("of the rootfs\n")
    return root


# -- the root folder -------------------------------------------------------------------------------------------------


def test_a_rootfs_is_all_the_box_sees_and_can_not_be_written(create: Callable[..., Sandbox], rootfs: Path) -> None:
    with create(rootfs=rootfs) as box:
        assert box.exec("cat", "/etc/hello").text == "of the rootfs\n"
        top = set(box.exec("ls", "/").text.split())
        assert top == {*os.listdir(rootfs), "dev", "proc", "tmp", "run", "workspace"}
        assert not box.exec("sh", "-c", "echo x > /etc/hello").ok
        assert not box.exec("sh", "-c", "echo x > /new").ok
        assert box.exec("sh", "-c", "echo mine > mine; cat mine").text == "mine\n"
        assert box.exec("python3").exit_code == 127
    assert (rootfs / "etc" / "hello").read_text() == "of the rootfs\n"


def test_a_rootfs_without_a_loader_says_what_is_missing(create: Callable[..., Sandbox], open_folder: Path) -> None:
    root = open_folder / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/bin/true", root / "bin" / "true")
    (root / "bin" / "script").write_text("#!/no/interpreter\n")
    (root / "bin" / "script").chmod(0o755)
    with create(rootfs=root) as box:
        for program in ("true", "/bin/true", "script"):
            done = box.exec(program)
            assert (done.exit_code, done.reason) == (127, "refused")
            assert "loader" in done.explain()


def test_an_empty_rootfs_is_an_empty_box(create: Callable[..., Sandbox], open_folder: Path) -> None:
    with create(rootfs=open_folder) as box:
        assert box.exec("/bin/sh").exit_code == 127


def test_without_a_rootfs_it_sees_the_hosts_system_and_little_else(create: Callable[..., Sandbox]) -> None:
    with create(hostname="glass") as box:
        top = set(box.exec("ls", "/").text.split())
        assert top <= set("bin lib lib32 lib64 libx32 sbin usr etc dev proc tmp run workspace".split())
        users = box.exec("cut", "-d:", "-f1", "/etc/passwd").text.split()
        assert users == ["root", "sandbox", "nobody"]
        for secret in ("/etc/shadow", "/etc/ssh", "/etc/machine-id", "/root", "/home", "/var", "/run/systemd", "/sys"):
            assert not box.exec("ls", secret).ok, secret
        assert box.exec("hostname").text == "glass\n"
        nodes = set(box.exec("ls", "/dev").text.split())
        assert nodes == set("fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split())
        assert box.exec("sh", "-c", 'test -z "$(ls /run)"').ok
        assert not box.exec("sh", "-c", "echo x > /run/x").ok
        assert box.exec("sh", "-c", "cd /proc && ls -d [0-9]* | wc -l").text.strip() in ("4", "5", "6")


def test_the_minimal_proc_of_a_level_shows_nothing_of_the_machine(create: Callable[..., Sandbox]) -> None:
    with create(isolation="maximum") as box:
        assert not box.exec("cat", "/proc/meminfo").ok
        assert not box.exec("ls", "/proc/sys").ok
        assert box.exec("cat", "/proc/self/comm").text == "cat\n"


# -- the work folder and mounts --------------------------------------------------------------------------------------


@pytest.fixture
def folder(open_folder: Path) -> Path:
    given = open_folder / "given"
    given.mkdir()
    (given / "old").write_text("old\n")
    (given / "secret").write_text("only the owner\n")
    (given / "secret").chmod(0o600)
    return given


def test_a_bind_workspace_is_written_and_stays_the_callers(create: Callable[..., Sandbox], folder: Path) -> None:
    with pytest.raises(Unenforceable, match="disk"):
        create(workspace=folder, require=["disk"])
    with create(workspace=folder) as box:
        assert isinstance(box.enforcement["disk"], Unenforced)
        assert box.exec("cat", "old", "secret").text == "old\nonly the owner\n"
        assert box.exec("sh", "-c", "echo new > new; echo changed > old; rm secret; mkdir sub").ok
        assert box.exec("stat", "-c", "%u", "new").text == "1000\n"
    assert sorted(os.listdir(folder)) == ["new", "old", "sub"]
    assert (folder / "old").read_text() == "changed\n"
    assert (folder / "new").stat().st_uid == os.getuid()


def test_an_overlay_workspace_keeps_the_callers_folder_as_it_is(create: Callable[..., Sandbox], folder: Path) -> None:
    with create(workspace=Workspace("overlay", str(folder)), limits={"disk": "8M"}, require=["disk"]) as box:
        acts = "cat old secret; echo changed > old; rm secret; echo new > new; cat old; ls"
        assert box.exec("sh", "-c", acts).text == "old\nonly the owner\nchanged\nnew\nold\n"
        big = box.exec("dd", "if=/dev/zero", "of=big", "bs=1M", "count=20")
        assert b"No space" in big.stderr
    assert sorted(os.listdir(folder)) == ["old", "secret"]
    assert (folder / "old").read_text() == "old\n"
    with create(workspace=Workspace("overlay", str(folder))) as box:
        assert box.exec("cat", "old").text == "old\n"


def test_the_work_folder_may_have_another_name(create: Callable[..., Sandbox], folder: Path) -> None:
    with create(workspace=Workspace("bind", str(folder), target="/deep/down/work")) as box:
        assert box.exec("sh", "-c", "pwd; echo $HOME; ls").text == "/deep/down/work\n/deep/down/work\nold\nsecret\n"


def test_mounts_appear_where_they_should_even_inside_each_other(create: Callable[..., Sandbox], folder: Path) -> None:
    inner = folder.parent / "inner"
    inner.mkdir()
    (inner / "file").write_text("inside\n")
    (folder / "sub").mkdir()
    mounts = [
        Mount(str(inner), "/workspace/data"), Mount(str(folder), "/opt/given"), Mount(str(inner), "/opt/given/sub"),
        Mount(str(inner / "file"), "/tmp/one-file", read_only=False),
    ]  # fmt: skip
    with create(mounts=mounts) as box:
        assert box.exec("cat", "data/file", "/opt/given/old", "/opt/given/sub/file", "/tmp/one-file").text == (
            "inside\nold\ninside\ninside\n"
        )
        assert not box.exec("sh", "-c", "echo x > data/new").ok
        assert not box.exec("sh", "-c", "echo x > /opt/given/sub/file").ok
        assert box.exec("sh", "-c", "echo changed > /tmp/one-file; echo mine > /tmp/mine").ok
    assert (inner / "file").read_text() == "changed\n"


def test_forbidden_paths_are_not_seen_into(create: Callable[..., Sandbox], folder: Path) -> None:
    (folder / "private").mkdir()
    (folder / "private" / "key").write_text("secret")
    forbidden = ["/workspace/private", "/workspace/secret", "/usr/share", "/etc/passwd", "/no/such/path"]
    with create(workspace=folder, forbidden=forbidden) as box:
        for path in ("private/key", "secret", "/usr/share/doc", "/etc/passwd"):
            assert not box.exec("cat", path).stdout, path
        assert not box.exec("sh", "-c", "ls private/ /usr/share/ | grep .").ok
        assert not box.exec("sh", "-c", "echo x > private/new").ok
        assert box.exec("cat", "old").ok
    assert (folder / "private" / "key").read_text() == "secret"
    assert (folder / "secret").read_text() == "only the owner\n"


# -- network, users, neighbours --------------------------------------------------------------------------------------


def test_the_network_is_none_a_loopback_of_its_own_or_the_hosts(create: Callable[..., Sandbox]) -> None:
    hits: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo guest >&3"
        with create(network="none") as box:
            assert not box.exec("bash", "-c", connect).ok
            assert not box.exec("python3", "-c", "import socket; socket.socket()").ok
        with create(network="loopback") as box:
            assert not box.exec("bash", "-c", connect).ok
            own = (
                "import socket; server = socket.create_server(('127.0.0.1', 0))\n"
                "socket.create_connection(server.getsockname()); print('ok')"
            )
            assert box.exec("python3", "-c", own).text == "ok\n"
            routes = box.exec("cat", "/proc/net/route").text.splitlines()
            assert len(routes) <= 1

        server.settimeout(10)
        with create(isolation="standard", network="host") as box:
            job = box.spawn("bash", "-c", connect)
            with server.accept()[0] as peer:
                hits.append(peer.recv(16))
            assert job.wait(10).ok
            if os.path.exists("/etc/resolv.conf"):
                assert box.exec("cat", "/etc/resolv.conf").stdout == Path("/etc/resolv.conf").read_bytes()
    assert hits == [b"guest\n"]


@pytest.mark.parametrize("user", [0, 1000, 65535])
def test_whoever_the_guest_is_it_is_nobody_on_the_host(create: Callable[..., Sandbox], user: int) -> None:
    with create(user=user) as box:
        assert box.exec("id", "-u").text == f"{user}\n"
        job = box.spawn("sleep", "60")
        agent = int(box.info()["agent_pid"])
        outside = os.stat(f"/proc/{agent}").st_uid
        assert outside != 0
        if os.getuid() == 0:
            assert outside >= 200_000
        assert not box.exec("chown", "12:12", ".").ok
        assert not box.exec("sh", "-c", "echo x > /proc/sys/kernel/core_pattern").ok
        job.kill()


def test_two_boxes_neither_see_nor_reach_each_other(create: Callable[..., Sandbox]) -> None:
    with create() as one, create() as other:
        one.spawn("sh", "-c", "echo private > /tmp/here; exec sleep 4713.5")
        assert "4713.5" not in other.exec("sh", "-c", "cat /proc/[0-9]*/cmdline").text
        assert not other.exec("cat", "/tmp/here").ok
        users = [os.stat(f"/proc/{box.info()['agent_pid']}").st_uid for box in (one, other)]
        assert os.getuid() != 0 or users[0] != users[1]


def test_what_can_not_be_done_is_refused_before_anything_runs(create: Callable[..., Sandbox], folder: Path) -> None:
    with pytest.raises(SpecError):
        create(rootfs=folder / "old")
    with pytest.raises(Unenforceable, match="kernel"):
        create(require=[Guarantee.KERNEL])
