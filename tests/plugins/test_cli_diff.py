"""``cloche diff``: what a program changed in the work folder, told by a second process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def box(made: Callable[..., str]) -> str:
    """Give the id of a sandbox that stays for the test."""
    return made()


def test_a_kept_look_shows_what_changed_since(cloche: Run, box: str, tmp_path: Path) -> None:
    kept = str(tmp_path / "before")
    script = "echo one > stays; echo two > goes; echo three > changes"
    assert cloche("exec", box, "--", "sh", "-ec", script).returncode == 0
    assert cloche("diff", box, "--save", kept).returncode == 0
    same = cloche("diff", box, "--since", kept)
    assert (same.returncode, same.stdout) == (0, b"")
    script = r'rm goes; echo 3 > changes; mkdir new; printf x > "$(printf "new/\033[31m\nred")"'
    assert cloche("exec", box, "--", "sh", "-ec", script).returncode == 0
    done = cloche("diff", box, "--since", kept)
    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == [
        "M  changes (content)", "D  goes", "A  new/", r'A  "new/\x1b[31m\nred"',
    ]  # fmt: skip
    plain = json.loads(cloche("diff", box, "--since", kept, "--save", kept, "-o", "json").stdout)
    assert (list(plain["removed"]), plain["changed"]) == (["goes"], {"changes": ["content"]})
    assert cloche("diff", box, "--since", kept).returncode == 0


def test_what_can_not_be_compared_is_told(cloche: Run, box: str, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"{}")
    for options, code, told in (
        (("--since", str(tmp_path / "none")), 125, b"No such file"),
        (("--since", str(tmp_path / "bad")), 125, b"not a snapshot"),
        (("--save", str(tmp_path / "no" / "where")), 125, b"No such file"),
        (("/nowhere", "--save", str(tmp_path / "x")), 125, b"/nowhere"),
        ((), 2, b"--save"),
    ):
        done = cloche("diff", box, *options)
        assert (done.returncode, told in done.stderr) == (code, True), done.stderr
