"""Finding the sandboxes that commands are about."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from cloche.commands import new_host
from cloche.commands.tables import plain_text
from cloche.errors import ClocheError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cloche.blocking import Host, Sandbox


def names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Give the names, or ids, of sandboxes that begin so, for the completion of a shell."""
    with contextlib.suppress(ClocheError), new_host() as host:
        return [told for box in host.list() if (told := box.name or box.id).startswith(incomplete)]
    return []


def box_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument ``BOX``: a name, an id or the beginning of one."""
    return click.argument("which", metavar="BOX", shell_complete=names)(function)


def boxes_argument(*, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the argument ``BOX...``."""
    shown = "BOX..." if required else "[BOX]..."
    return click.argument("which", nargs=-1, required=required, metavar=shown, shell_complete=names)


@contextlib.contextmanager
def attached(which: str) -> Iterator[Sandbox]:
    """Give the sandbox of that name or id, attached to until the block ends. Raises ``NotFound``."""
    with new_host() as host, find(host, which) as box:
        yield box


def find(host: Host, which: str) -> Sandbox:
    """Give the sandbox of that name or id. Raises ``NotFound`` saying how to see what there is."""
    try:
        return host.attach(which)
    except NotFound:
        raise NotFound(f"there is no sandbox {which!r}; `cloche ps -a` shows those there are") from None


def each(host: Host, which: Sequence[str], act: Callable[[Sandbox], object], *, said: str) -> int:
    """Do something with each sandbox, whatever happens with the others; say which it was done with.

    Gives the exit code: 125 if it went wrong with any.
    """
    code = 0
    for one in which:
        try:
            with find(host, one) as box:
                act(box)
            click.echo(plain_text(f"{one}: {said}"))
        except ClocheError as error:
            click.echo(plain_text(f"cloche: {one}: {error}"), err=True)
            code = 125
    return code
