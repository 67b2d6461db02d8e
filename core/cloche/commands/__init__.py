"""The sub-commands of ``cloche``: one module each, named as the command, with the click command in ``command``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cloche.blocking import Host

COMMANDS: Final = {
    "run": "Run a program in a sandbox of its own.",
    "runtimes": "Show the ways to isolate, and what each keeps on this machine.",
    "levels": "Show the isolation levels and what they ask for.",
    "plugins": "Show the plugins that were found and what each brings.",
    "doctor": "Show what works on this machine, what does not, and the fix.",
    "install": "Show or run the steps that install what a runtime needs.",
}
"""Name and one-line help of each."""


def with_plugins() -> bool:
    """Whether installed plugins are loaded: not with ``CLOCHE_NO_PLUGINS`` set, which shows the core by itself."""
    return not os.environ.get("CLOCHE_NO_PLUGINS")


def new_host() -> Host:
    """Give a host with the usual configuration, not entered yet."""
    from cloche.blocking import Host  # noqa: PLC0415 - the list of commands does without

    return Host(entry_points=with_plugins())
