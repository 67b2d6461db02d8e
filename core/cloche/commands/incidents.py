"""``cloche incidents``: what rules found, from the living sandboxes and from the audit log."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from cloche.commands import incidents_found, incidents_tree
from cloche.commands.audit import since_option
from cloche.commands.tables import format_option, show_json
from cloche.errors import NotFound
from cloche.rules.severity import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

PAUSE = 0.5
"""Seconds between two looks with -f."""


class Incidents(click.Group):
    """Its sub-commands, and without one of these the incidents of all sandboxes, or of one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take nothing at all for ``list``."""
        return super().parse_args(ctx, args or ["list"])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Give the sub-command of that name, and ``list`` for what is none."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "list", listed, args


@click.group(
    "incidents", cls=Incidents, subcommand_metavar="[-f] [BOX] | COMMAND ...",
    context_settings={"ignore_unknown_options": True},
)  # fmt: skip
def command() -> None:
    """Show what rules found, and what was done about it.

    \b
    cloche incidents                    those of all sandboxes and of the audit log
    cloche incidents -f --severity high each grave one as it comes
    cloche incidents BOX                those of one sandbox, by its name or id
    cloche incidents show ID            the evidence of one
    cloche incidents list --help        more on these
    """  # noqa: D301 - \b keeps click from filling the lines


@command.command("list")
@click.argument("which", required=False, metavar="[BOX]")
@click.option("-f", "--follow", is_flag=True, help="Then show each as it comes, until Ctrl-C.")
@click.option(
    "--severity", type=click.Choice([str(one) for one in Severity]), default="info", show_default=True,
    help="At least so grave.",
)  # fmt: skip
@since_option
@click.option("--folder", metavar="FOLDER", help="The audit log there instead of the configured one.")
@format_option
def listed(*, which: str | None, follow: bool, severity: str, begin: float, folder: str | None, as_json: bool) -> None:
    """Show the incidents, oldest first, in a line each; with -o json each line is a JSON object.

    They come from the sandboxes that are alive, and from the audit log where one is configured.
    """
    looking = incidents_found.Looking(which, Severity.of(severity), begin, folder)
    found = looking.look()
    if not found and not follow and not as_json:
        click.echo(
            "no incidents" if looking.log else "no incidents; of sandboxes that are gone only an audit log tells"
        )
        return
    if not as_json:
        click.echo(click.style(incidents_tree.HEADINGS, dim=True))
    _show(found, as_json=as_json)
    while follow:
        time.sleep(PAUSE)
        _show(looking.look(), as_json=as_json)


def _show(found: list[Mapping[str, Any]], *, as_json: bool) -> None:
    for one in found:
        click.echo(json.dumps(one, separators=(",", ":")) if as_json else incidents_tree.line(one))


@command.command("show")
@click.argument("which", metavar="ID")
@click.option("--folder", metavar="FOLDER", help="The audit log there instead of the configured one.")
@format_option
def show(*, which: str, folder: str | None, as_json: bool) -> None:
    """Show the evidence of one incident: the act, who did it, what came before, what was done about it.

    ID may be the beginning of one.
    """
    found = incidents_found.Looking(None, Severity.INFO, 0.0, folder).look()
    chosen = [one for one in found if str(one.get("id")).startswith(which)]
    exact = [one for one in chosen if one.get("id") == which]
    if len(exact or chosen) != 1:
        said = f"{len(chosen)} incidents begin with" if chosen else "there is no incident"
        raise NotFound(f"{said} {which!r}; `cloche incidents` shows those there are")
    (one,) = exact or chosen
    if as_json:
        show_json(one)
        return
    incidents_tree.show(one)
