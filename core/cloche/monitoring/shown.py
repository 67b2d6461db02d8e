"""The part of a sandbox that shows what it is and what happens in it, and acts when that can't be relied on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final

import anyio

from cloche import units
from cloche.errors import ClocheError, SandboxError, SpecError
from cloche.events.acts import Act, act_set
from cloche.events.event import Origin
from cloche.monitoring.files import FilesSource
from cloche.monitoring.hub import Answers, Hub, HubFeed
from cloche.monitoring.life import ACTS as LIFE
from cloche.monitoring.life import LifeSource
from cloche.monitoring.stream import ROOM, ROOM_LEAST, AsyncEvents, Stream
from cloche.monitoring.wishes import Wish
from cloche.notices import NoticeType
from cloche.pool.warm import counted
from cloche.programs import blame
from cloche.spec import State, Stats

if TYPE_CHECKING:
    from cloche.background import Background
    from cloche.events.source import EventSource
    from cloche.files.asynchronous import AsyncFiles
    from cloche.files.reach import Reach
    from cloche.monitoring.everyone import Everyone
    from cloche.pool.warm import Warm
    from cloche.runtime import Instance
    from cloche.spec import Spec

OWN: Final = frozenset({"files", "life"})
"""Sources that every sandbox has."""
GUEST: Final = "guest"
ENDING: Final = 0.25
"""Seconds in which the end of a box must be known after that of its sources."""
_SEEN_BY_NO_MONITOR: Final = frozenset({Act.LIST, Act.READ, Act.WRITE, *LIFE})


class AsyncShown(ABC):
    """What a sandbox shows of itself: facts, figures, events."""

    id: str
    name: str | None
    runtime: str
    spec: Spec
    state: State
    reason: str
    files: AsyncFiles
    _instance: Instance
    _stopped: anyio.Event
    _reach: Reach
    _warm: Warm | None

    def events(self, *acts: Act | str, sources: Iterable[str] = (), room: int | str = ROOM) -> AsyncEvents:
        """Begin to take the events of the sandbox: iterate over what it gives, or ``drain`` it; close it.

        ``acts`` such as ``"exec"`` or ``"open"`` keep it to these; ``sources`` to what the guest does (``"guest"``),
        what is done by ``box.files`` (``"files"``), or the life of the sandbox and its programs (``"life"``). May be
        asked for before ``start``. It ends when the sandbox is deleted. A reader that leaves more than ``room`` bytes
        waiting loses what comes then and is told: by ``lost``, and by an event ``lost`` where they are missing. Raises
        ``SpecError`` for acts that nothing here can see: of a guest those that its ``monitor`` tells.
        """
        stream = Stream(units.size(room, "room", least=ROOM_LEAST))
        self._hub.join(stream, self._wish(acts, sources))
        return AsyncEvents(stream, HubFeed(stream, lambda: (self._hub,)), Origin({self.spec.number: self.id}))

    async def event_counts(self) -> Mapping[Act, int]:
        """Give how often each act was seen so far; ``lost``: how many of them could not be told."""
        return self._hub.counts()

    async def stats(self) -> Stats:
        """Give what the whole box uses now: ``memory``, ``cpu``, ``pids`` and more, see ``cloche.Stats``.

        Raises ``StateError``; ``Unsupported`` if this runtime can't tell; ``SandboxError`` if it can't at the moment.
        """
        self._need("read statistics of", State.RUNNING, State.PAUSED)
        with blame(self.runtime, SandboxError):
            figures = await self._instance.stats()
            return Stats(figures if self._warm is None else counted(figures, self._warm.before))

    def info(self) -> Mapping[str, str]:
        """Give facts for people: id, name, runtime, isolation level, state, and what the runtime adds."""
        own = {"id": self.id, "name": self.name or "", "runtime": self.runtime, "isolation": self.spec.level.name}
        pool = {} if self._warm is None else {"pool": f"it had waited {self._warm.waited:.1f} s in the pool"}
        return {**own, "state": self.state.value, **pool, **self._instance.info()}

    def join(self, everyone: Everyone) -> None:
        """Have those who read the events of all sandboxes read these too; called by the host."""
        everyone.add(self._hub, self.spec.number, self.id)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _open_hub(self, tasks: Background) -> None:
        number = self.spec.number
        self._taps: list[EventSource] = []
        self._hub = Hub(number, tasks, Answers(self._tell_lost, self._overloaded, self._unseen))
        self._life = LifeSource(sandbox=number)
        self._hub.add(self._life)
        self._files_source = FilesSource(self.files.blocking, self._reach.whole, sandbox=number)
        self._hub.add(self._files_source)

    def step(self, kind: NoticeType, why: str) -> None:
        """Take a step of its life; called by the host when it tells of it."""
        self._life.step(kind, why)

    def _listen(self) -> None:
        """Take what the box itself tells, from its start until ``release``."""
        for source in self._instance.sources():
            self._hub.add(source, guards=True)
        for source in self._taps:
            self._hub.add(source, guards=source.name in self.spec.monitor.sources)

    async def _end_watch(self) -> None:
        """Take what the box still has to tell, once nothing runs in it any more."""
        if self._hub.guarded:
            await self._instance.kill()
            await self._hub.release()

    async def _close_hub(self) -> None:
        await self._hub.close()
        for source in self._taps:
            source.close()  # what guards, and what failed, is no longer the hub's to close

    def _tell_lost(self, source: str, count: int) -> None:
        self._emit(NoticeType.LOST, source=source, lost=str(count))

    async def _overloaded(self, source: str) -> None:
        """Do what the level says when a source can't keep up although the guest waits for it."""
        reason = f"monitor:overload ({source})"
        if self.spec.level.overloaded == "kill":
            await self._stop(reason)
        elif self.state is State.RUNNING:
            try:
                await self._pause(reason)
            except ClocheError as error:
                await self._stop(f"{reason}, and it can't be paused: {error}")

    async def _unseen(self, source: str, why: str) -> None:
        """End a sandbox whose guest can't be seen any more, if it has not ended by itself: that ends sources too."""
        with anyio.move_on_after(ENDING):
            await self._stopped.wait()
            return
        await self._stop(f"monitor:{source} {why}")

    def _wish(self, acts: tuple[Act | str, ...], sources: Iterable[str]) -> Wish:
        known = {GUEST, *OWN, *self.spec.monitor.sources, *(source.name for source in self._hub.sources())}
        asked = units.sequence(sources, "sources")
        for name in asked:
            if not isinstance(name, str) or name not in known:
                known_names = ", ".join(sorted(known))
                raise SpecError(f"events: sources: {units.shown(name)} is unknown; this sandbox has {known_names}")
        wish = Wish(act_set(acts, "events") if acts else frozenset(Act), frozenset(asked) or None)
        if acts:
            self._check(wish)
        elif GUEST in asked and not self._full(self.spec).monitor:
            raise SpecError(f"events: the guest of sandbox {self.id} is not watched; {self._way()}")
        return wish

    def _check(self, wish: Wish) -> None:
        """Raise ``SpecError`` for acts asked for by name that none of the sources asked for can tell."""
        monitor, sources = self.spec.monitor, self._hub.sources()
        own = {act for source in sources if source.name in OWN for act in wish.of(source)}
        others: AbstractSet[Act] = {act for source in sources if source.name not in OWN for act in wish.of(source)}
        of_guest = wish.sources is None or not wish.sources <= OWN
        if self.state in (State.CREATED, State.STOPPED) and of_guest:
            others = monitor.told  # its sources come when it is started, and go when it ends
        # Who asks for opens means the guest's: to be given only the host's without a word would be a trap.
        lacking = wish.acts - others - (own & _SEEN_BY_NO_MONITOR if of_guest else own) - {Act.LOST}
        if lacking:
            way = (
                f'{self._way()}, or with a cloche.Monitor of these acts; sources=("files", "life") asks for what the '
                "host does"
                if of_guest
                else "the sources asked for can't see them"
            )
            raise SpecError(
                f"events: {', '.join(sorted(lacking))} can't be told of sandbox {self.id}, whose monitor is "
                f"{monitor.depth!r}: {way}"
            )

    def _way(self) -> str:
        watched = any(source.name == GUEST for source in self._hub.sources())
        return 'use box.update(monitor="full")' if watched else 'create it with monitor="full"'

    @abstractmethod
    def _full(self, spec: Spec) -> Spec: ...

    @abstractmethod
    def _emit(self, kind: NoticeType, **details: str) -> None: ...

    @abstractmethod
    def _need(self, verb: str, *states: State) -> None: ...

    @abstractmethod
    async def _pause(self, reason: str) -> None: ...

    @abstractmethod
    async def _stop(self, reason: str) -> None: ...
