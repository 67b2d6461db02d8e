"""One event as one line for people, or as one line of JSON for programs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

import click

from cloche.events.acts import Act
from cloche.events.event import outcome, printable

if TYPE_CHECKING:
    from collections.abc import Collection

    from cloche.events.event import Event

HEADINGS: Final = f"{'time':15}  {'sandbox':12}  {'pid':>7}  {'act':10}  what, and what came of it"
_COLOURS: Final = {
    "exec": "cyan", "begun": "cyan", "ended": "cyan", "fork": "cyan", "exit": "cyan", "connect": "magenta",
    "bind": "magenta", "send": "magenta", "socket": "magenta", "lost": "red", "signal": "yellow", "setid": "yellow",
    "mount": "yellow", "namespace": "yellow", "chroot": "yellow", "kernel": "yellow", "module": "yellow",
    "unlink": "blue", "rename": "blue", "create": "blue", "write-open": "blue", "symlink": "blue", "link": "blue",
}  # fmt: skip
"""What is worth a colour on a terminal; the word alone says it too."""


def line(event: Event) -> str:
    """Give ``event`` in one line: time, sandbox, process, act, paths, result. Nothing in it steers a terminal.

    Colours are for ``click.echo``, which leaves them out where there is no terminal.
    """
    seconds, rest = divmod(event.time_ns + event.origin.clock, 1_000_000_000)
    act = click.style(f"{event.act.value:10}", fg=_COLOURS.get(event.act.value))
    result = outcome(event)
    words = [
        f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{rest // 1000:06}",
        f"{printable(event.sandbox, 12):12}",
        f"{event.pid or '-':>7}",
        act,
        *_texts(event),
    ]
    if result:
        words.append(click.style(f"= {result}", fg="red" if event.denied else "yellow" if result[:1] == "-" else None))
    return "  ".join(words)


def json_line(event: Event) -> str:
    """Give ``event`` as one line of JSON (``Event.as_json``)."""
    return json.dumps(event.as_json(), separators=(",", ":"))


def show(events: Collection[Event], *, as_json: bool, stderr: bool = False) -> None:
    """Print each event in a line of its own, at once."""
    if events:
        click.echo("\n".join(json_line(event) if as_json else line(event) for event in events), err=stderr)


def _texts(event: Event) -> list[str]:
    found: list[str] = []
    second = (event.target, None if event.act is Act.EXEC else event.target_resolved)
    for asked, where in ((event.path, event.resolved), second):
        text = asked or where
        if text is not None:
            led = f" ({printable(where)})" if where is not None and where != text else ""
            found.append(printable(text) + led)
    return [" -> ".join(found)] if found else []
