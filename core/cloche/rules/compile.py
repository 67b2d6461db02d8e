"""Rules become a native program for one sandbox, and what is left to ask in Python.

A rule becomes one native rule for each way in which its condition can hold and each group of acts in which its fields
lie in the same place. What C can't ask stays as ``Rest.where``, behind all that it can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final

from cloche.errors import SpecError
from cloche.events.acts import Act
from cloche.rules.claimed import claims, comparisons
from cloche.rules.condition import All, Condition
from cloche.rules.formula import Formula, TooMany, Way, alternatives, joined, prefilter
from cloche.rules.lower import lowered, reads
from cloche.rules.program_size import check_size
from cloche.rules.rule import After, Rule
from cloche.rules.severity import Threshold
from cloche.rules.surroundings import Surroundings
from cloche.rules.vetoes import Instead, Vetoes
from cloche_native.rule_blob import encode
from cloche_native.rule_values import BadRule, Either, Paths, RuleSequence, RuleSpec, Step, Text, Window

WAYS_MAX: Final = 64
"""Native rules that one rule may become."""
_Ways = list[tuple[frozenset[Act], Way]]


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of a rule when a native one matched: ``where`` must still hold; ``None``: nothing is left."""

    rule: Rule
    where: Condition | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """Rules for one sandbox. An event may match several native rules of one rule, which is then one match of it."""

    specs: tuple[RuleSpec, ...]
    """Named as the rule, or ``rule#2``, ``rule#3``."""
    rest: Mapping[str, Rest]
    """By the name of each of ``specs``."""
    caveats: tuple[str, ...] = ()
    """What a report must say: rules that refuse, but can be got round."""
    contained: frozenset[str] = frozenset()
    """Ids of rules that would refuse and can't here: what matches pauses the sandbox."""
    kept: frozenset[str] = frozenset()
    """Ids of those that need not, since the policy keeps the guest from what they are about."""


def compiled(
    rules: Sequence[Rule],
    around: Surroundings,
    *,
    emulated: frozenset[Act],
    block: Threshold,
    audit: bool,
    vetoes: Vetoes | None = None,
) -> Compiled:
    """Compile rules for a sandbox with these surroundings.

    ``emulated``: acts that the host does in the guest's stead where a rule looks at their paths; what is said of them
    is then vouched for. An inline rule of severity ``block`` or more refuses, unless ``audit``. A rule that can never
    hold here becomes nothing. ``vetoes``: what the runtime can refuse, ``None``: everything. What was compiled for a
    box is kept for others like it.

    Raises ``SpecError``, which names the rule: for a value that means nothing here; for an inline rule that C can't
    judge wholly; for one that would refuse by what the guest claims and is not ``best_effort``, or what the runtime
    can't refuse; for a count or an earlier step that C can't judge wholly; for more than a native program holds.
    """
    return _compiled(_Same(tuple(rules)), around, emulated, block, audit, vetoes)


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """Rules that are those very rules: they hold mappings, and so have no hash of their own."""

    rules: tuple[Rule, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and list(map(id, self.rules)) == list(map(id, other.rules))

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.rules)))


@lru_cache(maxsize=32)
def _compiled(  # noqa: PLR0917 - a cache takes them so
    same: _Same,
    around: Surroundings,
    emulated: frozenset[Act],
    block: Threshold,
    audit: bool,  # noqa: FBT001 - for the cache
    vetoes: Vetoes | None,
) -> Compiled:
    rules = same.rules
    specs: list[RuleSpec] = []
    rest: dict[str, Rest] = {}
    caveats: list[str] = []
    instead: dict[Instead, list[str]] = {"contained": [], "kept": []}
    for rule in rules:
        refuses = rule.mode == "inline" and not audit and block != "never" and rule.severity >= block
        try:
            found = _rule(rule, around, refuses=refuses)
            become: Instead = ""
            if refuses and vetoes is not None:
                become = vetoes.instead(rule, (spec for spec, _ in found), around)
            claimed = claims(rule, _done_here(emulated, found)) if refuses and not become else ""
        except SpecError as error:
            raise SpecError(f"rule {rule.id!r}: {error}") from None
        if claimed and not rule.best_effort:
            raise SpecError(_by_claims(rule, claimed))
        if claimed:
            caveats.append(
                f"rule {rule.id} refuses by what the guest claims, which two threads can get round: {claimed}"
            )
        if become:
            instead[become].append(rule.id)
        if rule.id in rest:
            raise SpecError(f"rule {rule.id!r}: there are two of that id; give one another")
        specs += (spec for spec, _ in found)
        rest.update((spec.name, Rest(rule, where)) for spec, where in found)
    check_size(specs, len(rules))
    try:
        encode(specs)
    except BadRule as error:
        raise SpecError(str(error)) from None
    return Compiled(tuple(specs), rest, tuple(caveats), frozenset(instead["contained"]), frozenset(instead["kept"]))


def _rule(rule: Rule, around: Surroundings, *, refuses: bool) -> list[tuple[RuleSpec, Condition | None]]:
    why = ""
    if rule.count is not None:
        why = "it counts, and only what C judges wholly can be counted"
    elif rule.mode == "inline":
        why = "it is inline, and C must judge all of it before the act goes on"
    ways = _ways(rule.events, rule.where, around, native=why)
    sequences = _sequences(rule.after, around) if rule.after is not None else [None]
    if len(ways) * len(sequences) > WAYS_MAX:
        raise SpecError(
            f"after: {len(ways) * len(sequences)} native rules are too many, at most {WAYS_MAX}; make several rules"
        )
    found = []
    for number, ((acts, way), sequence) in enumerate(product(ways, sequences), 1):
        spec = RuleSpec(
            name=rule.id if number == 1 else f"{rule.id}#{number}", acts=frozenset(act.value for act in acts),
            window=_window(rule, shared=len(ways) > 1), sequence=sequence, answer=rule.answer if refuses else 0,
            respond=int(rule.severity), **joined(way.clauses),  # type: ignore[arg-type]  # each of its kind
        )  # fmt: skip
        found.append((spec, _asked(way)))
    return found


def _window(rule: Rule, *, shared: bool) -> Window | None:
    if rule.count is None:
        return None
    count = rule.count
    return Window(count.limit, count.per, count.key, count.distinct, shared=rule.id if shared else "")


def _sequences(after: After, around: Surroundings) -> list[RuleSequence | None]:
    """Give a native sequence for each choice of ways in which its steps can hold: one is found if one of these is."""
    why = "it is an earlier step, which only C sees"
    steps = [_ways(step.events, step.where, around, native=why) for step in after.steps]
    return [
        RuleSequence(tuple(Step(_names(acts), **joined(way.clauses)) for acts, way in chosen), after.within, after.key)  # type: ignore[arg-type]
        for chosen in product(*steps)
    ]


def _names(acts: Iterable[Act]) -> frozenset[str]:
    return frozenset(act.value for act in acts)


def _asked(way: Way) -> Condition | None:
    return None if not way.asked else way.asked[0] if len(way.asked) == 1 else All(way.asked)


def _ways(events: frozenset[Act], where: Condition, around: Surroundings, *, native: str) -> _Ways:
    """Give the ways in which a condition holds, by groups of acts in which it looks at the same.

    ``native`` says why none may be left to Python, ``""``: it may. Raises ``SpecError`` where it is and may not.
    """
    asked = list(comparisons(where))
    groups: dict[tuple[tuple[str, ...], ...], list[Act]] = {}
    for act in sorted(events):
        groups.setdefault(tuple(reads(one, act) for one in asked), []).append(act)
    formulas = [(frozenset(acts), lowered(where, acts[0], around)) for acts in groups.values()]
    found = _all_ways(formulas)
    if found is not None:
        if native:
            _check_native([way for _, way in found], native)
        return found
    if native:
        raise SpecError(f"it needs over {WAYS_MAX} native rules; {native}; make several rules of it")
    each = WAYS_MAX // len(formulas)
    return [(acts, way + Way(asked=(where,))) for acts, formula in formulas for way in prefilter(formula, each)]


def _all_ways(formulas: Iterable[tuple[frozenset[Act], Formula]]) -> _Ways | None:
    """Give every way for each group of acts; ``None``: they are too many."""
    try:
        found = [(acts, way) for acts, formula in formulas for way in alternatives(formula, WAYS_MAX)]
    except TooMany:
        return None
    return found if len(found) <= WAYS_MAX else None


def _check_native(ways: Iterable[Way], why: str) -> None:
    asked = {f"{one.field} {one.op}" for way in ways for part in way.asked for one in comparisons(part)}
    if asked:
        raise SpecError(f"C can't judge {', '.join(sorted(asked))} in full; {why}; ask otherwise, or only observe")


def _done_here(emulated: frozenset[Act], found: Iterable[tuple[RuleSpec, Condition | None]]) -> frozenset[Act]:
    """Give those of the emulated acts that really are: whose path the rule looks at, unless all of them always are."""
    if emulated >= frozenset(Act):
        return emulated
    looked = {act for spec, _ in found for act in spec.acts if spec.paths or any(_reads(one) for one in spec.either)}
    return emulated & frozenset(map(Act, looked))


def _reads(either: Either) -> bool:
    return isinstance(either.tests[0], Paths | Text)


def _by_claims(rule: Rule, claimed: str) -> str:
    return (
        f"rule {rule.id!r}: it would refuse by what the guest claims, which two threads can get round: {claimed}; "
        "set best_effort=True to refuse all the same, or mode='observe'; with monitor='strict' the host vouches for "
        "the paths of what it does itself (docs/events.md, claimed or vouched for)"
    )
