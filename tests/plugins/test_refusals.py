"""What would look applied and not be is refused before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import cloche

VIEWS = ("namespaces", "bwrap")


@pytest.fixture(scope="module")
def host() -> Iterator[cloche.Host]:
    with cloche.Host() as host:
        yield host


@pytest.mark.parametrize("runtime", VIEWS)
def test_a_folder_written_directly_is_no_bounded_disk(host: cloche.Host, runtime: str, tmp_path: Path) -> None:
    mount = cloche.Mount(str(tmp_path), "/tmp/given", read_only=False)
    with pytest.raises(cloche.Unenforceable, match="may grow"):
        host.create(runtime=runtime, isolation="maximum", mounts=[mount])
    with host.create(runtime=runtime, isolation="maximum") as box:
        assert isinstance(box.enforcement["disk"], cloche.Enforced)


@pytest.mark.parametrize("runtime", VIEWS)
def test_a_path_the_guest_could_make_in_a_folder_of_the_caller_can_not_be_forbidden(
    host: cloche.Host, runtime: str, tmp_path: Path
) -> None:
    with pytest.raises(cloche.Unenforceable, match="is not there, and the guest could make it"):
        host.create(runtime=runtime, workspace=tmp_path, forbidden=["/workspace/x"])
    done = host.run("ls", "/usr/share", runtime=runtime, forbidden=["/usr/share", "/root"])
    assert (done.exit_code, host.run("ls", "/usr/share", runtime=runtime).exit_code) == (2, 0)


@pytest.mark.parametrize("runtime", VIEWS)
@pytest.mark.parametrize("place", ["/dev/x", "/proc/x"])
def test_nothing_is_mounted_where_it_would_be_covered(
    host: cloche.Host, runtime: str, place: str, tmp_path: Path
) -> None:
    with pytest.raises(cloche.ClocheError, match="are made by the box"):
        host.create(runtime=runtime, mounts=[cloche.Mount(str(tmp_path), place)])


def test_the_process_runtime_forbids_nothing_that_it_has_to_allow(host: cloche.Host) -> None:
    with pytest.raises(cloche.Unenforceable, match="Landlock only allows"):
        host.create(runtime="process", forbidden=["/etc/passwd"])


def test_without_a_loopback_of_its_own_there_is_none_rather_than_the_hosts(host: cloche.Host) -> None:
    script = "import socket; socket.socket()"
    done = host.run("python3", "-c", script, runtime="process", network="loopback", strict=False)
    assert b"PermissionError" in done.stderr
    assert host.run("python3", "-c", script, runtime="namespaces", network="loopback").ok


def test_home_and_tmpdir_lie_in_the_work_folder_wherever_that_is(host: cloche.Host) -> None:
    words = host.run("sh", "-c", "echo $HOME $TMPDIR $PWD", runtime="process").text.split()
    assert len(set(words)) == 1
    assert host.run("sh", "-c", "echo $HOME", runtime="process", env={"HOME": "/else"}).text == "/else\n"
    assert host.run("sh", "-c", "echo $HOME $TMPDIR").text == "/workspace /tmp\n"


@pytest.mark.parametrize("runtime", ["namespaces", "process"])
def test_running_out_of_memory_is_told_of_whom_it_befell(host: cloche.Host, runtime: str) -> None:
    with host.create(runtime=runtime, limits={"memory": "64M"}) as box:
        if not isinstance(box.enforcement["memory"], cloche.Enforced):
            pytest.skip(f"no control group bounds memory here: {box.enforcement['memory']}")
        hog = "x = bytearray(200 << 20); print(sum(x[::4096]))"
        assert box.exec("sh", "-c", f"python3 -c '{hog}'; true").reason == "exited"
        assert box.exec("sh", "-c", "kill -9 $$").reason == "signalled"
        assert box.exec("python3", "-c", hog).reason == "out_of_memory"


def test_maximum_repeats_the_files_in_a_second_mechanism(host: cloche.Host) -> None:
    with host.create(runtime="namespaces", isolation="maximum") as box:
        assert "Landlock" in str(box.enforcement["filesystem"])
        assert box.exec("sh", "-c", "echo x > /tmp/y && echo y > z && cat /tmp/y z /dev/null").text == "x\ny\n"
