"""The judge of one sandbox: takes what its sources say matched, asks what C could not, and tells what follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cloche import units
from cloche.events.acts import Act
from cloche.events.event import HEAD, Event, Origin
from cloche.events.source import Matched
from cloche.incidents import own
from cloche.incidents.about import About
from cloche.incidents.asking import Asking, Hit
from cloche.incidents.case import Case, Evidence
from cloche.incidents.explain_rules import KINDS_MAX, PREFIX
from cloche.incidents.match import Context
from cloche.incidents.processes import family
from cloche.incidents.seat import GUEST, Seat
from cloche.incidents.telling import asks_of_process, hits, target_of
from cloche.incidents.violations import OTHERS, Kept, Violations
from cloche.monitoring.wishes import Hearer
from cloche.rules.holds import holds
from cloche.spec import Violation

if TYPE_CHECKING:
    from cloche.anomaly.trace import Trace
    from cloche.events.source import EventSource
    from cloche.incidents.match import ProcessFacts
    from cloche.incidents.prepare import Judging
    from cloche.rules.compile import Rest
    from cloche.rules.rule import Rule

BEFORE: Final = 16
"""How many events before the one that matched are kept as evidence."""
CASES: Final = 1000
"""Incidents of one sandbox that are counted apart; what comes beyond is counted by rule alone."""
_EXEC: Final = frozenset({Act.EXEC})
_PROCESSES: Final = frozenset({Act.EXEC, Act.FORK})
_ARGS_AT: Final = HEAD.size - 4 * 8 - 4 * 2
"""Where a record's arguments begin, which its texts follow."""


class Judge(Hearer):
    """Makes violations and incidents of matches. All its calls are made on the event loop."""

    def __init__(self, about: About, judging: Judging, violations: Violations) -> None:
        self.judging = judging
        self.trace: Trace | None = None
        """What looks for anomalies, where that is asked for."""
        self._violations = violations
        self._about = about
        self._origin = Origin({about.number: about.id})
        self._seats: dict[str, Seat] = {}
        self._cases: dict[tuple[str, int], Case] = {}
        self._known: dict[tuple[object, ...], tuple[Kept, Case]] = {}
        self._dirty: dict[str, Case] = {}
        self._explained: dict[tuple[object, ...], Kept | None] = {}
        self._refusals: Counter[int] = Counter()
        self._asking = Asking(
            about.evaluator, about.start_soon, context=self._context, agreed=self._agreed, failed=self._failed,
            digest=about.digest,
        )  # fmt: skip

    def change(self, judging: Judging) -> None:
        """Judge by these from now on. Sources that judge by themselves have been told."""
        self.judging = judging
        self._known.clear()
        for seat in self._seats.values():
            seat.change(judging)

    def look_for(self, trace: Trace | None) -> None:
        """Look for anomalies from now on, or for none."""
        self.trace = trace

    def cases(self) -> list[Case]:
        """Give the incidents, in the order they began."""
        return list(self._cases.values())

    async def settled(self) -> None:
        """Wait until rules' own functions were asked about what has come by now."""
        await self._asking.settled()

    # -- what the hub tells -----------------------------------------------------------------------------------------

    def wants(self, source: EventSource) -> frozenset[Act]:
        """Want what the rules look at of sources that don't judge by themselves."""
        if source.judges:
            return frozenset()
        looked = self.judging.program.acts()
        return frozenset(act for act in source.acts if act.value in looked)

    def keeps(self, source: EventSource) -> frozenset[Act]:
        """Keep what processes became, whose they are, and what anomalies are looked for in."""
        of_processes = _PROCESSES if source.forks else _EXEC
        return of_processes if self.trace is None else of_processes | self.trace.keeps

    def heard(self, source: EventSource, raw: bytes, matches: Sequence[Matched]) -> None:
        """Take records, and what their source says of them; the others are judged here."""
        seat = self._seat(source)
        if self.trace is not None and source.name == GUEST:
            self.trace.heard(raw)
        for matched, event in seat.heard(raw, matches):
            self._matched(seat, matched, event)
        if evicted := seat.evicted():
            self._raise_own(own.EVICTED, evicted, {"source": source.name})
        self._tell_changes()

    def missed(self, source: EventSource, count: int, *, matches: bool) -> None:
        """Tell that records were lost, or that nobody knows which rules some matched."""
        if not matches:
            self._raise_own(own.LOST, count, {"source": source.name})
            return
        seat = self._seat(source)
        for matched, event in seat.recovered():
            self._matched(seat, matched, event)
            count -= 1
        if count > 0:
            self._raise_own(own.MONITOR_LOST, count, {"source": source.name})
        self._tell_changes()

    # -- matches ----------------------------------------------------------------------------------------------------

    def _seat(self, source: EventSource) -> Seat:
        seat = self._seats.get(source.name)
        if seat is None or seat.source is not source:
            seat = self._seats[source.name] = Seat(source, self.judging, self._origin)
        return seat

    def _matched(self, seat: Seat, matched: Matched, event: Event | None) -> None:
        if matched.evicted:
            self._raise_own(own.EVICTED, 1, {"source": seat.source.name})
        if event is None:
            self._unseen(seat, matched)
            return
        # In a flood the same is found again and again.
        known = (matched.rules, event.exec, event.act, event.denied, event.raw[_ARGS_AT:])
        if (last := self._known.get(known)) is not None:
            kept, case = last
            kept.count += hits(event)
            self._again(case, hits(event), event.time_ns)
            return
        certain = self._ask(seat, matched, event)
        if certain is not None and len(self._known) < CASES:
            self._known[known] = certain

    def _ask(self, seat: Seat, matched: Matched, event: Event) -> tuple[Kept, Case] | None:
        """Ask what is left to ask of each rule; gives what was found if that is one, and nothing had to be asked."""
        found: dict[str, tuple[Kept, Case] | None] = {}
        asked = False
        for name in matched.rules:
            rest = self.judging.rest.get(name)
            if rest is None and name.startswith(PREFIX):
                self._explain(event)
            if rest is None or rest.rule.id in found:
                continue  # a rule of the monitor itself, or another half of one that was found
            asked = asked or _asks(rest)
            hit = Hit(rest.rule, event, matched, seat)
            if rest.where is not None and not self._holds(hit, rest):
                continue
            found[rest.rule.id] = None
            if rest.rule.evaluate is None:
                found[rest.rule.id] = self._found(hit)
            else:
                self._asking.ask(hit)
        return None if asked or len(found) != 1 else next(iter(found.values()))

    def _explain(self, event: Event) -> None:
        """Tell what of the policy refuses an act; the same one is asked about once, and counted."""
        known = (event.exec, event.act, event.flags, event.raw[_ARGS_AT:])
        if known not in self._explained:
            violation = self._about.explain(event)
            if len(self._explained) >= CASES:
                self._explained.clear()
            self._explained[known] = None if violation is None else self._refused(event.exec, violation)
        elif (kept := self._explained[known]) is not None:
            kept.count += 1

    def _refused(self, number: int, violation: Violation) -> Kept:
        """Keep what the policy refused; of one program so many kinds, the others are counted together."""
        self._refusals[number] += 1
        if self._refusals[number] > KINDS_MAX:
            violation = replace(violation, target=OTHERS)
        return self._violations.add(number, violation)

    def _unseen(self, seat: Seat, matched: Matched) -> None:
        """Take a match whose record was lost: what matched for certain is told as that, and all as lost."""
        for name in matched.rules:
            rest = self.judging.rest.get(name)
            if rest is None:
                continue
            self._raise_own(own.MONITOR_LOST, 1, {"source": seat.source.name, "rule": rest.rule.id})
            if not _asks(rest):
                self._count(rest.rule, (rest.rule.id, 0), Evidence(), 1, blocked=matched.answer != 0)

    def _holds(self, hit: Hit, rest: Rest) -> bool:
        if rest.where is None:
            return True
        people = self._family(hit) if asks_of_process(rest.where) else ()
        try:
            return holds(rest.where, hit.event, self.judging.around, people[0] if people else None, people[1:])
        except Exception as error:  # noqa: BLE001 - a condition that can't be asked must not hide what it is about
            self._failed(
                hit.rule, f"its condition raised {type(error).__name__}: {units.one_line(str(error), most=200)}"
            )
            return True

    def _family(self, hit: Hit) -> tuple[ProcessFacts, ...]:
        if hit.family is None:
            hit.family = family(hit.event, hit.seat.recent, local=hit.seat.source.local)
        return hit.family

    def _found(self, hit: Hit) -> tuple[Kept, Case]:
        """Make a violation and an incident of what is now certain."""
        rule, event = hit.rule, hit.event
        violation = Violation(
            rule.id, event.act.value, target_of(event), rule.hint, severity=str(rule.severity), blocked=event.denied,
            time=event.time, count=hits(event),
        )  # fmt: skip
        kept = self._violations.add(event.exec, violation)
        key = (rule.id, event.exec)
        evidence = Evidence(event, exec=event.exec)
        if key not in self._cases:
            before = hit.seat.recent.before(event.number, event.exec, BEFORE)
            evidence = Evidence(event, before, self._family(hit), event.exec)
        return kept, self._count(rule, key, evidence, violation.count, blocked=event.denied)

    def _count(self, rule: Rule, key: tuple[str, int], evidence: Evidence, count: int, *, blocked: bool) -> Case:
        """Count hits of a rule by a program, be they the first."""
        if key not in self._cases and len(self._cases) >= CASES:
            key = (rule.id, 0)
        case = self._cases.get(key)
        if case is not None:
            case.blocked = case.blocked or blocked
            self._again(case, count, 0 if evidence.event is None else evidence.event.time_ns)
            return case
        args = self._about.args
        case = self._cases[key] = Case(
            rule, evidence, sandbox=self._about.id, name=self._about.name, args=lambda: args(evidence.exec),
            audit=self.judging.audit,
        )  # fmt: skip
        case.count, case.blocked = count, blocked
        if self.trace is not None:
            self.trace.mark(case)
        self._about.raised(case)
        return case

    def _again(self, case: Case, count: int, at: int) -> None:
        case.count += count
        self._dirty[case.id] = case
        self._about.again(case, at)

    def _raise_own(self, rule: Rule, count: int, details: Mapping[str, Any]) -> None:
        """Tell of what no rule finds."""
        key = (f"{rule.id} {' '.join(map(str, details.values()))}", 0)
        self._count(rule, key, Evidence(details=details), count, blocked=False)
        self._tell_changes()

    def _tell_changes(self) -> None:
        for case in self._dirty.values():
            self._about.changed(case)
        self._dirty.clear()

    # -- rules' own functions ---------------------------------------------------------------------------------------

    def _agreed(self, hit: Hit) -> None:
        self._found(hit)
        self._tell_changes()

    def _failed(self, rule: Rule, why: str) -> None:
        self._raise_own(own.RULE_FAILED, 1, {"rule": rule.id, "of": self._about.brought(rule), "why": why})

    def _context(self, hit: Hit) -> Context:
        people = self._family(hit)
        return Context(
            hit.rule, hit.event, self.judging.around, people[0] if people else None, people[1:], hit.matched.counted,
            self._about.metadata, hit.digest,
        )  # fmt: skip


def _asks(rest: Rest) -> bool:
    """Say whether something is left to ask when C has found a match."""
    return rest.where is not None or rest.rule.evaluate is not None
