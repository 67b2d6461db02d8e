"""Asks for an argument that its hook does not have."""

import cloche


@cloche.hookimpl
def cloche_select_runtime(specification: cloche.Spec) -> None:
    """Choose nothing, of what it can't be told."""
