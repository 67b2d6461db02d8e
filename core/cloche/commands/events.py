"""``cloche events``: what guests did."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import click

from cloche.commands import boxes, event_rows
from cloche.commands.tables import Table, format_option, one_line, show_json
from cloche.events.acts import Act, act_set

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.events.event import Event
    from cloche.events.meaning import Meaning
    from cloche.events.source import EventSource


def acts(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> frozenset[Act]:
    """Give the acts of ``--act``, which may be repeated and hold several with commas; all if there are none."""
    names = [name for value in values for name in value.split(",")]
    unknown = [name for name in names if name not in list(Act)]
    if unknown:
        raise click.BadParameter(f"{one_line(unknown[0])!r} is no act; `cloche events acts` names them")
    return act_set(names, "--act") or frozenset(Act)


act_option = click.option(
    "--act", "wanted", multiple=True, callback=acts, metavar="ACT[,ACT...]", help="Only these; see `events acts`."
)


class Events(click.Group):
    """Its sub-commands, and without one of these the events of a sandbox: ``cloche events -f BOX``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Give the sub-command of that name, and ``live`` for what is none."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "live", live, args


@click.group(
    "events", cls=Events, subcommand_metavar="[-f] BOX | COMMAND ...", context_settings={"ignore_unknown_options": True}
)  # fmt: skip
def command() -> None:
    """Show what guests did: as it happens, or from a file.

    \b
    cloche events BOX               how often it did what, so far
    cloche events -f BOX            each act as it happens, until BOX is deleted
    cloche events --help BOX        more on these
    """  # noqa: D301 - \b keeps click from filling the lines


@click.command("live")
@boxes.box_argument
@click.option("-f", "--follow", is_flag=True, help="Show each event as it happens, until BOX is deleted.")
@act_option
@click.option(
    "--source", "sources", multiple=True, metavar="NAME",
    help="Only from there: guest, files (what is done by the files API), life (of the sandbox and its programs).",
)  # fmt: skip
@click.option("--record", "file", metavar="FILE", help="Keep the events in FILE, for `cloche events replay`.")
@format_option
def live(
    which: str, *, follow: bool, wanted: frozenset[Act], sources: tuple[str, ...], file: str | None, as_json: bool
) -> int:
    """Show how often each act was seen in BOX so far; with -f each event as it happens, one a line.

    A last line on standard error counts them and says how many were lost: 0, or the sandbox did more than could be
    told. What a guest does is seen in a sandbox that was made with --monitor.
    """
    from cloche.commands import events_live  # noqa: PLC0415 - the other sub-commands do without

    with boxes.attached(which) as box:
        if not follow and file is None:
            events_live.show_counts(box, wanted, as_json=as_json)
            return 0
        taking = events_live.Live(show=follow, as_json=as_json, file=file)
        return events_live.follow(box, wanted, sources, taking)


@command.command("acts")
@format_option
def list_acts(*, as_json: bool) -> None:
    """Show what a guest can be seen to do, and what an event says of each."""
    from cloche.events.meaning import MEANINGS  # noqa: PLC0415 - `cloche events --help` needs none of it

    if as_json:
        show_json([
            {"act": act.value, "summary": it.summary, "path": it.path, "target": it.target, "args": list(it.args)}
            | ({"target_resolved": it.beside} if it.beside else {})
            for act, it in MEANINGS.items()
        ])  # fmt: skip
        return
    table = Table(("act", "what was done", "what is said of it"))
    for act, it in MEANINGS.items():
        texts = [f"{name}: {text}" for name, text in _texts_of(it) if text]
        table.add(act.value, it.summary, "; ".join([*texts, *([", ".join(it.args)] if it.args else [])]))
    table.show()


def _texts_of(it: Meaning) -> tuple[tuple[str, str], ...]:
    return ("path", it.path), ("target", it.target), ("target_resolved", it.beside)


@command.command("replay")
@click.argument("file")
@act_option
@click.option("--sandbox", metavar="ID", help="Only of this sandbox.")
@click.option("-n", "--first", type=click.IntRange(min=1), metavar="N", help="Only the first N of them.")
@format_option
def replay(*, file: str, wanted: frozenset[Act], sandbox: str | None, first: int | None, as_json: bool) -> int:
    """Show the events in FILE, one a line, oldest first; with -o json each line is a JSON object.

    The exit code is 1 if a part of the file can't be read: all before it is shown.
    """
    from cloche.events.replay import replay as opened  # noqa: PLC0415 - see acts

    with opened(file) as source:
        source.want(wanted)
        found = (event for event in _all(source) if sandbox is None or event.sandbox == sandbox)
        if not as_json:
            click.echo(click.style(event_rows.HEADINGS, dim=True))
        for event in islice(found, first):
            event_rows.show((event,), as_json=as_json)
        if source.lost():
            click.echo(f"cloche: {source.lost()} events are missing: they were lost when it was written", err=True)
        if source.trouble:
            click.echo(f"cloche: {one_line(file)}: {one_line(source.trouble)}", err=True)
        return 1 if source.trouble else 0


def _all(source: EventSource) -> Iterator[Event]:
    while batch := source.read():
        yield from batch
