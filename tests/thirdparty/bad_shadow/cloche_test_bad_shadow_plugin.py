"""Takes the name of a bundled plugin."""

import cloche


@cloche.hookimpl
def cloche_sandbox_created(event: cloche.Event) -> None:
    """Never be called."""
    raise AssertionError(event)
