"""Loads well and breaks when it is told something."""

import cloche


@cloche.hookimpl
def cloche_sandbox_created(notice: cloche.Notice) -> None:
    """Raise what no host may die of."""
    raise SystemExit(f"can't stand {notice.sandbox}")
