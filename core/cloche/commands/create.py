"""``cloche create``: a sandbox that stays when this command has ended."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

import click

from cloche.commands import new_host, options
from cloche.commands.run import announce
from cloche.commands.tables import format_option, show_json

if TYPE_CHECKING:
    from cloche.blocking import Sandbox

PROGRAM: Final = "program"
"""The key of ``metadata`` that says, for people, what a sandbox was made to run."""
SHOWN_MAX: Final = 200


@click.command("create", context_settings={"allow_interspersed_args": False})
@click.argument("args", nargs=-1, metavar="[--] [PROGRAM [ARGS]...]")
@options.policy
@options.pool
@click.option("--lifetime", metavar="TIME", help="End the sandbox after so long, whatever runs.")
@click.option("--idle-timeout", metavar="TIME", help="End it when no program has run in it for so long.")
@click.option("-w", "--cwd", metavar="DIR", help="Folder in the sandbox for PROGRAM to start in.")
@format_option
def command(args: tuple[str, ...], *, as_json: bool, **chosen: Any) -> None:  # noqa: ANN401 - declared above
    """Make a sandbox that stays, and print its id. With PROGRAM, start that in it as a job.

    \b
    cloche create --name web --profile agent-shell -- python3 -m http.server
    cloche logs -f web
    cloche exec -it web -- bash
    cloche rm -f web

    A sandbox of that name that is there already, with the same policy, is taken as it is; PROGRAM is then not started
    again. A background process of yours holds the sandbox until `cloche rm` or the end of its lifetime.
    """  # noqa: D301 - \b keeps click from filling the lines
    metadata = {PROGRAM: shlex.join(args)[:SHOWN_MAX]} if args else {}
    with new_host() as host:
        box = host.keep(
            **options.keywords(chosen), lifetime=chosen["lifetime"], idle_timeout=chosen["idle_timeout"],
            metadata=metadata, pool=chosen["pool"],
        )  # fmt: skip
        with box:
            announce(box)
            job = _start(box, args, chosen["cwd"])
            if as_json:
                show_json({"id": box.id, "name": box.name, "runtime": box.runtime, "job": job})
            else:
                click.echo(box.id)


def _start(box: Sandbox, args: tuple[str, ...], cwd: str | None) -> str | None:
    """Start the program as a job of the box, once; a box that could not start it goes again."""
    if not args:
        return None
    if held := box.jobs():
        return held[0].id
    try:
        return box.spawn(*args, cwd=cwd, detach=True, linger=False).id
    except BaseException:
        box.delete()
        raise
