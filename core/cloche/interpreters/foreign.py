"""What languages have and Python has not, so that a value that crosses the border twice is what it was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Undefined(Enum):
    """The type of ``UNDEFINED``: no value at all, beside ``None``, which is JavaScript's ``null``."""

    UNDEFINED = "undefined"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "cloche.UNDEFINED"


UNDEFINED: Final = Undefined.UNDEFINED
"""``undefined`` within a value; where it is all of a value, ``None`` stands for it."""


class BigInt(int):
    """A whole number that its language keeps apart from others: JavaScript's ``5n``. Counts as an ``int``."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Opaque:
    """What can't cross, a function or a symbol for one: ``text`` is how the guest shows it, and may say anything."""

    text: str
