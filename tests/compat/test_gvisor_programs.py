"""Honest programs in a box whose kernel is gVisor's: each does its work, and prints what it prints elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest

from tests.compat.coreutils import COREUTILS, HELD
from tests.compat.programs import PROGRAMS

if TYPE_CHECKING:
    from cloche import Sandbox


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_its_work(box: Sandbox, name: str) -> None:
    program = PROGRAMS[name]
    if shutil.which(program.needs, path=f"/usr/bin:/bin:{sysconfig.get_path('scripts')}") is None:
        pytest.skip(f"{program.needs} is not installed")
    if name in ("python numpy", "python pandas") and (other := _other_python()):
        pytest.skip(other)
    folder = box.exec("mktemp", "-d").check().text.strip()
    result = box.exec(*program.argv, cwd=folder, timeout=60)
    assert (result.text, result.exit_code) == (program.printed, 0), result.stderr.decode()


def _other_python() -> str:
    """Say why packages of the tests' own Python can't be used by the guest's."""
    done = subprocess.run(["/usr/bin/python3", "-V"], capture_output=True, text=True, timeout=20, check=True)
    ours = "{}.{}".format(*sys.version_info[:2])
    found = re.match(r"Python (\d+\.\d+)", done.stdout)
    assert found is not None, done.stdout
    return "" if found[1] == ours else f"/usr/bin/python3 is {found[1]}, numpy and pandas here are for {ours}"


@pytest.mark.parametrize("name", COREUTILS)
def test_a_core_utility_does_its_work(box: Sandbox, name: str) -> None:
    line, printed = COREUTILS[name]
    script = f"umask 022; f=$(mktemp -d) && cd $f && {HELD}{line}"
    result = box.exec("sh", "-c", script, timeout=30)
    assert (result.text, result.exit_code) == (printed, 0), result.stderr.decode()
