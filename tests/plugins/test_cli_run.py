"""``cloche run``: exit codes, streams, options; each test is a real process and, where one is made, a real sandbox."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[bytes]]


def test_the_programs_streams_and_exit_code_are_passed_on(cloche: Run) -> None:
    done = cloche("run", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_arguments_after_the_program_are_the_programs_own(cloche: Run) -> None:
    assert cloche("run", "echo", "-i", "--name", "x").stdout == b"-i --name x\n"
    assert cloche("run", "--", "echo", "--", "-t").stdout == b"-- -t\n"


def test_piped_input_reaches_the_program_whole(cloche: Run) -> None:
    data = os.urandom(3_000_000)
    done = cloche("run", "--", "cat", stdin=data)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == data


@pytest.mark.usefixtures("no_kernel")
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--", "no-such-program"), 127, (b"no-such-program", b"No such file")),
        (("--", "/etc/passwd"), 126, (b"/etc/passwd", b"Permission denied")),
        (("--", "sh", "-c", "kill -9 $$"), 137, ()),
        (("--", "sh", "-c", "kill -TERM $$"), 143, ()),
        (("--timeout", "200ms", "--", "sleep", "30"), 124, (b"0.2 s", b"--timeout")),
        (("--wall", "200ms", "--", "sleep", "30"), 124, (b"0.2 s", b"--wall")),
        (("--output", "1000", "--", "yes"), 137, (b"1000 bytes", b"--output")),
        (("--isolation", "none-such", "--", "true"), 125, (b"none-such", b"enhanced")),
        (("--runtime", "none-such", "--", "true"), 125, (b"none-such", b"bwrap")),
        (("--memory", "lots", "--", "true"), 125, (b"limits.memory", b"512M")),
        (("--network", "host", "--", "true"), 125, (b"network", b"loopback")),
        (("-v", "/no/such/folder:/x", "--", "true"), 125, (b"/no/such/folder",)),
        (("--require", "kernel", "--", "true"), 126, (b"kernel", b"--lenient", b"cloche doctor")),
        (("-t", "--", "true"), 125, (b"terminal",)),
        ((), 2, (b"PROGRAM",)),
        (("-v", "nonsense", "--", "true"), 2, (b"nonsense", b"SRC:DST")),
        (("--workspace", "x:sideways", "--", "true"), 2, (b"sideways",)),
        (("-e", "SURELY_NOT_SET", "--", "true"), 2, (b"SURELY_NOT_SET", b"not set")),
        (("--no-such-option", "--", "true"), 2, (b"--no-such-option",)),
    ],
)  # fmt: skip
def test_each_way_to_end_has_its_exit_code_and_is_explained(
    cloche: Run, args: tuple[str, ...], code: int, words: tuple[bytes, ...]
) -> None:
    done = cloche("run", *args)
    assert done.returncode == code, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert b"Traceback" not in done.stderr
    if not words:
        assert done.stderr == b""


def test_running_out_of_memory_is_told(cloche: Run) -> None:
    done = cloche("run", "--memory", "64M", "-o", "json", "--", "python3", "-c", "x = bytearray(500 << 20)")
    result = json.loads(done.stdout)
    by_the_kernel = result["reason"] == "out_of_memory" and done.returncode == 137
    by_the_program = "MemoryError" in result["stderr"]["data"] and done.returncode == 1
    assert by_the_kernel or by_the_program, result


def test_the_environment_is_built_from_nothing(cloche: Run) -> None:
    done = cloche("run", "-e", "A=one=two", "-e", "FROM_HERE", "--", "env", env={"FROM_HERE": "yes", "SECRET": "no"})
    lines = done.stdout.decode().splitlines()
    assert {"A=one=two", "FROM_HERE=yes"} <= set(lines)
    assert not [line for line in lines if line.startswith("SECRET")]


def test_folders_are_shown_read_only_unless_said(cloche: Run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "file").write_text("seen")
    script = "cat /in/file; echo made > /out/new; echo no > /in/new"
    done = cloche("run", "-v", "in:/in", "-v", f"{tmp_path}/out:/out:rw", "--", "sh", "-c", script, cwd=tmp_path)
    assert done.stdout == b"seen"
    assert b"Read-only" in done.stderr
    assert (tmp_path / "out" / "new").read_text() == "made\n"
    assert not (tmp_path / "in" / "new").exists()


@pytest.mark.parametrize(("kind", "after"), [("", ["new"]), (":bind", ["new"]), (":overlay", ["old"])])
def test_a_workspace_is_written_directly_or_kept_apart(
    cloche: Run, tmp_path: Path, kind: str, after: list[str]
) -> None:
    (tmp_path / "old").write_text("old")
    script = "cat old; rm old; echo new > new; cat new"
    done = cloche("run", "--workspace", f"{tmp_path}{kind}", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout) == (0, b"oldnew\n"), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == after


def test_where_it_starts_and_as_whom_can_be_chosen(cloche: Run) -> None:
    assert cloche("run", "--", "pwd").stdout == b"/workspace\n"
    done = cloche("run", "-w", "/tmp", "--user", "123", "--", "sh", "-c", "pwd; id -u")
    assert done.stdout == b"/tmp\n123\n"


def test_paths_are_forbidden_read_only_or_allowed_by_pattern(cloche: Run, open_folder: Path) -> None:
    for name in ("a.key", "a.txt"):
        (open_folder / name).write_text(name)
        (open_folder / name).chmod(0o666)
    mount = ("-v", f"{open_folder}:/data")
    assert cloche("run", *mount, "--forbid", "/data/*.key", "--", "sh", "-c", "cat /data/*").stdout == b"a.txt"
    assert cloche("run", *mount, "--allow-path", "/data/*.key", "--", "ls", "/data").stdout == b"a.key\n"
    few = ("-v", f"{open_folder}:/data:read,list")
    assert cloche("run", *few, "--", "cat", "/data/a.txt").stdout == b"a.txt"
    work = ("--workspace", str(open_folder), "--read-only-path", "/workspace/a.key")
    assert cloche("run", *work, "--", "sh", "-c", "echo x > a.txt").returncode == 0
    assert cloche("run", *work, "--", "sh", "-c", "echo x > a.key").returncode != 0
    assert ((open_folder / "a.key").read_text(), (open_folder / "a.txt").read_text()) == ("a.key", "x\n")


def test_a_forbidden_path_is_not_seen_into(cloche: Run) -> None:
    assert cloche("run", "--", "cat", "/etc/os-release").returncode == 0
    done = cloche("run", "--forbid", "/etc/os-release", "--", "cat", "/etc/os-release")
    assert done.stdout == b""
    assert cloche("run", "--forbid", "/usr/share", "--", "ls", "/usr/share").returncode != 0


def test_json_holds_everything_and_nothing_else_is_printed(cloche: Run) -> None:
    done = cloche("run", "-o", "json", "--", "sh", "-c", r"printf 'caf\303\251'; printf '\377\000' >&2; exit 3")
    assert (done.returncode, done.stderr) == (3, b"")
    result = json.loads(done.stdout)
    assert result["exit_code"] == 3
    assert result["reason"] == "exited"
    assert result["stdout"] == {"encoding": "utf-8", "data": "caf\u00e9"}
    assert base64.b64decode(result["stderr"]["data"]) == b"\xff\0"
    assert result["isolation"] == "enhanced"
    assert result["enforcement"]["filesystem"]["status"] in ("enforced", "partial")
    assert result["duration"] > 0


def test_json_explains_a_time_out(cloche: Run) -> None:
    done = cloche("run", "-o", "json", "--timeout", "0.2", "--", "sh", "-c", "echo begun; sleep 30")
    result = json.loads(done.stdout)
    assert (done.returncode, result["reason"], result["stdout"]["data"]) == (124, "timeout", "begun\n")


@pytest.mark.usefixtures("no_kernel")
def test_lenient_runs_and_says_what_is_not_kept(cloche: Run) -> None:
    done = cloche("run", "--lenient", "--require", "kernel", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (0, b"ran\n")
    assert b"kernel is not kept" in done.stderr


def test_a_report_names_each_feature_and_how_it_is_kept(cloche: Run) -> None:
    done = cloche("run", "--report", "--", "echo", "ran")
    assert done.stdout == b"ran\n"
    text = done.stderr.decode()
    for feature in ("process", "filesystem", "network", "memory", "wall"):
        assert f"\n {feature} " in text
    assert "isolation enhanced" in text


def test_an_output_that_can_not_be_written_ends_the_program(cloche: Run) -> None:
    for redirection in (">/dev/full", ">&-"):
        line = f"exec {sys.executable} -m cloche run -- sh -c 'echo x; sleep 60' {redirection}"
        done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=30, check=False)
        assert done.returncode == 125
        assert done.stderr.startswith(b"cloche: stdout")
    assert cloche("run", "--", "echo", "fine").returncode == 0
