"""The library that mends statx(2) of an old gVisor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cloche_native
from tests.native.inner.guests import PLAIN, Guest

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = "/.cloche-statx.so"
STATX = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
out = ctypes.create_string_buffer(256)
def tried(path, flags):
    ctypes.set_errno(0)
    return libc.statx(-100, path, flags, 0x7ff, out), os.strerror(ctypes.get_errno())
print(tried(b'/', 0x800), tried(b'/nowhere', 0x900), tried(b'/', 0x7000000))
"""
MENDED = "(0, 'Success') (-1, 'No such file or directory') (-1, 'Invalid argument')"


@pytest.fixture
def mended(runsc: list[str], bundle: Path, tmp_path: Path) -> Iterator[Guest]:
    """A guest whose loader is told of the library, as the runtime does it."""
    if "CLOCHE_SANITIZED" in os.environ:
        pytest.skip("a sanitized cloche-inner has a loader, too, which would put the library before the sanitizer's")
    own = tmp_path / "bundle"
    shutil.copytree(bundle, own, symlinks=True)
    config = (own / "config.json").read_text()
    bound = (
        f'{{"destination": "{LIBRARY}", "type": "bind", "source": "{cloche_native.statx_path()}", "options": ["ro"]}}'
    )
    (own / "config.json").write_text(config.replace('"mounts": [', f'"mounts": [{bound}, '))
    (own / "root" / LIBRARY[1:]).touch()
    (own / "root/etc/ld.so.preload").write_text(LIBRARY)
    guest = Guest(runsc, own).ready(PLAIN)
    yield guest
    guest.close()


def test_ls_and_stat_work_in_a_guest_that_refuses_their_flag(mended: Guest, shared: Guest) -> None:
    if shared.run("ls", "/").code == 0:
        pytest.skip("this runsc takes AT_NO_AUTOMOUNT: there is nothing to mend")
    ran = mended.run("ls", "-l", "/")
    assert (ran.code, ran.stderr) == (0, b"")
    assert b"proc" in ran.stdout
    assert mended.run("stat", "-c", "%F", "/tmp").stdout == b"directory\n"
    assert mended.run("ls", "/nowhere").code == 2
    assert mended.run("python3", "-c", STATX).stdout.decode().strip() == MENDED


def test_it_changes_no_other_answer() -> None:
    """On a kernel that needs no mending."""
    ran = subprocess.run(
        [sys.executable, "-c", STATX], env={"LD_PRELOAD": cloche_native.statx_path()}, capture_output=True, text=True,
        timeout=20, check=True,
    )  # fmt: skip
    assert ran.stdout.strip() == MENDED
    assert ran.stderr == ""


def test_it_needs_nothing_of_any_c_library_but_errno() -> None:
    path = Path(cloche_native.statx_path())
    assert path.stat().st_mode & 0o777 == 0o755
    dynamic = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, timeout=20, check=True).stdout
    assert "NEEDED" not in dynamic
