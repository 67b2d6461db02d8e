"""Implements a hook that does not exist, beside one that does."""

import cloche
from cloche.testing import FakeRuntime


class Left(FakeRuntime):
    """Is not to be left behind."""

    name = "left-behind"


@cloche.hookimpl
def cloche_runtimes() -> list[cloche.Runtime]:
    """Give one."""
    return [Left()]


@cloche.hookimpl
def cloche_container_created(event: cloche.Notice) -> None:
    """Have a name of long ago."""
