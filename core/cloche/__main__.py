"""The command line: ``cloche COMMAND ...``.

Sub-commands live in ``cloche.commands`` and in plugins. Each is imported when it is used: starting costs no more than
``click`` itself.

Exit codes of its own: 2 for a command line that can't be understood, 124 for a time-out, 125 for an error of cloche,
126 for a policy that can't be kept here. Otherwise ``run`` gives the guest's.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import click

from cloche import __version__
from cloche.commands import COMMANDS, MODULES, with_plugins

INTERRUPTED: Final = 130
OWN_ERROR: Final = 125
REFUSED: Final = 126
BROKEN_PIPE: Final = 141  # 128 + SIGPIPE, as of a program in a shell


class Commands(click.Group):
    """The sub-commands, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give every name, plugins' last."""
        return [*COMMANDS, *sorted(_plugin_commands(ctx))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Give the command of that name, or ``None``. Plugins are loaded only for a name that is not our own."""
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"cloche.commands.{MODULES.get(cmd_name, cmd_name)}")
            command: click.Command = getattr(module, cmd_name if cmd_name in MODULES else "command")
            return command
        return _plugin_commands(ctx).get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, without importing them."""
        rows = list(COMMANDS.items())
        if with_plugins() and _plugins_may_have_commands():
            more = _plugin_commands(ctx)
            rows += [(name, command.get_short_help_str(limit=70)) for name, command in sorted(more.items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="cloche %(version)s")
def cli() -> None:
    """Run untrusted code sealed, and see what it does.

    \b
    cloche run -- python3 -c 'print(6 * 7)'
    cloche doctor
    """  # noqa: D301 - \b keeps click from filling the lines


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code; expected errors become lines on standard error."""
    from cloche.errors import ClocheError  # noqa: PLC0415 - not at import: the package itself loads nothing either

    _fill_descriptors()
    try:
        code = cli.main(args, prog_name="cloche", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except ClocheError as error:
        return _failed(error)
    except BrokenPipeError:
        _mute()
        return BROKEN_PIPE
    except OSError as error:
        click.echo(f"cloche: {error}", err=True)
        return OWN_ERROR
    return code if isinstance(code, int) else 0


def _fill_descriptors() -> None:
    """Have something at 0, 1 and 2: where one was closed, a pipe to a guest would take its number and be written to."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # takes the lowest free number, which is this one


def _failed(error: Exception) -> int:
    from cloche.commands.tables import plain_text  # noqa: PLC0415 - see main
    from cloche.errors import Unenforceable  # noqa: PLC0415

    if not isinstance(error, Unenforceable):
        click.echo(plain_text(f"cloche: {str(error).strip()}"), err=True)
        return OWN_ERROR
    click.echo(plain_text(f"cloche: {str(error).partition(chr(10))[0]}"), err=True)
    for name, why in error.reasons.items():
        click.echo(plain_text(f"  {name}: {why}"), err=True)
    advice = (
        "ask for less, or give --lenient to run with what can be kept; `cloche doctor` shows how to fix the machine"
    )
    click.echo(advice, err=True)
    return REFUSED


def _mute() -> None:
    """Keep Python from complaining about a standard output that nobody reads when it flushes it at the end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _plugin_commands(ctx: click.Context) -> Mapping[str, click.Command]:
    from cloche.config import Config  # noqa: PLC0415 - see the module's docstring
    from cloche.plugins import Plugins  # noqa: PLC0415

    if "plugin_commands" not in ctx.meta:
        plugins = Plugins.load(Config.load(), entry_points=with_plugins())
        found = plugins.load_commands(taken=COMMANDS)
        # One with a dot, "rules.import", is a command of one of ours.
        ctx.meta["plugin_commands"] = {name: command for name, command in found.items() if "." not in name}
    commands: Mapping[str, click.Command] = ctx.meta["plugin_commands"]
    return commands


def _plugins_may_have_commands() -> bool:
    """Tell from the text of the installed plugins, unimported, whether any may provide a command.

    Importing them would make ``cloche --help`` three times slower. One that hides its hook from this is missing in
    the list of commands, but works when called by its name.
    """
    from importlib import metadata  # noqa: PLC0415 - see the module's docstring
    from importlib.util import find_spec  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    try:
        for point in metadata.entry_points(group="cloche"):
            top, *below = point.module.split(".")
            spec = find_spec(top)
            if spec is None or spec.origin is None:
                return True
            text = Path(spec.origin).parent.joinpath(*below).with_suffix(".py") if below else Path(spec.origin)
            if b"cloche_commands" in text.read_bytes():
                return True
    except (OSError, ValueError):
        return True  # loading them tells what is wrong
    return False


if __name__ == "__main__":
    sys.exit(main())
