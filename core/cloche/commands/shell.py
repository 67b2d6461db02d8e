"""``cloche shell``: a shell in a sandbox that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from cloche.commands import attached, boxes
from cloche.commands.exec import run
from cloche.errors import NotFound

if TYPE_CHECKING:
    from cloche.blocking import Sandbox

SHELLS: Final = ("bash", "zsh", "ash", "sh")
"""Tried in this order: those that are pleasant to type in first."""


@click.command("shell")
@boxes.box_argument
@click.option("-w", "--cwd", metavar="DIR", help="Folder in the sandbox to start in.")
def command(which: str, *, cwd: str | None) -> int:
    """Open a shell in the sandbox BOX: the best of bash, zsh, ash and sh that it has.

    Without a terminal here, the shell reads its commands from standard input. The exit code is the shell's.
    """
    tty = attached.stdin_is_terminal()
    with boxes.attached(which) as box:
        chosen: dict[str, object] = {
            "tty": tty, "interactive": True, "cwd": cwd, "timeout": None, "env": {}, "output_format": "stream",
            "quiet": False,
        }  # fmt: skip
        return run(box, (_shell(box),), chosen)


def _shell(box: Sandbox) -> str:
    for name in SHELLS:
        if box.exec(name, "-c", "exit 0", timeout=10).ok:
            return name
    raise NotFound(
        f"sandbox {box.name or box.id} has no shell ({', '.join(SHELLS)}); run its programs by `cloche exec`"
    )
