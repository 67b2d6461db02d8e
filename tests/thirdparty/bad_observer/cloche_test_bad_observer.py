"""Loads well and breaks when it is told something."""

import cloche


@cloche.hookimpl
def cloche_sandbox_created(event: cloche.Event) -> None:
    """Raise what no host may die of."""
    raise SystemExit(f"can't stand {event.sandbox}")
