"""The hub of one sandbox: takes events from its sources, hands them to who asked, and tells what is missing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary, WeakSet

import anyio
import anyio.lowlevel

from cloche.events.acts import Act
from cloche.monitoring.made import lost_record
from cloche.monitoring.stream import Feed, Stream
from cloche.monitoring.wishes import Hearer, Wish, select

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.events.source import EventSource

TELL_EVERY: Final = 1.0
"""Seconds between two notices of what a source lost."""
ROUNDS: Final = 16
"""How often a source is asked for more before others get their turn; one that is full again at once has more."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the sandbox does when its events can't be relied on."""

    lost: Callable[[str, int], None]
    """Tell that so many events of a source were lost."""
    overloaded: Callable[[str], Awaitable[None]]
    """Act on a source that can't keep up although the guest waits for it."""
    unseen: Callable[[str, str], Awaitable[None]]
    """Act on a source that ended or failed, and without which the sandbox may not live: why."""


@dataclass(slots=True)
class Fed:
    """One source, and what the hub knows of it."""

    source: EventSource
    guards: bool
    wanted: frozenset[Act] = frozenset()
    lost: int = 0
    told: int = 0
    told_at: float = -TELL_EVERY
    unmatched: int = 0
    overloaded: bool = False
    blind: bool = False
    serving: tuple[anyio.CancelScope, anyio.Event] | None = None
    """What ends the task that listens to it, and what that task sets when it has ended; none listens yet."""


class Hub:
    """Sources on one side, readers on the other. All its calls are made on the event loop."""

    def __init__(self, number: int, tasks: Background, answers: Answers) -> None:
        """Take the number that stands for the sandbox in records."""
        self.over = False
        self._number = number
        self._tasks = tasks
        self._answers = answers
        self._fed: list[Fed] = []
        # Whoever drops its events without closing them, as by leaving a loop, must not be fed for ever.
        self._readers: WeakKeyDictionary[Stream, Wish] = WeakKeyDictionary()
        self._lasting: WeakSet[Stream] = WeakSet()
        self._counted = 0
        self._hearer: Hearer | None = None

    def add(self, source: EventSource, *, guards: bool = False) -> None:
        """Take events from a source too. One that ``guards`` is listened to from now on, whoever wants its events."""
        fed = Fed(source, guards, source.acts)
        self._fed.append(fed)
        if self._hearer is not None:
            source.keep(self._hearer.keeps(source))
        self._rewant(fed)
        if guards:
            self._listen(fed)
        if self._hearer is not None:
            self.flush()  # before any program runs: from the first time on a guest waits until its matches are taken

    def hear(self, hearer: Hearer) -> None:
        """Tell ``hearer`` of everything first, from now on; or ask again what it wants."""
        self._hearer = hearer
        for fed in self._fed:
            fed.source.keep(hearer.keeps(fed.source))
        self._recount()

    def rewant(self) -> None:
        """Tell the sources what is wanted of them, whose ``acts`` have changed."""
        self._recount()

    def sources(self) -> list[EventSource]:
        """Give where events come from now."""
        return [fed.source for fed in self._fed]

    @property
    def guarded(self) -> bool:
        """Whether the box itself tells anything."""
        return any(fed.guards for fed in self._fed)

    def join(self, stream: Stream, wish: Wish, *, ends: bool = True) -> None:
        """Put what comes from now on into a stream, as far as it is wished for; it ends with this hub, or goes on."""
        if self.over:
            if ends:
                stream.end()
            return
        self.flush()
        self._readers[stream] = wish
        if not ends:
            self._lasting.add(stream)
        self._recount()

    def leave(self, stream: Stream) -> None:
        """Put nothing more into a stream. Harmless when repeated."""
        self._lasting.discard(stream)
        if self._readers.pop(stream, None) is not None:
            self._recount()

    def flush(self) -> None:
        """Hand on what the sources have now."""
        for fed in list(self._fed):
            try:
                self._drain(fed)
            except Exception as error:  # noqa: BLE001 - see _serve
                self._tasks.start_soon(self._failed, fed, error)

    def counts(self) -> Mapping[Act, int]:
        """Give how many acts of each kind all sources together have seen; ``Act.LOST``: how many were lost."""
        total: Counter[Act] = Counter({Act.LOST: 0})
        for fed in self._fed:
            total.update(fed.source.counters())
            total[Act.LOST] += fed.source.lost()
        return dict(total)

    async def release(self) -> None:
        """Take what the guards have for the last time and let go of them, for whoever made them closes them now."""
        for fed in [fed for fed in self._fed if fed.guards]:
            await self._let_go(fed)

    async def close(self) -> None:
        """Hand on what there is, end all streams, and close the sources that are left. Harmless when repeated."""
        self.over = True
        for fed in [fed for fed in self._fed if fed.serving is not None]:
            await self._let_go(fed)
            fed.source.close()
        for fed in self._fed:  # nobody ever wanted anything of these
            fed.source.close()
        self._fed.clear()
        for stream in list(self._readers):
            if stream not in self._lasting:
                stream.end()
        self._readers.clear()
        self._lasting.clear()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _recount(self) -> None:
        self._counted = len(self._readers)
        for fed in self._fed:
            self._rewant(fed)

    def _rewant(self, fed: Fed) -> None:
        wanted = frozenset[Act]().union(*(wish.of(fed.source) for wish in list(self._readers.values())))
        if self._hearer is not None:
            wanted |= self._hearer.wants(fed.source)
        if wanted != fed.wanted:
            fed.wanted = wanted
            fed.source.want(wanted)
        if wanted or (self._hearer is not None and fed.source.judges):  # what matches comes unasked
            self._listen(fed)

    def _listen(self, fed: Fed) -> None:
        if fed.serving is None:
            fed.serving = anyio.CancelScope(), anyio.Event()
            self._tasks.start_soon(self._serve, fed, *fed.serving)

    async def _serve(self, fed: Fed, scope: anyio.CancelScope, ended: anyio.Event) -> None:
        try:
            with scope:
                while True:
                    await anyio.wait_readable(fed.source.fileno())
                    # What is left makes it readable again; a guest that goes on would be asked for its last act alone.
                    while self._drain(fed, rounds=1 if self._hearer is None else ROUNDS, promptly=True):
                        await anyio.lowlevel.checkpoint()  # what follows from a match begins
        except Exception as error:  # noqa: BLE001 - anybody's code; the sandbox must not live on unseen because of it
            self._tasks.start_soon(self._failed, fed, error)
        finally:
            ended.set()

    async def _failed(self, fed: Fed, error: Exception) -> None:
        if fed in self._fed:
            self._fed.remove(fed)
            why = f"{type(error).__name__}: {error}"
            self._tell(fed, f"source {fed.source.name} failed: {why}", 1)
            if fed.guards:
                await self._answers.unseen(fed.source.name, f"failed: {why}")

    async def _let_go(self, fed: Fed) -> None:
        if fed.serving is not None:
            scope, ended = fed.serving
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await ended.wait()
        if fed in self._fed:
            self._drain(fed)
            self._tell_host(fed, every=0)
            self._fed.remove(fed)

    def _drain(self, fed: Fed, *, rounds: int = ROUNDS, promptly: bool = False) -> bool:
        """Hand on what a source has; says whether there may be more, as ``promptly`` stops once something matched."""
        matched = False
        if len(self._readers) != self._counted:
            self._recount()
        overloaded = False
        for _ in range(rounds):
            # Matches first: the record of each has then come, will come with what is drained now, or is lost.
            matches = () if self._hearer is None else fed.source.matches()
            raw = fed.source.drain()
            overloaded = overloaded or fed.source.overloaded
            if self._hearer is not None:  # of nothing too: what has not come by now is lost
                self._hearer.heard(fed.source, raw, matches)
            if not raw:
                break
            self._offer(fed.source, raw)
            if matched := promptly and bool(matches):
                break
        self._count_losses(fed)
        if overloaded and not fed.overloaded:
            self._tasks.start_soon(self._answers.overloaded, fed.source.name)
        if fed.guards and fed.source.blind and not fed.blind:
            self._tasks.start_soon(self._answers.unseen, fed.source.name, "sees nothing any more")
        fed.overloaded, fed.blind = overloaded, fed.source.blind
        return matched

    def _count_losses(self, fed: Fed) -> None:
        lost = fed.source.lost()
        if lost != fed.lost:
            if self._hearer is not None:
                self._hearer.missed(fed.source, lost - fed.lost, matches=False)
            self._tell(fed, f"source {fed.source.name} had no room", lost - fed.lost)
            fed.lost = lost
        if self._hearer is not None and (unmatched := fed.source.unmatched()) != fed.unmatched:
            self._hearer.missed(fed.source, unmatched - fed.unmatched, matches=True)
            fed.unmatched = unmatched
        self._tell_host(fed, every=TELL_EVERY)

    def _offer(self, source: EventSource, raw: bytes) -> None:
        kept = frozenset[Act]() if self._hearer is None else self._hearer.keeps(source)
        for stream, wish in list(self._readers.items()):
            acts = wish.of(source)
            if some := raw if acts == source.acts and kept <= acts else select(raw, acts, matched=wish.acts):
                stream.offer(some)

    def _tell(self, fed: Fed, which: str, count: int) -> None:
        record = lost_record(count, which, sandbox=self._number)
        for stream, wish in list(self._readers.items()):
            if wish.of(fed.source):
                stream.lost += count
                stream.offer(record)

    def _tell_host(self, fed: Fed, *, every: float) -> None:
        if fed.lost != fed.told and time.monotonic() - fed.told_at >= every:
            self._answers.lost(fed.source.name, fed.lost - fed.told)
            fed.told, fed.told_at = fed.lost, time.monotonic()


class HubFeed(Feed):
    """Feeds a stream from hubs, those that there are when asked."""

    def __init__(self, stream: Stream, hubs: Callable[[], Iterable[Hub]]) -> None:
        self._stream = stream
        self._hubs = hubs

    async def flush(self) -> None:
        """Take what the sources have now."""
        for hub in self._hubs():
            hub.flush()

    async def leave(self) -> None:
        """Leave all of them."""
        for hub in self._hubs():
            hub.leave(self._stream)
