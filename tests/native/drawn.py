"""Many values made of one drawn number: hypothesis takes long to draw each by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def chooser(number: int) -> Callable[[tuple[Any, ...]], Any]:
    """Give what chooses one of what it is given, each time by another part of the number."""

    def one(choices: tuple[Any, ...]) -> Any:  # noqa: ANN401 - of what it is given
        nonlocal number
        number, choice = divmod(number, len(choices))
        return choices[choice]

    return one
