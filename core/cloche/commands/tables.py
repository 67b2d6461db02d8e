"""Tables for people, JSON for programs."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from cloche.commands import words
from cloche.units import one_line as one_line  # noqa: PLC0414 - the other commands take these from here
from cloche.units import plain_text as plain_text  # noqa: PLC0414

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table as RichTable

    from cloche.enforcement import Enforcement

FORMATS: Final = ("table", "json")
STYLES: Final = {
    "yes": "green", "ok": "green", "loaded": "green", "partly": "yellow", "no": "red", "failed": "red",
    "blocked": "yellow", "note": "dim",
}  # fmt: skip
"""Colours of the words that tell a state; the word alone says it too."""


@dataclass(slots=True)
class Table:
    """Rows of text under headings. The last columns wrap at words; the first ``fixed`` ones never do."""

    headings: tuple[str, ...]
    title: str = ""
    fixed: int = 1
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row; missing cells at its end are empty."""
        self.rows.append((*cells, *("",) * (len(self.headings) - len(cells))))

    def show(self, *, stderr: bool = False) -> None:
        """Print it as wide as the terminal, or 80 columns without one."""
        # Only here: rich takes longer to import than everything else of a short command.
        from rich.console import Console  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        console = Console(stderr=stderr, highlight=False)
        if self.title:
            console.print(Text(self.title, style="bold"))
        console.print(self.drawn())

    def drawn(self) -> RichTable:
        """Give it as rich prints it."""
        from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - see show
        from rich.table import Table as Drawn  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        drawn = Drawn(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, header_style="dim")
        for index, heading in enumerate(self.headings):
            drawn.add_column(heading, no_wrap=index < self.fixed, overflow="fold")
        for row in self.rows:
            drawn.add_row(*(Text(plain_text(cell), style=STYLES.get(cell.strip(), "")) for cell in row))
        return drawn


def report(enforcement: Enforcement, title: str) -> Table:
    """Give the table of what is kept, and how."""
    table = Table(("feature", "kept", "how"), title, fixed=2)
    for name in words.features(enforcement):
        table.add(name, *words.kept(enforcement[name]))
    return table


def format_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-o``: the parameter ``as_json`` of a command."""
    return click.option(
        "-o", "--output-format", "as_json", type=click.Choice(FORMATS), default="table", show_default=True,
        callback=lambda _context, _option, value: value == "json", help="A table to read, or JSON.",
    )(function)  # fmt: skip


def show_json(value: object) -> None:
    """Print plain data as JSON."""
    click.echo(json_text(value))


def json_text(value: object) -> str:
    """Give plain data as JSON, as it is printed."""
    return json.dumps(value, indent=2)


def stream(data: bytes) -> dict[str, str]:
    """Give text as it is, anything else in base64."""
    try:
        return {"encoding": "utf-8", "data": data.decode()}
    except UnicodeDecodeError:
        return {"encoding": "base64", "data": base64.b64encode(data).decode()}
