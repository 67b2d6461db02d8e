"""How grave a behaviour is."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal

from cloche import units
from cloche.errors import SpecError


class Severity(IntEnum):
    """How grave a match is; they compare. The numbers are those that native rules carry."""

    INFO = 10
    """Worth knowing; ordinary programs do it."""
    LOW = 20
    """Unusual; by itself it means nothing."""
    MEDIUM = 30
    """Attacks do it, and a few honest programs."""
    HIGH = 40
    """Honest work of the sandbox's kind does not do it."""
    CRITICAL = 50
    """An attempt to get out, or at another's secrets."""

    def __str__(self) -> str:
        """Give the name as it is written in files: ``high``."""
        return self.name.lower()

    @classmethod
    def of(cls, value: object, what: str = "severity") -> Severity:
        """Give a severity from one or from its name. Raises ``SpecError``."""
        if isinstance(value, Severity):
            return value
        if isinstance(value, str) and value.upper() in cls.__members__:
            return cls[value.upper()]
        raise SpecError(f"{what}: {units.shown(value)} is unknown; use one of {', '.join(map(str, cls))}")

    @classmethod
    def _missing_(cls, value: object) -> Severity | None:
        """Take a name where a number is expected: what another process wrote down."""
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None

    def raised(self) -> Severity:
        """Give the next graver one."""
        return Severity(min(self + 10, Severity.CRITICAL))


Threshold = Severity | Literal["never"]
"""From which severity on something is done by itself."""
THRESHOLDS: Final = ("auto_block", "auto_suspend", "auto_terminate")
"""The names of those there are."""


def threshold(value: object, what: str) -> Threshold:
    """Give a threshold from a severity, a name of one, or ``never``. Raises ``SpecError``."""
    if value == "never":
        return "never"
    return Severity.of(value, what)


def stricter(*some: Threshold) -> Threshold:
    """Give the one of them by which most is done."""
    answering = [one for one in some if isinstance(one, Severity)]
    return min(answering) if answering else "never"
