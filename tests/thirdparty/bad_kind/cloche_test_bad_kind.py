"""Gives the class of a runtime instead of an object of it."""

import cloche
from cloche.testing import FakeRuntime


@cloche.hookimpl
def cloche_runtimes() -> list[type[cloche.Runtime]]:
    """Give the wrong kind of thing."""
    return [FakeRuntime]
