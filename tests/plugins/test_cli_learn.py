"""``cloche learn`` with real programs: what it writes lets them run again, and says what a changed one needs more."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloche import Network, Profile

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.usefixtures("no_leaks")
SCRIPT = """
import pathlib, sys
text = pathlib.Path("/data/in.txt").read_text()
pathlib.Path("/out/sub/result.txt").write_text(text.upper())
print(len(text))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with what a script reads and writes, and what it leaves alone."""
    (tmp_path / "data").mkdir()
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "in.txt").write_text("some text")
    (tmp_path / "data" / "other.txt").write_text("another")
    (tmp_path / "unused").mkdir()
    (tmp_path / "script.py").write_text(SCRIPT)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o777)
    return tmp_path


MOUNTS = ("-v", "./data:/data", "-v", "./out:/out:rw", "-v", "./unused:/unused:rw", "-v", "./script.py:/script.py")


def test_a_script_gets_what_it_used_and_no_more(cloche: Run, folder: Path) -> None:
    done = cloche("learn", *MOUNTS, "--as", "script", "--", "python3", "/script.py", cwd=folder)
    assert (done.returncode, done.stdout) == (0, b"9\n"), done.stderr.decode()
    assert b"/data/in.txt" in done.stderr
    assert b"the profile script is in script.toml" in done.stderr
    profile = Profile.read(folder / "script.toml")
    assert {mount.target: mount.read_only for mount in profile.policy.mounts} == {
        "/data": True, "/out": False, "/script.py": True,
    }  # fmt: skip
    assert {"/data/in.txt", "/out/sub", "/script.py"} <= set(profile.policy.paths.allowed)
    assert profile.policy.network == Network("none")

    (folder / "out" / "sub" / "result.txt").unlink()
    again = cloche("run", "--profile", "./script.toml", "--", "python3", "/script.py", cwd=folder)
    assert (again.returncode, again.stdout) == (0, b"9\n"), again.stderr.decode()
    assert (folder / "out" / "sub" / "result.txt").read_text() == "SOME TEXT"
    look = ("python3", "-c", "print(open('/data/other.txt').read())")
    denied = cloche("run", "--profile", "./script.toml", "--", *look, cwd=folder)
    assert denied.returncode == 1
    assert b"another" not in denied.stdout


def test_what_a_new_version_needs_more_is_shown(cloche: Run, folder: Path) -> None:
    cloche("learn", *MOUNTS, "--as", "script", "--", "python3", "/script.py", cwd=folder)
    same = cloche("learn", "--diff", "./script.toml", "--", "python3", "/script.py", cwd=folder)
    assert same.returncode == 0, same.stderr.decode()
    assert b"gives all that was used" in same.stderr
    (folder / "script.py").write_text(SCRIPT + "print(open('/data/other.txt').read())\nopen('/more/x').read()\n")
    (folder / "more").mkdir()
    (folder / "more" / "x").touch()
    more = cloche("learn", "--diff", "./script.toml", "-v", "./more:/more", "--", "python3", "/script.py", cwd=folder)
    assert more.returncode == 1
    text = " ".join(more.stderr.decode().split())
    assert "read /data/other.txt" in text
    assert "/more, read" in text
    assert "lacks 2 of what was used" in text


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_clones_again_under_what_it_taught(cloche: Run, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    own = ("git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(repo))
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    (repo / "file").write_text("content")
    subprocess.run([*own, "add", "."], check=True)
    subprocess.run([*own, "commit", "-qm", "one"], check=True)
    tmp_path.chmod(0o755)
    clone = ("-c", "safe.directory=*", "clone", "-q", "/src", "copy")
    done = cloche("learn", "-v", "./repo:/src", "--", "git", *clone, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    again = cloche("run", "--profile", "./git.toml", "--", "git", *clone, cwd=tmp_path)
    assert again.returncode == 0, again.stderr.decode()
    assert all(mount.read_only for mount in Profile.read(tmp_path / "git.toml").policy.mounts)


@pytest.mark.skipif(not (shutil.which("make") and shutil.which("cc")), reason="no compiler is installed")
def test_make_builds_again_in_a_folder_of_the_callers(cloche: Run, tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "main.c").write_text("int main(void) { return 0; }\n")
    (source / "Makefile").write_text("out/main: main.c\n\tmkdir -p out && cc -o $@ $<\n")
    (source / ".env").write_text("SECRET=1")
    for path in (tmp_path, source, *source.iterdir()):
        path.chmod(0o777)
    done = cloche("learn", "--workspace", "./src", "--", "make", "-s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    profile = Profile.read(tmp_path / "make.toml")
    assert profile.policy.workspace.kind == "bind"
    assert profile.policy.paths.forbidden == ("/workspace/.env",)
    shutil.rmtree(source / "out")
    again = cloche("run", "--profile", "./make.toml", "--", "make", "-s", cwd=tmp_path)
    assert again.returncode == 0, again.stderr.decode()
    assert (source / "out" / "main").exists()


def test_a_program_that_fails_is_told_with_doubt_and_no_file_is_written_over(cloche: Run, tmp_path: Path) -> None:
    done = cloche("learn", "--save", "x.toml", "-q", "--", "sh", "-c", "exit 3", cwd=tmp_path)
    assert done.returncode == 3
    assert b"the profile sh is in x.toml, but the program failed" in done.stderr
    there = cloche("learn", "--save", "x.toml", "--", "true", cwd=tmp_path)
    assert there.returncode == 125
    assert b"x.toml is there; remove it" in there.stderr
    assert cloche("learn", "--diff", "x", "--profile", "y", "--", "true", cwd=tmp_path).returncode == 2


def test_what_a_guest_named_steers_no_terminal(cloche: Run, tmp_path: Path) -> None:
    done = cloche("learn", "--", "sh", "-c", "touch \"$(printf 'a\\033[2Jb')\"; cat nothing*; ls", cwd=tmp_path)
    assert b"\x1b[2J" not in done.stderr
    assert b"\x1b" not in (tmp_path / "sh.toml").read_bytes()
