"""``cloche pool``: what waits in the pools of this user's hosts."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cloche.commands import new_host, words
from cloche.commands.tables import Table, format_option, one_line, show_json

if TYPE_CHECKING:
    from cloche.pool.figures import PoolRecord, TemplateStats

HEADINGS = ("pool of", "kind", "waiting", "taken", "anew", "thrown", "age", "memory", "note")


@click.command("pool")
@format_option
def command(*, as_json: bool) -> None:
    """Show the sandboxes that are started before anybody asks, and how often that helped.

    \b
    cloche run --pool prefer -- true     # made anew, and the next one is started behind it
    cloche run --pool prefer -- true     # one that waited
    cloche pool

    One row for each kind of sandbox that a pool keeps. "taken": had waited; "anew": had to be made, or waited for;
    "thrown": nobody took them in time + they were dead or out of date + they could not be started. The keeper is the
    background process that serves `cloche create` and `cloche run --pool`; [pool] in cloche.toml says
    what it keeps.
    """  # noqa: D301 - \b keeps click from filling the lines
    with new_host() as host:
        found = host.pools()
    if as_json:
        show_json([asdict(record) for record in found])
        return
    table = Table(HEADINGS, fixed=1)
    for record in found:
        for cells in rows(record):
            table.add(*cells)
    table.show()
    if not found:
        click.echo("no host of yours keeps sandboxes ready; `cloche run --pool prefer` has one do so", err=True)


def rows(record: PoolRecord) -> list[tuple[str, ...]]:
    """Give the cells of one pool's rows."""
    who = "keeper" if record.kept else f"process {record.pid}"
    if record.stats is None:
        return [(who, "", "", "", "", "", "", "", one_line(record.trouble))]
    out = [(who, *_template(row)) for row in record.stats.templates]
    if record.stats.problem or not out:
        counts = record.stats
        note = one_line(record.stats.problem) or "all kinds are forgotten"
        thrown = f"{counts.evicted} + {counts.died} + {counts.failed}"
        out.append((who, "", "0" if not out else "", str(counts.hits), str(counts.misses), thrown, "", "", note))
    return out


def _template(row: TemplateStats) -> tuple[str, ...]:
    what = [f"{row.runtime} {row.isolation}", words.size(row.limit)]
    what += [f"network {row.network}"] if row.network != "none" else []
    what += [row.workspace] if row.workspace != "tmpfs" else []
    what += [f"monitor {row.monitor}"] if row.monitor != "off" else []
    waiting = f"{row.idle} of {row.wanted}" + (f", {row.starting} starting" if row.starting else "")
    ages = "" if row.oldest is None or row.newest is None else _ages(row.oldest, row.newest)
    note = one_line(row.problem)
    if row.retry_in:
        note += f"; again in {row.retry_in:.0f}s"
    return (
        ", ".join(what), waiting, str(row.hits), str(row.misses), f"{row.evicted} + {row.died} + {row.failed}", ages,
        "" if row.memory is None else words.size(row.memory), note,
    )  # fmt: skip


def _ages(oldest: float, newest: float) -> str:
    old, new = words.age(oldest), words.age(newest)
    return old if old == new else f"{new} to {old}"
