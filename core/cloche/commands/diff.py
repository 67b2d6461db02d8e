"""``cloche diff``: what changed in a folder of a sandbox since an earlier look."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cloche.commands import boxes
from cloche.commands.tables import format_option, show_json
from cloche.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloche.files.tree import Seen, Snapshot, TreeDiff

A_FILE: Final = click.Path(dir_okay=False, path_type=Path)
CHANGES: Final = 1


@click.command("diff")
@boxes.box_argument
@click.argument("path", default=".")
@click.option(
    "--save", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Look, and keep that there."
)
@click.option(
    "--since", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Compare with what was kept there."
)
@click.option(
    "--content", is_flag=True, help="With --save: read every file, so that nothing is only told by its times."
)
@format_option
def command(which: str, path: str, *, save: Path | None, since: Path | None, content: bool, as_json: bool) -> int:
    """Show what changed in PATH of BOX, the work folder unless said, since an earlier look.

    \b
    cloche diff web --save before
    cloche exec web -- make
    cloche diff web --since before

    A line for each name: A added, D removed, M changed, T of another kind now, R moved. With both options the new look
    is kept after it was compared. Exit code 0: nothing changed, 1: something did, 125: cloche failed.
    """  # noqa: D301 - \b keeps click from filling the lines
    if save is None and since is None:
        raise click.UsageError("give --save FILE for a first look, then --since FILE to see what changed")
    if since is not None and path != ".":
        raise click.UsageError("--since compares the folder that was looked at; leave out PATH")
    from cloche.files import saved  # noqa: PLC0415 - `cloche diff --help` needs none of it
    from cloche.files.tree import diff  # noqa: PLC0415 - the same

    before = None if since is None else saved.load(_read(since, saved.MOST), str(since))
    with boxes.attached(which) as box:
        if before is None:
            now = box.files.snapshot(path, content=content)
        else:
            now = box.files.snapshot(before.path, content=content or before.content)
    changes = None if before is None else diff(before, now)
    if save is not None:
        _keep(save, now)
    if changes is None:
        return 0
    if as_json:
        show_json(_plain(changes))
    elif changes:
        click.echo(str(changes))
    return CHANGES if changes else 0


def _read(file: Path, most: int) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(most + 1)
    except OSError as error:
        raise FileError(f"--since {file}: {error.strerror}; keep a look there first, with --save") from None


def _keep(file: Path, snapshot: Snapshot) -> None:
    from cloche.files import saved  # noqa: PLC0415 - as above

    try:
        file.write_bytes(saved.dump(snapshot))
    except OSError as error:
        raise FileError(f"--save {file}: {error.strerror}; choose a file that can be written") from None


def _plain(changes: TreeDiff) -> dict[str, Any]:
    return {
        "added": _names(changes.added),
        "removed": _names(changes.removed),
        "changed": {_shown(one.path): list(one.what) for one in changes.changed},
        "moved": {_shown(one.source): _shown(one.path) for one in changes.moved},
    }


def _names(found: Mapping[str, Seen]) -> dict[str, Any]:
    return {_shown(name): asdict(seen.stat) for name, seen in found.items()}


def _shown(name: str) -> str:
    """Give a name as JSON text can hold it: bytes that are no UTF-8 as their escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
