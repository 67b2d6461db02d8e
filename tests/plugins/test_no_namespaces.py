"""Machines that allow no namespaces, or less than it seems: told before anything runs, with what forbids it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

ASK = """
import json
import cloche
out = {}
with cloche.Host() as host:
    out["reasons"] = {name: host.unavailable(name) for name in host.runtimes}
    for level in ("standard", "maximum"):
        try:
            out[level] = host.run("echo", "hi", isolation=level).text
        except cloche.ClocheError as error:
            out[level] = f"{type(error).__name__}: {error}"
    for name in host.runtimes:
        try:
            out[name] = host.run("echo", "hi", isolation="standard", runtime=name).text
        except cloche.ClocheError as error:
            out[name] = f"{type(error).__name__}: {error}"
print(json.dumps(out))
"""

# What Docker's default filter does, and any other sandbox we are started in: new namespaces are refused.
FILTERED = """
import ctypes
import cloche_native as native
code = native.seccomp_program("standard")
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
program = Program(len(code) // 8, code)
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert prctl(22, 2, ctypes.byref(program), 0, 0) == 0  # PR_SET_SECCOMP
"""


def ask(*before: str, code: str = ASK) -> dict[str, Any]:
    command = [*before, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def usual() -> dict[str, Any]:
    """Ask without anything forbidden, so that its answers are remembered for this machine."""
    return ask()


def test_where_a_filter_refuses_namespaces_the_runtimes_that_need_them_say_so(usual: dict[str, Any]) -> None:
    found = ask(code=FILTERED + ASK)
    assert "while entering namespaces" in found["reasons"]["namespaces"]
    assert "new namespace" in found["reasons"]["bwrap"]
    for name in ("namespaces", "bwrap"):
        assert found[name].startswith("RuntimeUnavailable")
    assert found["maximum"].startswith("Unenforceable"), found
    for name in ("namespaces", "bwrap", "process"):
        assert f"  {name}: " in found["maximum"]
    if usual["reasons"]["process"] is None:
        assert found["standard"] == found["process"] == "hi\n"  # it needs none


def test_what_forbids_namespaces_is_named_by_the_doctor() -> None:
    code = FILTERED + "import sys\nfrom cloche.__main__ import main\nsys.argv[1:] = ['doctor']\nsys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0, done.stdout
    assert "user namespaces" in done.stdout
    assert "under a system-call filter already" in " ".join(done.stdout.split())


@pytest.mark.skipif(shutil.which("unshare") is None, reason="util-linux is not here")
def test_root_of_a_user_namespace_is_not_root_and_is_told() -> None:
    if subprocess.run(["unshare", "-Ur", "true"], capture_output=True, timeout=30, check=False).returncode != 0:
        pytest.skip("no user namespaces here to begin with")
    if os.geteuid() == 0:
        assert ask()["reasons"]["namespaces"] is None
    found = ask("unshare", "-Ur")
    for name in ("namespaces", "bwrap", "process"):
        assert "root of a user namespace" in found["reasons"][name]
        assert found[name].startswith("RuntimeUnavailable")
    assert found["standard"].startswith("Unenforceable")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes users")
def test_without_the_privilege_to_change_users_root_runs_nothing() -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("util-linux is not here")
    found = ask("setpriv", "--bounding-set=-setuid", "--inh-caps=-setuid")
    for name in ("namespaces", "bwrap", "process"):
        assert "root without CAP_SETUID" in found["reasons"][name]
        assert found[name].startswith("RuntimeUnavailable")
    assert found["standard"].startswith("Unenforceable")
