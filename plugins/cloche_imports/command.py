"""``cloche rules import``: rules of other tools, written as files of rules, and what could not be said."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cloche import Rule, SpecError, rules_text
from cloche_imports.report import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloche_imports.report import Report

FILE_MAX: Final = 1 << 20
FILES_MAX: Final = 20_000
CHUNK: Final = 1000
"""Rules in one file that is written."""


@click.group("rules.import")
def command() -> None:
    """Make rules of cloche of those of other tools.

    What can't be said is left out, and told of by rule: it then finds more, or less, than the one it was made of. A
    rule of which too little would be left is not made.
    """


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    out = click.option(
        "-o", "--out", metavar="DIR", help="Write the rules into files there; `cloche rules check` reads them."
    )
    plain = click.option("--json", "as_json", is_flag=True, help="Tell what became of each rule as JSON.")
    quiet = click.option("-q", "--quiet", is_flag=True, help="Only the last line.")
    return out(plain(quiet(function)))


@command.command("falco")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_options
def falco(*, files: Sequence[str], out: str | None, as_json: bool, quiet: bool) -> int:
    """Import Falco's FILEs of rules, in the order in which Falco loads them.

    The exit code is 0 if a rule was made, else 1.
    """
    from cloche_imports.falco import import_falco  # noqa: PLC0415 - `--help` needs none of it

    return _told(
        "falco", import_falco([(file, _read(Path(file))) for file in files]), out, as_json=as_json, quiet=quiet
    )


@command.command("sigma")
@click.argument("places", nargs=-1, required=True, metavar="DIR|FILE...")
@_options
def sigma(*, places: Sequence[str], out: str | None, as_json: bool, quiet: bool) -> int:
    """Import Sigma's rules for Linux from FILEs, or all *.yml below DIR.

    It needs pySigma: pip install 'cloche[sigma]'. The exit code is 0 if a rule was made, else 1.
    """
    from cloche_imports.sigma import import_sigma  # noqa: PLC0415 - `--help` needs none of it

    texts = ((str(path), _read(path)) for path in _below(places))
    return _told("sigma", import_sigma(texts), out, as_json=as_json, quiet=quiet)


# -- inside -------------------------------------------------------------------------------------------------------


def _told(name: str, report: Report, out: str | None, *, as_json: bool, quiet: bool) -> int:
    written = [] if out is None else _write(Path(out), name, report.rules)
    if as_json:
        rows = [
            {"name": one.name, "state": one.state, "rules": [rule.id for rule in one.rules], "notes": list(one.notes)}
            for one in report.imported
        ]
        plain = {"rules": rows, "troubles": report.troubles, "written": written, "summary": report.summary()}
        click.echo(json.dumps(plain, indent=2))
        return 0 if report.rules else 1
    for trouble in report.troubles:
        click.echo(one_line(trouble, most=400), err=True)
    for one in report.imported if not quiet else ():
        made = ", ".join(rule.id for rule in one.rules)
        click.echo(f"{one.state:<6}  {one_line(one.name)}{f' -> {made}' if made else ''}")
        for note in one.notes:
            click.echo(f"        {one_line(note, most=400)}")
    for path in written:
        click.echo(f"written: {one_line(path, most=4096)}")
    click.echo(report.summary())
    return 0 if report.rules else 1


def _write(folder: Path, name: str, rules: Sequence[Rule]) -> list[str]:
    """Write rules into files that must not be there yet. Raises ``SpecError``."""
    written: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, start in enumerate(range(0, len(rules), CHUNK), 1):
            path = folder / (f"{name}.yaml" if number == 1 else f"{name}-{number}.yaml")
            with path.open("x", encoding="utf-8") as file:
                file.write(rules_text(rules[start : start + CHUNK]))
            written.append(str(path))
    except OSError as error:
        raise SpecError(f"{folder}: can't write the rules here: {error}") from None
    return written


def _below(places: Iterable[str]) -> Iterator[Path]:
    count = 0
    for place in places:
        path = Path(place)
        found = sorted([*path.rglob("*.yml"), *path.rglob("*.yaml")]) if path.is_dir() else [path]
        for one in found:
            count += 1
            if count > FILES_MAX:
                raise SpecError(f"{place}: more than {FILES_MAX} files")
            yield one


def _read(path: Path) -> str:
    """Give the text of a file that a person named. Raises ``SpecError`` for one that is no file, too long, no text."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SpecError(f"{path}: it is not a regular file")
            raw = file.read(FILE_MAX + 1)
        if len(raw) > FILE_MAX:
            raise SpecError(f"{path}: longer than {FILE_MAX} bytes")
        return raw.decode()
    except (OSError, ValueError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{path}: can't read this file: {error}") from None
