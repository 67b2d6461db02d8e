"""``cloche snapshot``: saved sandboxes, listed, shown, checked and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cloche.commands.audit import moment
from cloche.commands.tables import Table, format_option, one_line, plain_text, show_json
from cloche.commands.words import size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloche.snapshots.snapshot import BoxSnapshot
    from cloche.snapshots.store import SnapshotStore

SHORT = 12


def _store() -> SnapshotStore:
    from cloche.config import Config  # noqa: PLC0415 - `cloche snapshot --help` needs none of it
    from cloche.snapshots.store import SnapshotStore  # noqa: PLC0415 - the same

    config = Config.load()
    return SnapshotStore(config.snapshot_folder, size=config.snapshot_size)


@click.group("snapshot")
def command() -> None:
    """Show and remove saved sandboxes: box.checkpoint() and templates make them, host.restore(ID) uses them.

    ID may be the beginning of one, or a label.
    """


@command.command("list")
@format_option
def listed(*, as_json: bool) -> None:
    """Show all of them, newest first."""
    store = _store()
    found = store.all()
    if as_json:
        show_json([one.as_json() for one in found])
        return
    if not found:
        click.echo(plain_text(f"no snapshots in {store.path}"))
        return
    table = Table(("id", "made", "size", "runtime", "isolation", "label"), fixed=5)
    for one in found:
        table.add(
            one.id[:SHORT],
            moment(one.created),
            size(one.size),
            *map(one_line, (one.runtime, one.shape.isolation, one.label)),
        )
    table.show()
    total = sum(one.size for one in found)
    click.echo(plain_text(f"{size(total)} of at most {size(store.size)} in {store.path}"))


@command.command("show")
@click.argument("which", metavar="ID")
@format_option
def show(*, which: str, as_json: bool) -> None:
    """Show what one of them was saved with, and so needs where it is restored."""
    found = _store().find(which)
    if as_json:
        show_json(found.as_json())
        return
    table = Table(("snapshot", found.id))
    for name, value in _rows(found):
        table.add(name, one_line(value))
    table.show()


@command.command("check")
@format_option
def check(*, as_json: bool) -> int:
    """Read every byte of all of them and say which can't be used. The exit code is 1 if there are any."""
    store = _store()
    broken = store.broken()
    if as_json:
        show_json(dict(broken))
    else:
        for why in broken.values():
            click.echo(plain_text(why))
        if not broken:
            click.echo(f"{len(store.all())} snapshots are as they were saved")
    return 1 if broken else 0


@command.command("rm")
@click.argument("which", nargs=-1, required=True, metavar="ID...")
def remove(*, which: Sequence[str]) -> None:
    """Remove these, and print their ids."""
    store = _store()
    for one in which:
        click.echo(store.remove(one))


@command.command("prune")
@click.option("--older", metavar="TIME", default="0s", help="Only those made longer ago: 36h, 900s.")
@click.option("--keep", metavar="N", type=click.IntRange(min=0), default=0, help="Not the newest N.")
@click.option("--all", "everything", is_flag=True, help="All of them; needed if neither of the others is given.")
@format_option
def prune(*, older: str, keep: int, everything: bool, as_json: bool) -> None:
    """Remove old ones, and say how much room that made."""
    from cloche import units  # noqa: PLC0415 - as above

    seconds = 0.0 if older == "0s" else units.duration(older, "--older", infinite=False)
    if not (seconds or keep or everything):
        raise click.UsageError("say which: --older TIME, --keep N, or --all")
    gone = _store().prune(older=seconds, keep=keep)
    if as_json:
        show_json([one.as_json() for one in gone])
        return
    click.echo(f"{len(gone)} snapshots removed, {size(sum(one.size for one in gone))}")


def _rows(found: BoxSnapshot) -> list[tuple[str, str]]:
    shape = found.shape
    places = [f"{mount.target} from {mount.source}" for mount in shape.mounts]
    if shape.workspace.source is not None:
        places.insert(0, f"{shape.workspace.target} from {shape.workspace.source}")
    return [
        ("label", found.label), ("made", moment(found.created)), ("runtime", found.runtime),
        *((f"needs {name}", value) for name, value in sorted(found.needs.items())),
        ("isolation", shape.isolation), ("network", shape.network.mode),
        ("work folder", f"{shape.workspace.kind} at {shape.workspace.target}"), ("user", str(shape.user)),
        *(("folder", place) for place in places), ("environment", ", ".join(sorted(shape.env))),
        *((f"file {file.name}", f"{file.size} bytes, sha256 {file.sha256}") for file in found.files),
    ]  # fmt: skip
