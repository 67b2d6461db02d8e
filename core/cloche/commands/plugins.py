"""``cloche plugins``: what was found, what each brings, and why one that failed did."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cloche.commands import COMMANDS, new_host
from cloche.commands.tables import Table, format_option, show_json

if TYPE_CHECKING:
    from cloche.plugin_entry import PluginRecord


@click.command("plugins")
@format_option
def command(*, as_json: bool) -> None:
    """Show the plugins that were found and what each brings.

    One that failed is left out whole: nothing of it is used, and the table says why.
    """
    plugins = new_host().plugins
    plugins.load_commands(taken=COMMANDS)
    plugins.ask()
    if as_json:
        show_json([asdict(record) for record in plugins.records])
        return
    table = Table(("plugin", "state", "from", "brings"), fixed=2)
    for record in plugins.records:
        origin = f"{record.distribution or 'the program itself'} {record.version or ''}".rstrip()
        table.add(record.name, record.status, origin, _brings(record))
    table.show()


def _brings(record: PluginRecord) -> str:
    if record.error is not None:
        return record.error
    kinds = (
        ("runtime", record.runtimes), ("level", record.levels), ("profile", record.profiles),
        ("command", record.commands), ("file system", record.backends), ("event tap", record.taps),
        ("response", record.responses), ("anomaly detector", record.detectors),
    )  # fmt: skip
    parts = [f"{kind}{'s' if len(names) > 1 else ''} {', '.join(names)}" for kind, names in kinds if names]
    parts += [f"{len(record.rules)} rules, see `cloche rules list`"] if record.rules else []
    return "; ".join(parts) or f"hooks {', '.join(record.hooks)}"
