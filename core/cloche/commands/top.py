"""``cloche top``: all sandboxes of this user, live: what they use, how much they do, what rules found."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from cloche.commands import new_host, top_rows
from cloche.commands.tables import FORMATS, Table, show_json
from cloche.errors import Unsupported

if TYPE_CHECKING:
    from cloche.blocking import Host

FIRST = 0.5
"""Seconds between the first two looks: cpu and events are differences."""


@click.command("top")
@click.option("--once", is_flag=True, help="Show it once and end; so it is without a terminal.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3600), default=1.0, show_default=True, help="Seconds between looks."
)
@click.option(
    "-o", "--output-format", type=click.Choice(FORMATS), default="table", show_default=True, help="With --once.",
)  # fmt: skip
def command(*, once: bool, every: float, output_format: str) -> None:
    """Show all sandboxes of this user, live: what they use, how much they do, what rules found.

    Incidents are counted by severity: C2 H1 is two critical ones and a high one. Keys: p pauses, r resumes, k kills
    (asked twice), Enter shows the last events and incidents of one, q quits. It needs `pip install 'cloche[top]'`,
    --once does not.
    """
    with new_host() as host:
        if once or output_format == "json" or not sys.stdout.isatty():
            _once(host, as_json=output_format == "json")
            return
        try:
            from cloche.commands.top_app import Top  # noqa: PLC0415 - textual takes longer to import than all else
        except ImportError:
            raise Unsupported("cloche top needs textual: pip install 'cloche[top]'; or give --once") from None
        Top(host, every=every).run()


def _once(host: Host, *, as_json: bool) -> None:
    seen = top_rows.all_there(host)
    for pause in (FIRST, 0.0):
        for one in seen:
            one.look()
        time.sleep(pause if seen else 0)
    if as_json:
        show_json([one.plain() for one in seen])
        return
    table = Table(top_rows.HEADINGS[:-1], fixed=len(top_rows.HEADINGS) - 1)
    for one in seen:
        table.add(*one.cells()[:-1])
    table.show()
    for one in seen:  # in the table there would be no room
        if said := one.cells()[-1]:
            click.echo(f"{one.cells()[0]}: {said}")
