"""``cloche stats``: what sandboxes use, as a live table."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from cloche.commands import boxes, new_host, words
from cloche.commands.tables import FORMATS, Table, show_json
from cloche.errors import ClocheError
from cloche.spec import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloche.blocking import Host, Sandbox

FIRST: Final = 0.3
"""Seconds between the first two looks: processor time is a difference."""
SHOWN: Final = 0.05
"""Seconds of being held back from which on they are shown, with one decimal."""
HEADINGS: Final = ("sandbox", "state", "cpu", "memory", "pids", "disk", "read/written", "held back")


@dataclass(slots=True)
class Watched:
    """One sandbox that is watched: its figures now and at the look before."""

    label: str
    box: Sandbox | None
    trouble: str = ""
    now: Mapping[str, float] = field(default_factory=dict)
    at: float = 0.0
    share: float | None = None
    """Processors in use since the look before."""

    def look(self) -> None:
        """Take new figures. What goes wrong is kept, and shown in their place."""
        if self.box is None:
            return
        try:
            figures, at = self.box.stats(), time.monotonic()
        except ClocheError as error:
            self.trouble, self.now = str(error), {}
            return
        if "cpu" in figures and "cpu" in self.now and at > self.at:
            self.share = max(0.0, (figures["cpu"] - self.now["cpu"]) / (at - self.at))
        self.now, self.at, self.trouble = figures, at, ""

    @property
    def state(self) -> str:
        """Give the state in a word."""
        return "" if self.box is None else str(self.box.state)

    def row(self) -> tuple[str, ...]:
        """Give the cells of its row; what can't be told is empty, never 0."""
        if self.box is None or not self.now:
            return (self.label, self.state or "gone", "", self.trouble)
        limits, now = self.box.spec.limits, self.now
        return (
            self.label,
            self.state,
            "" if self.share is None else f"{self.share:.0%}",
            _of(now.get("memory"), limits.memory),
            _count(now.get("pids"), limits.pids),
            _of(now.get("disk_used"), now.get("disk_size")),
            _pair(now.get("io_read"), now.get("io_write")),
            f"{now['throttled_seconds']:.1f}s" if now.get("throttled_seconds", 0) >= SHOWN else "",
        )

    def plain(self) -> dict[str, Any]:
        """Give the figures as plain data."""
        return {
            "id": None if self.box is None else self.box.id, "name": None if self.box is None else self.box.name,
            "state": self.state or None, "error": self.trouble or None, "processors": self.share, **self.now,
        }  # fmt: skip


@click.command("stats")
@boxes.boxes_argument(required=False)
@click.option("--once", is_flag=True, help="Show the figures once and end; so it is without a terminal.")
@click.option(
    "--every", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between looks."
)
@click.option(
    "-o", "--output-format", type=click.Choice(FORMATS), default="table", show_default=True,
    help="A table to read, or JSON: one list with --once, else one line a look.",
)  # fmt: skip
def command(which: tuple[str, ...], *, once: bool, every: float, output_format: str) -> None:
    """Show what each BOX uses, or all sandboxes of this user, until Ctrl-C.

    "cpu" is of one processor: 200% are two. Memory, pids and disk are shown with their bounds. "held back" is for how
    long the bound on processor time made it wait.
    """
    as_json = output_format == "json"
    with new_host() as host:
        watched = [_watch(host, name) for name in which] if which else _all(host)
        _look(watched)
        time.sleep(min(FIRST, every))
        _look(watched)
        if as_json:
            _json(watched, once=once, every=every)
            return
        from rich.console import Console  # noqa: PLC0415 - 50 ms that `cloche stats --help` need not pay

        console = Console(highlight=False)
        if once or not console.is_terminal:
            _table(watched).show()
            return
        from rich.live import Live  # noqa: PLC0415 - the same

        with (
            Live(_table(watched).drawn(), console=console, auto_refresh=False) as live,
            contextlib.suppress(KeyboardInterrupt),  # the way to end it
        ):
            while True:
                time.sleep(every)
                if not which:
                    watched = _all(host, watched)
                _look(watched)
                live.update(_table(watched).drawn(), refresh=True)


def _watch(host: Host, which: str) -> Watched:
    box = boxes.find(host, which)
    return Watched(box.name or box.id, box)


def _all(host: Host, before: Sequence[Watched] = ()) -> list[Watched]:
    """Give those there are now, with what is known of them already."""
    known = {one.box.id: one for one in before if one.box is not None}
    out = []
    for record in host.list():
        if record.id in known:
            out.append(known[record.id])
        elif record.state is not State.STOPPED and not record.orphaned and not record.trouble:
            try:
                out.append(_watch(host, record.id))
            except ClocheError as error:
                out.append(Watched(record.name or record.id, None, str(error)))
    return [one for one in out if one.box is None or not one.box.deleted]


def _look(watched: Sequence[Watched]) -> None:
    for one in watched:
        one.look()


def _table(watched: Sequence[Watched]) -> Table:
    table = Table(HEADINGS, fixed=1)
    for one in watched:
        table.add(*one.row())
    return table


def _json(watched: Sequence[Watched], *, once: bool, every: float) -> None:
    if once:
        show_json([one.plain() for one in watched])
        return
    while True:
        click.echo(json.dumps([one.plain() for one in watched]))
        time.sleep(every)
        _look(watched)


def _of(value: float | None, bound: float | None) -> str:
    if value is None:
        return ""
    return _size(value) + (f"/{_size(bound)}" if bound else "")


def _count(value: float | None, bound: float | None) -> str:
    if value is None:
        return ""
    return words.number(value) + (f"/{words.number(bound)}" if bound else "")


def _pair(read: float | None, written: float | None) -> str:
    if read is None and written is None:
        return ""
    return f"{_size(read or 0)}/{_size(written or 0)}"


def _size(value: float) -> str:
    return words.size(int(value)).removesuffix(" bytes")
