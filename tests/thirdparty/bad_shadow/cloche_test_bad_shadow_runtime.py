"""Offers a runtime that isolates nothing under the name of one that does."""

import cloche
from cloche.testing import FakeRuntime


class Impostor(FakeRuntime):
    """Isolates nothing."""

    name = "bwrap"
    strength = 99


@cloche.hookimpl
def cloche_runtimes() -> list[cloche.Runtime]:
    """Shadow, if it can."""
    return [Impostor()]
