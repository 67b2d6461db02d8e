"""``cloche pause``, ``resume``, ``kill`` and ``rm``: what is done with sandboxes as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cloche.commands import boxes, new_host
from cloche.commands.tables import plain_text
from cloche.errors import StateError

if TYPE_CHECKING:
    from cloche.blocking import Sandbox

DIGITS: Final = 4
"""More than the number of any signal has."""


@click.command("pause")
@boxes.boxes_argument(required=True)
def pause(which: tuple[str, ...]) -> int:
    """Stop every process of each BOX until `cloche resume`. Clocks of time-outs go on."""
    with new_host() as host:
        return boxes.each(host, which, lambda box: box.pause(), said="paused")


@click.command("resume")
@boxes.boxes_argument(required=True)
def resume(which: tuple[str, ...]) -> int:
    """Continue each paused BOX."""
    with new_host() as host:
        return boxes.each(host, which, lambda box: box.resume(), said="running")


@click.command("kill")
@boxes.boxes_argument(required=True)
@click.option("-s", "--signal", "name", metavar="SIG", help="Send this signal to its jobs instead, e.g. TERM, INT, 10.")
def kill(which: tuple[str, ...], *, name: str | None) -> int:
    """End every process of each BOX, for good: it can then only be looked into and deleted.

    With -s its jobs get that signal instead, and the sandbox goes on.
    """
    from cloche.units import signal_number  # noqa: PLC0415 - `cloche kill --help` needs none of it

    value = None if name is None else signal_number(int(name) if name.isdecimal() and len(name) < DIGITS else name)

    def act(box: Sandbox) -> None:
        if value is None:
            box.kill()
            return
        running = [job for job in box.jobs() if job.running]
        if not running:
            raise StateError("no job runs in it, so there is nothing to signal")
        for job in running:
            job.signal(value)

    with new_host() as host:
        return boxes.each(host, which, act, said="killed" if name is None else f"signal {name} sent")


@click.command("rm")
@boxes.boxes_argument(required=False)
@click.option("-f", "--force", is_flag=True, help="Also those in which a job still runs.")
@click.option("--all", "everything", is_flag=True, help="All that `cloche create` made.")
@click.option("--orphans", is_flag=True, help="What killed hosts left behind.")
def rm(which: tuple[str, ...], *, force: bool, everything: bool, orphans: bool) -> int:
    """Delete each BOX with everything it holds. One in which a job runs is left alone, unless by -f.

    --all takes those that `cloche create` made. A sandbox of a program of yours that runs must be named.
    """
    if not which and not everything and not orphans:
        raise click.UsageError("name sandboxes, or give --all or --orphans")
    if which and everything:
        raise click.UsageError("name sandboxes or give --all, not both")

    def act(box: Sandbox) -> None:
        if not force and any(job.running for job in box.jobs()):
            raise StateError("a job still runs in it; end that first, or delete both with -f")
        box.delete()

    with new_host() as host:
        code = 0
        if everything:
            # Those of other programs are theirs: deleting them under their hands would break what these do.
            which = tuple(one.id for one in host.list() if one.kept and not one.orphaned and not one.trouble)
        if orphans:
            for line in host.sweep():
                click.echo(plain_text(f"removed: {line}"))
        return boxes.each(host, which, act, said="deleted") or code
