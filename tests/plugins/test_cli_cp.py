"""``cloche cp``: files and folders into a sandbox and out of it, also when the guest is no friend."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[bytes]]
    In = Callable[..., bytes]

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def box(made: Callable[..., str]) -> str:
    """Give the id of a sandbox that stays for the test."""
    return made()


@pytest.fixture
def inside(cloche: Run, box: str) -> In:
    """Give a function that runs a shell script in the sandbox and gives what it prints."""

    def run(script: str) -> bytes:
        done = cloche("exec", box, "--", "sh", "-ec", script)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_a_file_goes_in_and_comes_out_as_it_was(cloche: Run, box: str, inside: In, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "data").write_bytes(data)
    (tmp_path / "data").chmod(0o755)
    assert cloche("cp", str(tmp_path / "data"), f"{box}:").returncode == 0
    assert cloche("cp", str(tmp_path / "data"), f"{box}:/tmp/other").returncode == 0
    assert inside("stat -c %a%s data; cmp data /tmp/other && id -u > mine; stat -c %u data").startswith(b"7553145728")
    assert cloche("cp", f"{box}:data", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back").read_bytes() == data
    assert os.access(tmp_path / "back", os.X_OK)


def test_a_folder_goes_in_and_comes_out_whole(cloche: Run, box: str, inside: In, tmp_path: Path) -> None:
    source = tmp_path / "src"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "f").write_text("text")
    (source / "link").symlink_to("deep/er/f")
    assert cloche("cp", str(source), f"{box}:").returncode == 0
    assert cloche("cp", str(source), f"{box}:again").returncode == 0
    assert inside("cat src/link again/deep/er/f; echo more > again/new") == b"texttext"
    assert cloche("cp", f"{box}:again", str(tmp_path / "out")).returncode == 0
    assert tree(tmp_path / "out") == {**tree(source), "new": "more\n"}
    (tmp_path / "there").mkdir()
    assert cloche("cp", f"{box}:src", str(tmp_path / "there")).returncode == 0
    assert tree(tmp_path / "there" / "src") == tree(source)


def test_archives_go_through_standard_input_and_output(cloche: Run, box: str, inside: In) -> None:
    inside("mkdir d; echo a > d/a; ln -s a d/l")
    packed = cloche("cp", f"{box}:d", "-").stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert sorted(archive.getnames()) == ["a", "l"]
    assert cloche("cp", "-", f"{box}:unpacked", stdin=packed).returncode == 0
    assert inside("cat unpacked/l") == b"a\n"
    with tarfile.open(fileobj=io.BytesIO(cloche("cp", f"{box}:d/a", "-").stdout)) as archive:
        (member,) = archive.getmembers()
        held = archive.extractfile(member)
        assert held is not None
        assert (member.name, held.read()) == ("a", b"a\n")


def test_what_is_there_is_not_replaced_by_itself(cloche: Run, box: str, inside: In, tmp_path: Path) -> None:
    inside("echo theirs > f")
    (tmp_path / "f").write_text("mine")
    assert b"is there already" in cloche("cp", str(tmp_path / "f"), f"{box}:").stderr
    assert b"is there already" in cloche("cp", f"{box}:f", str(tmp_path)).stderr
    assert (tmp_path / "f").read_text() == "mine"
    assert inside("cat f") == b"theirs\n"
    assert cloche("cp", "--replace", str(tmp_path / "f"), f"{box}:").returncode == 0
    assert inside("cat f") == b"mine"


def test_links_of_a_guest_lead_nowhere(cloche: Run, box: str, inside: In, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    inside(f"mkdir d; ln -s {secret} d/out; ln -s {secret} top; ln -s {tmp_path} way; echo fine > g")
    done = cloche("cp", f"{box}:d", str(tmp_path / "copy"))
    assert done.returncode == 125
    assert b"leads outside" in done.stderr
    assert not (tmp_path / "copy").exists()
    assert cloche("cp", f"{box}:top", str(tmp_path / "top")).returncode == 125
    assert cloche("cp", f"{box}:way/secret", str(tmp_path / "top")).returncode == 125
    (tmp_path / "new").write_text("into the box")
    assert cloche("cp", str(tmp_path / "new"), f"{box}:way/planted").returncode == 125
    assert not (tmp_path / "planted").exists()
    assert cloche("cp", "--replace", str(tmp_path / "new"), f"{box}:top").returncode == 0
    assert secret.read_text() == "of the host"
    assert cloche("cp", "--links", "any", f"{box}:d", str(tmp_path / "copy")).returncode == 0
    assert tree(tmp_path / "copy") == {"out": str(secret)}
    assert cloche("cp", f"{box}:g", str(tmp_path / "g")).returncode == 0  # the positive control


def test_pipes_and_devices_are_never_waited_for(cloche: Run, box: str, inside: In, tmp_path: Path) -> None:
    inside("mkdir d; mkfifo d/pipe p; echo a > d/a")
    assert cloche("cp", f"{box}:p", str(tmp_path / "p")).returncode == 125
    done = cloche("cp", f"{box}:d", str(tmp_path / "d"))
    assert (done.returncode, tree(tmp_path / "d")) == (0, {"a": "a\n"})
    assert b"'pipe' was left out" in done.stderr
    os.mkfifo(tmp_path / "fifo")
    assert cloche("cp", str(tmp_path / "fifo"), f"{box}:").returncode == 125


def test_a_target_that_is_a_link_here_is_not_written_through(cloche: Run, box: str, inside: In, tmp_path: Path) -> None:
    inside("echo guest > f")
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    assert cloche("cp", f"{box}:f", str(tmp_path / "link")).returncode == 125
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("a", "b"), 2),
        (("{}:a", "{}:b"), 2),
        (("--replace", "{}:a", "b"), 2),
        (("{}:none-such", "x"), 125),
        (("none-such-file", "{}:"), 125),
        (("none-such:x", "x"), 125),
        (("{}:../../etc/passwd", "x"), 125),
        (("/dev/zero", "{}:"), 125),
        (("-", "{}:x"), 125),
        (("/etc/hostname", "{}:no/such/folder/"), 125),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(
    cloche: Run, box: str, tmp_path: Path, args: tuple[str, ...], code: int
) -> None:
    done = cloche("cp", *(arg.replace("{}", box) for arg in args), stdin=b"no archive", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert done.stderr
    assert b"Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_mount_that_is_read_only_is_so_for_copies_too(cloche: Run, tmp_path: Path, box: str) -> None:
    shown = tmp_path / "shown"
    shown.mkdir()
    tmp_path.chmod(0o755)
    (tmp_path / "f").write_text("x")
    made = cloche("create", "--isolation", "standard", "--workspace", "tmpfs", "-v", f"{shown}:/shown")
    if made.returncode != 0:
        pytest.skip(f"no folder of ours can be shown here: {made.stderr.decode()}")
    other = made.stdout.decode().strip()
    done = cloche("cp", str(tmp_path / "f"), f"{other}:/shown/f")
    assert done.returncode == 125
    assert b"read-only" in done.stderr or b"not allowed" in done.stderr
    assert list(shown.iterdir()) == []
    assert cloche("cp", str(tmp_path / "f"), f"{other}:f").returncode == 0
    assert other != box
