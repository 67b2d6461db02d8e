"""The options that say what a sandbox is allowed, the same for every command that makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

import click

from cloche.commands import given
from cloche.enforcement import Guarantee
from cloche.monitor import DEPTHS
from cloche.policy import NetworkMode
from cloche.pool.settings import PoolMode
from cloche.rules.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_F = TypeVar("_F", bound="Callable[..., Any]")
_THRESHOLD: Final = click.Choice([*map(str, Severity), "never"])
_OPTIONS: Final = (
    click.option("--profile", metavar="NAME|FILE", help="A whole policy; other options go over it. See `profiles`."),
    click.option("--isolation", metavar="LEVEL", help="Isolation level; see `cloche levels`."),
    click.option("--runtime", metavar="NAME", help="Use this runtime, not the best one; see `cloche runtimes`."),
    click.option("--name", help="A name for the sandbox."),
    click.option(
        "-e", "--env", multiple=True, callback=given.variables, metavar="NAME[=VALUE]",
        help="Environment variable; NAME alone takes its value here.",
    ),
    click.option("--user", type=int, default=1000, show_default=True, help="User id the program sees itself as."),
    click.option("--network", type=click.Choice(get_args(NetworkMode)), help="Default: the level's, which is none."),
    click.option(
        "-v", "--mount", multiple=True, callback=given.mounts, metavar="SRC:DST[:ro|rw|OPERATIONS]",
        help="Show a file or folder of this machine in the sandbox; read-only unless :rw, or with some of "
        "read,stat,list,write,create,delete alone.",
    ),
    click.option(
        "--workspace", callback=given.workspace, metavar="DIR[:bind|:overlay]|tmpfs",
        help="Work folder: DIR written directly, DIR with writes thrown away, or an empty one (the default).",
    ),
    click.option(
        "--forbid", multiple=True, metavar="PATTERN",
        help="Path in the sandbox that must not be seen into; may hold * ? [a-z], and ** for any number of folders.",
    ),
    click.option("--read-only-path", multiple=True, metavar="PATTERN", help="Path in it that must not be changed."),
    click.option(
        "--allow-path", multiple=True, metavar="PATTERN",
        help="If given, only these paths of the work folder and of mounts can be used.",
    ),
    click.option(
        "--monitor", type=click.Choice(DEPTHS), metavar="DEPTH",
        help="What is to be seen of it: writes, full (reading too) or strict; off by default.",
    ),
    click.option(
        "--rules", metavar="on|off|audit|RULE,...",
        help="Judge what it does: by all rules, by none, by all but only telling, or by some; see `cloche rules`.",
    ),
    click.option(
        "--auto-block", type=_THRESHOLD, metavar="SEVERITY", help="Refuse what a rule of this severity matches."
    ),
    click.option("--auto-suspend", type=_THRESHOLD, metavar="SEVERITY", help="Pause the sandbox then; or never."),
    click.option("--auto-terminate", type=_THRESHOLD, metavar="SEVERITY", help="Kill the sandbox then; or never."),
    click.option("--rootfs", metavar="DIR", help="Folder to use as the root, not this machine's system folders."),
    click.option("--wall", metavar="TIME", help="The level's bound on the time of one program."),
    click.option("--memory", metavar="SIZE", help="Memory of all its processes together, e.g. 512M."),
    click.option("--cpu", type=float, help="Processors' worth of time, e.g. 0.5."),
    click.option("--pids", type=int, help="Processes and threads at once."),
    click.option("--open-files", type=int, help="Open files per process."),
    click.option("--file-size", metavar="SIZE", help="Size of a file it writes."),
    click.option("--disk", metavar="SIZE", help="Room in each folder it can write that is held in memory."),
    click.option("--files", type=int, help="Files and folders in each of these folders."),
    click.option("--output", metavar="SIZE", help="What it may print."),
    click.option(
        "--require", multiple=True, type=click.Choice([g.value for g in Guarantee]), metavar="GUARANTEE",
        help="Refuse to run unless this is kept too; `cloche runtimes` names them.",
    ),
    click.option("--lenient", is_flag=True, help="Run even if something can't be kept, and say what."),
)  # fmt: skip
_LIMITS: Final = ("memory", "cpu", "pids", "open_files", "file_size", "disk", "files", "output", "wall")


def policy(function: _F) -> _F:
    """Add the options to a command, in the order they stand here."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def pool(function: _F) -> _F:
    """Add the option that says whether the sandbox may be one that was started before."""
    return click.option(
        "--pool", type=click.Choice(get_args(PoolMode)),
        help="Take a sandbox that a background process of yours has started before: if there is one, or only such a "
        "one; see `cloche pool`.",
    )(function)  # fmt: skip


def keywords(chosen: Mapping[str, Any], *, terminal: bool = False) -> dict[str, Any]:
    """Give the keywords of ``Host.create`` for what was chosen of these options."""
    return {
        "profile": chosen["profile"],
        "name": chosen["name"],
        "isolation": chosen["isolation"],
        "runtime": chosen["runtime"],
        "require": chosen["require"],
        "network": chosen["network"],
        "limits": {name: chosen[name] for name in _LIMITS if chosen[name] is not None},
        "workspace": chosen["workspace"],
        "mounts": chosen["mount"],
        "forbidden": chosen["forbid"],
        "paths": given.paths(chosen),
        "monitor": chosen["monitor"],
        "rules": given.rules(chosen),
        "rootfs": chosen["rootfs"],
        "env": given.environment(chosen["env"], terminal=terminal),
        "user": chosen["user"],
        "strict": not chosen["lenient"],
    }
