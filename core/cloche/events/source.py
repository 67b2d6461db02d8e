"""Where events come from: the contract of a source, and of a plugin that brings sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from cloche.errors import SpecError, Unsupported
from cloche.events.acts import Act, act_set
from cloche.events.event import EventBatch, Origin

if TYPE_CHECKING:
    from cloche.runtime import Instance
    from cloche.spec import Spec


class Matched(NamedTuple):
    """Which rules one event matched: its number in its source, the rules' names, and what it was answered.

    ``answer`` is 0 or a negative errno; ``counted`` how many events the count saw; ``evicted``: a table was full,
    so it is not known whether it matched, and it counts as if.
    """

    number: int
    rules: tuple[str, ...]
    answer: int = 0
    counted: int = 0
    evicted: bool = False


class EventSource(ABC):
    """Records of what one guest does, from one way of seeing it.

    Its methods never block and may be called in any thread, one at a time. What nobody wants is not told, and where
    that can be had, not even looked at. A source of one's own is tested by ``cloche.testing.EventSourceConformance``.
    """

    name: str
    """What people see: lower case, e.g. ``"guest"``."""
    acts: frozenset[Act]
    """What it can tell of."""
    overloaded: bool = False
    """Whether it can't keep up although the guest waits for it; ``fileno()`` is readable when that begins."""
    blind: bool = False
    """Whether it can see nothing any more; the same. A sandbox that lives on then is killed if it may not be unseen."""

    local: bool = False
    """Whether the process ids it tells are this machine's, so that more can be asked of those that still live."""

    forks: bool = False
    """Whether it tells which process made which (``Act.FORK``) where ``keep`` asks, whatever ``acts`` has."""

    @property
    def judges(self) -> bool:
        """Whether it has a program that it judges by; then ``matches`` tells what that found."""
        return False

    @property
    def origin(self) -> Origin:
        """What its records leave out. By default this machine's clock and calls, and no id of a sandbox."""
        return Origin()

    @abstractmethod
    def fileno(self) -> int:
        """Give a descriptor of the source's that is readable (poll(2)) while there is something to drain."""

    @abstractmethod
    def drain(self) -> bytes:
        """Give what has come up since the last time, oldest first: whole records, ``b""`` if there is nothing.

        May leave some for the next time, and ``fileno()`` then stays readable. ``b""`` once it is closed.
        """

    @abstractmethod
    def want(self, acts: Collection[Act]) -> None:
        """Tell of these acts only, from now on. Everything is wanted at first.

        Holds at once for fewer acts; more may begin with the next program (``docs/events.md``). Raises ``SpecError``
        for what is not in ``acts``.
        """

    @abstractmethod
    def counters(self) -> Mapping[Act, int]:
        """Give how many acts of each kind it has seen since it was made, of those wanted: told or lost.

        Exact whether or not anything is drained, and still there once it is closed.
        """

    @abstractmethod
    def lost(self) -> int:
        """Give how many of these records are not and won't be told; their numbers are missing between those told."""

    @abstractmethod
    def close(self) -> None:
        """Give back everything it holds. Harmless when repeated."""

    def judge(self, program: object) -> None:  # noqa: ARG002 - for those that override it
        """Have ``program``, compiled rules, judge each act before it happens. Raises ``Unsupported`` where it can't."""
        raise Unsupported(f"the source {self.name} can't judge what it sees")

    def keep(self, acts: frozenset[Act]) -> None:  # noqa: B027 - most have nothing that nobody wants
        """Tell of these acts too, as far as they are looked at anyway: the host itself wants them, not a reader."""

    def matches(self) -> Sequence[Matched]:
        """Give what matched by ``judge``'s program since the last time, for a source that judges.

        Each match is of a record that was drained before, or is there to be drained, or was lost.
        """
        return ()

    def unmatched(self) -> int:
        """Give how many matches found no room: of a record that is flagged so nobody can say which rules it matched."""
        return 0

    def read(self) -> EventBatch:
        """Give what ``drain`` gives, checked and ready to be looked at."""
        return EventBatch(self.drain(), self.origin)

    def wanted(self, acts: Collection[Act]) -> frozenset[Act]:
        """Give ``acts`` as a set, checked: for those that implement ``want``. Raises ``SpecError``."""
        asked = act_set(acts, f"source {self.name}: want")
        if more := asked - self.acts:
            raise SpecError(f"source {self.name}: want: it can't tell of {', '.join(sorted(more))}")
        return asked


class EventTap(ABC):
    """A way to see what guests do. Subclass it, and give an object of it in the ``cloche_event_sources`` hook."""

    name: ClassVar[str]
    """What people write in ``Monitor.sources``: lower case, e.g. ``"audit"``."""
    summary: ClassVar[str]
    """One line for tables."""

    @abstractmethod
    def attach(self, spec: Spec, instance: Instance) -> EventSource | None:
        """Give a source for a sandbox that was just started, before any program runs in it; ``None`` if it can't.

        Asked for every sandbox with a monitor, on the host's event loop: be quick. The host closes the source when
        the sandbox is deleted. One that raises makes its plugin fail; a sandbox that names this tap in its monitor's
        ``sources`` is then not started.
        """
