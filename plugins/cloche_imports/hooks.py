"""The hook of this plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cloche

if TYPE_CHECKING:
    import click

__all__ = ["cloche_commands"]


@cloche.hookimpl
def cloche_commands() -> list[click.Command]:
    """Give ``cloche rules import``."""
    from cloche_imports.command import command  # noqa: PLC0415 - only a command line needs it

    return [command]
