"""What the guest of an agent's box does, as events: how the box is watched, and the source that tells of it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from cloche import agent_filter
from cloche.enforcement import Kept, Partial, Unenforced, kept
from cloche.errors import SandboxError, StartError, Unsupported
from cloche.events.acts import BY_NUMBER, Act
from cloche.events.event import Origin
from cloche.events.native import NativeSource
from cloche.monitor import Monitor
from cloche.runtime_parts import Check
from cloche.spec import Spec
from cloche.uids import Seat
from cloche_native import agent as wire
from cloche_native import findings
from cloche_native.acts import acts_seen
from cloche_native.filters import StaticFilter
from cloche_native.supervisor import RING_MIN, Supervisor

UNTOLD: Final = "programs that ran when the monitor was changed are told of only in what they were watched for"
UNJUDGED: Final = "programs that ran when the monitor was changed are judged only in what they were watched for"
PATIENCE_MS: Final = 5000
"""How long a guest waits for room before it counts as too much: judging a full ring takes a busy host over a second."""
_ALL: Final = -1


class GuestSource(NativeSource):
    """Tells of what the programs of one box do; a native thread sees it, and answers for this process.

    Acts that nobody wants stop their program all the same, since its filter stays. From the first time on that matches
    are taken the guest waits until they are, if it waits at all.
    """

    name = "guest"
    local = True

    def __init__(self, supervisor: Supervisor, acts: frozenset[Act], origin: Origin) -> None:
        """Take a supervisor that runs; ``close`` ends it."""
        super().__init__(supervisor, acts, origin)
        self._supervisor = supervisor

    def fileno(self) -> int:
        """Give the supervisor's bell."""
        return self._supervisor.fileno()

    def drain(self) -> bytes:
        """Take what is there."""
        if self._end is not None:
            return b""
        late = self._supervisor.status().overloaded  # before it: the room that this makes ends the waiting
        raw = self._supervisor.drain()
        status = self._supervisor.status()  # after it: what the bell has rung for since rings again
        self.overloaded, self.blind = late or status.overloaded, status.closed
        return raw

    def listening(self) -> bool:
        """Say whether some watched program lives, as far as it has been heard of."""
        return self._end is None and self._supervisor.status().listeners > 0

    def lost(self) -> int:
        """Give how many records found no room."""
        return self._end[1] if self._end is not None else self._supervisor.lost()

    def _counted(self) -> tuple[dict[Act, int], int]:
        seen = {BY_NUMBER[number]: count.seen for number, count in self._supervisor.counters().items()}
        return seen, self._supervisor.lost()


class Watching:
    """How one box is watched: filters for its agent, and a source once it is up."""

    def __init__(self, spec: Spec, refused: StaticFilter, seat: Seat | None, *, opens: bool) -> None:
        """Take what is asked, and what its programs are refused whether anybody watches or not.

        Without ``opens`` no file is opened in the guest's place, whatever is asked.
        """
        self.source: GuestSource | None = None
        self._monitor: Monitor = spec.monitor
        self._origin = Origin({spec.number: spec.id})
        self._number = spec.number
        self._refused = refused
        self._uid = seat.uid if seat is not None else None
        self._opened = self._filter = _bits(spec.monitor.seen, spec.monitor)
        self._least = _ALL
        """What every program that lives, and was there when the monitor was last changed, is stopped for."""
        self._may_be_strict = spec.monitor.depth == "strict"
        self._strict = opens and spec.monitor.depth == "strict"

    def leave_opens(self) -> None:
        """Open nothing in the guest's place: something keeps files from it that would not keep them from the host."""
        self._strict = False

    def filters(self) -> tuple[bytes, bytes]:
        """Give the agent's filter, and the one that each program gets besides."""
        return agent_filter.watched(self._refused, self._opened)

    def start(self, watch: int, root: int) -> None:
        """Listen at the descriptor ``watch``, which is this one's from now on; ``root`` is the box's root folder."""
        monitor = self._monitor
        acts = _told(monitor)
        try:
            supervisor = Supervisor(
                watch, root, sandbox=self._number, static=agent_filter.plain(self._refused),
                wants=[act.number for act in acts], uid=self._uid, gid=self._uid, strict=self._strict,
                resolve=monitor.resolve, overload=monitor.overload or "count", ring=_power_of_two(monitor.ring),
                wait_ms=PATIENCE_MS,
            )  # fmt: skip
        except OSError as error:
            os.close(watch)
            raise StartError(f"the box can't be watched: {error}") from error
        self.source = GuestSource(supervisor, acts, self._origin)
        if monitor.rules:
            self.source.judge(self.source.program(monitor.rules))

    async def change(
        self, monitor: Monitor, ask: Callable[[Callable[[int], bytes]], Awaitable[int]], *, busy: bool
    ) -> Mapping[str, str]:
        """Watch as ``monitor`` says from now on; see ``Instance.watch``.

        ``ask`` sends the agent the packet made for a token and gives the errno it answers; ``busy``: programs run.
        """
        if self.source is None:
            raise SandboxError("the box is not watched yet: it was not started")
        if monitor.depth == "strict" and not self._may_be_strict:
            raise Unsupported(
                "monitor: 'strict' must be there from the start, since the thread that watches then becomes the "
                "guest's user; create it with monitor='strict', or use 'full'"
            )
        program = self.source.program(monitor.rules)
        seen = _bits(monitor.seen, monitor)
        self._least = self._least & self._filter if busy or self.source.listening() else _ALL
        # Programs that start meanwhile are watched for what is to be seen before and after.
        await self._put(self._filter | seen, ask)
        try:
            if monitor.rules != self._monitor.rules:  # what the same ones remember stays
                self.source.judge(program)
        except OSError as error:
            raise SandboxError(f"the new rules can't be put in force: {error}") from error
        self.source.change(_told(monitor))
        self._monitor = monitor
        await self._put(seen, ask)
        unseen = seen & ~self._least
        judged_acts = replace(monitor, acts=frozenset()).seen
        return {
            **({"events": UNTOLD} if unseen else {}),
            **({"rules": UNJUDGED} if unseen & _bits(judged_acts, monitor) else {}),
        }

    async def _put(self, acts: int, ask: Callable[[Callable[[int], bytes]], Awaitable[int]]) -> None:
        """Have programs that start from now on stopped for these acts."""
        if acts == self._filter:
            return
        made = agent_filter.rewatched(self._refused, acts, self._opened)
        if error := await ask(partial(wire.encode_watch, watch=made)):
            raise SandboxError(f"the box can't watch what is asked for: {os.strerror(error)}")
        self._filter = acts

    def close(self) -> None:
        """Stop watching. The box must be down: what its programs still do would be refused. Harmless when repeated."""
        if self.source is not None:
            self.source.close()


def watching_of(
    facts: Mapping[str, Any] | None, spec: Spec, refused: StaticFilter, seat: Seat | None, *, own_view: bool
) -> Watching | None:
    """Give how a box is watched; ``None`` if that is not asked, or can't be: whoever asked has been told so."""
    if not spec.monitor or facts is None:
        return None
    if findings.events(facts, depth="full", own_view=own_view)[0] == "unenforced":
        return None
    opens = findings.events(facts, depth="strict", own_view=own_view)[0] != "unenforced"
    return Watching(spec, refused, seat, opens=opens)


def watching_check(facts: Mapping[str, Any] | None, *, own_view: bool) -> Check | None:
    """Give the row of ``cloche doctor`` about watching, once ``facts`` are there."""
    if facts is None:
        return None
    found = kept(findings.events(facts, depth="full", own_view=own_view))
    if isinstance(found, Unenforced):
        return Check("can watch programs", found.reason, ok=False, fix=found.fix)
    return Check("can watch programs", str(found), ok=True)


def judged(events: Kept, monitor: Monitor) -> Kept:
    """Give what is kept of a monitor's rules, where ``events`` is what is kept of the watching."""
    if isinstance(events, Unenforced):
        return events
    if monitor.depth == "strict":
        return Partial(
            "a native thread judges each act before it happens, and opens in the guest's place what it has judged",
            "texts of other acts can be changed while they are judged, by a guest with two threads",
        )
    return Partial(
        "a native thread judges each act before it happens",
        "a guest with two threads can change a text while it is judged; depth 'strict' opens what was judged",
    )


def _bits(acts: Collection[Act], monitor: Monitor) -> int:
    """Give those of the acts that can be seen at the depth of a monitor, as the native code counts them."""
    return sum(1 << act.number for act in acts) & acts_seen(monitor.depth)


def _told(monitor: Monitor) -> frozenset[Act]:
    bits = _bits(monitor.told, monitor)
    return frozenset(act for act in Act if bits >> act.number & 1)


def _power_of_two(size: int) -> int:
    return max(RING_MIN, 1 << (size - 1).bit_length())
