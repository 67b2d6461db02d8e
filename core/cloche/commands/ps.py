"""``cloche ps``: the sandboxes of this user on this machine."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from cloche.commands import new_host, words
from cloche.commands.create import PROGRAM
from cloche.commands.tables import Table, format_option, one_line, show_json
from cloche.spec import State

if TYPE_CHECKING:
    from cloche.registry.record import SandboxRecord

PROGRAM_MAX: Final = 40
"""Characters of a program in the table; `cloche inspect` shows more."""


@click.command("ps")
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that were stopped and not deleted yet.")
@click.option("-q", "--quiet", is_flag=True, help="Print ids only.")
@format_option
def command(*, everything: bool, quiet: bool, as_json: bool) -> None:
    """List the sandboxes of this user on this machine, oldest first.

    Orphans are what a host left that was killed: shown once, as they are cleaned up at that moment.
    """
    with new_host() as host:
        found = [record for record in host.list() if everything or record.state is not State.STOPPED or record.orphaned]
    if as_json:
        show_json([plain(record) for record in found])
        return
    if quiet:
        for record in found:
            click.echo(record.id)
        return
    table = Table(("id", "name", "runtime", "level", "state", "age", "program"), fixed=1)
    for record in found:
        table.add(
            record.id, record.name or "", record.runtime, record.isolation, state(record), age(record),
            one_line(record.trouble) or _short(record.metadata.get(PROGRAM, "")),
        )  # fmt: skip
    table.show()


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= PROGRAM_MAX else f"{text[: PROGRAM_MAX - 3]}..."


def state(record: SandboxRecord) -> str:
    """Give the state of a record in a word or two."""
    if record.trouble:
        return "unreadable"
    if record.orphaned:
        return "orphan"
    return f"{record.state} ({record.reason})" if record.reason else str(record.state or "")


def age(record: SandboxRecord) -> str:
    """Give how old it is, as people say it; nothing where the clock was set back meanwhile."""
    return words.age(time.time() - record.created) if record.created else ""


def plain(record: SandboxRecord) -> dict[str, Any]:
    """Give a record as plain data."""
    out = asdict(record)
    return {
        **out,
        "metadata": dict(record.metadata),
        "spec": dict(record.spec),
        "enforcement": dict(record.enforcement),
    }
