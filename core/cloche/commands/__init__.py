"""The sub-commands of ``cloche``: one module each, named as the command, with the click command in ``command``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cloche.blocking import Host

COMMANDS: Final = {
    "run": "Run a program in a sandbox of its own.",
    "create": "Make a sandbox that stays, and start a program in it.",
    "ps": "List the sandboxes of this user.",
    "exec": "Run a program in a sandbox that is there.",
    "shell": "Open a shell in a sandbox.",
    "logs": "Show what a program in a sandbox has printed.",
    "cp": "Copy files and folders into a sandbox or out of it.",
    "diff": "Show what changed in a folder of a sandbox.",
    "inspect": "Show all about a sandbox.",
    "events": "Show what guests did.",
    "rules": "Show, test and import behaviour rules.",
    "incidents": "Show what rules found, and what was done about it.",
    "audit": "Check the audit log, or show what is in it.",
    "top": "Show all sandboxes live: what they use, do, and what rules found.",
    "stats": "Show what sandboxes use, live.",
    "pool": "Show the sandboxes that are started before anybody asks.",
    "pause": "Stop every process of sandboxes for a while.",
    "resume": "Continue paused sandboxes.",
    "kill": "End what runs in sandboxes, or send it a signal.",
    "rm": "Delete sandboxes.",
    "snapshot": "Show and remove saved sandboxes.",
    "runtimes": "Show the ways to isolate, and what each keeps on this machine.",
    "levels": "Show the isolation levels and what they ask for.",
    "learn": "Run a program, and write the narrowest profile for it.",
    "profiles": "Show whole policies by name, and how open each is here.",
    "json": "Show what changed between JSON documents, and apply patches to them.",
    "plugins": "Show the plugins that were found and what each brings.",
    "doctor": "Show what works on this machine, what does not, and the fix.",
    "install": "Show or run the steps that install what a runtime needs.",
}
"""Name and one-line help of each."""
MODULES: Final = {"pause": "verbs", "resume": "verbs", "kill": "verbs", "rm": "verbs"}
"""Where commands live that share a module; there each is a function of its own name."""


def with_plugins() -> bool:
    """Whether installed plugins are loaded: not with ``CLOCHE_NO_PLUGINS`` set, which shows the core by itself."""
    return not os.environ.get("CLOCHE_NO_PLUGINS")


def new_host() -> Host:
    """Give a host with the usual configuration, not entered yet."""
    from cloche.blocking import Host  # noqa: PLC0415 - the list of commands does without

    # No box is worth starting for a host that ends with its command; the keeper's pool is another.
    return Host(entry_points=with_plugins(), pool=False)
