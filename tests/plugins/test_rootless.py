"""All that the runtimes promise, promised to an ordinary user too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import cloche
import cloche_bwrap
import cloche_native

USER = 54_321
HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="not root: these tests are run as an ordinary user already")


@pytest.fixture(scope="module")
def python() -> str:
    """Give an interpreter of this version that an ordinary user can execute."""
    for path in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}", "/usr/bin/python3"):
        command = [path, "-c", "import sys; print(sys.version_info[:2])"]
        try:
            done = subprocess.run(command, user=USER, group=USER, extra_groups=[], capture_output=True, text=True,
                                  timeout=60, check=False)  # fmt: skip
        except OSError:
            continue
        if done.stdout.strip() == str(tuple(sys.version_info[:2])):
            return path
    pytest.skip("an ordinary user can reach no interpreter of this version; make the venv from the system's python3")


@pytest.fixture
def env(open_folder: Path) -> dict[str, str]:
    """Give an environment in which an ordinary user finds this checkout and has a home."""
    home = open_folder / "home"
    home.mkdir()
    os.chown(home, USER, USER)
    modules = (cloche, cloche_bwrap, cloche_native, pytest, anyio)
    places = dict.fromkeys(str(Path(module.__file__ or "").parents[1]) for module in modules)
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": os.pathsep.join(places),
        "PYTHONDONTWRITEBYTECODE": "1", "PYTHONSAFEPATH": "1",
        "CLOCHE_RACES": "200",
    }  # fmt: skip


def run(python: str, env: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *args], user=USER, group=USER, extra_groups=[], env=env, cwd=HERE.parents[1], capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "test_namespaces.py",
        "test_bwrap.py",
        "test_process.py",
        "test_views.py",
        "test_limits.py",
        "test_paths.py",
        "test_files.py",
        "test_monitor.py",
    ],
)
def test_what_holds_for_root_holds_for_an_ordinary_user(python: str, env: dict[str, str], name: str) -> None:
    own = ("-p", "no:cacheprovider", "-o", "pythonpath=", "--basetemp", f"{env['HOME']}/tests")
    done = run(python, env, "-m", "pytest", "-q", str(HERE / name), *own)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 20, done.stdout


def test_an_ordinary_user_is_told_what_it_can_not_have(python: str, env: dict[str, str]) -> None:
    code = (
        "import cloche\n"
        "with cloche.Host() as host:\n"
        "    with host.create(workspace='.', isolation='standard') as box:\n"
        "        print(box.enforcement['identity'], '|', box.enforcement['memory'])\n"
        "    print(host.run('id', '-u').text)"
    )
    done = run(python, {**env, "PYTHONSAFEPATH": ""}, "-c", code)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()[:2]
    assert "to the host it is still the calling user" in first
    assert "the agent looks at all processes" in first or "cgroup" in first
    assert second == "1000"


def test_a_sandbox_of_gvisor_is_an_ordinary_users_too(python: str, env: dict[str, str]) -> None:
    words = "-m cloche run --runtime gvisor --isolation standard --lenient --".split()
    done = run(python, env, *words, "sh", "-c", "echo mine > here; cat here; id -u; uname -r")
    if "is not available" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stdout.split()[:2] == ["mine", "1000"], done.stderr
    assert done.stdout.split()[2] != os.uname().release
    assert "memory is not kept" in done.stderr or "cgroup" in Path("/proc/self/mounts").read_text()
    words = "-m cloche run --runtime gvisor --isolation standard --lenient --workspace .:bind -- true".split()
    refused = run(python, env, *words)
    assert (refused.returncode, "without root" in refused.stderr) == (125, True), refused
