"""What every source of events must do, as tests: subclass and say how to make one and have something done.

::

    from cloche.testing import EventSourceConformance

    class TestMarks(EventSourceConformance):
        performs = (Act.SYSTEM,)

        @contextmanager
        def opened(self, script):
            with closing(MarkSource()) as source:
                yield source

        def perform(self, source, script):
            for act in script:
                source.mark(act)

Other acts may be told too, as when a program that does them has to be started first.
"""

from __future__ import annotations

import os
import random
import select
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar

import pytest

from cloche import Act, EventBatch, EventSource, SpecError

if TYPE_CHECKING:
    from cloche import Event


class EventSourceConformance:
    """Set ``performs`` and override ``opened`` and ``perform``."""

    performs: ClassVar[Sequence[Act]]
    """Acts that ``perform`` can do, each of which the source tells."""
    repeats: ClassVar[int] = 20
    """How often they are done where many are needed."""
    past: ClassVar[bool] = False
    """Whether it tells of what was done before it was made, as from a file."""
    patience: ClassVar[float] = 10.0
    """Seconds until what was done must have been told."""

    def opened(self, script: Sequence[Act]) -> AbstractContextManager[EventSource]:
        """Give a new source of which ``script`` is all that will be done; closed at the end of the block.

        With ``past`` it holds ``script`` already, and ``perform`` does nothing.
        """
        raise NotImplementedError

    def perform(self, source: EventSource, script: Sequence[Act]) -> None:
        """Have these acts done, one after another, and return when they were."""

    @pytest.fixture
    def script(self) -> list[Act]:
        """Give acts to do, each several times, in the same order every time."""
        script = list(self.performs) * self.repeats
        random.Random(7).shuffle(script)  # noqa: S311 - an order, no secret
        return script

    def drained(self, source: EventSource, least: Counter[Act]) -> list[Event]:
        """Drain until ``least`` of each act was told or lost, and nothing is left."""
        found: list[Event] = []
        told: Counter[Act] = Counter()
        end = time.monotonic() + self.patience
        while time.monotonic() < end:
            ready = _readable(source, 0.05)
            batch = EventBatch(source.drain(), source.origin)
            found += batch
            told.update(event.act for event in batch)
            if not ready and not batch and sum((least - told).values()) <= source.lost():
                return found
        raise AssertionError(f"not told within {self.patience:g} s: {dict(least - told)}")

    def settle(self, source: EventSource) -> None:
        """Have done with what it tells of before anything is performed."""
        if not self.past:
            self.drained(source, Counter())

    # -- what is told -----------------------------------------------------------------------------------------------

    def test_each_act_that_is_done_is_told(self, script: list[Act]) -> None:
        with self.opened(script) as source:
            assert set(self.performs) <= source.acts
            self.perform(source, script)
            told = Counter(event.act for event in self.drained(source, Counter(script)))
            assert sum((Counter(script) - told).values()) <= source.lost()
            assert set(told) <= source.acts

    def test_acts_of_one_kind_are_told_in_their_order_with_rising_numbers_and_times(self, script: list[Act]) -> None:
        with self.opened(script) as source:
            self.perform(source, script)
            last: dict[tuple[str, str], tuple[int, int]] = defaultdict(lambda: (0, 0))
            for event in self.drained(source, Counter(script)):
                number, when = last[event.sandbox, event.source]
                assert event.number > number
                assert event.time_ns >= when
                last[event.sandbox, event.source] = event.number, event.time_ns

    def test_numbers_are_missing_only_where_events_were_lost(self, script: list[Act]) -> None:
        with self.opened(script) as source:
            self.perform(source, script)
            numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
            for event in self.drained(source, Counter(script)):
                numbers[event.sandbox, event.source].append(event.number)
            missing = sum(found[-1] - found[0] + 1 - len(found) for found in numbers.values())
            assert missing <= source.lost()
            if not source.lost():
                assert missing == 0

    def test_every_record_says_when_where_and_what_and_can_be_printed(self, script: list[Act]) -> None:
        with self.opened(script) as source:
            self.perform(source, script)
            for event in self.drained(source, Counter(script)):
                assert event.number >= 1
                assert event.time_ns >= 0
                assert str(event).isprintable()
                assert event.as_json()["act"] == event.act

    # -- draining ---------------------------------------------------------------------------------------------------

    def test_draining_never_waits(self) -> None:
        with self.opened([]) as source:
            raw: list[bytes] = []
            thread = threading.Thread(target=lambda: raw.extend(source.drain() for _ in range(100)), daemon=True)
            thread.start()
            thread.join(self.patience)
            assert not thread.is_alive()
            assert raw[-1] == b""

    def test_it_is_readable_while_there_is_something_to_drain(self, script: list[Act]) -> None:
        with self.opened(script) as source:
            self.settle(source)
            self.perform(source, script)
            assert _readable(source, self.patience)
            self.drained(source, Counter(script))
            assert not _readable(source, 0)

    def test_what_is_drained_in_many_threads_is_told_once(self, script: list[Act]) -> None:
        with self.opened(script) as source:
            turn, found = threading.Lock(), list[bytes]()
            stop = threading.Event()

            def drain() -> None:
                while not stop.is_set():
                    with turn:
                        found.append(source.drain())
                    time.sleep(0.001)

            threads = [threading.Thread(target=drain, daemon=True) for _ in range(2)]
            for thread in threads:
                thread.start()
            self.perform(source, script)
            stop.set()
            for thread in threads:
                thread.join(self.patience)
            events = [event for raw in found for event in EventBatch(raw, source.origin)]
            events += self.drained(source, Counter(script) - Counter(event.act for event in events))
            keys = [(event.sandbox, event.source, event.number) for event in events]
            assert len(keys) == len(set(keys))

    # -- what is wanted ---------------------------------------------------------------------------------------------

    def test_fewer_acts_are_told_at_once_when_fewer_are_wanted(self, script: list[Act]) -> None:
        with self.opened(script) as source:
            source.want(self.performs[:1])
            self.settle(source)
            self.perform(source, script)
            told = self.drained(source, Counter(act for act in script if act == self.performs[0]))
            assert {event.act for event in told} == {self.performs[0]}

    def test_nothing_is_told_when_nothing_is_wanted(self, script: list[Act]) -> None:
        with self.opened(script) as source:
            source.want(())
            self.settle(source)
            self.perform(source, script)
            assert self.drained(source, Counter()) == []

    @pytest.mark.parametrize("acts", ["open", 3, None, ["no-such-act"], [3], [None], [b"open"]])
    def test_what_are_no_acts_can_not_be_wanted(self, acts: object) -> None:
        with self.opened([]) as source, pytest.raises(SpecError):
            source.want(acts)  # type: ignore[arg-type]

    def test_an_act_that_it_can_not_tell_can_not_be_wanted(self) -> None:
        with self.opened([]) as source:
            for act in set(Act) - source.acts:
                with pytest.raises(SpecError, match=act.value):
                    source.want([act])

    # -- counting ---------------------------------------------------------------------------------------------------

    def test_what_is_counted_is_what_is_told_or_lost_although_nothing_was_drained(self, script: list[Act]) -> None:
        with self.opened(script) as source:
            self.perform(source, script)
            before = Counter(source.counters())
            assert not Counter(script) - before
            told = Counter(event.act for event in self.drained(source, Counter(script)))
            after = Counter(source.counters())
            assert sum((after - told).values()) == source.lost()
            assert not before - after

    def test_counters_begin_at_nothing_and_hold_no_others(self, script: list[Act]) -> None:
        with self.opened([]) as source:
            assert sum(source.counters().values()) == source.lost() == 0
        with self.opened(script) as source:
            self.perform(source, script)
            assert {act for act, count in source.counters().items() if count} <= source.acts

    # -- the end ----------------------------------------------------------------------------------------------------

    def test_a_closed_source_tells_nothing_and_still_has_its_counters(self, script: list[Act]) -> None:
        with self.opened(script) as source:
            self.perform(source, script)
            counted = dict(source.counters())
            source.close()
            source.close()
            assert source.drain() == b""
            assert {act: n for act, n in source.counters().items() if n} == {act: n for act, n in counted.items() if n}

    def test_nothing_is_left_behind(self) -> None:
        with self.opened([]) as source:  # what is made once for all of them
            source.fileno()
        before = _held()
        for _ in range(5):
            with self.opened([]) as source:
                source.fileno()
                source.drain()
            source.close()
        assert _settled(before)

    # -- hostile data -----------------------------------------------------------------------------------------------

    def test_records_that_were_cut_or_changed_are_refused_or_still_whole(self, script: list[Act]) -> None:
        with self.opened(script) as source:
            self.perform(source, script)
            raw = b"".join(event.raw for event in self.drained(source, Counter(script)))[:4096]
        pick = random.Random(3)  # noqa: S311 - bytes to change, no secret
        for _ in range(300):
            bad = bytearray(raw[: pick.randint(1, len(raw))])
            bad[pick.randrange(len(bad))] ^= 1 << pick.randrange(8)
            try:
                events = list(EventBatch(bytes(bad), source.origin))
            except SpecError:
                continue
            assert b"".join(event.raw for event in events) == bad
            assert all(str(event).isprintable() for event in events)


def _readable(source: EventSource, seconds: float) -> bool:
    poll = select.poll()
    poll.register(source.fileno(), select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _held() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def _settled(before: tuple[int, int]) -> bool:
    end = time.monotonic() + 2
    while time.monotonic() < end:
        if _held() <= before:
            return True
        time.sleep(0.01)
    return False
