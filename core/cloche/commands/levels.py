"""``cloche levels``: the isolation levels side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cloche.commands import new_host, words
from cloche.commands.tables import Table, format_option, show_json
from cloche.rules.severity import THRESHOLDS

if TYPE_CHECKING:
    from cloche.level import IsolationLevel


@click.command("levels")
@format_option
def command(*, as_json: bool) -> None:
    """Show the isolation levels and what they ask for.

    Limits are a level's defaults; `cloche run` can set each of them. Rules judge only where they are asked for.
    """
    host = new_host()
    levels = list(host.levels.values())
    if as_json:
        show_json([_plain(level, default=level.name == host.config.default_isolation) for level in levels])
        return
    table = Table(("", *(level.name for level in levels)))
    for title, give in _ROWS:
        table.add(title, *(give(level) for level in levels))
    table.show()
    if host.config.default_isolation in host.levels:
        click.echo(f"{host.config.default_isolation} is used unless another is asked for.")


_ROWS = (
    ("for", lambda level: level.summary),
    ("must keep", lambda level: ", ".join(words.features(level.guarantees))),
    ("network", lambda level: _choices(level.network.mode, level.networks)),
    ("work folder", lambda level: _choices("tmpfs", level.workspaces)),
    ("memory", lambda level: words.size(level.limits.memory)),
    ("processors", lambda level: words.number(level.limits.cpu)),
    ("processes", lambda level: words.number(level.limits.pids)),
    ("open files", lambda level: words.number(level.limits.open_files)),
    ("largest file", lambda level: words.size(level.limits.file_size)),
    ("output", lambda level: words.size(level.limits.output)),
    ("time per run", lambda level: words.seconds(level.limits.wall)),
    ("rules refuse", lambda level: words.threshold(level.auto_block)),
    ("rules suspend", lambda level: words.threshold(level.auto_suspend)),
    ("rules terminate", lambda level: words.threshold(level.auto_terminate)),
)


def _choices(default: str, allowed: frozenset[str]) -> str:
    others = sorted(allowed - {default})
    return f"{default}; or {', '.join(others)}" if others else default


def _plain(level: IsolationLevel, *, default: bool) -> dict[str, object]:
    return {
        "name": level.name,
        "default": default,
        "summary": level.summary,
        "guarantees": words.features(level.guarantees),
        "network": level.network.mode,
        "networks": sorted(level.networks),
        "workspaces": sorted(level.workspaces),
        "limits": asdict(level.limits),
        "syscalls": level.syscalls,
        "minimal_proc": level.minimal_proc,
        "path_rules": level.path_rules,
        "prefer": level.prefer,
        **{name: str(getattr(level, name)) for name in THRESHOLDS},
    }
