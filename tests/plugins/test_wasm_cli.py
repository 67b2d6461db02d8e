"""``cloche run`` with programs that are modules: each test is a real process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugins.wasi_guest import module

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def app(tmp_path: Path) -> str:
    (tmp_path / "app.wasm").write_bytes(module())
    return str(tmp_path / "app.wasm")


def test_a_module_of_the_host_is_run_with_its_streams_and_exit_code(cloche: Run, app: str) -> None:
    done = cloche("run", "--runtime", "wasm", app, "--", "s", "out", "err", "7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
    assert cloche("run", "--runtime", "wasm", "--", app, "a", "-x", "--").stdout == b"-x|--|"
    assert cloche("run", "--runtime", "wasm", app, "c", stdin=b"x" * 70_000).stdout == b"70000\n"


def test_one_of_a_mounted_folder_is_run_where_it_is(cloche: Run, app: str) -> None:
    folder = app.rpartition("/")[0]
    done = cloche("run", "--runtime", "wasm", "-v", f"{folder}:/data", "--", "/data/app.wasm", "a", "x")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x|", b"")


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--", "no-such.wasm"), 127, b"no-such.wasm"), (("--", "/etc/passwd"), 126, b"module"),
        (("--timeout", "200ms", "--", "APP", "p"), 124, b"0.2 s"), (("--", "APP", "b"), 139, b""),
        (("--network", "loopback", "--", "APP"), 126, b"network"),
    ],
)  # fmt: skip
def test_what_can_not_be_run_ends_as_with_other_programs(
    cloche: Run, app: str, args: tuple[str, ...], code: int, says: bytes
) -> None:
    done = cloche("run", "--runtime", "wasm", *(app if arg == "APP" else arg for arg in args))
    assert (done.returncode, done.stdout, says in done.stderr) == (code, b"", True), done.stderr


def test_the_doctor_tells_what_there_is_and_install_how_to_get_it(cloche: Run) -> None:
    told = cloche("doctor").stdout
    assert b"runtime wasm" in told
    assert b"quickjs-rs" in told
    assert cloche("install", "wasm").returncode == 0
