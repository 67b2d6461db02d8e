"""What is done about an incident: the contract of a response."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from cloche.incidents.incident import Incident
    from cloche.sandbox import AsyncSandbox

OWN: Final = ("alert", "log", "block", "suspend", "terminate")
"""The core's own responses, gravest last; no plugin can take their names."""


class Response(ABC):
    """One thing that can be done about an incident. Subclass it, and give an object in the ``cloche_responses`` hook.

    Rules ask for it by ``name`` in their ``response``. One that raises, or takes longer than ``seconds``, is recorded
    in the incident, and the next runs. The names in ``OWN`` are taken.
    """

    name: ClassVar[str]
    """What rules write: lower case, e.g. ``"ticket"``."""
    summary: ClassVar[str]
    """One line for tables."""
    seconds: ClassVar[float] = 5.0
    """How long it may take."""

    @abstractmethod
    async def respond(self, incident: Incident, box: AsyncSandbox) -> str | None:
        """Do it; give a line on what was done, for people. Runs on the host's event loop: never block it."""
