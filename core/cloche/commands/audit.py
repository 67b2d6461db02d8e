"""``cloche audit``: the log of incidents that shows what was changed in it."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import TYPE_CHECKING

import click

from cloche.commands.tables import Table, format_option, one_line, plain_text, show_json
from cloche.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloche.incidents.audit import AuditLog
    from cloche.incidents.audit_line import Entry

SUMMARY_MAX = 200


def folder_argument(function: click.decorators.FC) -> click.decorators.FC:
    """Add the argument ``FOLDER``."""
    return click.argument("folder", required=False, metavar="[FOLDER]")(function)


def opened(folder: str | None) -> AuditLog:
    """Open the log in a folder that is there, the configured one if none is named. Raises ``ClocheError``."""
    from cloche.incidents.audit import AuditLog  # noqa: PLC0415 - `cloche audit --help` needs none of it

    return AuditLog(folder or configured(), make=False)


def configured() -> str:
    """Give the folder of ``[audit]`` in the configuration. Raises ``SpecError`` saying how to set it."""
    from cloche.config import Config  # noqa: PLC0415 - as above

    settings = Config.load().audit
    if settings is None:
        raise SpecError('no audit log is configured: name its FOLDER, or set [audit] folder = "..." in cloche.toml')
    return settings.folder


def since(_context: click.Context, _option: click.Parameter, value: str | None) -> float:
    """Give the moment in seconds since the epoch: a time of day or a date, or how long ago."""
    from cloche import units  # noqa: PLC0415 - as above

    if value is None:
        return 0.0
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"):
        try:
            return time.mktime(time.strptime(value, form))
        except (ValueError, OverflowError):
            continue
    try:
        return time.time() - units.duration(value, "--since", infinite=False)
    except SpecError:
        raise click.BadParameter("give a date 2026-11-22, 2026-11-22T09:30, or how long ago: 15m, 2h") from None


since_option = click.option("--since", "begin", callback=since, metavar="WHEN", help="Not before: 2026-11-22, 15m, 2h.")


@click.group("audit")
def command() -> None:
    """Check the audit log, or show what is in it.

    FOLDER is that of [audit] in cloche.toml unless it is named.
    """


@command.command("verify")
@folder_argument
@click.option("--holds", metavar="HASH", help="A hash noted earlier: the line that has it must still be there.")
@format_option
def verify(*, folder: str | None, holds: str | None, as_json: bool) -> int:
    """Walk the whole log and say whether every line is there as it was written.

    The exit code is 1 if not: the first line of the table is then the first place where it was changed. Note the hash
    that is shown somewhere else: a log that somebody wrote anew from its beginning is found by --holds HASH.
    """
    with opened(folder) as log:
        result = log.verify(holds=holds)
    if as_json:
        places = {
            name: [{"file": one.file, "line": one.line, "what": one.what} for one in found]
            for name, found in (("broken", result.broken), ("notes", result.notes))
        }
        show_json({"ok": result.ok, "files": result.files, "lines": result.lines, "hash": result.hash, **places})
        return 0 if result.ok else 1
    if result.broken or result.notes:
        table = Table(("", "file", "line", "what"), fixed=3)
        for word, found in (("broken", result.broken), ("note", result.notes)):
            for one in found:
                table.add(word, one_line(one.file), str(one.line or ""), one.what)
        table.show()
    said = f"{result.lines} lines in {result.files} files of {log.path}"
    if result.ok:
        click.echo(plain_text(f"whole: {said}; up to {result.hash}"))
    else:
        click.echo(plain_text(f"CHANGED: {said}; first at {result.broken[0]}"))
    return 0 if result.ok else 1


@command.command("show")
@folder_argument
@click.option("-n", "last", type=click.IntRange(min=1), metavar="N", help="Only the last N.")
@since_option
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only these: incident, file, torn, failed ...")
@format_option
def show(*, folder: str | None, last: int | None, begin: float, kinds: tuple[str, ...], as_json: bool) -> None:
    """Show what is in the log, oldest first; with -o json each line is a JSON object.

    What is not as it was written is shown as `damaged`; `cloche audit verify` says whether anything is missing.
    """
    with opened(folder) as log:
        found = (entry for entry in log.entries() if entry.kind == "damaged" or entry.time >= begin)
        chosen: Iterator[Entry] = (entry for entry in found if not kinds or entry.kind in kinds)
        chosen = iter(deque(chosen, last)) if last is not None else chosen
        if as_json:
            for entry in chosen:
                click.echo(json.dumps(entry.as_json(), separators=(",", ":")))
            return
        table = Table(("line", "time", "kind", "what"), fixed=3)
        for entry in chosen:
            table.add(
                str(entry.seq or ""), moment(entry.time) if entry.time else "", one_line(entry.kind), summary(entry)
            )
        table.show()


def moment(seconds: float) -> str:
    """Give a time as people here write it."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # whoever wrote it wrote any number
        return "?"


def summary(entry: Entry) -> str:
    """Give what an entry says, in one line."""
    body = entry.body
    if entry.kind == "incident":
        severity, rule, message = (
            one_line(str(body.get(name, "?")), most=400) for name in ("severity", "rule", "message")
        )
        return f"{severity} {rule}: {message}"
    return one_line(", ".join(f"{name} {value}" for name, value in body.items()), most=SUMMARY_MAX)
