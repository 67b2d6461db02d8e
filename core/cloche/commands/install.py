"""``cloche install``: how to get what a runtime needs, from the file ``install.toml`` of its plugin's package.

A file and not a method, because it must be there when the plugin is not: one that can't be imported for want of
something, that is blocked, or whose runtime is not written yet, can still say how to get what it wants. ::

    program = "tool"                      # optional: found on PATH, it is installed already
    note = "One line to know."            # optional
    [steps]                               # by the program that does it; the first one found here is used
    apt-get = ["sudo apt-get install -y tool"]
    pip = ["{python} -m pip install tool"]

A step is a command line as a person types it, without shell syntax: ``{python}`` stands for this interpreter,
``{machine}`` for the architecture (uname(2)), and a leading ``sudo`` is left out for root.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from cloche import units
from cloche.commands import new_host
from cloche.commands.attached import stdin_is_terminal
from cloche.commands.tables import format_option, show_json
from cloche.errors import PluginError, SandboxError, SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to install one thing: the steps of each tool, in order of preference."""

    program: str | None
    note: str | None
    steps: dict[str, tuple[str, ...]]

    def here(self) -> dict[str, tuple[str, ...]]:
        """Give the ways whose tool is on this machine."""
        return {tool: steps for tool, steps in self.steps.items() if _found(tool)}


@click.command("install")
@click.argument("name")
@click.option("--with", "tool", metavar="TOOL", help="Which of the ways, when there is more than one.")
@click.option("--run", is_flag=True, help="Run the steps instead of only showing them; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@format_option
def command(name: str, *, tool: str | None, run: bool, yes: bool, as_json: bool) -> None:
    """Show or run the steps that install what the runtime NAME needs."""
    recipe = _recipe(name)
    ready, state = _state(name, recipe)
    ways = recipe.here()
    if tool is not None and tool not in ways:
        raise SpecError(f"--with {tool}: there is no such way here; there is: {', '.join(ways) or 'none'}")
    if as_json:
        show_json({"name": name, "ready": ready, "state": state, **asdict(recipe), "here": list(ways)})
        return
    click.echo(state)
    if ready:
        return
    steps = _show(name, recipe, ways, tool)
    if not run:
        click.echo(f"To have it done: cloche install {name} --run")
        return
    if not yes and not stdin_is_terminal():
        raise SpecError("--run asks before it acts; give --yes where nobody can answer")
    if yes or click.confirm("Run this now?"):
        _run(steps)
        ready, state = _state(name, recipe)
        if not ready:
            raise SandboxError(f"every step ran, but to no effect: {state}")
        click.echo(state)


def _show(name: str, recipe: Recipe, ways: dict[str, tuple[str, ...]], tool: str | None) -> list[str]:
    """Print the steps of one way, and what else is to be known; give them."""
    if not ways:
        raise SpecError(f"no way to install {name} is known here; it takes one of: {', '.join(recipe.steps)}")
    chosen = tool or next(iter(ways))
    steps = _typed(ways[chosen])
    click.echo("\n".join(["", *(f"    {step}" for step in steps), ""]))
    others = [other for other in ways if other != chosen]
    if others:
        click.echo(f"Other ways here: --with {', --with '.join(others)}.")
    if recipe.note:
        click.echo(recipe.note)
    return steps


def _recipe(name: str) -> Recipe:
    units.identifier(name, "name")
    path = next((path for path in _places(name) if path.is_file()), None)
    if path is None:
        known = ", ".join(sorted(n for n in _packages() if any(p.is_file() for p in _places(n))))
        raise SpecError(f"no plugin says how to install {name!r}; those here that say it: {known or 'none'}")
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        steps = {str(tool): tuple(map(_text, lines)) for tool, lines in table["steps"].items()}
        program, note = table.get("program"), table.get("note")
        return Recipe(program=program and _text(program), note=note and _text(note), steps=steps)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PluginError(f"{path} is not as it should be: {type(error).__name__}: {error}") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text is needed, not {value!r}")
    return value


def _packages() -> dict[str, str]:
    """Give the package of each installed plugin by the plugin's name."""
    from importlib import metadata  # noqa: PLC0415 - slow, and rarely needed

    return {point.name: point.module.partition(".")[0] for point in metadata.entry_points(group="cloche")}


def _places(name: str) -> list[Path]:
    """Give where the file may be, without importing the plugin: it may be broken."""
    out = []
    for package in (_packages().get(name), f"cloche_{name}"):
        spec = importlib.util.find_spec(package) if package and package.isidentifier() else None
        if spec is not None:
            out += [Path(folder, "install.toml") for folder in spec.submodule_search_locations or ()]
    return out


def _state(name: str, recipe: Recipe) -> tuple[bool, str]:
    """Give whether nothing is to be done, and one line on it."""
    with new_host() as host:
        if name in host.runtimes:
            reason = host.unavailable(name)
            if reason is None:
                return True, f"The runtime {name} works here; there is nothing to install."
            return False, f"The runtime {name} does not work here: {reason}"
    found = shutil.which(recipe.program) if recipe.program else None
    if found:
        return True, f"{recipe.program} is installed: {found}"
    return False, f"{recipe.program or name} is not installed."


def _found(tool: str) -> bool:
    if tool == "pip":
        return importlib.util.find_spec("pip") is not None
    return shutil.which(tool) is not None


def _typed(steps: tuple[str, ...]) -> list[str]:
    python, machine = shlex.quote(sys.executable), os.uname().machine
    filled = [step.replace("{python}", python).replace("{machine}", machine) for step in steps]
    return [step.removeprefix("sudo ") for step in filled] if os.geteuid() == 0 else filled


def _run(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="cloche-install-") as folder:
        for step in steps:
            click.echo(f"+ {step}", err=True)
            code = subprocess.run(shlex.split(step), check=False, cwd=folder).returncode
            if code != 0:
                raise SandboxError(f"this step ended with exit code {code}, and nothing after it was run: {step}")
