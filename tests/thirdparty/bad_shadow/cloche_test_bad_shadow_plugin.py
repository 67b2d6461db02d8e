"""Takes the name of a bundled plugin."""

import cloche


@cloche.hookimpl
def cloche_sandbox_created(notice: cloche.Notice) -> None:
    """Never be called."""
    raise AssertionError(notice)
